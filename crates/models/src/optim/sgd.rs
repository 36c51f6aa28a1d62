//! SGD with momentum, in PyTorch's convention.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{Rule, State, StepSize, UpdateRule, in_range};
use crate::Result;
use crate::ops::scaled_add;

/// g <- g + decay w, b <- momentum b + g, w <- w - lr b (Nesterov: w - lr (g + momentum b)).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Sgd {
    /// Momentum, in [0, 1).
    pub momentum: f64,
    /// Whether the step looks ahead along the momentum.
    pub nesterov: bool,
    /// Weight decay, added to the gradient as in `torch.optim.SGD`.
    pub weight_decay: f64,
}

impl Default for Sgd {
    /// Momentum 0.9, no Nesterov step, no weight decay.
    fn default() -> Self {
        Self { momentum: 0.9, nesterov: false, weight_decay: 0.0 }
    }
}

impl Rule for Sgd {
    const NAME: &'static str = "sgd";

    fn checked(self) -> Result<Self> {
        in_range("momentum", self.momentum, 0.0..1.0)?;
        in_range("weight-decay", self.weight_decay, 0.0..f64::INFINITY)?;
        Ok(self)
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn with_weight_decay(self, weight_decay: f64) -> Self {
        Self { weight_decay, ..self }
    }
}

impl UpdateRule for Sgd {
    fn initial_state(&self, value: &Tensor) -> Result<State> {
        Ok(State::zeros(&["momentum_buffer"], value)?)
    }

    fn update(&self, value: &Tensor, gradient: &Tensor, state: &mut State, size: StepSize) -> Result<Tensor> {
        #[cfg(kernels)]
        if crate::ops::cuda::is_gpu(value) {
            return super::update_alone(self, value, gradient, state, size);
        }
        let [buffer] = state.tensors_mut()?;
        let decayed = scaled_add(gradient, 1.0, value, self.weight_decay as f32)?;
        *buffer = scaled_add(buffer, self.momentum as f32, &decayed, 1.0)?;
        let rate = size.learning_rate as f32;
        let direction = match self.nesterov {
            true => scaled_add(&decayed, 1.0, buffer, self.momentum as f32)?,
            false => buffer.clone(),
        };
        Ok(scaled_add(value, 1.0, &direction, -rate)?)
    }

    #[cfg(kernels)]
    fn update_together(&self, updates: &mut [super::Updated<'_>], size: StepSize) -> Result<Vec<Tensor>> {
        Ok(crate::ops::cuda::sgd(updates, self, size)?)
    }
}
