//! Optimizers on one weight matrix, in f64 and without allocation in their steps.
//!
//! Every rule turns gradients into a direction D, and the step is W <- W - learning rate * D. [`Rule`] lists them with
//! what they compute; [`MatrixOptimizer`] holds the state of one matrix.
//!
//! ```
//! use theory::optimizers::{MatrixOptimizer, OptimizerConfig, Rule};
//! use nalgebra::DMatrix;
//!
//! let config = OptimizerConfig { rule: Rule::Muon, momentum: 0.0, second_moment_decay: 0.99 };
//! let mut muon = MatrixOptimizer::new(config, 2, 2).unwrap();
//! let mut weights = DMatrix::<f64>::identity(2, 2);
//! muon.step(&mut weights, &DMatrix::from_row_slice(2, 2, &[5.0, 0.0, 0.0, 0.1]), 0.25);
//! // Muon moves every direction of the gradient by the same amount.
//! assert!((weights[(0, 0)] - 0.75).abs() < 1e-12 && (weights[(1, 1)] - 0.75).abs() < 1e-12);
//! ```

mod config;
mod matrix;

pub use config::{OptimizerConfig, Rule};
pub use matrix::MatrixOptimizer;
