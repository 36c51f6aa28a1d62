//! A run, and the numbers that may predict what it forgets.

use serde::Serialize;

use crate::stages::{Part, Predicted};

/// One finetuning run that did not diverge.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) checkpoint: String,
    pub(super) task: String,
    pub(super) seed: u64,
    pub(super) method: String,
    pub(super) rate: f64,
    /// L_task of the checkpoint.
    pub(super) task_before: f64,
    pub(super) predicted: Predicted,
}

impl Run {
    /// F, nats per token.
    pub(super) fn forgetting(&self) -> f64 {
        self.predicted.pretrain - self.predicted.before
    }

    /// A sum over all matrices.
    pub(super) fn sum(&self, number: impl Fn(&Part) -> f64) -> f64 {
        self.predicted.parts.iter().map(number).sum()
    }
}

/// What may predict forgetting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Predictor {
    /// F^: the expansion with the eigenvalues of EK-FAC.
    Corrected,
    /// F^: the expansion with those of K-FAC.
    Kronecker,
    /// The second-order term of EK-FAC without the first-order one.
    CorrectedAlone,
    /// The expansion with exact derivatives along the update, found by losses beside the checkpoint: the best that any
    /// curvature can do.
    Exact,
    /// The same, but with each matrix's own second derivative: the best that a curvature can do that takes matrices
    /// apart.
    ExactApart,
    /// |dW|^2.
    Square,
    /// tr(dW S dW^T).
    OutputChange,
    /// KL from the checkpoint on the task.
    TaskDivergence,
    /// The same on pretraining text.
    TextDivergence,
}

impl Predictor {
    /// All of them, the one that verdicts are about first.
    pub(super) const ALL: [Self; 9] = [
        Self::Corrected,
        Self::Kronecker,
        Self::CorrectedAlone,
        Self::Exact,
        Self::ExactApart,
        Self::Square,
        Self::OutputChange,
        Self::TaskDivergence,
        Self::TextDivergence,
    ];

    /// Those that are in nats of forgetting: an expansion of the loss.
    pub(super) const EXPANSIONS: [Self; 4] = [Self::Corrected, Self::Kronecker, Self::Exact, Self::ExactApart];

    /// Its name in tables and figures.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Corrected => "F^ (EK-FAC)",
            Self::Kronecker => "F^ (K-FAC)",
            Self::CorrectedAlone => "EK-FAC without the gradient",
            Self::Exact => "exact second order",
            Self::ExactApart => "exact, matrices apart",
            Self::Square => "|dW|^2",
            Self::OutputChange => "tr(dW S dW^T)",
            Self::TaskDivergence => "KL on the task",
            Self::TextDivergence => "KL on pretraining text",
        }
    }

    /// Its value for a run.
    pub(super) fn of(self, run: &Run) -> f64 {
        let found = &run.predicted;
        match self {
            Self::Corrected => run.sum(|part| part.first + 0.5 * part.corrected),
            Self::Kronecker => run.sum(|part| part.first + 0.5 * part.kronecker),
            Self::CorrectedAlone => run.sum(|part| 0.5 * part.corrected),
            Self::Exact => found.along[0] + found.along[1],
            Self::ExactApart => found.along[0] + run.sum(|part| part.alone),
            Self::Square => run.sum(|part| part.square),
            Self::OutputChange => run.sum(|part| part.output_change),
            Self::TaskDivergence => found.divergence_on_task,
            Self::TextDivergence => found.divergence_on_text,
        }
    }
}
