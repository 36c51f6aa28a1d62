//! The finetuning stage.

use lab::error::Failure;
use lab::seeds;
use lab::stage::{Curve, Stage, Work};
use lab::store::StageId;
use models::lora::LoraConfig;
use models::optim::{Optimizer, Policy};
use models::{Batch, Transformer, mean_loss};
use serde::{Deserialize, Serialize};

use super::OPTIMIZER;
use super::end_point::EndPoint;
use super::measure::{Losses, MeasureKey, Start};
use super::network::{keep, keep_adapter};
use super::plausible::losses;
use super::training::{Trained, Training};
use crate::error::Result;

/// Both losses after some steps of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Along {
    /// Steps done.
    pub step: u64,
    /// L_pre.
    pub pretrain: f64,
    /// L_task.
    pub task: f64,
}

/// What a finetuning run led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinetuneResult {
    /// Losses at the end; `None` if the run diverged.
    pub end: Option<Losses>,
    /// Points along the run.
    pub along: Vec<Along>,
    /// Steps done.
    pub steps: u64,
}

/// One finetuning: a start, a method and a learning rate.
#[derive(Clone)]
pub struct Finetuning {
    /// Where it starts, and what it is measured on.
    pub start: Start,
    /// The method's name, for people.
    pub method: String,
    /// The peak learning rate, for people: the policy has all rates.
    pub rate: f64,
    /// Which weights are trained with which rule.
    pub policy: Policy,
    /// Adapters, for LoRA.
    pub lora: Option<LoraConfig>,
    /// Whether the optimizer goes on with the checkpoint's state, and not from zero.
    pub carries_state: bool,
    /// The loop.
    pub training: Training,
    /// Points along the run at which both losses are measured.
    pub along: u64,
    /// Whether the finetuned weights are kept.
    pub keep_weights: bool,
    /// Whether LoRA's adapters are kept as they are, in place of weights that they are merged into.
    pub keep_adapter: bool,
}

/// What decides the result, beside the checkpoint.
#[derive(Debug, Serialize)]
pub struct FinetuneKey {
    measured: MeasureKey,
    policy: Policy,
    lora: Option<LoraConfig>,
    carries_state: bool,
    training: Training,
    along: u64,
    keep_weights: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keep_adapter: bool,
    seed: u64,
    order: u64,
}

impl Finetuning {
    /// The network with this method's adapters, and the optimizer in its initial state.
    fn prepare(&self, work: &Work<'_>) -> Result<(Transformer, Optimizer)> {
        let stage = work.input(&self.start.checkpoint)?;
        let mut network = self.start.network.load(&stage)?;
        if let Some(lora) = &self.lora {
            network.add_lora(lora, seeds::stream(self.start.seed, "lora"))?;
        }
        let mut optimizer = Optimizer::new(network.parameters_mut(), &self.policy)?;
        if self.carries_state {
            optimizer.carry_over(network.parameters(), &stage.files().path(OPTIMIZER)?)?;
        }
        Ok((network, optimizer))
    }

    /// Trains to the end of the schedule or to divergence; `held_out` is what L_pre is measured on along the way.
    pub(super) fn train(&self, work: &mut Work<'_>, held_out: &[Batch]) -> Result<Trained<Along>> {
        let Self { start, training, along, .. } = self;
        let (network, optimizer) = self.prepare(work)?;
        let mut trained: Trained<Along> = Trained::new(network, optimizer);
        trained.resume(work, training, start.context())?;
        let mut source = start.task.source(start.context(), start.seed, start.order)?;
        let interval = (training.steps / (along + 1)).max(1);
        let observe = |step: u64, network: &Transformer| -> Result<Option<Along>> {
            if !(*along > 0 && step > 0 && step.is_multiple_of(interval) && step < training.steps) {
                return Ok(None);
            }
            let (pretrain, task) = (mean_loss(network, held_out)?, start.task.loss(network)?);
            Ok((pretrain + task).is_finite().then_some(Along { step, pretrain, task }))
        };
        trained.train(work, source.as_mut(), training, observe)?;
        Ok(trained)
    }

    /// The row of the results.
    pub fn end_point(&self, before: &Losses, result: &FinetuneResult) -> EndPoint {
        EndPoint {
            task: self.start.task.name().into(),
            checkpoint: self.start.checkpoint_name.clone(),
            method: self.method.clone(),
            learning_rate: self.rate,
            seed: self.start.seed,
            order: self.start.order,
            pretrain_loss_before: before.pretrain,
            pretrain_loss_after: result.end.map_or(f64::NAN, |losses| losses.pretrain),
            task_loss_before: before.task,
            task_loss_after: result.end.map_or(f64::NAN, |losses| losses.task),
            validation_loss_before: before.validation,
            validation_loss_after: result.end.map_or(f64::NAN, |losses| losses.validation),
            exact_match: result.end.and_then(|losses| losses.exact_match),
            diverged: result.end.is_none(),
        }
    }
}

impl Stage for Finetuning {
    const KIND: &'static str = "finetune";
    const SEMANTICS: u32 = 4;
    type Key = FinetuneKey;
    type Output = FinetuneResult;

    fn key(&self) -> FinetuneKey {
        FinetuneKey {
            measured: self.start.key(),
            policy: self.policy.clone(),
            lora: self.lora.clone(),
            carries_state: self.carries_state,
            training: self.training,
            along: self.along,
            keep_weights: self.keep_weights,
            keep_adapter: self.keep_adapter && self.lora.is_some(),
            seed: self.start.seed,
            order: self.start.order,
        }
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.start.checkpoint.clone()]
    }

    fn label(&self) -> String {
        let Start { checkpoint_name, task, seed, order, .. } = &self.start;
        let (task, method, rate) = (task.name(), &self.method, self.rate);
        let order = if *order == 0 { String::new() } else { format!(" order {order}") };
        format!("finetune {checkpoint_name} on {task} with {method} at {rate} seed {seed}{order}")
    }

    fn cost(&self) -> u64 {
        self.training.tokens(self.start.context()) + (self.along + 1) * self.start.cost()
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<FinetuneResult, Failure> {
        let held_out = self.start.held_out()?;
        let mut trained = self.train(work, &held_out)?;
        let end = match trained.diverged {
            true => None,
            // The last step may have been the one that made a loss infinite.
            false => Some(self.start.measure(&trained.model, &held_out)?).filter(Losses::are_finite),
        };
        let result = FinetuneResult { end, along: trained.points, steps: trained.steps };
        if let Some(lora) = self.lora.as_ref().filter(|_| self.keep_adapter) {
            keep_adapter(&trained.model, lora, &work.input(&self.start.checkpoint)?, work.files())?;
        } else if self.keep_weights {
            trained.model.merge_lora()?;
            let from = work.input(&self.start.checkpoint)?;
            keep(&trained.model, Some(&self.start.text.tokenizer), Some(&from), work.files())?;
        }
        Ok(result)
    }

    fn summary(output: &FinetuneResult) -> String {
        match &output.end {
            None => "diverged".into(),
            Some(end) => format!("pretraining loss {:.3}, task loss {:.3}", end.pretrain, end.task),
        }
    }

    fn check(output: &FinetuneResult) -> Result<(), String> {
        losses(output.along.iter().flat_map(|along| [along.pretrain, along.task]))?;
        output.end.as_ref().map_or(Ok(()), Losses::check)
    }

    fn curves(output: &FinetuneResult) -> Vec<Curve> {
        let end = output.end.map(|end| Along { step: output.steps, pretrain: end.pretrain, task: end.task });
        let points: Vec<Along> = output.along.iter().copied().chain(end).collect();
        let curve = |tag: &str, read: fn(&Along) -> f64| Curve {
            tag: tag.into(),
            points: points.iter().map(|point| (point.step, read(point))).collect(),
        };
        vec![curve("loss/held-out text", |p| p.pretrain), curve("loss/held-out task", |p| p.task)]
    }
}
