//! The second moment of vectors as they come.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};

/// Vectors that are taken in at a time.
const ROWS: usize = 512;
/// Columns that are computed at a time: of a symmetric matrix only blocks on and above the diagonal.
const COLUMNS: usize = 64;

/// The sum of x x^T over vectors x, in f64; no vector is kept.
#[derive(Debug, Clone)]
pub struct SecondMoment {
    count: usize,
    /// On and above the diagonal by blocks.
    sum: Array2<f64>,
}

impl SecondMoment {
    /// No vectors yet, of `features` entries each.
    pub fn new(features: usize) -> Self {
        Self { count: 0, sum: Array2::zeros((features, features)) }
    }

    /// Takes in vectors, one after the other.
    ///
    /// # Panics
    /// If the numbers are no whole vectors.
    pub fn extend(&mut self, vectors: &[f32]) {
        let n = self.sum.nrows();
        assert!(n > 0 && vectors.len().is_multiple_of(n), "vectors of {n} features");
        let mut wide = Vec::with_capacity(ROWS.min(vectors.len() / n) * n);
        for rows in vectors.chunks(ROWS * n) {
            wide.clear();
            wide.extend(rows.iter().map(|&x| f64::from(x)));
            if let Ok(rows) = ArrayView2::from_shape((wide.len() / n, n), &wide) {
                self.add(rows);
            }
        }
    }

    /// Takes in the rows of a matrix.
    pub(super) fn add(&mut self, rows: ArrayView2<'_, f64>) {
        let n = self.sum.nrows();
        for first in (0..n).step_by(COLUMNS) {
            let block = first..n.min(first + COLUMNS);
            let mut target = self.sum.slice_mut(s![block.clone(), first..]);
            general_mat_mul(1.0, &rows.slice(s![.., block]).t(), &rows.slice(s![.., first..]), 1.0, &mut target);
        }
        self.count += rows.nrows();
    }

    /// Vectors so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The sum of all squared entries.
    pub(super) fn square(&self) -> f64 {
        self.sum.diag().sum()
    }

    /// S = E[x x^T], n x n; zero without vectors.
    pub fn mean(&self) -> Array2<f64> {
        let count = self.count.max(1) as f64;
        Array2::from_shape_fn(self.sum.dim(), |(i, j)| self.sum[[i.min(j), i.max(j)]] / count)
    }
}
