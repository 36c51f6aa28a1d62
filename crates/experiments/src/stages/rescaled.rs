//! A checkpoint with the same function and the weight scale of another one ([`models::rescale`]).

use lab::error::Failure;
use lab::stage::{Stage, Work};
use lab::store::StageId;
use models::rescale::rescale;
use serde::Serialize;

use super::network::{Network, NetworkKey, keep};
use super::same_function::{SameFunction, compare};

/// A checkpoint whose weights are rescaled.
#[derive(Debug, Clone)]
pub struct Rescaled {
    /// What it is called, for people.
    pub name: String,
    /// The stage that keeps the checkpoint.
    pub checkpoint: StageId,
    /// The stage that keeps the network whose scale it is given.
    pub like: StageId,
    /// The shape of both.
    pub network: Network,
}

/// What decides the weights beside the two checkpoints.
#[derive(Debug, Serialize)]
pub struct RescaledKey {
    network: NetworkKey,
}

impl Stage for Rescaled {
    const KIND: &'static str = "rescale";
    const SEMANTICS: u32 = 1;
    type Key = RescaledKey;
    type Output = SameFunction;

    fn key(&self) -> RescaledKey {
        RescaledKey { network: self.network.key() }
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.checkpoint.clone(), self.like.clone()]
    }

    fn label(&self) -> String {
        format!("rescale {}", self.name)
    }

    fn cost(&self) -> u64 {
        2 * self.network.config.context as u64
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<SameFunction, Failure> {
        let from = work.input(&self.checkpoint)?;
        let original = self.network.load(&from)?;
        let like = self.network.load(&work.input(&self.like)?)?;
        let rescaled = rescale(&original, &like)?;
        keep(&rescaled, None, Some(&from), work.files())?;
        Ok(compare(&original, &rescaled)?)
    }

    fn summary(output: &SameFunction) -> String {
        output.to_string()
    }
}
