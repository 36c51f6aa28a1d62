//! A folder of files with their lengths and checksums: while it is filled, and when it is read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::claims::Held;
use super::durable;
use super::error::{IoContext, StoreError};
use crate::hash::{hex, sha256_hex};

/// Length and checksum of a stored file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileRecord {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl FileRecord {
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: sha256_hex(bytes) }
    }

    /// The record of what a hasher was given, so many bytes.
    pub(super) fn of_hasher(bytes: u64, hasher: &Sha256) -> Self {
        Self { bytes, sha256: hex(&hasher.clone().finalize()) }
    }

    /// Length and the beginning of the checksum, for people.
    fn describe(&self) -> String {
        let digest = self.sha256.get(..16).unwrap_or(&self.sha256);
        format!("{} bytes with sha256 {digest}...", self.bytes)
    }

    fn of(path: &Path) -> Result<Self, StoreError> {
        let mut file = File::open(path).context("read", path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0u8; 1 << 16];
        let mut bytes = 0;
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    bytes += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("read", path),
            }
        }
        Ok(Self { bytes, sha256: hex(&hasher.finalize()) })
    }
}

/// The files of a folder by name.
pub(super) type Manifest = BTreeMap<String, FileRecord>;

/// Writes files into a folder of the store and keeps their checksums.
#[derive(Debug)]
pub struct FilesWriter {
    folder: PathBuf,
    manifest: Manifest,
    claim: Arc<Held>,
}

impl FilesWriter {
    pub(super) fn new(folder: PathBuf, claim: Arc<Held>) -> Self {
        Self { folder, manifest: Manifest::new(), claim }
    }

    /// Stores `bytes` under `name`, replacing an earlier file of that name.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::InvalidName`] for a name with anything but letters, digits,
    /// `-`, `_` and `.`, or one that the store uses itself; [`StoreError::ClaimLost`] if the stage was taken over.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check_name(name)?;
        self.claim.guard(|| durable::write_file(&self.folder.join(name), bytes))?;
        self.manifest.insert(name.to_string(), FileRecord::of_bytes(bytes));
        Ok(())
    }

    /// Stores a value as indented JSON with a final line end.
    ///
    /// # Errors
    /// As [`write`](Self::write), and [`StoreError::Serialise`].
    pub fn write_json<T: Serialize>(&mut self, name: &str, value: &T) -> Result<(), StoreError> {
        let mut text = to_json(&self.folder.join(name), value)?;
        text.push('\n');
        self.write(name, text.as_bytes())
    }

    /// Lets `save` write the file at the path that it is given, then syncs it and takes its checksum.
    ///
    /// # Errors
    /// As [`write`](Self::write); an error of `save` becomes [`StoreError::Payload`].
    pub fn write_with<E>(&mut self, name: &str, save: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), StoreError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        check_name(name)?;
        let path = self.folder.join(name);
        self.claim.guard(|| {
            save(&path).map_err(|error| StoreError::Payload { path: path.clone(), source: error.into() })?;
            durable::sync_file(&path)
        })?;
        self.record_written(name)
    }

    /// Takes up a file that is in the folder already.
    pub(super) fn record_written(&mut self, name: &str) -> Result<(), StoreError> {
        let record = FileRecord::of(&self.folder.join(name))?;
        self.manifest.insert(name.to_string(), record);
        Ok(())
    }

    /// Takes up a file that was written to the folder piece by piece, if it still is what was written.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the file was changed since.
    pub(super) fn record_expected(&mut self, name: &str, expected: FileRecord) -> Result<(), StoreError> {
        let path = self.folder.join(name);
        let found = match FileRecord::of(&path) {
            Ok(found) if found == expected => {
                self.manifest.insert(name.to_string(), expected);
                return Ok(());
            }
            Ok(found) => found.describe(),
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => "no such file".into(),
            Err(error) => return Err(error),
        };
        Err(StoreError::Corrupt { path, found, expected: expected.describe(), folder: self.folder.clone() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

/// Names that the store gives to its own files.
const RESERVED: [&str; 4] = ["done", "config.toml", "metrics.jsonl", "snapshot.json"];

fn check_name(name: &str) -> Result<(), StoreError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let valid = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed);
    if valid && !RESERVED.contains(&name) && !name.starts_with("snapshot-") {
        return Ok(());
    }
    Err(StoreError::InvalidName {
        name: name.to_string(),
        what: "stored file",
        expected: "letters, digits, '-', '_' and '.', and none of the store's own names",
    })
}

/// Files that were stored, checked as they are read.
#[derive(Clone, Debug)]
pub struct StoredFiles {
    folder: PathBuf,
    /// What to delete if a file is damaged.
    stage_folder: PathBuf,
    manifest: Manifest,
}

impl StoredFiles {
    /// Checks that all files are there with their lengths (not yet their content).
    pub(super) fn open(folder: PathBuf, stage_folder: PathBuf, manifest: Manifest) -> Result<Self, StoreError> {
        let files = Self { folder, stage_folder, manifest };
        for (name, record) in &files.manifest {
            let path = files.folder.join(name);
            match fs::metadata(&path) {
                Ok(found) if found.len() == record.bytes => {}
                Ok(found) => {
                    return Err(files.corrupt(
                        name,
                        format!("{} bytes", found.len()),
                        format!("{} bytes", record.bytes),
                    ));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(files.corrupt(name, "no such file".into(), format!("{} bytes", record.bytes)));
                }
                Err(error) => return Err(error).context("read", &path),
            }
        }
        Ok(files)
    }

    /// The folder they lie in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Their names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.manifest.keys().map(String::as_str)
    }

    /// Whether there is a file of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.manifest.contains_key(name)
    }

    /// Reads a file and checks its SHA-256.
    ///
    /// # Errors
    /// [`StoreError::NoSuchFile`]; [`StoreError::Corrupt`] for a file that was cut or changed.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let expected = self.record(name)?;
        let path = self.folder.join(name);
        let bytes = fs::read(&path).context("read", &path)?;
        self.compare(name, &FileRecord::of_bytes(&bytes), expected)?;
        Ok(bytes)
    }

    /// The path of a file whose SHA-256 has just been checked, for readers that want a path.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        let expected = self.record(name)?;
        let path = self.folder.join(name);
        self.compare(name, &FileRecord::of(&path)?, expected)?;
        Ok(path)
    }

    /// Reads a JSON file.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`StoreError::Corrupt`] too if it is not a `T`.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, StoreError> {
        let bytes = self.read(name)?;
        serde_json::from_slice(&bytes).map_err(|error| self.corrupt(name, error.to_string(), type_name::<T>()))
    }

    /// Reads a file of one JSON value a line.
    ///
    /// # Errors
    /// As [`read_json`](Self::read_json).
    pub fn read_json_lines<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, StoreError> {
        let bytes = self.read(name)?;
        let lines = bytes.split(|&byte| byte == b'\n').enumerate();
        lines
            .filter(|(_, line)| !line.is_empty())
            .map(|(index, line)| {
                serde_json::from_slice(line).map_err(|error| {
                    let found = format!("in line {}: {error}", index + 1);
                    self.corrupt(name, found, type_name::<T>())
                })
            })
            .collect()
    }

    /// Checks the content of every file.
    ///
    /// # Errors
    /// As [`read`](Self::read), for the first damaged file by name.
    pub fn verify(&self) -> Result<(), StoreError> {
        self.names().try_for_each(|name| self.path(name).map(|_| ()))
    }

    fn record(&self, name: &str) -> Result<&FileRecord, StoreError> {
        self.manifest.get(name).ok_or_else(|| StoreError::NoSuchFile {
            folder: self.folder.clone(),
            name: name.to_string(),
            present: self.names().map(str::to_string).collect(),
        })
    }

    fn compare(&self, name: &str, found: &FileRecord, expected: &FileRecord) -> Result<(), StoreError> {
        if found == expected {
            return Ok(());
        }
        Err(self.corrupt(name, found.describe(), expected.describe()))
    }

    fn corrupt(&self, name: &str, found: String, expected: String) -> StoreError {
        StoreError::Corrupt { path: self.folder.join(name), found, expected, folder: self.stage_folder.clone() }
    }
}

/// Indented JSON.
pub(super) fn to_json<T: Serialize>(path: &Path, value: &T) -> Result<String, StoreError> {
    serde_json::to_string_pretty(value)
        .map_err(|error| StoreError::Serialise { what: path.display().to_string(), message: error.to_string() })
}

fn type_name<T>() -> String {
    format!("a {}", std::any::type_name::<T>())
}
