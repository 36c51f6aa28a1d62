//! One training step, and the mean loss of an evaluation.

use crate::batch::Batch;
use crate::optim::Optimizer;
use crate::transformer::{LossSum, Transformer};
use crate::{Error, Result};

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The mean loss of the step's tokens before the update, in nats per target token.
    pub loss: f64,
    /// The norm of the gradient before clipping.
    pub gradient_norm: f64,
}

impl StepReport {
    /// Whether loss and gradient are finite; an update was made only then.
    pub fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.gradient_norm.is_finite()
    }
}

/// Makes one optimizer step on the mean loss over all target tokens of `micro_batches` together.
///
/// The gradient is clipped to the norm `clip`; the groups' learning rates are multiplied by `multiplier`. If loss or
/// gradient is not finite, no weight changes and the report says so.
///
/// # Errors
/// [`Error::NoTargets`] if no token has a target, and those of [`Transformer::gradients`].
pub fn train_step(
    model: &mut Transformer,
    optimizer: &mut Optimizer,
    micro_batches: &[Batch],
    clip: Option<f64>,
    multiplier: f64,
) -> Result<StepReport> {
    let count: usize = micro_batches.iter().map(Batch::target_count).sum();
    if count == 0 {
        return Err(Error::NoTargets);
    }
    let scale = 1.0 / count as f64;
    let mut total: Option<crate::Gradients> = None;
    let mut losses = Vec::with_capacity(micro_batches.len());
    for batch in micro_batches {
        let (loss, gradients) = model.pending_gradients(batch, scale)?;
        losses.push(loss);
        match &mut total {
            Some(total) => total.accumulate(gradients)?,
            None => total = Some(gradients),
        }
    }
    let mut gradients = total.ok_or(Error::NoTargets)?;
    let squares = gradients.sum_of_squares()?;
    // A GPU is waited for here, at the first number that is read; the others are there by then.
    let mut sum = 0.0;
    for loss in &losses {
        sum += loss.read()?.sum;
    }
    let gradient_norm = squares.value()?.sqrt();
    if let Some(limit) = clip {
        gradients.clip_from(gradient_norm, limit)?;
    }
    let report = StepReport { loss: sum * scale, gradient_norm };
    if report.is_finite() {
        optimizer.step(model.parameters_mut(), &gradients, multiplier)?;
    }
    Ok(report)
}

/// The mean loss over all target tokens of `batches`, in nats.
///
/// # Errors
/// [`Error::NoTargets`] if there is none, and those of [`Transformer::loss`].
pub fn mean_loss(model: &Transformer, batches: &[Batch]) -> Result<f64> {
    let mut total = LossSum::default();
    for batch in batches {
        let loss = model.loss(batch)?;
        total.sum += loss.sum;
        total.count += loss.count;
    }
    match total.count {
        0 => Err(Error::NoTargets),
        _ => Ok(total.mean()),
    }
}
