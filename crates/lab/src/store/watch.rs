//! Reading stages that may still be under way, without taking them on.

use std::cmp::Reverse;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::adopt::stage_of_partial;
use super::done::{CONFIG, METRICS};
use super::error::{IoContext, StoreError};
use super::key::StageId;
use super::{RUNS, durable};

/// What there is of a stage that writes metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The stage's id.
    pub id: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its `config.toml`.
    pub config: String,
    /// Its `metrics.jsonl`; the last line of a stage under way may be torn.
    pub metrics: String,
    /// Its `result.json`, if it is done and has one.
    pub result: Option<String>,
}

/// All stages in the run store of `root` that write metrics, sorted by id. One that another process changes in just
/// this moment may be left out.
///
/// # Errors
/// [`StoreError::Io`] if there is no run store, or a file cannot be read.
pub fn watch(root: &Path) -> Result<Vec<Watched>, StoreError> {
    let mut stages = Vec::new();
    for folder in durable::entries(&root.join(RUNS))? {
        let finished = folder.file_name().and_then(|name| name.to_str()?.parse::<StageId>().ok());
        let done = finished.is_some();
        let Some(id) = finished.or_else(|| stage_of_partial(&folder)).map(|id| id.to_string()) else {
            continue;
        };
        let (config, metrics) = (read(&folder.join(CONFIG))?, read(&folder.join(METRICS))?);
        if let (Some(config), Some(metrics)) = (config, metrics) {
            let result = if done { read(&folder.join("result.json"))? } else { None };
            stages.push(Watched { id, folder, config, metrics, result });
        }
    }
    // A stage that is just taken over has several folders: the one that is done or knows most counts.
    stages.sort_by(|a, b| {
        let extent = |stage: &Watched| Reverse((stage.result.is_some(), stage.metrics.len()));
        (&a.id, extent(a)).cmp(&(&b.id, extent(b)))
    });
    stages.dedup_by(|a, b| a.id == b.id);
    Ok(stages)
}

/// A file's text, if it is there.
fn read(path: &Path) -> Result<Option<String>, StoreError> {
    match std::fs::read_to_string(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        text => text.map(Some).context("read", path),
    }
}
