//! Muon: momentum, then orthogonalisation (Jordan et al. 2024; Liu et al., Moonlight, arXiv 2502.16982).

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{Orthogonalizer, Rule, State, StepSize, UpdateRule, in_range, matrix_dims, orthogonalize};
use crate::Result;
use crate::ops::scaled_add;

/// How the learning rate is scaled with a matrix's shape `outputs x inputs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MuonScale {
    /// sqrt(max(1, outputs / inputs)), Keller Jordan's: a tall matrix steps further. For 512 x 128: 2.
    Original,
    /// 0.2 sqrt(max(outputs, inputs)), Moonlight's: the update's root mean square is then about 0.2, as AdamW's, so
    /// that both take similar learning rates. For 512 x 128: 4.53.
    MatchRms,
}

impl MuonScale {
    /// The factor for a matrix of `outputs` x `inputs`.
    pub fn factor(self, outputs: usize, inputs: usize) -> f64 {
        match self {
            Self::Original => (outputs as f64 / inputs as f64).max(1.0).sqrt(),
            Self::MatchRms => 0.2 * (outputs.max(inputs) as f64).sqrt(),
        }
    }
}

/// b <- momentum b + (1 - momentum) g, w <- (1 - lr decay) w - lr scale O(u), where O is the orthogonaliser and u is b,
/// or (1 - momentum) g + momentum b with Nesterov.
///
/// For matrices inside the blocks only.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Muon {
    /// Momentum, in [0, 1).
    pub momentum: f64,
    /// Whether the update looks ahead along the momentum.
    pub nesterov: bool,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The orthogonaliser.
    pub orthogonalizer: Orthogonalizer,
    /// The learning rate's scale.
    pub scale: MuonScale,
}

impl Default for Muon {
    /// Momentum 0.95 with Nesterov, five Newton-Schulz steps (on the Gram matrix where that is cheaper), Moonlight's
    /// scale, no weight decay.
    fn default() -> Self {
        Self {
            momentum: 0.95,
            nesterov: true,
            weight_decay: 0.0,
            orthogonalizer: Orthogonalizer::GramNewtonSchulz,
            scale: MuonScale::MatchRms,
        }
    }
}

impl Rule for Muon {
    const NAME: &'static str = "muon";

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

impl UpdateRule for Muon {
    fn matrices_only(&self) -> bool {
        true
    }

    fn initial_state(&self, value: &Tensor) -> Result<State> {
        matrix_dims(Self::NAME, value)?;
        Ok(State::zeros(&["momentum_buffer"], value)?)
    }

    fn update(&self, value: &Tensor, gradient: &Tensor, state: &mut State, size: StepSize) -> Result<Tensor> {
        #[cfg(kernels)]
        if crate::ops::cuda::is_gpu(value) {
            return super::update_alone(self, value, gradient, state, size);
        }
        let [buffer] = state.tensors_mut()?;
        let (outputs, inputs) = matrix_dims(Self::NAME, value)?;
        let momentum = self.momentum as f32;
        *buffer = scaled_add(buffer, momentum, gradient, 1.0 - momentum)?;
        let ahead = match self.nesterov {
            true => scaled_add(gradient, 1.0 - momentum, buffer, momentum)?,
            false => buffer.clone(),
        };
        let direction = orthogonalize(&ahead, self.orthogonalizer, size.precision)?;
        let rate = size.learning_rate * self.scale.factor(outputs, inputs);
        let shrink = 1.0 - size.learning_rate * self.weight_decay;
        Ok(scaled_add(value, shrink as f32, &direction, -rate as f32)?)
    }

    #[cfg(kernels)]
    fn update_together(&self, updates: &mut [super::Updated<'_>], size: StepSize) -> Result<Vec<Tensor>> {
        for update in updates.iter() {
            matrix_dims(Self::NAME, update.value)?;
        }
        Ok(crate::ops::cuda::muon(updates, self, size)?)
    }
}
