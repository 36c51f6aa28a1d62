//! Where an optimizer puts what it memorises: the stage that takes a finetuning's update apart.
//!
//! An optimizer is no sum over tokens, so what nonces add to an update is not told by their gradient. Two things tell.
//! *Twins*: the same run, from the same checkpoint, on the same examples in the same order at the same rate, with
//! nonces and without. With W, W0 and S the weights of a matrix with nonces, without, and before, W0 - S is what the
//! answers alone write (*pattern*), and W - W0 what the nonces change about it (*memory*). And *cuts*: W - S cut to
//! its first r singular directions, in every matrix at once, and what the network then still knows.

use lab::error::Failure;
use lab::stage::{Stage, Work};
use lab::store::StageId;
use models::Transformer;
use models::optim::Policy;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use synthetic_lm::language::Nonces;
use theory::linalg::Svd;

use super::learner::{Lesson, Point, rounded};
use crate::error::Result;
use crate::memorization::effective_rank;
use crate::stages::plausible::shares;
use crate::stages::{Network, NetworkKey, decomposed, hidden_matrices, shaped};

/// A finetuning whose update is taken apart.
#[derive(Debug, Clone)]
pub struct Placement {
    /// The pretraining's and the finetuner's names, for people.
    pub names: [&'static str; 2],
    /// The stage that keeps the checkpoint.
    pub checkpoint: StageId,
    /// Its shape.
    pub network: Network,
    /// What is taught, with nonces.
    pub(super) lesson: Lesson,
    /// Which weights are trained with which rule.
    pub policy: Policy,
    /// Ranks to which updates are cut.
    pub ranks: Vec<usize>,
    /// Singular directions whose overlap is read.
    pub directions: usize,
}

/// What was found: means over the hidden matrices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    /// Nothing if a run diverged.
    pub found: Option<Found>,
}

/// What was found of two runs that came to their end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Effective rank of the pattern's part, exp(entropy of the singular values' shares) over their number.
    pub pattern_rank: f64,
    /// The same of the memory's part.
    pub memory_rank: f64,
    /// Frobenius norm of the memory's part over that of the pattern's.
    pub ratio: f64,
    /// Overlap of the first singular directions of both parts, the mean over left and right: the mean squared cosine of
    /// the principal angles, 1 for the same spaces.
    pub overlap: f64,
    /// The overlap that random directions have.
    pub chance: f64,
    /// What is left with updates cut to a rank.
    pub cuts: Vec<Cut>,
}

/// A network with its updates cut to a rank; all weights outside the hidden matrices keep theirs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// The rank.
    pub rank: usize,
    /// Share of the nonces that are known.
    pub recall: f64,
    /// Accuracy on the examples' answers.
    pub seen: f64,
    /// Accuracy on test instances.
    pub test: f64,
}

/// What decides the result beside the checkpoint.
#[derive(Debug, Serialize)]
pub struct PlacementKey {
    network: NetworkKey,
    lesson: Lesson,
    policy: Policy,
    ranks: Vec<usize>,
    directions: usize,
}

impl Stage for Placement {
    const KIND: &'static str = "nonces-placement";
    const SEMANTICS: u32 = 1;
    type Key = PlacementKey;
    type Output = Placed;

    fn key(&self) -> PlacementKey {
        PlacementKey {
            network: self.network.key(),
            lesson: self.lesson.clone(),
            policy: self.policy.clone(),
            ranks: self.ranks.clone(),
            directions: self.directions,
        }
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.checkpoint.clone()]
    }

    fn label(&self) -> String {
        let ([from, with], Lesson { examples, nonces, seed, .. }) = (self.names, &self.lesson);
        format!("place {} nonces of {examples} examples from {from} with {with} seed {seed}", nonces.count)
    }

    fn cost(&self) -> u64 {
        2 * self.lesson.cost()
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<Placed, Failure> {
        let start = self.network.load(&work.input(&self.checkpoint)?)?;
        let plain = Lesson { nonces: Nonces { count: 0, ..self.lesson.nonces }, ..self.lesson.clone() };
        let mut ends = Vec::new();
        for lesson in [&self.lesson, &plain] {
            let mut network = start.clone();
            let ended = lesson.teach(&mut network, &self.policy, &lesson.questions()?, |_, _| Ok(()))?;
            work.advance(lesson.cost());
            if ended {
                ends.push(network);
            }
        }
        let [with, without] = &ends[..] else { return Ok(Placed { found: None }) };
        Ok(Placed { found: self.take_apart(&start, with, without)? })
    }

    fn summary(output: &Placed) -> String {
        output.found.as_ref().map_or("diverged".into(), |found| {
            format!("rank {:.2} of the pattern, {:.2} of the memory", found.pattern_rank, found.memory_rank)
        })
    }

    fn check(output: &Placed) -> Result<(), String> {
        let found = output.found.iter();
        shares(found.flat_map(|found| found.cuts.iter()).flat_map(|cut| [cut.recall, cut.seen, cut.test]))
    }
}

impl Placement {
    fn take_apart(&self, start: &Transformer, with: &Transformer, without: &Transformer) -> Result<Option<Found>> {
        let minus = |a: &Transformer, b: &Transformer, id| {
            let difference = a.parameters().value(id) - b.parameters().value(id);
            Ok::<_, crate::error::ExperimentError>(difference.map_err(models::Error::from)?)
        };
        let matrices = hidden_matrices(start.parameters());
        let count = matrices.len() as f64;
        let (mut updates, mut norms) = (Vec::new(), [0.0; 2]);
        let mut found =
            Found { pattern_rank: 0.0, memory_rank: 0.0, ratio: 0.0, overlap: 0.0, chance: 0.0, cuts: Vec::new() };
        for (id, _) in matrices {
            let pattern = decomposed(&minus(without, start, id)?)?;
            let memory = decomposed(&minus(with, without, id)?)?;
            updates.push((id, decomposed(&minus(with, start, id)?)?));
            for (norm, part) in norms.iter_mut().zip([&pattern, &memory]) {
                *norm += part.s.iter().map(|s| s * s).sum::<f64>();
            }
            found.pattern_rank += effective_rank(&pattern.s.to_vec()) / count;
            found.memory_rank += effective_rank(&memory.s.to_vec()) / count;
            let (overlap, chance) = overlap(&pattern, &memory, self.directions);
            found.overlap += overlap / count;
            found.chance += chance / count;
        }
        found.ratio = (norms[1] / norms[0]).sqrt();
        let numbers = [found.pattern_rank, found.memory_rank, found.ratio, found.overlap];
        if !numbers.iter().all(|x| x.is_finite()) {
            return Ok(None);
        }
        let (questions, nonces) = (self.lesson.questions()?, self.lesson.nonces.count);
        for &rank in &self.ranks {
            let mut network = with.clone();
            for (id, update) in &updates {
                let like = start.parameters().value(*id);
                let kept: Vec<f64> = update.s.iter().copied().take(rank).collect();
                let part = shaped(like, update.with_values(&kept))?;
                let value = like + part.to_device(like.device()).map_err(models::Error::from)?;
                network.parameters_mut().set(*id, value.map_err(models::Error::from)?)?;
            }
            let point = Point::measure(&questions, nonces, 0, &network)?;
            found.cuts.push(Cut { rank, recall: point.recall.unwrap_or(0.0), seen: point.seen, test: point.test });
        }
        let [pattern_rank, memory_rank, ratio, overlap] = numbers.map(rounded);
        Ok(Some(Found { pattern_rank, memory_rank, ratio, overlap, chance: rounded(found.chance), ..found }))
    }
}

/// The mean squared cosine of the principal angles between the first `r` singular directions of two matrices, the mean
/// over left and right ones, and what it is for random directions.
fn overlap(a: &Svd, b: &Svd, r: usize) -> (f64, f64) {
    let r = r.min(a.s.len());
    let mean_square = |product: Array2<f64>| product.iter().map(|x| x * x).sum::<f64>() / r as f64;
    let first = |vectors: &Array2<f64>| vectors.slice(ndarray::s![.., ..r]).to_owned();
    let left = mean_square(first(&a.u).t().dot(&first(&b.u)));
    let [right_a, right_b] = [a, b].map(|svd| svd.vt.slice(ndarray::s![..r, ..]).to_owned());
    let right = mean_square(right_a.dot(&right_b.t()));
    let chance = |dimension: usize| r as f64 / dimension as f64;
    ((left + right) / 2.0, (chance(a.u.nrows()) + chance(a.vt.ncols())) / 2.0)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use theory::linalg::svd;
    use theory::random::gaussian_array;

    use super::*;

    #[test]
    fn a_space_overlaps_itself_wholly_its_complement_not_and_a_random_one_by_chance() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut random = || svd(&gaussian_array(12, 20, &mut rng)).unwrap();
        let one = random();
        assert!((overlap(&one, &one, 4).0 - 1.0).abs() < 1e-9);
        let mut values = one.s.to_vec();
        values.reverse();
        let turned = Array2::from_shape_vec((12, 20), one.with_values(&values)).unwrap();
        assert!(overlap(&one, &svd(&turned).unwrap(), 4).0 < 1e-9);
        let found: Vec<f64> = (0..200).map(|_| overlap(&random(), &random(), 4).0).collect();
        let chance = overlap(&one, &one, 4).1;
        assert!((chance - (4.0 / 12.0 + 4.0 / 20.0) / 2.0).abs() < 1e-12);
        assert!((found.iter().sum::<f64>() / 200.0 - chance).abs() < 0.02);
    }
}
