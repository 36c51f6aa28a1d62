//! How well a network that is written in another way keeps its function.

use models::Transformer;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// How far the function is from the checkpoint's: by rounding alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SameFunction {
    /// The largest difference between two logits.
    pub difference: f64,
    /// The largest logit, in absolute value.
    pub logit: f64,
}

impl std::fmt::Display for SameFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "logits of up to {:.1} differ by at most {:.1e}", self.logit, self.difference)
    }
}

/// Compares the logits of two networks on one sequence of drawn tokens.
pub(super) fn compare(original: &Transformer, rewritten: &Transformer) -> Result<SameFunction> {
    let config = original.config();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let ids: Vec<u32> = (0..config.context).map(|_| rng.random_range(0..config.vocabulary as u32)).collect();
    let logits = |network: &Transformer| -> Result<Vec<f32>> {
        let logits = network.logits(&ids, config.context)?;
        Ok(logits.flatten_all().and_then(|logits| logits.to_vec1()).map_err(models::Error::from)?)
    };
    let (before, after) = (logits(original)?, logits(rewritten)?);
    let largest = |numbers: &mut dyn Iterator<Item = f32>| f64::from(numbers.fold(0f32, |most, x| most.max(x.abs())));
    Ok(SameFunction {
        difference: largest(&mut before.iter().zip(&after).map(|(a, b)| a - b)),
        logit: largest(&mut before.iter().copied()),
    })
}
