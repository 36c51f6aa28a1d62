//! What finished, as one small CSV file: a later run takes it over in place of computing it again.
//!
//! `finished.csv` has a line for each stage that led to a number: the stage's id, what it is, and its result as JSON. An id is made of everything that
//! decides the result, text included, so that a line of another preset or another text is never taken for one's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{ExperimentError, Result};
use crate::stats::csv::{quote, records};
use crate::store::StageKey;

/// The file's name in the report's folder.
pub const FINISHED: &str = "finished.csv";

const HEADER: [&str; 3] = ["stage", "what", "result"];

/// Results of stages, by the stage's id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Finished {
    stages: BTreeMap<String, (String, String)>,
}

impl Finished {
    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// One line that names the file, and the line and what is wrong with it.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let wrong = |line: usize, found: &str, expected: &str| {
            ExperimentError::value(format!("{}, line {line}", path.display()), format!("`{found}`"), expected)
        };
        let text = std::fs::read_to_string(path)
            .map_err(|source| ExperimentError::ReadFile { path: path.to_path_buf(), source })?;
        let lines = records(&text).map_err(|error| ExperimentError::value(path.display().to_string(), error, "CSV"))?;
        let mut lines = lines.into_iter();
        let (_, header) = lines.next().unwrap_or_default();
        if header != HEADER {
            return Err(wrong(1, &header.join(","), &format!("`{}`", HEADER.join(","))));
        }
        let mut stages = BTreeMap::new();
        for (line, fields) in lines {
            let [stage, what, result] = <[String; 3]>::try_from(fields)
                .map_err(|fields| wrong(line, &fields.join(","), "a stage, what it is, its result"))?;
            if serde_json::from_str::<serde_json::Value>(&result).is_err() {
                return Err(wrong(line, &result, "a result as JSON"));
            }
            stages.insert(stage, (what, result));
        }
        Ok(Self { stages })
    }

    /// Adds a stage's result.
    ///
    /// # Errors
    /// If JSON cannot hold the result.
    pub(crate) fn add(&mut self, key: &StageKey, what: String, result: &impl Serialize) -> Result<()> {
        let json = serde_json::to_string(result)
            .map_err(|error| ExperimentError::value(&what, error, "a result that JSON can hold"))?;
        self.stages.insert(key.id().as_str().into(), (what, json));
        Ok(())
    }

    /// Adds all stages of another.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.stages.extend(other.stages.iter().map(|(stage, line)| (stage.clone(), line.clone())));
    }

    /// The result of a stage, if it is here and has this form.
    pub(crate) fn get<T: DeserializeOwned>(&self, key: &StageKey) -> Option<T> {
        let (_, json) = self.stages.get(key.id().as_str())?;
        serde_json::from_str(json).ok()
    }

    /// Whether a stage is here.
    pub(crate) fn contains(&self, key: &StageKey) -> bool {
        self.stages.contains_key(key.id().as_str())
    }

    /// Number of stages.
    pub(crate) fn len(&self) -> usize {
        self.stages.len()
    }

    /// The file's text, ordered by what the stages are.
    pub(crate) fn write(&self) -> String {
        let mut lines: Vec<(&String, &String, &String)> =
            self.stages.iter().map(|(stage, (what, result))| (what, stage, result)).collect();
        lines.sort();
        let mut text = HEADER.join(",");
        text.push('\n');
        for (what, stage, result) in lines {
            let _ = writeln!(text, "{},{},{}", quote(stage), quote(what), quote(result));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> StageKey {
        StageKey::new("finetune", 1, &number, &[]).unwrap()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn results_read_back_to_the_same_bits_and_only_for_their_own_stage() {
        let mut finished = Finished::default();
        let numbers = vec![(1.0 / 3.0, 2e-300), (f64::MIN_POSITIVE, -0.0)];
        finished.add(&key(1), "finetune adamw, \"quoted\"".into(), &numbers).unwrap();
        let back = Finished::read(file(&finished.write()).path()).unwrap();
        let read: Vec<(f64, f64)> = back.get(&key(1)).unwrap();
        assert_eq!(format!("{read:?}"), format!("{numbers:?}"));
        assert!(back.contains(&key(1)) && !back.contains(&key(2)));
        assert!(back.get::<Vec<(f64, f64)>>(&key(2)).is_none());
        assert_eq!(back.write(), finished.write());
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_line() {
        let message = |text: &str| Finished::read(file(text).path()).unwrap_err().to_string();
        assert!(message("task,loss\n").contains("line 1: found `task,loss`, expected `stage,what,result`"));
        assert!(message("stage,what,result\na,b\n").contains("line 2: found `a,b`"));
        assert!(message("stage,what,result\na,b,{\"end\n").contains("line 2"));
        assert!(Finished::read(Path::new("nowhere.csv")).unwrap_err().to_string().starts_with("nowhere.csv: "));
    }
}
