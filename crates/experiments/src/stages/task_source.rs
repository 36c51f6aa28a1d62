//! Where a task comes from: the packages' code, a generator, or a user's file.

use std::path::PathBuf;
use std::sync::Arc;

use corpora::{Form, Part, TaskExample, TaskFile};
use lab::seeds;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use synthetic_lm::Example;

use crate::error::{ExperimentError, Result};

/// The task of going on with Rust code.
pub const CODE: &str = "code";

/// The names of the tasks that need no file.
pub fn known() -> Vec<&'static str> {
    std::iter::once(CODE).chain(synthetic_lm::task_names()).collect()
}

/// A task that can be had.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskSource {
    /// [`CODE`].
    Code,
    /// A generated task by its name, with its parameters.
    Generated(String),
    /// A user's file.
    File(FileSource),
}

/// A task from a user's file, and how it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct FileSource {
    /// The task's name, for people.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// How its rows become examples.
    pub form: Form,
    /// Share of the prompts that is held out, half of it for the test.
    pub held_out: f64,
    /// Whether completions that are too long for the context lose their end; else such examples are left out.
    pub truncate: bool,
}

impl TaskSource {
    /// The task of that name, which is none of a file.
    ///
    /// # Errors
    /// [`LabError::Value`](lab::error::LabError::Value) with the known tasks, those of `files` among them, or the
    /// task's own complaint.
    pub fn named(task: &str, files: &[&str]) -> Result<Self> {
        if task == CODE {
            return Ok(Self::Code);
        }
        match synthetic_lm::task(task) {
            Ok(_) => Ok(Self::Generated(task.into())),
            Err(synthetic_lm::Error::Unknown { found, .. }) => {
                let known: Vec<&str> = known().into_iter().chain(files.iter().copied()).collect();
                Err(ExperimentError::value("tasks", found, format!("one of {}", known.join(", "))))
            }
            Err(other) => Err(other.into()),
        }
    }

    /// The task's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Code => CODE,
            Self::Generated(name) => name,
            Self::File(file) => &file.name,
        }
    }

    /// Reads the task's file, if it has one and it is none of those that are `opened`.
    ///
    /// # Errors
    /// One line with the file and what is wrong in it.
    pub fn open(self, opened: &[Task]) -> Result<Task> {
        let Self::File(source) = self else { return Ok(Task::Other(self)) };
        let is_same = |task: &&Task| matches!(task, Task::File(file) if file.source == source);
        match opened.iter().find(is_same) {
            Some(task) => Ok(task.clone()),
            None => Ok(Task::File(Arc::new(OpenFile::read(source)?))),
        }
    }
}

/// A task whose file is read: all seeds draw from it.
#[derive(Debug, Clone)]
pub enum Task {
    /// One without a file.
    Other(TaskSource),
    /// One with a file.
    File(Arc<OpenFile>),
}

impl Task {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Other(source) => source.name(),
            Self::File(file) => &file.source.name,
        }
    }

    /// What a user wants to know of the file, if there is one.
    pub fn description(&self) -> Option<String> {
        match self {
            Self::Other(_) => None,
            Self::File(file) => Some(file.description()),
        }
    }
}

/// A file's examples.
#[derive(Debug)]
pub struct OpenFile {
    /// Which file, and how it is read.
    pub source: FileSource,
    file: TaskFile,
    /// Places in the file of the examples of each part: training, validation, test.
    parts: [Vec<usize>; 3],
}

/// The parts in the order in which they are kept.
const PARTS: [(Part, &str); 3] = [(Part::Train, "training"), (Part::Validation, "validation"), (Part::Test, "test")];

impl OpenFile {
    fn read(source: FileSource) -> Result<Self> {
        let file = TaskFile::read(&source.path, &source.form)?;
        let of_part = |part: Part| -> Vec<usize> {
            let places = file.examples.iter().enumerate();
            places.filter(|(_, example)| example.part(source.held_out) == part).map(|(place, _)| place).collect()
        };
        let parts = PARTS.map(|(part, _)| of_part(part));
        for ((_, name), places) in PARTS.iter().zip(&parts) {
            if places.is_empty() {
                let (all, path) = (file.examples.len(), source.path.display());
                let found = format!("no {name} examples among the {all} of {path} with held-out = {}", source.held_out);
                let expected = "at least one: give more rows, or another share to hold out";
                return Err(ExperimentError::value(format!("task {}", source.name), found, expected));
            }
        }
        Ok(Self { source, file, parts })
    }

    fn description(&self) -> String {
        let Self { source, file, parts } = self;
        let [train, validation, test] = parts.each_ref().map(Vec::len);
        let name = source.path.file_name().unwrap_or_default().to_string_lossy();
        let (task, all, form) = (&source.name, file.examples.len(), file.form);
        let mut text = format!(
            "task {task}: {all} examples in {name} ({form}): {train} to train on, {validation} for validation, {test} for \
             the test"
        );
        let with_answers = file.examples.iter().filter(|example| example.answer.is_some()).count();
        text.push_str(&match with_answers {
            0 => "; no answers to compare, so the loss alone is measured".into(),
            count => format!("; the answer can be told in {count}"),
        });
        if file.repeated > 0 {
            text.push_str(&format!("; {} prompts are there before", file.repeated));
        }
        if let Some(first) = file.skipped.first() {
            text.push_str(&format!("; {} rows cannot be used, the first at {first}", file.skipped.count));
        }
        text
    }

    /// All examples of a part, in the order that a seed draws.
    pub fn drawn(&self, part: Part, seed: u64) -> Vec<&TaskExample> {
        let place = PARTS.iter().position(|(one, _)| *one == part).unwrap_or_default();
        let mut places = self.parts[place].clone();
        places.shuffle(&mut ChaCha8Rng::seed_from_u64(seeds::stream(seed, &format!("task file {place}"))));
        places.into_iter().map(|place| &self.file.examples[place]).collect()
    }
}

/// An example in the form of generated ones; without an answer, the answer is empty.
pub(super) fn as_generated(example: &TaskExample) -> Example {
    Example {
        prompt: example.prompt.clone(),
        completion: example.completion.clone(),
        answer: example.answer.clone().unwrap_or_default(),
    }
}
