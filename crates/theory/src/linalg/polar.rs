//! The exact polar factor, in place and without allocation: what Muon's step needs hundreds of thousands of times.
//!
//! Products of polynomials first (`polynomial`), which is fast and refuses matrices without full rank or nearly so; for
//! those, one-sided Jacobi: the columns of B = G V are rotated in pairs (and V with them) until they are orthogonal;
//! then their lengths are the singular values and polar(G) = B diag(1/σ) V^T. V starts from the last call's: an
//! optimizer's momentum changes little from step to step, so two or three sweeps suffice instead of six to eight.

use nalgebra::DMatrix;
use pulp::NullaryFnOnce;

use super::RANK_TOLERANCE;
use super::dense::{axpy, dot, product, product_transposed, transpose, with_vector_units};
use super::polynomial::PolynomialPolar;

/// No input needs as many sweeps as this; the bound only guards against a NaN.
const MAX_SWEEPS: usize = 60;
/// Once no pair of columns has a larger cosine, the sweep that saw this has brought them all to its square.
const LAST_SWEEP_COSINE: f64 = 1e-6;
/// Calls between two re-orthogonalisations of V, whose rounding errors add up.
const CALLS_BETWEEN_RESTARTS: u32 = 200;
/// Polar factors by rotations alone after one that polynomials could not give: such matrices come in long rows.
const CALLS_BETWEEN_POLYNOMIALS: u32 = 50;

/// Buffers for polar factors of matrices of one shape.
#[derive(Debug, Clone)]
pub struct PolarWorkspace {
    /// Whether the matrix is wide, so that its transpose is worked on.
    wide: bool,
    /// The tall matrix, max(m, n) x min(m, n).
    tall: DMatrix<f64>,
    /// B = tall V.
    rotated: DMatrix<f64>,
    /// The right singular vectors, min(m, n) squared.
    v: DMatrix<f64>,
    /// Squared lengths of the columns of B.
    squared: Vec<f64>,
    calls: u32,
    polynomial: PolynomialPolar,
    /// Calls until polynomials are tried again.
    rotations_left: u32,
}

impl PolarWorkspace {
    /// Buffers for `rows` x `cols` matrices, both at least 1.
    pub fn new(rows: usize, cols: usize) -> Self {
        let (long, short) = (rows.max(cols), rows.min(cols));
        Self {
            wide: rows < cols,
            tall: DMatrix::zeros(long, short),
            rotated: DMatrix::zeros(long, short),
            v: DMatrix::identity(short, short),
            squared: vec![0.0; short],
            calls: 0,
            polynomial: PolynomialPolar::new(rows, cols),
            rotations_left: 0,
        }
    }

    /// Writes the polar factor of `g` to `out`; singular values below [`RANK_TOLERANCE`] of the largest are left out.
    ///
    /// The result does not depend on earlier calls but for rounding. The zero matrix gives the zero matrix; a matrix
    /// with entries that are not finite gives one with entries that are not finite.
    ///
    /// # Panics
    /// If a shape is not the workspace's.
    pub fn polar(&mut self, g: &DMatrix<f64>, out: &mut DMatrix<f64>) {
        // A single column needs neither.
        if self.squared.len() > 1 {
            if self.rotations_left > 0 {
                self.rotations_left -= 1;
            } else if self.polynomial.polar(g, out) {
                return;
            } else {
                self.rotations_left = CALLS_BETWEEN_POLYNOMIALS;
            }
        }
        self.decompose(g);
        let threshold = self.threshold();
        let long = self.rotated.nrows();
        for (column, &squared) in self.rotated.as_mut_slice().chunks_exact_mut(long).zip(&self.squared) {
            let scale = if squared <= threshold { 0.0 } else { 1.0 / squared.sqrt() };
            column.iter_mut().for_each(|x| *x *= scale);
        }
        if self.wide {
            product_transposed(1.0, &self.v, &self.rotated, out);
        } else {
            product_transposed(1.0, &self.rotated, &self.v, out);
        }
    }

    /// Squared lengths up to this count as zero.
    fn threshold(&self) -> f64 {
        self.squared.iter().fold(0.0f64, |m, &x| m.max(x)) * (RANK_TOLERANCE * RANK_TOLERANCE)
    }

    /// The nuclear norm of `g`, the sum of its singular values.
    ///
    /// # Panics
    /// If the shape is not the workspace's.
    pub fn nuclear_norm(&mut self, g: &DMatrix<f64>) -> f64 {
        self.decompose(g);
        self.squared.iter().map(|x| x.sqrt()).sum()
    }

    /// Writes the power S^p of the symmetric positive semidefinite matrix `s` to `out`.
    ///
    /// Eigenvalues below [`RANK_TOLERANCE`] of the largest give zero.
    ///
    /// # Panics
    /// If a shape is not the workspace's, or the workspace is not for square matrices.
    pub fn symmetric_power(&mut self, s: &DMatrix<f64>, power: f64, out: &mut DMatrix<f64>) {
        assert!(self.rotated.is_square(), "a square matrix");
        self.decompose(s);
        let n = self.squared.len();
        let threshold = self.threshold();
        // V is the eigenvectors; B, no longer needed, takes them scaled.
        let columns = self.rotated.as_mut_slice().chunks_exact_mut(n).zip(self.v.as_slice().chunks_exact(n));
        for ((scaled, vector), &squared) in columns.zip(&self.squared) {
            let scale = if squared <= threshold { 0.0 } else { squared.powf(0.5 * power) };
            for (scaled, x) in scaled.iter_mut().zip(vector) {
                *scaled = scale * x;
            }
        }
        product_transposed(1.0, &self.rotated, &self.v, out);
    }

    /// Makes the columns of `rotated` = `tall` V orthogonal and their squared lengths known.
    fn decompose(&mut self, g: &DMatrix<f64>) {
        if self.wide {
            transpose(g, &mut self.tall);
        } else {
            self.tall.copy_from(g);
        }
        self.calls += 1;
        if self.calls.is_multiple_of(CALLS_BETWEEN_RESTARTS) {
            orthonormalise(&mut self.v);
        }
        product(&self.tall, &self.v, &mut self.rotated);
        with_vector_units(Rotations { columns: &mut self.rotated, v: &mut self.v, squared: &mut self.squared });
    }
}

/// The sweeps of one decomposition.
struct Rotations<'a> {
    columns: &'a mut DMatrix<f64>,
    v: &'a mut DMatrix<f64>,
    squared: &'a mut [f64],
}

impl NullaryFnOnce for Rotations<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (long, short) = self.columns.shape();
        let columns = self.columns.as_mut_slice();
        let v = self.v.as_mut_slice();
        let squared = self.squared;
        for _ in 0..MAX_SWEEPS {
            let mut largest = 0.0;
            for (j, length) in squared.iter_mut().enumerate() {
                let column = &columns[j * long..(j + 1) * long];
                *length = dot(column, column);
                largest = f64::max(largest, *length);
            }
            let threshold = largest * (RANK_TOLERANCE * RANK_TOLERANCE);
            let mut oblique = false;
            for p in 0..short {
                for q in p + 1..short {
                    if squared[p] <= threshold && squared[q] <= threshold {
                        continue;
                    }
                    let (left, right) = columns.split_at_mut(q * long);
                    let (a, b) = (&mut left[p * long..(p + 1) * long], &mut right[..long]);
                    let inner = dot(a, b);
                    // Squares are compared, which spares roots. Against a column that counts as zero the rotation must
                    // still remove what a large one left in it.
                    let lengths = (squared[p] * squared[q]).max(threshold * threshold);
                    if inner * inner <= (1e-15 * 1e-15) * lengths {
                        continue;
                    }
                    oblique |= inner * inner > LAST_SWEEP_COSINE * LAST_SWEEP_COSINE * lengths
                        && squared[p].min(squared[q]) > threshold;
                    let (difference, twice) = (squared[q] - squared[p], 2.0 * inner);
                    let root = (difference * difference + twice * twice).sqrt();
                    let tangent = twice.copysign(twice * difference) / (difference.abs() + root);
                    let cos = 1.0 / (1.0 + tangent * tangent).sqrt();
                    let sin = cos * tangent;
                    rotate(cos, sin, a, b);
                    squared[p] -= tangent * inner;
                    squared[q] += tangent * inner;
                    let (left, right) = v.split_at_mut(q * short);
                    rotate(cos, sin, &mut left[p * short..(p + 1) * short], &mut right[..short]);
                }
            }
            if !oblique {
                break;
            }
        }
        for (j, length) in squared.iter_mut().enumerate() {
            let column = &columns[j * long..(j + 1) * long];
            *length = dot(column, column);
        }
    }
}

/// (a, b) <- (c a - s b, s a + c b).
#[inline(always)]
fn rotate(cos: f64, sin: f64, a: &mut [f64], b: &mut [f64]) {
    for (a, b) in a.iter_mut().zip(b) {
        let (x, y) = (*a, *b);
        *a = cos * x - sin * y;
        *b = sin * x + cos * y;
    }
}

/// Gram-Schmidt on nearly orthonormal columns.
fn orthonormalise(v: &mut DMatrix<f64>) {
    let n = v.nrows();
    let columns = v.as_mut_slice();
    for j in 0..n {
        let (done, rest) = columns.split_at_mut(j * n);
        let column = &mut rest[..n];
        for i in 0..j {
            let other = &done[i * n..(i + 1) * n];
            axpy(-dot(other, column), other, column);
        }
        let scale = 1.0 / dot(column, column).sqrt();
        column.iter_mut().for_each(|x| *x *= scale);
    }
}

/// The Gram matrix G G^T or G^T G, whichever is smaller, into `out`.
pub(crate) fn smaller_gram(g: &DMatrix<f64>, out: &mut DMatrix<f64>) {
    if g.nrows() <= g.ncols() {
        product_transposed(1.0, g, g, out);
    } else {
        super::dense::transposed_product(g, g, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{from_nalgebra, polar_factor, singular_values, to_nalgebra};
    use crate::random::{gaussian_matrix, stream};

    fn error(workspace: &mut PolarWorkspace, g: &DMatrix<f64>) -> f64 {
        let mut out = DMatrix::zeros(g.nrows(), g.ncols());
        workspace.polar(g, &mut out);
        (out - to_nalgebra(&polar_factor(&from_nalgebra(g)).unwrap())).norm()
    }

    #[test]
    fn agrees_with_lapack_for_every_shape() {
        let mut rng = stream(1, "test");
        for (m, n) in [(1, 1), (1, 5), (5, 1), (24, 8), (4, 24), (32, 32)] {
            let mut workspace = PolarWorkspace::new(m, n);
            for _ in 0..5 {
                let g = gaussian_matrix(m, n, &mut rng);
                assert!(error(&mut workspace, &g) < 1e-10, "{m} x {n}");
                let nuclear = singular_values(&from_nalgebra(&g)).unwrap().sum();
                assert!((workspace.nuclear_norm(&g) / nuclear - 1.0).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn stays_exact_over_many_warm_starts() {
        let mut rng = stream(2, "test");
        let (m, n) = (12, 6);
        let mut workspace = PolarWorkspace::new(m, n);
        let mut momentum = gaussian_matrix(m, n, &mut rng);
        let mut out = DMatrix::zeros(m, n);
        for _ in 0..20_000 {
            momentum = 0.9 * momentum + 0.1 * gaussian_matrix(m, n, &mut rng);
            workspace.polar(&momentum, &mut out);
        }
        assert!(error(&mut workspace, &momentum) < 1e-10);
        assert!((out.tr_mul(&out) - DMatrix::identity(n, n)).norm() < 1e-11);
    }

    #[test]
    fn leaves_out_the_null_space_and_keeps_small_singular_values() {
        let mut rng = stream(3, "test");
        let low = gaussian_matrix(16, 3, &mut rng) * gaussian_matrix(3, 10, &mut rng);
        let mut workspace = PolarWorkspace::new(16, 10);
        let mut out = DMatrix::zeros(16, 10);
        workspace.polar(&low, &mut out);
        assert!((out.norm_squared() - 3.0).abs() < 1e-10);
        // Six orders of magnitude between singular values are kept apart.
        let graded = &low + 1e-6 * gaussian_matrix(16, 10, &mut rng);
        workspace.polar(&graded, &mut out);
        assert!((out.tr_mul(&out) - DMatrix::identity(10, 10)).norm() < 1e-9);
        workspace.polar(&DMatrix::zeros(16, 10), &mut out);
        assert_eq!(out.norm(), 0.0);
    }

    #[test]
    fn polynomials_and_rotations_agree_at_every_condition() {
        let mut rng = stream(5, "test");
        for (m, n) in [(4, 24), (24, 8), (16, 16), (7, 3), (20, 33)] {
            for decades in [1.0, 3.0, 5.0] {
                let svd = gaussian_matrix(m, n, &mut rng).svd(true, true);
                let rank = m.min(n);
                let graded =
                    nalgebra::DVector::from_fn(rank, |i, _| 10f64.powf(-decades * i as f64 / (rank - 1) as f64));
                let g = svd.u.unwrap() * DMatrix::from_diagonal(&graded) * svd.v_t.unwrap();
                let mut fast = PolarWorkspace::new(m, n);
                let mut out = DMatrix::zeros(m, n);
                // The first calls find out where the chain has to begin.
                for _ in 0..10 {
                    fast.polar(&g, &mut out);
                }
                assert_eq!(fast.rotations_left, 0, "{m} x {n}, {decades} decades");
                let mut rotated = DMatrix::zeros(m, n);
                let mut slow = PolarWorkspace { rotations_left: 1, ..PolarWorkspace::new(m, n) };
                slow.polar(&g, &mut rotated);
                assert!((&out - &rotated).norm() < 1e-14 * 10f64.powf(decades) + 1e-13, "{m} x {n}, {decades} decades");
                let gram = if m < n { &out * out.transpose() } else { out.tr_mul(&out) };
                assert!((gram - DMatrix::identity(rank, rank)).norm() < 1e-13);
            }
        }
    }

    #[test]
    fn symmetric_powers_agree_with_lapack() {
        let a = gaussian_matrix(7, 9, &mut stream(4, "test"));
        let s = &a * a.transpose();
        let mut workspace = PolarWorkspace::new(7, 7);
        let mut out = DMatrix::zeros(7, 7);
        for power in [-0.5, -0.25, 0.5, 1.0] {
            workspace.symmetric_power(&s, power, &mut out);
            let expected = crate::linalg::spectral_power(&from_nalgebra(&s), power).unwrap();
            assert!((&out - to_nalgebra(&expected)).norm() < 1e-10, "power {power}");
        }
    }

    #[test]
    fn matrices_that_are_not_finite_end_without_hanging() {
        let mut workspace = PolarWorkspace::new(3, 2);
        let mut out = DMatrix::zeros(3, 2);
        workspace.polar(&DMatrix::from_element(3, 2, f64::NAN), &mut out);
    }
}
