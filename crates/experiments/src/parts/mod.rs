//! Parts of presets that experiments share: the text, the network, how it is trained, where.
//!
//! Each is a table of a preset's TOML file with its own checks.

mod checkpoint;
pub mod checks;
mod corpus;
mod machine;
mod network;
mod pairs;
mod seeds;
mod task_file;
mod training;

pub use checkpoint::{CheckpointPreset, Origin, Recipe};
pub use corpus::{CorpusPreset, OwnText, TextFiles};
pub use machine::{Machine, MachineFlags, TextFlags, precision};
pub use network::{Architecture, MOST_CONTEXT, MOST_LAYERS, MOST_WIDTH, ModelPreset, step_memory};
pub use pairs::{pair, pair_or_none, pairs};
pub use seeds::Seeds;
pub use task_file::{TaskFilePreset, safe_name};
pub use training::{PretrainPreset, hyperparameters};

/// Whether a table or field can be left out of a file.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
