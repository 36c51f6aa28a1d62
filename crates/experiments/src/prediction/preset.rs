//! Presets of `prediction`: a preset of `tradeoff` for network, checkpoints and methods, and how closely to look.

use std::num::NonZeroUsize;

use lab::error::Failure;
use models::Precision;
use models::optim::RuleName;
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};
use crate::ground::{Changes, pair};
use crate::parts::checks::{at_least, share};
use crate::parts::{Machine, OwnText, is_default};
use crate::tradeoff::{FinetuneScope, MethodPreset, TradeoffPreset};

/// Everything that decides the results of `prediction`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PredictionPreset {
    /// The preset's name.
    pub name: String,
    /// The preset of `tradeoff` whose network, compared checkpoints and methods are taken: its name or file.
    pub base: String,
    /// Pretraining seeds, where they are not the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u64>,
    /// Tasks to finetune on.
    pub tasks: Vec<String>,
    /// The base's methods that are run; all if left out. Those of its variants never are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Windows of pretraining text, and rows of the task's test, on which the divergence from the checkpoint is
    /// measured.
    pub divergence_windows: usize,
    /// The eigenvectors of a matrix's inputs that are called leading, as a share of all.
    pub leading: f64,
    /// Batches whose mean gradient stands for the task before any finetuning.
    pub gradient_batches: u64,
    /// Where networks are trained.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device: Machine,
    /// In which numbers products of matrices are computed, where it is not as the base says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// The text, where it is not the base's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub corpus: OwnText,
}

impl lab::preset::Preset for PredictionPreset {
    const BUILT_IN: &'static [(&'static str, &'static str)] = &[
        ("smoke", include_str!("../../presets/prediction/smoke.toml")),
        ("quick", include_str!("../../presets/prediction/quick.toml")),
        ("standard", include_str!("../../presets/prediction/standard.toml")),
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

impl PredictionPreset {
    /// Checks every field that the base does not check, and the base.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<()> {
        let base = self.base()?;
        base.check_tasks("tasks", &self.tasks)?;
        at_least("divergence-windows", self.divergence_windows as u64, 1)?;
        at_least("gradient-batches", self.gradient_batches, 1)?;
        share("leading", self.leading, false)?;
        base.check()?;
        let known: Vec<&str> = base.methods.iter().filter(|m| m.variant.is_none()).map(|m| m.name.as_str()).collect();
        for (place, name) in self.methods.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let expected = format!("methods of the base: {}", known.join(", "));
                return Err(ExperimentError::value("methods", name, expected));
            }
            if self.methods[..place].contains(name) {
                return Err(ExperimentError::value("methods", name, "distinct names"));
            }
        }
        self.pair(&base).map(|_| ())
    }

    /// The preset of `tradeoff`, with its changes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn base(&self) -> Result<TradeoffPreset> {
        let Self { seeds, device, precision, ref corpus, .. } = *self;
        Changes { seeds, device, precision, corpus }.of(&self.base)
    }

    /// The methods, on the hidden matrices alone: of these the expansion knows gradient and curvature.
    pub fn methods(&self, base: &TradeoffPreset) -> Vec<MethodPreset> {
        let chosen = |method: &&MethodPreset| self.methods.is_empty() || self.methods.contains(&method.name);
        let methods = base.methods.iter().filter(|method| method.variant.is_none()).filter(chosen);
        methods.map(|method| MethodPreset { scope: Some(FinetuneScope::HiddenMatrices), ..method.clone() }).collect()
    }

    /// The compared checkpoints, each with the method of its optimizer: AdamW's, whose direction is the signs of a
    /// gradient, and Muon's, whose direction is its polar factor.
    ///
    /// # Errors
    /// If the base compares others, or there are no such methods.
    pub fn pair(&self, base: &TradeoffPreset) -> Result<[(String, String); 2]> {
        let found = pair(base)?;
        let methods = self.methods(base);
        [RuleName::AdamW, RuleName::Muon]
            .map(|optimizer| {
                let checkpoint = found.iter().find(|checkpoint| checkpoint.optimizer() == Some(optimizer));
                let method = methods.iter().find(|method| method.optimizer == optimizer && method.lora_rank.is_none());
                match (checkpoint, method) {
                    (Some(checkpoint), Some(method)) => Ok((checkpoint.name.clone(), method.name.clone())),
                    _ => {
                        let found = found.map(|checkpoint| checkpoint.name.as_str()).join(", ");
                        let names: Vec<&str> = methods.iter().map(|method| method.name.as_str()).collect();
                        let found = format!("checkpoints of {found} and methods {}", names.join(", "));
                        Err(ExperimentError::value(
                            "methods",
                            found,
                            format!("a checkpoint and a method of {optimizer}"),
                        ))
                    }
                }
            })
            .into_iter()
            .collect::<Result<Vec<_>>>()
            .map(|pair| pair.try_into().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use lab::preset::{Preset as _, parse};

    use super::*;

    #[test]
    fn the_built_in_presets_are_valid_and_print_in_a_form_that_reads_back() {
        for (name, _) in PredictionPreset::BUILT_IN {
            let preset = PredictionPreset::find(name, &[]).unwrap();
            assert_eq!(parse::<PredictionPreset>(&preset.to_toml(), "printed").unwrap(), preset);
        }
    }

    #[test]
    fn what_cannot_be_met_is_refused_by_its_field() {
        let refusal = |change: fn(&mut PredictionPreset)| {
            let mut preset = PredictionPreset::find("smoke", &[]).unwrap();
            change(&mut preset);
            preset.check().unwrap_err().to_string()
        };
        assert!(refusal(|p| p.leading = 1.0).starts_with("leading: found 1"));
        assert!(refusal(|p| p.divergence_windows = 0).starts_with("divergence-windows: found 0"));
        assert!(refusal(|p| p.gradient_batches = 0).starts_with("gradient-batches: found 0"));
        assert!(refusal(|p| p.tasks.clear()).starts_with("tasks: found none"));
        assert!(refusal(|p| p.methods = vec!["soap".into()]).starts_with("methods: found soap, expected methods of"));
        assert!(refusal(|p| p.methods = vec!["sgd".into(); 2]).starts_with("methods: found sgd, expected distinct"));
        let one = refusal(|p| p.methods = vec!["adamw".into(), "lora-4".into()]);
        assert!(one.ends_with("expected a checkpoint and a method of muon"), "{one}");
    }

    #[test]
    fn methods_are_the_bases_on_hidden_matrices() {
        let preset = PredictionPreset::find("quick", &[]).unwrap();
        let base = preset.base().unwrap();
        let methods = preset.methods(&base);
        assert_eq!(methods.len(), base.methods.len());
        assert!(methods.iter().all(|method| method.scope == Some(FinetuneScope::HiddenMatrices)));
        let some = PredictionPreset { methods: vec!["muon".into(), "adamw".into()], ..preset };
        let names: Vec<String> = some.methods(&base).into_iter().map(|method| method.name).collect();
        assert_eq!(names, ["adamw", "muon"], "in the base's order");
    }
}
