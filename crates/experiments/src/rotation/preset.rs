//! Presets of `rotation`: a preset of `tradeoff` for network and checkpoints, and what to finetune them on.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use lab::error::Failure;
use models::Precision;
use models::optim::RuleName;
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};
use crate::ground::{Changes, pair};
use crate::parts::checks::{rates, within};
use crate::parts::{Architecture, Machine, OwnText, is_default};
use crate::tradeoff::{FinetuneScope, MethodPreset, TradeoffPreset};

/// Everything that decides the results of `rotation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RotationPreset {
    /// The preset's name.
    pub name: String,
    /// The preset of `tradeoff` whose network, compared checkpoints and finetuning are taken: its name or file.
    pub base: String,
    /// The network's family, where it is not the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// Pretraining seeds, where they are not the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u64>,
    /// Tasks to finetune on.
    pub tasks: Vec<String>,
    /// Rotations of every checkpoint, each drawn anew for every seed.
    pub rotations: u64,
    /// Where networks are trained.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device: Machine,
    /// In which numbers products of matrices are computed, where it is not as the base says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// The text, where it is not the base's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub corpus: OwnText,
    /// Learning rates of the two optimizers that made the checkpoints, on the hidden matrices alone.
    pub rates: BTreeMap<RuleName, Vec<f64>>,
}

impl lab::preset::Preset for RotationPreset {
    const BUILT_IN: &'static [(&'static str, &'static str)] = &[
        ("smoke", include_str!("../../presets/rotation/smoke.toml")),
        ("quick", include_str!("../../presets/rotation/quick.toml")),
        ("standard", include_str!("../../presets/rotation/standard.toml")),
    ];

    fn validate(&self) -> Result<(), Failure> {
        Ok(self.check()?)
    }

    fn memory(&self) -> (u64, &'static str) {
        self.base().map_or((0, ""), |base| lab::preset::Preset::memory(&base))
    }

    fn default_jobs(&self) -> NonZeroUsize {
        self.device.default_jobs()
    }
}

impl RotationPreset {
    /// Checks every field that the base does not check.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<()> {
        let base = self.base()?;
        base.check_tasks("tasks", &self.tasks)?;
        within("rotations", self.rotations, 1..=10_000)?;
        base.check()?;
        let [first, second] = pair(&base)?;
        let [first, second] = [first.recipe()?.optimizer, second.recipe()?.optimizer];
        let expected: Vec<&str> = [first, second].iter().map(|optimizer| optimizer.as_str()).collect();
        let given: Vec<&str> = self.rates.keys().map(|optimizer| optimizer.as_str()).collect();
        if first == second || given.len() != 2 || ![first, second].iter().all(|one| self.rates.contains_key(one)) {
            let expected = format!("those of the compared checkpoints: {}", expected.join(", "));
            return Err(ExperimentError::value("rates", given.join(", "), expected));
        }
        self.rates.iter().try_for_each(|(optimizer, of)| rates(&format!("rates.{optimizer}"), of))?;
        if base.model.architecture == Architecture::Gpt2 {
            let expected = "llama: the stream of a network with LayerNorms cannot be turned";
            return Err(ExperimentError::value("architecture", "gpt2", expected));
        }
        Ok(())
    }

    /// The preset of `tradeoff`, with its changes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn base(&self) -> Result<TradeoffPreset> {
        let Self { seeds, device, precision, ref corpus, .. } = *self;
        let mut base = Changes { seeds, device, precision, corpus }.of(&self.base)?;
        base.model.architecture = self.architecture.unwrap_or(base.model.architecture);
        Ok(base)
    }

    /// The methods: both optimizers, on the hidden matrices alone. Gains and embeddings are frozen, or the turned
    /// network would be trained otherwise than the plain one by any optimizer.
    pub fn methods(&self) -> impl Iterator<Item = MethodPreset> {
        self.rates.iter().map(|(&optimizer, rates)| MethodPreset {
            scope: Some(FinetuneScope::HiddenMatrices),
            ..MethodPreset::of(optimizer, rates)
        })
    }
}

#[cfg(test)]
mod tests {
    use lab::preset::{Preset as _, parse};

    use super::*;

    #[test]
    fn the_built_in_presets_are_valid_and_print_in_a_form_that_reads_back() {
        for (name, _) in RotationPreset::BUILT_IN {
            let preset = RotationPreset::find(name, &[]).unwrap();
            assert_eq!(parse::<RotationPreset>(&preset.to_toml(), "printed").unwrap(), preset);
        }
    }

    #[test]
    fn what_cannot_be_met_is_refused_by_its_field() {
        let refusal = |change: fn(&mut RotationPreset)| {
            let mut preset = RotationPreset::find("smoke", &[]).unwrap();
            change(&mut preset);
            preset.check().unwrap_err().to_string()
        };
        assert!(refusal(|p| p.architecture = None).starts_with("architecture: found gpt2, expected llama"));
        assert!(refusal(|p| p.rotations = 0).starts_with("rotations: found 0"));
        assert!(refusal(|p| p.tasks.clear()).starts_with("tasks: found none"));
        assert!(refusal(|p| p.tasks.push("math".into())).starts_with("tasks: found math twice"));
        assert!(refusal(|p| drop(p.rates.remove(&RuleName::Muon))).starts_with("rates: found adamw, expected"));
        assert!(refusal(|p| p.rates.get_mut(&RuleName::Muon).unwrap().clear()).starts_with("rates.muon"));
        assert!(refusal(|p| p.base = "nothing".into()).contains("nothing"));
    }
}
