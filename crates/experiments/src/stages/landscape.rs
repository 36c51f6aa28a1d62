//! A probe of a checkpoint: how the loss on its pretraining text rises along directions that optimizers take on a task.
//! Nothing is trained.
//!
//! With G the gradient of the task's loss and D a direction, the weights are moved to W - eta D. Where D comes from G,
//! eta makes the first-order gain eta <G, D> a share of the task's loss; for every direction, eta also makes the step's
//! length a share of that of the weights, or its root mean square a number. What the loss on held-out pretraining text
//! then is above the checkpoint's is the forgetting F.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use candle_core::Tensor;
use lab::error::Failure;
use lab::seeds;
use lab::stage::{Stage, Work};
use lab::store::StageId;
use models::optim::{RuleConfig, State, StepSize, UpdateRule};
use models::{Batch, Direction, ParameterId, Transformer, mean_loss};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::matrices::{Null, hidden_matrices, of_rank, scaled_polar, signs};
use super::measure::{MeasureKey, Start};
use crate::error::{ExperimentError, Result};

/// Length of the step of a finite difference, as a share of the weights' length.
const DIFFERENCE: f64 = 3e-3;

/// The part of the network that all hidden matrices are.
pub const ALL_PARTS: &str = "all";

/// Which directions are looked at, and how far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Survey {
    /// Numbers of batches of which gradients are taken, ascending: the first of the finetuning's order.
    pub batches: Vec<u64>,
    /// Sequences of a batch.
    pub sequences: usize,
    /// First-order gains, as shares of the task's loss.
    pub gains: Vec<f64>,
    /// Length of a step as a share of the length of the weights that it changes.
    pub relative: f64,
    /// Root mean square of a step.
    pub absolute: f64,
    /// Rank of the part of the gradient that is a direction of its own.
    pub rank: usize,
    /// Rules whose own update is a direction: that of the last of the batches, after steps on the others that moved
    /// nothing.
    pub rules: Vec<RuleConfig>,
    /// Draws of every random direction.
    pub draws: u64,
    /// The number of batches, one of `batches`, of which the task's loss is measured after every step, curvatures are
    /// along every direction, and signs and polar factors are also taken by kind of layer.
    pub reference: u64,
    /// The gain to which kinds of layers are moved alone.
    pub reference_gain: f64,
    /// Held-out windows of pretraining text on which curvatures are measured.
    pub curvature_windows: usize,
}

/// The survey of one checkpoint and task.
#[derive(Clone)]
pub struct Landscape {
    /// The checkpoint and the task.
    pub start: Start,
    /// What is looked at.
    pub survey: Survey,
}

/// What decides the result, beside the checkpoint.
#[derive(Debug, Serialize)]
pub struct LandscapeKey {
    measured: MeasureKey,
    survey: Survey,
    seed: u64,
    order: u64,
}

/// How the length of a step was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
    /// By its first-order gain.
    Gain,
    /// Relative to the weights.
    Relative,
    /// By its root mean square.
    Absolute,
}

/// One step along a direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// `all`, or the kind of layer whose matrices were moved.
    pub part: String,
    /// Batches behind the direction; 0 for a random one.
    pub batches: u64,
    /// The direction.
    pub direction: String,
    /// The draw of a random direction, from 0.
    pub draw: u64,
    /// How its length was chosen.
    pub length: Length,
    /// The gain, share or root mean square that was asked for.
    pub amount: f64,
    /// The step, |eta D|, in the Frobenius norm.
    pub step: f64,
    /// F, nats per token; none if it is not finite.
    pub forgetting: Option<f64>,
    /// The fall of the task's loss, nats per token: of all matrices together, by gain, with the reference number of
    /// batches.
    pub learned: Option<f64>,
}

/// First and second derivatives along a direction of length 1 over all hidden matrices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bend {
    /// Batches behind the direction; 0 for a random one.
    pub batches: u64,
    /// The direction.
    pub direction: String,
    /// The draw of a random direction, from 0.
    pub draw: u64,
    /// The fall of the loss of the gradient's own batches; none for a random direction.
    pub gain: Option<f64>,
    /// The fall of the loss on pretraining text.
    pub fall: f64,
    /// The second derivative of the loss on pretraining text.
    pub curvature: f64,
}

/// The survey's findings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Surveyed {
    /// L_pre of the checkpoint.
    pub pretrain: f64,
    /// L_task of the checkpoint.
    pub task: f64,
    /// Steps.
    pub moved: Vec<Moved>,
    /// Derivatives.
    pub bends: Vec<Bend>,
}

/// A direction with what is known of it.
struct Named {
    batches: u64,
    name: String,
    draw: u64,
    direction: Direction,
    /// The gradient that it was made of.
    gradient: Option<Direction>,
}

impl Named {
    /// How far to go along it, for a step of some length on these weights and a task of some loss; infinite or NaN for
    /// a direction of zeros.
    fn eta(&self, weights: &Direction, task: f64, (length, amount): (Length, f64)) -> Result<f64> {
        let ids: Vec<ParameterId> = self.direction.iter().map(|(id, _)| id).collect();
        Ok(match (length, &self.gradient) {
            (Length::Gain, Some(gradient)) => amount * task / gradient.within(&ids).dot(&self.direction)?,
            (Length::Gain, None) => {
                return Err(ExperimentError::value("gain", "a direction of no gradient", "one of a gradient"));
            }
            (Length::Relative, _) => amount * weights.within(&ids).norm()? / self.direction.norm()?,
            (Length::Absolute, _) => amount * (self.direction.count() as f64).sqrt() / self.direction.norm()?,
        })
    }
}

/// A rule with its state of every matrix.
struct Fed {
    config: RuleConfig,
    rule: Box<dyn UpdateRule>,
    states: BTreeMap<ParameterId, State>,
}

/// The gradient of the first batches and what rules make of them, grown batch by batch.
struct Gathered {
    /// Sum of the batches' mean gradients, each weighted by its targets, and the sum of the weights.
    sum: Option<(Direction, f64)>,
    rules: Vec<Fed>,
    /// The last direction of every rule.
    updates: Vec<Direction>,
}

impl Gathered {
    fn new(rules: &[RuleConfig]) -> Result<Self> {
        let fed = |&config: &RuleConfig| -> Result<Fed> {
            Ok(Fed { config, rule: config.without_decay().rule()?, states: BTreeMap::new() })
        };
        let rules = rules.iter().map(fed);
        Ok(Self { sum: None, rules: rules.collect::<Result<_>>()?, updates: Vec::new() })
    }

    fn add(&mut self, gradient: &Direction, weight: f64, step: u64) -> Result<()> {
        let weighted = match &self.sum {
            None => (gradient.combined(weight, gradient, 0.0)?, weight),
            Some((sum, total)) => (sum.combined(1.0, gradient, weight)?, total + weight),
        };
        self.sum = Some(weighted);
        self.updates.clear();
        for Fed { rule, states, .. } in &mut self.rules {
            // From zero with a rate of 1, what comes out is minus the update.
            let update = gradient.map(|id, gradient| -> Result<Tensor> {
                let zero = gradient.zeros_like().map_err(models::Error::from)?;
                let state = match states.entry(id) {
                    Entry::Vacant(place) => place.insert(rule.initial_state(&zero)?),
                    Entry::Occupied(place) => place.into_mut(),
                };
                let size = StepSize { step, learning_rate: 1.0, precision: models::Precision::F32 };
                Ok(rule.update(&zero, gradient, state, size)?)
            })?;
            self.updates.push(update.combined(-1.0, &update, 0.0)?);
        }
        Ok(())
    }

    /// The mean gradient so far and all directions that come from it.
    fn directions(&self, survey: &Survey, batches: u64) -> Result<Vec<Named>> {
        let Some((sum, total)) = &self.sum else { return Ok(Vec::new()) };
        let gradient = sum.combined(1.0 / total, sum, 0.0)?;
        let mut found = vec![
            ("raw".to_owned(), gradient.clone()),
            ("sign".to_owned(), gradient.map(|_, part| signs(part))?),
            ("polar".to_owned(), gradient.map(|_, part| scaled_polar(part))?),
            (format!("rank-{}", survey.rank), gradient.map(|_, part| of_rank(part, survey.rank))?),
        ];
        let own = self.rules.iter().map(|fed| fed.config.name().as_str().to_owned());
        found.extend(own.zip(self.updates.iter().cloned()));
        let named = |(name, direction)| Named { batches, name, draw: 0, direction, gradient: Some(gradient.clone()) };
        Ok(found.into_iter().map(named).collect())
    }
}

/// The checkpoint and what every step is measured against.
struct Ground<'a> {
    start: &'a Start,
    network: Transformer,
    held_out: Vec<Batch>,
    pretrain: f64,
    task: f64,
    weights: Direction,
}

impl Ground<'_> {
    /// Moves the weights against a direction and measures, the task's loss too if `with_task`.
    fn step(&self, named: &Named, part: &str, (length, amount): (Length, f64), with_task: bool) -> Result<Moved> {
        let size = named.direction.norm()?;
        let eta = named.eta(&self.weights, self.task, (length, amount))?;
        let (mut forgetting, mut learned) = (None, None);
        // A direction of zeros, or one that gains nothing, leads nowhere.
        if eta.is_finite() {
            let moved = self.network.moved(&named.direction, -eta)?;
            forgetting = finite(mean_loss(&moved, &self.held_out)? - self.pretrain);
            if with_task {
                learned = finite(self.task - self.start.task.loss(&moved)?);
            }
        }
        Ok(Moved {
            part: part.into(),
            batches: named.batches,
            direction: named.name.clone(),
            draw: named.draw,
            length,
            amount,
            step: finite(eta.abs() * size).unwrap_or(0.0),
            forgetting,
            learned,
        })
    }
}

fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

impl Landscape {
    /// The directions of gradients, by their numbers of batches, and the noise of a batch's update.
    fn of_gradients(&self, network: &Transformer, ids: &[ParameterId], work: &Work<'_>) -> Result<Vec<Named>> {
        let Self { start, survey } = self;
        let mut source = start.task.source(start.context(), start.seed, start.order)?;
        let mut gathered = Gathered::new(&survey.rules)?;
        let (mut found, mut first) = (Vec::new(), Vec::new());
        for step in 0..survey.batches.iter().copied().max().unwrap_or(0).max(2) {
            let batch = source.batch(step, survey.sequences)?;
            let (weight, tokens) = (batch.target_count() as f64, batch.ids().len() as u64);
            let (_, gradient) = network.mean_gradient(&[batch], ids)?;
            gathered.add(&gradient, weight, step + 1)?;
            if survey.batches.contains(&(step + 1)) {
                found.extend(gathered.directions(survey, step + 1)?);
            }
            if step < 2 {
                first.push(gradient);
            }
            work.advance(tokens);
        }
        type Change = fn(&Tensor) -> Result<Tensor>;
        for (name, change) in [("noise-sign", signs as Change), ("noise-polar", scaled_polar)] {
            let update = |gradient: &Direction| gradient.map(|_, part| change(part));
            let direction = update(&first[0])?.combined(1.0, &update(&first[1])?, -1.0)?;
            found.push(Named { batches: 1, name: name.into(), draw: 0, direction, gradient: None });
        }
        Ok(found)
    }

    fn random(&self, like: &Direction) -> Result<Vec<Named>> {
        let mut found = Vec::new();
        for null in Null::ALL {
            for draw in 0..self.survey.draws {
                let stream = seeds::stream(self.start.seed, &format!("landscape {} {draw}", null.name()));
                let mut rng = ChaCha8Rng::seed_from_u64(stream);
                let direction = like.map(|_, part| null.draw(part, &mut rng))?;
                found.push(Named { batches: 0, name: null.name().into(), draw, direction, gradient: None });
            }
        }
        Ok(found)
    }

    /// Steps of every chosen length.
    fn steps(&self, ground: &Ground<'_>, directions: &[Named], kinds: &[(ParameterId, String)]) -> Result<Vec<Moved>> {
        let survey = &self.survey;
        let norms = [(Length::Relative, survey.relative), (Length::Absolute, survey.absolute)];
        let gains: Vec<(Length, f64)> = survey.gains.iter().map(|&gain| (Length::Gain, gain)).collect();
        let mut moved = Vec::new();
        for named in directions {
            let lengths = gains.iter().filter(|_| named.gradient.is_some()).chain(&norms);
            for &length in lengths {
                let with_task = length.0 == Length::Gain && named.batches == survey.reference;
                moved.push(ground.step(named, ALL_PARTS, length, with_task)?);
            }
        }
        let mut names: Vec<&String> = kinds.iter().map(|(_, kind)| kind).collect();
        names.sort();
        names.dedup();
        let of_reference =
            |named: &&Named| named.batches == survey.reference && ["sign", "polar"].contains(&named.name.as_str());
        for named in directions.iter().filter(of_reference) {
            for kind in &names {
                let ids: Vec<ParameterId> = kinds.iter().filter(|(_, of)| of == *kind).map(|(id, _)| *id).collect();
                let part = Named {
                    name: named.name.clone(),
                    direction: named.direction.within(&ids),
                    gradient: named.gradient.clone(),
                    ..*named
                };
                moved.push(ground.step(&part, kind, (Length::Gain, survey.reference_gain), false)?);
            }
        }
        Ok(moved)
    }

    /// Derivatives along the directions of the reference number of batches, and along those of none.
    fn bends(&self, ground: &Ground<'_>, directions: &[Named], ids: &[ParameterId]) -> Result<Vec<Bend>> {
        let few = Start { text_windows: self.survey.curvature_windows, ..self.start.clone() }.held_out()?;
        let (_, pretrain) = ground.network.mean_gradient(&few, ids)?;
        let of_interest = |named: &&Named| named.gradient.is_none() || named.batches == self.survey.reference;
        let mut bends = Vec::new();
        for named in directions.iter().filter(of_interest) {
            let size = named.direction.norm()?;
            // Two batches of one text can leave no difference.
            if size == 0.0 {
                continue;
            }
            let product = ground.network.hessian_product(&few, &named.direction, DIFFERENCE)?;
            let gain = named.gradient.as_ref().map(|gradient| gradient.dot(&named.direction)).transpose()?;
            bends.push(Bend {
                batches: named.batches,
                direction: named.name.clone(),
                draw: named.draw,
                gain: gain.map(|gain| gain / size),
                fall: pretrain.dot(&named.direction)? / size,
                curvature: product.dot(&named.direction)? / (size * size),
            });
        }
        Ok(bends)
    }
}

impl Stage for Landscape {
    const KIND: &'static str = "landscape";
    const SEMANTICS: u32 = 1;
    type Key = LandscapeKey;
    type Output = Surveyed;

    fn key(&self) -> LandscapeKey {
        LandscapeKey {
            measured: self.start.key(),
            survey: self.survey.clone(),
            seed: self.start.seed,
            order: self.start.order,
        }
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.start.checkpoint.clone()]
    }

    fn label(&self) -> String {
        let Start { checkpoint_name, task, seed, .. } = &self.start;
        format!("landscape of {checkpoint_name} on {} seed {seed}", task.name())
    }

    /// About: evaluations of all steps, and the gradients.
    fn cost(&self) -> u64 {
        let Survey { batches, gains, rules, draws, sequences, .. } = &self.survey;
        let directions = (batches.len() * (4 + rules.len())) as u64;
        let evaluations = directions * (gains.len() as u64 + 2) + 4 + 6 * draws + 14;
        let gradients = batches.iter().max().unwrap_or(&0) * (sequences * self.start.context()) as u64;
        gradients + evaluations * self.start.cost()
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<Surveyed, Failure> {
        let network = self.start.network.load(&work.input(&self.start.checkpoint)?)?;
        let kinds = hidden_matrices(network.parameters());
        let ids: Vec<ParameterId> = kinds.iter().map(|(id, _)| *id).collect();
        let held_out = self.start.held_out()?;
        let ground = Ground {
            start: &self.start,
            pretrain: mean_loss(&network, &held_out)?,
            task: self.start.task.loss(&network)?,
            weights: Direction::of_values(network.parameters(), &ids)?,
            network,
            held_out,
        };
        let mut directions = self.of_gradients(&ground.network, &ids, work)?;
        directions.extend(self.random(&ground.weights)?);
        let moved = self.steps(&ground, &directions, &kinds)?;
        let bends = self.bends(&ground, &directions, &ids)?;
        Ok(Surveyed { pretrain: ground.pretrain, task: ground.task, moved, bends })
    }

    fn summary(output: &Surveyed) -> String {
        format!("{} steps, {} curvatures", output.moved.len(), output.bends.len())
    }
}

#[cfg(test)]
mod tests {
    use models::ModelConfig;
    use models::optim::{AdamW, Muon, Orthogonalizer};

    use super::*;

    fn network() -> (Transformer, Vec<ParameterId>) {
        let network = Transformer::new(&ModelConfig::llama(19, 8, 1, 16, 4, 2), 3).unwrap();
        let ids = hidden_matrices(network.parameters()).into_iter().map(|(id, _)| id).collect();
        (network, ids)
    }

    fn batch(seed: u32) -> Batch {
        let ids = |factor: u32| (0..32).map(|i| (i * factor + seed) % 19).collect();
        Batch::new(ids(7), ids(5), 8).unwrap()
    }

    fn survey() -> Survey {
        // Without averaging, each is a function of the last gradient.
        let adamw = AdamW { beta1: 0.0, beta2: 0.0, ..AdamW::default() };
        let muon = Muon { momentum: 0.0, orthogonalizer: Orthogonalizer::Exact, ..Muon::default() };
        Survey {
            batches: vec![2],
            sequences: 4,
            gains: vec![0.03],
            relative: 0.01,
            absolute: 1e-3,
            rank: 2,
            rules: vec![RuleConfig::AdamW(adamw), RuleConfig::Muon(muon)],
            draws: 1,
            reference: 2,
            reference_gain: 0.03,
            curvature_windows: 1,
        }
    }

    /// The directions of two batches of which one counts three times as much as the other.
    fn directions() -> (Transformer, [Direction; 2], Vec<Named>) {
        let (network, ids) = network();
        let gradients = [1, 2].map(|seed| network.mean_gradient(&[batch(seed)], &ids).unwrap().1);
        let mut gathered = Gathered::new(&survey().rules).unwrap();
        gathered.add(&gradients[0], 3.0, 1).unwrap();
        gathered.add(&gradients[1], 1.0, 2).unwrap();
        let found = gathered.directions(&survey(), 2).unwrap();
        (network, gradients, found)
    }

    /// The cosine of the angle between two directions.
    fn cosine(a: &Direction, b: &Direction) -> f64 {
        a.dot(b).unwrap() / (a.norm().unwrap() * b.norm().unwrap())
    }

    #[test]
    fn directions_come_from_the_mean_gradient_and_updates_from_the_last_batch() {
        let (_, [first, second], found) = directions();
        let names: Vec<&str> = found.iter().map(|named| named.name.as_str()).collect();
        assert_eq!(names, ["raw", "sign", "polar", "rank-2", "adamw", "muon"]);
        let mean = first.combined(0.75, &second, 0.25).unwrap();
        let off = found[0].direction.combined(1.0, &mean, -1.0).unwrap().norm().unwrap();
        assert!(off < 1e-6 * mean.norm().unwrap(), "{off}");
        // All of them go down the loss, the gradient itself most.
        for named in &found[..4] {
            assert!(named.direction.dot(&mean).unwrap() > 0.0, "{}", named.name);
        }
        let of_last = |change: fn(&Tensor) -> Result<Tensor>| second.map(|_, part| change(part)).unwrap();
        assert!(cosine(&found[4].direction, &of_last(signs)) > 0.99);
        assert!(cosine(&found[5].direction, &of_last(scaled_polar)) > 0.999);
    }

    #[test]
    fn a_step_has_the_gain_or_the_length_that_was_asked_for() {
        let (network, _, found) = directions();
        let ids: Vec<ParameterId> = found[0].direction.iter().map(|(id, _)| id).collect();
        let weights = Direction::of_values(network.parameters(), &ids).unwrap();
        for named in &found {
            let gradient = named.gradient.as_ref().unwrap();
            let eta = |length| named.eta(&weights, 4.0, length).unwrap();
            let gain = eta((Length::Gain, 0.03)) * gradient.dot(&named.direction).unwrap();
            assert!((gain - 0.12).abs() < 1e-6, "{gain}");
            let size = named.direction.norm().unwrap();
            let relative = eta((Length::Relative, 0.02)) * size / weights.norm().unwrap();
            assert!((relative - 0.02).abs() < 1e-6, "{relative}");
            let square = (eta((Length::Absolute, 1e-3)) * size).powi(2) / named.direction.count() as f64;
            assert!((square.sqrt() - 1e-3).abs() < 1e-8, "{square}");
        }
        let random = Named { gradient: None, ..found.into_iter().next().unwrap() };
        assert!(random.eta(&weights, 4.0, (Length::Gain, 0.03)).is_err());
    }
}
