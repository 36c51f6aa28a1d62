//! Parts of presets that experiments share: the text, the network, how it is trained, where.
//!
//! Each is a table of a preset's TOML file with its own checks.

mod checkpoint;
pub mod checks;
mod corpus;
mod machine;
mod network;
mod seeds;
mod training;

pub use checkpoint::{CheckpointPreset, Origin, Recipe};
pub use corpus::CorpusPreset;
pub use machine::{Machine, MachineFlags, TextFlags, precision};
pub use network::{Architecture, ModelPreset};
pub use seeds::Seeds;
pub use training::{PretrainPreset, hyperparameters};

/// Whether a table or field can be left out of a file.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
