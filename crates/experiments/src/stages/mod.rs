//! The stages that experiments are made of. Each has a small configuration of its own, so that what decides its output
//! can be read off its key.
//!
//! ```text
//! text --> tokens --+--> pretrain --> measure, weights (probes of the checkpoint)
//!                   |        |   |
//!                   |        |   +-> turn (the same function in another basis) --> measure, finetune
//!                   |        +-----> finetune on a task
//!                   +--> baselines
//! ```

mod baselines;
mod end_point;
mod estimate;
mod finetune;
mod landscape;
mod matrices;
mod measure;
mod network;
mod ngram;
mod pretrain;
mod tasks;
mod tokens;
mod training;
mod transplant;
mod turned;
mod weights;

pub use baselines::Baselines;
pub use end_point::{EndPoint, Results, ResultsError};
pub use estimate::{memory_line, training_speed};
pub use finetune::{Along, FinetuneResult, Finetuning};
pub use landscape::{ALL_PARTS, Bend, Landscape, Length, Moved, Survey, Surveyed};
pub use measure::{Losses, Measurement, Start};
pub use network::{Network, NetworkKey};
pub use pretrain::{PretrainResult, Pretraining, held_out};
pub use tasks::{CODE, TaskData, TaskSizes, check_name, known};
pub use tokens::{CodeTokens, TextSource, TokenData};
pub use training::{Trained, Training, loss_bound};
pub use transplant::{Finetuned, Reached, Structure, Surgery, Transplant, Transplanted};
pub use turned::{SameFunction, Turned};
pub use weights::{WeightScale, Weights};

/// The state of the optimizer in a training's folder.
pub const OPTIMIZER: &str = "optimizer.safetensors";

/// Rows of an evaluation batch.
const EVALUATION_ROWS: usize = 32;
