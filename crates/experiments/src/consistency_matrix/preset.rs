//! Presets of `consistency-matrix`: a preset of `tradeoff` for text, network and loops, and the optimizers.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use lab::error::Failure;
use models::Precision;
use models::optim::RuleName;
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};
use crate::ground::Changes;
use crate::parts::{CheckpointPreset, Machine, Origin, OwnText, Recipe, is_default};
use crate::tradeoff::{MethodPreset, TradeoffPreset};

/// An optimizer that pretrains a checkpoint and finetunes every checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OptimizerPreset {
    /// The optimizer, which names checkpoint and method.
    pub optimizer: RuleName,
    /// The geometry of its steps: optimizers that share one are expected to be nearer to one another.
    pub geometry: String,
    /// Learning rate of the hidden matrices in pretraining.
    pub hidden_rate: f64,
    /// Learning rate of embeddings, gains and biases in pretraining.
    pub embedding_rate: f64,
    /// Learning rates of finetuning, one run each; others are added as the base's `refine` says.
    pub rates: Vec<f64>,
}

/// Everything that decides the results of `consistency-matrix`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MatrixPreset {
    /// The preset's name.
    pub name: String,
    /// The preset of `tradeoff` whose text, network, loops and first seed are taken: its name or file.
    pub base: String,
    /// Pretraining seeds.
    pub seeds: u64,
    /// Tasks, as in `tradeoff`.
    pub tasks: Vec<String>,
    /// Steps of every pretraining.
    pub steps: u64,
    /// Where networks are trained.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device: Machine,
    /// In which numbers products of matrices are computed, where it is not as the base says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// The text, where it is not the base's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub corpus: OwnText,
    /// The optimizers, in the order of rows and columns.
    pub optimizers: Vec<OptimizerPreset>,
}

impl lab::preset::Preset for MatrixPreset {
    const BUILT_IN: &'static [(&'static str, &'static str)] = &[
        ("smoke", include_str!("../../presets/consistency-matrix/smoke.toml")),
        ("quick", include_str!("../../presets/consistency-matrix/quick.toml")),
        ("small", include_str!("../../presets/consistency-matrix/small.toml")),
        ("standard", include_str!("../../presets/consistency-matrix/standard.toml")),
    ];

    fn validate(&self) -> Result<(), Failure> {
        Ok(self.check()?)
    }

    fn memory(&self) -> (u64, &'static str) {
        self.tradeoff().map_or((0, ""), |preset| lab::preset::Preset::memory(&preset))
    }

    fn default_jobs(&self) -> NonZeroUsize {
        self.device.default_jobs()
    }
}

impl MatrixPreset {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<()> {
        let names: BTreeSet<RuleName> = self.optimizers.iter().map(|of| of.optimizer).collect();
        if names.len() < 2 || names.len() != self.optimizers.len() {
            let found = self.optimizers.iter().map(|of| of.optimizer.as_str()).collect::<Vec<_>>().join(", ");
            return Err(ExperimentError::value("optimizers", found, "two or more, each once"));
        }
        self.tradeoff()?.check()
    }

    /// The geometry of an optimizer, by the name of its checkpoint.
    pub fn geometry(&self, name: &str) -> &str {
        self.optimizers.iter().find(|of| of.optimizer.as_str() == name).map_or("", |of| of.geometry.as_str())
    }

    /// Names of the optimizers, in the preset's order.
    pub fn names(&self) -> Vec<String> {
        self.optimizers.iter().map(|of| of.optimizer.as_str().to_owned()).collect()
    }

    /// All pairs of optimizers, each once.
    pub fn pairs(&self) -> Vec<[String; 2]> {
        let names = self.names();
        let from = |(place, a): (usize, &String)| {
            names[place + 1..].iter().map(|b| [a.clone(), b.clone()]).collect::<Vec<_>>()
        };
        names.iter().enumerate().flat_map(from).collect()
    }

    /// The preset of `tradeoff` with these optimizers in both stages, every pair compared.
    ///
    /// # Errors
    /// If the base cannot be read.
    pub fn tradeoff(&self) -> Result<TradeoffPreset> {
        let Self { device, precision, ref corpus, .. } = *self;
        let mut base = Changes { seeds: Some(self.seeds), device, precision, corpus }.of(&self.base)?;
        let mut pairs = self.pairs().into_iter();
        base.pair = pairs.next();
        base.controls = pairs.collect();
        base.control_methods.clear();
        let checkpoint = |of: &OptimizerPreset| CheckpointPreset {
            name: of.optimizer.as_str().into(),
            origin: Origin::Pretrained(Recipe {
                optimizer: of.optimizer,
                hidden_rate: of.hidden_rate,
                embedding_rate: of.embedding_rate,
                steps: self.steps,
            }),
            seeds: None,
        };
        base.checkpoints = self.optimizers.iter().map(checkpoint).collect();
        base.methods = self.optimizers.iter().map(|of| MethodPreset::of(of.optimizer, &of.rates)).collect();
        (base.name, base.tasks) = (self.name.clone(), self.tasks.clone());
        (base.second_orders, base.finetune.along) = (0, 0);
        Ok(base)
    }
}

#[cfg(test)]
mod tests {
    use lab::preset::Preset as _;

    use super::*;

    #[test]
    fn every_pair_is_compared_once_and_every_optimizer_runs_from_every_checkpoint() {
        let preset = MatrixPreset::find("standard", &[]).unwrap();
        let count = preset.optimizers.len();
        let made = preset.tradeoff().unwrap();
        assert_eq!(1 + made.controls.len(), count * (count - 1) / 2);
        for checkpoint in preset.names() {
            assert_eq!(made.methods_from(&checkpoint).count(), count, "{checkpoint}");
        }
    }

    #[test]
    fn an_optimizer_that_is_named_twice_is_refused() {
        let mut preset = MatrixPreset::find("smoke", &[]).unwrap();
        let again = preset.optimizers[0].clone();
        preset.optimizers.push(again);
        assert!(preset.check().unwrap_err().to_string().starts_with("optimizers: found"));
    }
}
