//! Decoder-only transformers and their optimizers.

mod batch;
mod config;
mod error;
mod init;
mod layers;
pub mod ops;
pub mod optim;
mod parameters;
pub mod schedule;
mod tensors;
mod transformer;

pub use batch::Batch;
pub use config::{Activation, ModelConfig, NormKind, Positions};
pub use error::{Error, Result};
pub use parameters::{Gradients, Parameter, ParameterId, Parameters, Role};
pub use transformer::{LossSum, Transformer};
