//! A checkpoint that was made elsewhere, as a stage: its weights are read once, checked, and kept like those of a
//! pretraining. The stage's id follows from what the files contain and not from where they lie.

use std::path::PathBuf;

use lab::error::Failure;
use lab::hash;
use lab::stage::{Stage, Work};
use models::Tokenizer;
use models::checkpoint::{self, Source};
use serde::{Deserialize, Serialize};

use super::network::{Network, NetworkKey};
use crate::error::{ExperimentError, Result};

/// A checkpoint to be taken in.
#[derive(Debug, Clone)]
pub struct Import {
    /// Its name, for people.
    pub name: String,
    /// Where it is.
    pub source: Source,
    /// Its network.
    pub network: Network,
    /// The tokenizer of the text that it is measured on.
    pub tokenizer: Tokenizer,
    /// The hash of its weights, from [`weights_hash`].
    pub weights: String,
}

/// What decides the network: its shape and its weights.
#[derive(Debug, Serialize)]
pub struct ImportKey {
    weights: String,
    network: NetworkKey,
    /// The tokenizer that is kept beside the weights; none for bytes.
    tokenizer: Option<String>,
}

/// What was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Imported {
    /// Numbers in all parameters.
    pub parameters: usize,
}

/// The SHA-256 of the files that hold a checkpoint's weights: of the one, or of the hashes of several (or none) in
/// their order.
///
/// # Errors
/// If a file cannot be read.
pub fn weights_hash(source: &Source) -> Result<String> {
    let of_file = |path: &PathBuf| -> Result<String> {
        hash::sha256_of_file(path).map_err(|error| models::Error::Io { path: path.clone(), source: error }.into())
    };
    let hashes = source.files().iter().map(of_file).collect::<Result<Vec<_>>>()?;
    match hashes.as_slice() {
        [one] => Ok(one.clone()),
        several => Ok(hash::sha256_hex(several.concat().as_bytes())),
    }
}

impl Stage for Import {
    const KIND: &'static str = "import";
    const SEMANTICS: u32 = 1;
    type Key = ImportKey;
    type Output = Imported;

    fn key(&self) -> ImportKey {
        // A tokenizer that cannot be written fails in `compute`, which writes it.
        let json = self.tokenizer.to_json().ok().flatten();
        ImportKey {
            weights: self.weights.clone(),
            network: self.network.key(),
            tokenizer: json.map(|json| hash::sha256_hex(json.as_bytes())),
        }
    }

    fn label(&self) -> String {
        format!("import {}", self.name)
    }

    fn cost(&self) -> u64 {
        0
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<Imported, Failure> {
        let network = self.source.read()?;
        let found = weights_hash(&self.source)?;
        if found != self.weights {
            let path = self.source.path().display();
            let expected = "the weights of a moment ago: they were changed while they were read";
            return Err(ExperimentError::value("checkpoint", path, expected).into());
        }
        let files = work.files();
        files.write_with(checkpoint::WEIGHTS, |path| checkpoint::save_weights(&network, path))?;
        let tokens = self.source.special_tokens();
        for (name, text) in checkpoint::files_beside(network.config(), Some(&self.tokenizer), Some(tokens))? {
            files.write(name, text.as_bytes())?;
        }
        if let Some(template) = self.source.chat_template() {
            files.write(checkpoint::CHAT_TEMPLATE, template.as_bytes())?;
        }
        Ok(Imported { parameters: network.parameters().count(false) })
    }

    fn summary(output: &Imported) -> String {
        format!("{:.1} M parameters", output.parameters as f64 / 1e6)
    }
}
