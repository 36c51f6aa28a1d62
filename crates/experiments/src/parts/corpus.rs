//! Which text is trained on.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::checks::at_least;
use crate::error::{ExperimentError, Result};
use crate::stages::{Mixture, TextSource};

/// Files of a user's text: one, or several as a list. A name may be a pattern (`data/*.txt`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TextFiles {
    /// One file or pattern.
    One(PathBuf),
    /// Several, in this order.
    Several(Vec<PathBuf>),
}

impl TextFiles {
    /// All of them.
    pub fn paths(&self) -> Vec<PathBuf> {
        match self {
            Self::One(path) => vec![path.clone()],
            Self::Several(paths) => paths.clone(),
        }
    }
}

/// The text: the pinned packages', or a user's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CorpusPreset {
    /// Pretraining text of one's own, used whole: .txt, .jsonl, .json or .csv with a field of text (these also as
    /// .zst), or .bin with token ids (with a tokenizer); a list for several files. If left out, the prose of the pinned
    /// packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<TextFiles>,
    /// A `tokenizer.json` in place of a BPE trained on the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// The field of a row that holds the text: `text` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_field: Option<String>,
    /// The tokenizer's token that ends a text, where it is none of the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_of_text: Option<String>,
    /// About how many bytes of the packages' prose: files drawn at random, the same for every run. All if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prose_bytes: Option<usize>,
    /// About how many bytes of the packages' code, in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_bytes: Option<usize>,
    /// Worked examples of generated tasks among the text to train on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<Mixture>,
}

/// Text and tokenizer of one's own, in place of the base's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OwnText {
    /// Pretraining text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<TextFiles>,
    /// A `tokenizer.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// The field of a row that holds the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_field: Option<String>,
    /// The tokenizer's token that ends a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_of_text: Option<String>,
    /// Worked examples of generated tasks among the text to train on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<Mixture>,
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
        if self.file.as_ref().is_some_and(|files| files.paths().is_empty()) {
            return Err(ExperimentError::value("corpus.file", "an empty list", "at least one file"));
        }
        if self.end_of_text.as_ref().is_some_and(String::is_empty) {
            return Err(ExperimentError::value("corpus.end-of-text", "nothing", "a token of the tokenizer"));
        }
        if self.end_of_text.is_some() && self.tokenizer.is_none() {
            let expected = "none without corpus.tokenizer: a vocabulary that is learned here has its own";
            let found = self.end_of_text.as_deref().unwrap_or_default();
            return Err(ExperimentError::value("corpus.end-of-text", found, expected));
        }
        self.examples.as_ref().map_or(Ok(()), Mixture::check)
    }

    /// What `own` says takes the place of what is said here.
    pub fn take(&mut self, own: &OwnText) {
        let OwnText { file, tokenizer, text_field, end_of_text, examples } = own.clone();
        self.file = file.or(self.file.take());
        self.tokenizer = tokenizer.or(self.tokenizer.take());
        self.text_field = text_field.or(self.text_field.take());
        self.end_of_text = end_of_text.or(self.end_of_text.take());
        self.examples = examples.or(self.examples.take());
    }

    /// The text for networks of such a vocabulary and context, with a share held out.
    pub fn source(&self, vocabulary: usize, context: usize, held_out: f64) -> TextSource {
        let Self { file, tokenizer, text_field, end_of_text, prose_bytes, code_bytes, examples } = self.clone();
        TextSource {
            files: file.map(|files| files.paths()).unwrap_or_default(),
            text_field,
            tokenizer,
            end_of_text,
            prose_bytes,
            code_bytes,
            examples,
            vocabulary,
            context,
            held_out,
        }
    }
}
