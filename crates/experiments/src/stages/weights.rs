//! A probe of a checkpoint: the scale of its weights. Nothing is trained for it.

use lab::error::Failure;
use lab::stage::{Stage, Work};
use lab::store::StageId;
use models::{Role, Transformer};
use serde::{Deserialize, Serialize};

use super::network::Network;
use crate::error::Result;

/// The weights of a checkpoint that a finished stage keeps.
#[derive(Debug, Clone)]
pub struct Weights {
    /// The stage that keeps it, for people.
    pub name: String,
    /// Its id.
    pub checkpoint: StageId,
    /// Its shape.
    pub network: Network,
}

/// The scale of a network's weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WeightScale {
    /// Root mean square of the hidden matrices' entries.
    pub hidden_rms: f64,
}

impl Stage for Weights {
    const KIND: &'static str = "weights";
    const SEMANTICS: u32 = 1;
    type Key = ();
    type Output = WeightScale;

    fn key(&self) {}

    fn inputs(&self) -> Vec<StageId> {
        vec![self.checkpoint.clone()]
    }

    fn label(&self) -> String {
        format!("weights of {}", self.name)
    }

    fn cost(&self) -> u64 {
        0
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<WeightScale, Failure> {
        let network = self.network.load(&work.input(&self.checkpoint)?)?;
        Ok(WeightScale { hidden_rms: hidden_rms(&network)? })
    }

    fn summary(output: &WeightScale) -> String {
        format!("root mean square {:.4}", output.hidden_rms)
    }
}

fn hidden_rms(network: &Transformer) -> Result<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for (_, parameter) in network.parameters().iter() {
        if matches!(parameter.role, Role::HiddenMatrix(_)) {
            let values: Vec<f32> =
                parameter.value.flatten_all().and_then(|v| v.to_vec1()).map_err(models::Error::from)?;
            sum += values.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>();
            count += values.len();
        }
    }
    Ok((sum / f64::from(count as u32)).sqrt())
}
