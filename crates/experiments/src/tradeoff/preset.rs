//! Presets of `tradeoff`: checkpoints, finetuning methods and tasks.

use std::num::NonZeroUsize;

use lab::error::Failure;
use models::Precision;
use serde::{Deserialize, Serialize};

use super::method::{FinetunePreset, MethodPreset};
use crate::error::{ExperimentError, Result};
use crate::parts::checks::{MOST_DRAWN, at_least, drawn, share, within};
use crate::parts::{
    CheckpointPreset, CorpusPreset, Machine, ModelPreset, Origin, PretrainPreset, Seeds, TaskFilePreset, is_default,
    step_memory,
};
use crate::stages::{Task, TaskSizes, TaskSource, TextSource};

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
        ("llama-7b", include_str!("../../presets/llama-7b.toml")),
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
        if let (true, Some(examples)) = (self.imports(), &self.corpus.examples) {
            let expected = "none where checkpoints are brought: nothing is pretrained";
            return Err(ExperimentError::value("corpus.examples", examples.tasks.join(", "), expected));
        }
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

#[cfg(test)]
mod tests {
    use lab::preset::{Preset as _, parse};
    use models::optim::{AdamW, Hyperparameters, Muon, MuonScale, RuleConfig, Sgd};

    use super::super::flags::brought;
    use super::*;
    use crate::parts::hyperparameters;

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
    fn alpha_is_twice_the_rank_unless_it_is_given() {
        let alpha = |preset: &TradeoffPreset| method(preset, "lora-4").lora().unwrap().alpha;
        assert_eq!(alpha(&preset("", "", "")), 8.0);
        assert_eq!(alpha(&preset("", "", "lora-alpha = 3.0")), 3.0);
        assert!(method(&preset("", "", ""), "adamw").lora().is_none());
    }
}
