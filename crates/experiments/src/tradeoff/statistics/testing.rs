//! Made-up end points for tests.

use crate::stages::EndPoint;

/// A run on the task `code` from a checkpoint with pretraining loss 3.
pub(crate) fn end_point(
    checkpoint: &str,
    method: &str,
    learning_rate: f64,
    seed: u64,
    task_loss_before: f64,
    task_loss_after: f64,
    forgetting: f64,
) -> EndPoint {
    EndPoint {
        checkpoint: checkpoint.into(),
        task: "code".into(),
        method: method.into(),
        learning_rate,
        seed,
        order: 0,
        pretrain_loss_before: 3.0,
        pretrain_loss_after: 3.0 + forgetting,
        task_loss_before,
        task_loss_after,
        validation_loss_before: task_loss_before,
        validation_loss_after: task_loss_after,
        exact_match: None,
        diverged: false,
    }
}

/// Runs of one method at `(learning rate, task loss, forgetting)`.
pub(crate) fn grid(
    checkpoint: &str,
    method: &str,
    seed: u64,
    task_loss_before: f64,
    runs: &[(f64, f64, f64)],
) -> Vec<EndPoint> {
    runs.iter()
        .map(|&(rate, loss, forgetting)| end_point(checkpoint, method, rate, seed, task_loss_before, loss, forgetting))
        .collect()
}
