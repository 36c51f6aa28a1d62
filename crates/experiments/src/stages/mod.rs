//! The stages that experiments are made of. Each has a small configuration of its own, so that what decides its output
//! can be read off its key.
//!
//! ```text
//! text --> tokens --+--> pretrain --> measure, weights, probe, curvature (of the checkpoint)
//!                   |    or import, of a checkpoint from elsewhere
//!                   |        |   |                                 +-----> predict (a finetuning), foresee (a task)
//!                   |        |   +-> turn, rescale (the same function otherwise written) --> measure, finetune
//!                   |        +-----> finetune on a task, continue with another optimizer
//!                   +--> baselines
//! ```

mod answers;
mod baselines;
mod continued;
mod curvature;
mod end_point;
mod estimate;
mod finetune;
mod foresight;
mod import;
mod inside;
mod landscape;
mod matrices;
mod measure;
mod mixture;
mod network;
mod ngram;
pub mod plausible;
mod prediction;
mod pretrain;
mod probe;
mod rescaled;
mod same_function;
mod shown;
mod task_source;
mod tasks;
mod tokens;
mod training;
mod transplant;
mod turned;
mod weights;

pub(crate) use answers::{Asked, answers};
pub use baselines::Baselines;
pub use continued::Continuation;
pub use curvature::{Curvature, CurvatureRow};
pub use end_point::{EndPoint, Results, ResultsError};
pub use estimate::{memory, memory_line, training_speed};
pub use finetune::{Along, FinetuneResult, Finetuning};
pub use foresight::{Cost, Foreseen, Foresight, Moment};
pub use import::{Import, Imported, weights_hash};
pub use inside::{Measured, VectorRow, WeightRow, vector_rows, weight_rows, windows};
pub use landscape::{ALL_PARTS, Bend, Landscape, Length, Moved, Survey, Surveyed};
pub(crate) use matrices::{decomposed, hidden_matrices, shaped};
pub use measure::{Losses, Measurement, Start};
pub use mixture::Mixture;
pub use network::{Network, NetworkKey};
pub use prediction::{Part, Predicted, Prediction};
pub use pretrain::{PretrainResult, Pretraining, held_out};
pub use probe::{Inside, Probe};
pub use rescaled::Rescaled;
pub use same_function::SameFunction;
pub use shown::shown;
pub use task_source::{CODE, FileSource, Task, TaskSource, known};
pub use tasks::{TaskData, TaskSizes};
pub use tokens::{CodeTokens, TextSource, TokenData, encode, on_disk};
pub use training::{Judge, Trained, Training};
pub use transplant::{Finetuned, Reached, Structure, Surgery, Transplant, Transplanted};
pub use turned::Turned;
pub use weights::{WeightScale, Weights};

/// The state of the optimizer in a training's folder.
pub const OPTIMIZER: &str = "optimizer.safetensors";

/// Rows of an evaluation batch.
const EVALUATION_ROWS: usize = 32;
