//! P1: the geometry of updates. Norms on matrices, their duals, and the update that is steepest under each.
//!
//! In the book: [the derivations](../../../book/theory/geometry.html).
//!
//! An optimizer without averaging is steepest descent under a norm: its direction D maximises <G, D> over |D| <= 1 (the
//! norm's *linear minimisation oracle*), and the maximum is the dual norm of the gradient G.
//!
//! ```
//! use ndarray::array;
//! use theory::geometry::Norm;
//!
//! let gradient = array![[3.0, 0.0], [0.0, -1.0]];
//! // Sign descent is steepest under the largest entry, Muon under the spectral norm.
//! assert_eq!(Norm::LargestEntry.oracle(&gradient).unwrap(), array![[1.0, 0.0], [0.0, -1.0]]);
//! assert_eq!(Norm::LargestEntry.dual().value(&gradient).unwrap(), 4.0);
//! assert_eq!(Norm::Spectral.dual(), Norm::Nuclear);
//! ```

mod minimax;
mod norm;
mod one_step;

pub use minimax::{WorstCase, minimax_update, search_for_better};
pub use norm::{Norm, VectorNorm, inner, rank};
pub use one_step::{OneSample, interpolator_of_muon, interpolator_of_sign_descent};
