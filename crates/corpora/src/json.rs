//! A reader of JSON that looks at what it is asked for: in a line of data that others wrote, a `NaN` or half a
//! surrogate in one field is no reason to lose the text in another.
//!
//! Objects and lists are divided into their members, which stay as they are written; [`text`] reads one.

use std::borrow::Cow;

/// The members of an object with their names, each as it is written. Of a name that is there twice, both.
///
/// # Errors
/// In a few words, what is there in place of an object.
pub(crate) fn fields(source: &str) -> Result<Vec<(Cow<'_, str>, &str)>, String> {
    let mut cursor = Cursor { source, at: 0 };
    let mut found = Vec::new();
    cursor.blank();
    if cursor.peek() != Some(b'{') {
        return Err(cursor.what_is_there("no object"));
    }
    cursor.at += 1;
    cursor.blank();
    if cursor.peek() == Some(b'}') {
        cursor.at += 1;
    } else {
        loop {
            cursor.blank();
            let start = cursor.at;
            cursor.string()?;
            let name = text(&source[start..cursor.at])?;
            cursor.blank();
            cursor.expect(b':')?;
            found.push((name, cursor.value()?));
            if cursor.comma_or(b'}')? {
                break;
            }
        }
    }
    cursor.end()?;
    Ok(found)
}

/// The members of a list, each as it is written.
///
/// # Errors
/// In a few words, what is there in place of a list.
pub(crate) fn elements(source: &str) -> Result<Vec<&str>, String> {
    let mut cursor = Cursor { source, at: 0 };
    let mut found = Vec::new();
    cursor.blank();
    if cursor.peek() != Some(b'[') {
        return Err(cursor.what_is_there("no list"));
    }
    cursor.at += 1;
    cursor.blank();
    if cursor.peek() == Some(b']') {
        cursor.at += 1;
    } else {
        loop {
            found.push(cursor.value()?);
            if cursor.comma_or(b']')? {
                break;
            }
        }
    }
    cursor.end()?;
    Ok(found)
}

/// The text that a string is written for.
///
/// # Errors
/// In a few words, if it is no string or stands for no text (half a surrogate).
pub(crate) fn text(written: &str) -> Result<Cow<'_, str>, String> {
    let inner = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        // Most strings have nothing to decode.
        Some(inner) if !inner.contains(['\\', '"']) => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str(written).map(Cow::Owned).map_err(|error| match reason(&error) {
            reason if reason.contains("escape") || reason.contains("surrogate") => "a broken \\ escape".into(),
            reason => reason,
        }),
    }
}

/// serde_json's message without its position: it counts lines within the line.
pub(crate) fn reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message[..message.rfind(" at line ").unwrap_or(message.len())].to_string()
}

struct Cursor<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.source.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn broken(&self, expected: &str) -> String {
        let column = self.source[..self.at.min(self.source.len())].chars().count() + 1;
        match self.peek() {
            None => format!("broken JSON (it ends at column {column} where {expected} should be)"),
            Some(_) => format!("broken JSON (no {expected} at column {column})"),
        }
    }

    fn what_is_there(&self, not: &str) -> String {
        match self.peek() {
            Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => format!("JSON that is {not}"),
            Some(_) => format!("what is no JSON ({:?})", crate::error::shortened(&self.source[self.at..])),
            None => "nothing".into(),
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.broken(&format!("`{}`", char::from(byte))))
    }

    /// Whether what follows is the end `close`, and not a comma and more.
    fn comma_or(&mut self, close: u8) -> Result<bool, String> {
        self.blank();
        match self.peek() {
            Some(byte) if byte == close || byte == b',' => {
                self.at += 1;
                Ok(byte == close)
            }
            _ => Err(self.broken(&format!("`,` or `{}`", char::from(close)))),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        self.blank();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.broken("end of the JSON")),
        }
    }

    /// Passes over a string.
    fn string(&mut self) -> Result<(), String> {
        self.expect(b'"')?;
        loop {
            match self.peek() {
                None => return Err(self.broken("the string's end")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
            }
        }
    }

    /// Passes over any value, however deep, and returns it as it is written.
    fn value(&mut self) -> Result<&'a str, String> {
        self.blank();
        let start = self.at;
        let mut open = Vec::new();
        loop {
            self.blank();
            match self.peek() {
                Some(b'"') => self.string()?,
                Some(byte @ (b'{' | b'[')) => {
                    open.push(if byte == b'{' { b'}' } else { b']' });
                    self.at += 1;
                    continue;
                }
                Some(byte @ (b'}' | b']')) if open.last() == Some(&byte) => {
                    open.pop();
                    self.at += 1;
                }
                Some(b',' | b':') if !open.is_empty() => {
                    self.at += 1;
                    continue;
                }
                Some(b',' | b':' | b'}' | b']') | None => return Err(self.broken("a value")),
                // A number, a truth value, null, or what other writers put in their place.
                Some(_) => {
                    let rest = &self.source[self.at..];
                    let is_end = |c: char| c.is_ascii_whitespace() || matches!(c, ',' | ':' | '}' | ']' | '"');
                    self.at += rest.find(is_end).unwrap_or(rest.len());
                }
            }
            if open.is_empty() {
                return Ok(&self.source[start..self.at]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn members_stay_as_they_are_written() {
        let line = r#" {"a": "x\"y", "b": [1, {"c": "]}"}], "d": NaN , "e":-1.50, "f": "\ud800", "g": null} "#;
        let found = fields(line).unwrap();
        let values: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_ref(), *value)).collect();
        let expected = [
            ("a", r#""x\"y""#),
            ("b", r#"[1, {"c": "]}"}]"#),
            ("d", "NaN"),
            ("e", "-1.50"),
            ("f", r#""\ud800""#),
            ("g", "null"),
        ];
        assert_eq!(values, expected);
        assert_eq!(text(values[0].1).unwrap(), "x\"y");
        assert_eq!(text(values[4].1).unwrap_err(), "a broken \\ escape");
        assert_eq!(elements("[ {\"a\": 1}, 2 ]").unwrap(), ["{\"a\": 1}", "2"]);
        assert!(fields("{}").unwrap().is_empty() && elements("[]").unwrap().is_empty());
    }

    #[test]
    fn what_is_broken_is_said_with_its_column() {
        for (line, expected) in [
            ("{\"text\": ", "broken JSON (it ends at column 10 where a value should be)"),
            ("{\"text\": \"a", "broken JSON (it ends at column 12 where the string's end should be)"),
            ("{\"é\" 1}", "broken JSON (no `:` at column 6)"),
            ("{\"a\": 1 \"b\": 2}", "broken JSON (no `,` or `}` at column 9)"),
            ("{\"a\": 1} x", "broken JSON (no end of the JSON at column 10)"),
            ("[1]", "JSON that is no object"),
            ("Tom has 12 books", "what is no JSON (\"Tom has 12 books\")"),
            ("{\"a\": \"\\", "broken JSON (it ends at column 9 where the string's end should be)"),
        ] {
            assert_eq!(fields(line).unwrap_err(), expected, "{line}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(".{0,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_object_has_the_members_that_serde_json_reads(map in proptest::collection::btree_map(".{0,6}", value(), 0..5)) {
            let expected = Value::Object(map.into_iter().collect());
            for written in [expected.to_string(), serde_json::to_string_pretty(&expected).unwrap()] {
                let found = fields(&written).unwrap();
                let read: serde_json::Map<String, Value> =
                    found.iter().map(|(name, value)| (name.to_string(), serde_json::from_str(value).unwrap())).collect();
                prop_assert_eq!(&Value::Object(read), &expected);
            }
        }

        #[test]
        fn no_text_makes_it_panic(line in "[{}\\[\\]\",:\\\\a1é \n]{0,40}") {
            let _ = (fields(&line), elements(&line), text(&line));
        }
    }
}
