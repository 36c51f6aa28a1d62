//! The few file operations that change the store, each durable when it returns.
//!
//! Everything that the store writes, renames or removes goes through here, so that tests can cut
//! the program off before, or in the middle of, any of them (see [`fault`]).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::{IoContext, StoreError};
use super::nonce::{DIGITS, nonce};

/// What the name of a file that is being written ends with.
const TEMPORARY: &str = ".tmp";

/// Whether a file is one that [`write_atomic`] was writing when its process was cut off, here or in an earlier release.
pub(super) fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(inner) = name.strip_prefix('.').and_then(|name| name.strip_suffix(TEMPORARY)) else {
        return false;
    };
    let is_nonce = inner.len() == DIGITS && inner.bytes().all(|byte| byte.is_ascii_hexdigit());
    let numbers = inner.rsplit_once('.').and_then(|(_, numbers)| numbers.split_once('-'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_nonce || numbers.is_some_and(|(process, count)| is_number(process) && is_number(count))
}

/// Writes `bytes` to `path` so that, whatever happens, the path holds either what it held before or
/// all of `bytes`: a temporary file beside it, synced, renamed over it. Missing parent folders are
/// created.
///
/// # Errors
/// [`StoreError::Io`] with the path; the old content, if any, is then still there.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let parent = parent_of(path);
    create_dir_all(&parent)?;
    // Not the process's number, which another container's process may have, nor the file's name, which may be as long
    // as a name can be.
    let temporary = parent.join(format!(".{}{TEMPORARY}", nonce()));
    let written = write_file(&temporary, bytes).and_then(|()| rename(&temporary, path));
    if written.is_err() {
        // Best effort: the first error is the one to report.
        let _ = remove_file(&temporary);
    }
    // The caller knows the file by its final name.
    written.map_err(|error| match error {
        StoreError::Io { source, .. } => StoreError::Io { action: "write", path: path.to_path_buf(), source },
        other => other,
    })
}

/// Cuts a file to its first `keep` bytes and writes `bytes` after them; made if it is not there, with its folders. For
/// a file that somebody may be reading: it stays the same file. Not atomic.
///
/// # Errors
/// [`StoreError::Io`] with the path.
pub fn append_at(path: &Path, keep: u64, bytes: &[u8]) -> Result<(), StoreError> {
    create_dir_all(&parent_of(path))?;
    let mut file = open_truncated(path, keep)?;
    append(&mut file, bytes).context("write", path)?;
    file.sync_all().context("sync", path)
}

/// Creates or replaces a file and syncs its content. Not atomic.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    fault::at(path).context("create", path)?;
    let mut file = File::create(path).context("create", path)?;
    append(&mut file, bytes).context("write", path)?;
    file.sync_all().context("sync", path)
}

/// Creates a file that must not be there yet; false if it is. Not synced: a claim need not outlive the machine.
pub(super) fn create_new(path: &Path, bytes: &[u8]) -> Result<bool, StoreError> {
    fault::at(path).context("create", path)?;
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        file => file.context("create", path)?,
    };
    let written = append(&mut file, bytes).context("write", path);
    if written.is_err() {
        // Best effort: the first error is the one to report.
        let _ = remove_file(path);
    }
    written.map(|()| true)
}

/// Writes over the beginning of a file that is there, if `change` of its content says so. The file that is written
/// is the one that was read, whatever its name stands for by then. Not synced.
pub(super) fn update(path: &Path, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> io::Result<()> {
    fault::point()?;
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    let Some(bytes) = change(&content) else {
        return Ok(());
    };
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&bytes)
}

/// Writes at the end of an open file; not synced.
pub(super) fn append(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    if let Err(error) = fault::point() {
        // A process that dies while writing leaves some of the bytes.
        if fault::tears_writes() {
            file.write_all(&bytes[..bytes.len() / 2])?;
        }
        return Err(error);
    }
    file.write_all(bytes)
}

/// Opens a file for appending after cutting it to `bytes` (created if missing).
pub(super) fn open_truncated(path: &Path, bytes: u64) -> Result<File, StoreError> {
    fault::at(path).context("open", path)?;
    let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(path).context("open", path)?;
    file.set_len(bytes).context("truncate", path)?;
    file.seek(SeekFrom::End(0)).context("open", path)?;
    Ok(file)
}

/// Syncs a file that something else wrote.
pub(super) fn sync_file(path: &Path) -> Result<(), StoreError> {
    fault::at(path).context("sync", path)?;
    // Windows refuses to sync a file that is open for reading only.
    let file = OpenOptions::new().read(true).write(true).open(path).context("open", path)?;
    file.sync_all().context("sync", path)
}

/// Renames and makes the new name durable.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fault::at(to).context("rename", to)?;
    fs::rename(from, to).context("rename", to)?;
    sync_dir(&parent_of(to))
}

/// [`rename`], or false if there is nothing of that name.
pub(super) fn rename_if_there(from: &Path, to: &Path) -> Result<bool, StoreError> {
    match rename(from, to) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        renamed => renamed.map(|()| true),
    }
}

/// Creates a folder in a parent that must be there: who does not know that the parent was renamed must not make it
/// anew.
pub(super) fn create_dir(path: &Path) -> Result<(), StoreError> {
    fault::at(path).context("create folder", path)?;
    fs::create_dir(path).context("create folder", path)?;
    sync_dir(&parent_of(path))
}

/// Creates a folder with its parents; one that is there is fine.
///
/// # Errors
/// [`StoreError::Io`] with the path.
pub fn create_dir_all(path: &Path) -> Result<(), StoreError> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|folder| *folder != Path::new("") && !folder.is_dir()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    fault::at(path).context("create folder", path)?;
    fs::create_dir_all(path).context("create folder", path)?;
    // Each is a name in its parent, which a loss of power must not take back.
    missing.into_iter().try_for_each(|folder| sync_dir(&parent_of(folder)))
}

/// Removes a file; none there is fine.
pub(super) fn remove_file(path: &Path) -> Result<(), StoreError> {
    fault::at(path).context("remove", path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("remove", path),
        _ => Ok(()),
    }
}

/// Removes a file, or a folder with all that is in it; nothing there is fine.
pub(super) fn remove_any(path: &Path) -> Result<(), StoreError> {
    if !path.is_dir() || path.is_symlink() {
        return remove_file(path);
    }
    let inside = match entries(path) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        inside => inside?,
    };
    for entry in inside {
        remove_any(&entry)?;
    }
    fault::at(path).context("remove folder", path)?;
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("remove folder", path),
        _ => Ok(()),
    }
}

/// What a folder holds, sorted by name.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .context("list", folder)?;
    paths.sort();
    Ok(fault::seen(folder, paths))
}

/// Makes the names in a folder durable (where the system can).
pub(super) fn sync_dir(folder: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        File::open(folder).and_then(|dir| dir.sync_all()).context("sync", folder)?;
    }
    Ok(())
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Outside tests nothing is ever cut off.
#[cfg(not(test))]
mod fault {
    pub(super) fn at(_: &std::path::Path) -> std::io::Result<()> {
        Ok(())
    }
    pub(super) fn point() -> std::io::Result<()> {
        Ok(())
    }
    pub(super) fn tears_writes() -> bool {
        false
    }
    pub(super) fn seen(_: &std::path::Path, list: Vec<std::path::PathBuf>) -> Vec<std::path::PathBuf> {
        list
    }
}

/// Cuts the program off at a chosen file operation of this thread.
#[cfg(test)]
pub(super) mod fault {
    use std::cell::{Cell, RefCell};
    use std::collections::HashMap;
    use std::io;
    use std::path::{Path, PathBuf};

    /// How the chosen operation fails.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(in crate::store) enum Fault {
        /// The process dies: this operation and all that follow do nothing (a write does half).
        Crash,
        /// The disk is full for this one operation.
        DiskFull,
    }

    thread_local! {
        static PAUSE: RefCell<Option<Pause>> = const { RefCell::new(None) };
        static COUNTED: Cell<usize> = const { Cell::new(0) };
        static PLAN: Cell<Option<(usize, Fault)>> = const { Cell::new(None) };
        static CACHE: RefCell<Option<Cache>> = const { RefCell::new(None) };
    }

    /// Lists of folders as this thread saw them, each with how often it is shown again: NFS and its like keep them for
    /// a while.
    struct Cache {
        looks: usize,
        lists: HashMap<PathBuf, (usize, Vec<PathBuf>)>,
    }

    /// Runs `work` where a folder's list is an old one for `looks` looks, unless this thread changes the folder.
    pub(in crate::store) fn cached<T>(looks: usize, work: impl FnOnce() -> T) -> T {
        CACHE.set(Some(Cache { looks, lists: HashMap::new() }));
        let result = work();
        CACHE.set(None);
        result
    }

    /// What a folder's list looks like to this thread.
    pub(super) fn seen(folder: &Path, list: Vec<PathBuf>) -> Vec<PathBuf> {
        CACHE.with_borrow_mut(|cache| {
            let Some(cache) = cache else { return list };
            match cache.lists.get_mut(folder) {
                Some((left, old)) if *left > 0 => {
                    *left -= 1;
                    old.clone()
                }
                _ => {
                    cache.lists.insert(folder.into(), (cache.looks, list.clone()));
                    list
                }
            }
        })
    }

    /// The operation before which a process is paused, and what others do meanwhile.
    type Pause = (usize, Box<dyn FnOnce()>);

    /// Runs `work`, and `meanwhile` just before its `at`-th operation (from 0); false if it has fewer.
    pub(in crate::store) fn paused<T>(
        at: usize,
        meanwhile: impl FnOnce() + 'static,
        work: impl FnOnce() -> T,
    ) -> (T, bool) {
        COUNTED.set(0);
        PAUSE.set(Some((at, Box::new(meanwhile))));
        let result = work();
        (result, PAUSE.take().is_none())
    }

    /// Runs `work` with a fault at its `at`-th operation (from 0); returns the operations counted.
    pub(in crate::store) fn with<T>(at: usize, fault: Fault, work: impl FnOnce() -> T) -> (T, usize) {
        COUNTED.set(0);
        PLAN.set(Some((at, fault)));
        let result = work();
        PLAN.set(None);
        (result, COUNTED.get())
    }

    /// An operation that changes what is at `path`.
    pub(super) fn at(path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(path);
        CACHE.with_borrow_mut(|cache| cache.iter_mut().for_each(|cache| drop(cache.lists.remove(folder))));
        point()
    }

    pub(super) fn point() -> io::Result<()> {
        let count = COUNTED.get();
        if let Some((_, meanwhile)) = PAUSE.with_borrow_mut(|pause| pause.take_if(|(at, _)| *at == count)) {
            meanwhile();
        }
        COUNTED.set(count + 1);
        match PLAN.get() {
            Some((at, Fault::Crash)) if count >= at => Err(io::Error::other("killed")),
            Some((at, Fault::DiskFull)) if count == at => Err(io::Error::from(io::ErrorKind::StorageFull)),
            _ => Ok(()),
        }
    }

    /// True exactly at the operation at which the process dies.
    pub(super) fn tears_writes() -> bool {
        matches!(PLAN.get(), Some((at, Fault::Crash)) if COUNTED.get() == at + 1)
    }
}
