//! The program `probe`: tables and figures of what any checkpoint is like inside.

mod drawing;
mod table;

use std::path::PathBuf;

use corpora::{OwnText, TEXT_FIELD, UserText};
use lab::figures::save;
use lab::store::write_atomic;
use models::data::{PackedText, Tokens};
use models::{Error, Tokenizer, Transformer, checkpoint};

use crate::error::{ExperimentError, Result};
use crate::stages::{encode, on_disk, vector_rows, weight_rows, windows};

/// Tokens of a window unless more are asked for: a checkpoint's positions may be more than memory holds.
const CONTEXT: usize = 1024;
/// The tokenizer in a checkpoint's folder.
const TOKENIZER: &str = "tokenizer.json";

/// What to look into, on what, and where to write.
#[derive(Debug, Clone)]
pub struct ProbeOptions {
    /// The checkpoint's folder.
    pub folder: PathBuf,
    /// The text.
    pub text: Option<PathBuf>,
    /// About how many tokens of it.
    pub tokens: usize,
    /// Tokens of a window.
    pub context: Option<usize>,
    /// In place of the folder's.
    pub tokenizer: Option<PathBuf>,
    /// The network before training.
    pub initial: Option<PathBuf>,
    /// Of the labels.
    pub seed: u64,
    /// For tables and figures.
    pub out: PathBuf,
}

impl ProbeOptions {
    fn context(&self, positions: usize) -> Result<usize> {
        match self.context {
            None => Ok(positions.min(CONTEXT)),
            Some(context) if (1..=positions).contains(&context) => Ok(context),
            Some(context) => {
                let expected = format!("1 to {positions}, the positions of {}", self.folder.display());
                Err(ExperimentError::value("--context", context, expected))
            }
        }
    }

    fn tokenizer(&self, vocabulary: usize) -> Result<Tokenizer> {
        let beside = self.folder.join(TOKENIZER);
        let tokenizer = match &self.tokenizer {
            Some(path) => Tokenizer::load(path)?,
            None if beside.is_file() => Tokenizer::load(&beside)?,
            None if vocabulary == Tokenizer::Bytes.vocabulary() => Tokenizer::Bytes,
            None => {
                let expected = format!("a {TOKENIZER} in {} or --tokenizer FILE", self.folder.display());
                return Err(ExperimentError::value("tokenizer", "none", expected));
            }
        };
        match tokenizer.vocabulary() {
            found if found <= vocabulary => Ok(tokenizer),
            found => Err(ExperimentError::value(
                "tokenizer",
                format!("{found} entries"),
                format!("at most {vocabulary}, the checkpoint's vocabulary"),
            )),
        }
    }

    fn text(&self, vocabulary: usize) -> Result<Tokens> {
        let Some(path) = &self.text else {
            return Err(ExperimentError::value("--text", "none", "a .txt, .jsonl or .bin file to run the network on"));
        };
        let paths = [path.clone()];
        let text = OwnText { paths: &paths, field: TEXT_FIELD, ends: &[], vocabulary: Some(vocabulary) };
        Ok(match corpora::read_user_corpus(&text)?.content {
            UserText::Tokens(tokens) => {
                let count = tokens.len();
                on_disk(tokens.into(), 0..count)
            }
            UserText::Text(documents) => {
                let tokens: std::sync::Arc<[u32]> = encode(&self.tokenizer(vocabulary)?, &documents)?.into();
                tokens.into()
            }
        })
    }

    fn initial(&self, network: &Transformer) -> Result<Option<Transformer>> {
        let Some(folder) = &self.initial else { return Ok(None) };
        let initial = checkpoint::load(folder)?;
        match initial.config() == network.config() {
            true => Ok(Some(initial)),
            false => {
                let expected = format!("that of {}", self.folder.display());
                Err(ExperimentError::value("--initial", format!("another shape in {}", folder.display()), expected))
            }
        }
    }
}

/// Looks into the checkpoint; returns the tables as text.
///
/// # Errors
/// One line: no checkpoint, no text or too little of it, a context longer than the positions, or a folder that cannot
/// be written.
pub fn run(options: &ProbeOptions) -> Result<String> {
    let network = checkpoint::load(&options.folder)?;
    let config = network.config();
    let context = options.context(config.context)?;
    let initial = options.initial(&network)?;
    let tokens = options.text(config.vocabulary)?;
    let packed = PackedText::new(tokens, context, 0).map_err(|error| match error {
        Error::TooFewTokens { found, expected, .. } => {
            let expected = format!("at least {expected}, two windows of {context}");
            ExperimentError::value("--text", format!("{found} tokens"), expected)
        }
        other => other.into(),
    })?;
    let text = windows(&packed, context, options.tokens.max(1))?;
    let vectors = vector_rows(&network, &text, options.seed)?;
    let weights = weight_rows(&network, initial.as_ref())?;
    lab::store::create_dir_all(&options.out)?;
    let write = |name: &str, text: String| write_atomic(&options.out.join(name), text.as_bytes());
    write("vectors.csv", lab::table::write(&vectors).map_err(lab::error::LabError::from)?)?;
    write("weights.csv", lab::table::write(&weights).map_err(lab::error::LabError::from)?)?;
    for figure in [drawing::vectors(&vectors), drawing::weights(&weights)] {
        save(&figure, &options.out).map_err(lab::error::LabError::from)?;
    }
    let seen = vectors.first().map_or(0, |row| row.vectors);
    let head = format!(
        "{}: {} blocks of width {}, {seen} tokens in windows of {context}\n\n",
        options.folder.display(),
        config.layers,
        config.width
    );
    let files = format!("\nvectors.csv, weights.csv and figures: {}\n", options.out.display());
    Ok([head, table::vectors(&vectors), "\n".into(), table::weights(&weights), files].concat())
}
