//! Presets of `activations`: which networks are pretrained and looked into.

use std::num::NonZeroUsize;

use lab::error::Failure;
use models::Precision;
use models::optim::{Policy, RuleName, Scope};
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};
use crate::parts::checks::{at_least, distinct, drawn, not_negative, positive, share, steps, within};
use crate::parts::{CorpusPreset, Machine, ModelPreset, PretrainPreset, Seeds, is_default, step_memory};
use crate::stages::TextSource;

/// How text is held out, and how much of it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HeldOutPreset {
    /// Share of the text that is held out, by file.
    pub held_out: f64,
    /// Held-out windows, each as long as the context, of which the loss is measured.
    pub pretrain_windows: usize,
    /// Held-out tokens on which networks are looked into.
    pub probe_tokens: usize,
}

/// A pretraining that is looked into.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProbedPreset {
    /// Its name in results.
    pub name: String,
    /// Optimizer of the hidden matrices; all other weights have AdamW.
    pub optimizer: RuleName,
    /// Learning rate of the hidden matrices.
    pub hidden_rate: f64,
    /// Learning rate of embeddings, gains and biases.
    pub embedding_rate: f64,
    /// Steps.
    pub steps: u64,
    /// Weight decay, if not that of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Seeds, if fewer than the preset's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u64>,
}

impl ProbedPreset {
    /// Which weights pretraining trains with which rule: for AdamW and Muon the same as in `tradeoff`.
    pub fn policy(&self, pretrain: &PretrainPreset) -> Policy {
        let (rules, decay) = (&pretrain.optimizers, self.weight_decay.unwrap_or(pretrain.weight_decay));
        Policy::hidden_and_rest(
            Scope::All,
            rules.rule(self.optimizer, decay),
            self.hidden_rate,
            rules.rule(RuleName::AdamW, decay),
            self.embedding_rate,
            self.embedding_rate,
        )
    }

    fn validate(&self) -> Result<()> {
        let field = |name: &str| format!("checkpoints.{}.{name}", self.name);
        positive(&field("hidden-rate"), self.hidden_rate)?;
        positive(&field("embedding-rate"), self.embedding_rate)?;
        steps(&field("steps"), self.steps)?;
        at_least(&field("seeds"), self.seeds.unwrap_or(1), 1)?;
        not_negative(&field("weight-decay"), self.weight_decay.unwrap_or(0.0))
    }
}

/// The causal control: two checkpoints, each trained on with the optimizers of both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SwitchPreset {
    /// The checkpoints.
    #[serde(deserialize_with = "crate::parts::pair")]
    pub checkpoints: [String; 2],
    /// Steps, as a share of each checkpoint's own.
    pub share: f64,
    /// Seeds, if fewer than the preset's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u64>,
}

/// Everything that decides the results of `activations`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ActivationsPreset {
    /// The preset's name.
    pub name: String,
    /// Pretraining seeds: 0, 1, ... A verdict needs at least five.
    pub seeds: u64,
    /// The first of them: one of those that `tradeoff`'s preset has, whose checkpoints are then the same.
    #[serde(default, skip_serializing_if = "is_default")]
    pub first_seed: u64,
    /// The two checkpoints that the verdict compares: AdamW's, and a Muon that stops at its loss.
    #[serde(deserialize_with = "crate::parts::pair")]
    pub pair: [String; 2],
    /// Pairs that are compared without a verdict.
    #[serde(default, deserialize_with = "crate::parts::pairs")]
    pub controls: Vec<[String; 2]>,
    /// How much text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub corpus: CorpusPreset,
    /// In which numbers products of matrices are computed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub precision: Precision,
    /// Where networks are trained and looked into.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device: Machine,
    /// The network.
    pub model: ModelPreset,
    /// Pretraining.
    pub pretrain: PretrainPreset,
    /// Measurements.
    pub evaluation: HeldOutPreset,
    /// The causal control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<SwitchPreset>,
    /// The pretrainings.
    pub checkpoints: Vec<ProbedPreset>,
}

impl lab::preset::Preset for ActivationsPreset {
    const BUILT_IN: &'static [(&'static str, &'static str)] = &[
        ("smoke", include_str!("../../presets/activations/smoke.toml")),
        ("quick", include_str!("../../presets/activations/quick.toml")),
        ("standard", include_str!("../../presets/activations/standard.toml")),
    ];

    fn validate(&self) -> Result<(), Failure> {
        Ok(self.check()?)
    }

    fn memory(&self) -> (u64, &'static str) {
        let at_a_time = self.pretrain.micro_batch.unwrap_or(self.pretrain.sequences).min(self.pretrain.sequences);
        step_memory(&self.model.expected(), at_a_time, self.precision, self.device)
    }

    fn default_jobs(&self) -> NonZeroUsize {
        self.device.default_jobs()
    }
}

impl ActivationsPreset {
    /// The checkpoint of that name.
    pub fn checkpoint(&self, name: &str) -> Option<&ProbedPreset> {
        self.checkpoints.iter().find(|checkpoint| checkpoint.name == name)
    }

    /// The pretraining seeds.
    pub fn seeds(&self) -> Seeds {
        Seeds { first: self.first_seed, count: self.seeds }
    }

    /// The pretraining text.
    pub fn text(&self) -> TextSource {
        self.corpus.source(self.model.vocabulary, self.model.context, self.evaluation.held_out)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<()> {
        self.seeds().check()?;
        self.device.check()?;
        self.corpus.validate()?;
        self.model.validate()?;
        self.pretrain.validate("pretrain")?;
        share("evaluation.held-out", self.evaluation.held_out, false)?;
        drawn("evaluation.pretrain-windows", self.evaluation.pretrain_windows)?;
        drawn("evaluation.probe-tokens", self.evaluation.probe_tokens)?;
        self.checkpoints.iter().try_for_each(ProbedPreset::validate)?;
        let names: Vec<&str> = self.checkpoints.iter().map(|checkpoint| checkpoint.name.as_str()).collect();
        distinct("checkpoints", &names)?;
        let known = |field: &str, name: &String| match self.checkpoint(name) {
            Some(_) => Ok(()),
            None => Err(ExperimentError::value(field, name, format!("a checkpoint: {}", names.join(", ")))),
        };
        for pair in std::iter::once(&self.pair).chain(&self.controls) {
            pair.iter().try_for_each(|name| known("pair or controls", name))?;
            distinct("pair or controls", pair)?;
        }
        if let Some(switch) = &self.switch {
            switch.checkpoints.iter().try_for_each(|name| known("switch.checkpoints", name))?;
            distinct("switch.checkpoints", &switch.checkpoints)?;
            within("switch.share, rounded up", switch.share.ceil() as u64, 0..=1000)?;
            positive("switch.share", switch.share)?;
            at_least("switch.seeds", switch.seeds.unwrap_or(1), 1)?;
        }
        Ok(())
    }
}

/// The name of a checkpoint that was trained on with the optimizer of another, or its own.
pub(super) fn continued(checkpoint: &str, with: &str) -> String {
    format!("{checkpoint}-then-{with}")
}

#[cfg(test)]
mod tests {
    use lab::preset::{Change, Preset as _, parse};

    use super::*;

    #[test]
    fn built_in_presets_are_valid_and_survive_toml() {
        for (name, _) in ActivationsPreset::BUILT_IN {
            let preset = ActivationsPreset::find(name, &[]).unwrap();
            preset.check().unwrap();
            assert_eq!(parse::<ActivationsPreset>(&preset.to_toml(), "printed").unwrap(), preset);
        }
    }

    #[test]
    fn a_name_that_is_no_checkpoint_is_refused_with_those_there_are() {
        for (change, expected) in [
            ("pair=[\"adamw\", \"soap\"]", "pair or controls: found soap, expected a checkpoint: adamw, muon"),
            ("pair=[\"adamw\", \"adamw\"]", "pair or controls: found \"adamw\" twice"),
            ("switch.checkpoints=[\"muon\", \"x\"]", "switch.checkpoints: found x"),
            ("switch.share=0", "switch.share: found 0"),
            ("evaluation.probe-tokens=0", "evaluation.probe-tokens: found 0"),
        ] {
            let refused = ActivationsPreset::find("smoke", &[Change::parse(change).unwrap()]).unwrap_err();
            let message = refused.to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
