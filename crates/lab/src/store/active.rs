//! A stage that is being worked on: its snapshots, its metrics, and how it is finished.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::claims::Held;
use super::done::{CONFIG, DONE, DoneRecord, DoneStage, METRICS};
use super::durable;
use super::error::{IoContext, StoreError};
use super::files::{FileRecord, FilesWriter, Manifest, StoredFiles, to_json};
use super::key::{StageId, StageKey};
use super::snapshot::{SNAPSHOT, SnapshotRecord};

pub(super) const SNAPSHOT_PREFIX: &str = "snapshot-";
/// A snapshot being written.
const SNAPSHOT_UNFINISHED: &str = "snapshot.partial";

/// The newest whole snapshot of a stage that was cut off.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Steps done, as given to [`ActiveStage::save_snapshot`].
    pub step: u64,
    /// The files that were stored with it.
    pub files: StoredFiles,
}

/// A stage that this process has taken on. Dropping it leaves the newest snapshot for a later run, and gives the stage
/// back: others can take it on at once.
///
/// Every method that writes files fails with [`StoreError::ClaimLost`] after this process did not run for longer than
/// the lease (paused, asleep, cut off from the disk) and another one took the stage over; nothing is changed then.
#[derive(Debug)]
pub struct ActiveStage {
    key: StageKey,
    /// The folder once the stage is finished.
    target: PathBuf,
    files: FilesWriter,
    metrics: MetricsLog,
    /// `config.toml` as it was written.
    config: FileRecord,
    /// Number in the name of the newest snapshot folder.
    newest_snapshot: Option<u64>,
    pub(super) claim: Arc<Held>,
}

impl ActiveStage {
    /// A stage in the folder `partial`, with a snapshot of that number or none. Writes its `config.toml`, and its
    /// metrics as they were at the snapshot.
    pub(super) fn new(
        key: StageKey,
        target: PathBuf,
        partial: PathBuf,
        claim: Arc<Held>,
        newest_snapshot: Option<u64>,
        metrics: &[u8],
    ) -> Result<Self, StoreError> {
        let config = key.to_toml()?;
        durable::write_file(&partial.join(CONFIG), config.as_bytes())?;
        let config = FileRecord::of_bytes(config.as_bytes());
        let metrics = MetricsLog::open(partial.join(METRICS), metrics)?;
        let files = FilesWriter::new(partial, claim.clone());
        Ok(Self { key, target, files, metrics, config, newest_snapshot, claim })
    }

    /// The directory name.
    pub fn id(&self) -> &StageId {
        self.key.id()
    }

    /// Kind, configuration, inputs.
    pub fn key(&self) -> &StageKey {
        &self.key
    }

    /// Whether this process still holds the stage, as far as it can tell.
    pub fn is_held(&self) -> bool {
        !matches!(self.claim.check(), Err(StoreError::ClaimLost { .. }))
    }

    /// Appends one line of JSON to `metrics.jsonl`. It is kept for sure from the next snapshot on, or
    /// from [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`StoreError::Serialise`], [`StoreError::Io`]. The loss of the claim is noticed at the next snapshot.
    pub fn append_metrics<T: Serialize>(&mut self, record: &T) -> Result<(), StoreError> {
        self.metrics.append(record)
    }

    /// Stores the state after `step` steps, so that a later run can go on from there; `fill` writes the
    /// files. The snapshot before it is removed once this one is whole.
    ///
    /// # Errors
    /// The error of `fill`, [`StoreError::Io`]. The snapshot before it is then still there.
    /// [`StoreError::ClaimLost`] if the stage was taken over.
    pub fn save_snapshot(
        &mut self,
        step: u64,
        fill: impl FnOnce(&mut FilesWriter) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let claim = self.claim.clone();
        claim.guard(|| {
            let metrics = self.metrics.sync()?;
            let unfinished = self.files.folder().join(SNAPSHOT_UNFINISHED);
            let written = self.write_snapshot(&unfinished, step, metrics, fill);
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
        })
    }

    fn write_snapshot(
        &self,
        folder: &Path,
        step: u64,
        metrics: FileRecord,
        fill: impl FnOnce(&mut FilesWriter) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        durable::remove_any(folder)?;
        durable::create_dir(folder)?;
        let mut files = FilesWriter::new(folder.to_path_buf(), self.claim.clone());
        fill(&mut files)?;
        let record = SnapshotRecord::new(self.key.id().clone(), step, metrics, files.manifest().clone())?;
        let path = folder.join(SNAPSHOT);
        durable::write_file(&path, to_json(&path, &record)?.as_bytes())?;
        durable::sync_dir(folder)?;
        // Filling it may have taken long.
        self.claim.check()
    }

    fn snapshot_folder(&self, number: u64) -> PathBuf {
        self.files.folder().join(format!("{SNAPSHOT_PREFIX}{number}"))
    }

    /// The files of the finished stage: write them once the work is done, just before
    /// [`finish`](Self::finish). What is written here is not part of a snapshot.
    pub fn files(&mut self) -> &mut FilesWriter {
        &mut self.files
    }

    /// Makes the stage finished: records the checksums, syncs, removes the snapshots, renames. If another process
    /// finished it meanwhile, its result, which is the same, stays.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the metrics or the configuration were changed on the disk since they were written.
    /// [`StoreError::Io`]; the stage is then still to be finished from its newest snapshot.
    /// [`StoreError::ClaimLost`] if the stage was taken over.
    pub fn finish(mut self) -> Result<DoneStage, StoreError> {
        let claim = self.claim.clone();
        let done = claim.guard(|| self.make_done())?;
        claim.release()?;
        Ok(done)
    }

    fn make_done(&mut self) -> Result<DoneStage, StoreError> {
        // What was written, not what is on the disk by now: damage on the way must not get a valid checksum.
        let metrics = self.metrics.sync()?;
        if metrics.bytes > 0 {
            self.files.record_expected(METRICS, metrics)?;
        }
        self.files.record_expected(CONFIG, self.config.clone())?;
        let record = DoneRecord {
            kind: self.key.kind().to_string(),
            semantics: self.key.semantics(),
            inputs: self.key.inputs().to_vec(),
            config: self.key.config().clone(),
            files: self.files.manifest().clone(),
        };
        let partial = self.files.folder().to_path_buf();
        let path = partial.join(DONE);
        // The checksums may have taken long.
        self.claim.check()?;
        durable::write_atomic(&path, to_json(&path, &record)?.as_bytes())?;
        publish(&partial, &self.target, &record.files)?;
        DoneStage::open(self.target.clone())
    }
}

/// Gives a folder whose `done` is written its final name, without what is not part of the result. If there is a
/// finished stage of that name, it stays.
pub(super) fn publish(partial: &Path, target: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    for entry in durable::entries(partial)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        if name != DONE && !manifest.contains_key(name.as_ref()) {
            durable::remove_any(&entry)?;
        }
    }
    match durable::rename(partial, target) {
        Err(_) if partial.is_dir() && target.join(DONE).is_file() => durable::remove_any(partial),
        renamed => renamed,
    }
}

/// `metrics.jsonl` while it grows. Lines are gathered in memory and reach the file in pieces.
#[derive(Debug)]
struct MetricsLog {
    path: PathBuf,
    file: File,
    pending: Vec<u8>,
    /// Bytes in the file.
    written: u64,
    /// What was written so far.
    hasher: Sha256,
}

impl MetricsLog {
    /// Lines in memory are written from this size on.
    const PENDING_BYTES: usize = 1 << 16;

    /// Opens the file, which holds `content` and perhaps more, cut to that.
    fn open(path: PathBuf, content: &[u8]) -> Result<Self, StoreError> {
        let written = content.len() as u64;
        let file = durable::open_truncated(&path, written)?;
        Ok(Self { path, file, pending: Vec::new(), written, hasher: Sha256::new_with_prefix(content) })
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
        self.hasher.update(&self.pending);
        self.pending.clear();
        Ok(())
    }

    /// Writes and syncs all lines; returns length and checksum of what the file should hold.
    fn sync(&mut self) -> Result<FileRecord, StoreError> {
        self.flush()?;
        self.file.sync_all().context("sync", &self.path)?;
        Ok(FileRecord::of_hasher(self.written, &self.hasher))
    }
}
