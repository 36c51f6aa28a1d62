//! The network's shape.

use models::{Hardware, ModelConfig, Precision, Tokenizer};
use serde::{Deserialize, Serialize};

use super::checks::within;
use super::machine::Machine;
use crate::error::{ExperimentError, Result};

/// The network's family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Learned positions, LayerNorm, GELU, biases, tied head.
    Gpt2,
    /// Rotary positions, RMSNorm, SwiGLU, no biases; the head is tied here, since a small model's embeddings are most
    /// of it.
    Llama,
}

/// The network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ModelPreset {
    /// Family.
    pub architecture: Architecture,
    /// Entries of the BPE that is trained on the corpus; 257 means bytes.
    pub vocabulary: usize,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Blocks.
    pub layers: usize,
    /// Features of the residual stream.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
}

/// The largest vocabulary of a tokenizer.
const MOST_TOKENS: u64 = 1 << 22;
/// The longest sequence in tokens.
pub const MOST_CONTEXT: u64 = models::MOST_CONTEXT as u64;
/// The most blocks.
pub const MOST_LAYERS: u64 = models::MOST_LAYERS as u64;
/// The most features of the residual stream.
pub const MOST_WIDTH: u64 = models::MOST_WIDTH as u64;

/// Names the fields that decide how much memory a training step takes.
const MEMORY: &str = "model, sequences or micro-batch";

/// About how many bytes a training step takes at least on this machine, and the fields to make smaller; nothing where a
/// GPU's memory is what counts.
pub fn step_memory(
    config: &ModelConfig,
    sequences: usize,
    precision: Precision,
    device: Machine,
) -> (u64, &'static str) {
    if device.hardware() != Hardware::Cpu {
        return (0, MEMORY);
    }
    // The count is of a GPU's step and a little high for a processor's.
    (config.step_bytes(sequences.saturating_mul(config.context), precision) / 4 * 3, MEMORY)
}

impl ModelPreset {
    /// The shape with a vocabulary of the size that is asked for, whatever the tokenizer comes to.
    pub fn expected(&self) -> ModelConfig {
        self.shape(self.vocabulary)
    }

    /// The model's shape for a tokenizer.
    pub fn config(&self, tokenizer: &Tokenizer) -> ModelConfig {
        self.shape(tokenizer.vocabulary())
    }

    fn shape(&self, vocabulary: usize) -> ModelConfig {
        match self.architecture {
            Architecture::Gpt2 => ModelConfig::gpt2(vocabulary, self.context, self.layers, self.width, self.heads),
            Architecture::Llama => ModelConfig {
                tied: true,
                ..ModelConfig::llama(vocabulary, self.context, self.layers, self.width, self.heads, self.heads)
            },
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<()> {
        for (field, value, range) in [
            ("model.vocabulary", self.vocabulary, 257..=MOST_TOKENS),
            ("model.context", self.context, 1..=MOST_CONTEXT),
            ("model.layers", self.layers, 1..=MOST_LAYERS),
            ("model.width", self.width, 1..=MOST_WIDTH),
            ("model.heads", self.heads, 1..=MOST_WIDTH),
        ] {
            within(field, value as u64, range)?;
        }
        if !self.width.is_multiple_of(self.heads) {
            let expected = format!("a multiple of heads = {}", self.heads);
            return Err(ExperimentError::value("model.width", self.width, expected));
        }
        Ok(())
    }
}
