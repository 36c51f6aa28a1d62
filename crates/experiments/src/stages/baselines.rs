//! What counting alone reaches: n-gram models of the training text, on the held-out text that L_pre is measured on.

use std::sync::Arc;

use lab::error::Failure;
use lab::stage::{Stage, Work};
use lab::store::StageId;
use models::Batch;
use serde::Serialize;

use super::ngram::NGram;
use super::pretrain::held_out;
use super::tokens::TokenData;
use crate::error::Result;

/// The most tokens that are counted: their n-grams are kept in memory.
const MOST_TOKENS: usize = 50_000_000;

/// Smoothed 2- and 3-gram models of the pretraining text.
#[derive(Debug, Clone)]
pub struct Baselines {
    /// The text.
    pub data: Arc<TokenData>,
    /// Tokens of a held-out window.
    pub context: usize,
    /// Held-out windows.
    pub windows: usize,
}

/// Which windows they are measured on.
#[derive(Debug, Serialize)]
pub struct BaselinesKey {
    context: usize,
    windows: usize,
}

impl Stage for Baselines {
    const KIND: &'static str = "baselines";
    const SEMANTICS: u32 = 2;
    type Key = BaselinesKey;
    /// Name and loss in nats per token.
    type Output = Vec<(String, f64)>;

    fn key(&self) -> BaselinesKey {
        BaselinesKey { context: self.context, windows: self.windows }
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.data.id.clone()]
    }

    fn label(&self) -> String {
        "n-gram baselines".into()
    }

    fn cost(&self) -> u64 {
        self.data.prose_train.len() as u64 / 50
    }

    fn compute(&self, _: &mut Work<'_>) -> Result<Self::Output, Failure> {
        let batches = held_out(&self.data, self.context, self.windows)?;
        let windows: Vec<Vec<u32>> = batches.iter().flat_map(windows_of).collect();
        let vocabulary = self.data.tokenizer.vocabulary();
        let text = self.data.prose_train.window(0, self.data.prose_train.len().min(MOST_TOKENS))?;
        let loss = |order| {
            let model = NGram::train(&text, vocabulary, order);
            (format!("{order}-gram"), model.loss(windows.iter().map(Vec::as_slice)))
        };
        Ok([2, 3].map(loss).to_vec())
    }

    fn summary(output: &Self::Output) -> String {
        output.iter().map(|(name, loss)| format!("{name} {loss:.3}")).collect::<Vec<_>>().join(", ")
    }
}

/// The rows of a batch, each with its last target.
fn windows_of(batch: &Batch) -> Vec<Vec<u32>> {
    let rows = batch.ids().chunks(batch.time()).zip(batch.targets().chunks(batch.time()));
    rows.map(|(ids, targets)| ids.iter().chain(targets.last()).copied().collect()).collect()
}
