//! The pretraining stage: from a preset and tokens to a checkpoint.

use std::time::Duration;

use models::data::PackedText;
use models::optim::Optimizer;
use models::schedule::Schedule;
use models::{Batch, Role, Transformer, checkpoint, mean_loss};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::preset::{CheckpointPreset, Preset, PretrainPreset};
use crate::seeds;
use crate::store::{DoneStage, StageKey, StageState, Store};
use crate::tokens::TokenData;
use crate::training::{OPTIMIZER, Plan, Trained};

/// Raised when a fix changes what a pretraining computes.
const SEMANTICS: u32 = 2;

/// Rows of an evaluation batch.
pub(crate) const EVALUATION_ROWS: usize = 32;

/// What a checkpoint is known by.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PretrainResult {
    /// Measurements of the checkpoint; `None` if the training diverged.
    pub end: Option<CheckpointMeasures>,
    /// Training tokens seen and held-out loss along the way, as long as it was finite.
    pub curve: Vec<(f64, f64)>,
}

/// Measurements of a checkpoint; all are finite, since JSON has no other numbers.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct CheckpointMeasures {
    /// L_pre: mean loss on held-out pretraining text, in nats per token.
    pub loss: f64,
    /// Root mean square of the hidden matrices' entries.
    pub weight_rms: f64,
}

/// One pretraining: a checkpoint and a seed.
#[derive(Debug, Clone, Copy)]
pub struct Pretraining<'a> {
    /// The preset.
    pub preset: &'a Preset,
    /// The checkpoint.
    pub checkpoint: &'a CheckpointPreset,
    /// The seed.
    pub seed: u64,
    /// The text.
    pub data: &'a TokenData,
    /// Time between the snapshots of this run and of the finetunings from it.
    pub snapshot_every: Duration,
}

/// What decides the result.
#[derive(Serialize)]
struct Config<'a> {
    checkpoint: &'a CheckpointPreset,
    policy: String,
    model: &'a models::ModelConfig,
    pretrain: &'a PretrainPreset,
    held_out_windows: usize,
    seed: u64,
    device: &'static str,
    dtype: &'static str,
}

impl Pretraining<'_> {
    /// Names the run in lines and errors.
    pub fn label(&self) -> String {
        format!("pretrain {} seed {}", self.checkpoint.name, self.seed)
    }

    /// Training tokens, the cost of the run.
    pub fn tokens(&self) -> u64 {
        self.checkpoint.steps * (self.preset.pretrain.sequences * self.preset.model.context) as u64
    }

    /// The stage's key.
    ///
    /// # Errors
    /// If the configuration cannot be serialised.
    pub fn key(&self) -> Result<StageKey> {
        let config = Config {
            checkpoint: self.checkpoint,
            policy: format!("{:?}", self.checkpoint.policy(&self.preset.pretrain)),
            model: &self.preset.model.config(&self.data.tokenizer),
            pretrain: &self.preset.pretrain.shared(),
            held_out_windows: self.preset.evaluation.pretrain_windows,
            seed: self.seed,
            device: self.preset.device.kind(),
            dtype: self.preset.precision.as_str(),
        };
        Ok(StageKey::new("pretrain", SEMANTICS, &config, std::slice::from_ref(&self.data.id))?)
    }

    /// The result, computed or read; `advance` gets the tokens of each step, `skip` those of an earlier run.
    ///
    /// # Errors
    /// If training or the store fails.
    pub fn run(&self, store: &Store, advance: impl FnMut(u64), skip: impl FnOnce(u64)) -> Result<PretrainResult> {
        let (mut stage, snapshot) = match store.enter(&self.key()?)? {
            StageState::Done(stage) => {
                skip(self.tokens());
                return Ok(stage.files().read_json("result.json")?);
            }
            StageState::Fresh(stage) => (stage, None),
            StageState::Started(stage, snapshot) => (stage, Some(snapshot)),
        };
        let Preset { model, pretrain, .. } = self.preset;
        let mut network = network(self.preset, self.data, seeds::stream(self.seed, "initial weights"))?;
        let optimizer = Optimizer::new(network.parameters_mut(), &self.checkpoint.policy(pretrain))?;
        let mut trained: Trained<(f64, f64)> = Trained::new(network, optimizer);
        let step_tokens = (pretrain.sequences * model.context) as u64;
        if let Some(snapshot) = snapshot {
            trained.restore(&snapshot)?;
            skip(trained.steps * step_tokens);
        }
        let order = seeds::stream(self.seed, "pretraining order");
        let mut source = PackedText::new(self.data.prose_train.clone(), model.context, order)?;
        let held_out = held_out(self.preset, self.data)?;
        let steps = self.checkpoint.steps;
        let warmup = (pretrain.warmup * steps as f64).round() as u64;
        let schedule = Schedule { steps, warmup, decay: pretrain.decay };
        let plan = Plan {
            sequences: pretrain.sequences,
            micro_batch: pretrain.micro_batch,
            schedule,
            clip: pretrain.clip,
            snapshot_every: self.snapshot_every,
        };
        let interval = (steps / pretrain.curve_points.max(1)).max(1);
        let observe = |step: u64, network: &Transformer| -> Result<Option<(f64, f64)>> {
            if step == 0 || !(step.is_multiple_of(interval) || step == steps) {
                return Ok(None);
            }
            let loss = mean_loss(network, &held_out)?;
            Ok(loss.is_finite().then_some(((step * step_tokens) as f64, loss)))
        };
        trained.train(&mut stage, &mut source, plan, observe, advance)?;
        let end = match trained.diverged {
            true => None,
            false => {
                let loss = mean_loss(&trained.model, &held_out)?;
                let weight_rms = hidden_rms(&trained.model)?;
                // The last step may have been the one that made the loss infinite.
                loss.is_finite().then_some(CheckpointMeasures { loss, weight_rms })
            }
        };
        let result = PretrainResult { end, curve: trained.points };
        let files = stage.files();
        files.write_with(checkpoint::WEIGHTS, |path| checkpoint::save_weights(&trained.model, path))?;
        files.write(checkpoint::CONFIG, checkpoint::config_text(trained.model.config()).as_bytes())?;
        files.write_with(OPTIMIZER, |path| trained.optimizer.save(trained.model.parameters(), path))?;
        if let Some(json) = self.data.tokenizer.to_json()? {
            files.write("tokenizer.json", json.as_bytes())?;
        }
        files.write_json("result.json", &result)?;
        stage.finish()?;
        Ok(result)
    }

    /// The finished checkpoint's files.
    ///
    /// # Errors
    /// If the store cannot be read or the stage is not there.
    pub fn finished(&self, store: &Store) -> Result<DoneStage> {
        let key = self.key()?;
        store
            .find(&key)?
            .ok_or_else(|| crate::error::ExperimentError::value("run store", "no checkpoint", key.id().as_str()))
    }
}

/// The preset's network with initial weights from `seed`, on its device.
///
/// # Errors
/// If the shape does not fit together.
pub fn network(preset: &Preset, data: &TokenData, seed: u64) -> Result<Transformer> {
    let mut network = Transformer::new(&preset.model.config(&data.tokenizer), seed)?;
    network.parameters_mut().set_precision(preset.precision);
    network.move_to(&preset.device.open()?)?;
    Ok(network)
}

/// The checkpoint in a finished pretraining stage.
///
/// # Errors
/// If a file is damaged.
pub fn load_checkpoint(stage: &DoneStage, preset: &Preset, data: &TokenData) -> Result<Transformer> {
    let mut network = network(preset, data, 0)?;
    checkpoint::load_weights(&mut network, &stage.files().path(checkpoint::WEIGHTS)?)?;
    Ok(network)
}

/// The held-out pretraining text on which L_pre is measured.
///
/// # Errors
/// If there is less than one window.
pub fn held_out(preset: &Preset, data: &TokenData) -> Result<Vec<Batch>> {
    let text = PackedText::new(data.prose_held_out.clone(), preset.model.context, 0)?;
    Ok(text.spread(preset.evaluation.pretrain_windows, EVALUATION_ROWS)?)
}

fn hidden_rms(network: &Transformer) -> Result<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for (_, parameter) in network.parameters().iter() {
        if matches!(parameter.role, Role::HiddenMatrix(_)) {
            let values: Vec<f32> =
                parameter.value.flatten_all().and_then(|v| v.to_vec1()).map_err(models::Error::from)?;
            sum += values.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>();
            count += values.len();
        }
    }
    Ok((sum / f64::from(count as u32)).sqrt())
}
