//! A user's own corpus: plain text, JSON lines or token ids.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::Document;
use crate::error::CorpusError;

/// What a user's file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum UserCorpus {
    /// Text, to be tokenised. The documents' `package` is empty.
    Text(Vec<Document>),
    /// Token ids of the vocabulary that was given, in the file's order.
    Tokens(Vec<u16>),
}

/// Bytes from which on a piece of a `.txt` file ends at the next empty line, and twice that at the
/// next line end.
const PIECE_BYTES: usize = 16 * 1024;

/// Reads a corpus file by its extension.
///
/// - `.txt`: UTF-8, cut into documents of about 16 KiB at empty lines (or line ends), so that a part can
///   be held out.
/// - `.jsonl`: one object a line, each a document; the text is in its field `text`.
/// - `.bin`: nanoGPT's token file, unsigned 16-bit little-endian ids; `vocabulary` is the number of
///   tokens they are below.
///
/// # Errors
/// One of [`CorpusError`]'s for a missing, unreadable, empty or malformed file.
pub fn read_user_corpus(path: &Path, vocabulary: Option<usize>) -> Result<UserCorpus, CorpusError> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let read = || {
        let bytes = fs::read(path).map_err(|source| CorpusError::Read { path: path.to_path_buf(), source })?;
        if bytes.is_empty() { Err(CorpusError::Empty { path: path.into() }) } else { Ok(bytes) }
    };
    match extension.as_str() {
        "txt" => text_documents(path, read()?).map(UserCorpus::Text),
        "jsonl" => json_documents(path, read()?).map(UserCorpus::Text),
        "bin" => {
            let Some(vocabulary) = vocabulary else {
                return Err(CorpusError::NoVocabulary { path: path.into() });
            };
            tokens(path, &read()?, vocabulary).map(UserCorpus::Tokens)
        }
        "" => Err(CorpusError::UnknownFormat { path: path.into(), found: "no extension".into() }),
        other => Err(CorpusError::UnknownFormat { path: path.into(), found: format!("a .{other} file") }),
    }
}

fn text_of(path: &Path, bytes: Vec<u8>) -> Result<String, CorpusError> {
    let text = String::from_utf8(bytes)
        .map_err(|error| CorpusError::NotUtf8 { path: path.into(), offset: error.utf8_error().valid_up_to() })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text).replace("\r\n", "\n");
    if text.trim().is_empty() { Err(CorpusError::Empty { path: path.into() }) } else { Ok(text) }
}

fn text_documents(path: &Path, bytes: Vec<u8>) -> Result<Vec<Document>, CorpusError> {
    let text = text_of(path, bytes)?;
    let mut documents = Vec::new();
    let mut piece = String::new();
    let mut first_line = 1;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        piece.push_str(line);
        let at_gap = line.trim().is_empty() && piece.len() >= PIECE_BYTES;
        if at_gap || piece.len() >= 2 * PIECE_BYTES {
            documents.push(document(first_line, std::mem::take(&mut piece)));
            first_line = index + 2;
        }
    }
    documents.push(document(first_line, piece));
    documents.retain(|document| !document.text.trim().is_empty());
    Ok(documents)
}

fn json_documents(path: &Path, bytes: Vec<u8>) -> Result<Vec<Document>, CorpusError> {
    let text = text_of(path, bytes)?;
    let mut documents = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = index + 1;
        let broken = |found: String| CorpusError::JsonLine { path: path.into(), line: number, found };
        let value: Value =
            serde_json::from_str(line).map_err(|error| broken(format!("broken JSON ({})", reason(&error))))?;
        let Value::Object(mut fields) = value else {
            return Err(broken("JSON that is no object".into()));
        };
        match fields.remove("text") {
            Some(Value::String(text)) => documents.push(document(number, text)),
            Some(_) => return Err(broken("a field \"text\" that is no text".into())),
            None => {
                let names: Vec<&str> = fields.keys().map(String::as_str).take(5).collect();
                return Err(broken(format!("no such field (fields: {})", names.join(", "))));
            }
        }
    }
    documents.retain(|document| !document.text.trim().is_empty());
    if documents.is_empty() { Err(CorpusError::Empty { path: path.into() }) } else { Ok(documents) }
}

/// serde_json's message without its position: it counts lines within the line.
fn reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let cut = message.rfind(" at line ").unwrap_or(message.len());
    format!("{}, column {}", &message[..cut], error.column())
}

fn tokens(path: &Path, bytes: &[u8], vocabulary: usize) -> Result<Vec<u16>, CorpusError> {
    if !bytes.len().is_multiple_of(2) {
        return Err(CorpusError::OddLength { path: path.into(), bytes: bytes.len() });
    }
    let tokens: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    match tokens.iter().position(|&token| usize::from(token) >= vocabulary) {
        None => Ok(tokens),
        Some(position) => {
            Err(CorpusError::TokenOutOfRange { path: path.into(), token: tokens[position], position, vocabulary })
        }
    }
}

/// A document without the file's name: the same text is the same corpus, whatever the file is called.
fn document(line: usize, text: String) -> Document {
    Document { package: String::new(), path: format!("line {line}"), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(name: &str, content: &[u8]) -> Result<UserCorpus, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        read_user_corpus(&path, Some(1000)).map_err(|error| {
            let message = error.to_string();
            assert_eq!(message.lines().count(), 1, "{message}");
            message.replace(&folder.path().display().to_string(), "DIR")
        })
    }

    fn texts(corpus: UserCorpus) -> Vec<String> {
        match corpus {
            UserCorpus::Text(documents) => documents.into_iter().map(|d| d.text).collect(),
            UserCorpus::Tokens(_) => panic!("tokens"),
        }
    }

    #[test]
    fn each_bad_file_has_its_own_line() {
        let cases: [(&str, &[u8], &str); 12] = [
            ("a.txt", b"", "DIR/a.txt: the file is empty, expected text"),
            ("a.txt", b" \n\n", "DIR/a.txt: the file is empty, expected text"),
            ("a.jsonl", b"\n", "DIR/a.jsonl: the file is empty, expected text"),
            ("a.txt", b"ab\xff", "DIR/a.txt: found a byte that is not UTF-8 at offset 2, expected UTF-8 text"),
            (
                "a.jsonl",
                b"{\"text\": \"x\"}\n\n{\"text\": \n",
                "DIR/a.jsonl:3: found broken JSON (EOF while parsing a value, column 9), expected a \
                 JSON object with a text in its field \"text\"",
            ),
            (
                "a.jsonl",
                b"{\"text\": \"x\"}\n{\"body\": \"x\", \"id\": 1}\n",
                "DIR/a.jsonl:2: found no such field (fields: body, id), expected a JSON object with \
                 a text in its field \"text\"",
            ),
            (
                "a.jsonl",
                b"{\"text\": 3}",
                "DIR/a.jsonl:1: found a field \"text\" that is no text, expected a JSON object with \
                 a text in its field \"text\"",
            ),
            (
                "a.jsonl",
                b"[1]",
                "DIR/a.jsonl:1: found JSON that is no object, expected a JSON object with a text in \
                 its field \"text\"",
            ),
            ("a.bin", b"abc", "DIR/a.bin: found 3 bytes, expected an even number (2 bytes a token)"),
            (
                "a.bin",
                &[0, 0, 0xe7, 3, 0xe8, 3],
                "DIR/a.bin: found token 1000 at position 2, expected ids below the vocabulary's \
                 size 1000",
            ),
            ("a.csv", b"x", "DIR/a.csv: found a .csv file, expected a .txt, .jsonl or .bin file"),
            ("a", b"x", "DIR/a: found no extension, expected a .txt, .jsonl or .bin file"),
        ];
        for (name, content, expected) in cases {
            assert_eq!(read(name, content).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_user_corpus(Path::new("/no/such.txt"), None).unwrap_err().to_string();
        assert!(error.starts_with("cannot read /no/such.txt: "), "{error}");
        let error = read_user_corpus(Path::new("/no/such.bin"), None).unwrap_err().to_string();
        assert!(error.contains("expected a vocabulary"), "{error}");
    }

    #[test]
    fn good_files_are_read_whole() {
        let jsonl = b"\xef\xbb\xbf{\"text\": \"a\\nb\", \"id\": 1}\r\n\n{\"text\": \"c\"}";
        assert_eq!(texts(read("a.jsonl", jsonl).unwrap()), ["a\nb", "c"]);
        assert_eq!(read("a.BIN", &[1, 0, 0xe7, 3]).unwrap(), UserCorpus::Tokens(vec![1, 999]));
    }

    proptest! {
        #[test]
        fn pieces_of_a_text_are_the_text(
            lines in proptest::collection::vec("([a-zé ]{0,400}|)", 1..400),
        ) {
            let text = lines.join("\n");
            prop_assume!(!text.trim().is_empty());
            let pieces = texts(read("a.txt", text.as_bytes()).unwrap());
            let joined = pieces.concat();
            prop_assert_eq!(joined.trim_end(), text.trim_end());
            for piece in &pieces {
                prop_assert!(piece.len() < 2 * PIECE_BYTES + 1000);
            }
        }
    }
}
