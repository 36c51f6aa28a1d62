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
    /// A file could not be written.
    #[error("{path}: {source}, expected a file that can be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A section file does not hold a section.
    #[error("{path}: {source}, expected a section of the report (delete the file and run its binary again)")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why reading it failed.
        source: serde_json::Error,
    },
}
