//! SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., arXiv 2409.11321, Algorithm 3).

use candle_core::{DType, Device, Tensor};
use nalgebra::{DMatrix, SymmetricEigen};
use serde::{Deserialize, Serialize};

use super::{Rule, State, StepSize, UpdateRule, in_range, matrix_dims};
use crate::ops::{matmul, matmul_transposed, scaled_add, weight_gradient};
use crate::{Error, Precision, Result};

/// ```text
/// m <- beta1 m + (1 - beta1) g
/// v <- beta2 v + (1 - beta2) (P^T g Q)^2
/// u  = P [P^T m Q / (sqrt(v) + eps)] Q^T
/// w <- (1 - lr decay) (w - lr sqrt(1 - beta2^t) / (1 - beta1^t) u)
/// L <- shampoo_beta L + (1 - shampoo_beta) g g^T  with eigenvectors P
/// R <- shampoo_beta R + (1 - shampoo_beta) g^T g  with eigenvectors Q
/// ```
///
/// In the order of the authors' first code (github.com/nikhilvyas/SOAP): the first step sets L, R, P and Q from its
/// gradient and leaves the weights alone, so that no gradient is projected to a basis made of it, and t counts the
/// steps after it. Every `precondition-frequency` steps the bases are refreshed by one power iteration and a QR
/// decomposition: the columns of L P, sorted by p^T L p, largest first, are made orthonormal. v goes along with its
/// columns; it is not turned.
///
/// For matrices inside the blocks only. Products are `f32` whatever the precision of the network's; decompositions are
/// f64 on the CPU, on one thread, and cost about side^3 operations for each side, at the first step and each refresh.
///
/// State:
///
/// - `exp_avg` (m) and `exp_avg_sq` (v), `[outputs, inputs]`;
/// - `step`, the steps taken, one `u32` on the CPU;
/// - `left_factor` (L) and `left_basis` (P), `[outputs, outputs]`;
/// - `right_factor` (R) and `right_basis` (Q), `[inputs, inputs]`.
///
/// A side above `max-dimension` has the identity for its basis, and `[0, 0]` here.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Soap {
    /// Decay of the first moment, in [0, 1).
    pub beta1: f64,
    /// Decay of the second moment, in [0, 1).
    pub beta2: f64,
    /// Decay of the preconditioner's factors, in [0, 1).
    pub shampoo_beta: f64,
    /// Added to the denominator, in [1e-30, 1).
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Steps between two refreshes of the bases, at least 1.
    pub precondition_frequency: u32,
    /// The longest side that is preconditioned, at least 1.
    pub max_dimension: u32,
}

impl Default for Soap {
    /// The authors' betas of 0.95 (the factors' too), eps 1e-8, a refresh every 10 steps and sides up to 10000; no
    /// weight decay.
    fn default() -> Self {
        Self {
            beta1: 0.95,
            beta2: 0.95,
            shampoo_beta: 0.95,
            eps: 1e-8,
            weight_decay: 0.0,
            precondition_frequency: 10,
            max_dimension: 10_000,
        }
    }
}

impl Rule for Soap {
    const NAME: &'static str = "soap";

    fn checked(self) -> Result<Self> {
        in_range("beta1", self.beta1, 0.0..1.0)?;
        in_range("beta2", self.beta2, 0.0..1.0)?;
        in_range("shampoo-beta", self.shampoo_beta, 0.0..1.0)?;
        in_range("eps", self.eps, 1e-30..1.0)?;
        in_range("weight-decay", self.weight_decay, 0.0..f64::INFINITY)?;
        in_range("precondition-frequency", self.precondition_frequency.into(), 1.0..f64::INFINITY)?;
        in_range("max-dimension", self.max_dimension.into(), 1.0..f64::INFINITY)?;
        Ok(self)
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn with_weight_decay(self, weight_decay: f64) -> Self {
        Self { weight_decay, ..self }
    }
}

/// A basis `[side, side]`, its vectors in columns; none where a side has no preconditioner.
type Basis<'a> = Option<&'a Tensor>;

/// P^T x Q.
fn projected(x: &Tensor, left: Basis<'_>, right: Basis<'_>) -> Result<Tensor> {
    let x = left.map_or_else(|| Ok(x.clone()), |left| weight_gradient(left, x, Precision::F32))?;
    Ok(right.map_or_else(|| Ok(x.clone()), |right| matmul(&x, right, Precision::F32))?)
}

/// P x Q^T.
fn projected_back(x: &Tensor, left: Basis<'_>, right: Basis<'_>) -> Result<Tensor> {
    let x = left.map_or_else(|| Ok(x.clone()), |left| matmul(left, x, Precision::F32))?;
    Ok(right.map_or_else(|| Ok(x.clone()), |right| matmul_transposed(&x, right, Precision::F32))?)
}

impl UpdateRule for Soap {
    fn matrices_only(&self) -> bool {
        true
    }

    fn initial_state(&self, value: &Tensor) -> Result<State> {
        let (outputs, inputs) = matrix_dims(Self::NAME, value)?;
        let square = |side: usize| match side <= self.max_dimension as usize {
            true => Tensor::zeros((side, side), value.dtype(), value.device()),
            false => Tensor::zeros((0, 0), value.dtype(), &Device::Cpu),
        };
        Ok(State::new([
            ("exp_avg", value.zeros_like()?),
            ("exp_avg_sq", value.zeros_like()?),
            ("step", Tensor::zeros((), DType::U32, &Device::Cpu)?),
            ("left_factor", square(outputs)?),
            ("left_basis", square(outputs)?),
            ("right_factor", square(inputs)?),
            ("right_basis", square(inputs)?),
        ]))
    }

    fn update(&self, value: &Tensor, gradient: &Tensor, state: &mut State, size: StepSize) -> Result<Tensor> {
        let [first, second, step, left_factor, left_basis, right_factor, right_basis] = state.tensors_mut()?;
        matrix_dims(Self::NAME, value)?;
        if gradient.dims() != value.dims() {
            let (found, expected) = (gradient.dims().to_vec(), value.dims().to_vec());
            return Err(Error::Shape { name: "gradient".into(), found, expected });
        }
        let taken: u32 = step.to_scalar()?;
        *step = Tensor::new(taken + 1, &Device::Cpu)?;
        let with_basis = |factor: &Tensor| factor.elem_count() > 0;

        let updated = if taken == 0 {
            value.clone()
        } else {
            let left = Some(&*left_basis).filter(|basis| with_basis(basis));
            let right = Some(&*right_basis).filter(|basis| with_basis(basis));
            let (beta1, beta2) = (self.beta1, self.beta2);
            let squares = projected(gradient, left, right)?.sqr()?;
            *first = scaled_add(first, beta1 as f32, gradient, (1.0 - beta1) as f32)?;
            *second = scaled_add(second, beta2 as f32, &squares, (1.0 - beta2) as f32)?;
            let direction = (projected(first, left, right)? / (second.sqrt()? + self.eps)?)?;
            let direction = projected_back(&direction, left, right)?;
            let t = i32::try_from(taken).unwrap_or(i32::MAX);
            let rate = size.learning_rate * (1.0 - beta2.powi(t)).sqrt() / (1.0 - beta1.powi(t));
            let shrink = 1.0 - size.learning_rate * self.weight_decay;
            scaled_add(value, shrink as f32, &direction, (-rate * shrink) as f32)?
        };

        let keep = self.shampoo_beta as f32;
        let sides = [(left_factor, left_basis, 0), (right_factor, right_basis, 1)];
        for (factor, basis, side) in sides.into_iter().filter(|(factor, _, _)| with_basis(factor)) {
            let product = match side {
                0 => matmul_transposed(gradient, gradient, Precision::F32)?,
                _ => weight_gradient(gradient, gradient, Precision::F32)?,
            };
            *factor = scaled_add(factor, keep, &product, (1.0 - self.shampoo_beta) as f32)?;
            if taken == 0 {
                *basis = like(basis, &eigenvectors(host(factor)?))?;
            } else if taken.is_multiple_of(self.precondition_frequency)
                && let Some((order, refreshed)) = refreshed(&host(factor)?, &host(basis)?)
            {
                *basis = like(basis, &refreshed)?;
                *second = second.index_select(&Tensor::new(order, second.device())?, side)?;
            }
        }
        Ok(updated)
    }
}

/// A square matrix in f64.
fn host(matrix: &Tensor) -> Result<DMatrix<f64>> {
    let (rows, columns) = matrix.dims2()?;
    let values: Vec<f32> = matrix.flatten_all()?.to_vec1()?;
    Ok(DMatrix::from_row_iterator(rows, columns, values.into_iter().map(f64::from)))
}

/// `values` as a tensor on the device of `place`.
fn like(place: &Tensor, values: &DMatrix<f64>) -> Result<Tensor> {
    let values: Vec<f32> = values.transpose().iter().map(|x| *x as f32).collect();
    Ok(Tensor::from_vec(values, place.dims(), place.device())?)
}

/// The eigenvectors of a symmetric matrix in columns, largest eigenvalue first; the identity where it has overflowed.
fn eigenvectors(matrix: DMatrix<f64>) -> DMatrix<f64> {
    let side = matrix.nrows();
    // Some 3 sweeps an eigenvalue are enough; without a limit a matrix that is not a number would go on for ever.
    let found = match matrix.iter().all(|x| x.is_finite()) {
        true => SymmetricEigen::try_new(matrix, f64::EPSILON, 100 * side),
        false => None,
    };
    let Some(found) = found else { return DMatrix::identity(side, side) };
    found.eigenvectors.select_columns(&descending(found.eigenvalues.as_slice()))
}

/// Where the numbers stand from the largest to the smallest; equal ones stay in their order.
fn descending(numbers: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*b].total_cmp(&numbers[*a]));
    order
}

/// The orthonormalised columns of F B, by falling estimate b^T F b of their eigenvalues, and from which columns of B
/// they come; none where F has overflowed.
fn refreshed(factor: &DMatrix<f64>, basis: &DMatrix<f64>) -> Option<(Vec<u32>, DMatrix<f64>)> {
    let powers = factor * basis;
    let estimates: Vec<f64> = basis.column_iter().zip(powers.column_iter()).map(|(b, fb)| b.dot(&fb)).collect();
    if !powers.iter().chain(&estimates).all(|x| x.is_finite()) {
        return None;
    }
    let order = descending(&estimates);
    let orthonormal = powers.select_columns(&order).qr().q();
    Some((order.into_iter().map(|column| column as u32).collect(), orthonormal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(a: &DMatrix<f64>, b: &DMatrix<f64>) -> f64 {
        (a - b).norm()
    }

    /// Symmetric with eigenvalues 2^-i for the first `rank`, 0 for the others.
    fn symmetric(side: usize, rank: usize) -> DMatrix<f64> {
        let noise = DMatrix::from_fn(side, side, |i, j| ((i * 37 + j * 101) * 7919 % 1009) as f64 / 1009.0 - 0.5);
        let q = noise.qr().q();
        let values = DMatrix::from_fn(side, side, |i, j| if i == j && i < rank { 0.5f64.powi(i as i32) } else { 0.0 });
        &q * values * q.transpose()
    }

    #[test]
    fn eigenvectors_come_by_falling_eigenvalue() {
        let matrix = symmetric(7, 7);
        let vectors = eigenvectors(matrix.clone());
        let diagonal = vectors.transpose() * matrix * &vectors;
        for i in 0..7 {
            assert!((diagonal[(i, i)] - 0.5f64.powi(i as i32)).abs() < 1e-12, "{diagonal}");
        }
    }

    #[test]
    fn a_basis_stays_orthonormal_whatever_the_factor() {
        let infinite = DMatrix::from_element(7, 7, f64::INFINITY);
        for factor in [symmetric(7, 7), symmetric(7, 3), DMatrix::zeros(7, 7), symmetric(7, 7) * 1e-60, infinite] {
            let identity = DMatrix::identity(7, 7);
            let start = eigenvectors(factor.clone());
            assert!(distance(&(start.transpose() * &start), &identity) < 1e-12, "{factor}");
            if let Some((order, next)) = refreshed(&factor, &identity) {
                assert!(distance(&(next.transpose() * &next), &identity) < 1e-12, "{factor}");
                assert!((0..7).all(|column| order.contains(&column)));
            }
        }
    }

    #[test]
    fn refreshes_lead_to_the_eigenvectors() {
        let factor = symmetric(6, 6);
        let mut basis = DMatrix::identity(6, 6);
        for _ in 0..200 {
            basis = refreshed(&factor, &basis).unwrap().1;
        }
        let overlap = eigenvectors(factor).transpose() * basis;
        assert!(distance(&overlap.abs(), &DMatrix::identity(6, 6)) < 1e-6, "{overlap}");
    }
}
