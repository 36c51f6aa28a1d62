//! What can go wrong when text is gathered, each as one line.

use std::path::PathBuf;
use std::{fmt, io};

/// The most characters of foreign text that a message repeats.
const SHOWN: usize = 60;

/// The beginning of a text, for a message of one line.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => text.to_string(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

/// Where a row of a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line, from 1.
    Line(usize),
    /// A row of a file without lines of its own, from 1.
    Row(usize),
}

impl Place {
    /// The place by itself, as `line 3`.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Line(number) => format!("line {number}"),
            Self::Row(number) => format!("row {number}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, ":{number}"),
            Self::Row(number) => write!(f, ", row {number}"),
        }
    }
}

/// An error of the corpus. Its message is one line that says what was found and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The project's folder is not where the program was built.
    #[error(
        "no {}: the default corpus is the sources of the packages that it pins; build the program \
         again where the project lies now, or give a corpus of your own (--corpus FILE)",
        lock_file.display()
    )]
    ProjectMoved {
        /// Where the corpus's `Cargo.lock` was expected.
        lock_file: PathBuf,
    },
    /// A lock file is not what cargo writes.
    #[error("{}: found {found}, expected the lock file that cargo wrote", path.display())]
    LockFile {
        /// The lock file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// Packages are not on this machine and cargo cannot fetch them.
    #[error(
        "the sources of {packages} packages are not on this machine and cannot be fetched ({problem}); run \
         'cargo fetch --locked --manifest-path {manifest}' in the project's folder on a machine with a network and \
         copy the folder 'registry' of its cargo home to this one's"
    )]
    Fetch {
        /// How many are missing.
        packages: usize,
        /// The manifest that names them.
        manifest: String,
        /// The command line, its exit status and the first line of its complaint, or why it could not be started.
        problem: String,
    },
    /// A pinned package's sources are not where cargo keeps or says that it keeps them.
    #[error(
        "found no sources of package {package} in {}/registry/src after 'cargo fetch --locked', expected them there",
        cargo_home.display()
    )]
    NoSources {
        /// Name and version.
        package: String,
        /// The folder that cargo keeps packages in.
        cargo_home: PathBuf,
    },
    /// The corpus has too little text for what was asked.
    #[error("{what}: found {found}, expected {expected}")]
    TooLittle {
        /// Which text.
        what: String,
        /// How much there is.
        found: String,
        /// How much is needed.
        expected: String,
    },
    /// Something that is there, but no regular file.
    #[error("{}: found {found}, expected a regular file", path.display())]
    NotAFile {
        /// Where it lies.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A file of an unknown kind.
    #[error("{}: found {found}, expected {expected}", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its extension.
        found: String,
        /// The kinds that can be read.
        expected: String,
    },
    /// A corpus file that holds nothing.
    #[error("{}: the file is empty, expected text", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that are not UTF-8.
    #[error("{}: found a byte that is not UTF-8 at offset {offset}, expected UTF-8 text", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Bytes before the first bad one.
        offset: usize,
    },
    /// A row of a file that cannot be used, where too many cannot.
    #[error("{}{place}: found {found}, expected {expected}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Where the row stands.
        place: Place,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A template that cannot be read.
    #[error("template {template:?}: found {found}, expected {expected}")]
    Template {
        /// The template.
        template: String,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A file of examples whose fields are those of no layout, or of more than one.
    #[error(
        "{}: found the fields {fields}, expected {expected}; or say how to read them with templates (prompt = \"..{{field}}..\", \
         completion = \"..{{field}}..\")", path.display()
    )]
    Layout {
        /// The file.
        path: PathBuf,
        /// The fields of its first row.
        fields: String,
        /// The layouts that there are.
        expected: String,
    },
    /// A pattern of file names that names none.
    #[error("{pattern}: found {found}, expected a file or a pattern of file names")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        found: String,
    },
    /// A file of token ids that is in none of the known layouts.
    #[error("{}: found {found}, expected {expected}", path.display())]
    TokenLayout {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A token that the vocabulary does not have.
    #[error(
        "{}: found token {token} at position {position}, expected ids below the vocabulary's size \
         {vocabulary}", path.display()
    )]
    TokenOutOfRange {
        /// The file.
        path: PathBuf,
        /// The first such token.
        token: u32,
        /// Tokens before it.
        position: usize,
        /// Number of tokens in the vocabulary.
        vocabulary: usize,
    },
    /// A token file without a vocabulary to check it against.
    #[error("{}: a .bin file holds token ids, expected a vocabulary to go with it", path.display())]
    NoVocabulary {
        /// The file.
        path: PathBuf,
    },
}
