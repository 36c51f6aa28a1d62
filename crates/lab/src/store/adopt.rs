//! Taking on a stage that is not done: what earlier processes left of it, and what becomes of that.
//!
//! Each claim works in a folder of its own, `STAGE.NONCE.partial`. What others left is first renamed to a name of this
//! claim, as a whole: a process that wakes up after its stage was taken over then no longer finds its folder. Only
//! after that is anything read, kept or removed. The metrics are copied, not moved, because such a process may hold the
//! file open.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StageState;
use super::active::{ActiveStage, SNAPSHOT_PREFIX, Snapshot, publish};
use super::claims::Held;
use super::done::{DoneStage, METRICS, read_record};
use super::durable;
use super::error::{IoContext, StoreError};
use super::files::{Manifest, StoredFiles};
use super::key::{StageId, StageKey};
use super::snapshot::SnapshotRecord;

/// What the name of an unfinished stage's folder ends with.
pub(super) const PARTIAL: &str = ".partial";

/// The stage that a folder of unfinished work belongs to.
pub(super) fn stage_of_partial(folder: &Path) -> Option<StageId> {
    let name = folder.file_name()?.to_str()?.strip_suffix(PARTIAL)?;
    name.split('.').next()?.parse().ok()
}

/// All folders of unfinished work on a stage.
pub(super) fn partials(runs: &Path, id: &StageId) -> Result<Vec<PathBuf>, StoreError> {
    let mut folders = durable::entries(runs)?;
    folders.retain(|folder| stage_of_partial(folder).as_ref() == Some(id));
    Ok(folders)
}

/// Takes on a stage that was not done when it was claimed.
pub(super) fn take_on(runs: &Path, key: &StageKey, claim: Arc<Held>) -> Result<StageState, StoreError> {
    let guard = claim.clone();
    guard.guard(|| {
        let target = runs.join(key.id().as_str());
        let own = runs.join(format!("{}.{}{PARTIAL}", key.id(), claim.nonce()));
        durable::create_dir(&own)?;
        let left = isolate(runs, key.id(), &own, &claim)?;
        let finished = left.iter().find_map(|folder| Some((folder, finished_but_not_renamed(folder, key)?)));
        // Looked up again: after a folder is made, a shared file system no longer remembers that there was none of this
        // name.
        if finished.is_some() || target.is_dir() {
            let kept = finished.as_ref().map(|(folder, _)| *folder);
            for folder in left.iter().filter(|folder| Some(*folder) != kept).chain([&own]) {
                durable::remove_any(folder)?;
            }
            if let Some((folder, manifest)) = &finished {
                publish(folder, &target, manifest)?;
            }
            let done = DoneStage::open(target)?;
            claim.release()?;
            return Ok(StageState::Done(done));
        }
        let kept = adopt(&left, key, &own)?;
        for folder in &left {
            durable::remove_any(folder)?;
        }
        let (number, metrics) =
            kept.as_ref().map_or((None, &[][..]), |kept| (Some(kept.number), kept.metrics.as_slice()));
        let stage = ActiveStage::new(key.clone(), target, own, claim, number, metrics)?;
        Ok(match kept {
            Some(kept) => StageState::Started(stage, kept.snapshot),
            None => StageState::Fresh(stage),
        })
    })
}

/// Renames what others left so that they no longer find it; returns the new names.
fn isolate(runs: &Path, id: &StageId, own: &Path, claim: &Held) -> Result<Vec<PathBuf>, StoreError> {
    let mut isolated = Vec::new();
    for (index, folder) in partials(runs, id)?.into_iter().filter(|folder| folder != own).enumerate() {
        let taken = runs.join(format!("{id}.{}-{index}{PARTIAL}", claim.nonce()));
        claim.check()?;
        if durable::rename_if_there(&folder, &taken)? {
            isolated.push(taken);
        }
    }
    Ok(isolated)
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

/// A snapshot that is gone on from.
struct Kept {
    number: u64,
    /// The metrics up to it.
    metrics: Vec<u8>,
    snapshot: Snapshot,
}

/// Moves the newest snapshot of the stage that is whole to the folder `own`, with a copy of the metrics up to it.
fn adopt(left: &[PathBuf], key: &StageKey, own: &Path) -> Result<Option<Kept>, StoreError> {
    let mut candidates = Vec::new();
    for partial in left {
        for folder in durable::entries(partial)? {
            let number = folder.file_name().and_then(|name| name.to_str()?.strip_prefix(SNAPSHOT_PREFIX)?.parse().ok());
            if let Some(number) = number
                && let Some(record) = SnapshotRecord::read(&folder)?.filter(|record| record.is_of(key, partial))
            {
                candidates.push((record.step, number, partial, folder, record));
            }
        }
    }
    candidates.sort_by_key(|(step, number, ..)| (*step, *number));
    for (step, number, partial, folder, record) in candidates.into_iter().rev() {
        let files = StoredFiles::open(folder.clone(), partial.clone(), record.files.clone());
        match files.and_then(|files| files.verify()) {
            Ok(()) => {}
            Err(StoreError::Corrupt { .. } | StoreError::NoSuchFile { .. }) => continue,
            // What cannot be read now may be whole: it is not to be thrown away.
            Err(other) => return Err(other),
        }
        let metrics = match record.metrics_bytes {
            0 => Vec::new(),
            bytes => match beginning(&partial.join(METRICS), bytes)? {
                Some(metrics) if record.has_metrics(&metrics) => metrics,
                _ => continue,
            },
        };
        if !metrics.is_empty() {
            durable::write_file(&own.join(METRICS), &metrics)?;
            durable::sync_dir(own)?;
        }
        let moved = own.join(format!("{SNAPSHOT_PREFIX}{number}"));
        durable::rename(&folder, &moved)?;
        let files = StoredFiles::open(moved, own.to_path_buf(), record.files)?;
        return Ok(Some(Kept { number, metrics, snapshot: Snapshot { step, files } }));
    }
    Ok(None)
}

/// The first bytes of a file, if it has so many.
fn beginning(path: &Path, bytes: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("read", path),
    };
    let mut content = Vec::new();
    file.take(bytes).read_to_end(&mut content).context("read", path)?;
    Ok((content.len() as u64 == bytes).then_some(content))
}
