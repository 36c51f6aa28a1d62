//! Turns Markdown into plain paragraphs.
//!
//! Kept is what a reader would read aloud: paragraphs, headings and list items, each on one line, the
//! text of links and of inline code. Code blocks, tables, images, HTML, footnotes, sentences with a bare address
//! (`See https://...`) and link definitions go.

/// The paragraphs of a Markdown text, in order, without line ends and repeated spaces.
pub(crate) fn paragraphs(markdown: &str) -> Vec<String> {
    let mut reader = Reader::default();
    for line in markdown.lines() {
        reader.line(line);
    }
    reader.end_paragraph();
    reader.paragraphs
}

#[derive(Default)]
struct Reader {
    paragraphs: Vec<String>,
    current: String,
    /// The opening fence of the code block that is being skipped.
    fence: Option<String>,
    in_html_comment: bool,
    /// After a list item indented lines are its continuation, elsewhere they are code.
    in_list: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let quoted = line.trim_end();
        let text = strip_quote(quoted);
        let indent = text.chars().take_while(|c| c.is_whitespace()).count();
        let trimmed = text.trim();
        if let Some(fence) = &self.fence {
            let closes = trimmed.starts_with(fence.as_str()) && trimmed.trim_start_matches(&fence[..1]).is_empty();
            if closes {
                self.fence = None;
            }
            return;
        }
        if self.in_html_comment || trimmed.starts_with("<!--") {
            self.end_paragraph();
            self.in_html_comment = !trimmed.contains("-->");
            return;
        }
        if let Some(fence) = opening_fence(trimmed) {
            self.end_paragraph();
            self.fence = Some(fence);
            return;
        }
        if trimmed.is_empty() {
            self.end_paragraph();
            return;
        }
        if let Some(item) = list_item(trimmed) {
            self.end_paragraph();
            self.in_list = true;
            self.current = item;
            return;
        }
        if indent >= 4 && self.current.is_empty() && !self.in_list {
            return;
        }
        if indent == 0 && self.current.is_empty() {
            self.in_list = false;
        }
        if is_not_prose(trimmed) {
            self.end_paragraph();
            return;
        }
        let heading = trimmed.trim_start_matches('#');
        if heading.len() < trimmed.len() && heading.starts_with(' ') {
            self.end_paragraph();
            self.current = heading.trim_end_matches('#').to_string();
            self.end_paragraph();
            return;
        }
        if !self.current.is_empty() {
            self.current.push(' ');
        }
        self.current.push_str(trimmed);
    }

    fn end_paragraph(&mut self) {
        let text = plain(&std::mem::take(&mut self.current));
        if !text.is_empty() {
            self.paragraphs.push(text);
        }
    }
}

fn strip_quote(line: &str) -> &str {
    let mut text = line;
    while let Some(rest) = text.trim_start().strip_prefix('>') {
        text = rest.strip_prefix(' ').unwrap_or(rest);
    }
    text
}

fn opening_fence(line: &str) -> Option<String> {
    ['`', '~'].into_iter().find_map(|sign| {
        let length = line.chars().take_while(|&c| c == sign).count();
        (length >= 3).then(|| sign.to_string().repeat(length))
    })
}

/// The text of a list item, with `- ` or its number before it.
fn list_item(line: &str) -> Option<String> {
    for sign in ["- ", "* ", "+ "] {
        if let Some(text) = line.strip_prefix(sign) {
            let text = text.trim_start();
            let text = ["[ ] ", "[x] ", "[X] "].iter().find_map(|boxed| text.strip_prefix(boxed)).unwrap_or(text);
            return Some(format!("- {text}"));
        }
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &line[digits..];
    let numbered = (1..=3).contains(&digits) && (rest.starts_with(". ") || rest.starts_with(") "));
    numbered.then(|| format!("{}. {}", &line[..digits], rest[2..].trim_start()))
}

/// Table rows, rules and underlines, link definitions, GitHub's alert marks.
fn is_not_prose(line: &str) -> bool {
    let rule = line.chars().all(|c| matches!(c, '-' | '=' | '*' | '_' | ' ' | '|' | ':' | '+'));
    let definition = line.starts_with('[') && line.contains("]: ");
    rule || definition || line.starts_with('|') || line.starts_with("[!")
}

/// Stands for an address, until its sentence is dropped; never in the text itself.
const ADDRESS: char = '\0';

/// Text without inline markup and without the sentences that name an address.
fn plain(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    inline(markdown, &mut text);
    let words: Vec<&str> = text.split_whitespace().collect();
    without_addresses(words.join(" "))
}

fn without_addresses(mut text: String) -> String {
    const ENDS: [&str; 3] = [". ", "! ", "? "];
    while let Some(at) = text.find(ADDRESS) {
        let start = ENDS.iter().filter_map(|end| text[..at].rfind(end)).max().map_or(0, |end| end + 2);
        let length = ENDS.iter().filter_map(|end| text[at..].find(end)).min().map_or(text.len() - at, |end| end + 2);
        text.replace_range(start..at + length, "");
    }
    text.truncate(text.trim_end().len());
    text
}

fn inline(markdown: &str, out: &mut String) {
    let mut rest = markdown;
    while let Some(first) = rest.chars().next() {
        let before = out.chars().next_back();
        let length = match first {
            '`' => code_span(rest, out),
            '!' if rest.starts_with("![") => link(&rest[1..], &mut String::new()).map(|n| n + 1),
            '[' => link(rest, out),
            '<' => tag(rest, out),
            '\\' => escaped(rest, out),
            '&' => entity(rest, out),
            '*' | '_' => emphasis(rest, before),
            'h' if !before.is_some_and(char::is_alphanumeric) => address(rest, out),
            ADDRESS => Some(first.len_utf8()),
            _ => None,
        };
        let length = length.unwrap_or_else(|| {
            out.push(first);
            first.len_utf8()
        });
        rest = &rest[length..];
    }
}

/// Writes the text between equal runs of backticks as it is.
fn code_span(rest: &str, out: &mut String) -> Option<usize> {
    let run = rest.bytes().take_while(|&byte| byte == b'`').count();
    let body = &rest[run..];
    let Some(end) = body.find(&rest[..run]) else {
        return Some(run);
    };
    out.push_str(body[..end].trim());
    Some(run + end + run)
}

/// `[text]`, `[text](address)` or `[text][name]`: writes the text.
fn link(rest: &str, out: &mut String) -> Option<usize> {
    let end = closing(rest, '[', ']')?;
    let text = &rest[1..end];
    if !text.starts_with('^') {
        inline(text, out);
    }
    let after = &rest[end + 1..];
    let target = match after.chars().next() {
        Some('(') => closing(after, '(', ')').map_or(0, |end| end + 1),
        Some('[') => closing(after, '[', ']').map_or(0, |end| end + 1),
        _ => 0,
    };
    Some(end + 1 + target)
}

/// Position of the bracket that closes the one at the start.
fn closing(rest: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in rest.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

/// An HTML tag, or an address in angle brackets.
fn tag(rest: &str, out: &mut String) -> Option<usize> {
    let inner = rest[1..].trim_start_matches('/');
    if !inner.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let end = rest.find('>')?;
    let inside = &rest[1..end];
    if inside.contains('<') {
        return None;
    }
    if inside.starts_with("http://") || inside.starts_with("https://") {
        out.push(ADDRESS);
    }
    Some(end + 1)
}

fn escaped(rest: &str, out: &mut String) -> Option<usize> {
    let sign = rest[1..].chars().next().filter(char::is_ascii_punctuation)?;
    out.push(sign);
    Some(2)
}

fn entity(rest: &str, out: &mut String) -> Option<usize> {
    let known = [("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&nbsp;", " ")];
    let (name, text) = known.iter().find(|(name, _)| rest.starts_with(name))?;
    out.push_str(text);
    Some(name.len())
}

/// Signs of emphasis touch a word on one side only; others (`a * b`, `snake_case`) are text.
fn emphasis(rest: &str, before: Option<char>) -> Option<usize> {
    let sign = rest.chars().next()?;
    let run = rest.chars().take_while(|&c| c == sign).count();
    let after = rest[run..].chars().next();
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "`[(\"'".contains(c));
    let ends_word = before.is_some_and(|c| !c.is_whitespace());
    let opens = !before.is_some_and(char::is_alphanumeric) && is_word(after);
    let closes = ends_word && !after.is_some_and(|c| c.is_alphanumeric() || c == '_');
    (run <= 3 && (opens || closes)).then_some(run)
}

fn address(rest: &str, out: &mut String) -> Option<usize> {
    if !rest.starts_with("http://") && !rest.starts_with("https://") {
        return None;
    }
    out.push(ADDRESS);
    let length = rest.find(|c: char| c.is_whitespace() || c == ')').unwrap_or(rest.len());
    Some(rest[..length].trim_end_matches(['.', ',', ';', ':']).len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn links_keep_their_text_and_lose_their_address() {
        let cases = [
            ("See [`Vec::push`](https://doc/x_(y)) now.", "See Vec::push now."),
            ("A [crate][1] and [this] one[^note].", "A crate and this one."),
            ("![badge](a.svg) [![b](c)](d) text", "text"),
        ];
        for (markdown, expected) in cases {
            assert_eq!(paragraphs(markdown), [expected]);
        }
    }

    #[test]
    fn a_sentence_with_a_bare_address_goes_and_its_neighbours_stay() {
        let cases = [
            ("One. At <https://x.org> or https://y.org/a, fine. Two? Three.", "One. Two? Three."),
            ("One. See https://x.org/a.b?c=d", "One."),
            ("From https://x.org. Two.", "Two."),
            ("`https://x.org` in code stays.", "https://x.org in code stays."),
        ];
        for (markdown, expected) in cases {
            assert_eq!(paragraphs(markdown), [expected]);
        }
        assert!(paragraphs("see <https://x.org>").is_empty());
        assert!(paragraphs("\0").is_empty());
    }

    #[test]
    fn emphasis_goes_and_operators_stay() {
        let cases = [
            ("**Note**: it is _really_ *big*.", "Note: it is really big."),
            ("`a_b` or snake_case and 2 * 3 = 6", "a_b or snake_case and 2 * 3 = 6"),
            ("a \\* b &lt; c &amp; d<br>e", "a * b < c & de"),
            ("unclosed `code and [bracket", "unclosed code and [bracket"),
        ];
        for (markdown, expected) in cases {
            assert_eq!(paragraphs(markdown), [expected]);
        }
    }

    #[test]
    fn wrapped_lines_are_joined_and_blocks_divided() {
        let markdown = "# Title #\nOne\ntwo.\n\nThree.\n- item\n  goes on\n* second\n\n    inside \
                        the item\n\n1. first\nEnd\n> quoted\n> text\n";
        let expected = [
            "Title",
            "One two.",
            "Three.",
            "- item goes on",
            "- second",
            "inside the item",
            "1. first End quoted text",
        ];
        assert_eq!(paragraphs(markdown), expected);
    }

    #[test]
    fn code_tables_rules_and_definitions_go() {
        let markdown = "Before\n```rust\nlet x;\n```\nafter\n\n    indented code\n\n~~~~\n~~~\n~~~~\n\
                        | a | b |\n|---|---|\n---\n[x]: http://y\n<!-- hidden\nstill -->\nlast\n";
        assert_eq!(paragraphs(markdown), ["Before", "after", "last"]);
    }

    proptest! {
        #[test]
        fn any_text_gives_tidy_paragraphs(
            text in "([a-z]{1,5}|[ \n`*_<>\\[\\]()!|#~&é-]|https://|```|<!--|-->)*",
        ) {
            for paragraph in paragraphs(&text) {
                prop_assert!(!paragraph.is_empty() && paragraph == paragraph.trim());
                prop_assert!(!paragraph.contains(['\n', ADDRESS]) && !paragraph.contains("  "));
            }
        }
    }
}
