//! Writing sets of examples as JSON lines, so that any trainer can use them.
//!
//! An example is `{"prompt": .., "completion": .., "answer": ..}`, a text `{"text": ..}`; one object a line, UTF-8.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use crate::language::{Language, Probe, Token};
use crate::{Error, Example};

/// A plain text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    /// The text.
    pub text: String,
}

impl From<&Example> for Text {
    /// Prompt and completion in one.
    fn from(example: &Example) -> Self {
        Self { text: format!("{}{}", example.prompt, example.completion) }
    }
}

/// The names of tokens, separated by spaces.
pub fn spelled(language: &Language, tokens: &[Token]) -> String {
    let names: Vec<String> = tokens.iter().map(|&token| language.vocabulary().name(token)).collect();
    names.join(" ")
}

/// A probe with its tokens spelled: the prompt up to `=`, the answer with the end as completion.
pub fn probe_example(language: &Language, probe: &Probe) -> Example {
    Example {
        prompt: spelled(language, probe.prompt()),
        completion: spelled(language, &probe.tokens[probe.answer.start..]),
        answer: spelled(language, probe.label()),
    }
}

/// Writes one JSON object a line.
///
/// # Errors
/// Whatever the writer reports.
pub fn write_jsonl<T: Serialize>(mut writer: impl Write, records: impl IntoIterator<Item = T>) -> io::Result<()> {
    for record in records {
        serde_json::to_writer(&mut writer, &record)?;
        writer.write_all(b"\n")?;
    }
    writer.flush()
}

/// Writes a file of JSON lines: under a temporary name beside it first, so that the file is whole or not there.
///
/// # Errors
/// [`Error::File`] with the path and what went wrong.
pub fn save_jsonl<T: Serialize>(path: &Path, records: impl IntoIterator<Item = T>) -> Result<(), Error> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".partial");
    let write = || {
        let mut writer = BufWriter::new(File::create(&temporary)?);
        write_jsonl(&mut writer, records)?;
        writer.get_ref().sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        // What is half written is of no use; if it cannot be removed either, the first error is the one to report.
        let _ = fs::remove_file(&temporary);
        Error::File { path: path.display().to_string(), problem: error.to_string() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{Group, LanguageConfig};

    #[test]
    fn what_is_written_reads_back() {
        let task = crate::task("math").unwrap();
        let examples = task.generate(0, 20, 0).unwrap().train;
        let mut written = Vec::new();
        write_jsonl(&mut written, &examples).unwrap();
        let lines = std::str::from_utf8(&written).unwrap().lines();
        let read: Vec<Example> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, examples);
    }

    #[test]
    fn prompt_and_completion_of_a_probe_make_its_document() {
        let language = Language::new(&LanguageConfig::memorization(10, 10), 0).unwrap();
        for probe in language.probes(1, Group::Test, 5, 0).unwrap() {
            let example = probe_example(&language, &probe);
            assert_eq!(format!("{} {}", example.prompt, example.completion), spelled(&language, &probe.tokens));
            assert!(example.prompt.starts_with("#1 s") && example.prompt.ends_with(" ="));
            assert_eq!(example.completion, format!("{} .", example.answer));
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing").join("train.jsonl");
        let error = save_jsonl(&path, [0]).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()) && error.contains("No such file"), "{error}");
        let path = directory.path().join("train.jsonl");
        save_jsonl(&path, [0, 1]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0\n1\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "the temporary file is gone");
    }
}
