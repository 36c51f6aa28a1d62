//! Statistics of measured vectors and matrices: what a probe of a network says of its activations, its output gradients
//! and its weights.
//!
//! [`VectorStream`] takes vectors as they come and keeps sums in f64, never the vectors; [`MomentStatistics`] are read
//! off a second moment S = E\[x xᵀ\] ([`SecondMoment`]); [`MatrixStatistics`] off a weight. [`Kronecker`] is the
//! curvature of a matrix that follows from the moments on both of its sides. `docs/probes.md` has all formulas in one
//! table.

mod alignment;
mod kronecker;
mod matrix;
mod moment;
mod second_moment;
mod stream;

pub use alignment::haar_mean_of_roots;
pub use kronecker::{Kronecker, ProjectedSquares, weighted};
pub use matrix::MatrixStatistics;
pub use moment::MomentStatistics;
pub use second_moment::SecondMoment;
pub use stream::{StreamStatistics, VectorStream};

/// Exponential of the entropy of weights that are not negative, divided by their sum: how many of them count. 0 if all
/// are 0.
fn exponential_entropy(weights: impl Iterator<Item = f64> + Clone) -> f64 {
    let sum: f64 = weights.clone().sum();
    if sum <= 0.0 {
        return 0.0;
    }
    let entropy: f64 = weights.map(|w| w / sum).filter(|&p| p > 0.0).map(|p| -p * p.ln()).sum();
    entropy.exp()
}

/// (sum w)^2 / sum w^2 of weights that are not negative: how many of them count. 0 if all are 0.
fn participation_ratio(weights: impl Iterator<Item = f64>) -> f64 {
    let (sum, squares) = weights.fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}
