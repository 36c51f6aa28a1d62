//! What is in a store, removing a stage, and what is left of stages that are gone or done.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::adopt::{partials, stage_of_partial};
use super::claims::Acquired;
use super::error::StoreError;
use super::holder::Claim;
use super::key::StageId;
use super::nonce::nonce;
use super::{Store, durable};

/// What the name of a folder that is being deleted begins with.
const TRASH: &str = ".trash-";
/// What the name of the file begins with that shows whether the store can be written.
pub(super) const PROBE: &str = ".writable-";
/// Leftovers are kept for so long: a process may be about to notice that they are no longer its own.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 3600);

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageProgress {
    /// Finished: it has its result.
    Done,
    /// Begun, under way or cut off.
    Unfinished,
}

/// A stage in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageEntry {
    /// Its directory name.
    pub id: StageId,
    /// What is done, e.g. `pretrain`.
    pub kind: String,
    /// How far it is.
    pub state: StageProgress,
    /// Bytes in its files, snapshots included.
    pub bytes: u64,
    /// When a file or folder of it changed last, by the file system's clock.
    pub modified: SystemTime,
    /// Who works on it, unless that process is known to have ended.
    pub claimed: Option<Claim>,
}

impl Store {
    /// All stages, sorted by id. One that vanishes meanwhile is left out.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the store's folders cannot be read.
    pub fn list(&self) -> Result<Vec<StageEntry>, StoreError> {
        let mut stages: BTreeMap<StageId, StageEntry> = BTreeMap::new();
        for folder in durable::entries(&self.runs())? {
            let done = folder.file_name().and_then(|name| name.to_str()?.parse::<StageId>().ok());
            let state = if done.is_some() { StageProgress::Done } else { StageProgress::Unfinished };
            let Some(id) = done.or_else(|| stage_of_partial(&folder)) else {
                continue;
            };
            let Some(Size { bytes, modified }) = Size::of(&folder) else {
                continue;
            };
            if let Some(stage) = stages.get_mut(&id) {
                // Another folder of the same stage; that of a finished one comes first.
                stage.bytes += bytes;
                stage.modified = stage.modified.max(modified);
                continue;
            }
            let (kind, claimed) = (id.kind().to_string(), self.claims.holder(&id)?);
            stages.insert(id.clone(), StageEntry { id, kind, state, bytes, modified, claimed });
        }
        Ok(stages.into_values().collect())
    }

    /// Removes a stage, done or not; returns the bytes that were in its files, 0 if there is no such stage. A process
    /// that reads the stage meanwhile gets an error.
    ///
    /// The stage first gets another name and then is deleted, so that a kill leaves nothing that looks done.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if a process that lives works on it (one that died on another machine counts as alive
    /// until this `Store` has watched its claim for the lease: ask again); [`StoreError::InvalidName`] for an id that
    /// no stage can have; [`StoreError::Io`].
    pub fn remove(&self, id: &StageId) -> Result<u64, StoreError> {
        let id: StageId = id.as_str().parse()?;
        let claim = match self.claims.acquire(&id)? {
            Acquired::Mine(claim) => claim,
            Acquired::Other(holder) => {
                return Err(StoreError::InUse { stage: id.to_string(), root: self.root().to_path_buf(), holder });
            }
        };
        let bytes = claim.guard(|| {
            let mut folders = partials(&self.runs(), &id)?;
            folders.push(self.folder(&id));
            let mut bytes = 0;
            for folder in folders {
                let size = Size::of(&folder);
                claim.check()?;
                if self.throw_away(&folder)? {
                    bytes += size.map_or(0, |size| size.bytes);
                }
            }
            Ok(bytes)
        })?;
        claim.release()?;
        Ok(bytes)
    }

    /// Removes the leftovers of processes that were cut off, for stages that are done or removed. What cannot be
    /// removed is left for the next time.
    pub(super) fn sweep(&self) {
        let is_done = |id: &StageId| self.folder(id).is_dir();
        for folder in durable::entries(&self.runs()).unwrap_or_default() {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(TRASH) {
                let _ = durable::remove_any(&folder);
            } else if stage_of_partial(&folder).is_some_and(|id| is_done(&id)) && is_old(&folder) {
                let _ = self.throw_away(&folder);
            }
        }
        for id in self.claims.stages().unwrap_or_default().iter().filter(|id| is_done(id)) {
            let mut claims = self.claims.all_of(id).unwrap_or_default();
            claims.retain(|claim| self.claims.has_ended(claim) || is_old(&claim.path));
            for claim in claims {
                let _ = durable::remove_file(&claim.path);
            }
        }
        for file in durable::entries(self.root()).unwrap_or_default() {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(PROBE) && is_old(&file) {
                let _ = durable::remove_file(&file);
            }
        }
        sweep_temporary(self.root());
    }

    /// Deletes a folder of the stages, all at once as far as others see; false if there is none.
    fn throw_away(&self, folder: &Path) -> Result<bool, StoreError> {
        let trash = self.runs().join(format!("{TRASH}{}", nonce()));
        let there = durable::rename_if_there(folder, &trash)?;
        if there {
            durable::remove_any(&trash)?;
        }
        Ok(there)
    }
}

/// Whether a file or folder has not changed for so long that no process is at it.
fn is_old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|data| data.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFTOVER_AGE))
}

/// Removes from a folder, and not from those in it, the files that [`write_atomic`](super::write_atomic) was writing
/// when its process was cut off more than a day ago. What cannot be removed is left for the next time.
pub fn sweep_temporary(folder: &Path) {
    for file in durable::entries(folder).unwrap_or_default() {
        if durable::is_temporary(&file) && is_old(&file) {
            let _ = durable::remove_file(&file);
        }
    }
}

/// What a folder takes, with all that is in it.
struct Size {
    bytes: u64,
    modified: SystemTime,
}

impl Size {
    /// None if the folder is not there. What vanishes inside meanwhile is left out.
    fn of(folder: &Path) -> Option<Self> {
        let modified = fs::metadata(folder).and_then(|data| data.modified()).ok()?;
        let mut size = Self { bytes: 0, modified };
        let mut folders: Vec<PathBuf> = vec![folder.to_path_buf()];
        while let Some(next) = folders.pop() {
            for path in durable::entries(&next).unwrap_or_default() {
                let Ok(data) = fs::symlink_metadata(&path) else {
                    continue;
                };
                size.modified = data.modified().map_or(size.modified, |at| at.max(size.modified));
                if data.is_dir() { folders.push(path) } else { size.bytes += data.len() }
            }
        }
        Some(size)
    }
}
