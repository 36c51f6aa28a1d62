//! Signum, signSGD with momentum (Bernstein et al., "signSGD: Compressed Optimisation for Non-Convex Problems", arXiv
//! 1802.04434, Algorithm 2).

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{Rule, State, StepSize, UpdateRule, in_range};
use crate::Result;
use crate::ops::scaled_add;

/// b <- momentum b + (1 - momentum) g, w <- (1 - lr decay) w - lr sign(b); sign(0) is 0.
///
/// The decay is decoupled, as in later work; the paper has it inside the step, lr (sign(b) + decay w), which is the
/// same. Momentum 0 is signSGD. Takes tensors of any shape. State: `momentum_buffer`, b in the parameter's shape.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Signum {
    /// Momentum, in [0, 1).
    pub momentum: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for Signum {
    /// The authors' momentum 0.9, no weight decay.
    fn default() -> Self {
        Self { momentum: 0.9, weight_decay: 0.0 }
    }
}

impl Rule for Signum {
    const NAME: &'static str = "signum";

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

impl UpdateRule for Signum {
    fn initial_state(&self, value: &Tensor) -> Result<State> {
        Ok(State::zeros(&["momentum_buffer"], value)?)
    }

    fn update(&self, value: &Tensor, gradient: &Tensor, state: &mut State, size: StepSize) -> Result<Tensor> {
        let [buffer] = state.tensors_mut()?;
        *buffer = scaled_add(buffer, self.momentum as f32, gradient, (1.0 - self.momentum) as f32)?;
        let shrink = 1.0 - size.learning_rate * self.weight_decay;
        Ok(scaled_add(value, shrink as f32, &buffer.sign()?, -size.learning_rate as f32)?)
    }
}
