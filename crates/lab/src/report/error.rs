//! What can go wrong with a report.

use std::path::PathBuf;

/// Why a report could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file or folder could not be read.
    #[error("{path}: {source}, expected a readable {what}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
    /// A file could not be written; an earlier one is still there.
    #[error(transparent)]
    Write(#[from] crate::store::StoreError),
    /// The published rows cannot be read: a mistake in the program.
    #[error(transparent)]
    Evidence(#[from] crate::table::TableError),
    /// A section file does not hold a section.
    #[error("{path}: {source}, expected a section of the report (delete the file and run its binary again)")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why reading it failed.
        source: serde_json::Error,
    },
}
