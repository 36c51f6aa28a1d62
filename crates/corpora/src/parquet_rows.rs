//! Rows of Parquet files.

use std::io;
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;

use crate::error::{CorpusError, Place, shortened};
use crate::files;
use crate::row::{EachRow, Row};

/// Reads a file's rows one after the other.
///
/// # Errors
/// [`CorpusError::Read`] for a file that is cut short, damaged or compressed in a way that this build cannot read.
pub(crate) fn for_each_row(path: &Path, each: &mut EachRow<'_>) -> Result<(), CorpusError> {
    let broken = |error: ParquetError| CorpusError::Read {
        path: path.into(),
        source: io::Error::new(io::ErrorKind::InvalidData, shortened(&error.to_string().replace('\n', " "))),
    };
    let reader = SerializedFileReader::new(files::open(path)?).map_err(broken)?;
    for (index, row) in reader.get_row_iter(None).map_err(broken)?.enumerate() {
        let row = row.map_err(broken)?;
        let fields: Vec<(String, String)> =
            row.get_column_iter().map(|(name, field)| (name.clone(), value(field).to_string())).collect();
        each(Place::Row(index + 1), Ok(Row::of_values(&fields)));
    }
    Ok(())
}

/// A field's value as JSON; numbers, dates and the like as the library writes them.
fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::from(*value),
        Field::Str(text) => Value::from(text.as_str()),
        Field::Bytes(bytes) => Value::from(String::from_utf8_lossy(bytes.data())),
        Field::Group(row) => row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect(),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        other => serde_json::from_str(&other.to_string()).unwrap_or_else(|_| Value::from(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use crate::{Form, TaskFile};

    /// A file with a text that may be missing, another text, and a number.
    fn written(compression: Compression) -> Vec<u8> {
        let schema =
            "message m { optional binary question (UTF8); required binary answer (UTF8); required int64 level; }";
        let properties = WriterProperties::builder().set_compression(compression).build();
        let mut bytes = Vec::new();
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let texts = |word: &str| -> Vec<ByteArray> {
            (0..20).map(|i| ByteArray::from(format!("{word} {i} é").into_bytes())).collect()
        };
        let mut column = group.next_column().unwrap().unwrap();
        let there: Vec<i16> = (0..20).map(|i| i16::from(i != 4)).collect();
        column.typed::<ByteArrayType>().write_batch(&texts("q")[..19], Some(&there), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&texts("#### "), None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&(0..20).collect::<Vec<i64>>(), None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        bytes
    }

    fn read(content: &[u8]) -> Result<TaskFile, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        std::fs::write(&path, content).unwrap();
        TaskFile::read(&path, &Form::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn rows_of_parquet_are_examples_like_any_other() {
        for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
            let file = read(&written(compression)).unwrap();
            assert_eq!((file.form, file.examples.len(), file.skipped.count), ("gsm8k", 19, 1));
            assert_eq!(file.skipped.first().unwrap(), "row 5: null in the field \"question\"");
            assert_eq!(file.examples[0].prompt, "Question: q 0 é\nAnswer:\n");
        }
    }

    #[test]
    fn a_parquet_file_that_is_cut_short_or_none_is_one_line() {
        let whole = written(Compression::SNAPPY);
        for content in [&whole[..whole.len() - 5], &whole[..whole.len() / 2], b"PAR1", b"text", b""] {
            let message = read(content).unwrap_err();
            assert!(message.contains("a.parquet") && message.lines().count() == 1, "{message}");
        }
    }
}
