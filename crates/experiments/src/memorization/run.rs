//! One training: a cell, an optimizer at a learning rate, a seed.

use std::time::Duration;

use models::Transformer;
use models::optim::{Optimizer, Policy};
use models::schedule::Schedule;
use serde::{Deserialize, Serialize};
use synthetic_lm::language::{Config, Group, Language, Learner};

use super::data::{LanguageRows, Questions};
use super::measure::{self, Point, Spectrum};
use super::preset::{Cell, LossTokens, OptimizerPreset, Preset, ProbesPreset};
use crate::error::Result;
use crate::preset::{CheckpointPreset, PretrainPreset};
use crate::seeds;
use crate::store::{StageId, StageKey, StageState, Store};
use crate::training::{Plan, Trained};

/// Raised when a fix changes what a run computes.
const SEMANTICS: u32 = 1;

/// One training.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The preset.
    pub preset: &'a Preset,
    /// Numbers of facts and examples.
    pub cell: Cell,
    /// The optimizer.
    pub optimizer: &'a OptimizerPreset,
    /// Learning rate of the hidden matrices.
    pub rate: f64,
    /// The seed: it fixes the language, the initial weights and the data order.
    pub seed: u64,
    /// Time between snapshots.
    pub snapshot_every: Duration,
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
#[derive(Serialize)]
struct RunConfig<'a> {
    language: &'a Config,
    cell: Cell,
    network: &'a models::ModelConfig,
    training: &'a PretrainPreset,
    loss: LossTokens,
    probes: &'a ProbesPreset,
    optimizer: CheckpointPreset,
    policy: String,
    seed: u64,
    device: &'static str,
    dtype: &'static str,
}

impl Run<'_> {
    /// Names the run in lines and errors.
    pub fn label(&self) -> String {
        let Cell { facts, examples } = self.cell;
        let name = self.optimizer.name.as_str();
        format!("{facts} facts, {examples} examples, {name} at {} seed {}", self.rate, self.seed)
    }

    fn language(&self) -> Result<Language> {
        Ok(Language::new(&self.preset.language(self.cell), seeds::stream(self.seed, "language"))?)
    }

    fn policy(&self) -> Policy {
        self.optimizer.policy(self.rate, self.preset.steps, &self.preset.training)
    }

    /// What tells the run from every other.
    ///
    /// # Errors
    /// If the language refuses its configuration.
    pub fn id(&self) -> Result<StageId> {
        let network = self.preset.model(self.language()?.vocabulary().size());
        Ok(self.key(&network)?.id().clone())
    }

    fn key(&self, network: &models::ModelConfig) -> Result<StageKey> {
        let config = RunConfig {
            language: &self.preset.language(self.cell),
            cell: self.cell,
            network,
            training: &self.preset.training.shared(),
            loss: self.preset.loss,
            probes: &self.preset.probes,
            policy: format!("{:?}", self.policy()),
            optimizer: self.optimizer.at(self.rate, self.preset.steps),
            seed: self.seed,
            device: self.preset.device.kind(),
            dtype: "f32",
        };
        Ok(StageKey::new("memorization", SEMANTICS, &config, &[])?)
    }

    /// The result, computed or read; `advance` gets the tokens of each step, `skip` those of an earlier run.
    ///
    /// # Errors
    /// If training or the store fails.
    pub fn run(&self, store: &Store, advance: impl FnMut(u64), skip: impl FnOnce(u64)) -> Result<RunResult> {
        let Preset { training, steps, network: shape, .. } = self.preset;
        let language = self.language()?;
        let config = self.preset.model(language.vocabulary().size());
        let (mut stage, snapshot) = match store.enter(&self.key(&config)?)? {
            StageState::Done(stage) => {
                skip(self.preset.run_tokens());
                return Ok(stage.files().read_json("result.json")?);
            }
            StageState::Fresh(stage) => (stage, None),
            StageState::Started(stage, snapshot) => (stage, Some(snapshot)),
        };
        let mut network = Transformer::new(&config, seeds::stream(self.seed, "initial weights"))?;
        network.move_to(&self.preset.device.open()?)?;
        let optimizer = Optimizer::new(network.parameters_mut(), &self.policy())?;
        let (parameters, policy) = (network.parameters().count(false), optimizer.describe(network.parameters()));
        let mut trained: Trained<Point> = Trained::new(network, optimizer);
        if let Some(snapshot) = snapshot {
            trained.restore(&snapshot)?;
            skip(trained.steps * (training.sequences * shape.context) as u64);
        }
        let mut source = LanguageRows {
            language: &language,
            context: shape.context,
            loss: self.preset.loss,
            seed: seeds::stream(self.seed, "order"),
        };
        let questions = Questions::draw(self.preset, self.cell, &language, seeds::stream(self.seed, "questions"))?;
        let blind = language.loss(0, Group::Fact, Learner::Blind).map_or(0.0, |loss| loss.answer);
        let warmup = (training.warmup * *steps as f64).round() as u64;
        let schedule = Schedule { steps: *steps, warmup, decay: training.decay };
        let plan = Plan {
            sequences: training.sequences,
            micro_batch: training.micro_batch,
            schedule,
            clip: training.clip,
            snapshot_every: self.snapshot_every,
        };
        let interval = (steps / training.curve_points).max(1);
        let observe = |step: u64, network: &Transformer| -> Result<Option<Point>> {
            if !(step.is_multiple_of(interval) || step == *steps) {
                return Ok(None);
            }
            let point = questions.ask(network, step, blind)?;
            // JSON has no numbers but finite ones.
            Ok((point.training_loss + point.test_loss).is_finite().then_some(point))
        };
        trained.train(&mut stage, &mut source, plan, observe, advance)?;
        let ended = !trained.diverged && trained.points.last().is_some_and(|point| point.step == *steps);
        let spectrum = if ended { Some(measure::spectrum(&trained.model)?) } else { None };
        let result = RunResult { curve: trained.points, spectrum, parameters, policy };
        stage.files().write_json("result.json", &result)?;
        stage.finish()?;
        Ok(result)
    }
}
