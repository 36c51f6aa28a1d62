//! The text tasks by name, so that a command line can ask for `math` or `strings:kinds=sort,max_length=4`.
//!
//! A new task is a module with a `Config` (with serde and defaults), `ValidConfig`, `generate`, `available`, `solve`
//! and `is_correct`, an `impl Task for` its `ValidConfig` here, and one line in [`TASKS`].

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::split::Side;
use crate::{Error, Example, Split, string_instructions, word_problems};

/// A configured task that makes examples and judges answers.
pub trait Task: Send + Sync {
    /// The task's name in the registry.
    fn name(&self) -> &'static str;

    /// Distinct training and test examples, disjoint across all seeds.
    ///
    /// # Errors
    /// [`Error::TooFewInstances`] if more are asked for than exist.
    fn generate(&self, seed: u64, n_train: usize, n_test: usize) -> Result<Split, Error>;

    /// The number of distinct instances on a side.
    fn available(&self, side: Side) -> u128;

    /// The answer to a prompt, derived from its text alone.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if the text is not a prompt of this task.
    fn solve(&self, prompt: &str) -> Result<String, Error>;

    /// Whether a generated continuation of the example's prompt gives the right answer.
    fn is_correct(&self, generated: &str, example: &Example) -> bool;

    /// The parameters with their values, as JSON.
    fn parameters(&self) -> Value;
}

type Build = fn(Map<String, Value>) -> Result<Box<dyn Task>, Error>;

/// An entry of the registry.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The name to ask for.
    pub name: &'static str,
    /// What the task is, in one line.
    pub summary: &'static str,
    /// Builds the task from parameters by name; those not given keep their defaults.
    build: Build,
}

impl Entry {
    /// The task with the given parameters; those not given keep their defaults.
    ///
    /// # Errors
    /// [`Error::BadParameter`] for an unknown name or a value of the wrong kind, [`Error::OutOfRange`] for a value
    /// outside its range.
    pub fn build(&self, parameters: Map<String, Value>) -> Result<Box<dyn Task>, Error> {
        (self.build)(parameters)
    }
}

/// All text tasks.
pub const TASKS: [Entry; 2] = [
    Entry {
        name: word_problems::NAME,
        summary: "grade-school word problems with worked solutions",
        build: |parameters| {
            Ok(Box::new(configured::<word_problems::WordProblemsConfig>(word_problems::NAME, parameters)?.validate()?))
        },
    },
    Entry {
        name: string_instructions::NAME,
        summary: "instructions about strings: reverse, sort, count, case, filter",
        build: |parameters| {
            Ok(Box::new(
                configured::<string_instructions::StringInstructionsConfig>(string_instructions::NAME, parameters)?
                    .validate()?,
            ))
        },
    },
];

/// The names of all text tasks.
pub fn task_names() -> Vec<&'static str> {
    TASKS.iter().map(|entry| entry.name).collect()
}

/// The task that `spec` names: a name, or a name with parameters, such as `math:max_steps=3,largest=50`. Parameters
/// that are not given keep their defaults.
///
/// # Errors
/// [`Error::Unknown`], [`Error::BadParameter`] or [`Error::OutOfRange`].
pub fn task(spec: &str) -> Result<Box<dyn Task>, Error> {
    let (name, parameters) = spec.split_once(':').unwrap_or((spec, ""));
    let entry = TASKS.iter().find(|entry| entry.name == name).ok_or_else(|| Error::Unknown {
        what: "task",
        found: name.to_owned(),
        known: task_names().join(", "),
    })?;
    entry.build(parse_parameters(entry.name, parameters)?)
}

/// Reads `key=value,key=value`. A value that is not a number, a truth value or another piece of JSON is a string.
pub(crate) fn parse_parameters(task: &'static str, text: &str) -> Result<Map<String, Value>, Error> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let problem = || format!("found {pair:?} among the parameters, expected key=value");
            let (key, value) = pair.split_once('=').ok_or_else(|| Error::BadParameter { task, problem: problem() })?;
            let value = value.trim();
            Ok((key.trim().to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
        })
        .collect()
}

/// A configuration from parameters by name.
pub(crate) fn configured<C: DeserializeOwned>(task: &'static str, parameters: Map<String, Value>) -> Result<C, Error> {
    serde_json::from_value(Value::Object(parameters))
        .map_err(|error| Error::BadParameter { task, problem: error.to_string() })
}

impl Task for word_problems::ValidWordProblemsConfig {
    fn name(&self) -> &'static str {
        word_problems::NAME
    }

    fn generate(&self, seed: u64, n_train: usize, n_test: usize) -> Result<Split, Error> {
        word_problems::generate(self, seed, n_train, n_test)
    }

    fn available(&self, side: Side) -> u128 {
        word_problems::available(self, side)
    }

    fn solve(&self, prompt: &str) -> Result<String, Error> {
        word_problems::solve(prompt).map(|answer| answer.to_string())
    }

    fn is_correct(&self, generated: &str, example: &Example) -> bool {
        word_problems::is_correct(generated, example)
    }

    fn parameters(&self) -> Value {
        parameters_of(self)
    }
}

impl Task for string_instructions::ValidStringInstructionsConfig {
    fn name(&self) -> &'static str {
        string_instructions::NAME
    }

    fn generate(&self, seed: u64, n_train: usize, n_test: usize) -> Result<Split, Error> {
        string_instructions::generate(self, seed, n_train, n_test)
    }

    fn available(&self, side: Side) -> u128 {
        string_instructions::available(self, side)
    }

    fn solve(&self, prompt: &str) -> Result<String, Error> {
        string_instructions::solve(prompt)
    }

    fn is_correct(&self, generated: &str, example: &Example) -> bool {
        string_instructions::is_correct(generated, example)
    }

    fn parameters(&self) -> Value {
        parameters_of(self)
    }
}

fn parameters_of(config: &impl serde::Serialize) -> Value {
    serde_json::to_value(config).expect("a configuration is plain data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_generates_solves_and_scores() {
        for name in task_names() {
            let task = task(name).unwrap();
            assert_eq!(task.name(), name);
            let split = task.generate(1, 50, 20).unwrap();
            assert_eq!((split.train.len(), split.test.len()), (50, 20));
            for example in split.train.iter().chain(&split.test) {
                assert_eq!(task.solve(&example.prompt).unwrap(), example.answer);
                assert!(task.is_correct(&example.completion, example));
                assert!(!task.is_correct("", example));
                assert!(!task.is_correct(&example.prompt, example));
            }
            assert!(task.available(Side::Train) > task.available(Side::Test));
        }
    }

    #[test]
    fn parameters_reach_the_task() {
        let parameters = task("math:min_steps=1, max_steps=3,held_out=chain").unwrap().parameters();
        assert_eq!(parameters, serde_json::json!({"min_steps": 1, "max_steps": 3, "largest": 20, "held_out": "chain"}));
        assert_eq!(task("strings:kinds=sort+case").unwrap().parameters()["kinds"], "sort+case");
    }

    #[test]
    fn what_is_wrong_with_a_request_is_said_in_one_line() {
        for (spec, message) in [
            ("maths", "unknown task \"maths\", expected one of: math, strings"),
            ("math:max_steps", "math: found \"max_steps\" among the parameters, expected key=value"),
            ("math:max_steps=9", "math: max_steps is 9, expected 1 to 6"),
            ("math:max_steps=many", "math: invalid type: string \"many\", expected usize"),
            (
                "math:steps=2",
                "math: unknown field `steps`, expected one of `min_steps`, `max_steps`, `largest`, `held_out`",
            ),
            (
                "strings:kinds=rhyme",
                "strings: kinds is \"rhyme\", expected some of reverse+sort+count+case+filter, joined by +",
            ),
        ] {
            let error = task(spec).err().unwrap().to_string();
            assert_eq!(error, message);
        }
    }
}
