//! A network's shape, its numbers and its device.

use lab::store::{DoneStage, FilesWriter, StoreError};
use models::{Hardware, ModelConfig, Precision, Transformer, checkpoint};
use serde::Serialize;

use crate::error::Result;

/// All that decides a network but its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The shape.
    pub config: ModelConfig,
    /// In which numbers products of matrices are computed.
    pub precision: Precision,
    /// Where.
    pub device: Hardware,
}

/// What of a [`Network`] decides a result. Of the device it is the kind, not the number.
#[derive(Debug, Clone, Serialize)]
pub struct NetworkKey {
    model: ModelConfig,
    precision: &'static str,
    device: &'static str,
}

impl Network {
    /// The part of a stage's key that is about the network.
    pub fn key(&self) -> NetworkKey {
        NetworkKey { model: self.config.clone(), precision: self.precision.as_str(), device: self.device.kind() }
    }

    /// In which numbers and where, in words.
    pub fn arithmetic(&self) -> String {
        format!("products of matrices in {} on {}", self.precision.as_str(), self.device)
    }

    /// With initial weights from `seed`, on its device.
    ///
    /// # Errors
    /// If the shape does not fit together.
    pub fn build(&self, seed: u64) -> Result<Transformer> {
        let mut network = Transformer::new(&self.config, seed)?;
        network.parameters_mut().set_precision(self.precision);
        network.move_to(&self.device.open()?)?;
        Ok(network)
    }

    /// With the weights that a finished stage keeps.
    ///
    /// # Errors
    /// If the stage has no weights, or they are damaged or of another shape.
    pub fn load(&self, stage: &DoneStage) -> Result<Transformer> {
        let mut network = self.build(0)?;
        checkpoint::load_weights(&mut network, &stage.files().path(checkpoint::WEIGHTS)?)?;
        Ok(network)
    }
}

/// Keeps a network's weights and shape in a stage's folder, in Hugging Face's layout.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn keep(network: &Transformer, files: &mut FilesWriter) -> Result<(), StoreError> {
    files.write_with(checkpoint::WEIGHTS, |path| checkpoint::save_weights(network, path))?;
    files.write(checkpoint::CONFIG, checkpoint::config_text(network.config()).as_bytes())
}
