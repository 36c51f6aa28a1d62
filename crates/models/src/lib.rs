//! Decoder-only transformers and their optimizers.

mod batch;
pub mod checkpoint;
mod config;
pub mod data;
mod error;
pub mod generate;
mod init;
mod layers;
pub mod lora;
pub mod ops;
pub mod optim;
mod parameters;
pub mod schedule;
mod tensors;
mod tokenizer;
mod train;
mod transformer;

pub use batch::Batch;
pub use config::{Activation, ModelConfig, NormKind, Positions};
pub use error::{Error, Result};
pub use parameters::{Gradients, Parameter, ParameterId, Parameters, Role};
pub use tokenizer::{END_OF_TEXT, Tokenizer};
pub use train::{StepReport, mean_loss, train_step};
pub use transformer::{LossSum, Transformer};
