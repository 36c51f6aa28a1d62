//! A probe of a checkpoint: its activations, output gradients and weights. Nothing is trained for it.

use std::sync::Arc;

use lab::error::Failure;
use lab::seeds;
use lab::stage::{Stage, Work};
use lab::store::StageId;
use models::data::PackedText;
use serde::{Deserialize, Serialize};

use super::inside::{VectorRow, WeightRow, vector_rows, weight_rows, windows};
use super::network::{Network, NetworkKey};
use super::tokens::TokenData;

/// A network to look into.
#[derive(Debug, Clone)]
pub struct Probe {
    /// What it is, for people.
    pub name: String,
    /// The stage that keeps its weights; the initial weights of the seed, if there is none.
    pub checkpoint: Option<StageId>,
    /// Its shape.
    pub network: Network,
    /// The text, of which the held-out part is read.
    pub text: Arc<TokenData>,
    /// Tokens of it.
    pub tokens: usize,
    /// The seed of its pretraining, which fixes the initial weights, and of the labels that are drawn.
    pub seed: u64,
}

/// What decides the rows, beside the checkpoint and the text.
#[derive(Debug, Serialize)]
pub struct ProbeKey {
    network: NetworkKey,
    trained: bool,
    tokens: usize,
    seed: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inside {
    /// By layer: the streams of vectors, then the output gradients.
    pub vectors: Vec<VectorRow>,
    /// By layer: the matrices.
    pub weights: Vec<WeightRow>,
}

impl Stage for Probe {
    const KIND: &'static str = "probe";
    const SEMANTICS: u32 = 1;
    type Key = ProbeKey;
    type Output = Inside;

    fn key(&self) -> ProbeKey {
        let (network, trained) = (self.network.key(), self.checkpoint.is_some());
        ProbeKey { network, trained, tokens: self.tokens, seed: self.seed }
    }

    fn inputs(&self) -> Vec<StageId> {
        self.checkpoint.iter().cloned().chain([self.text.id.clone()]).collect()
    }

    fn label(&self) -> String {
        format!("probe {} seed {}", self.name, self.seed)
    }

    /// The sums take about as long as the passes, a pass without weight gradients two thirds of a training step's.
    fn cost(&self) -> u64 {
        self.tokens as u64 * 4 / 3
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<Inside, Failure> {
        let initial = self.network.build(seeds::stream(self.seed, "initial weights"))?;
        let network = match &self.checkpoint {
            Some(checkpoint) => self.network.load(&work.input(checkpoint)?)?,
            None => initial.clone(),
        };
        let context = self.network.context();
        let text = windows(&PackedText::new(self.text.prose_held_out.clone(), context, 0)?, context, self.tokens)?;
        Ok(Inside {
            vectors: vector_rows(&network, &text, seeds::stream(self.seed, "drawn labels"))?,
            weights: weight_rows(&network, Some(&initial))?,
        })
    }

    fn summary(output: &Inside) -> String {
        format!("{} streams, {} matrices", output.vectors.len(), output.weights.len())
    }
}
