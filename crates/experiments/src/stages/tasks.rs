//! The tasks that checkpoints are finetuned on, as token data: what to train on, what to measure on.

use std::sync::Arc;

use corpora::Part;
use lab::{hash, seeds};
use models::data::{BatchSource, Instruction, Instructions, PackedText};
use models::{Batch, Tokenizer, Transformer, generate};
use serde::Serialize;
use synthetic_lm::Example;

use super::EVALUATION_ROWS;
use super::task_source::{CODE, OpenFile, Task, TaskSource, as_generated};
use super::tokens::CodeTokens;
use crate::error::{ExperimentError, Result};

/// How much of a task is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskSizes {
    /// Longest sequence in tokens.
    pub context: usize,
    /// Held-out windows of a text task (code) for the test, and as many for validation.
    pub windows: usize,
    /// Held-out examples of a task with examples for the test, and as many for validation.
    pub examples: usize,
    /// Examples of the test that are decoded for exact match.
    pub decoded: usize,
    /// Training examples of a task with examples.
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
    remarks: Vec<String>,
    answers: Option<Answers>,
}

enum Training {
    Text(Arc<[u32]>),
    Examples(Arc<[Instruction]>),
}

/// What exact match needs.
struct Answers {
    judge: Judge,
    examples: Vec<Example>,
    prompts: Vec<Vec<u32>>,
    limit: usize,
    tokenizer: Tokenizer,
}

/// Who says whether an answer is right.
enum Judge {
    /// The generator of the task.
    Generator(Box<dyn synthetic_lm::Task>),
    /// The answer that can be told from the solution's text.
    Text,
}

impl Judge {
    fn is_correct(&self, generated: &str, example: &Example) -> bool {
        match self {
            Self::Generator(task) => task.is_correct(generated, example),
            Self::Text => corpora::answer(generated).as_ref() == Some(&example.answer),
        }
    }
}

impl TaskData {
    /// Draws the data of a task by `seed`, in the tokens of `tokenizer`; `code` is what the task [`CODE`] needs.
    ///
    /// Of a task with examples all examples are drawn. Of text the held-out windows are; which windows a run trains on
    /// follows from its order. Text with fewer than twice the windows asked for is divided into halves.
    ///
    /// # Errors
    /// If the task is unknown, has fewer instances than asked for, or more than 10 % of its examples are longer than
    /// the context (fewer are left out).
    pub fn prepare(
        task: &Task,
        sizes: &TaskSizes,
        tokenizer: &Tokenizer,
        code: Option<&CodeTokens>,
        seed: u64,
    ) -> Result<Self> {
        match task {
            Task::Other(TaskSource::Generated(name)) => Self::generated(name, sizes, tokenizer, seed),
            Task::File(file) => Self::of_file(file, sizes, tokenizer, seed),
            Task::Other(_) => {
                let code = code.ok_or_else(|| ExperimentError::value("tasks", task.name(), "text that has it"))?;
                Self::of_text(code, sizes, seed)
            }
        }
    }

    fn of_text(code: &CodeTokens, sizes: &TaskSizes, seed: u64) -> Result<Self> {
        let context = sizes.context;
        let draw = seeds::stream(seed, "held-out windows");
        let mut held_out = PackedText::new(code.held_out.clone(), context, draw)?;
        let count = sizes.windows.min(held_out.windows() / 2).max(1);
        let test = held_out.drawn(0..count, EVALUATION_ROWS)?;
        let validation = held_out.drawn(count..2 * count, EVALUATION_ROWS)?;
        let train = Training::Text(code.train.clone());
        let (data, windows) = (code.id.to_string(), Some(sizes.windows));
        let key = TaskKey { data, context, windows, decoded: None, draw: seed };
        Ok(Self { name: CODE.into(), train, validation, test, key, remarks: Vec::new(), answers: None })
    }

    fn generated(name: &str, sizes: &TaskSizes, tokenizer: &Tokenizer, seed: u64) -> Result<Self> {
        let generator = synthetic_lm::task(name)?;
        let drawn = seeds::stream(seed, &format!("task {name}"));
        let split = generator.generate(drawn, sizes.train_examples, 2 * sizes.examples)?;
        let data = fingerprint(split.train.iter().chain(&split.test), &generator.parameters());
        let fit = Fit::new(name, tokenizer, sizes.context, false);
        let train = fit.all(split.train.into_iter(), usize::MAX)?;
        let mut test = fit.all(split.test.into_iter(), usize::MAX)?;
        let validation = test.split_off(test.tokens.len().div_ceil(2));
        Drawn { train, validation, test, data, judge: Judge::Generator(generator) }
            .into_data(name, sizes, tokenizer, seed)
    }

    fn of_file(file: &OpenFile, sizes: &TaskSizes, tokenizer: &Tokenizer, seed: u64) -> Result<Self> {
        let (name, truncate) = (&file.source.name, file.source.truncate);
        let fit = Fit::new(name, tokenizer, sizes.context, truncate);
        let part = |part: Part, most: usize| fit.all(file.drawn(part, seed).into_iter().map(as_generated), most);
        let train = part(Part::Train, sizes.train_examples)?;
        let (validation, test) = (part(Part::Validation, sizes.examples)?, part(Part::Test, sizes.examples)?);
        let examples = [&train, &validation, &test].into_iter().flat_map(|fitted| &fitted.examples);
        let data = fingerprint(examples, &serde_json::json!({ "truncate": truncate }));
        Drawn { train, validation, test, data, judge: Judge::Text }.into_data(name, sizes, tokenizer, seed)
    }

    /// The task as it was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What of the task decides a result.
    pub fn key(&self) -> TaskKey {
        self.key.clone()
    }

    /// What is not as one would think: examples that are left out or cut short, text that the tokenizer cannot write.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// A training example in tokens, from 1 in the order of the draw, and how many there are; `None` for a task of
    /// text.
    pub fn example(&self, number: usize) -> Option<(Option<&Instruction>, usize)> {
        match &self.train {
            Training::Text(_) => None,
            Training::Examples(examples) => {
                Some((number.checked_sub(1).and_then(|place| examples.get(place)), examples.len()))
            }
        }
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

    /// The test, in batches of [`EVALUATION_ROWS`].
    pub(super) fn test(&self) -> &[Batch] {
        &self.test
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
            right += usize::from(answers.judge.is_correct(&answers.tokenizer.decode(tokens)?, example));
        }
        Ok(Some(right as f64 / answers.examples.len() as f64))
    }
}

/// The examples of a task that fit into the context.
struct Drawn {
    train: Fitted,
    validation: Fitted,
    test: Fitted,
    /// Identifies them.
    data: String,
    judge: Judge,
}

impl Drawn {
    fn into_data(self, name: &str, sizes: &TaskSizes, tokenizer: &Tokenizer, seed: u64) -> Result<TaskData> {
        let Self { train, validation, test, data, judge } = self;
        let context = sizes.context;
        let remarks = remarks(name, seed, [&train, &validation, &test]);
        let longest =
            train.tokens.iter().chain(&test.tokens).chain(&validation.tokens).map(|e| e.completion.len()).max();
        // What is decoded has an answer.
        let answered = test.examples.iter().zip(&test.tokens).filter(|(example, _)| !example.answer.is_empty());
        let (examples, prompts): (Vec<Example>, Vec<Vec<u32>>) =
            answered.take(sizes.decoded).map(|(example, tokens)| (example.clone(), tokens.prompt.clone())).unzip();
        let answers = Answers { judge, examples, prompts, limit: longest.unwrap_or(1), tokenizer: tokenizer.clone() };
        let key = TaskKey { data, context, windows: None, decoded: Some(sizes.decoded), draw: seed };
        let rows = |examples: Vec<Instruction>| -> Result<Vec<Batch>> {
            Ok(Instructions::new(examples.into(), context, 0)?.in_order(EVALUATION_ROWS)?)
        };
        let train: Arc<[Instruction]> = train.tokens.into();
        Instructions::new(train.clone(), context, 0)?;
        let (validation, test) = (rows(validation.tokens)?, rows(test.tokens)?);
        let train = Training::Examples(train);
        Ok(TaskData { name: name.into(), train, validation, test, key, remarks, answers: Some(answers) })
    }
}

/// What is worth telling of the examples that a seed drew.
fn remarks(name: &str, seed: u64, parts: [&Fitted; 3]) -> Vec<String> {
    let mut remarks = Vec::new();
    let sum = |count: fn(&Fitted) -> usize| parts.iter().map(|part| count(part)).sum::<usize>();
    let of_seed = format!("{name} of seed {seed}");
    match sum(|part| part.left_out) {
        0 => {}
        count => {
            remarks.push(format!("{of_seed}: {count} examples are longer than the context and left out"));
        }
    }
    match sum(|part| part.truncated) {
        0 => {}
        count => remarks.push(format!("{of_seed}: {count} completions are longer than the context and lose their end")),
    }
    if let Some(lost) = parts.iter().find_map(|part| part.lost.as_ref()) {
        let (count, all) = (sum(|part| part.lossy), sum(|part| part.examples.len()));
        remarks.push(format!("{of_seed}: the tokenizer cannot write {count} of {all} examples: {lost}"));
    }
    remarks
}

/// The SHA-256 of all examples and the task's parameters.
fn fingerprint<'a>(examples: impl Iterator<Item = &'a Example>, parameters: &serde_json::Value) -> String {
    let mut text = parameters.to_string();
    for example in examples {
        for part in [&example.prompt, &example.completion, &example.answer] {
            text.push('\0');
            text.push_str(part);
        }
    }
    hash::sha256_hex(text.as_bytes())
}

/// The share of a task's examples that may be too long for the context; they are left out.
const TOO_LONG: f64 = 0.1;

/// Examples that fit into the context, in tokens and as text.
#[derive(Default)]
struct Fitted {
    tokens: Vec<Instruction>,
    examples: Vec<Example>,
    /// Examples that do not fit.
    left_out: usize,
    /// Examples that were made to fit.
    truncated: usize,
    /// Examples that the tokens do not say in full.
    lossy: usize,
    /// What the first of them loses.
    lost: Option<String>,
}

impl Fitted {
    /// The examples from place `at` on; what is counted stays.
    fn split_off(&mut self, at: usize) -> Self {
        let (tokens, examples) = (self.tokens.split_off(at), self.examples.split_off(at));
        Self { tokens, examples, ..Self::default() }
    }
}

/// How examples are made to fit.
struct Fit<'a> {
    task: &'a str,
    tokenizer: &'a Tokenizer,
    context: usize,
    truncate: bool,
    /// How the end of text is written.
    end: Option<String>,
}

impl<'a> Fit<'a> {
    fn new(task: &'a str, tokenizer: &'a Tokenizer, context: usize, truncate: bool) -> Self {
        Self { task, tokenizer, context, truncate, end: tokenizer.end_of_text_name() }
    }

    /// A completion without an end of text that is written at its end: that is learned anyway.
    fn completion<'e>(&self, example: &'e Example) -> &'e str {
        match &self.end {
            Some(end) => example.completion.strip_suffix(end.as_str()).unwrap_or(&example.completion),
            None => &example.completion,
        }
    }

    /// The first of the examples that fit, at most so many.
    fn all(&self, examples: impl Iterator<Item = Example>, most: usize) -> Result<Fitted> {
        let mut fitted = Fitted::default();
        let (mut longest, mut seen) = (0, 0);
        for example in examples {
            if fitted.tokens.len() == most {
                break;
            }
            seen += 1;
            let mut tokens = self.instruction(&example)?;
            let length = tokens.prompt.len() + tokens.completion.len() - 1;
            longest = longest.max(length);
            if length > self.context {
                let room = (self.context + 1).saturating_sub(tokens.prompt.len());
                if !self.truncate || room == 0 {
                    fitted.left_out += 1;
                    continue;
                }
                tokens.completion.truncate(room);
                fitted.truncated += 1;
            }
            for text in [example.prompt.as_str(), self.completion(&example)] {
                if let Some(lost) = self.tokenizer.lost(text)? {
                    fitted.lossy += 1;
                    fitted.lost.get_or_insert(lost);
                    break;
                }
            }
            fitted.tokens.push(tokens);
            fitted.examples.push(example);
        }
        let left_out = fitted.left_out;
        if left_out as f64 > TOO_LONG * seen as f64 {
            let expected = format!(
                "about {longest}, the tokens of the longest example of {} ({left_out} of {seen} do not fit)",
                self.task
            );
            return Err(ExperimentError::value("model.context", self.context, expected));
        }
        Ok(fitted)
    }

    /// Prompt and completion in tokens, apart, so that no token spans both; the completion ends with the end of text.
    fn instruction(&self, example: &Example) -> Result<Instruction> {
        let prompt = self.tokenizer.encode(&example.prompt)?;
        let mut completion = self.tokenizer.encode(self.completion(example))?;
        completion.push(self.tokenizer.end_of_text());
        Ok(Instruction { prompt, completion })
    }
}
