//! Which text is trained on.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::checks::at_least;
use crate::error::Result;

/// The text: the pinned packages', or a user's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CorpusPreset {
    /// Pretraining text of one's own, used whole: .txt, .jsonl with a field `text`, or nanoGPT's .bin (with a
    /// tokenizer). If left out, the prose of the pinned packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// A `tokenizer.json` in place of a BPE trained on the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// About how many bytes of the packages' prose: files drawn at random, the same for every run. All if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prose_bytes: Option<usize>,
    /// About how many bytes of the packages' code, in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_bytes: Option<usize>,
}

/// Text and tokenizer of one's own, in place of the base's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OwnText {
    /// Pretraining text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// A `tokenizer.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
}

impl CorpusPreset {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<()> {
        for (field, bytes) in [("corpus.prose-bytes", self.prose_bytes), ("corpus.code-bytes", self.code_bytes)] {
            at_least(field, bytes.unwrap_or(1) as u64, 1)?;
        }
        Ok(())
    }
}
