//! Predicted forgetting of a real layer's update, from the layer's measured statistics.
//!
//! For small updates dW of a linear layer with activation second moment S = E[x x^T] and output curvature B, the
//! pretraining loss rises by half of tr(B dW S dW^T) to second order, if its Hessian is B (x) S and its gradient
//! vanishes. The functions here return tr(B dW S dW^T) itself, the quantity called forgetting in the linear model.

use ndarray::Array2;

use crate::error::{Result, TheoryError, positive};
use crate::geometry::{Norm, inner};

/// What is known of a layer.
#[derive(Debug, Clone)]
pub struct LayerStatistics {
    input: Array2<f64>,
    output: Option<Array2<f64>>,
}

/// An update's predicted forgetting beside what the same amount of update costs without structure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// tr(B dW S dW^T).
    pub forgetting: f64,
    /// Its mean over updates of the same Frobenius norm turned at random on both sides: |dW|_F^2 (tr B / m) (tr S / n).
    pub unstructured: f64,
}

impl Prediction {
    /// Forgetting relative to an unstructured update of the same norm: below 1 the update avoids what matters.
    pub fn relative(&self) -> f64 {
        self.forgetting / self.unstructured
    }
}

fn square(what: &'static str, a: &Array2<f64>) -> Result<()> {
    if a.nrows() != a.ncols() || a.is_empty() {
        return Err(TheoryError::Shape {
            what,
            found_rows: a.nrows(),
            found_cols: a.ncols(),
            expected: "a square matrix that is not empty".into(),
        });
    }
    if !a.iter().all(|x| x.is_finite()) {
        return Err(TheoryError::NotFinite { what });
    }
    Ok(())
}

impl LayerStatistics {
    /// From the activations' second moment S (n x n) and the output curvature B (m x m; the identity if not given).
    ///
    /// # Errors
    /// If a matrix is not square or not finite.
    pub fn new(input: Array2<f64>, output: Option<Array2<f64>>) -> Result<Self> {
        square("activation second moment", &input)?;
        if let Some(output) = &output {
            square("output curvature", output)?;
        }
        Ok(Self { input, output })
    }

    /// Predicted forgetting of the update `dw`, m x n.
    ///
    /// # Errors
    /// If the shape does not fit the statistics or an entry is not finite.
    pub fn predict(&self, dw: &Array2<f64>) -> Result<Prediction> {
        let n = self.input.nrows();
        let m = self.output.as_ref().map_or(dw.nrows(), Array2::nrows);
        if dw.dim() != (m, n) {
            return Err(TheoryError::Shape {
                what: "update",
                found_rows: dw.nrows(),
                found_cols: dw.ncols(),
                expected: format!("{m} x {n}"),
            });
        }
        if !dw.iter().all(|x| x.is_finite()) {
            return Err(TheoryError::NotFinite { what: "update" });
        }
        let weighted = dw.dot(&self.input);
        let (forgetting, mean_curvature) = match &self.output {
            Some(b) => (inner(&b.dot(dw), &weighted), b.diag().sum() / m as f64),
            None => (inner(dw, &weighted), 1.0),
        };
        Ok(Prediction { forgetting, unstructured: inner(dw, dw) * mean_curvature * self.input.diag().sum() / n as f64 })
    }

    /// Predicted forgetting of steepest descent under `norm` on the task gradient `gradient`, scaled to the first-order
    /// gain <G, dW> = `gain`: compares the structures of different optimizers at equal learning.
    ///
    /// # Errors
    /// If the gain is not positive, the gradient zero, or a shape does not fit.
    pub fn predict_step(&self, norm: Norm, gradient: &Array2<f64>, gain: f64) -> Result<Prediction> {
        positive("gain", gain)?;
        let step = crate::geometry::minimax_update(norm, gradient, gain)?;
        self.predict(&step.update)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::random_orthogonal;
    use crate::random::{gaussian_array, stream};

    fn statistics(m: usize, n: usize, seed: u64) -> (LayerStatistics, Array2<f64>, Array2<f64>) {
        let mut rng = stream(seed, "prediction");
        let x = gaussian_array(n, n + 2, &mut rng);
        let e = gaussian_array(m, m + 2, &mut rng);
        let (s, b) = (x.dot(&x.t()), e.dot(&e.t()));
        (LayerStatistics::new(s.clone(), Some(b.clone())).unwrap(), s, b)
    }

    #[test]
    fn is_the_quadratic_form_of_the_kronecker_product() {
        let (statistics, s, b) = statistics(3, 4, 1);
        let dw = gaussian_array(3, 4, &mut stream(1, "update"));
        let mut expected = 0.0;
        for (i, k) in (0..3).flat_map(|i| (0..3).map(move |k| (i, k))) {
            for (j, l) in (0..4).flat_map(|j| (0..4).map(move |l| (j, l))) {
                expected += b[[i, k]] * s[[j, l]] * dw[[i, j]] * dw[[k, l]];
            }
        }
        assert!((statistics.predict(&dw).unwrap().forgetting / expected - 1.0).abs() < 1e-12);
    }

    #[test]
    fn randomly_turned_updates_cost_the_unstructured_amount_on_average() {
        let (statistics, _, _) = statistics(4, 5, 2);
        let dw = gaussian_array(4, 5, &mut stream(2, "update"));
        let mut rng = stream(2, "turns");
        let turns = 4000;
        let mean = (0..turns)
            .map(|_| {
                let (left, right) = (random_orthogonal(4, &mut rng).unwrap(), random_orthogonal(5, &mut rng).unwrap());
                statistics.predict(&left.dot(&dw).dot(&right)).unwrap().relative()
            })
            .sum::<f64>()
            / turns as f64;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
    }

    #[test]
    fn equal_gain_compares_structures() {
        // Activations that matter along one axis only, and a gradient that has little there: the sign update, which
        // treats all coordinates alike, pays for it, the raw gradient does not.
        let input = Array2::from_diag(&ndarray::array![1.0, 0.01, 0.01]);
        let statistics = LayerStatistics::new(input, None).unwrap();
        let gradient = ndarray::array![[0.1, 1.0, -1.0]];
        let cost = |norm| statistics.predict_step(norm, &gradient, 1.0).unwrap().forgetting;
        assert!(cost(Norm::LargestEntry) > 3.0 * cost(Norm::Frobenius));
    }

    #[test]
    fn statistics_and_updates_that_do_not_fit_are_refused() {
        assert!(LayerStatistics::new(Array2::zeros((2, 3)), None).is_err());
        assert!(LayerStatistics::new(Array2::from_elem((2, 2), f64::NAN), None).is_err());
        let (statistics, _, _) = statistics(3, 4, 3);
        assert!(statistics.predict(&Array2::zeros((4, 3))).is_err());
        assert!(statistics.predict_step(Norm::Spectral, &Array2::zeros((3, 4)), 1.0).is_err());
    }
}
