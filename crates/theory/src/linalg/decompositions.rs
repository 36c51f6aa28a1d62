//! Singular value and eigendecompositions of `ndarray` matrices, through `ndarray-linalg`.

use nalgebra::DMatrix;
use ndarray::{Array1, Array2, Axis};
use ndarray_linalg::{Eigh, JobSvd, SVDDC, UPLO};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::RANK_TOLERANCE;
use crate::error::{Result, TheoryError};

/// A thin singular value decomposition A = U diag(s) V^T with k = min(m, n).
#[derive(Debug, Clone)]
pub struct Svd {
    /// Left singular vectors, m x k.
    pub u: Array2<f64>,
    /// Singular values, descending, k of them.
    pub s: Array1<f64>,
    /// Right singular vectors transposed, k x n.
    pub vt: Array2<f64>,
}

/// Eigenvalues and eigenvectors of a symmetric matrix.
#[derive(Debug, Clone)]
pub struct SymmetricEigen {
    /// Eigenvalues, ascending.
    pub values: Array1<f64>,
    /// Eigenvectors, one a column.
    pub vectors: Array2<f64>,
}

fn check_finite(what: &'static str, a: &Array2<f64>) -> Result<()> {
    if a.iter().all(|x| x.is_finite()) { Ok(()) } else { Err(TheoryError::NotFinite { what }) }
}

fn failed(what: &'static str) -> impl Fn(ndarray_linalg::error::LinalgError) -> TheoryError {
    move |error| TheoryError::Decomposition { what, cause: error.to_string() }
}

/// Thin singular value decomposition of an m x n matrix.
///
/// # Errors
/// If an entry is not finite, the matrix is empty, or the iteration does not converge.
pub fn svd(a: &Array2<f64>) -> Result<Svd> {
    const WHAT: &str = "singular value decomposition";
    check_finite(WHAT, a)?;
    let (u, s, vt) = a.svddc(JobSvd::Some).map_err(failed(WHAT))?;
    match (u, vt) {
        (Some(u), Some(vt)) => Ok(Svd { u, s, vt }),
        _ => Err(TheoryError::Decomposition { what: WHAT, cause: "no singular vectors were returned".into() }),
    }
}

/// Singular values of a matrix, descending.
///
/// # Errors
/// As for [`svd`].
pub fn singular_values(a: &Array2<f64>) -> Result<Array1<f64>> {
    Ok(svd(a)?.s)
}

/// Singular values of a `rows` x `columns` matrix given row by row, descending.
///
/// # Errors
/// As for [`svd`], and if there are not as many numbers.
pub fn singular_values_of(rows: usize, columns: usize, values: Vec<f64>) -> Result<Vec<f64>> {
    Ok(svd_of(rows, columns, values)?.s.to_vec())
}

/// [`svd`] of a `rows` x `columns` matrix given row by row.
///
/// # Errors
/// As for [`svd`], and if there are not as many numbers.
pub fn svd_of(rows: usize, columns: usize, values: Vec<f64>) -> Result<Svd> {
    let failed = |error: ndarray::ShapeError| TheoryError::Decomposition {
        what: "singular value decomposition",
        cause: error.to_string(),
    };
    svd(&Array2::from_shape_vec((rows, columns), values).map_err(failed)?)
}

impl Svd {
    /// The matrix with these singular vectors and other singular values, row by row; values that are missing are zero.
    pub fn with_values(&self, values: &[f64]) -> Vec<f64> {
        let scaled = Array1::from_iter(values.iter().copied().chain(std::iter::repeat(0.0)).take(self.s.len()));
        (&self.u * &scaled).dot(&self.vt).iter().copied().collect()
    }
}

/// Eigendecomposition of a symmetric matrix (its lower triangle is read).
///
/// # Errors
/// If the matrix is not square, has an entry that is not finite, or the iteration does not converge.
pub fn symmetric_eigen(a: &Array2<f64>) -> Result<SymmetricEigen> {
    const WHAT: &str = "symmetric eigendecomposition";
    if a.nrows() != a.ncols() {
        return Err(TheoryError::Shape {
            what: WHAT,
            found_rows: a.nrows(),
            found_cols: a.ncols(),
            expected: "a square matrix".into(),
        });
    }
    check_finite(WHAT, a)?;
    let (values, vectors) = a.eigh(UPLO::Lower).map_err(failed(WHAT))?;
    Ok(SymmetricEigen { values, vectors })
}

/// The polar factor U V^T, without the directions whose singular values are below [`RANK_TOLERANCE`] of the largest.
///
/// For a matrix of full rank this is the nearest matrix with orthonormal rows or columns; otherwise the partial
/// isometry of least norm, which is the limit of Newton-Schulz iterations. The zero matrix gives the zero matrix.
///
/// # Errors
/// As for [`svd`].
pub fn polar_factor(a: &Array2<f64>) -> Result<Array2<f64>> {
    let Svd { mut u, s, vt } = svd(a)?;
    let threshold = s.first().copied().unwrap_or(0.0) * RANK_TOLERANCE;
    for (mut column, &value) in u.axis_iter_mut(Axis(1)).zip(&s) {
        if value <= threshold {
            column.fill(0.0);
        }
    }
    Ok(u.dot(&vt))
}

/// The power S^p of a symmetric positive semidefinite matrix, through its eigenvalues.
///
/// For negative p, eigenvalues at or below [`RANK_TOLERANCE`] of the largest give zero (the pseudo-inverse power).
///
/// # Errors
/// As for [`symmetric_eigen`].
pub fn spectral_power(a: &Array2<f64>, power: f64) -> Result<Array2<f64>> {
    let SymmetricEigen { values, vectors } = symmetric_eigen(a)?;
    let threshold = values.iter().fold(0.0f64, |m, &x| m.max(x)) * RANK_TOLERANCE;
    let scaled = values.mapv(|x| {
        if x > threshold {
            x.powf(power)
        } else if power < 0.0 {
            0.0
        } else {
            x.max(0.0).powf(power)
        }
    });
    Ok((&vectors * &scaled).dot(&vectors.t()))
}

/// An orthogonal n x n matrix drawn from the Haar measure: the polar factor of a Gaussian matrix.
///
/// # Errors
/// As for [`svd`].
pub fn random_orthogonal(n: usize, rng: &mut impl Rng) -> Result<Array2<f64>> {
    let gaussian = Array2::from_shape_fn((n, n), |_| StandardNormal.sample(rng));
    polar_factor(&gaussian)
}

pub(crate) fn to_nalgebra(a: &Array2<f64>) -> DMatrix<f64> {
    DMatrix::from_fn(a.nrows(), a.ncols(), |i, j| a[[i, j]])
}

pub(crate) fn from_nalgebra(a: &DMatrix<f64>) -> Array2<f64> {
    Array2::from_shape_fn((a.nrows(), a.ncols()), |(i, j)| a[(i, j)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{gaussian_array, stream};
    use ndarray::array;

    fn distance(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
        (a - b).iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    #[test]
    fn singular_value_decomposition_multiplies_back_in_either_memory_order() {
        let mut rng = stream(1, "test");
        for (m, n) in [(7, 3), (3, 7), (64, 64), (256, 96)] {
            let a = gaussian_array(m, n, &mut rng);
            for matrix in [a.clone(), a.t().to_owned().reversed_axes()] {
                let Svd { u, s, vt } = svd(&matrix).unwrap();
                let product = (&u * &s).dot(&vt);
                assert!(distance(&product, &a) < 1e-12 * distance(&a, &Array2::zeros((m, n))));
            }
        }
    }

    #[test]
    fn polar_factor_of_a_rank_deficient_matrix_is_a_partial_isometry() {
        let mut rng = stream(2, "test");
        let a = gaussian_array(6, 2, &mut rng).dot(&gaussian_array(2, 5, &mut rng));
        let p = polar_factor(&a).unwrap();
        let squared = (&p * &p).sum();
        assert!((squared - 2.0).abs() < 1e-12, "two unit singular values, found {squared}");
        assert!(distance(&polar_factor(&Array2::zeros((3, 2))).unwrap(), &Array2::zeros((3, 2))) == 0.0);
    }

    #[test]
    fn spectral_powers_invert_each_other() {
        let a = array![[2.0, 0.5], [0.5, 1.0]];
        let root = spectral_power(&a, 0.5).unwrap();
        assert!(distance(&root.dot(&root), &a) < 1e-14);
        let inverse = spectral_power(&a, -1.0).unwrap();
        assert!(distance(&inverse.dot(&a), &Array2::eye(2)) < 1e-14);
    }

    #[test]
    fn random_orthogonal_matrices_are_orthogonal_and_differ_by_seed() {
        let q = random_orthogonal(9, &mut stream(3, "test")).unwrap();
        assert!(distance(&q.dot(&q.t()), &Array2::eye(9)) < 1e-12);
        let other = random_orthogonal(9, &mut stream(4, "test")).unwrap();
        assert!(distance(&q, &other) > 1.0);
    }

    #[test]
    fn bad_matrices_are_refused_in_one_line() {
        let message = svd(&array![[1.0, f64::NAN]]).unwrap_err().to_string();
        assert!(message.contains("not finite") && !message.contains('\n'));
        let message = symmetric_eigen(&Array2::zeros((2, 3))).unwrap_err().to_string();
        assert!(message.contains("2 x 3"), "{message}");
    }
}
