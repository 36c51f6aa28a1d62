//! P2: which functional of the weights the noise of each optimizer descends.
//!
//! In the book: [the derivations](../../../book/theory/regularization.html).
//!
//! Near a manifold of minimisers, label noise does not vanish, and the weights drift slowly along the manifold. The
//! direction of that drift is a gradient: of the expected *dual norm* of the gradient noise, where the norm is the one
//! under which the optimizer is steepest descent. `docs/theory/regularization.md` derives it.

mod diagonal;
mod functional;
mod minimum;
mod noise_response;
mod two_layer;

pub use diagonal::{DiagonalParams, DiagonalReading, DiagonalSimulation, Shape};
pub use functional::{Functional, TwoLayerFunctional, whitening_and_diagonal_traces};
pub use minimum::{Minimum, closed_form_minimum, minimise_on_manifold};
pub use noise_response::{NoiseResponse, ResponseParams, noise_response};
pub use two_layer::{Snapshot, Trajectory, TwoLayerParams, TwoLayerSimulation};
