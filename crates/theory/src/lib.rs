//! Linear and diagonal models of optimizers.

// Named so that it is linked: it defines the LAPACK symbols that `ndarray-linalg` calls.
#[cfg(not(feature = "openblas-system"))]
use lapack_faer_src as _;

pub mod closed_loop;
mod error;
pub mod figures;
pub mod geometry;
pub mod inputs;
pub mod linalg;
mod linear_net;
pub mod optimizers;
pub mod prediction;
pub mod random;
pub mod regularization;
pub mod statistics;
pub mod structured;

pub use error::{Result, TheoryError};
