//! The outputs of finished stages as one small CSV file: a later run takes them over and does not compute them again.
//!
//! The file has a line for each stage: its id, what it is, and its output as JSON. An id is made of everything that
//! decides the output, text included, so that a line of another preset or another text is never taken for one's own.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{LabError, Result};
use crate::store::{StageKey, StoreError, write_atomic};
use crate::table::{self, TableError};

const COLUMNS: [&str; 3] = ["stage", "what", "result"];

/// A finished stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The stage's id.
    stage: String,
    /// What it is, for people.
    what: String,
    /// Its output as JSON.
    result: String,
}

impl Line {
    pub(crate) fn new(key: &StageKey, output: &impl Serialize) -> Result<Self, StoreError> {
        let what = key.label().to_string();
        let result = serde_json::to_string(output)
            .map_err(|error| StoreError::Serialise { what: what.clone(), message: error.to_string() })?;
        Ok(Self { stage: key.id().as_str().into(), what, result })
    }
}

/// Finished stages by their ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Finished {
    lines: BTreeMap<String, Line>,
}

impl Finished {
    pub(crate) fn of(lines: impl IntoIterator<Item = Line>) -> Self {
        Self { lines: lines.into_iter().map(|line| (line.stage.clone(), line)).collect() }
    }

    /// Reads what [`write_to`](Self::write_to) wrote.
    ///
    /// # Errors
    /// One line that names the file, and the line and what is wrong with it.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let rows: Vec<(u64, Line)> = table::read(path, &COLUMNS)?;
        for (line, row) in &rows {
            if serde_json::from_str::<serde_json::Value>(&row.result).is_err() {
                let found = format!("`{}`", row.result);
                let expected = "a result as JSON".into();
                return Err(TableError::Line { path: path.into(), line: *line, found, expected }.into());
            }
        }
        Ok(Self::of(rows.into_iter().map(|(_, row)| row)))
    }

    /// Adds all stages of another.
    pub(crate) fn extend(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }

    /// The output of a stage, if it is here and has this form.
    pub(crate) fn get<T: DeserializeOwned>(&self, key: &StageKey) -> Option<T> {
        serde_json::from_str(&self.lines.get(key.id().as_str())?.result).ok()
    }

    /// The line of a stage.
    pub(crate) fn line(&self, key: &StageKey) -> Option<&Line> {
        self.lines.get(key.id().as_str())
    }

    /// Number of stages.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Writes the file, ordered by what the stages are.
    ///
    /// # Errors
    /// If it cannot be written; an earlier one is then still there.
    pub(crate) fn write_to(&self, path: &Path) -> Result<()> {
        let mut lines: Vec<&Line> = self.lines.values().collect();
        lines.sort_by(|a, b| (&a.what, &a.stage).cmp(&(&b.what, &b.stage)));
        write_atomic(path, table::write_with(&COLUMNS, lines)?.as_bytes()).map_err(LabError::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> StageKey {
        StageKey::new("finetune", 1, &number, &[]).unwrap().labelled(format!("finetune \"{number}\", quoted"))
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn results_read_back_to_the_same_bits_and_only_for_their_own_stage() {
        let numbers = vec![(1.0 / 3.0, 2e-300), (f64::MIN_POSITIVE, -0.0)];
        let finished = Finished::of([Line::new(&key(1), &numbers).unwrap()]);
        let written = file("");
        finished.write_to(written.path()).unwrap();
        let back = Finished::read(written.path()).unwrap();
        let read: Vec<(f64, f64)> = back.get(&key(1)).unwrap();
        assert_eq!(format!("{read:?}"), format!("{numbers:?}"));
        assert!(back.line(&key(1)).is_some() && back.line(&key(2)).is_none());
        assert!(back.get::<Vec<(f64, f64)>>(&key(2)).is_none());
        assert!(back.get::<String>(&key(1)).is_none(), "a result of another form is not taken");
        assert_eq!(back.lines, finished.lines);
    }

    #[test]
    fn a_file_of_a_run_that_finished_nothing_reads_back() {
        let written = file("");
        Finished::default().write_to(written.path()).unwrap();
        assert_eq!(Finished::read(written.path()).unwrap().len(), 0);
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_line() {
        let message = |text: &str| Finished::read(file(text).path()).unwrap_err().to_string();
        assert!(message("task,loss\n").contains("line 1: found `task,loss`, expected `stage,what,result`"));
        assert!(message("stage,what,result\na,b\n").contains("line 2: found 2 fields"));
        assert!(message("stage,what,result\na,b,\"{\"\"end\"\n").contains("line 2: found `{\"end`"));
        assert!(Finished::read(Path::new("nowhere.csv")).unwrap_err().to_string().starts_with("nowhere.csv: "));
    }
}
