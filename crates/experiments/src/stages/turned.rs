//! A checkpoint with the same function in another basis of its residual stream ([`models::rotation`]).

use lab::error::Failure;
use lab::seeds;
use lab::stage::{Stage, Work};
use lab::store::StageId;
use models::rotation;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use theory::linalg::random_orthogonal;

use super::network::{Network, NetworkKey, keep};
use super::same_function::{SameFunction, compare};
use crate::error::Result;

/// A checkpoint whose gains are folded into its matrices, and whose stream is turned or not.
#[derive(Debug, Clone)]
pub struct Turned {
    /// The checkpoint, for people.
    pub name: String,
    /// The stage that keeps it.
    pub checkpoint: StageId,
    /// Its shape.
    pub network: Network,
    /// The seed of the Haar rotation; none leaves the stream as it is.
    pub rotation: Option<u64>,
}

/// What decides the weights beside the checkpoint.
#[derive(Debug, Serialize)]
pub struct TurnedKey {
    network: NetworkKey,
    rotation: Option<u64>,
}

impl Turned {
    /// The shape of the network that it keeps: the head is no longer the embedding.
    ///
    /// # Errors
    /// If the network's norms are no RMSNorms.
    pub fn turned_network(&self) -> Result<Network> {
        Ok(Network { config: rotation::folded_config(&self.network.config)?, ..self.network.clone() })
    }
}

impl Stage for Turned {
    const KIND: &'static str = "turn";
    const SEMANTICS: u32 = 1;
    type Key = TurnedKey;
    type Output = SameFunction;

    fn key(&self) -> TurnedKey {
        TurnedKey { network: self.network.key(), rotation: self.rotation }
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.checkpoint.clone()]
    }

    fn label(&self) -> String {
        match self.rotation {
            None => format!("fold the gains of {}", self.name),
            Some(_) => format!("turn {}", self.name),
        }
    }

    fn cost(&self) -> u64 {
        2 * self.network.config.context as u64
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<SameFunction, Failure> {
        let from = work.input(&self.checkpoint)?;
        let original = self.network.load(&from)?;
        let mut turned = rotation::fold_gains(&original)?;
        if let Some(seed) = self.rotation {
            let mut rng = ChaCha8Rng::seed_from_u64(seeds::stream(seed, "rotation of the residual stream"));
            let q = random_orthogonal(self.network.config.width, &mut rng)?;
            turned = rotation::turn(&turned, &q.iter().copied().collect::<Vec<f64>>())?;
        }
        keep(&turned, None, Some(&from), work.files())?;
        Ok(compare(&original, &turned)?)
    }

    fn summary(output: &SameFunction) -> String {
        output.to_string()
    }
}
