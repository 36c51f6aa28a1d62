//! The polar factor U V^T of a matrix U S V^T, approximately or exactly.

use std::mem::MaybeUninit;

use candle_core::Tensor;
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use crate::ops::product::{Compute, Matrix, product};
use crate::ops::{not_empty, sum_of_squares, tensor, values, vectorized, written_in_parts};
use crate::{Precision, Result};

/// How Muon orthogonalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Orthogonalizer {
    /// Five steps of one quintic with Keller Jordan's coefficients (3.4445, -4.7750, 2.0315): singular values end
    /// between about 0.7 and 1.2.
    NewtonSchulz,
    /// The same steps taken on the Gram matrix of the shorter side alone, which is then applied once: fewer operations
    /// where a matrix is at least twice as long as wide (others are given to `NewtonSchulz`). Singular values below
    /// about 1e-3 of the largest are less accurate, since squared; so on a CPU its products stay `f32` whatever the
    /// precision, which is still faster than the plain form in bf16.
    GramNewtonSchulz,
    /// Five steps of quintics that are each optimal for the interval left by the one before (Amsel et al., arXiv
    /// 2505.16932).
    PolarExpress,
    /// A singular value decomposition in f64; singular values below 1e-7 of the largest go to zero.
    Exact,
}

const KELLER_JORDAN: [[f64; 3]; 5] = [[3.4445, -4.7750, 2.0315]; 5];

/// The first five of the published composition for singular values in [1e-3, 1], before its safety factor.
const POLAR_EXPRESS: [[f64; 3]; 5] = [
    [8.287_212_018_145_63, -23.595_886_519_098_837, 17.300_387_312_530_933],
    [4.107_059_111_542_203, -2.947_849_916_737_910_6, 0.544_843_108_292_660_1],
    [3.948_690_853_482_294_6, -2.908_902_115_962_949, 0.551_819_139_437_013_7],
    [3.318_419_657_370_601_5, -2.488_488_024_314_874, 0.510_048_940_123_72],
    [2.300_652_019_954_817, -1.668_903_984_574_749_3, 0.418_807_311_952_567_3],
];

/// Rounding may push singular values above 1, where the polynomials grow fast; the paper stretches their domain by this
/// factor.
const POLAR_EXPRESS_SAFETY: f64 = 1.01;

/// Polar Express's steps with its safety factor, and that factor, by which the norm is multiplied first.
fn polar_express() -> ([[f64; 3]; 5], f64) {
    let s = POLAR_EXPRESS_SAFETY;
    (POLAR_EXPRESS.map(|[a, b, c]| [a / s, b / s.powi(3), c / s.powi(5)]), s)
}

#[cfg(kernels)]
impl Orthogonalizer {
    /// The coefficients of the steps and the factor by which the norm is multiplied first; none for a decomposition. On
    /// a GPU both forms of Newton-Schulz are the plain one.
    pub(crate) fn polynomials(self) -> Option<([[f64; 3]; 5], f64)> {
        match self {
            Self::NewtonSchulz | Self::GramNewtonSchulz => Some((KELLER_JORDAN, 1.0)),
            Self::PolarExpress => Some(polar_express()),
            Self::Exact => None,
        }
    }
}

/// The approximate or exact polar factor of a matrix `[outputs, inputs]`; a zero matrix stays zero, and one with an
/// entry that is not finite has no entry that is.
///
/// # Errors
/// If `matrix` is not a contiguous `f32` matrix, or has no rows or columns.
pub fn orthogonalize(matrix: &Tensor, method: Orthogonalizer, precision: Precision) -> Result<Tensor> {
    #[cfg(kernels)]
    if crate::ops::cuda::is_gpu(matrix) {
        return Ok(crate::ops::cuda::orthogonalize(matrix, method, precision)?);
    }
    let compute = Compute::on_pool(precision);
    let (rows, columns) = matrix.dims2()?;
    not_empty("orthogonalize", &[rows, columns])?;
    let x = values(matrix)?;
    let norm = sum_of_squares(&x).sqrt();
    let polar = match method {
        Orthogonalizer::NewtonSchulz | Orthogonalizer::GramNewtonSchulz => {
            let x = divided(&x, norm + 1e-7);
            let oblong = rows.max(columns) >= 2 * rows.min(columns);
            match method == Orthogonalizer::GramNewtonSchulz && oblong {
                true => iterate_gram(x, rows, columns, &KELLER_JORDAN, Compute::on_pool(Precision::F32)),
                false => iterate(x, rows, columns, &KELLER_JORDAN, compute),
            }
        }
        Orthogonalizer::PolarExpress => {
            let (steps, s) = polar_express();
            let x = divided(&x, norm * s + 1e-7);
            iterate(x, rows, columns, &steps, compute)
        }
        Orthogonalizer::Exact => exact(&x, rows, columns),
    };
    Ok(tensor(polar, (rows, columns))?)
}

vectorized! {
    fn quotients(y: &mut [MaybeUninit<f32>], x: &[f32], divisor: f64) {
        for (y, x) in y.iter_mut().zip(x) {
            y.write((f64::from(*x) / divisor) as f32);
        }
    }
}

/// `x` over `divisor`.
fn divided(x: &[f32], divisor: f64) -> Vec<f32> {
    // SAFETY: a value for each of `x`.
    let [y] = unsafe { written_in_parts(x.len(), 1, |[y], part| quotients(y, &x[part], divisor)) };
    y
}

/// X <- a X + b X G + c X G^2 for each (a, b, c), with G the Gram matrix of the shorter side.
fn iterate(mut x: Vec<f32>, rows: usize, columns: usize, steps: &[[f64; 3]], compute: Compute) -> Vec<f32> {
    let side = rows.min(columns);
    let tall = rows > columns;
    let (mut gram, mut polynomial) = (vec![0.0; side * side], vec![0.0; side * side]);
    let mut next = vec![0.0; x.len()];
    for &[a, b, c] in steps {
        let view = Matrix::new(&x, rows, columns);
        let (left, right) = if tall { (view.t(), view) } else { (view, view.t()) };
        symmetric_product(&mut gram, 0.0, 1.0, left, right, compute);
        polynomial.copy_from_slice(&gram);
        let g = Matrix::new(&gram, side, side);
        symmetric_product(&mut polynomial, b as f32, c as f32, g, g, compute);
        let polynomial = Matrix::new(&polynomial, side, side);
        next.copy_from_slice(&x);
        let (left, right) = if tall { (view, polynomial) } else { (polynomial, view) };
        product(&mut next, columns, a as f32, 1.0, left, right, compute);
        std::mem::swap(&mut x, &mut next);
    }
    x
}

/// The same as [`iterate`], with P = a + b G + c G^2, Q <- P Q and G <- P G P on the Gram matrix, and Q X at the end.
///
/// All these matrices are polynomials of one symmetric matrix: they commute, and every product is symmetric.
fn iterate_gram(x: Vec<f32>, rows: usize, columns: usize, steps: &[[f64; 3]], compute: Compute) -> Vec<f32> {
    let side = rows.min(columns);
    let tall = rows > columns;
    let square = || vec![0.0; side * side];
    let (mut gram, mut factor, mut scratch) = (square(), square(), square());
    let view = Matrix::new(&x, rows, columns);
    let (left, right) = if tall { (view.t(), view) } else { (view, view.t()) };
    symmetric_product(&mut gram, 0.0, 1.0, left, right, compute);
    for (step, &[a, b, c]) in steps.iter().enumerate() {
        let mut polynomial = gram.clone();
        let g = Matrix::new(&gram, side, side);
        symmetric_product(&mut polynomial, b as f32, c as f32, g, g, compute);
        polynomial.iter_mut().step_by(side + 1).for_each(|p| *p += a as f32);
        let p = Matrix::new(&polynomial, side, side);
        if step + 1 < steps.len() {
            symmetric_product(&mut scratch, 0.0, 1.0, p, g, compute);
            symmetric_product(&mut gram, 0.0, 1.0, Matrix::new(&scratch, side, side), p, compute);
        }
        if step == 0 {
            factor = polynomial;
        } else {
            symmetric_product(&mut scratch, 0.0, 1.0, p, Matrix::new(&factor, side, side), compute);
            std::mem::swap(&mut factor, &mut scratch);
        }
    }
    let mut polar = vec![0.0; x.len()];
    let q = Matrix::new(&factor, side, side);
    let (left, right) = if tall { (view, q) } else { (q, view) };
    product(&mut polar, columns, 0.0, 1.0, left, right, compute);
    polar
}

/// out <- `keep` * out + `scale` * a b for a product that is known to be symmetric, as `out` is: block rows of the
/// lower triangle are computed and mirrored.
fn symmetric_product(out: &mut [f32], keep: f32, scale: f32, a: Matrix<'_>, b: Matrix<'_>, compute: Compute) {
    let side = a.rows();
    // Narrower blocks would leave more out, but cost the product its speed.
    let block = (side / 4).max(64);
    for start in (0..side).step_by(block) {
        let end = (start + block).min(side);
        let rows = &mut out[start * side..end * side];
        product(rows, side, keep, scale, a.row_range(start..end), b.column_range(0..end), compute);
    }
    for row in 0..side {
        for column in (row / block + 1) * block..side {
            out[row * side + column] = out[column * side + row];
        }
    }
}

/// The polar factor by a decomposition.
pub(crate) fn exact(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    if x.iter().any(|x| !x.is_finite()) {
        // A decomposition would look for singular values for ever.
        return vec![f32::NAN; x.len()];
    }
    let matrix = DMatrix::from_row_iterator(rows, columns, x.iter().map(|x| f64::from(*x)));
    let svd = matrix.svd(true, true);
    let (Some(u), Some(v_t)) = (svd.u, svd.v_t) else { unreachable!("both factors were asked for") };
    let threshold = 1e-7 * svd.singular_values.max();
    let mut polar = DMatrix::<f64>::zeros(rows, columns);
    for (i, &s) in svd.singular_values.iter().enumerate() {
        if s > threshold {
            polar += u.column(i) * v_t.row(i);
        }
    }
    polar.transpose().iter().map(|x| *x as f32).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Singular values from 1 down to 0.1, so that all of them end near 1.
    fn matrix(rows: usize, columns: usize) -> Tensor {
        let entry = |i: usize| {
            let (row, column) = (i / columns, i % columns);
            let diagonal = if row == column { 1.0 + row as f32 / 40.0 } else { 0.0 };
            diagonal + ((i * 7919 % 104_729) as f32 / 104_729.0 - 0.5) * 0.1
        };
        Tensor::from_iter((0..rows * columns).map(entry), &Device::Cpu).unwrap().reshape((rows, columns)).unwrap()
    }

    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        let squares = (a - b).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        f64::from(squares).sqrt() / f64::from(b.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()).sqrt()
    }

    #[test]
    fn a_matrix_that_is_not_finite_comes_back_at_once_as_no_numbers() {
        for method in [
            Orthogonalizer::NewtonSchulz,
            Orthogonalizer::GramNewtonSchulz,
            Orthogonalizer::PolarExpress,
            Orthogonalizer::Exact,
        ] {
            for (rows, columns) in [(5, 16), (16, 5), (4, 4), (1, 9)] {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut x = values(&matrix(rows, columns)).unwrap().to_vec();
                    x[rows * columns / 2] = bad;
                    let x = Tensor::from_vec(x, (rows, columns), &Device::Cpu).unwrap();
                    let polar = orthogonalize(&x, method, Precision::F32).unwrap();
                    let is_any_finite = values(&polar).unwrap().iter().any(|x| x.is_finite());
                    assert!(!is_any_finite, "{method:?}, {rows} x {columns}, {bad}");
                }
            }
            let empty = Tensor::zeros((0, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
            assert!(orthogonalize(&empty, method, Precision::F32).is_err(), "{method:?}");
        }
    }

    #[test]
    fn the_gram_side_takes_the_same_steps_on_tall_wide_and_square_matrices() {
        for (rows, columns) in [(200, 70), (70, 200), (90, 90)] {
            let x = matrix(rows, columns);
            let plain = orthogonalize(&x, Orthogonalizer::NewtonSchulz, Precision::F32).unwrap();
            let gram = orthogonalize(&x, Orthogonalizer::GramNewtonSchulz, Precision::F32).unwrap();
            assert!(difference(&gram, &plain) < 1e-4, "{rows} x {columns}: {}", difference(&gram, &plain));
        }
    }

    #[test]
    fn half_a_symmetric_product_is_the_whole_at_sides_off_the_block() {
        let compute = Compute::on_pool(Precision::F32);
        for side in [1, 63, 64, 65, 130, 300] {
            let a: Vec<f32> = (0..side * 40).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
            let a = Matrix::new(&a, side, 40);
            let (mut half, mut whole) = (vec![0.0; side * side], vec![0.0; side * side]);
            symmetric_product(&mut half, 0.0, 0.5, a, a.t(), compute);
            product(&mut whole, side, 0.0, 0.5, a, a.t(), compute);
            let worst = half.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{side}: {worst}");
        }
    }
}
