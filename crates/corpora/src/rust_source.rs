//! Divides Rust source into what its authors wrote for readers and what they wrote for the compiler.

/// A Rust file in two parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RustSource {
    /// Markdown, in order: of each group of documentation comments that no code interrupts, and of each
    /// ordinary comment of two or more lines.
    pub(crate) docs: Vec<String>,
    /// The rest, with ordinary comments of one line.
    pub(crate) code: String,
}

/// Divides a file. Whatever the input, this ends; what is not Rust gives arbitrary parts.
pub(crate) fn divide(source: &str) -> RustSource {
    let mut divided = RustSource::default();
    let mut group = String::new();
    let mut rest = source;
    while !rest.is_empty() {
        let length = token_length(rest, &divided.code);
        let (token, after) = rest.split_at(length);
        rest = after;
        if let Some(text) = documentation(token) {
            group.push_str(&text);
            group.push('\n');
            rest = remove_line(&mut divided.code, rest);
            continue;
        }
        if token.starts_with("//") && is_at_line_start(&divided.code) {
            let (text, more) = following_comment_lines(token, rest);
            if more > 0 {
                divided.docs.extend((!group.is_empty()).then(|| std::mem::take(&mut group)));
                divided.docs.push(text);
                rest = remove_line(&mut divided.code, &rest[more..]);
                continue;
            }
        }
        if !group.is_empty() && !token.trim().is_empty() {
            divided.docs.push(std::mem::take(&mut group));
        }
        divided.code.push_str(token);
    }
    if !group.is_empty() {
        divided.docs.push(group);
    }
    divided.code = without_blank_runs(&divided.code);
    divided
}

/// Length in bytes of the comment, literal or piece of other code at the start of `rest` (not empty),
/// which follows `before`.
fn token_length(rest: &str, before: &str) -> usize {
    match rest.as_bytes() {
        [b'/', b'/', ..] => rest.find('\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_length(rest),
        [b'"' | b'#', ..] if ends_with_raw_prefix(before) => raw_string_length(rest).unwrap_or(1),
        [b'"', ..] => string_length(rest),
        [b'\'', ..] => char_length(rest).unwrap_or(1),
        _ => {
            let first = rest.chars().next().map_or(1, char::len_utf8);
            rest[first..].find(['/', '"', '\'', '#']).map_or(rest.len(), |at| first + at)
        }
    }
}

/// Whether the code ends with `r`, `br` or `cr` as a word of its own.
fn ends_with_raw_prefix(code: &str) -> bool {
    let Some(code) = code.strip_suffix('r') else {
        return false;
    };
    let code = code.strip_suffix(['b', 'c']).unwrap_or(code);
    !code.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Block comments nest.
fn block_comment_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut depth, mut at) = (0usize, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

fn string_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `"..."`, `#"..."#`... after a raw prefix; none for a raw identifier.
fn raw_string_length(rest: &str) -> Option<usize> {
    let hashes = rest.bytes().take_while(|&byte| byte == b'#').count();
    let body = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - body.len();
    Some(body.find(&end).map_or(rest.len(), |at| start + at + end.len()))
}

/// A character literal; none for a lifetime.
fn char_length(rest: &str) -> Option<usize> {
    let body = &rest[1..];
    let first = body.chars().next()?;
    if first == '\\' {
        // The character after the backslash may itself be a quote.
        let escaped = body[1..].chars().next()?;
        let skip = 1 + escaped.len_utf8();
        return body[skip..].find('\'').map(|at| 1 + skip + at + 1);
    }
    body[first.len_utf8()..].starts_with('\'').then_some(first.len_utf8() + 2)
}

/// The Markdown of a documentation comment; none for anything else.
fn documentation(token: &str) -> Option<String> {
    let is_line = |prefix: &str| token.starts_with(prefix) && !token.starts_with("////");
    if is_line("///") || token.starts_with("//!") {
        let text = token[3..].trim_end();
        return Some(text.strip_prefix(' ').unwrap_or(text).to_string());
    }
    let outer = token.starts_with("/**") && !token.starts_with("/***") && token != "/**/";
    if outer || token.starts_with("/*!") {
        let body = token[3..].strip_suffix("*/").unwrap_or(&token[3..]);
        return Some(block_text(body));
    }
    None
}

/// Lines without the column of stars, or else without their common indentation.
fn block_text(body: &str) -> String {
    let lines: Vec<&str> = body.lines().map(str::trim_end).collect();
    let is_star = |line: &str| line.trim_start().starts_with('*');
    let inner = lines.get(1..).unwrap_or_default();
    let filled = || inner.iter().filter(|line| !line.is_empty());
    let starred = filled().count() > 0 && filled().all(|line| is_star(line));
    let indent = filled().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let mut text = lines.first().map_or(String::new(), |line| line.trim_start().to_string());
    for line in inner {
        text.push('\n');
        if starred {
            let line = line.trim_start().trim_start_matches('*');
            text.push_str(line.strip_prefix(' ').unwrap_or(line));
        } else {
            text.push_str(line.get(indent..).unwrap_or_default());
        }
    }
    text
}

/// The text of an ordinary comment that stands on its own line and of the ordinary comments right below
/// it, and the length of the latter (0 if there are none).
fn following_comment_lines(first: &str, rest: &str) -> (String, usize) {
    let mut text = comment_text(first);
    let mut length = 0;
    // What follows the first line's end up to the next one's.
    for line in rest.split_inclusive('\n').skip(1) {
        let comment = line.trim();
        if !comment.starts_with("//") || documentation(comment).is_some() {
            break;
        }
        text.push_str(&comment_text(comment));
        length += line.len();
    }
    if length == 0 {
        return (text, 0);
    }
    // The first line's end counts, the last one's does not.
    let last_end = usize::from(rest[..length + 1].ends_with('\n'));
    (text, length + 1 - last_end)
}

fn comment_text(comment: &str) -> String {
    let text = comment.trim_start_matches('/').trim_end();
    format!("{}\n", text.strip_prefix(' ').unwrap_or(text))
}

fn is_at_line_start(code: &str) -> bool {
    let code = code.trim_end_matches([' ', '\t']);
    code.is_empty() || code.ends_with('\n')
}

/// Removes the line of a comment that has just been taken out, where nothing else is on it, so that no
/// gap is left in the code. Returns what follows.
fn remove_line<'r>(code: &mut String, rest: &'r str) -> &'r str {
    let at_line_start = is_at_line_start(code);
    code.truncate(code.trim_end_matches([' ', '\t']).len());
    if at_line_start { rest.strip_prefix('\n').unwrap_or(rest) } else { rest }
}

/// At most one blank line in a row, no white space at line ends, four spaces for a tab.
fn without_blank_runs(code: &str) -> String {
    let mut tidy = String::with_capacity(code.len());
    let mut blank = true;
    for line in code.lines() {
        let line = line.trim_end();
        if line.is_empty() && blank {
            continue;
        }
        blank = line.is_empty();
        for (index, piece) in line.split('\t').enumerate() {
            tidy.push_str(if index > 0 { "    " } else { "" });
            tidy.push_str(piece);
        }
        tidy.push('\n');
    }
    let kept = tidy.trim_end().len();
    tidy.truncate(kept);
    if !tidy.is_empty() {
        tidy.push('\n');
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn documentation_and_code_are_told_apart() {
        let divided = divide(
            "//! Crate.\n//!\n//! More.\n\n/// Adds.\n#[inline]\nfn add() {\n    // why\n    \
             /// inner\n    let x = 1; //// not documentation\n}\n",
        );
        assert_eq!(divided.docs, ["Crate.\n\nMore.\nAdds.\n", "inner\n"]);
        assert_eq!(divided.code, "#[inline]\nfn add() {\n    // why\n    let x = 1; //// not documentation\n}\n");
    }

    #[test]
    fn comments_of_several_lines_are_documentation_and_of_one_line_are_code() {
        let divided = divide(
            "// One.\nfn a() {\n    // Two\n    //  lines.\n    let x = 1; // end\n    // and\n\n    \
             // more\n    /// doc\n    // x\n    // y",
        );
        assert_eq!(divided.docs, ["Two\n lines.\n", "doc\n", "x\ny\n"]);
        assert_eq!(divided.code, "// One.\nfn a() {\n    let x = 1; // end\n    // and\n\n    // more\n");
    }

    #[test]
    fn no_gaps_are_left_where_documentation_was() {
        let divided = divide("struct A {\n    /// One.\n    a: u8,\n    /** Two. */\n    b: u8,\n}\n");
        assert_eq!(divided.code, "struct A {\n    a: u8,\n    b: u8,\n}\n");
    }

    #[test]
    fn comment_signs_in_literals_are_code() {
        for code in [
            "let a = \"/// no\";\n",
            "let a = \"\\\"/// no\";\n",
            "let a = r#\"\"/// no\"#;\n",
            "let a = br\"\\\"; let b = \"/// no\";\n",
            "let a = ('\"', '\\'', '/', b'\"'); let b = \"/// no\";\n",
            "fn f<'a>(x: &'a str) -> &'a str { x } // '\n",
            "let r#type = 1; let s = \"//! no\";\n",
        ] {
            let divided = divide(code);
            assert_eq!(divided.code, code);
            assert!(divided.docs.is_empty(), "{code}: {:?}", divided.docs);
        }
    }

    #[test]
    fn block_documentation_loses_its_stars_or_its_indentation() {
        let divided = divide("/** One\n * two\n *\n * three */\nfn f() {}\n/*! A\n   b\n     c */");
        assert_eq!(divided.docs, ["One\ntwo\n\nthree\n", "A\nb\n  c\n"]);
        assert_eq!(divided.code, "fn f() {}\n");
        let divided = divide("/* plain /* nested */ still */ fn f() {} /**/ /*** no */");
        assert!(divided.docs.is_empty(), "{:?}", divided.docs);
    }

    proptest! {
        #[test]
        fn any_text_is_divided_without_loss_of_other_characters(
            text in "(///|//!|//|/\\*|\\*/|'|\"|r#|\\\\|[a-z \n#é])*",
        ) {
            let divided = divide(&text);
            let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).count();
            let docs: usize = divided.docs.iter().map(|doc| letters(doc)).sum();
            prop_assert_eq!(docs + letters(&divided.code), letters(&text));
        }
    }
}
