//! Minimax form: of all updates with one first-order gain, the oracle's has the least worst-case output change.
//!
//! For an operator norm p -> q, max |D x|_q over |x|_p <= c is c |D|, and <G, D> <= |D| |G|_dual; so <G, D> = gain
//! forces a worst case of at least c gain / |G|_dual, which the oracle's direction, scaled to the gain, attains.

use ndarray::Array2;

use super::norm::{Norm, inner};
use crate::error::{Result, parameter, positive};

/// An update and its worst-case output change over activations of norm at most 1.
#[derive(Debug, Clone, PartialEq)]
pub struct WorstCase {
    /// The update D, m x n.
    pub update: Array2<f64>,
    /// Its norm.
    pub value: f64,
}

/// The update with <G, D> = `gain` whose worst case is least: the oracle's, scaled. Its worst case is gain / |G|_dual.
///
/// # Errors
/// If the gain is not positive, the gradient is zero or not finite.
pub fn minimax_update(norm: Norm, gradient: &Array2<f64>, gain: f64) -> Result<WorstCase> {
    positive("gain", gain)?;
    let dual = norm.dual().value(gradient)?;
    if dual == 0.0 {
        return Err(parameter("gradient", "all zeros", "a gradient that is not zero"));
    }
    let value = gain / dual;
    Ok(WorstCase { update: norm.oracle(gradient)? * value, value })
}

/// Looks for an update with the same gain <G, D> as `start` and a smaller norm, by `iterations` projected subgradient
/// steps of decreasing length; returns the best seen.
///
/// # Errors
/// If the gradient is zero, or a matrix is not finite.
pub fn search_for_better(
    norm: Norm,
    gradient: &Array2<f64>,
    start: &Array2<f64>,
    iterations: usize,
) -> Result<WorstCase> {
    let squared = inner(gradient, gradient);
    positive("squared gradient", squared)?;
    let gain = inner(gradient, start);
    let mut current = start.clone();
    let mut best = WorstCase { value: norm.value(start)?, update: start.clone() };
    let size = Norm::Frobenius.value(start)?;
    for iteration in 0..iterations {
        // A subgradient of the norm at D is the oracle of its dual there.
        let slope = norm.dual().oracle(&current)?;
        let slope = &slope - &(gradient * (inner(&slope, gradient) / squared));
        let length = Norm::Frobenius.value(&slope)?;
        if length <= 1e-12 {
            break;
        }
        let step = 0.5 * size / (1.0 + iteration as f64).powf(0.75);
        current -= &(slope * (step / length));
        // Rounding must not let the gain drift.
        current += &(gradient * ((gain - inner(gradient, &current)) / squared));
        let value = norm.value(&current)?;
        if value < best.value {
            best = WorstCase { value, update: current.clone() };
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{gaussian_array, stream};

    #[test]
    fn local_search_from_the_oracle_and_from_random_updates_finds_nothing_better() {
        for seed in 0..5 {
            let mut rng = stream(seed, "minimax");
            let gradient = gaussian_array(4, 6, &mut rng);
            for norm in Norm::ALL {
                let least = minimax_update(norm, &gradient, 1.0).unwrap();
                assert!((inner(&gradient, &least.update) - 1.0).abs() < 1e-10);
                assert!((norm.value(&least.update).unwrap() - least.value).abs() < 1e-10);
                let found = search_for_better(norm, &gradient, &least.update, 200).unwrap();
                assert!(found.value >= least.value * (1.0 - 1e-10), "{norm:?}");
                let random = gaussian_array(4, 6, &mut rng);
                let gained = inner(&gradient, &random);
                let random = &random + &(&gradient * ((1.0 - gained) / inner(&gradient, &gradient)));
                let found = search_for_better(norm, &gradient, &random, 1500).unwrap();
                assert!((inner(&gradient, &found.update) - 1.0).abs() < 1e-9);
                assert!(found.value >= least.value * (1.0 - 1e-10), "{norm:?}");
                // The search is worth something: it comes near the bound from afar.
                assert!(found.value < 1.3 * least.value, "{norm:?}: {} of {}", found.value, least.value);
            }
        }
    }

    #[test]
    fn the_worst_case_is_attained_by_an_activation() {
        let gradient = gaussian_array(5, 4, &mut stream(9, "minimax"));
        // Over |x|_1 <= 1 the worst activation of any update is a coordinate vector; over |x|_2 <= 1 a singular vector.
        let sign = minimax_update(Norm::LargestEntry, &gradient, 1.0).unwrap();
        let worst = (0..4).map(|j| sign.update.column(j).iter().fold(0.0, |m, x| f64::max(m, x.abs())));
        assert!((worst.fold(0.0, f64::max) - sign.value).abs() < 1e-12);
        let polar = minimax_update(Norm::Spectral, &gradient, 1.0).unwrap();
        let v = crate::linalg::svd(&polar.update).unwrap().vt.row(0).to_owned();
        let image = polar.update.dot(&v);
        assert!((image.dot(&image).sqrt() - polar.value).abs() < 1e-12);
    }

    #[test]
    fn bad_input_is_refused() {
        let gradient = Array2::ones((2, 2));
        assert!(minimax_update(Norm::Spectral, &gradient, 0.0).is_err());
        assert!(minimax_update(Norm::Spectral, &Array2::zeros((2, 2)), 1.0).is_err());
        assert!(search_for_better(Norm::Spectral, &Array2::zeros((2, 2)), &gradient, 5).is_err());
    }
}
