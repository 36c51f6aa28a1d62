//! Instructions about strings: reverse, sort, count, change case, filter.
//!
//! ```text
//! Instruction: Put the words in order of the alphabet.
//! Input: tree egg moon
//! Output:
//! egg moon tree
//! ```
//! The first three lines are the prompt, the last one the completion. Difficulty is the length of the input in units
//! (letters, words or numbers). An answer without any unit is `none`. An instance is (instruction, letter it is about,
//! input); among the wordings of an instruction one is chosen by the seed.

mod instruction;

use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

pub use instruction::{Kind, Kinds};

use crate::error::check_range;
use crate::split::{Drawn, Side, SplitSpace, draw};
use crate::{Error, Example, Split, random};
use instruction::{INSTRUCTIONS, Instruction, letter};

/// The task's name in messages and in the registry.
pub(crate) const NAME: &str = "strings";

/// Difficulty of the instructions, before it is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StringInstructionsConfig {
    /// Which families, at least one.
    pub kinds: Kinds,
    /// Fewest units of input, in `2..=12`. Lengths are equally frequent.
    pub min_length: usize,
    /// Most units of input, in `2..=12`.
    pub max_length: usize,
}

impl Default for StringInstructionsConfig {
    /// All families, three to five units.
    fn default() -> Self {
        Self { kinds: Kinds::all(), min_length: 3, max_length: 5 }
    }
}

impl StringInstructionsConfig {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] names the first parameter outside its range.
    pub fn validate(self) -> Result<ValidStringInstructionsConfig, Error> {
        check_range(NAME, "max_length", self.max_length, 2..=12)?;
        check_range(NAME, "min_length", self.min_length, 2..=self.max_length)?;
        if self.kinds.0.is_empty() {
            let expected = format!("some of {}", Kinds::all());
            return Err(Error::OutOfRange { task: NAME, parameter: "kinds", found: "none".to_owned(), expected });
        }
        Ok(ValidStringInstructionsConfig(self))
    }
}

/// A configuration that has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValidStringInstructionsConfig(StringInstructionsConfig);

impl ValidStringInstructionsConfig {
    /// The parameters.
    pub fn get(&self) -> &StringInstructionsConfig {
        &self.0
    }
}

/// Generates `n_train` and `n_test` distinct examples. The test examples of every seed are disjoint from the training
/// examples of every seed. Instructions are equally frequent, and so are the lengths, as long as instances last.
///
/// # Errors
/// [`Error::TooFewInstances`] if more are asked for than exist.
pub fn generate(
    config: &ValidStringInstructionsConfig,
    seed: u64,
    n_train: usize,
    n_test: usize,
) -> Result<Split, Error> {
    let (instructions, spaces) = spaces(config.get());
    let examples = |side, n| -> Result<Vec<Example>, Error> {
        let mut rng = random::stream(seed, &format!("{NAME} {side} wording"));
        let drawn = draw(NAME, &spaces, side, seed, n)?;
        Ok(drawn
            .iter()
            .map(|drawn| {
                let instruction = instructions[drawn.class];
                let wording = instruction.wordings.choose(&mut rng).expect("every instruction has a wording");
                example(instruction, wording, config.get().min_length + drawn.space, drawn)
            })
            .collect())
    };
    Ok(Split { train: examples(Side::Train, n_train)?, test: examples(Side::Test, n_test)? })
}

/// The number of distinct instances on a side, in all.
pub fn available(config: &ValidStringInstructionsConfig, side: Side) -> u128 {
    spaces(config.get()).1.iter().flatten().map(|space| space.available(side)).sum()
}

/// The instructions of the families wanted, and for each the instances of each length.
fn spaces(config: &StringInstructionsConfig) -> (Vec<&'static Instruction>, Vec<Vec<SplitSpace>>) {
    let wanted = INSTRUCTIONS.iter().filter(|instruction| config.kinds.0.contains(&instruction.kind));
    wanted
        .map(|instruction| {
            let lengths = config.min_length..=config.max_length;
            let space = |length| {
                let inputs = u128::from(instruction.input.units()).pow(length as u32);
                let name = format!("{NAME} {} {length}", instruction.wordings[0]);
                SplitSpace::new(inputs * u128::from(instruction.letters), 1, &name)
            };
            (instruction, lengths.map(space).collect())
        })
        .unzip()
}

fn example(instruction: &Instruction, wording: &str, length: usize, drawn: &Drawn) -> Example {
    let letters = u128::from(instruction.letters);
    let x = letter((drawn.instance % letters) as u32);
    let input = instruction.input.text(length, drawn.instance / letters);
    let answer = (instruction.apply)(&input, x);
    let said = wording.replace("{x}", &x.to_string());
    Example {
        prompt: format!("Instruction: {said}\nInput: {input}\nOutput:\n"),
        completion: format!("{answer}\n"),
        answer,
    }
}

/// The answer to a prompt, from its text alone.
///
/// # Errors
/// [`Error::Unreadable`] if the text is not a prompt of this task.
pub fn solve(prompt: &str) -> Result<String, Error> {
    let mut lines = prompt.lines();
    let mut field = |label: &str, expected: &'static str| {
        let line = lines.next().unwrap_or_default();
        let unreadable = || Error::Unreadable { task: NAME, found: line.to_owned(), expected };
        line.strip_prefix(label).map(str::trim).ok_or_else(unreadable)
    };
    let said = field("Instruction: ", "a line \"Instruction: ...\"")?;
    let input = field("Input: ", "a line \"Input: ...\"")?;
    field("Output:", "a line \"Output:\"")?;
    for instruction in &INSTRUCTIONS {
        for x in (0..instruction.letters).map(letter) {
            if instruction.wordings.iter().any(|wording| wording.replace("{x}", &x.to_string()) == said) {
                return Ok((instruction.apply)(input, x));
            }
        }
    }
    Err(Error::Unreadable { task: NAME, found: said.to_owned(), expected: "an instruction of this task" })
}

/// The answer in a generated continuation: its first line, or none if that is empty.
pub fn extract_answer(text: &str) -> Option<&str> {
    text.lines().next().map(str::trim).filter(|line| !line.is_empty())
}

/// Whether a generated continuation of the prompt begins with the right answer on a line of its own.
pub fn is_correct(generated: &str, example: &Example) -> bool {
    extract_answer(generated) == Some(example.answer.as_str())
}

#[cfg(test)]
mod tests;
