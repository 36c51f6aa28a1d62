//! AdamW (Loshchilov and Hutter, arXiv 1711.05101), in PyTorch's order of operations.

use std::mem::MaybeUninit;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{Rule, State, StepSize, UpdateRule, in_range};
use crate::Result;
use crate::ops::{tensor, values, vectorized, written_in_parts};

/// m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, w <- (1 - lr decay) w - lr m^ / (sqrt(v^) + eps), where m^ and v^
/// are m and v over 1 - b^step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct AdamW {
    /// Decay of the first moment, in [0, 1).
    pub beta1: f64,
    /// Decay of the second moment, in [0, 1).
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for AdamW {
    /// Betas 0.9 and 0.95, eps 1e-8, no weight decay.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0 }
    }
}

impl AdamW {
    fn factors(&self, size: StepSize) -> Factors {
        let step = i32::try_from(size.step).unwrap_or(i32::MAX);
        let correction1 = 1.0 - self.beta1.powi(step);
        let correction2 = 1.0 - self.beta2.powi(step);
        Factors {
            shrink: (1.0 - size.learning_rate * self.weight_decay) as f32,
            rate: (size.learning_rate / correction1) as f32,
            root: (1.0 / correction2.sqrt()) as f32,
            keep: [self.beta1 as f32, self.beta2 as f32],
            take: [(1.0 - self.beta1) as f32, (1.0 - self.beta2) as f32],
            eps: self.eps as f32,
        }
    }
}

/// The constants of one step.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    pub(crate) shrink: f32,
    pub(crate) rate: f32,
    pub(crate) root: f32,
    pub(crate) keep: [f32; 2],
    pub(crate) take: [f32; 2],
    pub(crate) eps: f32,
}

vectorized! {
    /// The next w, m and v, in `new`.
    fn adamw_step(new: [&mut [MaybeUninit<f32>]; 3], old: [&[f32]; 3], g: &[f32], f: Factors) {
        let ([new_w, new_m, new_v], [w, m, v]) = (new, old);
        let new = new_w.iter_mut().zip(new_m).zip(new_v);
        for (((new_w, new_m), new_v), (((&w, &m), &v), &g)) in new.zip(w.iter().zip(m).zip(v).zip(g)) {
            let m = m.mul_add(f.keep[0], f.take[0] * g);
            let v = v.mul_add(f.keep[1], f.take[1] * g * g);
            new_m.write(m);
            new_v.write(v);
            new_w.write(f.shrink * w - f.rate * m / v.sqrt().mul_add(f.root, f.eps));
        }
    }
}

impl Rule for AdamW {
    const NAME: &'static str = "adamw";

    fn checked(self) -> Result<Self> {
        in_range("beta1", self.beta1, 0.0..1.0)?;
        in_range("beta2", self.beta2, 0.0..1.0)?;
        // Less is nothing in f32, and a gradient of zero would be divided by it.
        in_range("eps", self.eps, 1e-30..1.0)?;
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

impl UpdateRule for AdamW {
    fn initial_state(&self, value: &Tensor) -> Result<State> {
        Ok(State::zeros(&["exp_avg", "exp_avg_sq"], value)?)
    }

    fn update(&self, value: &Tensor, gradient: &Tensor, state: &mut State, size: StepSize) -> Result<Tensor> {
        #[cfg(kernels)]
        if crate::ops::cuda::is_gpu(value) {
            return super::update_alone(self, value, gradient, state, size);
        }
        let [first, second] = state.tensors_mut()?;
        let factors = self.factors(size);
        let g = values(gradient)?;
        let (w, m, v) = (values(value)?, values(first)?, values(second)?);
        if [w.len(), m.len(), v.len()] != [g.len(); 3] {
            return Err(crate::Error::Shape {
                name: "gradient".into(),
                found: gradient.dims().to_vec(),
                expected: value.dims().to_vec(),
            });
        }
        // SAFETY: a value of each for each of the gradient's; all have one length.
        let [new_w, new_m, new_v] = unsafe {
            written_in_parts(g.len(), 1, |new, part| {
                adamw_step(new, [&w, &m, &v].map(|old| &old[part.clone()]), &g[part.clone()], factors);
            })
        };
        drop((m, v));
        *first = tensor(new_m, first.shape())?;
        *second = tensor(new_v, second.shape())?;
        Ok(tensor(new_w, value.shape())?)
    }

    #[cfg(kernels)]
    fn update_together(&self, updates: &mut [super::Updated<'_>], size: StepSize) -> Result<Vec<Tensor>> {
        Ok(crate::ops::cuda::adamw(updates, self.factors(size))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;

    #[test]
    fn a_state_of_another_shape_is_refused() {
        let value = tensor(vec![1.0; 8], 8).unwrap();
        let mut state = State::zeros(&["exp_avg", "exp_avg_sq"], &tensor(vec![1.0], 1).unwrap()).unwrap();
        let size = StepSize { step: 1, learning_rate: 0.1, precision: Precision::F32 };
        assert!(AdamW::default().update(&value, &value, &mut state, size).is_err());
    }
}
