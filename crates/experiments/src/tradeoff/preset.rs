//! Presets of `tradeoff`: checkpoints, finetuning methods and tasks.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use lab::error::Failure;
use lab::experiment::Flags;
use lab::preset::Change;
use models::Precision;
use models::lora::LoraConfig;
use models::optim::{Hyperparameters, Policy, RuleName, Scope};
use models::schedule::Decay;
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};
use crate::parts::checks::{
    MOST_DRAWN, at_least, cooldown, drawn, not_negative, positive, rates, sequences, share, steps, within,
};
use crate::parts::{
    CheckpointPreset, CorpusPreset, Machine, ModelPreset, Origin, PretrainPreset, Seeds, TaskFilePreset, TextFlags,
    hyperparameters, is_default, safe_name, step_memory,
};
use crate::stages::{Task, TaskSizes, TaskSource, TextSource, Training};

/// Finetuning, common to all methods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FinetunePreset {
    /// Steps.
    pub steps: u64,
    /// Sequences of a step.
    pub sequences: usize,
    /// As in pretraining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Schedule after the warmup; to zero, so that end points can be compared.
    pub decay: Decay,
    /// Share of the steps that warm up.
    pub warmup: f64,
    /// Bound on the gradient's norm.
    pub clip: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// As in pretraining, and apart from it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub optimizers: Hyperparameters,
    /// What full finetuning trains.
    pub scope: FinetuneScope,
    /// The optimizer's state at the start.
    pub state: InitialState,
    /// The learning rate of the weights that a rule for matrices leaves to AdamW, as a share of its own.
    pub rest_share: f64,
    /// Points along a run at which both losses are measured, for the figure only.
    pub along: u64,
    /// Whether the finetuned weights are kept in the run store.
    pub keep_weights: bool,
}

/// What full finetuning trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinetuneScope {
    /// All weights.
    All,
    /// The blocks' matrices only (an ablation).
    HiddenMatrices,
}

/// The optimizer's state at the start of finetuning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitialState {
    /// Zero.
    Fresh,
    /// Pretraining's, where the optimizer is the same; zero elsewhere.
    Carried,
}

/// A finetuning method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MethodPreset {
    /// Its name in results: an optimizer's, or `lora-RANK`.
    pub name: String,
    /// The optimizer.
    pub optimizer: RuleName,
    /// The rank, for LoRA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora_rank: Option<usize>,
    /// LoRA's alpha: the adapters' output is multiplied by alpha / rank. Twice the rank if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora_alpha: Option<f64>,
    /// The learning rate of the weights that a rule for matrices leaves to AdamW, as a share of its own.
    /// `finetune.rest-share` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_share: Option<f64>,
    /// The variant that this method belongs to: a way to finetune that differs from the preset's in one of the four
    /// fields below. Methods of a variant are compared with one another and take no part in the verdicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What a method of a variant trains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<FinetuneScope>,
    /// Sequences of a step, in a variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequences: Option<usize>,
    /// The optimizer's state at the start, in a variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<InitialState>,
    /// One learning rate of the weights outside the hidden matrices for all rates of these, in a variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_rate: Option<f64>,
    /// How many of the preset's seeds it is run with, from the first on. All if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u64>,
    /// Learning rates, one run each; `refine` adds others.
    pub rates: Vec<f64>,
}

impl MethodPreset {
    /// The method that is named like its optimizer.
    pub fn of(optimizer: RuleName, rates: &[f64]) -> Self {
        Self {
            name: optimizer.as_str().into(),
            optimizer,
            lora_rank: None,
            lora_alpha: None,
            rest_share: None,
            variant: None,
            scope: None,
            sequences: None,
            state: None,
            rest_rate: None,
            seeds: None,
            rates: rates.to_vec(),
        }
    }

    /// The adapters, for LoRA: on every linear map.
    pub fn lora(&self) -> Option<LoraConfig> {
        let config = LoraConfig::all(self.lora_rank?);
        Some(LoraConfig { alpha: self.lora_alpha.unwrap_or(config.alpha), ..config })
    }

    /// Which weights this method trains with which rule at a learning rate.
    pub fn policy(&self, rate: f64, finetune: &FinetunePreset) -> Policy {
        let (rules, decay) = (&finetune.optimizers, finetune.weight_decay);
        let share = self.rest_share.unwrap_or(finetune.rest_share);
        let in_step = if self.optimizer.matrices_only() { rate * share } else { rate };
        let rest_rate = self.rest_rate.unwrap_or(in_step);
        let scope = match (self.lora_rank, self.scope.unwrap_or(finetune.scope)) {
            (Some(_), _) => Scope::Adapters,
            (None, FinetuneScope::All) => Scope::All,
            (None, FinetuneScope::HiddenMatrices) => Scope::HiddenMatrices,
        };
        let (hidden, rest) = (rules.rule(self.optimizer, decay), rules.rest(self.optimizer, decay));
        Policy::hidden_and_rest(scope, hidden, rate, rest, rest_rate, rest_rate)
    }

    /// The training loop.
    pub fn training(&self, finetune: &FinetunePreset) -> Training {
        let training = finetune.training();
        Training { sequences: self.sequences.unwrap_or(training.sequences), ..training }
    }

    /// Checks every field for a network of so many features.
    fn validate(&self, width: usize) -> Result<()> {
        rates(&format!("rates of method {}", self.name), &self.rates)?;
        at_least("methods.seeds", self.seeds.unwrap_or(1), 1)?;
        sequences("methods.sequences", self.sequences.unwrap_or(1))?;
        positive("methods.rest-rate", self.rest_rate.unwrap_or(1.0))?;
        let differs =
            self.scope.is_some() || self.sequences.is_some() || self.state.is_some() || self.rest_rate.is_some();
        match &self.variant {
            None if differs => {
                let expected = format!("the name of a variant, since method {} is finetuned in its own way", self.name);
                return Err(ExperimentError::value("methods.variant", "none", expected));
            }
            Some(variant) if !differs => {
                let expected = "with scope, sequences, state or rest-rate, or no variant";
                return Err(ExperimentError::value("methods.variant", variant, expected));
            }
            _ => {}
        }
        if let Some(share) = self.rest_share {
            positive("methods.rest-share", share)?;
            if !self.optimizer.matrices_only() {
                let expected = format!("none for {}, which takes all weights", self.optimizer);
                return Err(ExperimentError::value("methods.rest-share", share, expected));
            }
        }
        let Some(rank) = self.lora_rank else {
            return match self.lora_alpha {
                Some(alpha) => {
                    Err(ExperimentError::value("methods.lora-alpha", alpha, "none where there is no lora-rank"))
                }
                None => Ok(()),
            };
        };
        if rank == 0 || rank > width {
            return Err(ExperimentError::value("methods.lora-rank", rank, format!("1 to the width, {width}")));
        }
        positive("methods.lora-alpha", self.lora_alpha.unwrap_or(1.0))?;
        if self.optimizer.matrices_only() {
            let expected = "an optimizer that takes all weights, for LoRA";
            return Err(ExperimentError::value("methods.optimizer", self.optimizer, expected));
        }
        Ok(())
    }
}

impl FinetunePreset {
    /// The training loop.
    pub fn training(&self) -> Training {
        Training {
            steps: self.steps,
            sequences: self.sequences,
            micro_batch: self.micro_batch,
            decay: self.decay,
            warmup: self.warmup,
            clip: self.clip,
        }
    }

    fn validate(&self) -> Result<()> {
        steps("finetune.steps", self.steps)?;
        sequences("finetune.sequences", self.sequences)?;
        sequences("finetune.micro-batch", self.micro_batch.unwrap_or(1))?;
        within("finetune.along", self.along, 0..=MOST_DRAWN)?;
        positive("finetune.clip", self.clip)?;
        positive("finetune.rest-share", self.rest_share)?;
        share("finetune.warmup", self.warmup, true)?;
        not_negative("finetune.weight-decay", self.weight_decay)?;
        hyperparameters("finetune", &self.optimizers)?;
        cooldown("finetune", self.decay)
    }
}

/// Which learning rates are added to a method's own: at each level of its comparisons the middle, in ln(rate), of the
/// two runs that bracket it, until these are close.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RefinePreset {
    /// The levels, as shares of the common learning.
    pub levels: Vec<f64>,
    /// The largest distance in task loss of the two runs, as a share of the common learning.
    pub gap: f64,
    /// The most rates that are added to a method for one comparison.
    pub most: usize,
}

impl RefinePreset {
    fn validate(&self) -> Result<()> {
        if self.levels.is_empty() || self.levels.iter().any(|level| !(*level > 0.0 && *level <= 1.0)) {
            let expected = "shares of the common learning, above 0 and at most 1";
            return Err(ExperimentError::value("refine.levels", format!("{:?}", self.levels), expected));
        }
        within("refine.most", self.most as u64, 1..=1000)?;
        share("refine.gap", self.gap, false)
    }
}

/// A checkpoint with the function of another and the weight scale of a third ([`models::rescale`]): what changes when
/// it is finetuned comes from the scale of its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RescaledPreset {
    /// Its name in results.
    pub name: String,
    /// The checkpoint that it is made from.
    pub checkpoint: String,
    /// The checkpoint whose weight scale it is given.
    pub like: String,
}

/// How losses and answers are measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EvaluationPreset {
    /// Share of the text that is held out, by file.
    pub held_out: f64,
    /// Held-out windows of pretraining text, each as long as the context.
    pub pretrain_windows: usize,
    /// Held-out windows of a text task (code).
    pub task_windows: usize,
    /// Held-out examples of a generated task.
    pub task_examples: usize,
    /// Held-out examples that are decoded for exact match.
    pub decoded: usize,
    /// Training examples of a generated task; runs longer than an epoch see them again.
    pub train_examples: usize,
}

impl EvaluationPreset {
    fn validate(&self) -> Result<()> {
        for (field, value) in [
            ("evaluation.pretrain-windows", self.pretrain_windows),
            ("evaluation.task-windows", self.task_windows),
            ("evaluation.task-examples", self.task_examples),
            ("evaluation.train-examples", self.train_examples),
        ] {
            drawn(field, value)?;
        }
        within("evaluation.decoded", self.decoded as u64, 0..=MOST_DRAWN)?;
        share("evaluation.held-out", self.held_out, false)
    }
}

/// Everything that decides the results of `tradeoff`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TradeoffPreset {
    /// The preset's name.
    pub name: String,
    /// Number of pretraining seeds. A verdict needs at least five.
    pub seeds: u64,
    /// The first of them. Seeds that served to choose anything report nothing, so a preset whose rates were chosen on
    /// some begins after these.
    #[serde(default, skip_serializing_if = "is_default")]
    pub first_seed: u64,
    /// How many of the seeds, from the first on, are finetuned a second time in another order of the data, by the
    /// methods that are run from every checkpoint: for the spread within a checkpoint.
    #[serde(default, skip_serializing_if = "is_default")]
    pub second_orders: u64,
    /// Tasks: `code`, a generated task with optional parameters (`math:max_steps=3`), or one of `task-files` by its
    /// name.
    pub tasks: Vec<String>,
    /// The two checkpoints that the verdicts compare; none where checkpoints are imported and not two of them have
    /// optimizers that are known and differ.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::parts::pair_or_none")]
    pub pair: Option<[String; 2]>,
    /// Pairs of checkpoints that tell the optimizer from loss and weight scale.
    #[serde(default, deserialize_with = "crate::parts::pairs")]
    pub controls: Vec<[String; 2]>,
    /// The methods that are run from checkpoints outside `pair`; none named means all.
    #[serde(default)]
    pub control_methods: Vec<String>,
    /// How much text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub corpus: CorpusPreset,
    /// In which numbers products of matrices are computed, in both stages.
    #[serde(default, skip_serializing_if = "is_default")]
    pub precision: Precision,
    /// Where networks are trained and measured.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device: Machine,
    /// The network.
    pub model: ModelPreset,
    /// Pretraining.
    pub pretrain: PretrainPreset,
    /// Finetuning.
    pub finetune: FinetunePreset,
    /// Learning rates that are added between those of the methods. None if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refine: Option<RefinePreset>,
    /// Measurements.
    pub evaluation: EvaluationPreset,
    /// The pretrainings, or checkpoints that were made elsewhere. Of the table `model`, these leave only `context`:
    /// no sequence is longer; the rest is their own, and `pretrain` is not used.
    pub checkpoints: Vec<CheckpointPreset>,
    /// Checkpoints made from these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rescaled: Vec<RescaledPreset>,
    /// The finetuning methods.
    pub methods: Vec<MethodPreset>,
    /// Tasks from files, which `tasks` names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub task_files: Vec<TaskFilePreset>,
}

impl lab::preset::Preset for TradeoffPreset {
    const BUILT_IN: &'static [(&'static str, &'static str)] = &[
        ("smoke", include_str!("../../presets/smoke.toml")),
        ("quick", include_str!("../../presets/quick.toml")),
        ("standard", include_str!("../../presets/standard.toml")),
        ("controls", include_str!("../../presets/controls.toml")),
        ("long", include_str!("../../presets/long.toml")),
        ("paper", include_str!("../../presets/paper.toml")),
    ];

    fn validate(&self) -> Result<(), Failure> {
        Ok(self.check()?)
    }

    fn memory(&self) -> (u64, &'static str) {
        // What is larger of a pretraining's step and a finetuning's.
        let at_a_time = |sequences: usize, micro: Option<usize>| micro.unwrap_or(sequences).min(sequences);
        let pretrain = at_a_time(self.pretrain.sequences, self.pretrain.micro_batch);
        let finetune = at_a_time(self.finetune.sequences, self.finetune.micro_batch);
        step_memory(&self.model.expected(), pretrain.max(finetune), self.precision, self.device)
    }

    fn default_jobs(&self) -> NonZeroUsize {
        self.device.default_jobs()
    }
}

impl TradeoffPreset {
    /// The pretraining behind the checkpoint of that name: its own, or that of the checkpoint it was rescaled from.
    pub fn checkpoint(&self, name: &str) -> Option<&CheckpointPreset> {
        let made = self.rescaled.iter().find(|rescaled| rescaled.name == name);
        let trained = made.map_or(name, |rescaled| rescaled.checkpoint.as_str());
        self.checkpoints.iter().find(|checkpoint| checkpoint.name == trained)
    }

    /// The names of all checkpoints, trained and rescaled.
    fn checkpoint_names(&self) -> Vec<&String> {
        let trained = self.checkpoints.iter().map(|checkpoint| &checkpoint.name);
        trained.chain(self.rescaled.iter().map(|rescaled| &rescaled.name)).collect()
    }

    /// The methods that are run from a checkpoint.
    pub fn methods_from<'a>(&'a self, checkpoint: &str) -> impl Iterator<Item = &'a MethodPreset> {
        let all = self.pair.as_ref().is_none_or(|pair| pair.iter().any(|name| name == checkpoint));
        self.methods.iter().filter(move |method| all || self.runs_everywhere(method))
    }

    /// Whether a method is run from every checkpoint, and not from those of the pair alone.
    pub fn runs_everywhere(&self, method: &MethodPreset) -> bool {
        method.variant.is_none() && (self.control_methods.is_empty() || self.control_methods.contains(&method.name))
    }

    /// Whether the checkpoints were made elsewhere.
    pub fn imports(&self) -> bool {
        self.checkpoints.iter().any(|checkpoint| matches!(checkpoint.origin, Origin::Imported { .. }))
    }

    /// The method that the others are compared with from a checkpoint that is in no pair: the one that matches its
    /// optimizer, or the first that is a full finetuning.
    pub fn reference_method(&self, checkpoint: &CheckpointPreset) -> Option<&MethodPreset> {
        let mut full = self.methods.iter().filter(|method| method.variant.is_none() && method.lora_rank.is_none());
        let matched = checkpoint.optimizer().and_then(|rule| full.clone().find(|m| m.name == rule.as_str()));
        matched.or_else(|| full.next()).or_else(|| self.methods.first())
    }

    /// The pretraining seeds.
    pub fn seeds(&self) -> Seeds {
        Seeds { first: self.first_seed, count: self.seeds }
    }

    /// The orders of the finetuning data in which a method is run with a seed.
    pub fn orders(&self, method: &MethodPreset, seed: u64) -> std::ops::Range<u64> {
        let second = self.runs_everywhere(method) && self.seeds().has(Some(self.second_orders), seed);
        0..1 + u64::from(second)
    }

    /// The pretraining text.
    pub fn text(&self) -> TextSource {
        self.corpus.source(self.model.vocabulary, self.model.context, self.evaluation.held_out)
    }

    /// How much of every task.
    pub fn task_sizes(&self) -> TaskSizes {
        TaskSizes {
            context: self.model.context,
            windows: self.evaluation.task_windows,
            examples: self.evaluation.task_examples,
            decoded: self.evaluation.decoded,
            train_examples: self.evaluation.train_examples,
        }
    }

    /// The task of that name.
    ///
    /// # Errors
    /// If there is none, with those that there are.
    pub fn task_source(&self, name: &str) -> Result<TaskSource> {
        match self.task_files.iter().find(|file| file.name == name) {
            Some(file) => Ok(TaskSource::File(file.source()?)),
            None => TaskSource::named(name, &self.task_files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>()),
        }
    }

    /// Checks that there are tasks, that all of them can be had, and that none is there twice, however it is written;
    /// `field` is where they stand.
    ///
    /// # Errors
    /// As [`task_source`](Self::task_source).
    pub fn check_tasks(&self, field: &str, tasks: &[String]) -> Result<()> {
        if tasks.is_empty() {
            return Err(ExperimentError::value(field, "none", "at least one"));
        }
        let mut seen: Vec<(&String, String)> = Vec::new();
        for task in tasks {
            // `math` and `math` with the parameters that it has anyway are the same.
            let same = match self.task_source(task)? {
                TaskSource::Generated(name) => {
                    let kind = name.split(':').next().unwrap_or(&name);
                    format!("{kind} {}", synthetic_lm::task(&name)?.parameters())
                }
                other => other.name().to_owned(),
            };
            if let Some((first, _)) = seen.iter().find(|(_, other)| *other == same) {
                let found =
                    if *first == task { format!("{task} twice") } else { format!("{first} and {task}, which are one") };
                return Err(ExperimentError::value(field, found, "distinct tasks"));
            }
            seen.push((task, same));
        }
        Ok(())
    }

    /// The tasks of these names, their files read, unless they are among those of `opened`.
    ///
    /// # Errors
    /// If one is unknown, or its file cannot be used.
    pub fn open_tasks(&self, names: &[String], opened: &[Task]) -> Result<Vec<Task>> {
        names.iter().map(|name| self.task_source(name)?.open(opened)).collect()
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<()> {
        self.seeds().check()?;
        self.device.check()?;
        self.corpus.validate()?;
        if self.imports() {
            at_least("model.context", self.model.context as u64, 1)?;
        } else {
            self.model.validate()?;
            self.pretrain.validate("pretrain")?;
        }
        self.finetune.validate()?;
        self.evaluation.validate()?;
        if let Some(refine) = &self.refine {
            refine.validate()?;
        }
        self.check_names()?;
        self.checkpoints.iter().try_for_each(CheckpointPreset::validate)?;
        // How wide an imported network is, its files say.
        let width = if self.imports() { usize::MAX } else { self.model.width };
        self.methods.iter().try_for_each(|method| method.validate(width))?;
        self.task_files.iter().try_for_each(TaskFilePreset::validate)?;
        for (place, file) in self.task_files.iter().enumerate() {
            let same =
                |other: &&TaskFilePreset| TaskFilePreset { name: file.name.clone(), ..(*other).clone() } == *file;
            if let Some(other) = self.task_files[..place].iter().find(same) {
                let expected = format!("another file than that of {}", other.name);
                return Err(ExperimentError::value(format!("task-files.{}", file.name), file.file.display(), expected));
            }
        }
        self.check_tasks("tasks", &self.tasks)
    }

    fn check_names(&self) -> Result<()> {
        for (field, names) in [
            ("checkpoints", self.checkpoint_names()),
            ("methods", self.methods.iter().map(|m| &m.name).collect()),
            ("task-files", self.task_files.iter().map(|file| &file.name).collect()),
        ] {
            let distinct: std::collections::BTreeSet<_> = names.iter().collect();
            if names.is_empty() && field != "task-files" {
                return Err(ExperimentError::value(field, "none", "at least one"));
            }
            if distinct.len() != names.len() {
                return Err(ExperimentError::value(field, "the same name twice", "distinct names"));
            }
        }
        for made in &self.rescaled {
            for (field, name) in [("rescaled.checkpoint", &made.checkpoint), ("rescaled.like", &made.like)] {
                if !self.checkpoints.iter().any(|checkpoint| checkpoint.name == *name && checkpoint.recipe().is_ok()) {
                    return Err(ExperimentError::value(field, name, "a checkpoint that is pretrained"));
                }
            }
        }
        let known: Vec<&str> = self.checkpoint_names().into_iter().map(String::as_str).collect();
        if let Some(own) = self.checkpoints.iter().find(|c| self.imports() && c.recipe().is_ok()) {
            let expected = "`from` in every checkpoint, or in none";
            return Err(ExperimentError::value("checkpoints", format!("{} without `from`", own.name), expected));
        }
        if self.pair.is_none() && (!self.imports() || !self.controls.is_empty()) {
            return Err(ExperimentError::value("pair", "none", "the names of two checkpoints"));
        }
        for name in self.pair.iter().flatten().chain(self.controls.iter().flatten()) {
            if !known.contains(&name.as_str()) {
                let expected = format!("a checkpoint: {}", known.join(", "));
                return Err(ExperimentError::value("pair or controls", name, expected));
            }
        }
        if let Some(unknown) =
            self.control_methods.iter().find(|name| !self.methods.iter().any(|method| method.name == **name))
        {
            return Err(ExperimentError::value("control-methods", unknown, "a method of this preset"));
        }
        if let Some([first, second]) = &self.pair
            && first == second
        {
            return Err(ExperimentError::value("pair", first, "two different checkpoints"));
        }
        let all =
            self.pair.iter().map(|pair| ("pair", pair)).chain(self.controls.iter().map(|pair| ("controls", pair)));
        for (field, [a, b]) in all {
            let optimizer = |name: &str| self.checkpoint(name).and_then(CheckpointPreset::optimizer);
            if optimizer(a) == optimizer(b) {
                let expected = "checkpoints of two optimizers: each is finetuned with its own and with the other's";
                return Err(ExperimentError::value(field, format!("{a}, {b}"), expected));
            }
        }
        for name in self.pair.iter().flatten().chain(self.controls.iter().flatten()) {
            let Some(matched) = self.checkpoint(name).and_then(CheckpointPreset::optimizer) else {
                let expected = "one whose `optimizer` is named, to be compared by it";
                return Err(ExperimentError::value("pair or controls", name, expected));
            };
            let matched = matched.as_str();
            if !self.methods.iter().any(|m| m.name == matched && m.optimizer.as_str() == matched && m.variant.is_none())
            {
                let expected = format!("a method `{matched}`, which matches checkpoint `{name}`");
                return Err(ExperimentError::value("methods", "none of that name", expected));
            }
            if !self.methods_from(name).any(|method| method.name == matched) {
                let expected = format!("`{matched}` among them, which matches checkpoint `{name}`");
                return Err(ExperimentError::value("control-methods", self.control_methods.join(", "), expected));
            }
        }
        Ok(())
    }
}

/// What full finetuning trains.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScopeFlag {
    /// All weights.
    All,
    /// The blocks' matrices only.
    HiddenMatrices,
}

/// The optimizer's state when finetuning starts.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum StateFlag {
    /// Zero.
    Fresh,
    /// Pretraining's, where the optimizer is the same.
    Carried,
}

/// The flags of `tradeoff` beside those of all programs.
#[derive(Debug, Clone, Args)]
pub struct TradeoffFlags {
    #[command(flatten)]
    text: TextFlags,
    /// A checkpoint of your own in place of pretraining: a folder in Hugging Face's layout (GPT-2, Llama, Mistral,
    /// Qwen2, Qwen3), or a .gguf file; may be repeated
    ///
    /// With the optimizer that made it, if that is known: adamw=FOLDER. Two with different optimizers give the
    /// consistency index. Its tokenizer is used for text and tasks. Seeds then draw data and orders alone
    #[arg(long, value_name = "[OPTIMIZER=]PATH")]
    checkpoint: Vec<String>,
    /// Tasks to finetune on, comma-separated: code, math, strings; parameters as in `math:max_steps=3`; files as in
    /// --task
    #[arg(long, value_name = "TASKS")]
    tasks: Option<String>,
    /// A .jsonl, .json, .csv or .parquet file of examples to finetune on, beside --tasks or in place of the preset's
    /// tasks; may be repeated
    ///
    /// Fields are those of a known layout (MetaMathQA, Alpaca, Magicoder, GSM8K, chat messages, prompt and completion),
    /// or named by templates in the preset. The task is called like the file
    #[arg(long, value_name = "FILE")]
    task: Vec<PathBuf>,
    /// Print the training example number N of every task, token by token with those that carry loss, and run nothing
    #[arg(long, value_name = "N")]
    show_example: Option<usize>,
    /// Finetuning methods to keep of the preset's, comma-separated; those of the compared pair must be among them
    #[arg(long, value_name = "METHODS", value_delimiter = ',')]
    methods: Vec<String>,
    /// What full finetuning trains [default: the preset's]
    #[arg(long, value_enum)]
    scope: Option<ScopeFlag>,
    /// The optimizer's state when finetuning starts [default: the preset's]
    #[arg(long, value_enum)]
    state: Option<StateFlag>,
    /// Weight decay of finetuning [default: the preset's]
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
}

impl Flags for TradeoffFlags {
    fn changes(&self) -> Vec<Change> {
        let mut changes = self.text.changes();
        changes.extend(brought(&self.checkpoint));
        let list = |items: Vec<String>| toml::Value::Array(items.into_iter().map(toml::Value::String).collect());
        let (mut names, mut files) = (Vec::new(), self.task.clone());
        for task in self.tasks.as_deref().map(split_tasks).unwrap_or_default() {
            match corpora::is_task_file(Path::new(&task)) {
                true => files.push(task.into()),
                false => names.push(task),
            }
        }
        for file in files {
            let name = safe_name(&file, &names);
            changes.push(Change::add("task-files", [("name", name.clone()), ("file", file.to_string_lossy().into())]));
            names.push(name);
        }
        if self.tasks.is_some() || !names.is_empty() {
            changes.push(Change::new("tasks", list(names)));
        }
        if !self.methods.is_empty() {
            changes.push(Change::keep("methods", self.methods.clone(), true));
            changes.push(Change::keep("control-methods", self.methods.clone(), false));
        }
        let name = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_string());
        let scope = name(self.scope.and_then(|scope| scope.to_possible_value()));
        let state = name(self.state.and_then(|state| state.to_possible_value()));
        changes.extend(scope.map(|scope| Change::new("finetune.scope", scope)));
        changes.extend(state.map(|state| Change::new("finetune.state", state)));
        changes.extend(self.weight_decay.map(|decay| Change::new("finetune.weight-decay", decay)));
        changes
    }
}

impl TradeoffFlags {
    /// The number of the example that is asked for.
    pub fn show_example(&self) -> Option<usize> {
        self.show_example
    }
}

/// The changes that make checkpoints of one's own the preset's.
fn brought(given: &[String]) -> Vec<Change> {
    if given.is_empty() {
        return Vec::new();
    }
    let mut names: Vec<String> = Vec::new();
    let (mut tables, mut known) = (Vec::new(), Vec::new());
    for text in given {
        let optimizer = text.split_once('=').filter(|(name, _)| name.parse::<RuleName>().is_ok());
        let (optimizer, path) = optimizer.map_or((None, text.as_str()), |(name, path)| (Some(name), path));
        let stem = optimizer.map_or_else(|| plain_name(path), str::to_owned);
        let taken = |name: &String| names.contains(name);
        let others = (2..).map(|number| format!("{stem}-{number}"));
        let name = std::iter::once(stem.clone()).chain(others).find(|name| !taken(name)).unwrap_or_default();
        let mut table = toml::Table::new();
        table.insert("name".into(), name.clone().into());
        table.insert("from".into(), path.into());
        if let Some(optimizer) = optimizer {
            table.insert("optimizer".into(), optimizer.into());
            known.push((optimizer, name.clone()));
        }
        names.push(name);
        tables.push(toml::Value::Table(table));
    }
    let pair = match known.as_slice() {
        [(a, first), (b, second)] if a != b => vec![first.clone(), second.clone()],
        _ => Vec::new(),
    };
    let none = || toml::Value::Array(Vec::new());
    vec![
        Change::new("checkpoints", toml::Value::Array(tables)),
        Change::new("pair", toml::Value::Array(pair.into_iter().map(toml::Value::String).collect())),
        Change::new("controls", none()),
        Change::new("control-methods", none()),
    ]
}

/// The last part of a path, without what a name in results cannot have.
fn plain_name(path: &str) -> String {
    let stem = std::path::Path::new(path).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name: String = stem
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect();
    if name.is_empty() { "checkpoint".into() } else { name }
}

/// Splits `code,math:max_steps=3,largest=50` at the commas that begin a task: those not followed by a parameter
/// `key=value`.
fn split_tasks(given: &str) -> Vec<String> {
    let mut tasks: Vec<String> = Vec::new();
    for piece in given.split(',') {
        match tasks.last_mut() {
            Some(last) if last.contains(':') && piece.contains('=') && !piece.contains(':') => {
                last.push(',');
                last.push_str(piece);
            }
            _ => tasks.push(piece.trim().to_string()),
        }
    }
    tasks
}

#[cfg(test)]
mod tests {
    use lab::preset::{Preset as _, parse};
    use models::optim::{AdamW, Muon, MuonScale, RuleConfig, Sgd};

    use super::*;

    /// The smoke preset with lines added to its stages and to its first method.
    fn preset(pretrain: &str, finetune: &str, method: &str) -> TradeoffPreset {
        let text = TradeoffPreset::find("smoke", &[]).unwrap().to_toml();
        let text = text.replacen("[pretrain]\n", &format!("[pretrain]\n{pretrain}\n"), 1);
        let text = text.replacen("[finetune]\n", &format!("[finetune]\n{finetune}\n"), 1);
        let text = text.replacen("lora-rank = 4\n", &format!("lora-rank = 4\n{method}\n"), 1);
        let preset: TradeoffPreset = parse(&text, "changed").unwrap();
        preset.validate().unwrap();
        assert_eq!(parse::<TradeoffPreset>(&preset.to_toml(), "printed").unwrap(), preset);
        preset
    }

    fn method<'a>(preset: &'a TradeoffPreset, name: &str) -> &'a MethodPreset {
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
        let pretraining = changed.checkpoint("muon").unwrap().recipe().unwrap().policy(&changed.pretrain);
        let scaled = Muon { scale: MuonScale::Original, weight_decay: decay, ..Muon::default() };
        assert_eq!(pretraining.groups[0].rule, RuleConfig::Muon(scaled));
        assert_eq!(
            pretraining.groups[1].rule,
            RuleConfig::AdamW(AdamW { beta2: 0.99, weight_decay: decay, ..AdamW::default() })
        );

        let finetuning = method(&changed, "muon").policy(1e-3, &changed.finetune);
        let weight_decay = changed.finetune.weight_decay;
        let slow = Muon { momentum: 0.5, nesterov: false, weight_decay, ..Muon::default() };
        assert_eq!(finetuning.groups[0].rule, RuleConfig::Muon(slow));
        assert_eq!(finetuning.groups[1].rule, method(&plain, "muon").policy(1e-3, &plain.finetune).groups[1].rule);
    }

    #[test]
    fn the_documented_table_is_read() {
        let guide = include_str!("../../../../docs/guide.md");
        let table = guide.split("```toml\n[finetune.optimizers]\n").nth(1).unwrap().split("```").next().unwrap();
        let read: Hyperparameters = parse(table, "guide").unwrap();
        hyperparameters("finetune", &read).unwrap();
        assert!(read.adamw != AdamW::default() && read.muon != Muon::default() && read.sgd != Sgd::default());
    }

    #[test]
    fn what_is_not_said_is_in_no_file_so_that_finished_stages_keep_their_ids() {
        let text = preset("", "", "").to_toml();
        assert!(!text.contains("optimizers") && !text.contains("lora-alpha"), "{text}");
    }

    #[test]
    fn a_share_for_the_rest_changes_the_rates_of_its_method_alone() {
        let rate = |preset: &TradeoffPreset, name: &str| {
            method(preset, name).policy(0.1, &preset.finetune).groups[1].learning_rate
        };
        let plain = preset("", "", "");
        let share = plain.finetune.rest_share;
        assert_eq!((rate(&plain, "muon"), rate(&plain, "adamw")), (0.1 * share, 0.1));
        let mut own = plain;
        own.methods.iter_mut().find(|method| method.name == "muon").unwrap().rest_share = Some(0.5);
        assert_eq!((rate(&own, "muon"), rate(&own, "adamw")), (0.05, 0.1));
        own.methods.iter_mut().find(|method| method.name == "adamw").unwrap().rest_share = Some(0.5);
        assert!(own.check().unwrap_err().to_string().starts_with("methods.rest-share: found 0.5"));
    }

    #[test]
    fn checkpoints_of_ones_own_take_the_place_of_the_presets() {
        let of = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
            let preset = TradeoffPreset::find("smoke", &brought(&given)).unwrap();
            assert_eq!(parse::<TradeoffPreset>(&preset.to_toml(), "printed").unwrap(), preset);
            preset
        };
        let one = of(&["models/smol lm.v2"]);
        assert!(one.imports() && one.pair.is_none());
        assert_eq!(one.checkpoints[0].name, "smol-lm");
        assert_eq!(one.reference_method(&one.checkpoints[0]).unwrap().name, "adamw");
        let two = of(&["muon=a/x", "adamw=b/x"]);
        assert_eq!(two.pair, Some(["muon".into(), "adamw".into()]));
        assert_eq!(two.reference_method(&two.checkpoints[0]).unwrap().name, "muon");
        let same = of(&["adamw=a/x", "adamw=b/x", "c=d"]);
        let names: Vec<&str> = same.checkpoints.iter().map(|c| c.name.as_str()).collect();
        assert_eq!((names, same.pair.clone()), (vec!["adamw", "adamw-2", "c=d".replace('=', "-").as_str()], None));
    }

    #[test]
    fn the_documented_preset_for_a_checkpoint_of_ones_own_is_valid() {
        let text = include_str!("../../../../docs/examples/own-checkpoint.toml");
        let preset: TradeoffPreset = parse(text, "own-checkpoint.toml").unwrap();
        preset.validate().unwrap();
        assert!(preset.imports() && preset.pair.is_none());
    }

    #[test]
    fn a_checkpoint_is_pretrained_here_or_made_elsewhere_and_nothing_between() {
        let text = TradeoffPreset::find("smoke", &[]).unwrap().to_toml();
        let refusal = |from: &str, to: &str| match parse::<TradeoffPreset>(&text.replacen(from, to, 1), "changed") {
            Ok(preset) => preset.check().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        let rate = "hidden-rate = 0.003\n";
        assert!(text.contains(rate), "{text}");
        assert!(refusal(rate, "").contains("checkpoint adamw: missing field `hidden-rate`"));
        assert!(refusal(rate, "hidden-rate = 0.003\nfrom = \"x\"\n").contains("expected none of hidden-rate"));
        let steps = "embedding-rate = 0.006\nsteps = 60\n";
        let imported = text.replacen(&format!("{rate}{steps}"), "from = \"x\"\n", 1);
        let message = parse::<TradeoffPreset>(&imported, "changed").unwrap().check().unwrap_err().to_string();
        assert!(message.starts_with("checkpoints: found muon without `from`"), "{message}");
        assert!(refusal("pair = [\"adamw\", \"muon\"]", "pair = []").starts_with("pair: found none"));
    }

    #[test]
    fn commas_divide_tasks_but_not_a_tasks_parameters() {
        assert_eq!(split_tasks("code,math"), ["code", "math"]);
        assert_eq!(split_tasks("math:max_steps=3,largest=50,code"), ["math:max_steps=3,largest=50", "code"]);
        assert_eq!(split_tasks("math:max_steps=3,strings:max_length=4"), ["math:max_steps=3", "strings:max_length=4"]);
    }

    #[test]
    fn alpha_is_twice_the_rank_unless_it_is_given() {
        let alpha = |preset: &TradeoffPreset| method(preset, "lora-4").lora().unwrap().alpha;
        assert_eq!(alpha(&preset("", "", "")), 8.0);
        assert_eq!(alpha(&preset("", "", "lora-alpha = 3.0")), 3.0);
        assert!(method(&preset("", "", ""), "adamw").lora().is_none());
    }
}
