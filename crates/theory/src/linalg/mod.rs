//! Decompositions and the small-matrix kernels of the simulations.
//!
//! Two kinds of matrix, each where it is good: `ndarray` with `ndarray-linalg` (LAPACK) for data and analysis,
//! `nalgebra` matrices in buffers that are allocated once ([`dense`], [`polar`]) inside the simulation loops.

mod decompositions;
pub mod dense;
mod kernel;
pub mod newton_schulz;
pub mod polar;
mod polynomial;

pub use decompositions::{
    Svd, SymmetricEigen, polar_factor, random_orthogonal, singular_values, singular_values_of, spectral_power, svd,
    svd_of, symmetric_eigen,
};
pub(crate) use decompositions::{from_nalgebra, to_nalgebra};

/// Singular values below this fraction of the largest count as zero: a polar factor leaves their directions out.
pub const RANK_TOLERANCE: f64 = 1e-11;
