//! The run store: every finished stage once, on disk, under the hash of all that decides its result.
//!
//! A *stage* (pretraining, a finetuning run, a measurement) is named by its [`StageKey`]. Its folder
//! is `ROOT/runs/KIND-HASH`, and holds `config.toml` (for people and for [`watch()`]), `metrics.jsonl` (if any), the
//! files that the stage stored, and `done`: a JSON file with length and SHA-256 of each of them.
//!
//! While a stage is worked on, its folder is called `KIND-HASH.NONCE.partial` and keeps the newest
//! *snapshot*. [`Store::enter`] tells which state a stage is in and does not wait; [`Store::wait`] does:
//!
//! ```
//! use lab::store::{ReadyStage, StageKey, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let root = tempfile::tempdir()?;
//! let store = Store::open(root.path())?;
//! let key = StageKey::new("count", 1, &serde_json::json!({ "to": 3 }), &[])?;
//! let (mut stage, mut number) = match store.wait(&key, |holder| println!("waiting for {holder}"))? {
//!     ReadyStage::Done(_) => return Ok(()),
//!     ReadyStage::Fresh(stage) => (stage, 0),
//!     ReadyStage::Started(stage, snapshot) => (stage, snapshot.files.read_json("number.json")?),
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
//! **Many processes** may work on one store, on one machine or on several that share a file system. Who works on a
//! stage holds a claim: a file in `ROOT/claims`, created exclusively, with a heartbeat. Another one that asks for the
//! stage gets [`StageState::Claimed`] and goes on with something else. The claim of a process that died is taken
//! over, at once on the same machine and after a lease ([`StoreOptions`]) otherwise. The rules, and why they hold,
//! are told in `claims.rs`.

mod active;
mod adopt;
mod claims;
mod done;
mod durable;
mod error;
mod exclusive;
mod files;
mod heartbeat;
mod holder;
mod housekeeping;
mod key;
mod nonce;
mod process;
mod snapshot;
#[cfg(test)]
mod tests;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use active::{ActiveStage, Snapshot};
pub use done::DoneStage;
pub use durable::{append_at, create_dir_all, write_atomic};
pub use error::StoreError;
pub use files::{FilesWriter, StoredFiles};
pub use holder::Claim;
pub use housekeeping::{StageEntry, StageProgress, sweep_temporary};
pub use key::{StageId, StageKey};
pub(crate) use watch::CURVES;
pub use watch::{Watched, watch};

use claims::{Acquired, Claims};
use housekeeping::PROBE;
use process::Process;

/// The folder of the stages, inside the store's.
const RUNS: &str = "runs";

/// How processes that share a store tell who is alive. They may differ from process to process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Time between two signs of life of a claim, taken as at least 1 ms and at most an hour. Default: 5 s.
    pub heartbeat: Duration,
    /// A stage is taken over from a process on another machine after so long without a sign of life, as far as this
    /// process has watched; at least three heartbeats of that process. Default: 60 s.
    pub lease: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(5), lease: Duration::from_secs(60) }
    }
}

/// A folder with finished and unfinished stages. Clones share what they have seen of other processes' claims.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    claims: Arc<Claims>,
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
    /// Another process or thread works on it: ask again later, or [`wait`](Store::wait).
    Claimed(Claim),
}

/// A stage that can be read or worked on.
#[derive(Debug)]
pub enum ReadyStage {
    /// Finished: only to be read.
    Done(DoneStage),
    /// Cut off earlier: to be resumed from its newest snapshot.
    Started(ActiveStage, Snapshot),
    /// To be done from its beginning.
    Fresh(ActiveStage),
}

impl Store {
    /// First pause of [`wait`](Self::wait); each is twice the one before.
    const FIRST_PAUSE: Duration = Duration::from_millis(50);
    const LONGEST_PAUSE: Duration = Duration::from_secs(2);

    /// Opens the store in `root`, creating the folder if there is none, with the default options.
    ///
    /// # Errors
    /// [`StoreError::Io`] if `root` cannot be created or written.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(root, StoreOptions::default())
    }

    /// Opens the store that is in `root` already.
    ///
    /// # Errors
    /// [`StoreError::NoStore`] if none is there; as [`open`](Self::open).
    pub fn open_existing(root: impl AsRef<Path>) -> Result<Self, StoreError> {
        let root = root.as_ref();
        match root.join(RUNS).is_dir() {
            true => Self::open(root),
            false => Err(StoreError::NoStore { root: root.to_path_buf() }),
        }
    }

    /// Opens the store in `root`, creating the folder if there is none.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(root: impl AsRef<Path>, options: StoreOptions) -> Result<Self, StoreError> {
        Self::open_as(root.as_ref(), options, Process::current())
    }

    fn open_as(root: &Path, options: StoreOptions, process: Process) -> Result<Self, StoreError> {
        let store = Self { root: root.to_path_buf(), claims: Arc::new(Claims::new(root, options, process)) };
        durable::create_dir_all(&store.runs())?;
        durable::create_dir_all(store.claims.folder())?;
        let probe = store.root.join(format!("{PROBE}{}", nonce::nonce()));
        durable::write_file(&probe, b"")?;
        durable::remove_file(&probe)?;
        store.sweep();
        Ok(store)
    }

    /// The folder given to [`open`](Self::open).
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Looks a stage up, and takes it on unless it is done or somebody who is alive works on it. Does not wait.
    ///
    /// A claim whose process has died is taken over: at once on this machine, after the lease otherwise, counted from
    /// the first time that this `Store` or a clone of it met the claim without a new sign of life. So a caller that
    /// asks again now and then gets the stage in the end.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a finished stage lacks a file or has one of another length;
    /// [`StoreError::ClaimLost`] if this process was paused meanwhile; [`StoreError::Io`].
    pub fn enter(&self, key: &StageKey) -> Result<StageState, StoreError> {
        if let Some(done) = self.find(key)? {
            self.claims.forget(key.id());
            return Ok(StageState::Done(done));
        }
        let claim = match self.claims.acquire(key.id())? {
            Acquired::Mine(claim) => claim,
            Acquired::Other(holder) => return Ok(StageState::Claimed(holder)),
        };
        // Somebody may have finished it while it was being claimed.
        if let Some(done) = self.find(key)? {
            claim.release()?;
            return Ok(StageState::Done(done));
        }
        adopt::take_on(&self.runs(), key, claim)
    }

    /// As [`enter`](Self::enter), but waits as long as another process or thread works on the stage, with pauses from
    /// 50 ms to 2 s. `claimed` is called before each pause.
    ///
    /// A caller that holds a stage may only wait for those that it is made from: two that wait for each other's stages
    /// wait for ever.
    ///
    /// # Errors
    /// As [`enter`](Self::enter); [`StoreError::Interrupted`] if the program is asked to stop meanwhile.
    pub fn wait(&self, key: &StageKey, mut claimed: impl FnMut(&Claim)) -> Result<ReadyStage, StoreError> {
        let mut pause = Self::FIRST_PAUSE;
        loop {
            match self.enter(key)? {
                StageState::Done(done) => return Ok(ReadyStage::Done(done)),
                StageState::Started(stage, snapshot) => return Ok(ReadyStage::Started(stage, snapshot)),
                StageState::Fresh(stage) => return Ok(ReadyStage::Fresh(stage)),
                StageState::Claimed(holder) => claimed(&holder),
            }
            interrupted()?;
            std::thread::sleep(pause);
            pause = (2 * pause).min(Self::LONGEST_PAUSE);
        }
    }

    /// The stage if it is done, without taking it on otherwise.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it lacks a file or has one of another length; [`StoreError::Io`].
    pub fn find(&self, key: &StageKey) -> Result<Option<DoneStage>, StoreError> {
        let folder = self.folder(key.id());
        if !folder.is_dir() {
            return Ok(None);
        }
        DoneStage::open(folder).map(Some)
    }

    /// A finished stage by its id: what others start from.
    ///
    /// # Errors
    /// [`StoreError::NoSuchStage`] if it is not done; as [`find`](Self::find).
    pub fn open_done(&self, id: &StageId) -> Result<DoneStage, StoreError> {
        let folder = self.folder(id);
        match folder.is_dir() {
            true => DoneStage::open(folder),
            false => Err(StoreError::NoSuchStage { stage: id.to_string(), root: self.root.clone() }),
        }
    }

    fn runs(&self) -> PathBuf {
        self.root.join(RUNS)
    }

    fn folder(&self, id: &StageId) -> PathBuf {
        self.runs().join(id.as_str())
    }
}

/// [`StoreError::Interrupted`] if the program was asked to stop.
fn interrupted() -> Result<(), StoreError> {
    if !crate::interrupt::asked() {
        return Ok(());
    }
    crate::interrupt::stopped();
    Err(StoreError::Interrupted)
}
