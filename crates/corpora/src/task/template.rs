//! Templates: text with the names of fields in braces, for files of any fields.

use std::borrow::Cow;

use crate::error::CorpusError;
use crate::row::{Odd, Row};

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(String),
}

/// A template such as `Question: {question}\nAnswer:`; `{{` and `}}` stand for braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`CorpusError::Template`] for a brace without its partner, a name that is empty, or a template without fields.
    pub fn parse(source: &str) -> Result<Self, CorpusError> {
        let wrong = |found: &str, expected: &str| CorpusError::Template {
            template: crate::error::shortened(source),
            found: found.into(),
            expected: expected.into(),
        };
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some(place) = rest.find(['{', '}']) {
            text.push_str(&rest[..place]);
            let brace = &rest[place..=place];
            rest = &rest[place + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                text.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(wrong("a `}` without a `{`", "`}}` for a brace"));
            }
            let end = rest.find('}').ok_or_else(|| wrong("a `{` without a `}`", "`{field}`, or `{{` for a brace"))?;
            let name = rest[..end].trim();
            if name.is_empty() || name.contains('{') {
                return Err(wrong(&format!("`{{{}}}`", &rest[..end]), "the name of a field, or `{{` for a brace"));
            }
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Field(name.into()));
            rest = &rest[end + 1..];
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        if !pieces.iter().any(|piece| matches!(piece, Piece::Field(_))) {
            return Err(wrong("no field", "the name of at least one field in braces"));
        }
        Ok(Self { pieces })
    }

    /// The template with a row's texts.
    pub(crate) fn render(&self, row: &Row<'_>) -> Result<String, Odd> {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Ok(Cow::Borrowed(text.as_str())),
            Piece::Field(name) => row.text(name),
        });
        pieces.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_put_in_and_braces_kept() {
        let row = Row::of_texts([("a", "x {b}"), ("b c", "é\n")].into_iter());
        let render = |template: &str| Template::parse(template).unwrap().render(&row).unwrap();
        assert_eq!(render("{a}"), "x {b}");
        assert_eq!(render("Q: {a}, {{{ b c }}}\n"), "Q: x {b}, {é\n}\n");
        let odd = Template::parse("{a} {d}").unwrap().render(&row).unwrap_err();
        assert_eq!(odd, Odd::new("no field \"d\" (fields: a, b c)", "a text in the field \"d\""));
    }

    #[test]
    fn a_template_that_is_none_is_refused() {
        for (template, expected) in [
            ("text", "template \"text\": found no field, expected the name of at least one field in braces"),
            ("{a", "found a `{` without a `}`"),
            ("a}", "found a `}` without a `{`"),
            ("{}", "found `{}`, expected the name of a field"),
            ("{a {b}}", "found `{a {b}`"),
            ("", "found no field"),
        ] {
            let message = Template::parse(template).unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains('\n'), "{template}: {message}");
        }
    }
}
