//! The files with what the statistics are made of.

use std::collections::BTreeMap;

use serde::Serialize;

use super::chosen::{Chosen, EQUAL, Run, Setting};

/// A finetuning, with what it saw.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RunRow<'a> {
    examples: usize,
    epochs: u64,
    task: &'a str,
    checkpoint: &'a str,
    method: &'a str,
    learning_rate: f64,
    seed: u64,
    pretrain_loss_before: f64,
    pretrain_loss_after: Option<f64>,
    task_loss_before: f64,
    task_loss_after: Option<f64>,
    validation_loss_after: Option<f64>,
    exact_match: Option<f64>,
    diverged: bool,
}

/// A row for each finetuning, sorted.
pub(super) fn runs(runs: &[Run]) -> Vec<RunRow<'_>> {
    let mut sorted: Vec<&Run> = runs.iter().collect();
    sorted.sort_by(|a, b| {
        let key = |run: &Run| (run.end.task.clone(), run.end.checkpoint.clone(), run.end.method.clone(), run.amount);
        key(a).cmp(&key(b)).then(a.end.learning_rate.total_cmp(&b.end.learning_rate)).then(a.end.seed.cmp(&b.end.seed))
    });
    let finite = |loss: f64| loss.is_finite().then_some(loss);
    let row = |run| {
        let Run { amount, end }: &Run = run;
        RunRow {
            examples: amount.examples,
            epochs: amount.epochs,
            task: &end.task,
            checkpoint: &end.checkpoint,
            method: &end.method,
            learning_rate: end.learning_rate,
            seed: end.seed,
            pretrain_loss_before: end.pretrain_loss_before,
            pretrain_loss_after: finite(end.pretrain_loss_after),
            task_loss_before: end.task_loss_before,
            task_loss_after: finite(end.task_loss_after),
            validation_loss_after: finite(end.validation_loss_after),
            exact_match: end.exact_match,
            diverged: end.diverged,
        }
    };
    sorted.into_iter().map(row).collect()
}

/// A number of one seed: at the chosen rate, or at equal forgetting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ReadRow<'a> {
    examples: usize,
    epochs: u64,
    task: &'a str,
    checkpoint: &'a str,
    method: &'a str,
    seed: u64,
    /// `chosen rate`, or `equal forgetting`.
    reading: &'static str,
    /// Nats per token: of the chosen run, or as asked for.
    forgetting: f64,
    task_loss: f64,
    exact_match: Option<f64>,
    learning_rate: Option<f64>,
}

/// The columns of [`ReadRow`].
pub(super) const READ_COLUMNS: [&str; 11] = [
    "examples",
    "epochs",
    "task",
    "checkpoint",
    "method",
    "seed",
    "reading",
    "forgetting",
    "task_loss",
    "exact_match",
    "learning_rate",
];

/// What is read of every setting and seed.
pub(super) fn reads(settings: &BTreeMap<Setting, Vec<Chosen>>) -> Vec<ReadRow<'_>> {
    let mut rows = Vec::new();
    for (setting, chosen) in settings {
        for of in chosen {
            let row = |reading, forgetting, task_loss| ReadRow {
                examples: setting.amount.examples,
                epochs: setting.amount.epochs,
                task: &setting.task,
                checkpoint: &setting.checkpoint,
                method: &setting.method,
                seed: of.seed,
                reading,
                forgetting,
                task_loss,
                exact_match: None,
                learning_rate: None,
            };
            rows.extend(of.best.map(|best| ReadRow {
                exact_match: best.exact_match,
                learning_rate: Some(best.rate),
                ..row("chosen rate", best.forgetting, best.loss)
            }));
            let equal = EQUAL.iter().zip(of.at_forgetting);
            rows.extend(equal.filter_map(|(&forgetting, loss)| Some(row("equal forgetting", forgetting, loss?))));
        }
    }
    rows
}
