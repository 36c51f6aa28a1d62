//! NorMuon: Muon whose orthogonalised momentum is normalised neuron by neuron (Li et al., arXiv 2510.05491).

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{MuonScale, Orthogonalizer, Rule, State, StepSize, UpdateRule, in_range, matrix_dims, orthogonalize};
use crate::Result;
use crate::ops::scaled_add;

/// Added to roots and norms, as in the authors' code.
const EPS: f64 = 1e-10;

/// ```text
/// b <- momentum b + (1 - momentum) g
/// O  = the orthogonalised b, or with Nesterov that of (1 - momentum) g + momentum b
/// v <- beta2 v + (1 - beta2) mean(O^2)            over each row
/// U  = O / sqrt(v)                                row by row
/// w <- (1 - lr decay) w - lr s U
/// ```
///
/// The factor s gives the update a size that does not depend on v:
///
/// - [`MuonScale::MatchRms`], the paper's Algorithm 1: s = 0.2 sqrt(outputs inputs) / |U|, so that the update's root
///   mean square is 0.2.
/// - [`MuonScale::Original`], the authors' code: s = sqrt(max(1, outputs / inputs)) |O| / |U|.
///
/// v needs no bias correction, since s takes a common factor out.
///
/// For matrices inside the blocks only. State: `momentum_buffer` (b), `[outputs, inputs]`, and `second_momentum_buffer`
/// (v), `[outputs, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct NorMuon {
    /// Momentum, in [0, 1).
    pub momentum: f64,
    /// Decay of the rows' second moments, in [0, 1).
    pub beta2: f64,
    /// Whether the update looks ahead along the momentum, as in the authors' code; the paper's algorithm does not.
    pub nesterov: bool,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The orthogonaliser.
    pub orthogonalizer: Orthogonalizer,
    /// The update's size.
    pub scale: MuonScale,
}

impl Default for NorMuon {
    /// The authors' momentum 0.95 with Nesterov and beta2 0.95, the paper's size, Muon's orthogonaliser, no weight
    /// decay.
    fn default() -> Self {
        Self {
            momentum: 0.95,
            beta2: 0.95,
            nesterov: true,
            weight_decay: 0.0,
            orthogonalizer: Orthogonalizer::GramNewtonSchulz,
            scale: MuonScale::MatchRms,
        }
    }
}

impl Rule for NorMuon {
    const NAME: &'static str = "normuon";

    fn checked(self) -> Result<Self> {
        in_range("momentum", self.momentum, 0.0..1.0)?;
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

/// The Frobenius norm of a matrix, as `[1, 1]` on its device.
fn norm(matrix: &Tensor) -> candle_core::Result<Tensor> {
    matrix.sqr()?.sum_keepdim(1)?.sum_keepdim(0)?.sqrt()
}

impl UpdateRule for NorMuon {
    fn matrices_only(&self) -> bool {
        true
    }

    fn initial_state(&self, value: &Tensor) -> Result<State> {
        let (outputs, _) = matrix_dims(Self::NAME, value)?;
        let second = Tensor::zeros((outputs, 1), value.dtype(), value.device())?;
        Ok(State::new([("momentum_buffer", value.zeros_like()?), ("second_momentum_buffer", second)]))
    }

    fn update(&self, value: &Tensor, gradient: &Tensor, state: &mut State, size: StepSize) -> Result<Tensor> {
        let [buffer, second] = state.tensors_mut()?;
        let (outputs, inputs) = matrix_dims(Self::NAME, value)?;
        let momentum = self.momentum as f32;
        *buffer = scaled_add(buffer, momentum, gradient, 1.0 - momentum)?;
        let ahead = match self.nesterov {
            true => scaled_add(gradient, 1.0 - momentum, buffer, momentum)?,
            false => buffer.clone(),
        };
        let polar = orthogonalize(&ahead, self.orthogonalizer, size.precision)?;
        let squares = polar.sqr()?.mean_keepdim(1)?;
        *second = scaled_add(second, self.beta2 as f32, &squares, (1.0 - self.beta2) as f32)?;
        let even = polar.broadcast_div(&(second.sqrt()? + EPS)?)?;
        let inverse = (norm(&even)? + EPS)?.recip()?;
        let factor = match self.scale {
            MuonScale::MatchRms => (inverse * (0.2 * ((outputs * inputs) as f64).sqrt()))?,
            MuonScale::Original => ((inverse * norm(&polar)?)? * self.scale.factor(outputs, inputs))?,
        };
        let direction = even.broadcast_mul(&factor)?;
        let shrink = 1.0 - size.learning_rate * self.weight_decay;
        Ok(scaled_add(value, shrink as f32, &direction, -size.learning_rate as f32)?)
    }
}
