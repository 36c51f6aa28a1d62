//! What a weight matrix says of itself.

use ndarray::{ArrayView2, linalg::general_mat_mul};

use super::exponential_entropy;
use crate::error::{Result, TheoryError};
use crate::linalg::symmetric_eigen;

/// Statistics of a matrix with singular values sigma. Of a zero matrix all are 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatrixStatistics {
    /// Root mean square of the entries.
    pub rms: f64,
    /// The largest absolute entry.
    pub largest_entry: f64,
    /// The largest singular value.
    pub spectral_norm: f64,
    /// |W|_F^2 / sigma_1^2, in 1..=min(m, n).
    pub stable_rank: f64,
    /// exp of the entropy of sigma / sum sigma (Roy and Vetterli 2007), in 1..=min(m, n).
    pub effective_rank: f64,
    /// exp of the entropy of sigma^2 / sum sigma^2: the same on the squares.
    pub effective_rank_of_squares: f64,
}

impl MatrixStatistics {
    /// Of a `rows` x `columns` matrix given row by row.
    ///
    /// The singular values are roots of the eigenvalues of the smaller Gram matrix, in f64: those below 1e-8 of the
    /// largest are noise, and weigh as much in every number here.
    ///
    /// # Errors
    /// If there are not as many numbers, none, or one that is not finite.
    pub fn of(rows: usize, columns: usize, values: &[f32]) -> Result<Self> {
        let wide: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
        let view = ArrayView2::from_shape((rows, columns), &wide).map_err(|_| TheoryError::Shape {
            what: "matrix",
            found_rows: 1,
            found_cols: values.len(),
            expected: format!("{rows} x {columns}"),
        })?;
        let matrix = if rows <= columns { view } else { view.reversed_axes() };
        let mut gram = ndarray::Array2::zeros((matrix.nrows(), matrix.nrows()));
        general_mat_mul(1.0, &matrix, &matrix.t(), 0.0, &mut gram);
        let squares: Vec<f64> = symmetric_eigen(&gram)?.values.iter().map(|x| x.max(0.0)).collect();
        let total: f64 = wide.iter().map(|x| x * x).sum();
        let largest = squares.last().copied().unwrap_or(0.0);
        Ok(Self {
            rms: (total / wide.len() as f64).sqrt(),
            largest_entry: wide.iter().fold(0.0, |most, x| x.abs().max(most)),
            spectral_norm: largest.sqrt(),
            stable_rank: if largest > 0.0 { total / largest } else { 0.0 },
            effective_rank: exponential_entropy(squares.iter().map(|x| x.sqrt())),
            effective_rank_of_squares: exponential_entropy(squares.iter().copied()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_singular_values_count_all_and_a_single_one_counts_once() {
        let permutation = MatrixStatistics::of(3, 3, &[0.0, 2.0, 0.0, 0.0, 0.0, -2.0, 2.0, 0.0, 0.0]).unwrap();
        for found in [permutation.stable_rank, permutation.effective_rank, permutation.effective_rank_of_squares] {
            assert!((found - 3.0).abs() < 1e-12, "{permutation:?}");
        }
        assert_eq!((permutation.spectral_norm, permutation.largest_entry), (2.0, 2.0));
        let outer = MatrixStatistics::of(2, 3, &[1.0, 2.0, 2.0, -1.0, -2.0, -2.0]).unwrap();
        assert!((outer.spectral_norm - 18f64.sqrt()).abs() < 1e-12 && (outer.rms - 3f64.sqrt()).abs() < 1e-12);
        for found in [outer.stable_rank, outer.effective_rank_of_squares] {
            assert!((found - 1.0).abs() < 1e-12, "{outer:?}");
        }
        assert!((outer.effective_rank - 1.0).abs() < 1e-6);
    }

    #[test]
    fn two_singular_values_by_hand_in_either_shape() {
        for (rows, columns) in [(2, 3), (3, 2)] {
            let mut values = [0.0; 6];
            values[0] = 3.0;
            values[columns + 1] = 1.0;
            let found = MatrixStatistics::of(rows, columns, &values).unwrap();
            let entropy = |p: f64| (-p * p.ln() - (1.0 - p) * (1.0 - p).ln()).exp();
            assert!((found.stable_rank - 10.0 / 9.0).abs() < 1e-12);
            assert!((found.effective_rank - entropy(0.75)).abs() < 1e-7);
            assert!((found.effective_rank_of_squares - entropy(0.9)).abs() < 1e-12);
        }
    }

    #[test]
    fn a_matrix_of_another_shape_or_without_finite_numbers_is_refused() {
        assert!(MatrixStatistics::of(2, 2, &[1.0; 3]).is_err());
        assert!(MatrixStatistics::of(1, 2, &[1.0, f32::NAN]).is_err());
        assert_eq!(MatrixStatistics::of(2, 2, &[0.0; 4]).unwrap().effective_rank, 0.0);
    }
}
