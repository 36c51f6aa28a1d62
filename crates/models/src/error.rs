//! The errors of this crate; each is one line that says what was found and what was expected.

use std::path::PathBuf;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of a configuration is out of its range.
    #[error("{field}: found {found}, expected {expected}")]
    Config {
        /// The field's name, as in the preset file.
        field: &'static str,
        /// The value that was given.
        found: String,
        /// The values that are allowed.
        expected: String,
    },
    /// A tensor has another shape than the model needs.
    #[error("tensor `{name}`: found shape {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor's name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A checkpoint lacks a tensor.
    #[error("{}: tensor `{name}` is missing", path.display())]
    MissingTensor {
        /// The file that was read.
        path: PathBuf,
        /// The tensor's name.
        name: String,
    },
    /// A checkpoint holds a tensor that the model has no place for.
    #[error("{}: tensor `{name}` belongs to no parameter of this model", path.display())]
    UnexpectedTensor {
        /// The file that was read.
        path: PathBuf,
        /// The tensor's name.
        name: String,
    },
    /// A file does not hold what its name promises.
    #[error("{}: {what}", path.display())]
    File {
        /// The file that was read.
        path: PathBuf,
        /// What was found and what was expected.
        what: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A token lies outside the vocabulary.
    #[error("token {token} at position {position}: the vocabulary has {vocabulary} entries")]
    Token {
        /// The offending token.
        token: u32,
        /// Where in the sequence it stands, from 0.
        position: usize,
        /// The number of entries.
        vocabulary: usize,
    },
    /// A batch without a single target token has no mean loss.
    #[error("the batch has no target token, so its mean loss is not defined")]
    NoTargets,
    /// Too few tokens for what was asked.
    #[error("{what}: found {found} tokens, expected at least {expected}")]
    TooFewTokens {
        /// Which data.
        what: &'static str,
        /// How many tokens there are.
        found: usize,
        /// How many are needed.
        expected: usize,
    },
    /// A tokenizer could not be trained, read or used.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The tensor library refused an operation.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// An [`Error::Io`] about `path`, for `map_err`.
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    /// An [`Error::Config`] about `field`.
    pub(crate) fn config(field: &'static str, found: impl std::fmt::Display, expected: impl std::fmt::Display) -> Self {
        Self::Config { field, found: found.to_string(), expected: expected.to_string() }
    }
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The names that a message offers.
pub(crate) fn one_of<T: std::fmt::Display>(all: &[T]) -> String {
    let names: Vec<String> = all.iter().map(T::to_string).collect();
    format!("one of {}", names.join(", "))
}
