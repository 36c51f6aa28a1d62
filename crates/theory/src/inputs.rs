//! Gaussian inputs with a power-law spectrum in aligned, partly rotated or Haar-random axes.

use nalgebra::DMatrix;
use ndarray::{Array1, Array2};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Result, at_least, not_negative, parameter};
use crate::linalg::{polar_factor, to_nalgebra};
use crate::random::gaussian_array;

/// A family of input covariances C on R^n with mean eigenvalue 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputFamily {
    /// Number of inputs n.
    pub size: usize,
    /// Exponent a >= 0: the k-th principal standard deviation is proportional to k^(-a) (its eigenvalue to k^(-2a)).
    pub anisotropy: f64,
    /// Turn t in [0, 1] of the principal axes: 0 along the coordinates, 1 Haar-random. Between, the axes are the polar
    /// factor of (1 - t) I + t G / sqrt(n) with G Gaussian.
    pub rotation: f64,
}

/// One covariance of a family, with its symmetric root.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// C, n x n.
    pub covariance: Array2<f64>,
    /// C^(1/2), symmetric, n x n.
    pub root: Array2<f64>,
    /// C^(-1/2), symmetric, n x n.
    pub inverse_root: Array2<f64>,
    pub(crate) root_matrix: DMatrix<f64>,
}

impl InputFamily {
    /// Checks the family's parameters.
    ///
    /// # Errors
    /// If the size is zero, the anisotropy negative or the turn outside [0, 1].
    pub fn check(&self) -> Result<()> {
        at_least("inputs.size", self.size, 1)?;
        not_negative("inputs.anisotropy", self.anisotropy)?;
        if !(0.0..=1.0).contains(&self.rotation) {
            return Err(parameter("inputs.rotation", self.rotation, "in [0, 1]"));
        }
        Ok(())
    }

    /// The principal standard deviations, descending, their squares with mean 1.
    pub fn standard_deviations(&self) -> Array1<f64> {
        let raw = Array1::from_shape_fn(self.size, |k| ((k + 1) as f64).powf(-self.anisotropy));
        let scale = (raw.mapv(|x| x * x).sum() / self.size as f64).sqrt();
        raw / scale
    }

    /// Draws one member of the family.
    ///
    /// # Errors
    /// As for [`Self::check`].
    pub fn draw(&self, rng: &mut impl Rng) -> Result<Inputs> {
        self.check()?;
        let n = self.size;
        let deviations = self.standard_deviations();
        // Drawn even where it is not used, so that all turns of one seed share it.
        let gaussian = gaussian_array(n, n, rng) / (n as f64).sqrt();
        let axes = if self.rotation == 0.0 {
            Array2::eye(n)
        } else {
            polar_factor(&(Array2::<f64>::eye(n) * (1.0 - self.rotation) + gaussian * self.rotation))?
        };
        let with = |values: Array1<f64>| (&axes * &values).dot(&axes.t());
        let root = with(deviations.clone());
        Ok(Inputs {
            covariance: with(deviations.mapv(|x| x * x)),
            inverse_root: with(deviations.mapv(|x| 1.0 / x)),
            root_matrix: to_nalgebra(&root),
            root,
        })
    }
}

/// Share of the squared mass of a symmetric matrix that lies off its diagonal: 0 for a diagonal matrix.
pub fn off_diagonal_mass(s: &Array2<f64>) -> f64 {
    let all = (s * s).sum();
    let diagonal: f64 = s.diag().iter().map(|x| x * x).sum();
    if all > 0.0 { (all - diagonal) / all } else { 0.0 }
}

/// Participation ratio (sum v)^2 / sum v^2 of non-negative values: how many of them carry the sum.
pub fn participation_ratio(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, squares) = values.into_iter().fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    fn family(rotation: f64) -> InputFamily {
        InputFamily { size: 12, anisotropy: 1.0, rotation }
    }

    #[test]
    fn roots_square_to_the_covariance_and_its_trace_is_n() {
        let inputs = family(0.4).draw(&mut stream(1, "test")).unwrap();
        let gap = &inputs.root.dot(&inputs.root) - &inputs.covariance;
        assert!(gap.iter().all(|x| x.abs() < 1e-12));
        let gap = inputs.root.dot(&inputs.inverse_root) - Array2::<f64>::eye(12);
        assert!(gap.iter().all(|x| x.abs() < 1e-12));
        assert!((inputs.covariance.diag().sum() - 12.0).abs() < 1e-10);
    }

    #[test]
    fn turning_the_axes_moves_mass_off_the_diagonal() {
        let mass = |t| off_diagonal_mass(&family(t).draw(&mut stream(2, "test")).unwrap().covariance);
        assert!(mass(0.0) < 1e-20);
        assert!(mass(0.2) > 0.01 && mass(0.2) < mass(0.5) && mass(0.5) < mass(1.0));
    }

    #[test]
    fn participation_counts_equal_values() {
        assert!((participation_ratio([2.0, 2.0, 2.0]) - 3.0).abs() < 1e-12);
        assert!((participation_ratio([1.0, 0.0, 0.0]) - 1.0).abs() < 1e-12);
        assert_eq!(participation_ratio([0.0]), 0.0);
    }

    #[test]
    fn bad_families_are_refused() {
        for bad in [
            InputFamily { size: 0, ..family(0.0) },
            InputFamily { anisotropy: -1.0, ..family(0.0) },
            InputFamily { anisotropy: f64::NAN, ..family(0.0) },
            family(1.5),
            family(f64::NAN),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
