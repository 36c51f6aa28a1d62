//! The network's shape.

use models::{ModelConfig, Tokenizer};
use serde::{Deserialize, Serialize};

use super::checks::at_least;
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

impl ModelPreset {
    /// The model's shape for a tokenizer.
    pub fn config(&self, tokenizer: &Tokenizer) -> ModelConfig {
        let vocabulary = tokenizer.vocabulary();
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
        at_least("model.vocabulary", self.vocabulary as u64, 257)?;
        for (field, value) in [
            ("model.context", self.context),
            ("model.layers", self.layers),
            ("model.width", self.width),
            ("model.heads", self.heads),
        ] {
            at_least(field, value as u64, 1)?;
        }
        if !self.width.is_multiple_of(self.heads) {
            let expected = format!("a multiple of heads = {}", self.heads);
            return Err(ExperimentError::value("model.width", self.width, expected));
        }
        Ok(())
    }
}
