//! Which paragraphs are English prose, and which files are code that somebody wrote.

use std::borrow::Cow;
use std::collections::HashSet;

/// Text in ASCII: typographic signs and accented letters become their plain forms. Other characters
/// stay as they are.
pub(crate) fn plain_signs(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{2018}' | '\u{2019}' | '\u{2032}' => plain.push('\''),
            '\u{201C}' | '\u{201D}' | '\u{2033}' => plain.push('"'),
            '\u{2010}'..='\u{2013}' | '\u{2212}' => plain.push('-'),
            '\u{2014}' | '\u{2015}' => plain.push_str("--"),
            '\u{2026}' => plain.push_str("..."),
            '\u{2190}' => plain.push_str("<-"),
            '\u{2192}' => plain.push_str("->"),
            '\u{21D2}' => plain.push_str("=>"),
            '\u{2264}' => plain.push_str("<="),
            '\u{2265}' => plain.push_str(">="),
            '\u{2260}' => plain.push_str("!="),
            '\u{00D7}' => plain.push('x'),
            '\u{2022}' | '\u{00B7}' => plain.push('-'),
            '\u{00A0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' => plain.push(' '),
            '\u{200B}'..='\u{200D}' | '\u{FEFF}' | '\u{FE0F}' | '\u{00AD}' => {}
            'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' => plain.push('a'),
            'ç' | 'č' => plain.push('c'),
            'è' | 'é' | 'ê' | 'ë' => plain.push('e'),
            'ì' | 'í' | 'î' | 'ï' => plain.push('i'),
            'ñ' => plain.push('n'),
            'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' => plain.push('o'),
            'ù' | 'ú' | 'û' | 'ü' => plain.push('u'),
            'É' => plain.push('E'),
            'Ö' => plain.push('O'),
            'Ü' => plain.push('U'),
            'ß' => plain.push_str("ss"),
            other => plain.push(other),
        }
    }
    Cow::Owned(plain)
}

/// Share of characters outside ASCII up to which they are dropped and the rest is kept.
const FOREIGN_SHARE: f64 = 0.02;

/// The text in ASCII alone; none if too much of it is something else.
pub(crate) fn to_ascii(text: &str) -> Option<String> {
    let text = plain_signs(text);
    if text.is_ascii() {
        return Some(text.into_owned());
    }
    let (mut kept, mut dropped) = (String::with_capacity(text.len()), 0usize);
    for c in text.chars() {
        if c.is_ascii() { kept.push(c) } else { dropped += 1 }
    }
    (dropped as f64 <= FOREIGN_SHARE * (kept.len() + dropped) as f64).then_some(kept)
}

/// The commonest words of English documentation.
const STOP_WORDS: [&str; 64] = [
    "a", "all", "also", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can", "does", "each", "for",
    "from", "has", "have", "if", "in", "into", "is", "it", "its", "may", "more", "must", "no", "not", "of", "on",
    "one", "only", "or", "other", "same", "should", "so", "than", "that", "the", "their", "then", "there", "these",
    "they", "this", "to", "use", "used", "was", "we", "when", "where", "which", "while", "will", "with", "without",
    "would", "you", "your",
];

/// Bytes of the longest of [`STOP_WORDS`].
const LONGEST_STOP_WORD: usize = 7;
/// Fewest words of a paragraph: shorter ones are captions.
const FEWEST_WORDS: usize = 5;
/// Least share of letters, spaces and simple punctuation among the characters.
const LETTER_SHARE: f64 = 0.88;
/// Least share of [`STOP_WORDS`] among the words.
const STOP_WORD_SHARE: f64 = 0.16;

/// Whether a paragraph (in ASCII, on one line) is English prose, and not a table, a formula, a list of
/// names or another language.
pub(crate) fn is_english(paragraph: &str) -> bool {
    let simple =
        |c: &u8| c.is_ascii_alphabetic() || matches!(c, b' ' | b'.' | b',' | b';' | b':' | b'\'' | b'-' | b'(' | b')');
    let simple_count = paragraph.bytes().filter(simple).count();
    if (simple_count as f64) < LETTER_SHARE * paragraph.len() as f64 {
        return false;
    }
    let (mut words, mut stop_words) = (0usize, 0usize);
    for word in paragraph.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '\'') {
        if !word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        words += 1;
        if word.len() <= LONGEST_STOP_WORD {
            let lower = word.to_ascii_lowercase();
            stop_words += usize::from(STOP_WORDS.binary_search(&lower.as_str()).is_ok());
        }
    }
    words >= FEWEST_WORDS && stop_words as f64 >= STOP_WORD_SHARE * words as f64
}

/// Bytes of the smallest and largest code file that is kept: the small ones are lists of modules, the
/// large ones mostly generated.
const CODE_BYTES: std::ops::RangeInclusive<usize> = 400..=120_000;
/// Largest share of digits among the characters that are not white space.
const DIGIT_SHARE: f64 = 0.12;
/// Longest line that people write.
const LINE_BYTES: usize = 400;
/// Least share of distinct lines among those of some length.
const DISTINCT_LINES: f64 = 0.6;
/// Largest share of lines that declare constants or types.
const DECLARATIONS: f64 = 0.3;
/// Lines shorter than this (braces, `else`) may repeat.
pub(crate) const SHORT_LINE: usize = 12;

/// Whether a file (in ASCII) is code that was written by hand, and not a table or bindings.
pub(crate) fn is_written_code(code: &str) -> bool {
    if !CODE_BYTES.contains(&code.len()) || code.lines().any(|line| line.len() > LINE_BYTES) {
        return false;
    }
    let (mut visible, mut digits) = (0usize, 0usize);
    for byte in code.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        visible += 1;
        digits += usize::from(byte.is_ascii_digit());
    }
    if digits as f64 > DIGIT_SHARE * visible as f64 {
        return false;
    }
    let lines: Vec<&str> = code.lines().map(str::trim).filter(|line| line.len() >= SHORT_LINE).collect();
    let declares =
        |line: &&&str| ["const ", "pub const ", "type ", "pub type "].iter().any(|start| line.starts_with(start));
    if lines.iter().filter(declares).count() as f64 > DECLARATIONS * lines.len() as f64 {
        return false;
    }
    let distinct: HashSet<&str> = lines.iter().copied().collect();
    distinct.len() as f64 >= DISTINCT_LINES * lines.len() as f64
}

/// Code without the licence at its head: a comment that speaks of copyright or a licence.
pub(crate) fn without_licence(code: &str) -> &str {
    let mut head = 0;
    for line in code.split_inclusive('\n') {
        let is_comment = line.starts_with("//") || line.starts_with(" *") || line.starts_with("/*");
        if !is_comment && !line.trim().is_empty() {
            break;
        }
        head += line.len();
    }
    if is_licence(&code[..head]) { &code[head..] } else { code }
}

/// Whether a text speaks of copyright or a licence.
pub(crate) fn is_licence(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["copyright", "licence", "license"].iter().any(|word| text.contains(word))
}

/// Whether a paragraph is its author's note of what is left to do.
pub(crate) fn is_note(paragraph: &str) -> bool {
    let text = paragraph.trim_start_matches(['-', ' ', '@', '(', '[']);
    ["TODO", "FIXME", "XXX", "HACK"].iter().any(|mark| text.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_stop_words_are_sorted_for_the_search() {
        assert!(STOP_WORDS.is_sorted());
        assert_eq!(STOP_WORDS.iter().map(|word| word.len()).max(), Some(LONGEST_STOP_WORD));
    }

    #[test]
    fn prose_is_english_and_tables_names_and_other_languages_are_not() {
        for prose in [
            "Returns the number of elements in the set, or zero if it is empty.",
            "This is the same as calling push for each of the items.",
            "- the file is opened only when it is first read.",
        ] {
            assert!(is_english(prose), "{prose}");
        }
        for other in [
            "0x00 0x01 0x02 0x03 is the table of the 0x04 0x05 0x06 0x07",
            "Adler Smith Jones Miller Brown and Taylor Wilson Davies Evans Thomas",
            "Die Funktion gibt die Anzahl der Elemente in der Menge zur Ruckgabe an",
            "+--+--+ the | of | and +--+--+ to | in | a +--+--+",
            "See also the",
        ] {
            assert!(!is_english(other), "{other}");
        }
    }

    #[test]
    fn signs_become_ascii_and_foreign_text_is_refused() {
        let text = "“naïve” — it’s… a\u{a0}b → c";
        assert_eq!(to_ascii(text).unwrap(), "\"naive\" -- it's... a b -> c");
        assert_eq!(to_ascii("これは日本語です and some"), None);
        let long = format!("{} ☃", "word ".repeat(20));
        assert_eq!(to_ascii(&long).unwrap().trim_end(), "word ".repeat(20).trim_end());
    }

    #[test]
    fn tables_bindings_and_long_lines_are_not_written_code() {
        let varied: String = (b'a'..=b'z').map(|c| format!("fn {0}_name(x: u8) -> {0} {{ x }}\n", c as char)).collect();
        assert!(is_written_code(&varied), "{}", varied.len());
        let table = "    0x12, 0x34, 0x56, 0x78, 0x9a,\n".repeat(40);
        let bindings: String = (0..200).map(|i| format!("pub const A{i}: u32 = B;\n")).collect();
        let repeated = "    visitor.visit_field(self)?;\n".repeat(40);
        let long = format!("{varied}const X: &str = \"{}\";\n", "x".repeat(LINE_BYTES));
        for other in [table, bindings, repeated, long, "mod a;\n".into()] {
            assert!(!is_written_code(&other), "{}", &other[..7]);
        }
    }

    #[test]
    fn a_licence_at_the_head_goes_and_another_comment_stays() {
        let licence = "// Copyright (c) Somebody\n// Licensed under MIT\n\nuse std::fmt;\n";
        assert_eq!(without_licence(licence), "use std::fmt;\n");
        let comment = "// Tables of sines\nuse std::fmt;\n";
        assert_eq!(without_licence(comment), comment);
    }

    #[test]
    fn notes_of_what_is_left_to_do_are_told_by_their_mark() {
        assert!(is_note("TODO: this should be done in another way.") && is_note("- FIXME(ann): remove the old one."));
        assert!(!is_note("The TODO in the list is done."));
    }

    proptest! {
        #[test]
        fn ascii_text_has_no_other_character(text in "[a-zé—日 ]{0,200}") {
            prop_assert!(to_ascii(&text).is_none_or(|plain| plain.is_ascii()));
        }
    }
}
