//! The flags of `tradeoff`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use lab::experiment::Flags;
use lab::preset::Change;
use models::optim::RuleName;

use crate::parts::{TextFlags, safe_name};

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

/// What is kept of finetuned networks.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum KeepFlag {
    /// The weights of every run, LoRA's adapters merged into them, as Transformers opens them.
    Weights,
    /// The adapters of every run with LoRA, as PEFT opens them, in place of merged weights.
    Adapters,
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
    /// Checkpoints to keep of the preset's, comma-separated; those of the compared pair must be among them
    #[arg(long, value_name = "CHECKPOINTS", value_delimiter = ',', conflicts_with = "checkpoint")]
    checkpoints: Vec<String>,
    /// What full finetuning trains [default: the preset's]
    #[arg(long, value_enum)]
    scope: Option<ScopeFlag>,
    /// The optimizer's state when finetuning starts [default: the preset's]
    #[arg(long, value_enum)]
    state: Option<StateFlag>,
    /// Keep finetuned networks in the run store, comma-separated [default: the preset's, which is nothing]
    #[arg(long, value_enum, value_delimiter = ',')]
    keep: Vec<KeepFlag>,
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
        if !self.checkpoints.is_empty() {
            changes.push(Change::keep("checkpoints", self.checkpoints.clone(), true));
            changes.push(Change::keep("controls", self.checkpoints.clone(), false));
        }
        let name = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_string());
        let scope = name(self.scope.and_then(|scope| scope.to_possible_value()));
        let state = name(self.state.and_then(|state| state.to_possible_value()));
        changes.extend(scope.map(|scope| Change::new("finetune.scope", scope)));
        changes.extend(state.map(|state| Change::new("finetune.state", state)));
        changes.extend(self.keep.iter().map(|keep| match keep {
            KeepFlag::Weights => Change::new("finetune.keep-weights", true),
            KeepFlag::Adapters => Change::new("finetune.keep-adapters", true),
        }));
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
pub(super) fn brought(given: &[String]) -> Vec<Change> {
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
    use super::*;

    #[test]
    fn commas_divide_tasks_but_not_a_tasks_parameters() {
        assert_eq!(split_tasks("code,math"), ["code", "math"]);
        assert_eq!(split_tasks("math:max_steps=3,largest=50,code"), ["math:max_steps=3,largest=50", "code"]);
        assert_eq!(split_tasks("math:max_steps=3,strings:max_length=4"), ["math:max_steps=3", "strings:max_length=4"]);
    }
}
