//! The structure of finetuning updates, and what a change of it costs. Nothing is trained.
//!
//! dW is what a finetuning added to a hidden matrix W. A surgery makes another update of it: with equal singular
//! values, with another update's, with random singular vectors, of entries of one size, of low rank. Each is followed
//! along its ray, W + t dW, to one and the same loss on the task; what the loss on pretraining text then is above the
//! checkpoint's is its forgetting.

use candle_core::Tensor;
use lab::error::Failure;
use lab::seeds;
use lab::stage::{Stage, Work};
use lab::store::StageId;
use models::{Batch, Direction, ParameterId, Transformer, mean_loss};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use theory::linalg::Svd;

use super::matrices::{Null, decomposed, entries, hidden_matrices, of_rank, shaped, sign};
use super::measure::{MeasureKey, Start};
use crate::error::Result;

/// How near the asked loss a point on a ray must be, as a share of what is to be learned.
const NEAR: f64 = 5e-3;
/// The first and the last factor of an update that is tried before closing in.
const FIRST: f64 = 0.5;
const FARTHEST: f64 = 8.0;
/// Evaluations that close in on the asked loss, once it lies between two points.
const CLOSING: usize = 12;

/// A finetuning whose weights a stage keeps.
#[derive(Debug, Clone)]
pub struct Finetuned {
    /// The method, by its name.
    pub method: String,
    /// The stage.
    pub stage: StageId,
    /// The same run of another seed, for its spectrum: the checkpoint and the finetuning.
    pub other_seed: Option<[StageId; 2]>,
}

/// The updates of one checkpoint, task and seed.
#[derive(Clone)]
pub struct Transplant {
    /// The checkpoint and the task.
    pub start: Start,
    /// The two updates that are operated on: from each the spectrum goes to the other. All of them reach the asked loss
    /// as they are.
    pub pair: [Finetuned; 2],
    /// Updates that are looked at beside them.
    pub others: Vec<Finetuned>,
    /// The asked loss: this share of the way from the checkpoint's loss on the task to the higher one of the pair's.
    pub level: f64,
    /// Rank of the low-rank surgery.
    pub rank: usize,
}

/// What decides the result, beside checkpoint and finetunings.
#[derive(Debug, Serialize)]
pub struct TransplantKey {
    measured: MeasureKey,
    methods: Vec<String>,
    level: f64,
    rank: usize,
    seed: u64,
}

/// A change of an update, matrix by matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Surgery {
    /// None.
    Unchanged,
    /// All singular values one, of the same Frobenius norm.
    Flat,
    /// The singular values of the other update of the pair, scaled to the same Frobenius norm.
    OtherSpectrum,
    /// mean|dW| sign(dW).
    Signs,
    /// The nearest matrix of some rank.
    LowRank,
    /// The singular values of the same method's update from another seed, scaled to the same Frobenius norm: a control.
    OtherSeed,
    /// Singular vectors drawn at random: a control.
    RandomVectors,
}

impl Surgery {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Unchanged,
        Self::Flat,
        Self::OtherSpectrum,
        Self::Signs,
        Self::LowRank,
        Self::OtherSeed,
        Self::RandomVectors,
    ];

    /// Its name in tables and figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Flat => "flat spectrum",
            Self::OtherSpectrum => "the other's spectrum",
            Self::Signs => "mean|dW| sign(dW)",
            Self::LowRank => "low rank",
            Self::OtherSeed => "spectrum of another seed",
            Self::RandomVectors => "random singular vectors",
        }
    }
}

/// The structure of an update in all matrices of one kind of layer: means over them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Structure {
    /// The method.
    pub method: String,
    /// The kind of layer.
    pub kind: String,
    /// Frobenius norm over that of the weights.
    pub relative: f64,
    /// exp of the entropy of the singular values over their sum.
    pub rank_of_values: f64,
    /// exp of the entropy of the squared singular values over their sum.
    pub rank_of_squares: f64,
    /// Share of the squared singular values that the largest has.
    pub top: f64,
    /// mean|dW| over the root mean square: the cosine between the update and its signs, 1 if all entries are of one
    /// size.
    pub sign_coherence: f64,
    /// Sum of the singular values over sqrt(k) times the Frobenius norm, k of them: the cosine between the update and
    /// its polar factor, 1 if all are equal.
    pub polar_coherence: f64,
}

/// Where an update's ray reaches the asked loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// The method whose update it is.
    pub method: String,
    /// What was done to it.
    pub surgery: Surgery,
    /// The factor of the update; none if its ray does not come down to the asked loss.
    pub factor: Option<f64>,
    /// L_task there.
    pub task: Option<f64>,
    /// F there, nats per token.
    pub forgetting: Option<f64>,
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transplanted {
    /// L_pre of the checkpoint.
    pub pretrain: f64,
    /// L_task of the checkpoint.
    pub task: f64,
    /// The asked loss; none if one of the updates is not finite, or of the pair's one does not learn.
    pub target: Option<f64>,
    /// The updates' structure.
    pub structures: Vec<Structure>,
    /// The rays.
    pub reached: Vec<Reached>,
}

/// An update's matrices with their decompositions.
struct Update {
    method: String,
    direction: Direction,
    svds: Vec<Svd>,
    /// The singular values of another seed's.
    other_seed: Option<Vec<Vec<f64>>>,
}

impl Update {
    /// The update with this surgery; none where what it needs is not there.
    fn changed(&self, surgery: Surgery, partner: &Self, rank: usize, seed: u64) -> Result<Option<Direction>> {
        if surgery == Surgery::OtherSeed && self.other_seed.is_none() {
            return Ok(None);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seeds::stream(seed, &format!("singular vectors {}", self.method)));
        let mut place = 0;
        let changed = self.direction.map(|_, part| -> Result<Tensor> {
            let svd = &self.svds[place];
            let other = self.other_seed.as_ref().map(|of| of[place].clone());
            let partner = partner.svds[place].s.to_vec();
            place += 1;
            match surgery {
                Surgery::Unchanged => Ok(part.clone()),
                Surgery::Flat => with_spectrum(part, svd, &vec![1.0; svd.s.len()]),
                Surgery::OtherSpectrum => with_spectrum(part, svd, &partner),
                Surgery::OtherSeed => with_spectrum(part, svd, &other.unwrap_or_default()),
                Surgery::LowRank => of_rank(part, rank),
                Surgery::Signs => {
                    let (_, _, values) = entries(part)?;
                    let mean = values.iter().map(|x| x.abs()).sum::<f64>() / values.len() as f64;
                    shaped(part, values.into_iter().map(|x| mean * sign(x)))
                }
                Surgery::RandomVectors => {
                    let drawn = decomposed(&Null::Gaussian.draw(part, &mut rng)?)?;
                    shaped(part, drawn.with_values(&svd.s.to_vec()))
                }
            }
        })?;
        Ok(Some(changed))
    }
}

/// A matrix with its singular vectors and other singular values, scaled to its Frobenius norm.
fn with_spectrum(like: &Tensor, svd: &Svd, values: &[f64]) -> Result<Tensor> {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|s| s * s).sum::<f64>().sqrt();
    let (own, other) = (norm(&mut svd.s.iter().copied()), norm(&mut values.iter().copied()));
    // An update of zeros stays one.
    let scale = if other > 0.0 { own / other } else { 0.0 };
    let scaled: Vec<f64> = values.iter().map(|s| s * scale).collect();
    shaped(like, svd.with_values(&scaled))
}

/// The structure of some matrices with the norms of the weights that they change; none if one of them is zero.
fn structure(method: &str, kind: &str, parts: &[(&Tensor, &Svd, f64)]) -> Result<Option<Structure>> {
    let mut found = Structure {
        method: method.into(),
        kind: kind.into(),
        relative: 0.0,
        rank_of_values: 0.0,
        rank_of_squares: 0.0,
        top: 0.0,
        sign_coherence: 0.0,
        polar_coherence: 0.0,
    };
    for (part, svd, weights) in parts {
        let (_, _, values) = entries(part)?;
        let singular = svd.s.to_vec();
        let squares: Vec<f64> = singular.iter().map(|s| s * s).collect();
        let (sum, square): (f64, f64) = (singular.iter().sum(), squares.iter().sum());
        if !(square > 0.0 && *weights > 0.0) {
            return Ok(None);
        }
        let count = parts.len() as f64;
        let mean_size = values.iter().map(|x| x.abs()).sum::<f64>() / values.len() as f64;
        found.relative += square.sqrt() / weights / count;
        found.rank_of_values += effective_rank(&singular) / count;
        found.rank_of_squares += effective_rank(&squares) / count;
        found.top += squares[0] / square / count;
        found.sign_coherence += mean_size / (square / values.len() as f64).sqrt() / count;
        found.polar_coherence += sum / (square * singular.len() as f64).sqrt() / count;
    }
    Ok((!parts.is_empty()).then_some(found))
}

/// exp of the entropy of numbers over their sum.
fn effective_rank(numbers: &[f64]) -> f64 {
    let sum: f64 = numbers.iter().sum();
    let shares = numbers.iter().map(|x| x / sum).filter(|&share| share > 0.0);
    (-shares.map(|share| share * share.ln()).sum::<f64>()).exp()
}

/// The first t at which a function that begins above `target` at 0 is near it, by doubling t from [`FIRST`] on and then
/// by false position (Illinois), which halves the older end's value where one end stays. None where it is not reached.
fn first_crossing(before: f64, target: f64, mut loss: impl FnMut(f64) -> Result<f64>) -> Result<Option<(f64, f64)>> {
    let near = NEAR * (before - target);
    let (mut low, mut high) = ((0.0, before - target), None);
    let mut t = FIRST;
    while t <= FARTHEST && high.is_none() {
        let above = loss(t)? - target;
        if !above.is_finite() {
            return Ok(None);
        }
        match above <= 0.0 {
            true => high = Some((t, above)),
            false => low = (t, above),
        }
        t *= 2.0;
    }
    let Some(mut high) = high else { return Ok(None) };
    let mut found = if high.1.abs() < low.1.abs() { high } else { low };
    for _ in 0..CLOSING {
        if found.1.abs() <= near {
            break;
        }
        let t = (low.0 * high.1 - high.0 * low.1) / (high.1 - low.1);
        let above = loss(t)? - target;
        if above > 0.0 {
            low = (t, above);
            high.1 *= 0.5;
        } else {
            high = (t, above);
            low.1 *= 0.5;
        }
        found = (t, above);
    }
    Ok((found.1.abs() <= near).then_some((found.0, found.1 + target)))
}

impl Transplant {
    /// What a finetuning added to these weights of the checkpoint; none if that is not finite.
    fn update(&self, of: &Finetuned, weights: &Direction, work: &Work<'_>) -> Result<Option<Update>> {
        let ids: Vec<ParameterId> = weights.iter().map(|(id, _)| id).collect();
        let kept = |stage: &StageId| -> Result<Direction> {
            Ok(Direction::of_values(self.start.network.load(&work.input(stage)?)?.parameters(), &ids)?)
        };
        let direction = kept(&of.stage)?.combined(1.0, weights, -1.0)?;
        if !direction.norm()?.is_finite() {
            return Ok(None);
        }
        let decompose = |direction: &Direction| -> Result<Vec<Svd>> {
            direction.iter().map(|(_, part)| decomposed(part)).collect()
        };
        let svds = decompose(&direction)?;
        let mut other_seed = None;
        if let Some([checkpoint, finetuned]) = &of.other_seed {
            let other = kept(finetuned)?.combined(1.0, &kept(checkpoint)?, -1.0)?;
            if other.norm()?.is_finite() {
                other_seed = Some(decompose(&other)?.iter().map(|svd| svd.s.to_vec()).collect());
            }
        }
        Ok(Some(Update { method: of.method.clone(), direction, svds, other_seed }))
    }

    /// The asked loss.
    fn target(&self, ground: &Ground<'_>, pair: &[&Update]) -> Result<Option<f64>> {
        let mut highest = f64::NEG_INFINITY;
        for update in pair {
            let end = self.start.task.loss(&ground.network.moved(&update.direction, 1.0)?)?;
            highest = if end.is_nan() { f64::INFINITY } else { highest.max(end) };
        }
        Ok((highest < ground.task).then_some(ground.task - self.level * (ground.task - highest)))
    }

    fn look(&self, network: &Transformer, updates: &[&Update], weights: &Direction) -> Result<Vec<Structure>> {
        let kinds = hidden_matrices(network.parameters());
        let mut names: Vec<&String> = kinds.iter().map(|(_, kind)| kind).collect();
        names.sort();
        names.dedup();
        let mut found = Vec::new();
        for update in updates {
            for kind in &names {
                let mut parts = Vec::new();
                for (((id, part), svd), (_, of)) in update.direction.iter().zip(&update.svds).zip(&kinds) {
                    if of == *kind {
                        parts.push((part, svd, weights.within(&[id]).norm()?));
                    }
                }
                found.extend(structure(&update.method, kind, &parts)?);
            }
        }
        Ok(found)
    }
}

/// The checkpoint, and what is measured on a ray from it.
struct Ground<'a> {
    start: &'a Start,
    network: Transformer,
    held_out: Vec<Batch>,
    pretrain: f64,
    task: f64,
}

impl Ground<'_> {
    fn follow(&self, method: &str, surgery: Surgery, direction: &Direction, target: f64) -> Result<Reached> {
        let found = first_crossing(self.task, target, |t| self.start.task.loss(&self.network.moved(direction, t)?))?;
        let forgetting = found
            .map(|(t, _)| -> Result<f64> {
                Ok(mean_loss(&self.network.moved(direction, t)?, &self.held_out)? - self.pretrain)
            })
            .transpose()?;
        Ok(Reached {
            method: method.into(),
            surgery,
            factor: found.map(|(t, _)| t),
            task: found.map(|(_, loss)| loss),
            forgetting: forgetting.filter(|forgetting| forgetting.is_finite()),
        })
    }
}

impl Stage for Transplant {
    const KIND: &'static str = "transplant";
    const SEMANTICS: u32 = 1;
    type Key = TransplantKey;
    type Output = Transplanted;

    fn key(&self) -> TransplantKey {
        TransplantKey {
            measured: self.start.key(),
            methods: self.pair.iter().chain(&self.others).map(|of| of.method.clone()).collect(),
            level: self.level,
            rank: self.rank,
            seed: self.start.seed,
        }
    }

    fn inputs(&self) -> Vec<StageId> {
        let stages = self.pair.iter().chain(&self.others);
        let stages = stages.flat_map(|of| std::iter::once(&of.stage).chain(of.other_seed.iter().flatten()));
        std::iter::once(&self.start.checkpoint).chain(stages).cloned().collect()
    }

    fn label(&self) -> String {
        let Start { checkpoint_name, task, seed, .. } = &self.start;
        format!("updates of {checkpoint_name} on {} seed {seed}", task.name())
    }

    /// About six evaluations on a ray.
    fn cost(&self) -> u64 {
        6 * (2 * Surgery::ALL.len() + self.others.len()) as u64 * self.start.cost()
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<Transplanted, Failure> {
        let Self { start, rank, .. } = self;
        let network = start.network.load(&work.input(&start.checkpoint)?)?;
        let ids: Vec<ParameterId> = hidden_matrices(network.parameters()).into_iter().map(|(id, _)| id).collect();
        let weights = Direction::of_values(network.parameters(), &ids)?;
        let held_out = start.held_out()?;
        let (pretrain, task) = (mean_loss(&network, &held_out)?, start.task.loss(&network)?);
        let ground = Ground { start, network, held_out, pretrain, task };
        let update = |of: &Finetuned| self.update(of, &weights, work);
        let pair = self.pair.iter().map(update).collect::<Result<Vec<_>>>()?;
        let others: Vec<Update> =
            self.others.iter().map(update).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        let finite: Vec<&Update> = pair.iter().flatten().collect();
        let mut found = Transplanted {
            pretrain,
            task,
            target: None,
            structures: self.look(&ground.network, &finite, &weights)?,
            reached: Vec::new(),
        };
        found.structures.extend(self.look(&ground.network, &others.iter().collect::<Vec<_>>(), &weights)?);
        let &[first, second] = &finite[..] else { return Ok(found) };
        found.target = self.target(&ground, &finite)?;
        let Some(target) = found.target else { return Ok(found) };
        for (own, partner) in [(first, second), (second, first)] {
            for surgery in Surgery::ALL {
                if let Some(direction) = own.changed(surgery, partner, *rank, start.seed)? {
                    found.reached.push(ground.follow(&own.method, surgery, &direction, target)?);
                }
            }
        }
        for update in &others {
            found.reached.push(ground.follow(&update.method, Surgery::Unchanged, &update.direction, target)?);
        }
        Ok(found)
    }

    fn summary(output: &Transplanted) -> String {
        let reached = output.reached.iter().filter(|reached| reached.factor.is_some()).count();
        match output.target {
            Some(target) => format!("{reached} of {} rays reach task loss {target:.3}", output.reached.len()),
            None => "no loss that both updates reach".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use models::ModelConfig;

    use super::*;

    /// An update of all hidden matrices of a small network.
    fn update(method: &str, seed: u64) -> Update {
        let network = Transformer::new(&ModelConfig::llama(19, 8, 1, 16, 4, 2), 3).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let matrices = hidden_matrices(network.parameters()).into_iter().map(|(id, _)| {
            // Of unequal columns, so that spectra differ by more than chance.
            let drawn = Null::Gaussian.draw(network.parameters().value(id), &mut rng).unwrap();
            let columns = drawn.dim(1).unwrap();
            let scales: Vec<f32> = (0..columns).map(|c| 1.0 + (seed * c as u64 % 7) as f32).collect();
            let scales = Tensor::from_vec(scales, (1, columns), &Device::Cpu).unwrap();
            (id, drawn.broadcast_mul(&scales).unwrap())
        });
        let direction = Direction::new(matrices).unwrap();
        let svds: Vec<Svd> = direction.iter().map(|(_, part)| decomposed(part).unwrap()).collect();
        let other_seed = Some(svds.iter().map(|svd| svd.s.iter().map(|s| s * s).collect()).collect());
        Update { method: method.into(), direction, svds, other_seed }
    }

    fn first(direction: &Direction) -> Tensor {
        direction.iter().next().unwrap().1.clone()
    }

    fn norm(matrix: &Tensor) -> f64 {
        entries(matrix).unwrap().2.iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    /// Singular values over their Frobenius norm.
    fn spectrum(matrix: &Tensor) -> Vec<f64> {
        decomposed(matrix).unwrap().s.iter().map(|s| s / norm(matrix)).collect()
    }

    #[track_caller]
    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-5, "{found:?}, expected {expected:?}");
    }

    #[test]
    fn a_surgery_changes_what_it_says_and_keeps_the_rest() {
        let (own, partner) = (update("adamw", 1), update("muon", 2));
        let changed = |surgery| first(&own.changed(surgery, &partner, 3, 5).unwrap().unwrap());
        let original = first(&own.direction);
        let flat = changed(Surgery::Flat);
        assert_close(&spectrum(&flat), &[0.25; 16]);
        for surgery in [Surgery::Flat, Surgery::OtherSpectrum, Surgery::OtherSeed, Surgery::RandomVectors] {
            assert!((norm(&changed(surgery)) / norm(&original) - 1.0).abs() < 1e-5, "{surgery:?}");
        }
        assert_close(&spectrum(&changed(Surgery::OtherSpectrum)), &spectrum(&first(&partner.direction)));
        assert_close(&spectrum(&changed(Surgery::RandomVectors)), &spectrum(&original));
        let squares: Vec<f64> = spectrum(&original).iter().map(|s| s * s).collect();
        let size = squares.iter().map(|s| s * s).sum::<f64>().sqrt();
        let expected: Vec<f64> = squares.iter().map(|s| s / size).collect();
        assert_close(&spectrum(&changed(Surgery::OtherSeed)), &expected);
        assert_close(&entries(&changed(Surgery::Unchanged)).unwrap().2, &entries(&original).unwrap().2);
        // The flat update leans most on the original of all with its singular values.
        let dot = |a: &Tensor, b: &Tensor| -> f64 {
            let (a, b) = (entries(a).unwrap().2, entries(b).unwrap().2);
            a.iter().zip(&b).map(|(a, b)| a * b).sum()
        };
        assert!(
            dot(&flat, &original) > 0.0 && dot(&flat, &original) > dot(&changed(Surgery::RandomVectors), &original)
        );
        let low = decomposed(&changed(Surgery::LowRank)).unwrap().s;
        assert!(low[2] > 1e-3 && low[3] < 1e-5, "{low:?}");
        let signs = entries(&changed(Surgery::Signs)).unwrap().2;
        let originals = entries(&original).unwrap().2;
        let mean = originals.iter().map(|x| x.abs()).sum::<f64>() / originals.len() as f64;
        assert!(signs.iter().zip(&originals).all(|(s, x)| (s - mean * sign(*x)).abs() < 1e-6));
        let without = Update { other_seed: None, ..own };
        assert!(without.changed(Surgery::OtherSeed, &partner, 3, 5).unwrap().is_none());
    }

    #[test]
    fn structure_of_known_matrices() {
        // Signs of rank one, and the identity: each is the other's opposite in everything.
        let signs: Vec<f32> = (0..16).map(|i| if (i / 4 + i % 4) % 2 == 0 { 0.5 } else { -0.5 }).collect();
        let signs = Tensor::from_vec(signs, (4, 4), &Device::Cpu).unwrap();
        let identity = Tensor::eye(4, candle_core::DType::F32, &Device::Cpu).unwrap();
        let of = |matrix: &Tensor| {
            let svd = decomposed(matrix).unwrap();
            structure("m", "q_proj", &[(matrix, &svd, 4.0)]).unwrap().unwrap()
        };
        let (s, i) = (of(&signs), of(&identity));
        let numbers = |s: &Structure| {
            [s.relative, s.rank_of_values, s.rank_of_squares, s.top, s.sign_coherence, s.polar_coherence]
        };
        assert_close(&numbers(&s), &[0.5, 1.0, 1.0, 1.0, 1.0, 0.5]);
        assert_close(&numbers(&i), &[0.5, 4.0, 4.0, 0.25, 0.5, 1.0]);
        let zeros = identity.zeros_like().unwrap();
        let svd = decomposed(&zeros).unwrap();
        assert!(structure("m", "q_proj", &[(&zeros, &svd, 4.0)]).unwrap().is_none());
    }

    #[test]
    fn the_first_crossing_of_a_ray_is_found_and_a_ray_that_turns_back_is_none() {
        // A parabola that falls from 4 to 1 at t = 2 and rises again.
        let parabola = |t: f64| Ok(1.0 + 0.75 * (t - 2.0).powi(2));
        let (t, loss) = first_crossing(4.0, 2.0, parabola).unwrap().unwrap();
        assert!((t - (2.0 - (4.0f64 / 3.0).sqrt())).abs() < 2e-2, "{t}");
        assert!((loss - 2.0).abs() <= NEAR * 2.0);
        assert_eq!(first_crossing(4.0, 0.5, parabola).unwrap(), None);
        assert_eq!(first_crossing(4.0, 2.0, |_| Ok(f64::NAN)).unwrap(), None);
        let steep = |t: f64| Ok(if t < 3.0 { 4.0 - 1e-3 * t } else { 0.0 });
        assert_eq!(first_crossing(4.0, 2.0, steep).unwrap(), None, "a jump has no point near the asked loss");
    }
}
