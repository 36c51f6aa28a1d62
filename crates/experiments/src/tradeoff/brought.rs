//! Checkpoints that a user brings: which they are, what they read text with, and how long their sequences are.

use lab::error::Failure;
use lab::grid::Grid;
use models::Tokenizer;
use models::checkpoint::Source;

use super::preset::TradeoffPreset;
use crate::error::{ExperimentError, Result};
use crate::parts::Origin;
use crate::stages::{Import, Network, TokenData, weights_hash};

/// The checkpoints of a preset that were made elsewhere: all of its checkpoints, or none.
pub(super) struct Brought {
    /// Name and place of each, in the preset's order.
    sources: Vec<(String, Source)>,
    /// What they read text with.
    pub(super) tokenizer: Tokenizer,
}

impl Brought {
    /// Opens the checkpoints that `preset` imports; `None` if it pretrains its own. Where stages are only planned, a
    /// folder may be without its weights.
    ///
    /// # Errors
    /// If one cannot be opened, has no tokenizer, or two have different ones.
    pub(super) fn open(preset: &TradeoffPreset, grid: &Grid) -> Result<Option<Self>> {
        let mut sources = Vec::new();
        for checkpoint in &preset.checkpoints {
            let Origin::Imported { from, .. } = &checkpoint.origin else { continue };
            let source = match Source::open(from) {
                Err(missing) if grid.plans_only() => {
                    let shape = Source::open_without_weights(from).map_err(|_| missing)?;
                    let (name, path) = (&checkpoint.name, from.display());
                    grid.say(&format!(
                        "checkpoint {name}: {path} has no weights that can be read; what is planned is of its shape, \
                         and under other ids than with its weights"
                    ));
                    shape
                }
                opened => opened?,
            };
            sources.push((checkpoint.name.clone(), source));
        }
        let Some((_, first)) = sources.first() else { return Ok(None) };
        let tokenizer = match &preset.corpus.tokenizer {
            Some(path) => Tokenizer::load_ended(path, preset.corpus.end_of_text.as_deref())?,
            None => tokenizer_of(first)?,
        };
        for (_, source) in &sources[1..] {
            if preset.corpus.tokenizer.is_none() && tokenizer_of(source)?.to_json()? != tokenizer.to_json()? {
                let expected = format!("the tokenizer of {}, since losses are compared", first.path().display());
                return Err(ExperimentError::value("checkpoint", source.path().display(), expected));
            }
        }
        for (_, source) in &sources {
            let (entries, rows) = (tokenizer.vocabulary(), source.config().vocabulary);
            if entries > rows {
                let found = format!("{} with {rows} rows of embeddings", source.path().display());
                let expected = format!("at least {entries}, the entries of its tokenizer");
                return Err(ExperimentError::value("checkpoint", found, expected));
            }
        }
        Ok(Some(Self { sources, tokenizer }))
    }

    /// Tokens of a sequence: the preset's context, or the shortest of the checkpoints'.
    pub(super) fn sequence(&self, preset: &TradeoffPreset) -> usize {
        let shortest = self.sources.iter().map(|(_, source)| source.config().context).min();
        shortest.map_or(preset.model.context, |shortest| shortest.min(preset.model.context))
    }

    /// The networks, by checkpoint.
    pub(super) fn networks(&self, preset: &TradeoffPreset) -> Vec<Network> {
        let sequence = self.sequence(preset);
        let network = |(_, source): &(String, Source)| Network {
            config: source.config().clone(),
            precision: preset.precision,
            device: preset.device.hardware(),
            sequence: (sequence < source.config().context).then_some(sequence),
        };
        self.sources.iter().map(network).collect()
    }

    /// The stages that take them in, by checkpoint.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(super) fn imports(&self, networks: &[Network], text: &TokenData, grid: &Grid) -> Result<Vec<Import>, Failure> {
        let mut imports = Vec::new();
        for ((name, source), network) in self.sources.iter().zip(networks) {
            let weights = weights_hash(source)?;
            let path = source.path().display();
            let known = if source.files().is_empty() { String::new() } else { format!(", sha256 {}", &weights[..8]) };
            let (sequence, context) = (network.context(), network.config.context);
            grid.say(&format!(
                "checkpoint {name}: {path}{known}; sequences of {sequence} tokens (its context has {context})"
            ));
            let tokenizer = text.tokenizer.clone();
            let network = network.clone();
            imports.push(Import { name: name.clone(), source: source.clone(), network, tokenizer, weights });
        }
        Ok(imports)
    }
}

fn tokenizer_of(source: &Source) -> Result<Tokenizer> {
    let json = source.tokenizer_json()?.ok_or_else(|| {
        let expected = "a tokenizer.json in the folder, or --tokenizer FILE";
        ExperimentError::value("checkpoint", format!("{} without a tokenizer", source.path().display()), expected)
    })?;
    Tokenizer::from_json(&json)
        .map_err(|error| models::Error::File { path: source.path().into(), what: error.to_string() }.into())
}
