//! Linear and diagonal models of optimizers: why a model that is finetuned with the optimizer that pretrained it might
//! forget less.
//!
//! In the book: [the theory](../../book/theory/index.html), derived step by step.
//!
//! Everything is in f64, every simulation a pure function of checked parameters and a seed. The chapters in
//! `docs/theory` hold the derivations and say what is proved, what is simulated and what is conjectured; this crate
//! states and checks it.
//!
//! # The argument
//! A linear layer y = W x sees activations with second moment S = E\[x xᵀ\]; a sample's gradient is G = d xᵀ.
//!
//! 1. An optimizer is steepest descent under a norm, which fixes the *structure* of its updates ([`geometry`],
//!    [`optimizers`]): SGD the Frobenius norm, sign descent and Adam the largest entry, Muon the spectral norm.
//! 2. The noise of training pushes the weights along the manifold of minimisers, down the expected *dual* norm of the
//!    gradient noise ([`regularization`]). Adam's functional depends on the basis of the hidden units and leaves few,
//!    axis-aligned ones; SGD's and Muon's do not. So checkpoints differ in their activations.
//! 3. How much an update forgets, tr(ΔW S ΔWᵀ), depends on how its structure fits S ([`structured`]): axis-aligned
//!    anisotropic activations favour Adam's elementwise whitening, turned ones Muon's.
//! 4. Whether the two halves join, so that the matched optimizer forgets least, is the closed loop ([`closed_loop`]).
//! 5. [`prediction`] takes the same quantities to measured layers of real networks, whose activations and weights
//!    [`vectors`] sums up.
//!
//! # An example
//! ```
//! use theory::inputs::InputFamily;
//! use theory::optimizers::{OptimizerConfig, Rule};
//! use theory::regularization::TwoLayerParams;
//!
//! # fn main() -> theory::Result<()> {
//! let simulation = TwoLayerParams {
//!     inputs: InputFamily { size: 6, anisotropy: 0.0, rotation: 0.0 },
//!     hidden: 12,
//!     outputs: 3,
//!     batch: 4,
//!     label_noise: 1.0,
//!     target_ratio: None,
//!     start: None,
//!     optimizer: OptimizerConfig::new(Rule::Adam),
//!     learning_rate: 0.003,
//!     steps: 20_000,
//!     cooldown: 0.0,
//!     records: 4,
//! }
//! .check()?;
//! let trajectory = simulation.run(0)?;
//! // Fewer hidden units carry the activations than at the start.
//! assert!(trajectory.last().participation_ratio < trajectory.snapshots[0].participation_ratio);
//! # Ok(())
//! # }
//! ```
//!
//! # Figures
//! [`figures`] holds presets and data of the four figures `geometry`, `regularization`, `phase-diagram` and
//! `consistency-matrix`.
//!
//! # Decompositions
//! [`linalg`] uses `ndarray-linalg`. By default LAPACK's routines come from an internal crate in pure Rust; with the
//! feature `openblas-system` they come from the system's OpenBLAS (run it with one thread: `OPENBLAS_NUM_THREADS=1`).

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
pub mod vectors;

pub use error::{Result, TheoryError};

/// What `work` gives on a pool of that many threads.
#[cfg(test)]
fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}
