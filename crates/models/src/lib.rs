//! Decoder-only transformers and their optimizers.

mod batch;
mod config;
mod error;
mod init;
mod layers;
pub mod ops;
mod parameters;
mod transformer;

pub use batch::Batch;
pub use config::{Activation, ModelConfig, NormKind, Positions};
pub use error::{Error, Result};
pub use parameters::{Gradients, Parameter, ParameterId, Parameters, Role};
pub use transformer::{LossSum, Transformer};
