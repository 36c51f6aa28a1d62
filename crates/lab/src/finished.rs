//! The outputs of finished stages as one small CSV file: a later run takes them over and does not compute them again.
//!
//! The file has a line for each stage: its id, what it is, and its output as JSON. An id is made of everything that
//! decides the output, text included, so that a line of another preset or another text is never taken for one's own.
//! A line is never dropped: what is written is what the file holds already and what is new.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{LabError, Result};
use crate::store::{StageId, StageKey, StoreError, write_atomic};
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
    /// File and line that it was read from.
    #[serde(skip)]
    origin: Option<(Arc<Path>, u64)>,
}

impl Line {
    pub(crate) fn new(key: &StageKey, output: &impl Serialize) -> Result<Self, StoreError> {
        let what = key.label().to_string();
        let result = serde_json::to_string(output)
            .map_err(|error| StoreError::Serialise { what: what.clone(), message: error.to_string() })?;
        Ok(Self { stage: key.id().as_str().into(), what, result, origin: None })
    }

    /// The stage's id.
    pub(crate) fn stage(&self) -> &str {
        &self.stage
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

    /// Reads what [`add_to`](Self::add_to) wrote.
    ///
    /// # Errors
    /// One line that names the file, and the line and what is wrong with it.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let rows: Vec<(u64, Line)> = table::read(path, &COLUMNS)?;
        for (line, row) in &rows {
            if row.stage.parse::<StageId>().is_err() {
                let found = format!("the stage `{}`", row.stage);
                let expected = "a kind, '-' and 16 hexadecimal digits".into();
                return Err(TableError::Line { path: path.into(), line: *line, found, expected }.into());
            }
            if serde_json::from_str::<serde_json::Value>(&row.result).is_err() {
                let found = format!("`{}`", row.result);
                let expected = "a result as JSON".into();
                return Err(TableError::Line { path: path.into(), line: *line, found, expected }.into());
            }
        }
        let path: Arc<Path> = path.into();
        Ok(Self::of(rows.into_iter().map(|(line, row)| Line { origin: Some((path.clone(), line)), ..row })))
    }

    /// Adds all stages of another.
    pub(crate) fn extend(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }

    /// The output of a stage, if it is here; `check` says what is wrong with one that cannot be.
    ///
    /// # Errors
    /// One line that names the file and line of a result of another form, or one that `check` refuses.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        key: &StageKey,
        check: impl FnOnce(&T) -> Result<(), String>,
    ) -> Result<Option<T>> {
        let Some(line) = self.line(key) else {
            return Ok(None);
        };
        let read: Result<T, String> = serde_json::from_str(&line.result).map_err(|error| error.to_string());
        read.and_then(|output| check(&output).map(|()| Some(output))).map_err(|wrong| {
            let (path, number) = line.origin.as_ref().map_or((Path::new(""), 0), |(path, number)| (&**path, *number));
            let expected = format!("the result of {} {} ({wrong})", key.kind(), key.id());
            TableError::Line { path: path.into(), line: number, found: format!("`{}`", line.result), expected }.into()
        })
    }

    /// The line of a stage.
    pub(crate) fn line(&self, key: &StageKey) -> Option<&Line> {
        self.lines.get(key.id().as_str())
    }

    /// Number of stages.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Adds these stages to those that the file holds, in place of lines of the same stages; makes the file if there is
    /// none. Ordered by what the stages are.
    ///
    /// # Errors
    /// If the file is there and cannot be read, or cannot be written; an earlier one is then still there.
    pub(crate) fn add_to(&self, path: &Path) -> Result<()> {
        let mut all = if path.exists() { Self::read(path)? } else { Self::default() };
        all.extend(self.clone());
        let mut lines: Vec<&Line> = all.lines.values().collect();
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

    fn any<T>(_: &T) -> Result<(), String> {
        Ok(())
    }

    #[test]
    fn results_read_back_to_the_same_bits_and_only_for_their_own_stage() {
        let numbers = vec![(1.0 / 3.0, 2e-300), (f64::MIN_POSITIVE, -0.0)];
        let finished = Finished::of([Line::new(&key(1), &numbers).unwrap()]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("finished.csv");
        finished.add_to(&path).unwrap();
        let back = Finished::read(&path).unwrap();
        let read: Vec<(f64, f64)> = back.get(&key(1), any).unwrap().unwrap();
        assert_eq!(format!("{read:?}"), format!("{numbers:?}"));
        assert!(back.line(&key(1)).is_some() && back.line(&key(2)).is_none());
        assert!(back.get::<Vec<(f64, f64)>>(&key(2), any).unwrap().is_none());
        assert_eq!(back.lines.keys().collect::<Vec<_>>(), finished.lines.keys().collect::<Vec<_>>());
    }

    #[test]
    fn a_result_of_another_form_or_one_that_cannot_be_is_refused_with_its_line() {
        let id = key(1).id().clone();
        let text = format!("stage,what,result\nother-0123456789abcdef,another,1\n{id},a run,-1.5\n");
        let written = file(&text);
        let finished = Finished::read(written.path()).unwrap();
        let place = format!("{}, line 3: found `-1.5`, expected the result of finetune {id}", written.path().display());
        let form = finished.get::<String>(&key(1), any).unwrap_err().to_string();
        assert!(form.starts_with(&place) && form.contains("invalid type"), "{form}");
        let negative = |loss: &f64| if *loss < 0.0 { Err("a loss is not negative".to_string()) } else { Ok(()) };
        let refused = finished.get::<f64>(&key(1), negative).unwrap_err().to_string();
        assert_eq!(refused, format!("{place} (a loss is not negative)"));
    }

    #[test]
    fn a_file_of_a_run_that_finished_nothing_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("finished.csv");
        Finished::default().add_to(&path).unwrap();
        assert_eq!(Finished::read(&path).unwrap().len(), 0);
    }

    #[test]
    fn lines_are_added_and_never_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("finished.csv");
        for numbers in [[1, 2], [2, 3]] {
            Finished::of(numbers.map(|number| Line::new(&key(number), &number).unwrap())).add_to(&path).unwrap();
        }
        let all = Finished::read(&path).unwrap();
        let read = |number| all.get::<u32>(&key(number), any).unwrap();
        assert_eq!([1, 2, 3].map(read), [Some(1), Some(2), Some(3)]);
        std::fs::write(&path, "stage,what,result\nfinetune-0,a run\n").unwrap();
        let error = Finished::default().add_to(&path).unwrap_err().to_string();
        assert!(error.contains("finished.csv, line 2: found 2 fields"), "{error}");
        assert!(std::fs::read_to_string(&path).unwrap().contains("a run"), "what cannot be read stays");
    }

    #[test]
    fn a_file_that_a_spreadsheet_has_saved_is_read() {
        let line = Line::new(&key(1), &(0.5, "a, \"b\"")).unwrap();
        let text = table::write_with(&COLUMNS, [&line]).unwrap();
        let saved = file(&format!("\u{feff}{}", text.replace('\n', "\r\n")));
        let back = Finished::read(saved.path()).unwrap();
        assert_eq!(back.get::<(f64, String)>(&key(1), any).unwrap().unwrap(), (0.5, "a, \"b\"".to_string()));
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_line() {
        let message = |text: &str| Finished::read(file(text).path()).unwrap_err().to_string();
        assert!(message("task,loss\n").contains("line 1: found `task,loss`, expected `stage,what,result`"));
        assert!(message("stage,what,result\na,b\n").contains("line 2: found 2 fields"));
        assert!(
            message(&format!("stage,what,result\n{},b,\"{{\"\"end\"\n", key(1).id()))
                .contains("line 2: found `{\"end`")
        );
        assert!(message("stage,what,result\n../a,b,1\n").contains("line 2: found the stage `../a`"));
        assert!(Finished::read(Path::new("nowhere.csv")).unwrap_err().to_string().starts_with("nowhere.csv: "));
    }
}
