//! Opening a user's files: regular files only, read from their beginning, line by line where there are lines.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::CorpusError;

/// The mark that some editors put at the beginning of UTF-8 text.
const BYTE_ORDER_MARK: &str = "\u{FEFF}";

/// Opens a regular file. A pipe, a terminal or another device could block for ever or never end.
///
/// # Errors
/// [`CorpusError::Read`], or [`CorpusError::NotAFile`] for what is there and no regular file.
pub(crate) fn open(path: &Path) -> Result<File, CorpusError> {
    let failed = |source| CorpusError::Read { path: path.into(), source };
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    if !kind.is_file() {
        let found = if kind.is_dir() { "a folder" } else { "a pipe, a socket or a device" };
        return Err(CorpusError::NotAFile { path: path.into(), found });
    }
    File::open(path).map_err(failed)
}

/// What a file holds, whole.
///
/// # Errors
/// As [`open`]; [`CorpusError::Empty`] if it holds nothing.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CorpusError> {
    let mut bytes = Vec::new();
    reader(path)?.read_to_end(&mut bytes).map_err(|source| CorpusError::Read { path: path.into(), source })?;
    if bytes.is_empty() { Err(CorpusError::Empty { path: path.into() }) } else { Ok(bytes) }
}

/// What a text file holds, whole, without a byte order mark.
///
/// # Errors
/// As [`read`]; [`CorpusError::NotUtf8`] with the place of the first byte that is no text.
pub(crate) fn read_text(path: &Path) -> Result<String, CorpusError> {
    let mut text = String::from_utf8(read(path)?)
        .map_err(|error| CorpusError::NotUtf8 { path: path.into(), offset: error.utf8_error().valid_up_to() })?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(text)
}

/// The extension behind the name of what compressed a file.
const COMPRESSED: &str = "zst";

/// A file's extension in lower case; of a compressed file, that of what is in it.
pub(crate) fn kind(path: &Path) -> String {
    let of = |path: &Path| path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match of(path) {
        outer if outer == COMPRESSED => of(&path.with_extension("")),
        outer => outer,
    }
}

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 20;

/// A file's bytes one after the other, decompressed where its name says that they are compressed.
fn reader(path: &Path) -> Result<Box<dyn BufRead>, CorpusError> {
    let file = open(path)?;
    if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(COMPRESSED)) {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, file)));
    }
    let broken = |error: ruzstd::decoding::errors::FrameDecoderError| CorpusError::Read {
        path: path.into(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, format!("no Zstandard frame ({error})")),
    };
    let decoder = ruzstd::decoding::StreamingDecoder::new(BufReader::with_capacity(BUFFER, file)).map_err(broken)?;
    Ok(Box::new(BufReader::with_capacity(BUFFER, decoder)))
}

/// The lines of a text file, one in memory at a time.
pub(crate) struct Lines {
    reader: Box<dyn BufRead>,
    path: PathBuf,
    line: Vec<u8>,
    number: usize,
    /// Bytes before the line.
    offset: usize,
}

impl Lines {
    /// The lines of the file at `path`.
    ///
    /// # Errors
    /// As [`open`].
    pub(crate) fn of(path: &Path) -> Result<Self, CorpusError> {
        Ok(Self { reader: reader(path)?, path: path.into(), line: Vec::new(), number: 0, offset: 0 })
    }

    /// The next line that is not blank with its number, from 1; without its end and without a byte order mark.
    ///
    /// # Errors
    /// [`CorpusError::Read`], or [`CorpusError::NotUtf8`] with the place in the file.
    pub(crate) fn next(&mut self) -> Result<Option<(usize, &str)>, CorpusError> {
        loop {
            self.offset += self.line.len();
            self.line.clear();
            let read = self.reader.read_until(b'\n', &mut self.line);
            if read.map_err(|source| CorpusError::Read { path: self.path.clone(), source })? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if !self.line.iter().all(u8::is_ascii_whitespace) {
                break;
            }
        }
        let text = std::str::from_utf8(&self.line).map_err(|error| CorpusError::NotUtf8 {
            path: self.path.clone(),
            offset: self.offset + error.valid_up_to(),
        })?;
        let text = if self.number == 1 { text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text) } else { text };
        Ok(Some((self.number, text.trim_end_matches(['\n', '\r']))))
    }
}
