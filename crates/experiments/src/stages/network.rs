//! A network's shape, its numbers and its device.

use lab::store::{DoneStage, FilesWriter};
use models::checkpoint::SpecialTokens;
use models::lora::LoraConfig;
use models::{Hardware, ModelConfig, Precision, Tokenizer, Transformer, checkpoint};
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
    /// Tokens of a sequence in training and measurement, where they are fewer than the shape's context.
    pub sequence: Option<usize>,
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

    /// Tokens of a sequence in training and measurement. What is measured has them in its key, and no checkpoint has.
    pub fn context(&self) -> usize {
        self.sequence.unwrap_or(self.config.context)
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
        let mut network = Transformer::unfilled(&self.config)?;
        checkpoint::load_weights(&mut network, &stage.files().path(checkpoint::WEIGHTS)?)?;
        network.parameters_mut().set_precision(self.precision);
        network.move_to(&self.device.open()?)?;
        Ok(network)
    }
}

/// Files of a checkpoint that say how text becomes tokens and how text is made.
const OF_TEXT: [&str; 4] =
    [checkpoint::TOKENIZER, "tokenizer_config.json", "generation_config.json", checkpoint::CHAT_TEMPLATE];

/// Keeps a network in a stage's folder as Transformers reads it: weights, shape, and, with a tokenizer, what
/// `AutoTokenizer` and generation need. `from` is the checkpoint that it was made of, whose tokens that end a text end
/// it too, and whose tokenizer it has if none is given.
pub(super) fn keep(
    network: &Transformer,
    tokenizer: Option<&Tokenizer>,
    from: Option<&DoneStage>,
    files: &mut FilesWriter,
) -> Result<()> {
    files.write_with(checkpoint::WEIGHTS, |path| checkpoint::save_weights(network, path))?;
    let tokens = from.map(|stage| SpecialTokens::of_folder(stage.folder()));
    let beside = checkpoint::files_beside(network.config(), tokenizer, tokens.as_ref())?;
    for (name, text) in &beside {
        files.write(name, text.as_bytes())?;
    }
    let Some(from) = from else { return Ok(()) };
    let written: Vec<&str> = beside.iter().map(|(name, _)| *name).collect();
    take_along(from, &written, files)
}

/// Keeps a network's adapters in a stage's folder as PEFT reads them, with what `AutoTokenizer` needs. They are for the
/// checkpoint that the stage `from` keeps, and name it.
pub(super) fn keep_adapter(
    network: &Transformer,
    lora: &LoraConfig,
    from: &DoneStage,
    files: &mut FilesWriter,
) -> Result<()> {
    files.write_with(checkpoint::ADAPTER_WEIGHTS, |path| checkpoint::save_adapter(network, path))?;
    let base = from.folder().file_name().unwrap_or_default().to_string_lossy();
    files.write(checkpoint::ADAPTER_CONFIG, checkpoint::adapter_config(network, lora, &base)?.as_bytes())?;
    take_along(from, &[], files)
}

/// Copies what a checkpoint has of [`OF_TEXT`], but for what is `written` already.
fn take_along(from: &DoneStage, written: &[&str], files: &mut FilesWriter) -> Result<()> {
    for name in OF_TEXT.iter().filter(|name| !written.contains(*name)) {
        if from.files().contains(name) {
            files.write(name, &from.files().read(name)?)?;
        }
    }
    Ok(())
}
