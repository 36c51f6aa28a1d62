//! The polar factor U V^T of a matrix U S V^T, approximately or exactly.

use candle_core::Tensor;
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::ops::linear::{Matrix, parallelism, product};
use crate::ops::{sum_of_squares, tensor, values};

/// How Muon orthogonalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Orthogonalizer {
    /// Five steps of one quintic with Keller Jordan's coefficients (3.4445, -4.7750, 2.0315): singular values end between about 0.7 and 1.2.
    NewtonSchulz,
    /// Five steps of quintics that are each optimal for the interval left by the one before (Amsel et al., arXiv 2505.16932).
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

/// Rounding may push singular values above 1, where the polynomials grow fast; the paper stretches their domain by this factor.
const POLAR_EXPRESS_SAFETY: f64 = 1.01;

/// The approximate or exact polar factor of a matrix `[outputs, inputs]`; a zero matrix stays zero.
///
/// # Errors
/// If `matrix` is not a contiguous `f32` matrix on the CPU.
pub fn orthogonalize(matrix: &Tensor, method: Orthogonalizer) -> Result<Tensor> {
    let (rows, columns) = matrix.dims2()?;
    let x = values(matrix)?;
    let norm = sum_of_squares(&x).sqrt();
    let polar = match method {
        Orthogonalizer::NewtonSchulz => {
            let x = x.iter().map(|x| (f64::from(*x) / (norm + 1e-7)) as f32).collect();
            iterate(x, rows, columns, &KELLER_JORDAN)
        }
        Orthogonalizer::PolarExpress => {
            let s = POLAR_EXPRESS_SAFETY;
            let x = x.iter().map(|x| (f64::from(*x) / (norm * s + 1e-7)) as f32).collect();
            let steps = POLAR_EXPRESS.map(|[a, b, c]| [a / s, b / s.powi(3), c / s.powi(5)]);
            iterate(x, rows, columns, &steps)
        }
        Orthogonalizer::Exact => exact(&x, rows, columns),
    };
    Ok(tensor(polar, (rows, columns))?)
}

/// X <- a X + b X G + c X G^2 for each (a, b, c), with G the Gram matrix of the shorter side.
fn iterate(mut x: Vec<f32>, rows: usize, columns: usize, steps: &[[f64; 3]]) -> Vec<f32> {
    let side = rows.min(columns);
    let tall = rows > columns;
    let mut gram = vec![0.0; side * side];
    for &[a, b, c] in steps {
        let view = Matrix::new(&x, rows, columns);
        let (left, right) = if tall { (view.t(), view) } else { (view, view.t()) };
        product(&mut gram, side, 0.0, 1.0, left, right, parallelism());
        let mut polynomial = gram.clone();
        let g = Matrix::new(&gram, side, side);
        product(&mut polynomial, side, b as f32, c as f32, g, g, parallelism());
        let polynomial = Matrix::new(&polynomial, side, side);
        let mut next = x.clone();
        let (left, right) = if tall { (view, polynomial) } else { (polynomial, view) };
        product(&mut next, columns, a as f32, 1.0, left, right, parallelism());
        x = next;
    }
    x
}

fn exact(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
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
