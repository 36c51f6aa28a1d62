//! The list of what is published: files with rows, and how each is read.

use std::path::Path;

use lab::error::{LabError, Result};
use lab::input;
use serde::Deserialize;

/// What is published, and how it is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Files with rows.
    pub sources: Vec<Source>,
    /// Figures for the pages of claims.
    #[serde(default)]
    pub figures: Vec<PublishedFigure>,
}

/// A file with rows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The file, below the folder of results.
    pub file: String,
    /// How it is read.
    pub reader: Reader,
    /// The preset, and how large its networks are.
    pub scale: String,
    /// The protocol.
    pub protocol: u32,
    /// The commit that computes it.
    pub commit: String,
    /// The command that wrote it.
    pub command: String,
    /// What a reader must know beside the rows, in Markdown; may be empty.
    #[serde(default)]
    pub note: String,
}

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reader {
    /// `NAME-scorecard.csv` of a report.
    Scorecard,
    /// `effects.csv` of protocol 1: claim C1.
    Contrasts,
    /// `optimizer-pairs.csv` of protocol 1: claim C4.
    Pairs,
    /// `memorization-differences.csv` of protocol 1 with `memorization.csv` beside it: claim C5.
    Memorization,
}

/// A figure of a claim's page.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedFigure {
    /// The claim's id.
    pub claim: String,
    /// The file, below the folder of results.
    pub file: String,
    /// What it shows, in words that stand for it.
    pub shows: String,
}

impl Published {
    /// Reads `evidence.toml` of a folder of results.
    ///
    /// # Errors
    /// If it cannot be read, naming file and line.
    pub fn read(results: &Path) -> Result<Self> {
        let path = results.join("evidence.toml");
        let text = read(&path)?;
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
            let field = format!("{}, line {line}", path.display());
            LabError::value(field, error.message().replace('\n', " "), "sources and figures")
        })
    }
}

fn read(path: &Path) -> Result<String> {
    input::read_text(path).map_err(|source| LabError::ReadFile { path: path.to_path_buf(), source })
}
