//! Tasks from a user's file: rows become prompts with completions, by a known layout or by templates.
//!
//! - `layout` knows the fields and prompts of well-known sets;
//! - `template` puts fields into text;
//! - `answer` tells the answer from a worked solution.

mod answer;
mod layout;
mod template;

use std::collections::HashSet;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{CorpusError, Place};
use crate::row::Odd;
use crate::rows::{Skipped, for_each_row};

pub use answer::answer;
pub use layout::{Form, Layout};
pub use template::Template;

/// One example of a task, from one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskExample {
    /// Where its row stands in the file.
    pub place: Place,
    /// What the model is shown.
    pub prompt: String,
    /// What it is trained to continue with.
    pub completion: String,
    /// The answer in the completion, where it can be told.
    pub answer: Option<String>,
}

/// Which part of a file an example belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// To train on.
    Train,
    /// To choose rates on.
    Validation,
    /// To report.
    Test,
}

impl TaskExample {
    /// The part that the example belongs to, where a share `held_out` of all prompts is held out, half of it for the
    /// test. It follows from the prompt alone: the same prompt is on one side, in every file and for every seed.
    pub fn part(&self, held_out: f64) -> Part {
        let place = prompt_hash(&self.prompt) as f64 / 2f64.powi(64);
        if place < held_out / 2.0 {
            Part::Test
        } else if place < held_out {
            Part::Validation
        } else {
            Part::Train
        }
    }
}

/// A number from a prompt's words; how they are spaced makes no difference.
fn prompt_hash(prompt: &str) -> u64 {
    let mut hasher = Sha256::new();
    for word in prompt.split_whitespace() {
        hasher.update(word.as_bytes());
        hasher.update(b" ");
    }
    let digest = hasher.finalize();
    u64::from_le_bytes(std::array::from_fn(|place| digest[place]))
}

/// The examples of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFile {
    /// In the file's order.
    pub examples: Vec<TaskExample>,
    /// How they were made: a layout's name, or `templates`.
    pub form: &'static str,
    /// Rows of no use.
    pub skipped: Skipped,
    /// Examples whose prompt another one before has.
    pub repeated: usize,
}

impl TaskFile {
    /// Reads a file: `.jsonl`, `.json` (a list, or lines) or `.csv`.
    ///
    /// Up to a tenth of the rows may be of no use; they are counted.
    ///
    /// # Errors
    /// One line with the file and the place in it: what is no regular file, of another kind, not UTF-8 or empty, fields
    /// that no layout has, or the first of too many rows that cannot be used.
    pub fn read(path: &Path, form: &Form) -> Result<Self, CorpusError> {
        let mut layout = form.layout;
        let mut unknown = None;
        let (mut examples, mut skipped, mut all) = (Vec::new(), Skipped::default(), 0);
        for_each_row(path, &mut |place, row| {
            all += 1;
            if unknown.is_some() {
                return;
            }
            let example = row.and_then(|row| {
                if let Some([prompt, completion]) = &form.templates {
                    return Ok(Some((prompt.render(&row)?, completion.render(&row)?)));
                }
                let layout = match layout {
                    Some(layout) => layout,
                    None => match Layout::of(&row, path) {
                        Ok(found) => *layout.insert(found),
                        Err(error) => {
                            unknown = Some(error);
                            return Ok(None);
                        }
                    },
                };
                layout.render(&row, form.calculator_marks).map(Some)
            });
            match example.and_then(|texts| texts.map(|texts| checked(place, texts)).transpose()) {
                Ok(example) => examples.extend(example),
                Err(odd) => skipped.add(place, odd),
            }
        })?;
        if let Some(error) = unknown {
            return Err(error);
        }
        skipped.check(path, all)?;
        if examples.is_empty() {
            return Err(CorpusError::Empty { path: path.into() });
        }
        let mut seen = HashSet::new();
        let repeated = examples.iter().filter(|example| !seen.insert(prompt_hash(&example.prompt))).count();
        let form = layout.filter(|_| form.templates.is_none()).map_or("templates", Layout::name);
        Ok(Self { examples, form, skipped, repeated })
    }
}

/// An example, if there is something to read and something to learn.
fn checked(place: Place, (prompt, completion): (String, String)) -> Result<TaskExample, Odd> {
    for (what, text) in [("prompt", &prompt), ("completion", &completion)] {
        if text.trim().is_empty() {
            return Err(Odd::new(format!("an empty {what}"), "some text"));
        }
    }
    let answer = answer(&completion);
    Ok(TaskExample { place, prompt, completion, answer })
}

/// Whether a file of this name can hold a task.
pub fn is_task_file(path: &Path) -> bool {
    crate::rows::has_rows(path)
}

#[cfg(test)]
mod tests;
