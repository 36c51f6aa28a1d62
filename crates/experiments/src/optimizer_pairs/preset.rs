//! Presets of `optimizer-pairs`: a preset of `tradeoff` for network and checkpoints, and what to finetune them on.

use models::Hardware;
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};
use crate::preset::{MethodPreset, OptimizerName, Preset, find_toml};
use crate::tasks::{CODE, check_name};

/// The presets that come with the program: name and text.
const BUILT_IN: [(&str, &str); 3] = [
    ("smoke", include_str!("../../presets/optimizer-pairs/smoke.toml")),
    ("quick", include_str!("../../presets/optimizer-pairs/quick.toml")),
    ("standard", include_str!("../../presets/optimizer-pairs/standard.toml")),
];

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
    /// Numbers of finetuning examples, ascending. Below the largest only the pair is run, and only on the reasoning tasks.
    pub sizes: Vec<usize>,
    /// Steps of a finetuning.
    pub steps: u64,
    /// Sequences of a step.
    pub sequences: usize,
    /// Held-out examples of a generated task.
    pub task_examples: usize,
    /// Held-out examples that are decoded for exact match.
    pub decoded: usize,
    /// AdamW's learning rates.
    pub adamw_rates: Vec<f64>,
    /// Muon's learning rates.
    pub muon_rates: Vec<f64>,
    /// Where networks are trained: the command line's choice, no part of the file.
    #[serde(skip)]
    pub device: Hardware,
}

impl PairsPreset {
    /// The names of the presets that come with the program.
    pub fn names() -> Vec<&'static str> {
        BUILT_IN.iter().map(|(name, _)| *name).collect()
    }

    /// The built-in preset of that name, or the file at that path; checked.
    ///
    /// # Errors
    /// One line with file, line or field if it cannot be read or is not a preset.
    pub fn find(name: &str) -> Result<Self> {
        let preset: Self = find_toml(name, &BUILT_IN)?;
        preset.validate()?;
        Ok(preset)
    }

    /// The preset as TOML, in a form that [`find`](Self::find) reads.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a preset has only types that TOML knows")
    }

    /// Checks every field that the experiments themselves do not check.
    ///
    /// # Errors
    /// [`ExperimentError::Value`] with the first field that is out of range.
    pub fn validate(&self) -> Result<()> {
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
            preset.validate()?;
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
    pub fn experiments(&self) -> Result<Vec<Preset>> {
        let mut base = Preset::find(&self.base)?;
        if let Some(seeds) = self.seeds {
            base.seeds = seeds;
        }
        if let Some(control) = &self.control
            && base.checkpoint(control).is_none()
        {
            let known: Vec<&str> = base.checkpoints.iter().map(|c| c.name.as_str()).collect();
            return Err(ExperimentError::value("control", control, format!("a checkpoint: {}", known.join(", "))));
        }
        let pair = base.pair.clone();
        base.checkpoints.retain(|c| pair.contains(&c.name) || self.control.as_ref() == Some(&c.name));
        let method = |optimizer: OptimizerName, rates: &[f64]| MethodPreset {
            name: optimizer.as_str().into(),
            optimizer,
            lora_rank: None,
            lora_alpha: None,
            scope: None,
            rates: rates.to_vec(),
        };
        base.methods =
            vec![method(OptimizerName::AdamW, &self.adamw_rates), method(OptimizerName::Muon, &self.muon_rates)];
        base.controls.clear();
        base.control_methods.clear();
        if let Some(control) = self.control.as_deref().and_then(|name| base.checkpoint(name)) {
            base.control_methods = vec![control.optimizer.as_str().into()];
        }
        base.finetune.steps = self.steps;
        base.finetune.sequences = self.sequences;
        base.finetune.along = 0;
        base.evaluation.task_examples = self.task_examples;
        base.evaluation.decoded = self.decoded;
        base.name = self.name.clone();
        base.device = self.device;
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
    use crate::preset::parse_toml;

    #[test]
    fn the_built_in_presets_are_valid_and_print_in_a_form_that_reads_back() {
        for name in PairsPreset::names() {
            let preset = PairsPreset::find(name).unwrap();
            let back: PairsPreset = parse_toml(&preset.to_toml(), "printed").unwrap();
            assert_eq!(back, preset);
        }
    }

    #[test]
    fn a_control_is_finetuned_with_its_own_optimizer_only() {
        let preset = PairsPreset::find("standard").unwrap();
        let experiment = &preset.experiments().unwrap()[0];
        let methods =
            |checkpoint: &str| experiment.methods_from(checkpoint).map(|m| m.name.clone()).collect::<Vec<_>>();
        assert_eq!(methods("muon-short"), ["muon"]);
        assert_eq!(methods("muon"), ["adamw", "muon"]);
    }

    #[test]
    fn controls_and_other_tasks_are_run_at_the_largest_size_only() {
        let preset = PairsPreset::find("standard").unwrap();
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
            let mut preset = PairsPreset::find("smoke").unwrap();
            change(&mut preset);
            preset.validate().unwrap_err().to_string()
        };
        assert!(refusal(|p| p.reasoning.clear()).starts_with("reasoning: "));
        assert!(refusal(|p| p.reasoning = vec!["code".into()]).starts_with("reasoning: "));
        assert!(refusal(|p| p.sizes = vec![20, 10]).starts_with("sizes: "));
        assert!(refusal(|p| p.decoded = 0).starts_with("decoded: "));
        assert!(refusal(|p| p.control = Some("sgd".into())).starts_with("control: found sgd"));
        assert!(refusal(|p| p.muon_rates.clear()).contains("rates"));
        assert!(refusal(|p| p.others = vec!["poems".into()]).starts_with("tasks: found poems"));
    }
}
