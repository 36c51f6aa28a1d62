//! Hyperparameters of the optimizers other than learning rate and weight decay.

use models::optim::{AdamW, Muon, RuleConfig, Sgd};
use serde::{Deserialize, Serialize};

use super::OptimizerName;
use crate::error::{ExperimentError, Result};

/// Hyperparameters of each optimizer in one stage; the defaults of `models` where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct OptimizersPreset {
    /// AdamW, also beside Muon and in LoRA.
    #[serde(skip_serializing_if = "is_default")]
    pub adamw: AdamW,
    /// Muon.
    #[serde(skip_serializing_if = "is_default")]
    pub muon: Muon,
    /// SGD with momentum.
    #[serde(skip_serializing_if = "is_default")]
    pub sgd: Sgd,
}

/// Whether a table can be left out of a file.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl OptimizersPreset {
    /// The rule of the hidden matrices.
    pub(crate) fn rule(&self, name: OptimizerName, weight_decay: f64) -> RuleConfig {
        match name {
            OptimizerName::AdamW => RuleConfig::AdamW(AdamW { weight_decay, ..self.adamw }),
            OptimizerName::Muon => RuleConfig::Muon(Muon { weight_decay, ..self.muon }),
            OptimizerName::Sgd => RuleConfig::Sgd(Sgd { weight_decay, ..self.sgd }),
        }
    }

    /// The rule of the parameters that are not hidden matrices.
    pub(crate) fn rest(&self, name: OptimizerName, weight_decay: f64) -> RuleConfig {
        match name {
            OptimizerName::Muon => self.rule(OptimizerName::AdamW, weight_decay),
            _ => self.rule(name, weight_decay),
        }
    }

    /// Checks every field; `stage` is the table that these stand in.
    ///
    /// # Errors
    /// [`ExperimentError::Value`] with the first field that is out of range, or a weight decay: it is a field of the stage.
    pub(super) fn validate(&self, stage: &str) -> Result<()> {
        let Self { adamw, muon, sgd } = *self;
        for (name, decay, rule) in [
            ("adamw", adamw.weight_decay, RuleConfig::AdamW(adamw)),
            ("muon", muon.weight_decay, RuleConfig::Muon(muon)),
            ("sgd", sgd.weight_decay, RuleConfig::Sgd(sgd)),
        ] {
            let table = format!("{stage}.optimizers.{name}");
            if decay != 0.0 {
                let expected = format!("it in {stage}.weight-decay, for all optimizers");
                return Err(ExperimentError::value(format!("{table}.weight-decay"), decay, expected));
            }
            match rule.rule() {
                Err(models::Error::Config { field, found, expected }) => {
                    return Err(ExperimentError::value(format!("{table}.{field}"), found, expected));
                }
                checked => checked.map(drop)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use models::optim::MuonScale;

    use super::*;
    use crate::preset::{MethodPreset, Preset, parse_toml};

    /// The smoke preset with lines added to its stages and to its first method.
    fn preset(pretrain: &str, finetune: &str, method: &str) -> Preset {
        let text = Preset::find("smoke").unwrap().to_toml();
        let text = text.replacen("[pretrain]\n", &format!("[pretrain]\n{pretrain}\n"), 1);
        let text = text.replacen("[finetune]\n", &format!("[finetune]\n{finetune}\n"), 1);
        let text = text.replacen("lora-rank = 4\n", &format!("lora-rank = 4\n{method}\n"), 1);
        let preset: Preset = parse_toml(&text, "changed").unwrap();
        preset.validate().unwrap();
        assert_eq!(parse_toml::<Preset>(&preset.to_toml(), "printed").unwrap(), preset);
        preset
    }

    fn method<'a>(preset: &'a Preset, name: &str) -> &'a MethodPreset {
        preset.methods.iter().find(|method| method.name == name).unwrap()
    }

    #[test]
    fn hyperparameters_reach_the_rules_of_their_stage_and_no_other() {
        let plain = preset("", "", "");
        let changed = preset(
            "optimizers = { muon = { scale = \"original\" }, adamw = { beta2 = 0.99 } }",
            "optimizers = { muon = { momentum = 0.5, nesterov = false } }",
            "",
        );
        let decay = changed.pretrain.weight_decay;
        let pretraining = changed.checkpoint("muon").unwrap().policy(&changed.pretrain);
        let scaled = Muon { scale: MuonScale::Original, weight_decay: decay, ..Muon::default() };
        assert_eq!(pretraining.hidden, RuleConfig::Muon(scaled));
        assert_eq!(pretraining.rest, RuleConfig::AdamW(AdamW { beta2: 0.99, weight_decay: decay, ..AdamW::default() }));

        let finetuning = method(&changed, "muon").policy(1e-3, &changed.finetune);
        let weight_decay = changed.finetune.weight_decay;
        let slow = Muon { momentum: 0.5, nesterov: false, weight_decay, ..Muon::default() };
        assert_eq!(finetuning.hidden, RuleConfig::Muon(slow));
        assert_eq!(finetuning.rest, method(&plain, "muon").policy(1e-3, &plain.finetune).rest);
    }

    #[test]
    fn the_documented_table_is_read() {
        let guide = include_str!("../../../../docs/guide.md");
        let table = guide.split("```toml\n[finetune.optimizers]\n").nth(1).unwrap().split("```").next().unwrap();
        let read: OptimizersPreset = parse_toml(table, "guide").unwrap();
        read.validate("finetune").unwrap();
        assert!(read.adamw != AdamW::default() && read.muon != Muon::default() && read.sgd != Sgd::default());
    }

    #[test]
    fn what_is_not_said_is_in_no_file_so_that_finished_stages_keep_their_ids() {
        let text = preset("", "", "").to_toml();
        assert!(!text.contains("optimizers") && !text.contains("lora-alpha"), "{text}");
    }

    #[test]
    fn alpha_is_twice_the_rank_unless_it_is_given() {
        let alpha = |preset: &Preset| method(preset, "lora-4").lora().unwrap().alpha;
        assert_eq!(alpha(&preset("", "", "")), 8.0);
        assert_eq!(alpha(&preset("", "", "lora-alpha = 3.0")), 3.0);
        assert!(method(&preset("", "", ""), "adamw").lora().is_none());
    }
}
