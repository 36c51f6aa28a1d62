//! Least values of the functionals on the manifold W2 W1 = A.

use nalgebra::DMatrix;
use ndarray::Array2;

use super::functional::{Functional, TwoLayerFunctional};
use crate::error::{Result, TheoryError};
use crate::inputs::Inputs;
use crate::linalg::{from_nalgebra, singular_values, to_nalgebra};

/// A minimum and how its minimisers share the target between the layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Minimum {
    /// The least value.
    pub value: f64,
    /// |W1 C^(1/2)|_F / |W2|_F at the minimisers.
    pub layer_ratio: f64,
    /// p in "gain of W1 C^(1/2) along the i-th singular direction of A C^(1/2) ∝ s_i^p" at the minimisers.
    pub exponent: f64,
}

/// The closed-form minimum over two-layer factorisations of the target A (m x n), of any width of at least rank A.
///
/// With s the singular values of A C^(1/2):
///
/// | functional | minimum | layer ratio |
/// |---|---|---|
/// | SGD | 2 sqrt(m tr C) Σ s | sqrt(tr C / m) |
/// | Adam | 2 sqrt(m Σ sqrt(C_kk)) Σ sqrt(s) | Σ sqrt(C_kk) / m |
/// | full whitening | 2 sqrt(m tr C^(1/2)) Σ sqrt(s) | tr C^(1/2) / m |
///
/// `docs/theory/regularization.md` proves them. The dual norm has none: `Ok(None)`.
///
/// # Errors
/// If A does not fit the inputs or is not finite.
pub fn closed_form_minimum(which: Functional, inputs: &Inputs, target: &Array2<f64>) -> Result<Option<Minimum>> {
    if target.ncols() != inputs.root.nrows() {
        return Err(TheoryError::Shape {
            what: "target",
            found_rows: target.nrows(),
            found_cols: target.ncols(),
            expected: format!("{} columns", inputs.root.nrows()),
        });
    }
    let s = singular_values(&target.dot(&inputs.root))?;
    let m = target.nrows() as f64;
    let half_power_sum: f64 = s.iter().map(|s| s.sqrt()).sum();
    let (weight, sum) = match which {
        Functional::Sgd => (inputs.covariance.diag().sum(), s.sum()),
        Functional::Adam => (inputs.covariance.diag().iter().map(|x| x.sqrt()).sum(), half_power_sum),
        Functional::FullWhitening => (inputs.root.diag().sum(), half_power_sum),
        Functional::DualNorm => return Ok(None),
    };
    Ok(Some(Minimum {
        value: 2.0 * (m * weight).sqrt() * sum,
        layer_ratio: if which == Functional::Sgd { (weight / m).sqrt() } else { weight / m },
        exponent: 0.5,
    }))
}

/// Descends `functional` along the manifold W2 W1 = const from (w1, w2), for at most `iterations` accepted steps (in
/// each of a few stages for Adam's functional, whose kinks are smoothed less and less).
///
/// Moves are W1 <- M W1, W2 <- W2 M^(-1) with invertible M, which leave the product as it is; M = I - eta D follows the
/// gradient in M, with backtracking. From a generic start of width at least n + m every generic factorisation can be
/// reached.
///
/// # Errors
/// If the shapes do not fit or a number is not finite.
pub fn minimise_on_manifold(
    functional: &TwoLayerFunctional,
    w1: &Array2<f64>,
    w2: &Array2<f64>,
    iterations: usize,
) -> Result<(f64, Array2<f64>, Array2<f64>)> {
    if functional.which() != Functional::Adam {
        return descend(functional, w1, w2, iterations);
    }
    let scale = (w1.iter().chain(w2).map(|x| x * x).sum::<f64>() / w1.nrows() as f64).sqrt();
    let (mut w1, mut w2) = (w1.clone(), w2.clone());
    for stage in 0..SMOOTHING_STAGES {
        let smoothed = functional.smoothed(scale * 0.4f64.powi(stage + 1));
        (_, w1, w2) = descend(&smoothed, &w1, &w2, iterations)?;
    }
    descend(functional, &w1, &w2, iterations)
}

/// The last stage's smoothing is 0.4^10, a ten-thousandth, of the weights' scale.
const SMOOTHING_STAGES: i32 = 10;

/// One stage of [`minimise_on_manifold`].
fn descend(
    functional: &TwoLayerFunctional,
    w1: &Array2<f64>,
    w2: &Array2<f64>,
    iterations: usize,
) -> Result<(f64, Array2<f64>, Array2<f64>)> {
    /// Largest |eta D|: keeps I - eta D safely invertible.
    const LARGEST_MOVE: f64 = 0.3;
    /// Below this the relative decrease is lost in rounding.
    const SMALLEST_MOVE: f64 = 1e-9;
    let (mut w1, mut w2) = (w1.clone(), w2.clone());
    let mut value = functional.value(&w1, &w2)?;
    let mut reach = LARGEST_MOVE;
    for _ in 0..iterations {
        let (g1, g2) = functional.gradient(&w1, &w2)?;
        let slope = g1.dot(&w1.t()) - w2.t().dot(&g2);
        let norm = slope.iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm <= 1e-12 * value.abs() {
            break;
        }
        let accepted = loop {
            let eta = reach / norm;
            if let Some((next1, next2)) = act(&w1, &w2, &slope, eta) {
                let next = functional.value(&next1, &next2)?;
                if next < value - 1e-4 * eta * norm * norm {
                    (w1, w2, value) = (next1, next2, next);
                    break true;
                }
            }
            reach *= 0.5;
            if reach < SMALLEST_MOVE {
                break false;
            }
        };
        if !accepted {
            break;
        }
        reach = (reach * 1.7).min(LARGEST_MOVE);
    }
    Ok((value, w1, w2))
}

/// (M W1, W2 M^(-1)) for M = I - eta D; nothing if M is singular.
fn act(w1: &Array2<f64>, w2: &Array2<f64>, slope: &Array2<f64>, eta: f64) -> Option<(Array2<f64>, Array2<f64>)> {
    let h = w1.nrows();
    let m = DMatrix::identity(h, h) - eta * to_nalgebra(slope);
    let inverse = from_nalgebra(&m.try_inverse()?);
    Some((w1 - &(slope.dot(w1) * eta), w2.dot(&inverse)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::InputFamily;
    use crate::random::{gaussian_array, stream};

    fn start(anisotropy: f64, seed: u64) -> (Inputs, Array2<f64>, Array2<f64>) {
        let mut rng = stream(seed, "minimum test");
        let family = InputFamily { size: 4, anisotropy, rotation: 1.0 };
        let inputs = family.draw(&mut rng).unwrap();
        (inputs, gaussian_array(8, 4, &mut rng) * 0.7, gaussian_array(3, 8, &mut rng) * 0.4)
    }

    #[test]
    fn direct_minimisation_reaches_the_closed_forms_and_never_goes_below() {
        for anisotropy in [0.0, 0.7] {
            for which in [Functional::Sgd, Functional::Adam, Functional::FullWhitening] {
                let (inputs, w1, w2) = start(anisotropy, 1);
                let target = w2.dot(&w1);
                let expected = closed_form_minimum(which, &inputs, &target).unwrap().unwrap().value;
                let functional = TwoLayerFunctional::new(which, &inputs, 3);
                let (found, end1, end2) = minimise_on_manifold(&functional, &w1, &w2, 3000).unwrap();
                let gap = &end2.dot(&end1) - &target;
                assert!(gap.iter().all(|x| x.abs() < 1e-7), "left the manifold");
                assert!(found > expected * (1.0 - 1e-9), "{which:?}: {found} below {expected}");
                // The non-smooth functionals are approached slowly.
                let slack = if which == Functional::Sgd { 1e-3 } else { 0.03 };
                assert!(found < expected * (1.0 + slack), "{which:?}: {found} above {expected}");
            }
        }
    }

    #[test]
    fn balanced_factorisations_attain_every_closed_form() {
        let (inputs, w1, w2) = start(0.7, 2);
        let target = w2.dot(&w1);
        let svd = crate::linalg::svd(&target.dot(&inputs.root)).unwrap();
        for which in [Functional::Sgd, Functional::Adam, Functional::FullWhitening] {
            let minimum = closed_form_minimum(which, &inputs, &target).unwrap().unwrap();
            // Units along the singular vectors, W1 C^(1/2) = diag(sqrt(ratio s)) V^T.
            let gains = svd.s.mapv(|s| (minimum.layer_ratio * s).sqrt());
            let first = (&svd.vt.t() * &gains).reversed_axes().dot(&inputs.inverse_root);
            let second = &svd.u * &svd.s.mapv(|s| (s / minimum.layer_ratio).sqrt());
            let functional = TwoLayerFunctional::new(which, &inputs, 3);
            let value = functional.value(&first, &second).unwrap();
            assert!((value / minimum.value - 1.0).abs() < 1e-9, "{which:?}");
        }
    }

    #[test]
    fn a_target_of_the_wrong_width_is_refused() {
        let (inputs, w1, _) = start(0.0, 1);
        assert!(closed_form_minimum(Functional::Sgd, &inputs, &w1.t().to_owned()).is_err());
    }
}
