//! One training: a cell, an optimizer at a learning rate, a seed.

use lab::error::Failure;
use lab::seeds;
use lab::stage::{Curve, Stage, Work};
use models::Transformer;
use models::optim::{Optimizer, Policy};
use serde::{Deserialize, Serialize};
use synthetic_lm::language::{Group, Language, LanguageConfig, Learner};

use super::data::{LanguageRows, Questions};
use super::measure::{self, Point, Spectrum};
use super::preset::{Cell, LossTokens, MemorizationPreset, OptimizerPreset, ProbesPreset};
use crate::error::Result;
use crate::stages::plausible::{losses, shares};
use crate::stages::{Network, NetworkKey, Trained, Training};

/// One training.
#[derive(Debug, Clone)]
pub struct Run {
    /// Numbers of facts and examples.
    pub cell: Cell,
    /// The optimizer's name and its learning rate on the hidden matrices, for people: the policy has all.
    pub optimizer: (&'static str, f64),
    /// The language.
    pub language: LanguageConfig,
    /// The network.
    pub network: Network,
    /// Which weights are trained with which rule.
    pub policy: Policy,
    /// The loop.
    pub training: Training,
    /// Measurements along the run.
    pub curve_points: u64,
    /// Which tokens carry loss.
    pub loss: LossTokens,
    /// What is asked along the run.
    pub probes: ProbesPreset,
    /// It fixes the language, the initial weights and the data order.
    pub seed: u64,
}

/// What a training led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Measurements along the run, the first before training.
    pub curve: Vec<Point>,
    /// Spectrum of the learned weights; none if the run diverged.
    pub spectrum: Option<Spectrum>,
    /// Numbers in the network.
    pub parameters: usize,
    /// One line a group: which parameters went to which optimizer.
    pub policy: Vec<String>,
}

impl RunResult {
    /// The measurement at the end; none if the run diverged.
    pub fn end(&self) -> Option<&Point> {
        self.spectrum.as_ref().and(self.curve.last())
    }
}

/// What decides the result.
#[derive(Debug, Serialize)]
pub struct RunKey {
    language: LanguageConfig,
    cell: Cell,
    network: NetworkKey,
    policy: Policy,
    training: Training,
    curve_points: u64,
    loss: LossTokens,
    probes: ProbesPreset,
    seed: u64,
}

impl Run {
    /// The run of a preset's optimizer in a cell.
    ///
    /// # Errors
    /// If the language refuses its configuration.
    pub fn new(
        preset: &MemorizationPreset,
        cell: Cell,
        optimizer: &OptimizerPreset,
        rate: f64,
        seed: u64,
    ) -> Result<Self> {
        let language = preset.language(cell);
        let vocabulary = Language::new(&language, language_seed(seed))?.vocabulary().size();
        let network = Network {
            config: preset.model(vocabulary),
            precision: models::Precision::F32,
            device: preset.device.hardware(),
            sequence: None,
        };
        Ok(Self {
            cell,
            optimizer: (optimizer.name.as_str(), rate),
            language,
            network,
            policy: optimizer.policy(rate, &preset.training),
            training: preset.training.training(preset.steps),
            curve_points: preset.training.curve_points,
            loss: preset.loss,
            probes: preset.probes.clone(),
            seed,
        })
    }
}

fn language_seed(seed: u64) -> u64 {
    seeds::stream(seed, "language")
}

impl Stage for Run {
    const KIND: &'static str = "memorization";
    const SEMANTICS: u32 = 3;
    type Key = RunKey;
    type Output = RunResult;

    fn key(&self) -> RunKey {
        RunKey {
            language: self.language.clone(),
            cell: self.cell,
            network: self.network.key(),
            policy: self.policy.clone(),
            training: self.training,
            curve_points: self.curve_points,
            loss: self.loss,
            probes: self.probes.clone(),
            seed: self.seed,
        }
    }

    fn label(&self) -> String {
        let (Cell { facts, examples }, (name, rate)) = (self.cell, self.optimizer);
        format!("memorization {facts} facts, {examples} examples, {name} at {rate} seed {}", self.seed)
    }

    fn cost(&self) -> u64 {
        self.training.tokens(self.network.config.context)
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<RunResult, Failure> {
        let training = &self.training;
        let language = Language::new(&self.language, language_seed(self.seed))?;
        let mut network = self.network.build(seeds::stream(self.seed, "initial weights"))?;
        let optimizer = Optimizer::new(network.parameters_mut(), &self.policy)?;
        let (parameters, policy) = (network.parameters().count(false), optimizer.describe(network.parameters()));
        let mut trained: Trained<Point> = Trained::new(network, optimizer);
        trained.resume(work, training, self.network.context())?;
        let mut source = LanguageRows {
            language: &language,
            context: self.network.config.context,
            loss: self.loss,
            seed: seeds::stream(self.seed, "order"),
        };
        let questions = Questions::draw(&self.probes, self.cell, &language, seeds::stream(self.seed, "questions"))?;
        let blind = language.loss(0, Group::Fact, Learner::Blind).map_or(0.0, |loss| loss.answer);
        let interval = (training.steps / self.curve_points).max(1);
        let observe = |step: u64, network: &Transformer| -> Result<Option<Point>> {
            if !(step.is_multiple_of(interval) || step == training.steps) {
                return Ok(None);
            }
            let point = questions.ask(network, step, blind)?;
            // JSON has no numbers but finite ones.
            Ok((point.training_loss + point.test_loss).is_finite().then_some(point))
        };
        trained.train(work, &mut source, training, observe)?;
        let ended = !trained.diverged && trained.points.last().is_some_and(|point| point.step == training.steps);
        let spectrum = if ended { Some(measure::spectrum(&trained.model)?) } else { None };
        Ok(RunResult { curve: trained.points, spectrum, parameters, policy })
    }

    fn summary(output: &RunResult) -> String {
        match output.end() {
            None => "diverged".into(),
            Some(end) => {
                let facts = end.facts.map_or(String::new(), |share| format!("facts {share:.2}, "));
                format!("{facts}seen {:.2}, test {:.2}", end.seen, end.test)
            }
        }
    }

    fn check(output: &RunResult) -> Result<(), String> {
        output.curve.iter().try_for_each(|point| {
            losses([point.training_loss, point.test_loss])?;
            shares([point.training_accuracy, point.seen, point.validation, point.test])?;
            shares(point.facts.into_iter().chain(point.exceptions))
        })
    }

    fn curves(output: &RunResult) -> Vec<Curve> {
        let curve = |tag: &str, read: fn(&Point) -> Option<f64>| Curve {
            tag: tag.into(),
            points: output.curve.iter().filter_map(|point| Some((point.step, read(point)?))).collect(),
        };
        let curves = [
            curve("accuracy/facts", |p| p.facts),
            curve("accuracy/seen instances", |p| Some(p.seen)),
            curve("accuracy/held-out instances", |p| Some(p.test)),
            curve("loss/held-out instances", |p| Some(p.test_loss)),
        ];
        curves.into_iter().filter(|curve| !curve.points.is_empty()).collect()
    }
}
