//! What can go wrong in the engine, each as one line.

use std::fmt::Display;
use std::path::PathBuf;

/// Whatever a stage or an experiment fails with; its message is one line.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// An error of the engine; binaries print it on one line and end with exit code 2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A file that was named cannot be read.
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
    /// A field of a preset, a flag or a file has a value that it cannot have.
    #[error("{field}: found {found}, expected {expected}")]
    Value {
        /// The field, the flag, or the file and line.
        field: String,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A report of what is finished was asked for, and nothing is.
    #[error("report-only: found none of the {stages} stages of {name} finished in {}, expected one, there or in a file \
             of --finished", out.display())]
    NothingFinished {
        /// The experiment.
        name: &'static str,
        /// The stages that are planned.
        stages: usize,
        /// Where they were looked for.
        out: PathBuf,
    },
    /// A table cannot be read.
    #[error(transparent)]
    Table(#[from] crate::table::TableError),
    /// The run store refused.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// A stage failed.
    #[error("{label}: {source}")]
    Stage {
        /// The stage's label.
        label: String,
        /// What it failed with.
        source: Failure,
    },
    /// A stage panicked: a mistake in the program.
    #[error("{label}: internal error: {message}")]
    Panicked {
        /// The stage's label.
        label: String,
        /// The first line of the panic's message.
        message: String,
    },
    /// A figure could not be drawn.
    #[error(transparent)]
    Figure(#[from] crate::figures::FigureError),
    /// The report could not be written.
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
    /// Threads could not be started.
    #[error(
        "cannot start threads: {0}; the system allows no more of them, or no memory for them: try a smaller --jobs"
    )]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A worker could not be started.
    #[error("cannot start a worker: {0}; the system allows no more threads: try a smaller --jobs")]
    Worker(std::io::Error),
    /// The program was asked to stop, and has stopped.
    #[error("stopped by a signal; what was finished or had a snapshot is kept: run again to go on")]
    Interrupted,
    /// A program of the cluster failed.
    #[error("{program}: {message}")]
    Cluster {
        /// Which.
        program: String,
        /// What it said.
        message: String,
    },
    /// An experiment refused, in its own words.
    #[error(transparent)]
    Experiment(Failure),
}

impl LabError {
    /// A [`LabError::Value`].
    pub fn value(field: impl Into<String>, found: impl Display, expected: impl Display) -> Self {
        Self::Value { field: field.into(), found: or_nothing(found.to_string()), expected: expected.to_string() }
    }
}

/// What was found, in a word where it is an empty text.
fn or_nothing(found: String) -> String {
    match found.is_empty() {
        true => "nothing".into(),
        false => found,
    }
}

/// A result with [`LabError`].
pub type Result<T, E = LabError> = std::result::Result<T, E>;
