//! What can go wrong in the run store, each as one line.

use std::io;
use std::path::{Path, PathBuf};

use super::holder::Claim;

/// An error of the run store. Its message is one line that names the path concerned.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused a file operation: no permission, disk full, path not a folder...
    #[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was tried, as a verb ("write", "create folder").
        action: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// There is no store where one is to be read.
    #[error("{}: found no run store, expected the --out of an experiment that has run", root.display())]
    NoStore {
        /// The folder that was given.
        root: PathBuf,
    },
    /// A stage that another process (or another thread) works on cannot be removed.
    #[error("stage {stage} of {} is in use by {holder}: wait until it ends", root.display())]
    InUse {
        /// Directory name of the stage.
        stage: String,
        /// Root folder of the store.
        root: PathBuf,
        /// Who works on it.
        holder: Claim,
    },
    /// This process was paused for so long that its stage was given to another one, or its claim was deleted.
    #[error(
        "this process no longer holds stage {stage} of {}: it did not run for a while (paused, asleep, or cut off from \
         the disk) and another took the stage over; what is stored is whole, run again",
        root.display()
    )]
    ClaimLost {
        /// Directory name of the stage.
        stage: String,
        /// Root folder of the store.
        root: PathBuf,
    },
    /// A stored file is not what was stored.
    #[error(
        "{}: found {found}, expected {expected}; to recover, delete the folder {} and run again",
        path.display(), folder.display()
    )]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What was stored.
        expected: String,
        /// The stage's folder; deleting it makes the stage be computed again.
        folder: PathBuf,
    },
    /// A stage that another starts from is not there.
    #[error("{}: found no finished stage {stage}, which another starts from; run again", root.display())]
    NoSuchStage {
        /// Directory name of the stage.
        stage: String,
        /// Root folder of the store.
        root: PathBuf,
    },
    /// A stage has no file of that name.
    #[error("{} holds no file '{name}' (it holds: {})", folder.display(), present.join(", "))]
    NoSuchFile {
        /// The folder asked.
        folder: PathBuf,
        /// The name asked for.
        name: String,
        /// The names there are.
        present: Vec<String>,
    },
    /// A stage kind, a stage or a file name that cannot be used in a path.
    #[error("'{name}' cannot be the name of a {what}: expected {expected}")]
    InvalidName {
        /// The refused name.
        name: String,
        /// "stage kind", "stage" or "stored file".
        what: &'static str,
        /// The rule it breaks.
        expected: &'static str,
    },
    /// A value could not be turned into JSON or TOML.
    #[error("cannot serialise {what}: {message}")]
    Serialise {
        /// What was being written.
        what: String,
        /// The serialiser's message.
        message: String,
    },
    /// The program was asked to stop while it waited for another process, or has stopped after a snapshot.
    #[error("stopped by a signal; run again to go on")]
    Interrupted,
    /// A function that was asked to write a stored file failed.
    #[error("cannot write {}: {source}", path.display())]
    Payload {
        /// The file that was to be written.
        path: PathBuf,
        /// Its own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space and run again, nothing stored is lost"
        }
        _ => "",
    }
}

/// Attaches what was tried, and on which path, to an [`io::Error`].
pub(super) trait IoContext<T> {
    /// `action` is a verb that fits "cannot {action} {path}".
    fn context(self, action: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io { action, path: path.to_path_buf(), source })
    }
}
