//! What can go wrong in an experiment, each as one line.

use lab::error::LabError;

/// An error of an experiment; binaries print it on one line and end with exit code 2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// The engine refused: a file, a field of a preset, the store, the report.
    #[error(transparent)]
    Lab(#[from] LabError),
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
    Corpus(#[from] corpora::CorpusError),
    /// The run store refused.
    #[error(transparent)]
    Store(#[from] lab::store::StoreError),
    /// A model could not be built, trained or read.
    #[error(transparent)]
    Model(#[from] models::Error),
    /// A generated task could not be made.
    #[error(transparent)]
    Task(#[from] synthetic_lm::Error),
    /// Results contradict each other.
    #[error(transparent)]
    Results(#[from] crate::stages::ResultsError),
    /// Threads could not be started.
    #[error("cannot start threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A simulation of the theory refused its parameters.
    #[error(transparent)]
    Theory(#[from] theory::TheoryError),
}

impl ExperimentError {
    /// A [`LabError::Value`]: what was found in a field, and what was expected.
    pub fn value(field: impl Into<String>, found: impl std::fmt::Display, expected: impl std::fmt::Display) -> Self {
        LabError::value(field, found, expected).into()
    }
}

/// A result with [`ExperimentError`].
pub type Result<T, E = ExperimentError> = std::result::Result<T, E>;
