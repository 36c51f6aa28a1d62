//! Made-up runs for tests.

use crate::stages::EndPoint;

/// A run of AdamW on `math` from an AdamW checkpoint.
pub(super) fn end(seed: u64, rate: f64, loss: f64, forgetting: f64) -> EndPoint {
    EndPoint {
        checkpoint: "adamw".into(),
        task: "math".into(),
        method: "adamw".into(),
        learning_rate: rate,
        seed,
        order: 0,
        pretrain_loss_before: 3.0,
        pretrain_loss_after: 3.0 + forgetting,
        task_loss_before: 4.0,
        task_loss_after: loss,
        validation_loss_before: 4.0,
        validation_loss_after: loss,
        exact_match: Some(0.25),
        diverged: !loss.is_finite(),
    }
}
