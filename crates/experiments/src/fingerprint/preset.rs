//! Presets of `fingerprint`: the settings in which networks are pretrained.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use lab::error::Failure;
use models::Precision;
use models::optim::{Policy, RuleName, Scope};
use serde::{Deserialize, Serialize};

use crate::activations::HeldOutPreset;
use crate::error::{ExperimentError, Result};
use crate::parts::checks::{at_least, distinct, not_negative, positive, rates, share};
use crate::parts::{CorpusPreset, Machine, ModelPreset, PretrainPreset, Seeds, is_default, step_memory};
use crate::stages::TextSource;

/// Everything that decides the results of `fingerprint`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FingerprintPreset {
    /// The preset's name.
    pub name: String,
    /// Pretraining seeds. A verdict needs at least five.
    pub seeds: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub first_seed: u64,
    /// Steps of every pretraining.
    pub steps: u64,
    /// Learning rate of embeddings, gains and biases.
    pub embedding_rate: f64,
    /// Weight decays.
    pub decays: Vec<f64>,
    /// Widths of the residual stream, each a multiple of the heads; that of `model` alone if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub widths: Vec<usize>,
    /// The classifier's penalty on the squares of its weights.
    pub ridge: f64,
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
    /// Pretraining; its weight decay is that of no run.
    pub pretrain: PretrainPreset,
    /// Measurements.
    pub evaluation: HeldOutPreset,
    /// Learning rates of the hidden matrices, ascending, by their optimizer: as many of each. All other weights have
    /// AdamW.
    pub rates: BTreeMap<RuleName, Vec<f64>>,
}

impl lab::preset::Preset for FingerprintPreset {
    const BUILT_IN: &'static [(&'static str, &'static str)] = &[
        ("smoke", include_str!("../../presets/fingerprint/smoke.toml")),
        ("quick", include_str!("../../presets/fingerprint/quick.toml")),
        ("standard", include_str!("../../presets/fingerprint/standard.toml")),
    ];

    fn validate(&self) -> Result<(), Failure> {
        Ok(self.check()?)
    }

    fn memory(&self) -> (u64, &'static str) {
        let at_a_time = self.pretrain.micro_batch.unwrap_or(self.pretrain.sequences).min(self.pretrain.sequences);
        let widest = ModelPreset { width: self.widths().into_iter().max().unwrap_or_default(), ..self.model.clone() };
        step_memory(&widest.expected(), at_a_time, self.precision, self.device)
    }

    fn default_jobs(&self) -> NonZeroUsize {
        self.device.default_jobs()
    }
}

impl FingerprintPreset {
    /// The pretraining seeds.
    pub fn seeds(&self) -> Seeds {
        Seeds { first: self.first_seed, count: self.seeds }
    }

    /// The widths, at least one.
    pub fn widths(&self) -> Vec<usize> {
        if self.widths.is_empty() { vec![self.model.width] } else { self.widths.clone() }
    }

    /// The pretraining text.
    pub fn text(&self) -> TextSource {
        self.corpus.source(self.model.vocabulary, self.model.context, self.evaluation.held_out)
    }

    /// Which weights a pretraining trains with which rule.
    pub fn policy(&self, optimizer: RuleName, rate: f64, decay: f64) -> Policy {
        let rules = &self.pretrain.optimizers;
        let (hidden, rest) = (rules.rule(optimizer, decay), rules.rule(RuleName::AdamW, decay));
        Policy::hidden_and_rest(Scope::All, hidden, rate, rest, self.embedding_rate, self.embedding_rate)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<()> {
        self.seeds().check()?;
        self.device.check()?;
        self.corpus.validate()?;
        for width in self.widths() {
            ModelPreset { width, ..self.model.clone() }.validate()?;
        }
        self.pretrain.validate("pretrain")?;
        at_least("steps", self.steps, 1)?;
        positive("embedding-rate", self.embedding_rate)?;
        positive("ridge", self.ridge)?;
        distinct("decays", &self.decays)?;
        self.decays.iter().try_for_each(|&decay| not_negative("decays", decay))?;
        distinct("widths", &self.widths())?;
        share("evaluation.held-out", self.evaluation.held_out, false)?;
        at_least("evaluation.pretrain-windows", self.evaluation.pretrain_windows as u64, 1)?;
        at_least("evaluation.probe-tokens", self.evaluation.probe_tokens as u64, 1)?;
        at_least("rates", self.rates.len() as u64, 2)?;
        let count = self.rates.values().next().map_or(0, Vec::len);
        for (optimizer, of) in &self.rates {
            let field = format!("rates.{optimizer}");
            rates(&field, of)?;
            if of.len() != count || count < 2 || !of.is_sorted() {
                let expected = format!("{} learning rates, ascending, as of every optimizer", count.max(2));
                return Err(ExperimentError::value(field, format!("{of:?}"), expected));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lab::preset::{Preset as _, parse};

    use super::*;

    #[test]
    fn the_built_in_presets_are_valid_and_print_in_a_form_that_reads_back() {
        for (name, _) in FingerprintPreset::BUILT_IN {
            let preset = FingerprintPreset::find(name, &[]).unwrap();
            assert_eq!(parse::<FingerprintPreset>(&preset.to_toml(), "printed").unwrap(), preset);
        }
    }

    #[test]
    fn what_cannot_be_met_is_refused_by_its_field() {
        let refusal = |change: fn(&mut FingerprintPreset)| {
            let mut preset = FingerprintPreset::find("smoke", &[]).unwrap();
            change(&mut preset);
            preset.check().unwrap_err().to_string()
        };
        assert!(refusal(|p| p.ridge = 0.0).starts_with("ridge: found 0"));
        assert!(refusal(|p| p.decays.clear()).starts_with("decays: found none"));
        assert!(refusal(|p| p.decays = vec![0.1, 0.1]).starts_with("decays: found 0.1 twice"));
        assert!(refusal(|p| p.widths = vec![33]).starts_with("model.width: found 33"));
        assert!(refusal(|p| p.rates.retain(|name, _| *name == RuleName::Muon)).starts_with("rates: found 1"));
        assert!(refusal(|p| p.rates.get_mut(&RuleName::Muon).unwrap().truncate(1)).starts_with("rates."));
        assert!(refusal(|p| p.rates.values_mut().for_each(|of| of.reverse())).contains("ascending"));
    }
}
