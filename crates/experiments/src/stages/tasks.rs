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

/// The names that `--tasks` accepts.
pub fn known() -> Vec<&'static str> {
    std::iter::once(CODE).chain(synthetic_lm::task_names()).collect()
}

/// Checks that a task exists and that its parameters are in range.
fn check_name(task: &str) -> Result<()> {
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

/// Checks that there are tasks, that all of them exist, and that none is there twice, however it is written; `field` is
/// where they stand.
///
/// # Errors
/// [`LabError::Value`](lab::error::LabError::Value) with the known tasks, or the task's own complaint.
pub fn check_tasks(field: &str, tasks: &[String]) -> Result<()> {
    if tasks.is_empty() {
        return Err(ExperimentError::value(field, "none", "at least one"));
    }
    let mut seen: Vec<(&String, String)> = Vec::new();
    for task in tasks {
        check_name(task)?;
        // `math` and `math` with the parameters that it has anyway are the same.
        let same = match task.as_str() {
            CODE => CODE.to_string(),
            name => format!("{} {}", name.split(':').next().unwrap_or(name), synthetic_lm::task(name)?.parameters()),
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

/// How much of a task is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskSizes {
    /// Longest sequence in tokens.
    pub context: usize,
    /// Held-out windows of a text task (code) for the test, and as many for validation.
    pub windows: usize,
    /// Held-out examples of a generated task for the test, and as many for validation.
    pub examples: usize,
    /// Examples of the test that are decoded for exact match.
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
    /// The seed of the draw: of held-out windows, for text; of all examples, for a generated task.
    draw: u64,
}

/// A task's data in tokens, as one seed draws them: training, validation and test, which share no example.
pub struct TaskData {
    name: String,
    train: Training,
    validation: Vec<Batch>,
    test: Vec<Batch>,
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
    /// Draws the data of `task` by `seed`, in the tokens of `tokenizer`; `code` is what the task [`CODE`] needs.
    ///
    /// Of a generated task all examples are drawn. Of text the held-out windows are; which windows a run trains on
    /// follows from its order. Text with fewer than twice the windows asked for is divided into halves.
    ///
    /// # Errors
    /// If the task is unknown, has fewer instances than asked for, or more than 10 % of its examples are longer than
    /// the context (fewer are left out).
    pub fn prepare(
        task: &str,
        sizes: &TaskSizes,
        tokenizer: &Tokenizer,
        code: Option<&CodeTokens>,
        seed: u64,
    ) -> Result<Self> {
        let name = task.to_string();
        let context = sizes.context;
        if task == CODE {
            let code = code.ok_or_else(|| ExperimentError::value("tasks", task, "text that has it"))?;
            let draw = seeds::stream(seed, "held-out windows");
            let mut held_out = PackedText::new(code.held_out.clone(), context, draw)?;
            let count = sizes.windows.min(held_out.windows() / 2).max(1);
            let test = held_out.drawn(0..count, EVALUATION_ROWS)?;
            let validation = held_out.drawn(count..2 * count, EVALUATION_ROWS)?;
            let train = Training::Text(code.train.clone());
            let (data, windows) = (code.id.to_string(), Some(sizes.windows));
            let key = TaskKey { data, context, windows, decoded: None, draw: seed };
            return Ok(Self { name, train, validation, test, key, left_out: 0, answers: None });
        }
        let generator = synthetic_lm::task(task)?;
        let drawn = seeds::stream(seed, &format!("task {task}"));
        let split = generator.generate(drawn, sizes.train_examples, 2 * sizes.examples)?;
        let data = fingerprint(&split, &generator.parameters());
        let all = split.train.len() + split.test.len();
        let (train, _) = fitting(tokenizer, split.train, context)?;
        let (mut test, examples) = fitting(tokenizer, split.test, context)?;
        let longest = train.iter().chain(&test).map(|e| e.completion.len()).max().unwrap_or(1);
        let validation = test.split_off(test.len().div_ceil(2));
        let (train, test): (Arc<[Instruction]>, Arc<[Instruction]>) = (train.into(), test.into());
        Instructions::new(train.clone(), context, 0)?;
        let rows = |examples| -> Result<_> { Ok(Instructions::new(examples, context, 0)?.in_order(EVALUATION_ROWS)?) };
        let left_out = all - train.len() - test.len() - validation.len();
        let decoded = sizes.decoded.min(test.len());
        let answers = Answers {
            task: generator,
            examples: examples[..decoded].to_vec(),
            prompts: test[..decoded].iter().map(|example| example.prompt.clone()).collect(),
            limit: longest,
            tokenizer: tokenizer.clone(),
        };
        let key = TaskKey { data, context, windows: None, decoded: Some(sizes.decoded), draw: seed };
        let (validation, test) = (rows(validation.into())?, rows(test)?);
        let train = Training::Examples(train);
        Ok(Self { name, train, validation, test, key, left_out, answers: Some(answers) })
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

    /// Tokens of all held-out rows, validation and test.
    pub fn held_out_tokens(&self) -> usize {
        self.validation.iter().chain(&self.test).map(|batch| batch.ids().len()).sum()
    }

    /// The training batches in the order number `order` that `seed` draws.
    ///
    /// # Errors
    /// If the data do not make one batch.
    pub fn source(&self, context: usize, seed: u64, order: u64) -> Result<Box<dyn BatchSource>> {
        let order = seeds::stream(seed, &format!("finetuning order {order}"));
        Ok(match &self.train {
            Training::Text(tokens) => Box::new(PackedText::new(tokens.clone(), context, order)?),
            Training::Examples(examples) => Box::new(Instructions::new(examples.clone(), context, order)?),
        })
    }

    /// L_task: the mean loss on the test's target tokens, in nats.
    ///
    /// # Errors
    /// If the model cannot run on the data.
    pub fn loss(&self, model: &Transformer) -> Result<f64> {
        Ok(models::mean_loss(model, &self.test)?)
    }

    /// The same on the examples set aside for choices: which rates are run, and which is reported.
    ///
    /// # Errors
    /// If the model cannot run on the data.
    pub fn validation_loss(&self, model: &Transformer) -> Result<f64> {
        Ok(models::mean_loss(model, &self.validation)?)
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
