//! Presets of `optimizer-pairs`: a preset of `tradeoff` for network and checkpoints, and what to finetune them on.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use lab::error::Failure;
use lab::preset::Preset as _;
use models::Precision;
use models::optim::RuleName;
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};
use crate::parts::{Machine, is_default};
use crate::stages::{CODE, check_name};
use crate::tradeoff::{MethodPreset, TradeoffPreset};

/// Text and tokenizer of one's own, in place of the base's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OwnText {
    /// Pretraining text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// A `tokenizer.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
}

/// Everything that decides the results of `optimizer-pairs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PairsPreset {
    /// The preset's name.
    pub name: String,
    /// The preset of `tradeoff` whose network, pretraining, compared pair and seeds are taken: its name or file.
    pub base: String,
    /// Pretraining seeds, where they are not the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u64>,
    /// A checkpoint of the base that is finetuned with its own optimizer only, as a control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// Tasks that count as reasoning, from easy to hard: the verdict is about them.
    pub reasoning: Vec<String>,
    /// Tasks beside them, at the largest size.
    #[serde(default)]
    pub others: Vec<String>,
    /// Numbers of finetuning examples, ascending. Below the largest only the pair is run, and only on the reasoning
    /// tasks.
    pub sizes: Vec<usize>,
    /// Steps of a finetuning.
    pub steps: u64,
    /// Sequences of a step.
    pub sequences: usize,
    /// Held-out examples of a generated task.
    pub task_examples: usize,
    /// Held-out examples that are decoded for exact match.
    pub decoded: usize,
    /// Where networks are trained.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device: Machine,
    /// In which numbers products of matrices are computed, where it is not as the base says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// The text, where it is not the base's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub corpus: OwnText,
    /// The optimizers that every checkpoint of the pair is finetuned with, each with its learning rates.
    pub rates: BTreeMap<RuleName, Vec<f64>>,
}

impl lab::preset::Preset for PairsPreset {
    const BUILT_IN: &'static [(&'static str, &'static str)] = &[
        ("smoke", include_str!("../../presets/optimizer-pairs/smoke.toml")),
        ("quick", include_str!("../../presets/optimizer-pairs/quick.toml")),
        ("standard", include_str!("../../presets/optimizer-pairs/standard.toml")),
    ];

    fn validate(&self) -> Result<(), Failure> {
        Ok(self.check()?)
    }

    fn default_jobs(&self) -> NonZeroUsize {
        self.device.default_jobs()
    }
}

impl PairsPreset {
    /// Checks every field that the experiments themselves do not check.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<()> {
        if self.reasoning.is_empty() {
            return Err(ExperimentError::value("reasoning", "no task", "at least one"));
        }
        for task in self.reasoning.iter().chain(&self.others) {
            check_name(task)?;
        }
        if self.reasoning.iter().any(|task| task == CODE) {
            return Err(ExperimentError::value("reasoning", CODE, "tasks with answers"));
        }
        let ascending = self.sizes.windows(2).all(|pair| pair[0] < pair[1]);
        if self.sizes.first().is_none_or(|&size| size == 0) || !ascending {
            return Err(ExperimentError::value("sizes", format!("{:?}", self.sizes), "ascending numbers from 1 on"));
        }
        if self.decoded == 0 {
            return Err(ExperimentError::value("decoded", 0, "at least 1"));
        }
        for preset in self.experiments()? {
            preset.check()?;
        }
        Ok(())
    }

    /// The largest size, at which verdicts are read.
    pub fn largest(&self) -> usize {
        self.sizes.last().copied().unwrap_or_default()
    }

    /// A preset of `tradeoff` for each size.
    ///
    /// # Errors
    /// If the base cannot be read or lacks the control.
    pub fn experiments(&self) -> Result<Vec<TradeoffPreset>> {
        let mut base = TradeoffPreset::find(&self.base, &[])?;
        if let Some(seeds) = self.seeds {
            base.seeds = seeds;
        }
        if let Some(control) = &self.control
            && base.checkpoint(control).is_none()
        {
            let known: Vec<&str> = base.checkpoints.iter().map(|c| c.name.as_str()).collect();
            return Err(ExperimentError::value("control", control, format!("a checkpoint: {}", known.join(", "))));
        }
        base.checkpoints.iter().try_for_each(|checkpoint| checkpoint.recipe().map(drop))?;
        let none = || ExperimentError::value("pair", "none", "the names of two checkpoints");
        let pair = base.pair.clone().ok_or_else(none)?;
        base.checkpoints.retain(|c| pair.contains(&c.name) || self.control.as_ref() == Some(&c.name));
        base.checkpoints.iter_mut().for_each(|checkpoint| checkpoint.seeds = None);
        base.methods = self.rates.iter().map(|(&optimizer, rates)| MethodPreset::of(optimizer, rates)).collect();
        base.controls.clear();
        base.control_methods.clear();
        if let Some(control) = self.control.as_deref().and_then(|name| base.checkpoint(name)) {
            base.control_methods = vec![control.recipe()?.optimizer.as_str().into()];
        }
        base.finetune.steps = self.steps;
        base.finetune.sequences = self.sequences;
        base.finetune.along = 0;
        // One run a rate: what is compared is the task's loss at a chosen rate, not forgetting between rates.
        (base.refine, base.second_orders) = (None, 0);
        base.evaluation.task_examples = self.task_examples;
        base.evaluation.decoded = self.decoded;
        base.name = self.name.clone();
        base.device = self.device;
        base.precision = self.precision.unwrap_or(base.precision);
        base.corpus.file = self.corpus.file.clone().or(base.corpus.file);
        base.corpus.tokenizer = self.corpus.tokenizer.clone().or(base.corpus.tokenizer);
        let of_size = |&size: &usize| {
            let mut preset = base.clone();
            preset.evaluation.train_examples = size;
            preset.tasks = self.reasoning.clone();
            if size == self.largest() {
                preset.tasks.extend(self.others.iter().cloned());
            } else {
                preset.checkpoints.retain(|c| pair.contains(&c.name));
            }
            preset
        };
        Ok(self.sizes.iter().map(of_size).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::preset::parse;

    #[test]
    fn the_built_in_presets_are_valid_and_print_in_a_form_that_reads_back() {
        for (name, _) in PairsPreset::BUILT_IN {
            let preset = PairsPreset::find(name, &[]).unwrap();
            let back: PairsPreset = parse(&preset.to_toml(), "printed").unwrap();
            assert_eq!(back, preset);
        }
    }

    #[test]
    fn a_control_is_finetuned_with_its_own_optimizer_only() {
        let preset = PairsPreset::find("standard", &[]).unwrap();
        let experiment = &preset.experiments().unwrap()[0];
        let methods =
            |checkpoint: &str| experiment.methods_from(checkpoint).map(|m| m.name.clone()).collect::<Vec<_>>();
        assert_eq!(methods("muon-short"), ["muon"]);
        assert_eq!(methods("muon"), ["adamw", "muon"]);
    }

    #[test]
    fn every_optimizer_can_be_one_of_the_pair() {
        let mut preset = PairsPreset::find("smoke", &[]).unwrap();
        for &optimizer in RuleName::ALL {
            preset.rates.insert(optimizer, vec![1e-3]);
        }
        preset.check().unwrap();
        assert_eq!(preset.experiments().unwrap()[0].methods.len(), RuleName::ALL.len());
    }

    #[test]
    fn controls_and_other_tasks_are_run_at_the_largest_size_only() {
        let preset = PairsPreset::find("standard", &[]).unwrap();
        let experiments = preset.experiments().unwrap();
        let (largest, smaller) = experiments.split_last().unwrap();
        assert!(!smaller.is_empty());
        for experiment in smaller {
            assert_eq!(experiment.tasks, preset.reasoning);
            assert_eq!(experiment.checkpoints.len(), 2);
        }
        assert_eq!(largest.tasks.len(), preset.reasoning.len() + preset.others.len());
        assert!(largest.checkpoint("muon-short").is_some());
    }

    #[test]
    fn what_cannot_be_met_is_refused_by_its_field() {
        let refusal = |change: fn(&mut PairsPreset)| {
            let mut preset = PairsPreset::find("smoke", &[]).unwrap();
            change(&mut preset);
            preset.check().unwrap_err().to_string()
        };
        assert!(refusal(|p| p.reasoning.clear()).starts_with("reasoning: "));
        assert!(refusal(|p| p.reasoning = vec!["code".into()]).starts_with("reasoning: "));
        assert!(refusal(|p| p.sizes = vec![20, 10]).starts_with("sizes: "));
        assert!(refusal(|p| p.decoded = 0).starts_with("decoded: "));
        assert!(refusal(|p| p.control = Some("sgd".into())).starts_with("control: found sgd"));
        assert!(refusal(|p| p.rates.get_mut(&RuleName::Muon).unwrap().clear()).contains("rates"));
        assert!(refusal(|p| drop(p.rates.remove(&RuleName::Muon))).starts_with("methods: "));
        assert!(refusal(|p| p.others = vec!["poems".into()]).starts_with("tasks: found poems"));
    }
}
