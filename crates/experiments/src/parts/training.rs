//! How networks are pretrained.

use models::optim::Hyperparameters;
use models::schedule::Decay;
use serde::{Deserialize, Serialize};

use super::checks::{MOST_DRAWN, cooldown, not_negative, positive, sequences, share, within};
use super::is_default;
use crate::error::{ExperimentError, Result};
use crate::stages::Training;

/// Pretraining, common to all checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PretrainPreset {
    /// Sequences of a step.
    pub sequences: usize,
    /// Sequences that go through the network at a time, where a step does not fit in memory. All if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Schedule after the warmup.
    pub decay: Decay,
    /// Share of the steps that warm up.
    pub warmup: f64,
    /// Bound on the gradient's norm.
    pub clip: f64,
    /// Decoupled weight decay of matrices and embeddings.
    pub weight_decay: f64,
    /// The optimizers' other hyperparameters.
    #[serde(default, skip_serializing_if = "is_default")]
    pub optimizers: Hyperparameters,
    /// Points of the training curve at which the held-out loss is measured.
    pub curve_points: u64,
}

impl PretrainPreset {
    /// The training loop of so many steps.
    pub fn training(&self, steps: u64) -> Training {
        Training {
            steps,
            sequences: self.sequences,
            micro_batch: self.micro_batch,
            decay: self.decay,
            warmup: self.warmup,
            clip: self.clip,
        }
    }

    /// Checks every field; `table` is the name of the preset's table.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self, table: &str) -> Result<()> {
        sequences(&format!("{table}.sequences"), self.sequences)?;
        sequences(&format!("{table}.micro-batch"), self.micro_batch.unwrap_or(1))?;
        within(&format!("{table}.curve-points"), self.curve_points, 0..=MOST_DRAWN)?;
        positive(&format!("{table}.clip"), self.clip)?;
        share(&format!("{table}.warmup"), self.warmup, true)?;
        not_negative(&format!("{table}.weight-decay"), self.weight_decay)?;
        hyperparameters(table, &self.optimizers)?;
        cooldown(table, self.decay)
    }
}

/// Checks the hyperparameters of all optimizers; `table` is the table that they stand in.
///
/// # Errors
/// The first field that is out of range.
pub fn hyperparameters(table: &str, optimizers: &Hyperparameters) -> Result<()> {
    match optimizers.validate() {
        Ok(()) => Ok(()),
        Err((field, models::Error::Config { found, expected, .. })) => {
            Err(ExperimentError::value(format!("{table}.optimizers.{field}"), found, expected))
        }
        Err((_, other)) => Err(other.into()),
    }
}
