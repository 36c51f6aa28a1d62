//! Text in documents.

use std::path::Path;

use super::END_OF_TEXT;
use crate::Document;
use crate::error::CorpusError;

/// Bytes from which on a piece of a text ends at the next empty line, and twice that at the next line end.
const PIECE_BYTES: usize = 16 * 1024;

/// Into how many parts a text is cut that would be one document, so that a part can be held out.
const PARTS_OF_ONE: usize = 20;

/// Documents as they are read, file by file.
pub(super) struct Gathered<'a> {
    /// What ends a document, besides the end of its row or file.
    ends: Vec<&'a str>,
    documents: Vec<Document>,
    /// What stands before every place in the current file.
    file: String,
    /// Ends of text that were found.
    found_ends: usize,
    remarks: Vec<String>,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(ends: &'a [String]) -> Self {
        let mut ends: Vec<&str> = ends.iter().map(String::as_str).filter(|end| !end.is_empty()).collect();
        ends.push(END_OF_TEXT);
        Self { ends, documents: Vec::new(), file: String::new(), found_ends: 0, remarks: Vec::new() }
    }

    /// Begins a file, whose places are told by what stands before them.
    pub(super) fn file(&mut self, before: String) {
        self.file = before;
    }

    /// Adds something to tell.
    pub(super) fn remark(&mut self, line: String) {
        self.remarks.push(line);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// Adds a text that begins at a place: a document, or several where it has ends of text in it. A file of text,
    /// which begins at its first line, is cut into pieces.
    pub(super) fn text(&mut self, place: &str, text: &str) {
        let is_file = place == "line 1" && text.contains('\n');
        let mut line = 1;
        for (index, part) in parts(text, &self.ends).into_iter().enumerate() {
            self.found_ends += usize::from(index > 0);
            if is_file {
                for (first, piece) in pieces(part, PIECE_BYTES) {
                    self.add(format!("line {}", line + first), piece);
                }
                line += part.matches('\n').count();
            } else if index == 0 {
                self.add(place.into(), part);
            } else {
                self.add(format!("{place}, part {}", index + 1), part);
            }
        }
    }

    /// A document without the file's name: the same text is the same corpus, whatever the file is called.
    fn add(&mut self, place: String, text: &str) {
        if !text.trim().is_empty() {
            let path = format!("{}{place}", self.file);
            self.documents.push(Document { package: String::new(), path, text: text.into() });
        }
    }

    /// All documents, at least two, and what there is to tell. Errors name the file at `path`.
    pub(super) fn finish(mut self, path: &Path) -> Result<(Vec<Document>, Vec<String>), CorpusError> {
        if self.found_ends > 0 {
            let (count, end) = (self.found_ends, self.ends.join(" or "));
            self.remarks.push(format!("{count} times {end} in the text ends a document"));
        }
        if let [only] = &self.documents[..] {
            let text = only.text.clone();
            let parts = cut(&text);
            if parts.len() < 2 {
                return Err(CorpusError::TooLittle {
                    what: path.display().to_string(),
                    found: format!("{} characters", text.chars().count()),
                    expected: "enough text that a part of it can be held out".into(),
                });
            }
            self.documents.clear();
            for (index, part) in parts.into_iter().enumerate() {
                self.add(format!("part {}", index + 1), part);
            }
        }
        Ok((self.documents, self.remarks))
    }
}

/// A text's parts between ends of text.
fn parts<'t>(text: &'t str, ends: &[&str]) -> Vec<&'t str> {
    let mut parts = vec![text];
    for end in ends {
        parts = parts.into_iter().flat_map(|part| part.split(end)).collect();
    }
    parts
}

/// Pieces of a text that end at an empty line after `bytes`, or at a line's end after twice as many; each with the
/// number of line ends before it.
fn pieces(text: &str, bytes: usize) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let (mut start, mut end, mut first) = (0, 0, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        end += line.len();
        let at_gap = line.trim().is_empty() && end - start >= bytes;
        if at_gap || end - start >= 2 * bytes {
            pieces.push((first, &text[start..end]));
            (start, first) = (end, index + 1);
        }
    }
    pieces.push((first, &text[start..]));
    pieces
}

/// A short text in parts, none of them blank: at lines where it has some, else at spaces, else anywhere.
fn cut(text: &str) -> Vec<&str> {
    let bytes = (text.len() / PARTS_OF_ONE).max(1);
    let may_end: [fn(char, char) -> bool; 3] =
        [|before, _| before == '\n', |_, after| after.is_whitespace(), |_, _| true];
    for may_end in may_end {
        let mut parts = Vec::new();
        let (mut start, mut before) = (0, '\0');
        for (place, after) in text.char_indices() {
            let (part, rest) = (&text[start..place], &text[place..]);
            let is_whole = place - start >= bytes && !part.trim().is_empty() && !rest.trim().is_empty();
            if is_whole && may_end(before, after) {
                parts.push(part);
                start = place;
            }
            before = after;
        }
        parts.push(&text[start..]);
        if parts.len() > 1 {
            return parts;
        }
    }
    vec![text]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_short_text_is_cut_into_parts_that_are_the_text(text in "[a-zé \n]{2,300}") {
            let parts = cut(&text);
            prop_assert_eq!(parts.concat(), text.clone());
            if text.chars().filter(|c| !c.is_whitespace()).count() > 1 {
                prop_assert!(parts.len() > 1, "{:?}", parts);
            }
        }
    }
}
