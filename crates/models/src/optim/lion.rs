//! Lion (Chen et al., "Symbolic Discovery of Optimization Algorithms", arXiv 2302.06675, Algorithm 2).

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{Rule, State, StepSize, UpdateRule, in_range};
use crate::Result;
use crate::ops::scaled_add;

/// w <- (1 - lr decay) w - lr sign(b1 m + (1 - b1) g), then m <- b2 m + (1 - b2) g; sign(0) is 0.
///
/// Every weight moves by the learning rate, so that it should be 3 to 10 times smaller than AdamW's, and the decay as
/// much larger (the authors' advice). Takes tensors of any shape. State: `exp_avg`, m in the parameter's shape.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Lion {
    /// Share of the momentum in the update, in [0, 1).
    pub beta1: f64,
    /// Decay of the momentum, in [0, 1).
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for Lion {
    /// The authors' betas 0.9 and 0.99, no weight decay.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.99, weight_decay: 0.0 }
    }
}

impl Rule for Lion {
    const NAME: &'static str = "lion";

    fn checked(self) -> Result<Self> {
        in_range("beta1", self.beta1, 0.0..1.0)?;
        in_range("beta2", self.beta2, 0.0..1.0)?;
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

impl UpdateRule for Lion {
    fn initial_state(&self, value: &Tensor) -> Result<State> {
        Ok(State::zeros(&["exp_avg"], value)?)
    }

    fn update(&self, value: &Tensor, gradient: &Tensor, state: &mut State, size: StepSize) -> Result<Tensor> {
        let [momentum] = state.tensors_mut()?;
        let direction = scaled_add(momentum, self.beta1 as f32, gradient, (1.0 - self.beta1) as f32)?.sign()?;
        *momentum = scaled_add(momentum, self.beta2 as f32, gradient, (1.0 - self.beta2) as f32)?;
        let shrink = 1.0 - size.learning_rate * self.weight_decay;
        Ok(scaled_add(value, shrink as f32, &direction, -size.learning_rate as f32)?)
    }
}
