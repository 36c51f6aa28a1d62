//! Tables as CSV files: rows are serde structs, and the file is a pure function of them.
//!
//! One header line with the names of the fields, RFC 4180 quoting, lines ended by `\n`. A float is written as the
//! shortest decimal that reads back to the same bits, a missing value as an empty field.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::input::read_text;

/// A table that cannot be read or written; lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A line does not hold what it should.
    #[error("{}, line {line}: found {found}, expected {expected}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// What stands there.
        found: String,
        /// What should.
        expected: String,
    },
    /// A row has a field that CSV cannot hold: a mistake in the program.
    #[error("a row of {what}: {message}")]
    Write {
        /// The type of the rows.
        what: &'static str,
        /// What the writer said.
        message: String,
    },
}

/// The text of a table with these rows. Without rows it is empty, since there is no row to name the columns.
///
/// # Errors
/// [`TableError::Write`] if a row is no flat struct.
pub fn write<R: Serialize>(rows: impl IntoIterator<Item = R>) -> Result<String, TableError> {
    let failed = |message: String| TableError::Write { what: std::any::type_name::<R>(), message };
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).map_err(|error| failed(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
}

/// As [`write`](write()), for rows with these columns: a table without rows has its header, and so can be read like any
/// other.
///
/// # Errors
/// [`TableError::Write`] if a row is no flat struct, or has other columns.
pub fn write_with<R: Serialize>(columns: &[&str], rows: impl IntoIterator<Item = R>) -> Result<String, TableError> {
    let header = columns.join(",");
    let text = write(rows)?;
    match text.lines().next() {
        None => Ok(header + "\n"),
        Some(first) if first == header => Ok(text),
        Some(first) => Err(TableError::Write {
            what: std::any::type_name::<R>(),
            message: format!("found the columns {first}, expected {header}"),
        }),
    }
}

/// The rows of the file at `path`, each with its line; `columns` are the names that its header must have, in this
/// order. A byte-order mark and line ends of Windows, which spreadsheets write, change nothing.
///
/// # Errors
/// One line that names the file, and the line and what is wrong with it.
pub fn read<R: DeserializeOwned>(path: &Path, columns: &[&str]) -> Result<Vec<(u64, R)>, TableError> {
    let text = read_text(path).map_err(|source| TableError::Read { path: path.to_path_buf(), source })?;
    parse(&text, path, columns)
}

/// As [`read`], of a text; `path` is what errors name.
///
/// # Errors
/// As [`read`].
pub fn parse<R: DeserializeOwned>(text: &str, path: &Path, columns: &[&str]) -> Result<Vec<(u64, R)>, TableError> {
    let wrong = |line: u64, found: String, expected: String| TableError::Line {
        path: path.to_path_buf(),
        line,
        found,
        expected,
    };
    let broken = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        let found = match error.kind() {
            csv::ErrorKind::UnequalLengths { len, .. } => format!("{len} fields"),
            csv::ErrorKind::Deserialize { err, .. } => err.kind().to_string(),
            _ => error.to_string().replace('\n', " "),
        };
        let field = match error.kind() {
            csv::ErrorKind::Deserialize { err, .. } => {
                err.field().and_then(|place| columns.get(usize::try_from(place).ok()?)).copied()
            }
            _ => None,
        };
        let expected = field.map_or_else(|| format!("`{}`", columns.join(",")), |name| format!("a value of `{name}`"));
        wrong(line, found, expected)
    };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(broken)?.clone();
    if header.iter().ne(columns.iter().copied()) {
        let found = header.iter().collect::<Vec<_>>().join(",");
        return Err(wrong(1, format!("`{found}`"), format!("`{}`", columns.join(","))));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(broken)?;
        let line = record.position().map_or(1, csv::Position::line);
        let row = record.deserialize(Some(&header)).map_err(|error| match error.kind() {
            csv::ErrorKind::Deserialize { err, .. } => {
                let place = err.field().and_then(|place| usize::try_from(place).ok());
                let found = place.and_then(|place| record.get(place)).unwrap_or_default();
                let name = place.and_then(|place| columns.get(place)).copied().unwrap_or("row");
                wrong(line, format!("`{found}`"), format!("a value of `{name}` ({})", err.kind()))
            }
            _ => broken(error),
        })?;
        rows.push((line, row));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Row {
        name: String,
        seed: u64,
        loss: f64,
        share: Option<f64>,
    }

    const COLUMNS: [&str; 4] = ["name", "seed", "loss", "share"];

    #[test]
    fn a_table_without_rows_has_its_header_and_can_be_read() {
        let text = write_with::<Row>(&COLUMNS, []).unwrap();
        assert_eq!(text, "name,seed,loss,share\n");
        assert!(parse::<Row>(&text, Path::new("a.csv"), &COLUMNS).unwrap().is_empty());
        let row = Row { name: "a".into(), seed: 1, loss: 0.5, share: None };
        assert_eq!(write_with(&COLUMNS, [&row]).unwrap(), write([&row]).unwrap());
        let message = write_with(&COLUMNS[1..], [&row]).unwrap_err().to_string();
        assert!(message.ends_with("found the columns name,seed,loss,share, expected seed,loss,share"), "{message}");
    }

    fn message(body: &str) -> String {
        let text = format!("{}\n{body}", COLUMNS.join(","));
        parse::<Row>(&text, Path::new("a.csv"), &COLUMNS).unwrap_err().to_string()
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_to_the_same_bits(
            rows in prop::collection::vec(
                ("[a-z,\" \n\u{e9}-]{0,6}", any::<u64>(), any::<f64>(), prop::option::of(0.0..=1.0f64)), 1..12),
        ) {
            let rows: Vec<Row> =
                rows.into_iter().map(|(name, seed, loss, share)| Row { name, seed, loss, share }).collect();
            let text = write(&rows).unwrap();
            let back: Vec<(u64, Row)> = parse(&text, Path::new("a.csv"), &COLUMNS).unwrap();
            prop_assert_eq!(write(back.iter().map(|(_, row)| row)).unwrap(), text);
            for ((_, a), b) in back.iter().zip(&rows) {
                prop_assert_eq!(&a.name, &b.name);
                prop_assert!(a.loss.to_bits() == b.loss.to_bits() || a.loss.is_nan());
            }
        }

        #[test]
        fn reading_arbitrary_text_never_panics(text in "[a,\"\r\n1.]{0,60}") {
            let _ = parse::<Row>(&text, Path::new("a.csv"), &COLUMNS);
            let _ = parse::<Row>(&format!("{}\n{text}", COLUMNS.join(",")), Path::new("a.csv"), &COLUMNS);
        }
    }

    #[test]
    fn a_table_has_a_header_and_missing_values_are_empty() {
        let row = Row { name: "a, \"b\"".into(), seed: 7, loss: 1e-5, share: None };
        assert_eq!(write([row]).unwrap(), "name,seed,loss,share\n\"a, \"\"b\"\"\",7,0.00001,\n");
    }

    #[test]
    fn errors_name_file_line_and_column_in_one_line() {
        let good = "x,7,3.0,\n";
        assert!(message(&format!("{good}x,7\n")).starts_with("a.csv, line 3: found 2 fields, expected `name,"));
        let wrong = message(&format!("{good}x,-7,3.0,\n"));
        assert!(wrong.starts_with("a.csv, line 3: found `-7`, expected a value of `seed`"), "{wrong}");
        let header = parse::<Row>("name,loss\n", Path::new("a.csv"), &COLUMNS).unwrap_err().to_string();
        assert_eq!(header, "a.csv, line 1: found `name,loss`, expected `name,seed,loss,share`");
    }
}
