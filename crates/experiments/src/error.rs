//! What can go wrong in an experiment, each as one line.

use std::path::PathBuf;

/// An error of an experiment; binaries print it on one line and end with exit code 2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// A preset file cannot be read.
    #[error("{}: {source}", path.display())]
    ReadPreset {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file named on the command line cannot be read.
    #[error("{}: {source}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A preset is not valid TOML, or has an unknown key or a value of the wrong type.
    #[error("{origin}, line {line}: {message}")]
    ParsePreset {
        /// The file, or the name of a built-in preset.
        origin: String,
        /// The line, from 1.
        line: usize,
        /// What was found and expected.
        message: String,
    },
    /// A field of a preset or a flag is out of range.
    #[error("{field}: found {found}, expected {expected}")]
    Value {
        /// The field or flag.
        field: String,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A variation of a preset is no preset itself.
    #[error("variation {name}: {message}")]
    Variation {
        /// The variation.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// Text for training could not be gathered.
    #[error(transparent)]
    Corpus(#[from] crate::corpus::CorpusError),
    /// The run store refused.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// A model could not be built, trained or read.
    #[error(transparent)]
    Model(#[from] models::Error),
    /// A generated task could not be made.
    #[error(transparent)]
    Task(#[from] synthetic_lm::Error),
    /// A job of the grid failed.
    #[error(transparent)]
    Grid(#[from] crate::grid::GridError),
    /// Results contradict each other.
    #[error(transparent)]
    Results(#[from] crate::stats::ResultsError),
    /// A figure could not be drawn.
    #[error(transparent)]
    Figure(#[from] crate::figures::FigureError),
    /// The report could not be written.
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
    /// A simulation of the theory refused its parameters.
    #[error(transparent)]
    Theory(#[from] theory::TheoryError),
    /// Threads could not be started.
    #[error("cannot start a worker's threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

impl ExperimentError {
    /// An [`ExperimentError::Value`].
    pub fn value(field: impl Into<String>, found: impl std::fmt::Display, expected: impl std::fmt::Display) -> Self {
        Self::Value { field: field.into(), found: found.to_string(), expected: expected.to_string() }
    }
}

/// A result with [`ExperimentError`].
pub type Result<T, E = ExperimentError> = std::result::Result<T, E>;
