//! A user's own corpus: plain text, rows with a field of text, or token ids; one file or several.
//!
//! - `documents` divides text into documents, so that a part can be held out;
//! - `tokens` reads ids from where they lie, however many there are.

mod documents;
mod tokens;

use std::path::{Path, PathBuf};

use crate::Document;
use crate::error::CorpusError;
use crate::{files, rows};

pub use tokens::TokenFiles;

/// Which text, and how it is read.
#[derive(Clone, Copy, Debug)]
pub struct OwnText<'a> {
    /// Files, or patterns of file names such as `data/*.txt`: all of text or all of token ids.
    pub paths: &'a [PathBuf],
    /// The field of a row that holds the text.
    pub field: &'a str,
    /// What ends a document where it is written in the text, beside [`END_OF_TEXT`].
    pub ends: &'a [String],
    /// Tokens of the vocabulary, for token ids.
    pub vocabulary: Option<usize>,
}

/// The field of a row that holds the text, where none is named.
pub const TEXT_FIELD: &str = "text";

/// How many files of text write the end of a document.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// What a user's files hold.
#[derive(Debug)]
pub struct UserCorpus {
    /// Text or ids.
    pub content: UserText,
    /// What is not as one would think, a line each.
    pub remarks: Vec<String>,
}

/// Text or ids.
#[derive(Debug)]
pub enum UserText {
    /// Text, to be tokenised. The documents' `package` is empty.
    Text(Vec<Document>),
    /// Token ids of the vocabulary that was given, in the files' order.
    Tokens(TokenFiles),
}

/// The kinds of files that hold a corpus.
const KINDS: &str = "a .txt, .jsonl, .json, .csv, .parquet or .bin file (text may be compressed: .jsonl.zst)";

/// Reads a corpus.
///
/// - `.txt`: UTF-8, cut into documents at ends of text, and about every 16 KiB at empty lines (or line ends), so that a
///   part can be held out.
/// - `.jsonl`, `.json` (a list, or lines), `.csv`: a document a row; the text is in one of its fields. Up to a tenth of
///   the rows may be of no use.
/// - all of these compressed by Zstandard, with `.zst` behind the name.
/// - `.bin`: token ids, in one of the layouts of [`TokenFiles`].
///
/// # Errors
/// One of [`CorpusError`]'s for a missing, unreadable, empty or malformed file.
pub fn read_user_corpus(text: &OwnText<'_>) -> Result<UserCorpus, CorpusError> {
    let paths = expanded(text.paths)?;
    let are_tokens = |path: &PathBuf| files::kind(path) == "bin";
    if paths.iter().any(are_tokens) {
        if let Some(other) = paths.iter().find(|path| !are_tokens(path)) {
            let (path, found) = (other.clone(), "text beside files of token ids".into());
            return Err(CorpusError::UnknownFormat { path, found, expected: "files of one kind".into() });
        }
        let vocabulary = text.vocabulary.ok_or_else(|| CorpusError::NoVocabulary { path: paths[0].clone() })?;
        let (tokens, remarks) = TokenFiles::open(&paths, vocabulary)?;
        return Ok(UserCorpus { content: UserText::Tokens(tokens), remarks });
    }
    let mut gathered = documents::Gathered::new(text.ends);
    for (index, path) in paths.iter().enumerate() {
        gathered.file(if index == 0 { String::new() } else { format!("file {}, ", index + 1) });
        match files::kind(path).as_str() {
            "txt" => gathered.text("line 1", &files::read_text(path)?.replace("\r\n", "\n")),
            _ if rows::has_rows(path) => read_rows(path, text.field, &mut gathered)?,
            "" => return Err(unknown(path, "no extension".into())),
            other => return Err(unknown(path, format!("a .{other} file"))),
        }
        if gathered.is_empty() {
            return Err(CorpusError::Empty { path: path.clone() });
        }
    }
    let (documents, remarks) = gathered.finish(&paths[0])?;
    Ok(UserCorpus { content: UserText::Text(documents), remarks })
}

fn unknown(path: &Path, found: String) -> CorpusError {
    CorpusError::UnknownFormat { path: path.into(), found, expected: KINDS.into() }
}

fn read_rows(path: &Path, field: &str, gathered: &mut documents::Gathered<'_>) -> Result<(), CorpusError> {
    let (mut skipped, mut all) = (rows::Skipped::default(), 0);
    rows::for_each_row(path, &mut |place, row| {
        all += 1;
        let text = row.and_then(|row| row.text(field).map(|text| text.into_owned()));
        match text {
            Ok(text) => gathered.text(&place.words(), &text),
            Err(odd) => skipped.add(place, odd),
        }
    })?;
    skipped.check(path, all)?;
    if let Some(first) = skipped.first() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        gathered.remark(format!("{name}: {} of {all} rows cannot be used, the first at {first}", skipped.count));
    }
    Ok(())
}

/// The files of a list of paths and patterns, those of a pattern by name.
fn expanded(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CorpusError> {
    let mut found = Vec::new();
    for path in paths {
        let name = path.to_string_lossy();
        // A file may have a name that looks like a pattern.
        if path.exists() || !name.contains(['*', '?', '[']) {
            found.push(path.clone());
            continue;
        }
        let of_no_use = |found: String| CorpusError::Pattern { pattern: name.to_string(), found };
        let matching = glob::glob(&name).map_err(|error| of_no_use(error.to_string()))?;
        let before = found.len();
        found.extend(matching.filter_map(Result::ok).filter(|path| path.is_file()));
        if found.len() == before {
            return Err(of_no_use("no file of such a name".into()));
        }
    }
    match found.is_empty() {
        true => Err(CorpusError::Pattern { pattern: String::new(), found: "no file".into() }),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests;
