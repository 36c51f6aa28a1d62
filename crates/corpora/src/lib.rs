//! Text to train on: the documentation and the code of pinned packages, or a user's own files.
//!
//! In the book: [your own text](../../book/corpus.html).
//!
//! The default corpus is the sources of the packages that a manifest and a lock file of its own name
//! (`crates/corpora/packages`): their documentation, Markdown files and comments of several lines are English prose,
//! for pretraining; the rest of their Rust code is one of the tasks. Cargo fetches the packages the first time, and
//! after that they are read offline. The text depends on that lock file alone: it is the same on every platform and
//! whatever the workspace depends on, and its [fingerprint](Corpus::fingerprint) says so.
//!
//! The way from packages to text, one file a step:
//! - `packages`: the lock file's list and where the sources lie;
//! - `rust_source` divides a Rust file into documentation and code;
//! - `markdown` turns documentation into plain paragraphs;
//! - `filter` says which paragraphs are English prose and which files are code that somebody wrote;
//! - `select` drops what is there twice and caps the largest packages;
//! - `gather` puts these together, over all files in parallel;
//! - [`split()`] holds out text for validation.
//!
//! Kept is what a person wrote once: paragraphs that are not English, code blocks in documentation,
//! tables, generated code, bindings, licences and change logs are left out; paragraphs and files that
//! several packages share are kept once; and no package makes up more than 8 % of the prose or 0.7 % of
//! the code. All text is ASCII with `\n` line ends. What is in it, and how to change it: `docs/corpus.md`.
//!
//! ```no_run
//! use corpora::{Corpus, split};
//!
//! # fn main() -> Result<(), corpora::CorpusError> {
//! let corpus = Corpus::pinned(|fetching| eprintln!("{fetching}"))?;
//! println!("{}", corpus.summary());
//! let prose = split(&corpus.prose, 0.05, 0)?;
//! # Ok(())
//! # }
//! ```
//!
//! A user's own text is read by [`read_user_corpus`], a user's own task by [`TaskFile::read`].

#![forbid(unsafe_code)]

mod error;
mod files;
mod filter;
mod gather;
mod json;
mod markdown;
mod own;
mod packages;
#[cfg(feature = "parquet")]
mod parquet_rows;
mod row;
mod rows;
mod rust_source;
mod select;
mod split;
mod task;

use std::fmt;

use sha2::{Digest, Sha256};

pub use error::{CorpusError, Place};
pub use own::{END_OF_TEXT, OwnText, TEXT_FIELD, TokenFiles, UserCorpus, UserText, read_user_corpus};
pub use packages::{Fetching, Package, packages_of, pinned_lock, pinned_packages};
pub use rows::Skipped;
pub use split::{Split, split, split_by_family};
pub use task::{Form, Layout, Part, TaskExample, TaskFile, Template, answer, is_task_file};

/// The version of the extraction: raised when a change of this crate changes the text of the same packages.
pub const SEMANTICS: u32 = 1;

/// The text of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Name and version of the package (`serde 1.0.229`); empty for a user's file.
    pub package: String,
    /// Path within the package with `/` between folders, or a place in the user's file.
    pub path: String,
    /// The text. Of prose each paragraph is one line.
    pub text: String,
}

/// Prose and code of packages.
#[derive(Clone, Debug, PartialEq)]
pub struct Corpus {
    /// English documentation and comments, sorted by package and path.
    pub prose: Vec<Document>,
    /// Rust code without documentation and longer comments, sorted by package and path.
    pub code: Vec<Document>,
    /// Number of packages that were read.
    pub packages: usize,
    /// SHA-256 over package, path, kind and text of every document, in hexadecimal digits.
    pub fingerprint: String,
}

impl Corpus {
    /// The default corpus: the text of the [`pinned_packages`].
    ///
    /// What is missing on this machine is fetched by cargo, once; `tell` is called before that.
    ///
    /// # Errors
    /// [`CorpusError`] if the project was moved since it was built, or sources are missing and cannot be fetched or
    /// read.
    pub fn pinned(tell: impl FnOnce(Fetching)) -> Result<Self, CorpusError> {
        Self::of_packages(&pinned_packages(tell)?)
    }

    /// The text of some packages.
    ///
    /// # Errors
    /// [`CorpusError::Read`] if a folder or file cannot be read.
    pub fn of_packages(packages: &[Package]) -> Result<Self, CorpusError> {
        let (prose, code) = gather::gather(packages)?;
        let fingerprint = fingerprint(&[("prose", &prose), ("code", &code)]);
        Ok(Self { prose, code, packages: packages.len(), fingerprint })
    }

    /// The corpus with about so many bytes of prose and of code, from files drawn at random; `None`, or
    /// more than there is, keeps all. The fingerprint becomes that of what is kept.
    ///
    /// # Errors
    /// [`CorpusError::TooLittle`] for zero bytes.
    pub fn limited(
        self,
        prose_bytes: Option<usize>,
        code_bytes: Option<usize>,
        seed: u64,
    ) -> Result<Self, CorpusError> {
        let draw = |documents: Vec<Document>, limit: Option<usize>| {
            let total = bytes(&documents);
            match limit.filter(|&limit| limit < total) {
                Some(limit) => Ok(split(&documents, limit as f64 / total as f64, seed)?.held_out),
                None => Ok(documents),
            }
        };
        let (prose, code) = (draw(self.prose, prose_bytes)?, draw(self.code, code_bytes)?);
        let fingerprint = fingerprint(&[("prose", &prose), ("code", &code)]);
        Ok(Self { prose, code, packages: self.packages, fingerprint })
    }

    /// What there is, to print.
    pub fn summary(&self) -> Summary {
        Summary {
            packages: self.packages,
            prose_bytes: bytes(&self.prose),
            code_bytes: bytes(&self.code),
            fingerprint: self.fingerprint.clone(),
        }
    }
}

/// Size and identity of a corpus. Displayed as
/// `corpus: 188 packages, 5.3 MB prose, 9.8 MB code, sha256 ab12cd34`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Number of packages that were read.
    pub packages: usize,
    /// Bytes of prose.
    pub prose_bytes: usize,
    /// Bytes of code.
    pub code_bytes: usize,
    /// As [`Corpus::fingerprint`].
    pub fingerprint: String,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: usize| bytes as f64 / 1e6;
        write!(
            f,
            "corpus: {} packages, {:.1} MB prose, {:.1} MB code, sha256 {}",
            self.packages,
            megabytes(self.prose_bytes),
            megabytes(self.code_bytes),
            self.fingerprint.get(..8).unwrap_or(&self.fingerprint),
        )
    }
}

/// Bytes of text in all documents.
pub fn bytes(documents: &[Document]) -> usize {
    documents.iter().map(|document| document.text.len()).sum()
}

/// SHA-256 over package, path, kind and text of every document of every kind, in hexadecimal digits.
pub fn fingerprint(kinds: &[(&str, &[Document])]) -> String {
    let mut hasher = Sha256::new();
    for (kind, documents) in kinds {
        for document in *documents {
            // Lengths first, so that no two corpora read the same.
            for part in [&document.package, &document.path, *kind, &document.text] {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
