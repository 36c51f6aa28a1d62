//! What is kept of everything found: nothing twice, and not too much of any one package.

use std::collections::{BTreeMap, HashMap, HashSet};

use sha2::{Digest, Sha256};

use crate::Document;
use crate::filter::SHORT_LINE;

/// Paragraphs that differ in names alone are kept so many times: more are a template that was filled in.
const KIN: u8 = 3;

/// Words in a row by which a paragraph is found to be an older one with changes.
const RUN_WORDS: usize = 8;

/// A paragraph, and what two paragraphs are compared by.
pub(crate) struct Paragraph {
    pub(crate) text: String,
    letters: u64,
    template: u64,
    runs: Vec<u64>,
}

impl Paragraph {
    pub(crate) fn new(text: String) -> Self {
        let letters: Vec<u8> = text
            .bytes()
            .filter_map(|byte| match byte {
                b' ' => Some(b' '),
                byte => byte.is_ascii_alphabetic().then(|| byte.to_ascii_lowercase()),
            })
            .collect();
        let words: Vec<&[u8]> = letters.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).collect();
        let run = |words: &[&[u8]]| digest(words.iter().flat_map(|word| word.iter().chain(b" ")));
        Self {
            letters: digest(letters.iter().filter(|&&byte| byte != b' ')),
            template: digest(words_and_names(&text).as_bytes()),
            runs: words.windows(RUN_WORDS).map(run).collect(),
            text,
        }
    }
}

/// The paragraph with `#` for every word that is not a plain one (`read_line`, `Vec::push`, `HashMap`).
fn words_and_names(paragraph: &str) -> String {
    let mut template = String::with_capacity(paragraph.len());
    for (index, word) in paragraph.split(' ').enumerate() {
        let word = word.trim_matches(|c: char| c.is_ascii_punctuation());
        let rest = if index == 0 { word.get(1..).unwrap_or_default() } else { word };
        let is_plain = rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte == b'\'');
        template.push_str(if is_plain { word } else { "#" });
        template.push(' ');
    }
    template
}

/// A code file, and what two of them are compared by.
pub(crate) struct CodeFile {
    pub(crate) text: String,
    lines: Vec<u64>,
}

impl CodeFile {
    pub(crate) fn new(text: String) -> Self {
        let long = text.lines().map(str::trim).filter(|line| line.len() >= SHORT_LINE);
        let lines = long.map(|line| digest(line.as_bytes())).collect();
        Self { text, lines }
    }
}

/// Remembers what it has seen; only membership is ever asked, so that its order matters nowhere.
#[derive(Default)]
pub(crate) struct Seen {
    paragraphs: HashSet<u64>,
    templates: HashMap<u64, u8>,
    runs: HashSet<u64>,
    lines: HashSet<u64>,
}

impl Seen {
    /// Whether a paragraph says something new. One that does not:
    /// - has the letters of an older one: digits, case and signs do not count, so that `Adds the 8 lanes.` and
    ///   `Adds the 16 lanes.` are one;
    /// - or differs from three older ones in names alone;
    /// - or shares most of its runs of eight words with older ones.
    pub(crate) fn is_new_paragraph(&mut self, paragraph: &Paragraph) -> bool {
        if !self.paragraphs.insert(paragraph.letters) {
            return false;
        }
        let kin = self.templates.entry(paragraph.template).or_default();
        *kin = kin.saturating_add(1);
        let old = paragraph.runs.iter().filter(|run| self.runs.contains(run)).count();
        let is_new = *kin <= KIN && 2 * old <= paragraph.runs.len();
        if is_new {
            self.runs.extend(&paragraph.runs);
        }
        is_new
    }

    /// Whether most of a code file is new: files of two versions of one package mostly are not.
    pub(crate) fn is_new_code(&mut self, file: &CodeFile) -> bool {
        let old = file.lines.iter().filter(|line| self.lines.contains(line)).count();
        let is_new = 2 * old <= file.lines.len();
        if is_new {
            self.lines.extend(&file.lines);
        }
        is_new
    }
}

/// FNV-1a of 64 bits: millions of lines and runs of words are compared by it.
fn digest<'b>(bytes: impl IntoIterator<Item = &'b u8>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.into_iter().fold(OFFSET, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// Leaves out documents of the packages (by name, over all versions) that would make up more than
/// `share` of all bytes. Which of their documents stay is decided by a hash of the path. Sorted by
/// package and path; with too few packages to reach `share` nothing is left out.
pub(crate) fn cap_packages(documents: Vec<Document>, share: f64) -> Vec<Document> {
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    for document in &documents {
        *sizes.entry(name_of(&document.package).to_string()).or_default() += document.text.len();
    }
    let limit = largest_share(sizes.values().copied().collect(), share);
    let mut by_hash: Vec<(_, Document)> = documents
        .into_iter()
        .map(|document| (Sha256::digest(format!("{} {}", document.package, document.path)), document))
        .collect();
    by_hash.sort_by_key(|(hash, _)| *hash);
    let mut kept_bytes: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept: Vec<Document> = by_hash
        .into_iter()
        .map(|(_, document)| document)
        .filter(|document| {
            let bytes = kept_bytes.entry(name_of(&document.package).to_string()).or_default();
            let fits = *bytes + document.text.len() <= limit;
            if fits {
                *bytes += document.text.len();
            }
            fits
        })
        .collect();
    kept.sort_by(|a, b| (&a.package, &a.path).cmp(&(&b.package, &b.path)));
    kept
}

fn name_of(package: &str) -> &str {
    package.split(' ').next().unwrap_or(package)
}

/// The largest `limit` with `limit <= share * sum(min(size, limit))`.
fn largest_share(mut sizes: Vec<usize>, share: f64) -> usize {
    sizes.sort_unstable();
    let total: usize = sizes.iter().sum();
    let mut below = total;
    // With the `above` largest cut to the limit: limit = share * (below + above * limit).
    for above in 0..=sizes.len() {
        let divisor = 1.0 - share * above as f64;
        if divisor <= 0.0 {
            break;
        }
        let limit = share * below as f64 / divisor;
        let next = sizes.len().checked_sub(above + 1).map_or(0, |index| sizes[index]);
        if limit >= next as f64 {
            return if limit > 0.0 { limit as usize } else { usize::MAX };
        }
        below -= next;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn document(package: &str, path: usize, bytes: usize) -> Document {
        Document { package: package.into(), path: format!("src/{path}.rs"), text: "x".repeat(bytes) }
    }

    #[test]
    fn paragraphs_that_differ_in_numbers_and_case_are_one() {
        let mut seen = Seen::default();
        let mut is_new = |text: &str| seen.is_new_paragraph(&Paragraph::new(text.into()));
        assert!(is_new("Adds the 8 lanes."));
        assert!(!is_new("adds the 16 lanes"));
        assert!(is_new("Multiplies the 16 lanes."));
    }

    #[test]
    fn a_template_filled_in_with_names_is_kept_three_times() {
        let mut seen = Seen::default();
        let mut is_new = |text: &str| seen.is_new_paragraph(&Paragraph::new(text.into()));
        for (name, kept) in
            [("read_line", true), ("Vec::push", true), ("HashMap", true), ("W", false), ("as_ref", false)]
        {
            assert_eq!(is_new(&format!("See the documentation of {name}, and no other.")), kept, "{name}");
        }
        for word in ["this", "that", "another", "the", "my"] {
            assert!(is_new(&format!("See the documentation of {word} type.")), "{word}");
        }
    }

    #[test]
    fn a_paragraph_that_changes_a_little_of_an_older_one_is_not_new() {
        let mut seen = Seen::default();
        let mut is_new = |text: &str| seen.is_new_paragraph(&Paragraph::new(text.into()));
        let text =
            "The lock is taken by the first caller and is held until the last of them has gone, so that nobody else";
        assert!(is_new(&format!("{text} can write.")));
        assert!(!is_new(&format!("{text} can read, and so on.")));
        assert!(is_new(&format!(
            "{text} can read. What is said here is longer than what both have in common, and is kept."
        )));
    }

    #[test]
    fn another_version_of_a_file_is_not_new() {
        let mut seen = Seen::default();
        let mut is_new = |names: std::ops::Range<u32>| {
            let text = names.map(|i| format!("fn name_{i}(argument: u8) {{}}\n")).collect();
            seen.is_new_code(&CodeFile::new(text))
        };
        assert!(is_new(0..20));
        assert!(!is_new(5..25));
        assert!(is_new(15..40));
    }

    #[test]
    fn versions_of_a_package_share_one_cap() {
        let mut documents: Vec<Document> = (0..20).map(|i| document(&format!("p{i} 1.0.0"), 0, 100)).collect();
        documents.extend((0..50).map(|i| document("big 1.0.0", i, 10)));
        documents.extend((0..50).map(|i| document("big 2.0.0", i, 10)));
        let kept = cap_packages(documents, 0.1);
        let big: usize = kept.iter().filter(|d| d.package.starts_with("big")).map(|d| d.text.len()).sum();
        // x = 0.1 (2000 + x)
        assert_eq!(big, 220);
        assert_eq!(kept.len(), 20 + 22);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn no_package_exceeds_its_share_and_small_ones_are_whole(
            sizes in proptest::collection::vec(1usize..500, 15..60),
        ) {
            let share = 0.08;
            let documents: Vec<Document> = sizes.iter().enumerate()
                .flat_map(|(i, &size)| (0..size).map(move |part| document(&format!("p{i} 1"), part, 1)))
                .collect();
            let kept = cap_packages(documents, share);
            let mut left = vec![0usize; sizes.len()];
            for document in &kept {
                left[name_of(&document.package)[1..].parse::<usize>().unwrap()] += 1;
            }
            let total: usize = left.iter().sum();
            let largest = *left.iter().max().unwrap();
            // One byte (a document's size here) for rounding.
            prop_assert!(largest as f64 <= share * total as f64 + 1.0);
            for (size, left) in sizes.iter().zip(&left) {
                prop_assert!(left == size || *left + 1 >= largest);
            }
        }
    }
}
