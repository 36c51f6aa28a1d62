//! Who works on a stage: claims that many processes respect, on one machine or on many that share a file system.
//! A claim is a file `ROOT/claims/STAGE.N`: who holds it, a random *nonce*, and a counter that the holder's heartbeat
//! raises. The file system has to keep three promises: creating a file exclusively succeeds for one process only, a
//! folder's list always shows what is in it, and renaming is atomic.
//!
//! - **Taking on.** A process reads all claims of the stage. If one is alive, the stage is taken. If all are dead, or
//!   there is none, it creates the claim with the next number exclusively: of several that saw the same, one succeeds.
//!   It then reads the claims again: they must be those dead ones, without another beat, and its own; otherwise it
//!   withdraws. Only then it holds the stage, and removes the dead ones.
//! - **Dead** is a claim whose process has ended, as seen on the same machine (number and start of the process); or one
//!   whose content an observer has seen unchanged for the lease by its own clock. Clocks are not compared.
//! - **Giving back** removes the file. A crash leaves it to be taken over.
//! - **Fencing.** A holder that did not run for longer than the lease may find its stage taken over. Before each write
//!   it looks whether its claim is still there, still its own, and without a successor; if not, it stops with
//!   [`StoreError::ClaimLost`].
//!
//! **Why two processes never both hold a stage, up to such a pause.** Both created their claims before they looked
//! for the second time. Say Q looked last. The claim of the other, P, was there by then, because only P removes it,
//! or a process that judged it dead. So it was among those that Q had found dead at its first look, and had not
//! beaten since: P had ended, or did not run for the lease.
//!
//! **What remains possible.** Between a look and the operation after it a process can be paused for longer than the
//! lease. A stage's data is safe even then: each claim works in a folder named by its nonce, only its holder changes
//! anything inside, and others take such a folder only as a whole, by renaming it. The process that wakes up finds its
//! folder gone and ends with an error; the work since its newest snapshot is done again. It does not take the new
//! holder's folder: before renaming one it looks at its claim, after it listed them. A claim that is withdrawn a moment
//! after it was made may make a holder stop that looks in this moment, and a process that is paused between its last
//! look and giving back may remove a later claim of the same number; that one's holder then stops too, with the same
//! error. If both finish, the results are the same, and the first stays.
//!
//! There is no lock of the operating system: where those work, the rules above already find a dead process at once, and
//! where they fail (they succeed for everybody, hang or are refused, as on many cluster file systems) they would be
//! wrong or in the way.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::StoreOptions;
use super::durable;
use super::error::{IoContext, StoreError};
use super::heartbeat::{self, Beating};
use super::holder::{Claim, Record};
use super::key::StageId;
use super::nonce::nonce;
use super::process::Process;

/// A claim file as it was read.
#[derive(Clone, Debug)]
pub(super) struct Found {
    number: u32,
    pub(super) path: PathBuf,
    content: Vec<u8>,
    record: Option<Record>,
}

impl Found {
    fn holder(&self) -> Claim {
        self.record.as_ref().map_or_else(Claim::unknown, Record::holder)
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.number, &self.content) == (other.number, &other.content)
    }
}

/// A claim file and when this process saw it with that content for the first time.
#[derive(Debug)]
struct Seen {
    found: Found,
    at: Instant,
}

/// What asking for a stage gave.
#[derive(Debug)]
pub(super) enum Acquired {
    Mine(Arc<Held>),
    Other(Claim),
}

/// The claims of a store.
#[derive(Debug)]
pub(super) struct Claims {
    root: PathBuf,
    folder: PathBuf,
    options: StoreOptions,
    process: Process,
    seen: Mutex<HashMap<StageId, Vec<Seen>>>,
}

impl Claims {
    /// Rounds of taking on before it counts as claimed; each but the last was lost to another process.
    const ATTEMPTS: usize = 16;
    /// A claim of another process is alive for at least so many of its heartbeats.
    const LEASE_BEATS: u32 = 3;
    const MIN_HEARTBEAT: Duration = Duration::from_millis(1);
    const MAX_HEARTBEAT: Duration = Duration::from_secs(3600);

    pub(super) fn new(root: &Path, options: StoreOptions, process: Process) -> Self {
        let heartbeat = options.heartbeat.clamp(Self::MIN_HEARTBEAT, Self::MAX_HEARTBEAT);
        Self {
            root: root.to_path_buf(),
            folder: root.join("claims"),
            options: StoreOptions { heartbeat, ..options },
            process,
            seen: Mutex::default(),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Claims the stage, unless somebody who lives has.
    pub(super) fn acquire(&self, id: &StageId) -> Result<Acquired, StoreError> {
        for _ in 0..Self::ATTEMPTS {
            let dead = self.all_of(id)?;
            if let Some(holder) = self.living(id, &dead) {
                return Ok(Acquired::Other(holder));
            }
            let number = dead.last().map_or(1, |found| found.number.saturating_add(1));
            let held = self.prepare(id, number);
            if !durable::create_new(&held.file.path, &held.content)? {
                continue;
            }
            // See the module's text: what was dead may have beaten, or be gone, by now.
            let mut again = self.all_of(id)?;
            let own = again.iter().position(|found| found.number == number).map(|index| again.remove(index));
            let unchanged = again.len() == dead.len() && again.iter().zip(&dead).all(|(a, b)| a.is_same(b));
            if own.is_none() || !unchanged {
                held.release()?;
                continue;
            }
            heartbeat::start(&held.file)?;
            self.forget(id);
            for found in dead {
                durable::remove_file(&found.path)?;
            }
            return Ok(Acquired::Mine(Arc::new(held)));
        }
        Ok(Acquired::Other(Claim::unknown()))
    }

    /// Who works on the stage, if it is not known to be dead.
    pub(super) fn holder(&self, id: &StageId) -> Result<Option<Claim>, StoreError> {
        Ok(self.living(id, &self.all_of(id)?))
    }

    /// The claims of a stage, dead or alive, by number. One that is given back meanwhile is left out.
    pub(super) fn all_of(&self, id: &StageId) -> Result<Vec<Found>, StoreError> {
        let mut all = Vec::new();
        for path in durable::entries(&self.folder)? {
            let number = path.file_name().and_then(|name| name.to_str()?.strip_prefix(id.as_str())?.strip_prefix('.'));
            let Some(number) = number.and_then(|number| number.parse().ok()) else {
                continue;
            };
            if let Some(content) = read(&path)? {
                let record = Record::parse(&content);
                all.push(Found { number, path, content, record });
            }
        }
        all.sort_by_key(|found| found.number);
        Ok(all)
    }

    /// Stages with claims, dead or alive, each once.
    pub(super) fn stages(&self) -> Result<Vec<StageId>, StoreError> {
        let mut stages: Vec<StageId> = durable::entries(&self.folder)?
            .iter()
            .filter_map(|path| path.file_name()?.to_str()?.split_once('.')?.0.parse().ok())
            .collect();
        stages.dedup();
        Ok(stages)
    }

    /// Drops what was remembered of the claims of a stage.
    pub(super) fn forget(&self, id: &StageId) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Whether the process that made a claim has ended.
    pub(super) fn has_ended(&self, found: &Found) -> bool {
        let Some(record) = &found.record else {
            return false;
        };
        let ours = record.process == self.process && record.process.is_near(&self.process);
        if ours { !heartbeat::holds(&record.nonce) } else { record.process.has_ended(&self.process) }
    }

    /// The holder of one that is not known to be dead. Remembers what it was shown.
    fn living(&self, id: &StageId, all: &[Found]) -> Option<Claim> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.remove(id).unwrap_or_default();
        let mut living = None;
        let mut now = Vec::new();
        for found in all {
            let first = before.iter().find(|seen| seen.found.is_same(found));
            let at = first.map_or_else(Instant::now, |seen| seen.at);
            if at.elapsed() < self.lease(found) && !self.has_ended(found) {
                living = Some(found.holder());
            }
            now.push(Seen { found: found.clone(), at });
        }
        if !now.is_empty() {
            seen.insert(id.clone(), now);
        }
        living
    }

    /// How long a claim lives without a beat.
    fn lease(&self, found: &Found) -> Duration {
        let milliseconds = found.record.as_ref().map(|record| Duration::from_millis(record.heartbeat_ms));
        let heartbeat = milliseconds.unwrap_or(self.options.heartbeat);
        self.options.lease.max(heartbeat.saturating_mul(Self::LEASE_BEATS))
    }

    fn path(&self, id: &StageId, number: u32) -> PathBuf {
        self.folder.join(format!("{id}.{number}"))
    }

    /// A claim that is still to be written.
    fn prepare(&self, id: &StageId, number: u32) -> Held {
        let nonce = nonce();
        heartbeat::hold(&nonce);
        let record = Record::new(&self.process, nonce.clone(), self.options.heartbeat);
        let file = Beating { path: self.path(id, number), nonce, every: self.options.heartbeat };
        Held {
            file: Arc::new(file),
            successor: self.path(id, number.saturating_add(1)),
            content: record.to_bytes(),
            stage: id.clone(),
            root: self.root.clone(),
            released: AtomicBool::new(false),
        }
    }
}

/// A claim of this process. Dropping it gives the stage back.
#[derive(Debug)]
pub(super) struct Held {
    file: Arc<Beating>,
    /// The file that another process makes to take the claim over.
    successor: PathBuf,
    /// The claim as it was made.
    content: Vec<u8>,
    stage: StageId,
    root: PathBuf,
    released: AtomicBool,
}

impl Held {
    /// The random name of this claim.
    pub(super) fn nonce(&self) -> &str {
        &self.file.nonce
    }

    /// [`StoreError::ClaimLost`] if the stage was given to another process.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        // In this order: a successor that was itself taken over removed this claim before it was removed.
        if self.successor.exists() || !self.is_there()? {
            return Err(StoreError::ClaimLost { stage: self.stage.to_string(), root: self.root.clone() });
        }
        Ok(())
    }

    /// Does `work` if the claim still holds; an error of `work` that comes from the loss of the claim says so.
    pub(super) fn guard<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.check()?;
        work().map_err(|error| match self.check() {
            Err(lost @ StoreError::ClaimLost { .. }) => lost,
            _ => error,
        })
    }

    /// Gives the stage back.
    pub(super) fn release(&self) -> Result<(), StoreError> {
        if self.released.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let removed = match self.is_there() {
            Ok(true) => durable::remove_file(&self.file.path),
            other => other.map(|_| ()),
        };
        heartbeat::stop(&self.file.nonce);
        removed
    }

    fn is_there(&self) -> Result<bool, StoreError> {
        let record = read(&self.file.path)?.as_deref().and_then(Record::parse);
        Ok(record.is_some_and(|record| record.nonce == self.file.nonce))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A claim that cannot be removed is one of a process that ended, or is taken over after the lease.
        let _ = self.release();
    }
}

/// A file's content, if it is there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        content => content.map(Some).context("read", path),
    }
}
