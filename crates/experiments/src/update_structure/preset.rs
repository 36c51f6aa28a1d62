//! Presets of `update-structure`: a preset of `tradeoff` for network and checkpoints, and the updates to look at.

use std::num::NonZeroUsize;

use lab::error::Failure;
use models::Precision;
use models::optim::RuleName;
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};
use crate::ground::{Changes, pair};
use crate::parts::checks::{positive, share, within};
use crate::parts::{MOST_WIDTH, Machine, OwnText, is_default};
use crate::tradeoff::{FinetuneScope, MethodPreset, TradeoffPreset};

/// A finetuning method with one learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UpdateMethod {
    /// Its name in results: an optimizer's, or `lora-RANK`.
    pub name: String,
    /// The optimizer.
    pub optimizer: RuleName,
    /// The rank, for LoRA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora_rank: Option<usize>,
    /// The learning rate.
    pub rate: f64,
}

impl UpdateMethod {
    /// The method on hidden matrices alone, so that the update is theirs and nothing else has to be moved with it.
    pub fn method(&self) -> MethodPreset {
        MethodPreset {
            name: self.name.clone(),
            lora_rank: self.lora_rank,
            scope: Some(FinetuneScope::HiddenMatrices),
            ..MethodPreset::of(self.optimizer, &[self.rate])
        }
    }
}

/// Everything that decides the results of `update-structure`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UpdateStructurePreset {
    /// The preset's name.
    pub name: String,
    /// The preset of `tradeoff` whose network, compared checkpoints and finetuning are taken: its name or file.
    pub base: String,
    /// Pretraining seeds, where they are not the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u64>,
    /// Tasks to finetune on.
    pub tasks: Vec<String>,
    /// The loss on the task at which updates are compared: a share of the way to where both matched methods get.
    pub level: f64,
    /// Rank of the low-rank surgery.
    pub rank: usize,
    /// Where networks are trained.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device: Machine,
    /// In which numbers products of matrices are computed, where it is not as the base says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// The text, where it is not the base's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub corpus: OwnText,
    /// The methods; those named like the optimizers of the compared checkpoints are operated on.
    pub methods: Vec<UpdateMethod>,
}

impl lab::preset::Preset for UpdateStructurePreset {
    const BUILT_IN: &'static [(&'static str, &'static str)] = &[
        ("smoke", include_str!("../../presets/update-structure/smoke.toml")),
        ("quick", include_str!("../../presets/update-structure/quick.toml")),
        ("standard", include_str!("../../presets/update-structure/standard.toml")),
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

impl UpdateStructurePreset {
    /// Checks every field that the base does not check.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<()> {
        let mut base = self.base()?;
        base.check_tasks("tasks", &self.tasks)?;
        share("level", self.level, false)?;
        within("rank", self.rank as u64, 1..=MOST_WIDTH)?;
        for (place, method) in self.methods.iter().enumerate() {
            positive(&format!("methods.{}.rate", method.name), method.rate)?;
            if self.methods[..place].iter().any(|other| other.name == method.name) {
                return Err(ExperimentError::value("methods", &method.name, "distinct names"));
            }
        }
        self.matched(&base)?;
        // The base checks ranks and rules; it wants matched methods that train all weights.
        let whole = |method: &UpdateMethod| MethodPreset { scope: None, ..method.method() };
        base.methods = self.methods.iter().map(whole).collect();
        base.check()
    }

    /// The preset of `tradeoff`, with its changes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn base(&self) -> Result<TradeoffPreset> {
        let Self { seeds, device, precision, ref corpus, .. } = *self;
        Changes { seeds, device, precision, corpus }.of(&self.base)
    }

    /// The compared checkpoints, each with the method of its optimizer.
    ///
    /// # Errors
    /// If there is no such method, or both have the same.
    pub fn matched<'a>(&'a self, base: &'a TradeoffPreset) -> Result<[(&'a str, &'a UpdateMethod); 2]> {
        let [a, b] = pair(base)?;
        let [of_a, of_b] = [a.recipe()?.optimizer, b.recipe()?.optimizer];
        let of = |optimizer: RuleName| {
            let found = self.methods.iter().find(|m| m.name == optimizer.as_str() && m.optimizer == optimizer);
            let expected = format!("the matched methods, {of_a} and {of_b}");
            let names: Vec<&str> = self.methods.iter().map(|method| method.name.as_str()).collect();
            found
                .filter(|method| of_a != of_b && method.lora_rank.is_none())
                .ok_or_else(|| ExperimentError::value("methods", names.join(", "), expected))
        };
        Ok([(&a.name, of(of_a)?), (&b.name, of(of_b)?)])
    }
}

#[cfg(test)]
mod tests {
    use lab::preset::{Preset as _, parse};

    use super::*;

    #[test]
    fn the_built_in_presets_are_valid_and_print_in_a_form_that_reads_back() {
        for (name, _) in UpdateStructurePreset::BUILT_IN {
            let preset = UpdateStructurePreset::find(name, &[]).unwrap();
            assert_eq!(parse::<UpdateStructurePreset>(&preset.to_toml(), "printed").unwrap(), preset);
        }
    }

    #[test]
    fn what_cannot_be_met_is_refused_by_its_field() {
        let refusal = |change: fn(&mut UpdateStructurePreset)| {
            let mut preset = UpdateStructurePreset::find("smoke", &[]).unwrap();
            change(&mut preset);
            preset.check().unwrap_err().to_string()
        };
        assert!(refusal(|p| p.level = 0.0).starts_with("level: found 0"));
        assert!(refusal(|p| p.rank = 0).starts_with("rank: found 0"));
        assert!(refusal(|p| p.methods[0].rate = -1.0).starts_with("methods.adamw.rate: found -1"));
        assert!(
            refusal(|p| drop(p.methods.remove(1))).starts_with("methods: found adamw, lora-4, expected the matched")
        );
        assert!(refusal(|p| p.methods[1].name = "adamw".into()).starts_with("methods: found adamw, expected distinct"));
        assert!(refusal(|p| p.methods[2].lora_rank = Some(999)).starts_with("methods.lora-rank: found 999"));
    }
}
