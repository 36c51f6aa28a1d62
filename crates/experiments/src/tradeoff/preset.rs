//! Presets of `tradeoff`: checkpoints, finetuning methods and tasks.

use std::num::NonZeroUsize;

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
    CheckpointPreset, CorpusPreset, Machine, ModelPreset, PretrainPreset, Seeds, TextFlags, hyperparameters,
    is_default, step_memory,
};
use crate::stages::{TaskSizes, TextSource, Training, check_tasks};

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
    /// Tasks: `code`, or a generated task with optional parameters (`math:max_steps=3`).
    pub tasks: Vec<String>,
    /// The two checkpoints that the verdicts compare.
    #[serde(deserialize_with = "crate::parts::pair")]
    pub pair: [String; 2],
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
    /// The pretrainings.
    pub checkpoints: Vec<CheckpointPreset>,
    /// The finetuning methods.
    pub methods: Vec<MethodPreset>,
}

impl lab::preset::Preset for TradeoffPreset {
    const BUILT_IN: &'static [(&'static str, &'static str)] = &[
        ("smoke", include_str!("../../presets/smoke.toml")),
        ("quick", include_str!("../../presets/quick.toml")),
        ("standard", include_str!("../../presets/standard.toml")),
        ("controls", include_str!("../../presets/controls.toml")),
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
    /// The checkpoint of that name.
    pub fn checkpoint(&self, name: &str) -> Option<&CheckpointPreset> {
        self.checkpoints.iter().find(|checkpoint| checkpoint.name == name)
    }

    /// The methods that are run from a checkpoint.
    pub fn methods_from<'a>(&'a self, checkpoint: &str) -> impl Iterator<Item = &'a MethodPreset> {
        let all = self.pair.iter().any(|name| name == checkpoint);
        self.methods.iter().filter(move |method| all || self.runs_everywhere(method))
    }

    /// Whether a method is run from every checkpoint, and not from those of the pair alone.
    pub fn runs_everywhere(&self, method: &MethodPreset) -> bool {
        method.variant.is_none() && (self.control_methods.is_empty() || self.control_methods.contains(&method.name))
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
        let CorpusPreset { file, tokenizer, prose_bytes, code_bytes } = self.corpus.clone();
        let (vocabulary, held_out) = (self.model.vocabulary, self.evaluation.held_out);
        TextSource { file, tokenizer, prose_bytes, code_bytes, vocabulary, held_out }
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
        self.finetune.validate()?;
        self.evaluation.validate()?;
        if let Some(refine) = &self.refine {
            refine.validate()?;
        }
        self.check_names()?;
        self.checkpoints.iter().try_for_each(CheckpointPreset::validate)?;
        self.methods.iter().try_for_each(|method| method.validate(self.model.width))?;
        check_tasks("tasks", &self.tasks)
    }

    fn check_names(&self) -> Result<()> {
        for (field, names) in [
            ("checkpoints", self.checkpoints.iter().map(|c| &c.name).collect::<Vec<_>>()),
            ("methods", self.methods.iter().map(|m| &m.name).collect()),
        ] {
            let distinct: std::collections::BTreeSet<_> = names.iter().collect();
            if names.is_empty() {
                return Err(ExperimentError::value(field, "none", "at least one"));
            }
            if distinct.len() != names.len() {
                return Err(ExperimentError::value(field, "the same name twice", "distinct names"));
            }
        }
        let known: Vec<&str> = self.checkpoints.iter().map(|c| c.name.as_str()).collect();
        for name in self.pair.iter().chain(self.controls.iter().flatten()) {
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
        if self.pair[0] == self.pair[1] {
            return Err(ExperimentError::value("pair", &self.pair[0], "two different checkpoints"));
        }
        for (field, [a, b]) in
            std::iter::once(("pair", &self.pair)).chain(self.controls.iter().map(|c| ("controls", c)))
        {
            let optimizer = |name: &str| self.checkpoint(name).map(|checkpoint| checkpoint.optimizer);
            if optimizer(a) == optimizer(b) {
                let expected = "checkpoints of two optimizers: each is finetuned with its own and with the other's";
                return Err(ExperimentError::value(field, format!("{a}, {b}"), expected));
            }
        }
        for name in self.pair.iter().chain(self.controls.iter().flatten()) {
            let matched = self.checkpoint(name).map_or("", |c| c.optimizer.as_str());
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
    /// Tasks to finetune on, comma-separated: code, math, strings; parameters as in `math:max_steps=3`
    #[arg(long, value_name = "TASKS")]
    tasks: Option<String>,
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
        let list = |items: Vec<String>| toml::Value::Array(items.into_iter().map(toml::Value::String).collect());
        changes.extend(self.tasks.as_deref().map(|tasks| Change::new("tasks", list(split_tasks(tasks)))));
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
        let pretraining = changed.checkpoint("muon").unwrap().policy(&changed.pretrain);
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
