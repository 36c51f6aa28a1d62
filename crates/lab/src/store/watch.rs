//! Reading stages that may still be under way, without taking them on.

use std::cmp::Reverse;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::adopt::stage_of_partial;
use super::done::{CONFIG, METRICS};
use super::error::{IoContext, StoreError};
use super::key::StageId;
use super::{RUNS, durable};

/// The file of a finished stage's curves.
pub(crate) const CURVES: &str = "curves.json";

/// What there is of a stage that writes metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The stage's id.
    pub id: StageId,
    /// Its folder.
    pub folder: PathBuf,
    /// Its `config.toml`.
    pub config: String,
    /// Its `metrics.jsonl`; the last line of a stage under way may be torn.
    pub metrics: String,
    /// Its `curves.json`, if it is done and has one.
    pub curves: Option<String>,
    /// When work on it began, as far as its folder tells: the present folder's, if it was cut off.
    pub started: SystemTime,
    /// When its metrics were written last.
    pub written: SystemTime,
}

/// All stages in the run store of `root` that write metrics, sorted by id. One that another process changes in just
/// this moment may be left out.
///
/// # Errors
/// [`StoreError::Io`] if there is no run store, or a file cannot be read.
pub fn watch(root: &Path) -> Result<Vec<Watched>, StoreError> {
    let (mut stages, runs) = (Vec::new(), root.join(RUNS));
    if !runs.is_dir() {
        return Err(StoreError::NoStore { root: root.to_path_buf() });
    }
    for folder in durable::entries(&runs)? {
        let finished = folder.file_name().and_then(|name| name.to_str()?.parse::<StageId>().ok());
        let done = finished.is_some();
        let Some(id) = finished.or_else(|| stage_of_partial(&folder)) else {
            continue;
        };
        // Before the content: what is appended meanwhile is later.
        let modified = |name: &str| std::fs::metadata(folder.join(name)).and_then(|data| data.modified()).ok();
        let (started, written) = (modified(CONFIG), modified(METRICS));
        let (config, metrics) = (read(&folder.join(CONFIG))?, read(&folder.join(METRICS))?);
        if let (Some(config), Some(metrics), Some(started), Some(written)) = (config, metrics, started, written) {
            let curves = if done { read(&folder.join(CURVES))? } else { None };
            stages.push((done, Watched { id, folder, config, metrics, curves, started, written }));
        }
    }
    // A stage that is just taken over has several folders: the one that is done or knows most counts.
    stages.sort_by(|(a_done, a), (b_done, b)| {
        (&a.id, Reverse((a_done, a.metrics.len()))).cmp(&(&b.id, Reverse((b_done, b.metrics.len()))))
    });
    stages.dedup_by(|(_, a), (_, b)| a.id == b.id);
    Ok(stages.into_iter().map(|(_, stage)| stage).collect())
}

/// A file's text, if it is there.
fn read(path: &Path) -> Result<Option<String>, StoreError> {
    match std::fs::read_to_string(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        text => text.map(Some).context("read", path),
    }
}
