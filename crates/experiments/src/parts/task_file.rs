//! A task from a user's file.

use std::path::{Path, PathBuf};

use corpora::{Form, Layout, Template};
use serde::{Deserialize, Serialize};

use super::checks::share;
use crate::error::{ExperimentError, Result};
use crate::stages::{FileSource, known};

/// A task from a file of examples: which file, and how its rows are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TaskFilePreset {
    /// Its name in `tasks` and in results: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The file: .jsonl, .json (a list, or lines) or .csv.
    pub file: PathBuf,
    /// The layout of its fields. Recognised by their names if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// The prompt, in place of a layout: text with the names of fields in braces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The completion, in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
    /// What becomes of GSM8K's calculator marks (`<<48/2=24>>`): dropped if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calculator_marks: Option<Marks>,
    /// Share of the prompts that is held out, half of it for the test and half for validation. 0.2 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<f64>,
    /// What becomes of an example that is longer than the context: left out if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub too_long: Option<TooLong>,
}

/// What becomes of calculator marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Marks {
    /// They are no part of the completion.
    Drop,
    /// They are learned.
    Keep,
}

/// What becomes of an example that is longer than the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TooLong {
    /// It is not used; a file of which more than a tenth does not fit is refused.
    LeaveOut,
    /// The completion loses its end, and the end of text with it.
    Truncate,
}

/// Share of the prompts that is held out where nothing is said.
const HELD_OUT: f64 = 0.2;

/// The most characters of a name.
const LONGEST_NAME: usize = 40;

impl TaskFilePreset {
    /// The task's source.
    ///
    /// # Errors
    /// If the templates cannot be read.
    pub fn source(&self) -> Result<FileSource> {
        let field = |name: &str| format!("task-files.{}.{name}", self.name);
        let templates = match (&self.prompt, &self.completion) {
            (Some(prompt), Some(completion)) => Some([Template::parse(prompt)?, Template::parse(completion)?]),
            (None, None) => None,
            (Some(_), None) => {
                return Err(ExperimentError::value(field("completion"), "none", "a template beside prompt"));
            }
            (None, Some(_)) => {
                return Err(ExperimentError::value(field("prompt"), "none", "a template beside completion"));
            }
        };
        let form =
            Form { layout: self.layout, templates, calculator_marks: self.calculator_marks == Some(Marks::Keep) };
        Ok(FileSource {
            name: self.name.clone(),
            path: self.file.clone(),
            form,
            held_out: self.held_out.unwrap_or(HELD_OUT),
            truncate: self.too_long == Some(TooLong::Truncate),
        })
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<()> {
        if !is_safe(&self.name) {
            let expected =
                format!("1 to {LONGEST_NAME} letters, digits, `-`, `_` or `.`, beginning with a letter or digit");
            return Err(ExperimentError::value("task-files.name", format!("{:?}", self.name), expected));
        }
        if known().contains(&self.name.as_str()) {
            let expected = format!("another name than those of tasks that need no file ({})", known().join(", "));
            return Err(ExperimentError::value("task-files.name", &self.name, expected));
        }
        let field = |name: &str| format!("task-files.{}.{name}", self.name);
        share(&field("held-out"), self.held_out.unwrap_or(HELD_OUT), false)?;
        let FileSource { form, .. } = self.source()?;
        if let (Some(layout), true) = (self.layout, form.templates.is_some()) {
            let expected = "none beside prompt and completion";
            return Err(ExperimentError::value(field("layout"), layout.name(), expected));
        }
        let may_be_gsm8k = form.templates.is_none() && self.layout.is_none_or(|layout| layout == Layout::Gsm8k);
        if self.calculator_marks.is_some() && !may_be_gsm8k {
            return Err(ExperimentError::value(field("calculator-marks"), "a choice", "none but for layout gsm8k"));
        }
        Ok(())
    }
}

/// Whether a name can stand in tables, figures and names of files as it is.
fn is_safe(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= LONGEST_NAME && name.chars().all(is_plain) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// A name for the task of a file: what the file is called, without what cannot stand in a name; unlike those of `taken`
/// and of the tasks that need no file.
pub fn safe_name(file: &Path, taken: &[String]) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let plain: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') { c } else { '-' }).collect();
    let plain: String = plain.trim_matches(['-', '_', '.']).chars().take(LONGEST_NAME - 8).collect();
    let plain = if plain.is_empty() { "file".to_string() } else { plain };
    let is_free = |name: &String| !taken.contains(name) && !known().contains(&name.as_str());
    let mut names = std::iter::once(plain.clone()).chain((2..).map(|number| format!("{plain}-{number}")));
    names.find(is_free).unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TaskFilePreset, String> {
        let preset: TaskFilePreset = toml::from_str(text).map_err(|error| error.message().to_string())?;
        preset.validate().map(|()| preset).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_is_read_as_its_table_says() {
        let plain = read("name = 'a'\nfile = 'a.jsonl'").unwrap().source().unwrap();
        assert_eq!((plain.held_out, plain.truncate, plain.form), (0.2, false, Form::default()));
        let more = "name = 'a'\nfile = 'a.jsonl'\nlayout = 'gsm8k'\ncalculator-marks = 'keep'\nheld-out = 0.5\ntoo-long = 'truncate'";
        let source = read(more).unwrap().source().unwrap();
        assert_eq!((source.held_out, source.truncate), (0.5, true));
        assert_eq!((source.form.layout, source.form.calculator_marks), (Some(Layout::Gsm8k), true));
        let own = read("name = 'a'\nfile = 'a.csv'\nprompt = '{q}'\ncompletion = '{a}'").unwrap();
        assert!(own.source().unwrap().form.templates.is_some());
    }

    #[test]
    fn the_documented_table_is_read() {
        let guide = include_str!("../../../../docs/guide.md");
        let table = guide.split("[[task-files]]\n").nth(1).unwrap().split("```").next().unwrap();
        let source = read(table).unwrap().source().unwrap();
        assert!(source.form.templates.is_some() && source.truncate);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_field() {
        for (lines, expected) in [
            ("name = 'a,b'", "task-files.name: found \"a,b\""),
            ("name = ''", "task-files.name: found \"\""),
            ("name = '../a'", "task-files.name"),
            ("name = 'a\\u0007'", "task-files.name"),
            ("name = 'math'", "task-files.name: found math, expected another name"),
            ("name = 'a'\nlayout = 'gsm'", "unknown variant `gsm`"),
            ("name = 'a'\nheld-out = 1.0", "task-files.a.held-out: found 1, expected a share"),
            ("name = 'a'\nprompt = '{q}'", "task-files.a.completion: found none"),
            ("name = 'a'\ncompletion = '{q}'", "task-files.a.prompt: found none"),
            ("name = 'a'\nprompt = '{q'\ncompletion = '{a}'", "template \"{q\": found a `{` without a `}`"),
            ("name = 'a'\nlayout = 'alpaca'\nprompt = '{q}'\ncompletion = '{a}'", "task-files.a.layout: found alpaca"),
            ("name = 'a'\nlayout = 'alpaca'\ncalculator-marks = 'keep'", "task-files.a.calculator-marks"),
            ("name = 'a'\ncolour = 1", "unknown field `colour`"),
        ] {
            let message = read(&format!("file = 'a.jsonl'\n{lines}")).unwrap_err();
            assert!(message.contains(expected), "{lines}: {message}");
        }
    }

    #[test]
    fn names_of_files_become_names_that_are_safe_and_distinct() {
        let name = |file: &str, taken: &[&str]| {
            let taken: Vec<String> = taken.iter().map(|name| name.to_string()).collect();
            let name = safe_name(Path::new(file), &taken);
            assert!(is_safe(&name), "{name}");
            name
        };
        assert_eq!(name("data/MetaMathQA-395K.jsonl", &[]), "metamathqa-395k");
        assert_eq!(name("a, \"b\".jsonl", &[]), "a---b");
        assert_eq!(name("math.jsonl", &[]), "math-2");
        assert_eq!(name("a.csv", &["a", "a-2"]), "a-3");
        assert_eq!(name("日本.jsonl", &[]), "file");
        assert_eq!(name(&format!("{}.jsonl", "x".repeat(300)), &[]).len(), LONGEST_NAME - 8);
    }
}
