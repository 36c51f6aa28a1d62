//! Newton-Schulz iteration: the approximate polar factor that Muon uses in practice.
//!
//! X <- a X + b (X X^T) X + c (X X^T)^2 X from X = G / |G|_F. Source of the coefficients: Keller Jordan's Muon
//! (3.4445, -4.7750, 2.0315), which brings every singular value into about [0.7, 1.2] in five steps and does not
//! converge to 1; the classical cubic (1.5, -0.5, 0) converges to the polar factor.

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use super::dense::{product, squared_norm};
use super::polar::smaller_gram;

/// Which polynomial is iterated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Polynomial {
    /// a = 3.4445, b = -4.7750, c = 2.0315.
    KellerJordan,
    /// a = 1.5, b = -0.5, c = 0.
    Cubic,
}

impl Polynomial {
    /// The coefficients (a, b, c).
    pub fn coefficients(self) -> (f64, f64, f64) {
        match self {
            Self::KellerJordan => (3.4445, -4.7750, 2.0315),
            Self::Cubic => (1.5, -0.5, 0.0),
        }
    }

    /// The image of one singular value x in [0, 1] after `steps` iterations.
    pub fn apply(self, x: f64, steps: usize) -> f64 {
        let (a, b, c) = self.coefficients();
        (0..steps).fold(x, |x, _| x * (a + x * x * (b + c * x * x)))
    }
}

/// Buffers for the iteration on matrices of one shape.
#[derive(Debug, Clone)]
pub struct NewtonSchulzWorkspace {
    gram: DMatrix<f64>,
    gram_squared: DMatrix<f64>,
    next: DMatrix<f64>,
}

impl NewtonSchulzWorkspace {
    /// Buffers for `rows` x `cols` matrices.
    pub fn new(rows: usize, cols: usize) -> Self {
        let short = rows.min(cols);
        Self {
            gram: DMatrix::zeros(short, short),
            gram_squared: DMatrix::zeros(short, short),
            next: DMatrix::zeros(rows, cols),
        }
    }

    /// Writes `steps` iterations from `g` / |g|_F to `out`; the zero matrix gives the zero matrix.
    ///
    /// # Panics
    /// If a shape is not the workspace's.
    #[inline(always)]
    pub fn iterate(&mut self, g: &DMatrix<f64>, polynomial: Polynomial, steps: usize, out: &mut DMatrix<f64>) {
        out.copy_from(g);
        let norm = squared_norm(g).sqrt();
        if norm == 0.0 {
            return;
        }
        *out /= norm;
        let (a, b, c) = polynomial.coefficients();
        let short = self.gram.nrows();
        for _ in 0..steps {
            smaller_gram(out, &mut self.gram);
            product(&self.gram, &self.gram, &mut self.gram_squared);
            // The polynomial's factor a I + b A + c A^2, in place of A.
            for (x, &squared) in self.gram.iter_mut().zip(self.gram_squared.iter()) {
                *x = b * *x + c * squared;
            }
            for i in 0..short {
                self.gram[(i, i)] += a;
            }
            if out.nrows() <= out.ncols() {
                product(&self.gram, out, &mut self.next);
            } else {
                product(out, &self.gram, &mut self.next);
            }
            out.copy_from(&self.next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::polar::PolarWorkspace;
    use crate::random::{gaussian_matrix, stream};

    #[test]
    fn the_cubic_converges_to_the_exact_polar_factor() {
        let mut rng = stream(1, "test");
        for (m, n) in [(6, 4), (4, 9), (5, 5)] {
            let g = gaussian_matrix(m, n, &mut rng);
            let (mut exact, mut iterated) = (DMatrix::zeros(m, n), DMatrix::zeros(m, n));
            PolarWorkspace::new(m, n).polar(&g, &mut exact);
            NewtonSchulzWorkspace::new(m, n).iterate(&g, Polynomial::Cubic, 60, &mut iterated);
            assert!((exact - iterated).norm() < 1e-10, "{m} x {n}");
        }
    }

    #[test]
    fn five_steps_act_on_each_singular_value_as_the_scalar_polynomial() {
        let g = DMatrix::from_diagonal(&nalgebra::DVector::from_vec(vec![0.9, 0.3, 0.02]));
        let mut out = DMatrix::zeros(3, 3);
        NewtonSchulzWorkspace::new(3, 3).iterate(&g, Polynomial::KellerJordan, 5, &mut out);
        for i in 0..3 {
            let expected = Polynomial::KellerJordan.apply(g[(i, i)] / g.norm(), 5);
            assert!((out[(i, i)] - expected).abs() < 1e-12);
        }
        assert!(out[(0, 0)] > 0.6 && out[(0, 0)] < 1.25);
    }

    #[test]
    fn a_zero_gradient_stays_zero() {
        let mut out = DMatrix::from_element(2, 3, 1.0);
        NewtonSchulzWorkspace::new(2, 3).iterate(&DMatrix::zeros(2, 3), Polynomial::KellerJordan, 5, &mut out);
        assert_eq!(out, DMatrix::zeros(2, 3));
    }
}
