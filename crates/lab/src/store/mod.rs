//! The run store: every finished stage once, on disk, under the hash of all that decides its result.
//!
//! A *stage* (pretraining, a finetuning run, a measurement) is named by its [`StageKey`]. Its folder
//! is `ROOT/runs/KIND-HASH`, and holds `config.toml` (for people and for [`watch`]), `metrics.jsonl` (if any), the
//! files that the stage stored, and `done`: a JSON file with length and SHA-256 of each of them.
//!
//! While a stage is worked on, its folder is called `KIND-HASH.partial` and keeps the newest
//! *snapshot*. [`Store::enter`] tells which of three states a stage is in:
//!
//! ```
//! use experiments::store::{StageKey, StageState, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let root = tempfile::tempdir()?;
//! let store = Store::open(root.path())?;
//! let key = StageKey::new("count", 1, &serde_json::json!({ "to": 3 }), &[])?;
//! let (mut stage, mut number) = match store.enter(&key)? {
//!     StageState::Done(_) => return Ok(()),
//!     StageState::Fresh(stage) => (stage, 0),
//!     StageState::Started(stage, snapshot) => (stage, snapshot.files.read_json("number.json")?),
//! };
//! while number < 3 {
//!     number += 1;
//!     stage.append_metrics(&number)?;
//!     stage.save_snapshot(number, |files| files.write_json("number.json", &number))?;
//! }
//! stage.files().write_json("result.json", &number)?;
//! let done = stage.finish()?;
//! assert_eq!(done.files().read_json::<u64>("result.json")?, 3);
//! assert_eq!(done.metrics::<u64>()?, [1, 2, 3]);
//! # Ok(())
//! # }
//! ```
//!
//! **What a kill leaves.** A snapshot is written to a temporary folder, synced, and renamed before
//! the older one is removed; a finished stage is renamed to its final name after everything in it
//! is synced. So at any moment there is one whole snapshot (after the first) or the finished stage.
//! Metrics written after the snapshot are cut off on resuming, so that a stage that was cut off
//! any number of times ends with the same files as one that was not.
//!
//! **Two processes.** A stage being worked on holds an advisory file lock in `ROOT/locks`; the system
//! drops it when the process ends, however it ends.

mod active;
mod done;
mod durable;
mod error;
mod files;
mod key;
#[cfg(test)]
mod tests;
mod watch;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

pub use active::{ActiveStage, Snapshot};
pub use done::DoneStage;
pub use durable::{create_dir_all, write_atomic};
pub use error::StoreError;
pub use files::{FilesWriter, StoredFiles};
pub use key::{StageId, StageKey};
pub use watch::{Watched, watch};

use error::IoContext;

/// The folder of the stages, inside the store's.
const RUNS: &str = "runs";

/// A folder with finished and unfinished stages.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// What there is of a stage.
#[derive(Debug)]
pub enum StageState {
    /// Finished: only to be read.
    Done(DoneStage),
    /// Cut off earlier: to be resumed from its newest snapshot.
    Started(ActiveStage, Snapshot),
    /// To be done from its beginning.
    Fresh(ActiveStage),
}

impl Store {
    /// Opens the store in `root`, creating the folder if there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`] if `root` cannot be created or written.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, StoreError> {
        let store = Self { root: root.as_ref().to_path_buf() };
        durable::create_dir_all(&store.runs())?;
        durable::create_dir_all(&store.locks())?;
        let probe = store.root.join(format!(".writable-{}", std::process::id()));
        durable::write_file(&probe, b"")?;
        durable::remove_file(&probe)?;
        Ok(store)
    }

    /// The folder given to [`open`](Self::open).
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Looks a stage up, and takes it on (with its lock) unless it is done.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process or thread has taken it on; [`StoreError::Corrupt`] if
    /// a finished stage lacks a file or has one of another length; [`StoreError::Io`].
    pub fn enter(&self, key: &StageKey) -> Result<StageState, StoreError> {
        if let Some(done) = self.find(key)? {
            return Ok(StageState::Done(done));
        }
        let lock = self.lock(key)?;
        // Somebody may have finished it while the lock was being taken.
        if let Some(done) = self.find(key)? {
            lock.release()?;
            return Ok(StageState::Done(done));
        }
        active::take_on(self.folder(key.id()), key, lock)
    }

    /// The stage if it is done, without taking it on otherwise.
    ///
    /// # Errors
    /// As [`enter`](Self::enter), but for the lock.
    pub fn find(&self, key: &StageKey) -> Result<Option<DoneStage>, StoreError> {
        let folder = self.folder(key.id());
        if !folder.is_dir() {
            return Ok(None);
        }
        DoneStage::open(folder).map(Some)
    }

    /// All finished stages of a kind, sorted by id: what figures read.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn finished(&self, kind: &str) -> Result<Vec<DoneStage>, StoreError> {
        let mut stages = Vec::new();
        for folder in durable::entries(&self.runs())? {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let of_kind = name.rsplit_once('-').is_some_and(|(found, _)| found == kind);
            if of_kind && folder.extension().is_none() && folder.is_dir() {
                stages.push(DoneStage::open(folder)?);
            }
        }
        Ok(stages)
    }

    fn runs(&self) -> PathBuf {
        self.root.join(RUNS)
    }

    fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    fn folder(&self, id: &StageId) -> PathBuf {
        self.runs().join(id.as_str())
    }

    fn lock(&self, key: &StageKey) -> Result<StageLock, StoreError> {
        let path = self.locks().join(format!("{}.lock", key.id()));
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path).context("open", &path)?;
        match file.try_lock() {
            Ok(()) => Ok(StageLock { file, path }),
            Err(TryLockError::WouldBlock) => {
                Err(StoreError::Locked { stage: key.id().to_string(), root: self.root.clone() })
            }
            Err(TryLockError::Error(error)) => Err(error).context("lock", &path),
        }
    }
}

/// Held as long as a stage is worked on; the system gives it back when the process ends.
#[derive(Debug)]
struct StageLock {
    file: File,
    path: PathBuf,
}

impl Drop for StageLock {
    /// Not left to the closing of the file: a process that this one is just starting shares its open files until it runs its own program, and would keep the lock so long.
    fn drop(&mut self) {
        // Where it fails, closing is all that can be done.
        let _ = self.file.unlock();
    }
}

impl StageLock {
    /// For a stage that is done. Whoever holds or makes another lock file of this name afterwards
    /// finds the stage done, so that removing the file is safe.
    fn release(self) -> Result<(), StoreError> {
        // Closed first: some systems do not remove open files.
        let path = self.path.clone();
        drop(self);
        durable::remove_file(&path)
    }
}
