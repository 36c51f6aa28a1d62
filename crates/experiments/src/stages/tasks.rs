//! The tasks that checkpoints are finetuned on, as token data: what to train on, what to measure on.

use std::sync::Arc;

use lab::{hash, seeds};
use models::data::{BatchSource, Instruction, Instructions, PackedText};
use models::{Batch, Tokenizer, Transformer, generate};
use serde::Serialize;
use synthetic_lm::Example;

use super::EVALUATION_ROWS;
use super::tokens::CodeTokens;
use crate::error::{ExperimentError, Result};

/// The task of going on with Rust code.
pub const CODE: &str = "code";

/// Seed of all task data: they are the same for every run. Seeds of runs differ in their order.
const DATA_SEED: u64 = 0;

/// The names that `--tasks` accepts.
pub fn known() -> Vec<&'static str> {
    std::iter::once(CODE).chain(synthetic_lm::task_names()).collect()
}

/// Checks that a task exists and that its parameters are in range.
///
/// # Errors
/// [`LabError::Value`](lab::error::LabError::Value) with the known tasks, or the task's own complaint.
pub fn check_name(task: &str) -> Result<()> {
    if task == CODE {
        return Ok(());
    }
    match synthetic_lm::task(task) {
        Ok(_) => Ok(()),
        Err(synthetic_lm::Error::Unknown { found, .. }) => {
            Err(ExperimentError::value("tasks", found, format!("one of {}", known().join(", "))))
        }
        Err(other) => Err(other.into()),
    }
}

/// How much of a task is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskSizes {
    /// Longest sequence in tokens.
    pub context: usize,
    /// Held-out windows of a text task (code).
    pub windows: usize,
    /// Held-out examples of a generated task.
    pub examples: usize,
    /// Held-out examples that are decoded for exact match.
    pub decoded: usize,
    /// Training examples of a generated task.
    pub train_examples: usize,
}

/// What of a task decides a result.
#[derive(Debug, Clone, Serialize)]
pub struct TaskKey {
    /// Identifies the text or the examples, training and held out: if the generator changes, this does.
    data: String,
    /// Longest sequence in tokens; longer examples are left out.
    context: usize,
    /// Held-out windows, for text.
    windows: Option<usize>,
    /// Decoded answers, for examples.
    decoded: Option<usize>,
}

/// A task's data in tokens.
pub struct TaskData {
    name: String,
    train: Training,
    held_out: Vec<Batch>,
    key: TaskKey,
    left_out: usize,
    answers: Option<Answers>,
}

enum Training {
    Text(Arc<[u32]>),
    Examples(Arc<[Instruction]>),
}

/// What exact match needs.
struct Answers {
    task: Box<dyn synthetic_lm::Task>,
    examples: Vec<Example>,
    prompts: Vec<Vec<u32>>,
    limit: usize,
    tokenizer: Tokenizer,
}

impl TaskData {
    /// Makes the data of `task`, in the tokens of `tokenizer`; `code` is what the task [`CODE`] needs.
    ///
    /// # Errors
    /// If the task is unknown, has fewer instances than asked for, or more than 10 % of its examples are longer than
    /// the context (fewer are left out).
    pub fn prepare(task: &str, sizes: &TaskSizes, tokenizer: &Tokenizer, code: Option<&CodeTokens>) -> Result<Self> {
        let name = task.to_string();
        let context = sizes.context;
        if task == CODE {
            let code = code.ok_or_else(|| ExperimentError::value("tasks", task, "text that has it"))?;
            let held_out = PackedText::new(code.held_out.clone(), context, 0)?;
            let held_out = held_out.spread(sizes.windows, EVALUATION_ROWS)?;
            let train = Training::Text(code.train.clone());
            let key = TaskKey { data: code.id.to_string(), context, windows: Some(sizes.windows), decoded: None };
            return Ok(Self { name, train, held_out, key, left_out: 0, answers: None });
        }
        let generator = synthetic_lm::task(task)?;
        let seed = seeds::stream(DATA_SEED, &format!("task {task}"));
        let split = generator.generate(seed, sizes.train_examples, sizes.examples)?;
        let data = fingerprint(&split, &generator.parameters());
        let all = split.train.len() + split.test.len();
        let (train, _) = fitting(tokenizer, split.train, context)?;
        let (test, examples) = fitting(tokenizer, split.test, context)?;
        let (train, test): (Arc<[Instruction]>, Arc<[Instruction]>) = (train.into(), test.into());
        let longest = train.iter().chain(test.iter()).map(|e| e.completion.len()).max().unwrap_or(1);
        Instructions::new(train.clone(), context, 0)?;
        let held_out = Instructions::new(test.clone(), context, 0)?.in_order(EVALUATION_ROWS)?;
        let left_out = all - train.len() - test.len();
        let decoded = sizes.decoded.min(test.len());
        let answers = Answers {
            task: generator,
            examples: examples[..decoded].to_vec(),
            prompts: test[..decoded].iter().map(|example| example.prompt.clone()).collect(),
            limit: longest,
            tokenizer: tokenizer.clone(),
        };
        let key = TaskKey { data, context, windows: None, decoded: Some(sizes.decoded) };
        Ok(Self { name, train: Training::Examples(train), held_out, key, left_out, answers: Some(answers) })
    }

    /// The task as it was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What of the task decides a result.
    pub fn key(&self) -> TaskKey {
        self.key.clone()
    }

    /// Examples that are longer than the context and therefore left out.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Tokens of all held-out rows.
    pub fn held_out_tokens(&self) -> usize {
        self.held_out.iter().map(|batch| batch.ids().len()).sum()
    }

    /// The training batches in an order drawn from `seed`.
    ///
    /// # Errors
    /// If the data do not make one batch.
    pub fn source(&self, context: usize, seed: u64) -> Result<Box<dyn BatchSource>> {
        let order = seeds::stream(seed, "finetuning order");
        Ok(match &self.train {
            Training::Text(tokens) => Box::new(PackedText::new(tokens.clone(), context, order)?),
            Training::Examples(examples) => Box::new(Instructions::new(examples.clone(), context, order)?),
        })
    }

    /// L_task: the mean loss on held-out target tokens, in nats.
    ///
    /// # Errors
    /// If the model cannot run on the data.
    pub fn loss(&self, model: &Transformer) -> Result<f64> {
        Ok(models::mean_loss(model, &self.held_out)?)
    }

    /// A_task: the share of greedily decoded answers that are right; `None` for a task without answers.
    ///
    /// # Errors
    /// If the model cannot run on the data.
    pub fn exact_match(&self, model: &Transformer) -> Result<Option<f64>> {
        let Some(answers) = self.answers.as_ref().filter(|answers| !answers.prompts.is_empty()) else {
            return Ok(None);
        };
        let end = answers.tokenizer.end_of_text();
        let generated = generate::greedy(model, &answers.prompts, end, answers.limit)?;
        let mut right = 0;
        for (tokens, example) in generated.iter().zip(&answers.examples) {
            right += usize::from(answers.task.is_correct(&answers.tokenizer.decode(tokens)?, example));
        }
        Ok(Some(right as f64 / answers.examples.len() as f64))
    }
}

/// The SHA-256 of all examples and the task's parameters.
fn fingerprint(split: &synthetic_lm::Split, parameters: &serde_json::Value) -> String {
    let mut text = parameters.to_string();
    for example in split.train.iter().chain(&split.test) {
        for part in [&example.prompt, &example.completion, &example.answer] {
            text.push('\0');
            text.push_str(part);
        }
    }
    hash::sha256_hex(text.as_bytes())
}

/// The share of a task's examples that may be too long for the context; they are left out.
const TOO_LONG: f64 = 0.1;

/// The examples that fit into the context, in tokens and as text.
fn fitting(tokenizer: &Tokenizer, examples: Vec<Example>, context: usize) -> Result<(Vec<Instruction>, Vec<Example>)> {
    let all = examples.len();
    let mut kept = (Vec::new(), Vec::new());
    let mut longest = 0;
    for example in examples {
        let tokens = instruction(tokenizer, &example)?;
        let length = tokens.prompt.len() + tokens.completion.len() - 1;
        longest = longest.max(length);
        if length <= context {
            kept.0.push(tokens);
            kept.1.push(example);
        }
    }
    let left_out = all - kept.0.len();
    if left_out as f64 > TOO_LONG * all as f64 {
        let expected = format!("about {longest}, the tokens of the longest example ({left_out} of {all} do not fit)");
        return Err(ExperimentError::value("model.context", context, expected));
    }
    Ok(kept)
}

/// Prompt and completion in tokens; the completion ends with the end of text.
fn instruction(tokenizer: &Tokenizer, example: &Example) -> Result<Instruction> {
    let prompt = tokenizer.encode(&example.prompt)?;
    let mut completion = tokenizer.encode(&example.completion)?;
    completion.push(tokenizer.end_of_text());
    Ok(Instruction { prompt, completion })
}
