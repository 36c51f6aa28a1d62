//! A stage that is being worked on: its snapshots, its metrics, and how it is finished.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::done::{CONFIG, DONE, DoneRecord, DoneStage, METRICS, read_record};
use super::durable;
use super::error::{IoContext, StoreError};
use super::files::{FilesWriter, Manifest, StoredFiles, to_json};
use super::key::{StageId, StageKey};
use super::{StageLock, StageState};

/// The record of a snapshot, written last into its folder.
const SNAPSHOT: &str = "snapshot.json";
const SNAPSHOT_PREFIX: &str = "snapshot-";
/// A snapshot being written.
const SNAPSHOT_UNFINISHED: &str = "snapshot.partial";

#[derive(Serialize, Deserialize)]
struct SnapshotRecord {
    step: u64,
    /// Length of the metrics file when the snapshot was taken.
    metrics_bytes: u64,
    files: Manifest,
}

/// The newest whole snapshot of a stage that was cut off.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Steps done, as given to [`ActiveStage::save_snapshot`].
    pub step: u64,
    /// The files that were stored with it.
    pub files: StoredFiles,
}

/// A stage that this process has taken on. Dropping it leaves the newest snapshot for a later run.
#[derive(Debug)]
pub struct ActiveStage {
    key: StageKey,
    /// The folder once the stage is finished.
    target: PathBuf,
    files: FilesWriter,
    metrics: MetricsLog,
    /// Number in the name of the newest snapshot folder.
    newest_snapshot: Option<u64>,
    lock: StageLock,
}

impl ActiveStage {
    /// The directory name.
    pub fn id(&self) -> &StageId {
        self.key.id()
    }

    /// Kind, configuration, inputs.
    pub fn key(&self) -> &StageKey {
        &self.key
    }

    /// Appends one line of JSON to `metrics.jsonl`. It is kept for sure from the next snapshot on, or
    /// from [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`StoreError::Serialise`], [`StoreError::Io`].
    pub fn append_metrics<T: Serialize>(&mut self, record: &T) -> Result<(), StoreError> {
        self.metrics.append(record)
    }

    /// Stores the state after `step` steps, so that a later run can go on from there; `fill` writes the
    /// files. The snapshot before it is removed once this one is whole.
    ///
    /// # Errors
    /// The error of `fill`, [`StoreError::Io`]. The snapshot before it is then still there.
    pub fn save_snapshot(
        &mut self,
        step: u64,
        fill: impl FnOnce(&mut FilesWriter) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let metrics_bytes = self.metrics.sync()?;
        let unfinished = self.files.folder().join(SNAPSHOT_UNFINISHED);
        let written = self.write_snapshot(&unfinished, step, metrics_bytes, fill);
        if written.is_err() {
            // Best effort, to give space back; the first error is the one to report.
            let _ = durable::remove_any(&unfinished);
            return written;
        }
        let previous = self.newest_snapshot;
        let number = previous.map_or(0, |number| number + 1);
        durable::rename(&unfinished, &self.snapshot_folder(number))?;
        self.newest_snapshot = Some(number);
        match previous {
            Some(number) => durable::remove_any(&self.snapshot_folder(number)),
            None => Ok(()),
        }
    }

    fn write_snapshot(
        &self,
        folder: &Path,
        step: u64,
        metrics_bytes: u64,
        fill: impl FnOnce(&mut FilesWriter) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        durable::remove_any(folder)?;
        durable::create_dir_all(folder)?;
        let mut files = FilesWriter::new(folder.to_path_buf());
        fill(&mut files)?;
        let record = SnapshotRecord { step, metrics_bytes, files: files.manifest().clone() };
        let path = folder.join(SNAPSHOT);
        durable::write_file(&path, to_json(&path, &record)?.as_bytes())?;
        durable::sync_dir(folder)
    }

    fn snapshot_folder(&self, number: u64) -> PathBuf {
        self.files.folder().join(format!("{SNAPSHOT_PREFIX}{number}"))
    }

    /// The files of the finished stage: write them once the work is done, just before
    /// [`finish`](Self::finish). What is written here is not part of a snapshot.
    pub fn files(&mut self) -> &mut FilesWriter {
        &mut self.files
    }

    /// Makes the stage finished: records the checksums, syncs, removes the snapshots, renames.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the stage is then still to be finished from its newest snapshot.
    pub fn finish(mut self) -> Result<DoneStage, StoreError> {
        if self.metrics.sync()? > 0 {
            self.files.record_written(METRICS)?;
        }
        self.files.record_written(CONFIG)?;
        let record = DoneRecord {
            kind: self.key.kind().to_string(),
            semantics: self.key.semantics(),
            inputs: self.key.inputs().to_vec(),
            config: self.key.config().clone(),
            files: self.files.manifest().clone(),
        };
        let partial = self.files.folder().to_path_buf();
        let path = partial.join(DONE);
        durable::write_atomic(&path, to_json(&path, &record)?.as_bytes())?;
        publish(&partial, &self.target, &record.files)?;
        let done = DoneStage::open(self.target)?;
        self.lock.release()?;
        Ok(done)
    }
}

/// Gives a folder whose `done` is written its final name, without what is not part of the result.
fn publish(partial: &Path, target: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    for entry in durable::entries(partial)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        if name != DONE && !manifest.contains_key(name.as_ref()) {
            durable::remove_any(&entry)?;
        }
    }
    durable::rename(partial, target)
}

/// Takes on a stage that is not done: looks at what an earlier run left, and cleans it up.
pub(super) fn take_on(target: PathBuf, key: &StageKey, lock: StageLock) -> Result<StageState, StoreError> {
    let partial = target.with_extension("partial");
    durable::create_dir_all(&partial)?;
    if let Some(manifest) = finished_but_not_renamed(&partial, key) {
        publish(&partial, &target, &manifest)?;
        lock.release()?;
        return DoneStage::open(target).map(StageState::Done);
    }
    let kept = newest_snapshot(&partial)?;
    let kept_name = kept.as_ref().map(|(number, ..)| format!("{SNAPSHOT_PREFIX}{number}"));
    for entry in durable::entries(&partial)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        if name != METRICS && Some(name.as_ref()) != kept_name.as_deref() {
            durable::remove_any(&entry)?;
        }
    }
    durable::write_file(&partial.join(CONFIG), key.to_toml()?.as_bytes())?;
    let metrics_bytes = kept.as_ref().map_or(0, |(_, _, metrics_bytes)| *metrics_bytes);
    let stage = ActiveStage {
        key: key.clone(),
        target,
        metrics: MetricsLog::open(partial.join(METRICS), metrics_bytes)?,
        files: FilesWriter::new(partial),
        newest_snapshot: kept.as_ref().map(|(number, ..)| *number),
        lock,
    };
    Ok(match kept {
        Some((_, snapshot, _)) => StageState::Started(stage, snapshot),
        None => StageState::Fresh(stage),
    })
}

/// The manifest of a stage that was cut off between writing `done` and the last renaming, if
/// everything in it is right; otherwise the stage is resumed as if `done` were not there.
fn finished_but_not_renamed(partial: &Path, key: &StageKey) -> Option<Manifest> {
    let (record, found) = read_record(partial, partial).ok()?;
    if &found != key {
        return None;
    }
    let folder = partial.to_path_buf();
    let files = StoredFiles::open(folder.clone(), folder, record.files.clone()).ok()?;
    files.verify().ok()?;
    Some(record.files)
}

/// The newest snapshot that is whole, with its number and the metrics' length.
fn newest_snapshot(partial: &Path) -> Result<Option<(u64, Snapshot, u64)>, StoreError> {
    let mut numbers: Vec<u64> = durable::entries(partial)?
        .iter()
        .filter_map(|entry| entry.file_name()?.to_str()?.strip_prefix(SNAPSHOT_PREFIX)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let metrics_length = std::fs::metadata(partial.join(METRICS)).map_or(0, |data| data.len());
    let newest = numbers.into_iter().rev().find_map(|number| {
        let folder = partial.join(format!("{SNAPSHOT_PREFIX}{number}"));
        let (snapshot, metrics_bytes) = read_snapshot(folder, partial)?;
        (metrics_bytes <= metrics_length).then_some((number, snapshot, metrics_bytes))
    });
    Ok(newest)
}

fn read_snapshot(folder: PathBuf, partial: &Path) -> Option<(Snapshot, u64)> {
    let text = std::fs::read(folder.join(SNAPSHOT)).ok()?;
    let record: SnapshotRecord = serde_json::from_slice(&text).ok()?;
    let files = StoredFiles::open(folder, partial.to_path_buf(), record.files).ok()?;
    files.verify().ok()?;
    Some((Snapshot { step: record.step, files }, record.metrics_bytes))
}

/// `metrics.jsonl` while it grows. Lines are gathered in memory and reach the file in pieces.
#[derive(Debug)]
struct MetricsLog {
    path: PathBuf,
    file: File,
    pending: Vec<u8>,
    /// Bytes in the file.
    written: u64,
}

impl MetricsLog {
    /// Lines in memory are written from this size on.
    const PENDING_BYTES: usize = 1 << 16;

    /// Opens the file cut to its first `bytes` bytes.
    fn open(path: PathBuf, bytes: u64) -> Result<Self, StoreError> {
        let file = durable::open_truncated(&path, bytes)?;
        Ok(Self { path, file, pending: Vec::new(), written: bytes })
    }

    fn append<T: Serialize>(&mut self, record: &T) -> Result<(), StoreError> {
        let start = self.pending.len();
        let serialised = serde_json::to_writer(&mut self.pending, record);
        if let Err(error) = serialised {
            self.pending.truncate(start);
            return Err(StoreError::Serialise {
                what: format!("a line of {}", self.path.display()),
                message: error.to_string(),
            });
        }
        self.pending.push(b'\n');
        if self.pending.len() >= Self::PENDING_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if let Err(error) = durable::append(&mut self.file, &self.pending) {
            // Half a line may have reached a full disk: a later attempt starts where this one did.
            let _ = self.file.set_len(self.written);
            let _ = self.file.seek(SeekFrom::Start(self.written));
            return Err(error).context("write", &self.path);
        }
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Writes and syncs all lines; returns the file's length.
    fn sync(&mut self) -> Result<u64, StoreError> {
        self.flush()?;
        self.file.sync_all().context("sync", &self.path)?;
        Ok(self.written)
    }
}
