//! Linear and diagonal models of optimizers.

// Named so that it is linked: it defines the LAPACK symbols that `ndarray-linalg` calls.
#[cfg(not(feature = "openblas-system"))]
use lapack_faer_src as _;

mod error;
pub mod linalg;
pub mod random;
pub mod statistics;

pub use error::{Result, TheoryError};
