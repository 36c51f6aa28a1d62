//! What finetunings start from, and the measurement of a checkpoint before them.

use std::sync::Arc;

use lab::error::Failure;
use lab::stage::{Stage, Work};
use lab::store::StageId;
use models::{Batch, Transformer, mean_loss};
use serde::{Deserialize, Serialize};

use super::end_point::finite_or_null;
use super::network::Network;
use super::plausible::{losses, shares};
use super::pretrain::held_out;
use super::tasks::{TaskData, TaskKey};
use super::tokens::TokenData;
use crate::error::Result;

/// Held-out losses of a model, in nats per token, and its exact match.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// L_pre.
    #[serde(with = "finite_or_null")]
    pub pretrain: f64,
    /// L_task, on the test.
    #[serde(with = "finite_or_null")]
    pub task: f64,
    /// L_task on the validation set.
    #[serde(with = "finite_or_null")]
    pub validation: f64,
    /// A_task, for a task with answers.
    pub exact_match: Option<f64>,
}

impl Losses {
    /// Whether both losses are finite.
    pub fn are_finite(&self) -> bool {
        [self.pretrain, self.task, self.validation].iter().all(|loss| loss.is_finite())
    }

    /// Refuses what no measurement can be.
    ///
    /// # Errors
    /// In a few words.
    pub(super) fn check(&self) -> Result<(), String> {
        losses([self.pretrain, self.task, self.validation])?;
        shares(self.exact_match)
    }
}

/// A checkpoint and a task: what a finetuning starts from and is measured on.
#[derive(Clone)]
pub struct Start {
    /// The checkpoint's name, for people.
    pub checkpoint_name: String,
    /// The stage that keeps it.
    pub checkpoint: StageId,
    /// Its shape.
    pub network: Network,
    /// The text that it was pretrained on, of which L_pre is measured.
    pub text: Arc<TokenData>,
    /// Windows of it.
    pub text_windows: usize,
    /// The task.
    pub task: Arc<TaskData>,
    /// The checkpoint's seed, which also fixes the draw of the task's data and their order.
    pub seed: u64,
    /// Which of the orders that the seed draws.
    pub order: u64,
}

/// What of a [`Start`] decides a measurement, beside the checkpoint.
#[derive(Debug, Serialize)]
pub struct MeasureKey {
    task: TaskKey,
    text: StageId,
    text_windows: usize,
}

impl Start {
    /// The part of a stage's key that is about what is measured.
    pub fn key(&self) -> MeasureKey {
        MeasureKey { task: self.task.key(), text: self.text.id.clone(), text_windows: self.text_windows }
    }

    /// Longest sequence in tokens.
    pub fn context(&self) -> usize {
        self.network.context()
    }

    /// The held-out text.
    ///
    /// # Errors
    /// If there is too little.
    pub fn held_out(&self) -> Result<Vec<Batch>> {
        held_out(&self.text, self.context(), self.text_windows)
    }

    /// What measuring both losses costs, in training tokens: a forward is about a third of a training step.
    pub fn cost(&self) -> u64 {
        (self.text_windows * self.context() + self.task.held_out_tokens()) as u64 / 3
    }

    /// Measures a network; `held_out` is [`held_out`](Self::held_out).
    ///
    /// # Errors
    /// If the network cannot run on the data.
    pub fn measure(&self, network: &Transformer, held_out: &[Batch]) -> Result<Losses> {
        Ok(Losses {
            pretrain: mean_loss(network, held_out)?,
            task: self.task.loss(network)?,
            validation: self.task.validation_loss(network)?,
            exact_match: self.task.exact_match(network)?,
        })
    }
}

/// The measurement of a checkpoint before any finetuning.
#[derive(Clone)]
pub struct Measurement(
    /// The checkpoint and the task.
    pub Start,
);

impl Stage for Measurement {
    const KIND: &'static str = "measure";
    const SEMANTICS: u32 = 4;
    type Key = MeasureKey;
    type Output = Losses;

    fn key(&self) -> MeasureKey {
        self.0.key()
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.0.checkpoint.clone()]
    }

    fn label(&self) -> String {
        let Start { checkpoint_name, task, seed, .. } = &self.0;
        format!("measure {checkpoint_name} on {} seed {seed}", task.name())
    }

    fn cost(&self) -> u64 {
        self.0.cost()
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<Losses, Failure> {
        let network = self.0.network.load(&work.input(&self.0.checkpoint)?)?;
        Ok(self.0.measure(&network, &self.0.held_out()?)?)
    }

    fn summary(output: &Losses) -> String {
        format!("pretraining loss {:.3}, task loss {:.3}", output.pretrain, output.task)
    }

    fn check(output: &Losses) -> Result<(), String> {
        output.check()
    }

    fn leads_on(output: &Losses) -> bool {
        output.are_finite()
    }
}
