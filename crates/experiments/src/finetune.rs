//! The finetuning stage, and the measurement of a checkpoint before it.

use models::lora::LoraConfig;
use models::optim::Optimizer;
use models::schedule::Schedule;
use models::{Batch, Transformer, checkpoint, mean_loss};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::preset::{EvaluationPreset, FinetunePreset, FinetuneScope, InitialState, MethodPreset, Preset};
use crate::pretrain::{Pretraining, held_out, load_checkpoint};
use crate::seeds;
use crate::stats::EndPoint;
use crate::store::{StageKey, StageState, Store};
use crate::tasks::TaskData;
use crate::training::{OPTIMIZER, Plan, Trained};

/// Raised when a fix changes what a finetuning computes.
const SEMANTICS: u32 = 1;
/// Raised when a fix changes what a measurement computes.
const MEASURE_SEMANTICS: u32 = 1;

/// Held-out losses of a model, in nats per token, and its exact match.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Losses {
    /// L_pre.
    pub pretrain: f64,
    /// L_task.
    pub task: f64,
    /// A_task, for a task with answers.
    pub exact_match: Option<f64>,
}

impl Losses {
    fn are_finite(&self) -> bool {
        self.pretrain.is_finite() && self.task.is_finite()
    }
}

/// Both losses after some steps of a run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Along {
    /// Steps done.
    pub step: u64,
    /// L_pre.
    pub pretrain: f64,
    /// L_task.
    pub task: f64,
}

/// What a finetuning run led to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FinetuneResult {
    /// Losses at the end; `None` if the run diverged.
    pub end: Option<Losses>,
    /// Points along the run.
    pub along: Vec<Along>,
}

/// A checkpoint and a task.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    /// The pretraining that made the checkpoint.
    pub pretraining: Pretraining<'a>,
    /// The task.
    pub task: &'a TaskData,
}

/// One finetuning: a start, a method and a learning rate.
#[derive(Clone, Copy)]
pub struct Finetuning<'a> {
    /// Where it starts.
    pub start: Start<'a>,
    /// The method.
    pub method: &'a MethodPreset,
    /// The peak learning rate.
    pub rate: f64,
}

#[derive(Serialize)]
struct MeasureConfig<'a> {
    task: &'a str,
    examples: &'a str,
    evaluation: &'a EvaluationPreset,
}

#[derive(Serialize)]
struct FinetuneConfig<'a> {
    task: &'a str,
    examples: &'a str,
    policy: String,
    lora: Option<LoraConfig>,
    evaluation: &'a EvaluationPreset,
    method: &'a str,
    optimizer: &'static str,
    lora_rank: Option<usize>,
    scope: Option<FinetuneScope>,
    rate: f64,
    finetune: &'a FinetunePreset,
}

impl Start<'_> {
    fn preset(&self) -> &Preset {
        self.pretraining.preset
    }

    /// Tokens of one measurement of both losses.
    fn evaluation_tokens(&self) -> u64 {
        let preset = self.preset();
        (preset.evaluation.pretrain_windows * preset.model.context + self.task.held_out_tokens()) as u64
    }

    /// The cost of measuring the checkpoint; a forward is about a third of a training step.
    pub fn tokens(&self) -> u64 {
        self.evaluation_tokens() / 3
    }

    /// Names the measurement in lines and errors.
    pub fn label(&self) -> String {
        format!("measure {} on {} seed {}", self.pretraining.checkpoint.name, self.task.name(), self.pretraining.seed)
    }

    fn measure(&self, network: &Transformer, held_out: &[Batch]) -> Result<Losses> {
        Ok(Losses {
            pretrain: mean_loss(network, held_out)?,
            task: self.task.loss(network)?,
            exact_match: self.task.exact_match(network)?,
        })
    }

    /// The stage's key.
    ///
    /// # Errors
    /// If the configuration cannot be serialised.
    pub fn key(&self) -> Result<StageKey> {
        let evaluation = &self.preset().evaluation;
        let config = MeasureConfig { task: self.task.name(), examples: self.task.fingerprint(), evaluation };
        let input = self.pretraining.key()?;
        Ok(StageKey::new("measure", MEASURE_SEMANTICS, &config, std::slice::from_ref(input.id()))?)
    }

    /// The checkpoint's losses before any finetuning.
    ///
    /// # Errors
    /// If the checkpoint or the store fails.
    pub fn losses(&self, store: &Store) -> Result<Losses> {
        let (preset, data) = (self.preset(), self.pretraining.data);
        let mut stage = match store.enter(&self.key()?)? {
            StageState::Done(stage) => return Ok(stage.files().read_json("result.json")?),
            StageState::Fresh(stage) | StageState::Started(stage, _) => stage,
        };
        let network = load_checkpoint(&self.pretraining.finished(store)?, preset, data)?;
        let losses = self.measure(&network, &held_out(preset, data)?)?;
        stage.files().write_json("result.json", &losses)?;
        stage.finish()?;
        Ok(losses)
    }
}

impl Finetuning<'_> {
    /// Names the run in lines and errors.
    pub fn label(&self) -> String {
        let pretraining = &self.start.pretraining;
        format!(
            "finetune {} on {} with {} at {} seed {}",
            pretraining.checkpoint.name,
            self.start.task.name(),
            self.method.name,
            self.rate,
            pretraining.seed
        )
    }

    /// The cost of the run in training tokens, with its measurements.
    pub fn tokens(&self) -> u64 {
        let preset = self.start.preset();
        let measurements = preset.finetune.along + 1;
        preset.finetune.steps * (preset.finetune.sequences * preset.model.context) as u64
            + measurements * self.start.evaluation_tokens() / 3
    }

    /// The stage's key.
    ///
    /// # Errors
    /// If the configuration cannot be serialised.
    pub fn key(&self) -> Result<StageKey> {
        let preset = self.start.preset();
        let config = FinetuneConfig {
            task: self.start.task.name(),
            examples: self.start.task.fingerprint(),
            policy: format!("{:?}", self.method.policy(self.rate, &preset.finetune)),
            lora: self.method.lora(),
            evaluation: &preset.evaluation,
            method: &self.method.name,
            optimizer: self.method.optimizer.as_str(),
            lora_rank: self.method.lora_rank,
            scope: self.method.scope,
            rate: self.rate,
            finetune: &preset.finetune.shared(),
        };
        let input = self.start.pretraining.key()?;
        Ok(StageKey::new("finetune", SEMANTICS, &config, std::slice::from_ref(input.id()))?)
    }

    /// The network with this method's adapters, and the optimizer in its initial state.
    fn prepare(&self, store: &Store) -> Result<(Transformer, Optimizer)> {
        let pretraining = &self.start.pretraining;
        let preset = pretraining.preset;
        let stage = pretraining.finished(store)?;
        let mut network = load_checkpoint(&stage, preset, pretraining.data)?;
        if let Some(lora) = self.method.lora() {
            network.add_lora(&lora, seeds::stream(pretraining.seed, "lora"))?;
        }
        let policy = self.method.policy(self.rate, &preset.finetune);
        let mut optimizer = Optimizer::new(network.parameters_mut(), &policy)?;
        let same = self.method.lora_rank.is_none() && self.method.optimizer == pretraining.checkpoint.optimizer;
        if preset.finetune.state == InitialState::Carried && same {
            optimizer.carry_over(network.parameters(), &stage.files().path(OPTIMIZER)?)?;
        }
        Ok((network, optimizer))
    }

    /// The result, computed or read; `advance` gets the tokens of each step, `skip` those of an earlier run.
    ///
    /// # Errors
    /// If training or the store fails.
    pub fn run(&self, store: &Store, mut advance: impl FnMut(u64), skip: impl FnOnce(u64)) -> Result<FinetuneResult> {
        let (mut stage, snapshot) = match store.enter(&self.key()?)? {
            StageState::Done(stage) => {
                skip(self.tokens());
                return Ok(stage.files().read_json("result.json")?);
            }
            StageState::Fresh(stage) => (stage, None),
            StageState::Started(stage, snapshot) => (stage, Some(snapshot)),
        };
        let pretraining = &self.start.pretraining;
        let (preset, data) = (pretraining.preset, pretraining.data);
        let finetune = &preset.finetune;
        let (network, optimizer) = self.prepare(store)?;
        let mut trained: Trained<Along> = Trained::new(network, optimizer);
        if let Some(snapshot) = snapshot {
            trained.restore(&snapshot)?;
            skip(trained.steps * (finetune.sequences * preset.model.context) as u64);
        }
        let held_out = held_out(preset, data)?;
        let mut source = self.start.task.source(preset.model.context, pretraining.seed)?;
        let warmup = (finetune.warmup * finetune.steps as f64).round() as u64;
        let schedule = Schedule { steps: finetune.steps, warmup, decay: finetune.decay };
        let plan = Plan {
            sequences: finetune.sequences,
            micro_batch: finetune.micro_batch,
            schedule,
            clip: finetune.clip,
            snapshot_every: pretraining.snapshot_every,
        };
        let interval = (finetune.steps / (finetune.along + 1)).max(1);
        let observe = |step: u64, network: &Transformer| -> Result<Option<Along>> {
            let wanted = finetune.along > 0 && step > 0 && step.is_multiple_of(interval) && step < finetune.steps;
            if !wanted {
                return Ok(None);
            }
            let (pretrain, task) = (mean_loss(network, &held_out)?, self.start.task.loss(network)?);
            Ok((pretrain + task).is_finite().then_some(Along { step, pretrain, task }))
        };
        trained.train(&mut stage, source.as_mut(), plan, observe, &mut advance)?;
        let end = match trained.diverged {
            true => None,
            // The last step may have been the one that made a loss infinite.
            false => Some(self.start.measure(&trained.model, &held_out)?).filter(Losses::are_finite),
        };
        let result = FinetuneResult { end, along: trained.points };
        if finetune.keep_weights {
            trained.model.merge_lora()?;
            let files = stage.files();
            files.write_with(checkpoint::WEIGHTS, |path| checkpoint::save_weights(&trained.model, path))?;
            files.write(checkpoint::CONFIG, checkpoint::config_text(trained.model.config()).as_bytes())?;
        }
        stage.files().write_json("result.json", &result)?;
        stage.finish()?;
        Ok(result)
    }

    /// The row of `results.csv`.
    pub fn end_point(&self, before: &Losses, result: &FinetuneResult) -> EndPoint {
        let pretraining = &self.start.pretraining;
        EndPoint {
            checkpoint: pretraining.checkpoint.name.clone(),
            task: self.start.task.name().into(),
            method: self.method.name.clone(),
            learning_rate: self.rate,
            seed: pretraining.seed,
            pretrain_loss_before: before.pretrain,
            pretrain_loss_after: result.end.map_or(f64::NAN, |losses| losses.pretrain),
            task_loss_before: before.task,
            task_loss_after: result.end.map_or(f64::NAN, |losses| losses.task),
            exact_match: result.end.and_then(|losses| losses.exact_match),
            diverged: result.end.is_none(),
        }
    }
}
