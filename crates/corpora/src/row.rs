//! One row of a user's file, with its fields by name.

use std::borrow::Cow;

use crate::error::{Place, shortened};
use crate::json;

/// What is wrong with a row, in words that fit behind "found" and "expected".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Odd {
    pub(crate) found: String,
    pub(crate) expected: String,
}

impl Odd {
    pub(crate) fn new(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { found: found.into(), expected: expected.into() }
    }
}

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cell<'a> {
    /// Any JSON, as it is written.
    Json(&'a str),
    /// Text as it is.
    Text(Cow<'a, str>),
}

/// The fields of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    fields: Vec<(Cow<'a, str>, Cell<'a>)>,
}

impl<'a> Row<'a> {
    pub(crate) fn of_json(written: &'a str) -> Result<Self, Odd> {
        let fields = json::fields(written).map_err(|found| Odd::new(found, "a JSON object"))?;
        Ok(Self { fields: fields.into_iter().map(|(name, value)| (name, Cell::Json(value))).collect() })
    }

    /// A row whose values are written as JSON.
    #[cfg(feature = "parquet")]
    pub(crate) fn of_values(fields: &'a [(String, String)]) -> Self {
        let cell = |(name, value): &'a (String, String)| (Cow::Borrowed(name.as_str()), Cell::Json(value.as_str()));
        Self { fields: fields.iter().map(cell).collect() }
    }

    /// A row of texts.
    pub(crate) fn of_texts(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let cell = |(name, text)| (Cow::Borrowed(name), Cell::Text(Cow::Borrowed(text)));
        Self { fields: fields.map(cell).collect() }
    }

    /// Whether there is such a field.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| known == name)
    }

    /// The names of some fields, for a message.
    pub(crate) fn names(&self) -> String {
        const MOST: usize = 8;
        let mut names: Vec<String> =
            self.fields.iter().take(MOST).map(|(name, _)| shortened(&name.replace('\n', " "))).collect();
        match self.fields.len() {
            0 => names.push("none".into()),
            all if all > MOST => names.push(format!("{} more", all - MOST)),
            _ => {}
        }
        names.join(", ")
    }

    /// The last of the values of that name, as it is written.
    fn cell(&self, name: &str) -> Option<&Cell<'a>> {
        self.fields.iter().rev().find(|(known, _)| known == name).map(|(_, cell)| cell)
    }

    /// A field's text, with `\n` for the end of a line; numbers and truth values as they are written.
    pub(crate) fn text(&self, name: &str) -> Result<Cow<'_, str>, Odd> {
        let expected = || format!("a text in the field {name:?}");
        let cell = self
            .cell(name)
            .ok_or_else(|| Odd::new(format!("no field {name:?} (fields: {})", self.names()), expected()))?;
        let text = match cell {
            Cell::Text(text) => Cow::Borrowed(text.as_ref()),
            Cell::Json(written) => match written.as_bytes().first() {
                Some(b'"') => json::text(written)
                    .map_err(|reason| Odd::new(format!("no text in the field {name:?} ({reason})"), expected()))?,
                Some(b'{' | b'[') => {
                    let found = format!("a list or an object in the field {name:?}");
                    return Err(Odd::new(found, expected()));
                }
                _ if *written == "null" => {
                    return Err(Odd::new(format!("null in the field {name:?}"), expected()));
                }
                _ => Cow::Borrowed(*written),
            },
        };
        Ok(if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n")) } else { text })
    }

    /// The text of a field that may be missing or null; it is then empty.
    pub(crate) fn text_or_none(&self, name: &str) -> Result<Cow<'_, str>, Odd> {
        match self.cell(name) {
            None | Some(Cell::Json("null")) => Ok(Cow::Borrowed("")),
            Some(_) => self.text(name),
        }
    }

    /// The JSON of a field.
    pub(crate) fn json(&self, name: &str) -> Option<&str> {
        self.cell(name).map(|cell| match cell {
            Cell::Json(written) => written,
            Cell::Text(text) => text.as_ref(),
        })
    }
}

/// What is done with each row: it is told where it stands, and gets what can be read of it.
pub(crate) type EachRow<'f> = dyn FnMut(Place, Result<Row<'_>, Odd>) + 'f;
