//! Rows of a user's file with their fields by name: JSON lines, a list in JSON, or CSV.

use std::path::Path;

use crate::error::{CorpusError, Place, shortened};
use crate::row::{EachRow, Odd, Row};
use crate::{files, json};

/// The kinds of files that have rows.
pub(crate) const KINDS: &str = "a .jsonl, .json, .csv or .parquet file (the first three may be compressed: .jsonl.zst)";

/// Whether a file of this name has rows.
pub(crate) fn has_rows(path: &Path) -> bool {
    matches!(files::kind(path).as_str(), "jsonl" | "json" | "csv" | "parquet")
}

/// Reads a file's rows one after the other.
///
/// # Errors
/// [`CorpusError`] for a file that cannot be read, is not UTF-8, or is of another kind.
pub(crate) fn for_each_row(path: &Path, each: &mut EachRow<'_>) -> Result<(), CorpusError> {
    match files::kind(path).as_str() {
        "jsonl" => of_lines(path, each),
        "json" => of_list(path, each),
        "csv" => of_csv(path, each),
        #[cfg(feature = "parquet")]
        "parquet" => crate::parquet_rows::for_each_row(path, each),
        #[cfg(not(feature = "parquet"))]
        "parquet" => Err(CorpusError::UnknownFormat {
            path: path.into(),
            found: "a .parquet file".into(),
            expected: "a build that reads them (cargo run --release --features parquet), or the rows as .jsonl".into(),
        }),
        other => {
            let found = if other.is_empty() { "no extension".into() } else { format!("a .{other} file") };
            Err(CorpusError::UnknownFormat { path: path.into(), found, expected: KINDS.into() })
        }
    }
}

fn of_lines(path: &Path, each: &mut EachRow<'_>) -> Result<(), CorpusError> {
    let mut lines = files::Lines::of(path)?;
    while let Some((number, line)) = lines.next()? {
        each(Place::Line(number), Row::of_json(line));
    }
    Ok(())
}

fn of_list(path: &Path, each: &mut EachRow<'_>) -> Result<(), CorpusError> {
    let text = files::read_text(path)?;
    // Many a file of JSON lines is called .json.
    if text.trim_start().starts_with('{') {
        return of_lines(path, each);
    }
    let elements = json::elements(&text).map_err(|found| CorpusError::Row {
        path: path.into(),
        place: Place::Row(1),
        found,
        expected: "a list of objects, or an object on every line".into(),
    })?;
    for (index, element) in elements.into_iter().enumerate() {
        each(Place::Row(index + 1), Row::of_json(element));
    }
    Ok(())
}

fn of_csv(path: &Path, each: &mut EachRow<'_>) -> Result<(), CorpusError> {
    let text = files::read_text(path)?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let broken = |error: csv::Error| CorpusError::Row {
        path: path.into(),
        place: Place::Line(error.position().map_or(1, |position| position.line() as usize)),
        found: shortened(&error.to_string().replace('\n', " ")),
        expected: "a row of CSV".into(),
    };
    let header = reader.headers().map_err(broken)?.clone();
    let mut record = csv::StringRecord::new();
    // The reader's own count is behind where lines end with `\r\n` or are blank.
    let (mut line, mut counted) = (1, 0);
    while reader.read_record(&mut record).map_err(broken)? {
        let begins = record.position().map_or(counted, |position| position.byte() as usize);
        let begins = begins + text[begins..].find(|c| c != '\r' && c != '\n').unwrap_or(0);
        line += text[counted..begins].matches('\n').count();
        counted = begins;
        let row = match record.len() == header.len() {
            true => Ok(Row::of_texts(header.iter().zip(record.iter()))),
            false => Err(Odd::new(format!("{} fields", record.len()), format!("{}, as in the header", header.len()))),
        };
        each(Place::Line(line), row);
    }
    Ok(())
}

/// The share of a file's rows that may be of no use; more, and the file is refused.
const MOST_SKIPPED: f64 = 0.1;

/// Rows that cannot be used: how many, and what is wrong with the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many.
    pub count: usize,
    first: Option<(Place, Odd)>,
}

impl Skipped {
    /// Counts one more.
    pub(crate) fn add(&mut self, place: Place, odd: Odd) {
        self.count += 1;
        self.first.get_or_insert((place, odd));
    }

    /// Refuses the file if too many of its rows cannot be used.
    pub(crate) fn check(&self, path: &Path, all: usize) -> Result<(), CorpusError> {
        match &self.first {
            Some((place, odd)) if self.count as f64 > MOST_SKIPPED * all as f64 => {
                let expected = match self.count {
                    1 => odd.expected.clone(),
                    count => format!("{} ({count} of {all} rows cannot be used)", odd.expected),
                };
                Err(CorpusError::Row { path: path.into(), place: *place, found: odd.found.clone(), expected })
            }
            _ => Ok(()),
        }
    }

    /// The first in words: where it stands and what is there.
    pub fn first(&self) -> Option<String> {
        self.first.as_ref().map(|(place, odd)| format!("{}: {}", place.words(), odd.found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a row stands, and the text of its field `a`.
    type Found = (Place, Result<String, String>);

    fn rows(name: &str, content: &[u8]) -> Result<Vec<Found>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let mut found = Vec::new();
        let read = for_each_row(&path, &mut |place, row| {
            let text = row.and_then(|row| row.text("a").map(|text| text.into_owned()));
            found.push((place, text.map_err(|odd| odd.found)));
        });
        match read {
            Ok(()) => Ok(found),
            Err(error) => Err(error.to_string().replace(&folder.path().display().to_string(), "DIR")),
        }
    }

    fn line(number: usize, text: &str) -> (Place, Result<String, String>) {
        (Place::Line(number), Ok(text.into()))
    }

    #[test]
    fn every_kind_of_file_gives_its_rows_whatever_its_ends_of_lines() {
        let mut lines = b"\xef\xbb\xbf{\"a\": \"x\\r\\ny\", \"b\": NaN}\r\n\n  \n".to_vec();
        lines.extend_from_slice("{\"a\": \"zé\\u00e9\", \"a\": \"last\"}\n{\"a\": 1.50}".as_bytes());
        assert_eq!(rows("a.jsonl", &lines).unwrap(), [line(1, "x\ny"), line(4, "last"), line(5, "1.50")]);
        assert_eq!(rows("a.json", &lines).unwrap().len(), 3);

        let list = "\u{feff}[\n {\"a\": \"x\"},\n {\"a\": true}\n]\n";
        let row = |number, text: &str| (Place::Row(number), Ok(text.to_string()));
        assert_eq!(rows("a.JSON", list.as_bytes()).unwrap(), [row(1, "x"), row(2, "true")]);

        let table = "\u{feff}b,a\r\n1,\"two\r\nlines, \"\"quoted\"\"\"\r\n\r\n2,\r\n";
        assert_eq!(rows("a.csv", table.as_bytes()).unwrap(), [line(2, "two\nlines, \"quoted\""), line(5, "")]);
    }

    #[test]
    fn an_odd_row_is_one_row_and_said_in_its_words() {
        let lines = b"{\"a\": null}\n{\"b\": 1, \"c\": 2}\n{\"a\": [1]}\n{\"a\": \"\\ud800\"}\n[1]\n{\"a\": \"x\"}\n";
        let found: Vec<Result<String, String>> = rows("a.jsonl", lines).unwrap().into_iter().map(|row| row.1).collect();
        let odd = |text: &str| Err(text.to_string());
        assert_eq!(
            found,
            [
                odd("null in the field \"a\""),
                odd("no field \"a\" (fields: b, c)"),
                odd("a list or an object in the field \"a\""),
                odd("no text in the field \"a\" (a broken \\ escape)"),
                odd("JSON that is no object"),
                Ok("x".into()),
            ]
        );
        let found = rows("a.csv", b"a,b\n1,2,3\n1,2\n").unwrap();
        assert_eq!(found, [(Place::Line(2), Err("3 fields".into())), line(3, "1")]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_one_line_with_the_place() {
        let mut latin = b"{\"a\": \"x\"}\n\n{\"a\": \"caf".to_vec();
        let offset = latin.len();
        latin.extend_from_slice(b"\xe9\"}\n");
        let refusal = |name: &str, content: &[u8]| rows(name, content).unwrap_err();
        let bad_byte = format!("found a byte that is not UTF-8 at offset {offset}, expected UTF-8 text");
        assert_eq!(refusal("a.jsonl", &latin), format!("DIR/a.jsonl: {bad_byte}"));
        assert_eq!(
            refusal("a.csv", b"a\ncaf\xe9\n"),
            "DIR/a.csv: found a byte that is not UTF-8 at offset 5, expected UTF-8 text"
        );
        let expected = "expected a list of objects, or an object on every line";
        assert_eq!(refusal("a.json", b"\"a\""), format!("DIR/a.json, row 1: found JSON that is no list, {expected}"));
        assert_eq!(
            refusal("a.json", b"[{\"a\": 1}"),
            format!(
                "DIR/a.json, row 1: found broken JSON (it ends at column 10 where `,` or `]` should be), {expected}"
            )
        );
        assert_eq!(refusal("a.xlsx", b"x"), format!("DIR/a.xlsx: found a .xlsx file, expected {KINDS}"));
        assert_eq!(refusal("a", b"x"), format!("DIR/a: found no extension, expected {KINDS}"));
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_and_a_folder_are_refused_and_do_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("a.jsonl");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let refusal = |path: &Path| for_each_row(path, &mut |_, _| {}).unwrap_err().to_string();
        assert!(refusal(&pipe).ends_with("found a pipe, a socket or a device, expected a regular file"));
        std::fs::create_dir(folder.path().join("b.csv")).unwrap();
        assert!(refusal(&folder.path().join("b.csv")).ends_with("found a folder, expected a regular file"));
        let device = std::fs::metadata("/dev/null").map(|_| files::open(Path::new("/dev/null")).unwrap_err());
        assert!(device.unwrap().to_string().contains("a device"));
    }

    #[test]
    fn a_tenth_of_the_rows_may_be_odd() {
        let odd = || Odd::new("null", "a text");
        let mut skipped = Skipped::default();
        assert_eq!(skipped.first(), None);
        skipped.add(Place::Line(7), odd());
        skipped.check(Path::new("a"), 10).unwrap();
        assert_eq!(skipped.first().unwrap(), "line 7: null");
        skipped.add(Place::Line(9), odd());
        let message = skipped.check(Path::new("a"), 19).unwrap_err().to_string();
        assert_eq!(message, "a:7: found null, expected a text (2 of 19 rows cannot be used)");
    }
}
