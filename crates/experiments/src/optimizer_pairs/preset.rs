//! Presets of `optimizer-pairs`: a preset of `tradeoff` for network and checkpoints, and what to finetune them on.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use lab::error::Failure;
use models::Precision;
use models::optim::RuleName;
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};
use crate::ground::{Changes, pair};
use crate::parts::checks::{drawn, positive, sequences, steps};
use crate::parts::{CheckpointPreset, Machine, Origin, OwnText, Recipe, is_default};
use crate::stages::CODE;
use crate::tradeoff::{MethodPreset, TradeoffPreset};

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
    /// Steps after which a second checkpoint of the pair's second optimizer stops, chosen so that it ends at the loss
    /// of the first one's. The verdict is about that checkpoint then, and the whole one stands beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_steps: Option<u64>,
    /// Tasks that count as reasoning, from easy to hard: the verdict is about them.
    pub reasoning: Vec<String>,
    /// Tasks beside them, at the largest amount.
    #[serde(default)]
    pub others: Vec<String>,
    /// Numbers of finetuning examples, ascending.
    pub sizes: Vec<usize>,
    /// How often a run sees every example, ascending.
    pub epochs: Vec<u64>,
    /// Sequences of a step.
    pub sequences: usize,
    /// The most forgetting at which a learning rate may be chosen, nats per token: beyond, finetuning replaces what
    /// pretraining gave instead of building on it.
    pub regime: f64,
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

/// How much a finetuning sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount {
    /// Examples of the finetuning set.
    pub examples: usize,
    /// How often each is seen.
    pub epochs: u64,
}

impl Amount {
    /// Steps of so many sequences, one at least.
    pub fn steps(self, sequences: usize) -> u64 {
        (self.examples as u64 * self.epochs).div_ceil(sequences as u64).max(1)
    }
}

impl lab::preset::Preset for PairsPreset {
    const BUILT_IN: &'static [(&'static str, &'static str)] = &[
        ("smoke", include_str!("../../presets/optimizer-pairs/smoke.toml")),
        ("quick", include_str!("../../presets/optimizer-pairs/quick.toml")),
        ("standard", include_str!("../../presets/optimizer-pairs/standard.toml")),
        ("elicitation", include_str!("../../presets/optimizer-pairs/elicitation.toml")),
    ];

    fn validate(&self) -> Result<(), Failure> {
        Ok(self.check()?)
    }

    fn memory(&self) -> (u64, &'static str) {
        let experiments = self.experiments().unwrap_or_default();
        experiments.iter().map(|(_, preset)| lab::preset::Preset::memory(preset)).max().unwrap_or((0, ""))
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
        let (base, whole) = self.base()?;
        let tasks: Vec<String> = self.reasoning.iter().chain(&self.others).cloned().collect();
        base.check_tasks("reasoning and others", &tasks)?;
        // Else a chain of the test could be read in pretraining.
        let read = self.corpus.examples.iter().flat_map(|examples| &examples.tasks);
        if let Some(other) = read.into_iter().find(|task| !tasks.contains(task)) {
            let expected = format!("one of the tasks that are finetuned on: {}", tasks.join("; "));
            return Err(ExperimentError::value("corpus.examples.tasks", other, expected));
        }
        if self.reasoning.iter().any(|task| task == CODE) {
            return Err(ExperimentError::value("reasoning", CODE, "tasks with answers"));
        }
        let ascending = |numbers: &[u64]| {
            numbers.first().is_some_and(|&first| first > 0) && numbers.windows(2).all(|pair| pair[0] < pair[1])
        };
        let sizes: Vec<u64> = self.sizes.iter().map(|&size| size as u64).collect();
        for (field, numbers) in [("sizes", &sizes), ("epochs", &self.epochs)] {
            if !ascending(numbers) {
                return Err(ExperimentError::value(field, format!("{numbers:?}"), "ascending numbers from 1 on"));
            }
        }
        self.sizes.iter().try_for_each(|&size| drawn("sizes", size))?;
        self.epochs.iter().try_for_each(|&epochs| steps("epochs", epochs))?;
        sequences("sequences", self.sequences)?;
        positive("regime", self.regime)?;
        if self.decoded == 0 {
            return Err(ExperimentError::value("decoded", 0, "at least 1"));
        }
        for optimizer in pair(&base)?.map(|checkpoint| checkpoint.optimizer()).into_iter().flatten() {
            if !self.rates.contains_key(&optimizer) {
                let given = self.rates.keys().map(|optimizer| optimizer.as_str()).collect::<Vec<_>>().join(", ");
                return Err(ExperimentError::value("rates", given, format!("{optimizer} among them")));
            }
        }
        self.of_amounts(&base, whole.as_ref()).iter().try_for_each(|(_, preset)| preset.check())
    }

    /// Every size with every number of epochs, the largest last.
    pub fn amounts(&self) -> Vec<Amount> {
        let of_size = |&examples: &usize| self.epochs.iter().map(move |&epochs| Amount { examples, epochs });
        self.sizes.iter().flat_map(of_size).collect()
    }

    /// The largest amount, at which verdicts are read.
    pub fn largest(&self) -> Amount {
        let (examples, epochs) = (self.sizes.last().copied(), self.epochs.last().copied());
        Amount { examples: examples.unwrap_or_default(), epochs: epochs.unwrap_or_default() }
    }

    /// The base with its changes, and the whole checkpoint that stands beside the pair where the pair's second one is
    /// short.
    ///
    /// # Errors
    /// If the base cannot be read, or has no compared pair that is pretrained.
    pub fn base(&self) -> Result<(TradeoffPreset, Option<String>)> {
        let Self { seeds, device, precision, ref corpus, .. } = *self;
        let mut base = Changes { seeds, device, precision, corpus }.of(&self.base)?;
        let [first, second] = pair(&base)?.map(Clone::clone);
        base.checkpoints.retain(|checkpoint| [&first.name, &second.name].contains(&&checkpoint.name));
        base.checkpoints.iter_mut().for_each(|checkpoint| checkpoint.seeds = None);
        base.rescaled.clear();
        base.controls.clear();
        base.control_methods.clear();
        base.methods = self.rates.iter().map(|(&optimizer, rates)| MethodPreset::of(optimizer, rates)).collect();
        let mut whole = None;
        if let Some(short_steps) = self.short_steps {
            steps("short-steps", short_steps)?;
            let recipe = Recipe { steps: short_steps, ..second.recipe()?.clone() };
            base.control_methods = vec![recipe.optimizer.as_str().into()];
            let short = CheckpointPreset {
                name: format!("{}-short", second.name),
                origin: Origin::Pretrained(recipe),
                seeds: None,
            };
            base.pair = Some([first.name, short.name.clone()]);
            base.checkpoints.push(short);
            whole = Some(second.name);
        }
        base.finetune.sequences = self.sequences;
        base.finetune.along = 0;
        // What is compared is the task's loss, at a rate of the grid or between two of them.
        (base.refine, base.second_orders) = (None, 0);
        base.evaluation.task_examples = self.task_examples;
        base.evaluation.decoded = self.decoded;
        base.name.clone_from(&self.name);
        Ok((base, whole))
    }

    /// A preset of `tradeoff` for each amount. Below the largest only the pair is run, and only on the reasoning tasks.
    ///
    /// # Errors
    /// If the base cannot be read.
    pub fn experiments(&self) -> Result<Vec<(Amount, TradeoffPreset)>> {
        let (base, whole) = self.base()?;
        Ok(self.of_amounts(&base, whole.as_ref()))
    }

    fn of_amounts(&self, base: &TradeoffPreset, whole: Option<&String>) -> Vec<(Amount, TradeoffPreset)> {
        let of_amount = |amount: Amount| {
            let mut preset = base.clone();
            preset.evaluation.train_examples = amount.examples;
            preset.finetune.steps = amount.steps(self.sequences);
            preset.tasks = self.reasoning.clone();
            if amount == self.largest() {
                preset.tasks.extend(self.others.iter().cloned());
            } else {
                preset.checkpoints.retain(|checkpoint| Some(&checkpoint.name) != whole);
            }
            (amount, preset)
        };
        self.amounts().into_iter().map(of_amount).collect()
    }
}

#[cfg(test)]
mod tests {
    use lab::preset::{Preset as _, parse};

    use super::*;
    use crate::stages::Mixture;

    #[test]
    fn the_built_in_presets_are_valid_and_print_in_a_form_that_reads_back() {
        for (name, _) in PairsPreset::BUILT_IN {
            let preset = PairsPreset::find(name, &[]).unwrap();
            let back: PairsPreset = parse(&preset.to_toml(), "printed").unwrap();
            assert_eq!(back, preset);
        }
    }

    #[test]
    fn the_whole_checkpoint_is_finetuned_with_its_own_optimizer_only() {
        let preset = PairsPreset::find("standard", &[]).unwrap();
        let (_, largest) = preset.experiments().unwrap().pop().unwrap();
        let methods = |checkpoint: &str| largest.methods_from(checkpoint).map(|m| m.name.clone()).collect::<Vec<_>>();
        assert_eq!(largest.pair, Some(["adamw".into(), "muon-short".into()]));
        assert_eq!(methods("muon-short"), ["adamw", "muon"]);
        assert_eq!(methods("muon"), ["muon"]);
        let short = largest.checkpoint("muon-short").unwrap();
        assert_eq!(short.recipe().unwrap().steps, preset.short_steps.unwrap());
        // The same pretraining as the base's control.
        let base = TradeoffPreset::find("standard", &[]).unwrap();
        assert_eq!(short, base.checkpoint("muon-short").unwrap());
    }

    #[test]
    fn every_example_is_seen_as_often_as_asked() {
        assert_eq!(Amount { examples: 64, epochs: 4 }.steps(8), 32);
        assert_eq!(Amount { examples: 65, epochs: 1 }.steps(8), 9);
        assert_eq!(Amount { examples: 3, epochs: 1 }.steps(8), 1);
    }

    #[test]
    fn every_optimizer_can_be_one_of_the_pair() {
        let mut preset = PairsPreset::find("smoke", &[]).unwrap();
        for &optimizer in RuleName::ALL {
            preset.rates.insert(optimizer, vec![1e-3]);
        }
        preset.check().unwrap();
        assert_eq!(preset.experiments().unwrap()[0].1.methods.len(), RuleName::ALL.len());
    }

    #[test]
    fn the_whole_checkpoint_and_other_tasks_are_run_at_the_largest_amount_only() {
        let preset = PairsPreset::find("standard", &[]).unwrap();
        let experiments = preset.experiments().unwrap();
        let ((amount, largest), smaller) = experiments.split_last().unwrap();
        assert_eq!(*amount, preset.largest());
        assert_eq!(smaller.len() + 1, preset.sizes.len() * preset.epochs.len());
        for (_, experiment) in smaller {
            assert_eq!(experiment.tasks, preset.reasoning);
            assert_eq!(experiment.checkpoints.len(), 2);
        }
        assert_eq!(largest.tasks.len(), preset.reasoning.len() + preset.others.len());
        assert!(largest.checkpoint("muon").is_some());
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
        assert!(refusal(|p| p.epochs = vec![0]).starts_with("epochs: found [0]"));
        assert!(refusal(|p| p.regime = 0.0).starts_with("regime: "));
        assert!(refusal(|p| p.short_steps = Some(0)).starts_with("short-steps: "));
        assert!(refusal(|p| p.rates.get_mut(&RuleName::Muon).unwrap().clear()).contains("rates"));
        assert!(refusal(|p| drop(p.rates.remove(&RuleName::Muon))).starts_with("rates: found adamw, expected muon"));
        let mixed = |p: &mut PairsPreset| p.corpus.examples = Some(Mixture { tasks: vec!["math".into()], share: 0.1 });
        assert!(refusal(mixed).starts_with("corpus.examples.tasks: found math, expected one of"));
        assert!(refusal(|p| p.others = vec!["poems".into()]).starts_with("tasks: found poems"));
    }
}
