//! The functionals of a two-layer linear network y = W2 W1 x that label noise lowers, with their gradients.

use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::error::{Result, TheoryError};
use crate::inputs::Inputs;
use crate::linalg::{polar_factor, singular_values, spectral_power};
use crate::random::{gaussian_array, stream};

/// Which functional.
///
/// A layer with input second moment S and output curvature B contributes the term given; the two layers add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Functional {
    /// tr B tr S, lowered by SGD.
    Sgd,
    /// (sum_i sqrt(B_ii)) (sum_j sqrt(S_jj)), lowered by Adam and sign descent.
    Adam,
    /// tr B^(1/2) tr S^(1/2): full whitening, lowered by two-sided Shampoo with power -1/2 (the conjecture for Muon).
    FullWhitening,
    /// E |B^(1/2) Z S^(1/2)|_*, the expected nuclear norm of the gradient noise, lowered by Muon.
    DualNorm,
}

impl Functional {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sgd, Self::Adam, Self::FullWhitening, Self::DualNorm];

    /// The name that tables use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::Adam => "adam",
            Self::FullWhitening => "full-whitening",
            Self::DualNorm => "dual-norm",
        }
    }
}

/// Gaussian matrices over which the dual norm's expectation is taken, fixed so that it is a smooth function.
const DUAL_NORM_DRAWS: usize = 96;

/// A functional of (W1, W2) for given inputs.
#[derive(Debug, Clone)]
pub struct TwoLayerFunctional {
    which: Functional,
    root: Array2<f64>,
    covariance: Array2<f64>,
    trace: f64,
    trace_of_root: f64,
    diagonal_roots: f64,
    outputs: usize,
    /// Lengths of rows and columns in Adam's functional are sqrt(length^2 + smoothing^2).
    smoothing: f64,
    /// Z C^(1/2) / sqrt(draws), m x n each, for the dual norm.
    draws: Vec<Array2<f64>>,
}

impl TwoLayerFunctional {
    /// The functional `which` of networks with these inputs and `outputs` outputs.
    pub fn new(which: Functional, inputs: &Inputs, outputs: usize) -> Self {
        let covariance = inputs.covariance.clone();
        let n = covariance.nrows();
        let draws = if which == Functional::DualNorm {
            let mut rng = stream(0, "dual norm draws");
            (0..DUAL_NORM_DRAWS).map(|_| gaussian_array(outputs, n, &mut rng).dot(&inputs.root)).collect()
        } else {
            Vec::new()
        };
        Self {
            which,
            trace: covariance.diag().sum(),
            trace_of_root: inputs.root.diag().sum(),
            diagonal_roots: covariance.diag().iter().map(|x| x.max(0.0).sqrt()).sum(),
            root: inputs.root.clone(),
            covariance,
            outputs,
            smoothing: 0.0,
            draws,
        }
    }

    /// Which functional this is.
    pub fn which(&self) -> Functional {
        self.which
    }

    /// The same with the lengths in Adam's functional rounded off at zero, which lets descent pass its kinks.
    pub(super) fn smoothed(&self, smoothing: f64) -> Self {
        Self { smoothing, ..self.clone() }
    }

    /// Euclidean lengths of the rows (along axis 1) or columns (along axis 0).
    fn lengths(&self, a: &Array2<f64>, along: Axis) -> Vec<f64> {
        a.lanes(along)
            .into_iter()
            .map(|lane| lane.iter().map(|x| x * x).sum::<f64>())
            .map(|squared| (squared + self.smoothing * self.smoothing).sqrt())
            .collect()
    }

    fn check(&self, w1: &Array2<f64>, w2: &Array2<f64>) -> Result<()> {
        if w1.ncols() != self.covariance.nrows() {
            return Err(TheoryError::Shape {
                what: "first layer",
                found_rows: w1.nrows(),
                found_cols: w1.ncols(),
                expected: format!("{} columns", self.covariance.nrows()),
            });
        }
        if w2.dim() != (self.outputs, w1.nrows()) {
            return Err(TheoryError::Shape {
                what: "second layer",
                found_rows: w2.nrows(),
                found_cols: w2.ncols(),
                expected: format!("{} x {}", self.outputs, w1.nrows()),
            });
        }
        Ok(())
    }

    /// The value at first-layer weights `w1` (h x n) and second-layer weights `w2` (m x h).
    ///
    /// # Errors
    /// If the shapes do not fit or an entry is not finite.
    pub fn value(&self, w1: &Array2<f64>, w2: &Array2<f64>) -> Result<f64> {
        self.check(w1, w2)?;
        let m = self.outputs as f64;
        let hidden = w1.dot(&self.root);
        Ok(match self.which {
            Functional::Sgd => m * squared(&hidden) + self.trace * squared(w2),
            Functional::Adam => {
                m * self.lengths(&hidden, Axis(1)).iter().sum::<f64>()
                    + self.diagonal_roots * self.lengths(w2, Axis(0)).iter().sum::<f64>()
            }
            Functional::FullWhitening => {
                m * singular_values(&hidden)?.sum() + self.trace_of_root * singular_values(w2)?.sum()
            }
            Functional::DualNorm => {
                let mut sum = 0.0;
                for z in &self.draws {
                    sum += singular_values(&z.dot(&w1.t()))?.sum();
                    sum += singular_values(&w2.t().dot(z))?.sum();
                }
                sum / self.draws.len() as f64
            }
        })
    }

    /// The gradients with respect to `w1` and `w2`.
    ///
    /// # Errors
    /// As for [`Self::value`].
    pub fn gradient(&self, w1: &Array2<f64>, w2: &Array2<f64>) -> Result<(Array2<f64>, Array2<f64>)> {
        self.check(w1, w2)?;
        let m = self.outputs as f64;
        let hidden = w1.dot(&self.root);
        Ok(match self.which {
            Functional::Sgd => (w1.dot(&self.covariance) * (2.0 * m), w2 * (2.0 * self.trace)),
            Functional::Adam => {
                let mut g1 = w1.dot(&self.covariance) * m;
                for (mut row, length) in g1.outer_iter_mut().zip(self.lengths(&hidden, Axis(1))) {
                    row *= inverse(length);
                }
                let mut g2 = w2 * self.diagonal_roots;
                for (mut column, length) in g2.axis_iter_mut(Axis(1)).zip(self.lengths(w2, Axis(0))) {
                    column *= inverse(length);
                }
                (g1, g2)
            }
            Functional::FullWhitening => {
                (polar_factor(&hidden)?.dot(&self.root) * m, polar_factor(w2)? * self.trace_of_root)
            }
            Functional::DualNorm => {
                let (mut g1, mut g2) = (Array2::zeros(w1.dim()), Array2::zeros(w2.dim()));
                for z in &self.draws {
                    g1 += &polar_factor(&z.dot(&w1.t()))?.t().dot(z);
                    g2 += &z.dot(&polar_factor(&w2.t().dot(z))?.t());
                }
                let scale = 1.0 / self.draws.len() as f64;
                (g1 * scale, g2 * scale)
            }
        })
    }
}

/// tr S^(1/2) and the sum of sqrt(S_jj) of one positive semidefinite matrix.
///
/// The first is never larger (concavity of the square root), and they are equal exactly when S is diagonal.
///
/// # Errors
/// If S is not square or not finite.
pub fn whitening_and_diagonal_traces(s: &Array2<f64>) -> Result<(f64, f64)> {
    let root = spectral_power(s, 0.5)?;
    Ok((root.diag().sum(), s.diag().iter().map(|x| x.max(0.0).sqrt()).sum()))
}

fn squared(a: &Array2<f64>) -> f64 {
    a.iter().map(|x| x * x).sum()
}

/// 1 / x, and the subgradient's 0 at 0.
fn inverse(x: f64) -> f64 {
    if x > 0.0 { 1.0 / x } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::InputFamily;
    use proptest::prelude::*;

    fn setting(anisotropy: f64, seed: u64) -> (Inputs, Array2<f64>, Array2<f64>) {
        let mut rng = stream(seed, "functional test");
        let family = InputFamily { size: 4, anisotropy, rotation: 0.7 };
        (family.draw(&mut rng).unwrap(), gaussian_array(5, 4, &mut rng), gaussian_array(3, 5, &mut rng))
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (inputs, w1, w2) = setting(0.8, 1);
        for which in Functional::ALL {
            let functional = TwoLayerFunctional::new(which, &inputs, 3);
            let (g1, g2) = functional.gradient(&w1, &w2).unwrap();
            let step = 1e-5;
            for (index, &g) in g1.indexed_iter() {
                let (mut up, mut down) = (w1.clone(), w1.clone());
                up[index] += step;
                down[index] -= step;
                let slope =
                    (functional.value(&up, &w2).unwrap() - functional.value(&down, &w2).unwrap()) / (2.0 * step);
                assert!((slope - g).abs() < 1e-5 * (1.0 + g.abs()), "{which:?} W1 {index:?}: {slope} {g}");
            }
            for (index, &g) in g2.indexed_iter() {
                let (mut up, mut down) = (w2.clone(), w2.clone());
                up[index] += step;
                down[index] -= step;
                let slope =
                    (functional.value(&w1, &up).unwrap() - functional.value(&w1, &down).unwrap()) / (2.0 * step);
                assert!((slope - g).abs() < 1e-5 * (1.0 + g.abs()), "{which:?} W2 {index:?}: {slope} {g}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        #[test]
        fn only_adams_functional_depends_on_the_hidden_basis(seed in 0u64..10_000) {
            let (inputs, w1, w2) = setting(0.5, seed);
            let q = crate::linalg::random_orthogonal(5, &mut stream(seed, "turn")).unwrap();
            for which in Functional::ALL {
                let functional = TwoLayerFunctional::new(which, &inputs, 3);
                let before = functional.value(&w1, &w2).unwrap();
                let after = functional.value(&q.dot(&w1), &w2.dot(&q.t())).unwrap();
                let moved = (after / before - 1.0).abs();
                if which == Functional::Adam {
                    prop_assert!(moved > 1e-9);
                } else {
                    prop_assert!(moved < 1e-10, "{:?} moved by {}", which, moved);
                }
            }
        }

        #[test]
        fn whitening_trace_is_at_most_the_diagonal_one_with_equality_iff_diagonal(seed in 0u64..10_000) {
            let mut rng = stream(seed, "traces");
            let x = gaussian_array(5, 7, &mut rng);
            let s = x.dot(&x.t());
            let (whitening, diagonal) = whitening_and_diagonal_traces(&s).unwrap();
            prop_assert!(whitening < diagonal * (1.0 - 1e-9));
            let diagonal_only = Array2::from_diag(&s.diag());
            let (whitening, diagonal) = whitening_and_diagonal_traces(&diagonal_only).unwrap();
            prop_assert!((whitening / diagonal - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let (inputs, w1, w2) = setting(0.0, 1);
        let functional = TwoLayerFunctional::new(Functional::Sgd, &inputs, 3);
        assert!(functional.value(&w2, &w1).is_err());
        assert!(functional.gradient(&w1, &w1).is_err());
    }
}
