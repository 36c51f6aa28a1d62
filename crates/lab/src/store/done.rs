//! A finished stage.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{IoContext, StoreError};
use super::files::{Manifest, StoredFiles};
use super::key::{StageId, StageKey};

/// The file that makes a stage finished.
pub(super) const DONE: &str = "done";
pub(super) const CONFIG: &str = "config.toml";
pub(super) const METRICS: &str = "metrics.jsonl";

/// Content of `done`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DoneRecord {
    pub(super) kind: String,
    pub(super) semantics: u32,
    pub(super) inputs: Vec<StageId>,
    pub(super) config: Value,
    pub(super) files: Manifest,
}

/// A finished stage: its key and its files, read only.
///
/// Opening checks that every file is there with its length; reading one checks its SHA-256.
#[derive(Clone, Debug)]
pub struct DoneStage {
    key: StageKey,
    files: StoredFiles,
}

impl DoneStage {
    pub(super) fn open(folder: PathBuf) -> Result<Self, StoreError> {
        let (record, key) = read_record(&folder, &folder)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if name != key.id().as_str() {
            return Err(StoreError::Corrupt {
                path: folder.join(DONE),
                found: format!("the record of stage {}", key.id()),
                expected: format!("that of {name}"),
                folder: folder.clone(),
            });
        }
        let files = StoredFiles::open(folder.clone(), folder, record.files)?;
        Ok(Self { key, files })
    }

    /// The directory name.
    pub fn id(&self) -> &StageId {
        self.key.id()
    }

    /// Kind, configuration, inputs.
    pub fn key(&self) -> &StageKey {
        &self.key
    }

    /// The stage's folder.
    pub fn folder(&self) -> &Path {
        self.files.folder()
    }

    /// Its files; names include `config.toml` and, if metrics were written, `metrics.jsonl`.
    pub fn files(&self) -> &StoredFiles {
        &self.files
    }

    /// The metrics in the order in which they were appended; none if none were.
    ///
    /// # Errors
    /// As [`StoredFiles::read_json_lines`].
    pub fn metrics<T: DeserializeOwned>(&self) -> Result<Vec<T>, StoreError> {
        if self.files.contains(METRICS) { self.files.read_json_lines(METRICS) } else { Ok(vec![]) }
    }
}

/// Reads `folder/done` and rebuilds the key; `stage_folder` is what an error tells to delete.
pub(super) fn read_record(folder: &Path, stage_folder: &Path) -> Result<(DoneRecord, StageKey), StoreError> {
    let path = folder.join(DONE);
    let corrupt = |found: String| StoreError::Corrupt {
        path: path.clone(),
        found,
        expected: "the JSON record of a finished stage".into(),
        folder: stage_folder.to_path_buf(),
    };
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(corrupt("no such file".into()));
        }
        read => read.context("read", &path)?,
    };
    let record: DoneRecord = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
    let key = StageKey::new(&record.kind, record.semantics, &record.config, &record.inputs)
        .map_err(|error| corrupt(error.to_string()))?;
    Ok((record, key))
}
