//! What a closed loop consists of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Result, at_least, in_range, not_empty, not_negative, parameter, positive};
use crate::inputs::InputFamily;
use crate::optimizers::Rule;
use crate::structured::FinetuneParams;

/// Length and learning rate of a training run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// The learning rate at its highest.
    pub learning_rate: f64,
    /// Steps.
    pub steps: usize,
}

impl Phase {
    fn check(&self, field: &str) -> Result<()> {
        positive(&format!("{field}.learning_rate"), self.learning_rate)?;
        at_least(&format!("{field}.steps"), self.steps, 1)
    }
}

/// A closed loop; [`ClosedLoopParams::check`] makes it runnable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedLoopParams {
    /// Anisotropy of the inputs, 0 or above; their axes are Haar-random.
    pub anisotropy: f64,
    /// Sizes of the inputs, of every hidden layer and of the outputs: at least three.
    pub widths: Vec<usize>,
    /// Samples of a pretraining step.
    pub batch: usize,
    /// Standard deviation of the label noise in pretraining.
    pub label_noise: f64,
    /// The optimizer of the common warm start.
    pub warm_start_rule: Rule,
    /// The common warm start, on clean labels, its learning rate falling linearly to 0.
    pub warm_start: Phase,
    /// Pretraining by optimizer, from the warm start.
    pub pretraining: BTreeMap<Rule, Phase>,
    /// Share of the pretraining steps, at the end, in which the learning rate falls to 0; in [0, 1).
    pub cooldown: f64,
    /// First layer that is finetuned: 0 for all of them.
    pub first_tuned_layer: usize,
    /// Samples of a finetuning task.
    pub samples: usize,
    /// Size of the change that a task asks of the linear map: its entries are N(0, task_scale^2 / inputs).
    pub task_scale: f64,
    /// Tasks a seed.
    pub tasks: usize,
    /// Seeds, from 0: each fixes the inputs' axes, the pretraining target, the start, the data and the tasks.
    pub seeds: usize,
    /// The finetuning runs.
    pub finetune: FinetuneParams,
}

impl ClosedLoopParams {
    /// Checks every parameter.
    ///
    /// # Errors
    /// Names the first parameter that is out of range.
    pub(super) fn validate(&self) -> Result<()> {
        if self.widths.len() < 3 {
            return Err(parameter(
                "widths",
                format!("{} sizes", self.widths.len()),
                "at least 3: inputs, hidden units, outputs",
            ));
        }
        for &width in &self.widths {
            at_least("widths", width, 1)?;
        }
        InputFamily { size: self.widths[0], anisotropy: self.anisotropy, rotation: 1.0 }.check()?;
        at_least("batch", self.batch, 1)?;
        not_negative("label_noise", self.label_noise)?;
        self.warm_start.check("warm_start")?;
        let rules: Vec<_> = self.pretraining.keys().collect();
        not_empty("pretraining", &rules)?;
        for (rule, phase) in &self.pretraining {
            phase.check(&format!("pretraining.{rule}"))?;
        }
        in_range("cooldown", self.cooldown, 0.0, 1.0)?;
        if self.first_tuned_layer >= self.widths.len() - 1 {
            return Err(parameter(
                "first_tuned_layer",
                self.first_tuned_layer,
                format!("below the {} layers", self.widths.len() - 1),
            ));
        }
        at_least("samples", self.samples, 1)?;
        positive("task_scale", self.task_scale)?;
        at_least("tasks", self.tasks, 1)?;
        at_least("seeds", self.seeds, 1)?;
        self.finetune.check()?;
        Ok(())
    }
}
