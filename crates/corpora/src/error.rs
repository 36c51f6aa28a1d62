//! What can go wrong when text is gathered, each as one line.

use std::io;
use std::path::PathBuf;

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
    /// A corpus file of an unknown kind.
    #[error("{}: found {found}, expected a .txt, .jsonl or .bin file", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its extension.
        found: String,
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
    /// A line of a `.jsonl` file that cannot be used.
    #[error("{}:{line}: found {found}, expected a JSON object with a text in its field \"text\"", path.display())]
    JsonLine {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is there.
        found: String,
    },
    /// A token file with half a token at its end.
    #[error("{}: found {bytes} bytes, expected an even number (2 bytes a token)", path.display())]
    OddLength {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
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
        token: u16,
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
