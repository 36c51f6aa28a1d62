//! What is kept of everything found: nothing twice, and not too much of any one package.

use std::collections::BTreeMap;
use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::Document;
use crate::filter::SHORT_LINE;

/// Remembers what it has seen; only membership is ever asked, so that its order matters nowhere.
#[derive(Default)]
pub(super) struct Seen(HashSet<u64>);

impl Seen {
    /// Whether a paragraph like this one is new: letters count, digits, case and signs do not, so that
    /// `Adds the 8 lanes.` and `Adds the 16 lanes.` are one.
    pub(super) fn is_new_paragraph(&mut self, paragraph: &str) -> bool {
        let letters = paragraph.bytes().filter(u8::is_ascii_alphabetic);
        self.0.insert(digest(letters.map(|byte| byte.to_ascii_lowercase()).collect()))
    }

    /// Whether most of a code file is new: files of two versions of one package mostly are not.
    pub(super) fn is_new_code(&mut self, code: &str) -> bool {
        let lines: Vec<u64> = code
            .lines()
            .map(str::trim)
            .filter(|line| line.len() >= SHORT_LINE)
            .map(|line| digest(line.as_bytes().to_vec()))
            .collect();
        let old = lines.iter().filter(|line| self.0.contains(line)).count();
        let is_new = 2 * old <= lines.len();
        if is_new {
            self.0.extend(lines);
        }
        is_new
    }
}

/// The first 64 bits of the SHA-256.
fn digest(bytes: Vec<u8>) -> u64 {
    let digest = Sha256::digest(&bytes);
    digest.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Leaves out documents of the packages (by name, over all versions) that would make up more than
/// `share` of all bytes. Which of their documents stay is decided by a hash of the path. Sorted by
/// package and path; with too few packages to reach `share` nothing is left out.
pub(super) fn cap_packages(documents: Vec<Document>, share: f64) -> Vec<Document> {
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    for document in &documents {
        *sizes.entry(name_of(&document.package).to_string()).or_default() += document.text.len();
    }
    let limit = largest_share(sizes.values().copied().collect(), share);
    let mut by_hash: Vec<(u64, Document)> = documents
        .into_iter()
        .map(|document| {
            let name = format!("{} {}", document.package, document.path);
            (digest(name.into_bytes()), document)
        })
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
        assert!(seen.is_new_paragraph("Adds the 8 lanes."));
        assert!(!seen.is_new_paragraph("adds the 16 lanes"));
        assert!(seen.is_new_paragraph("Multiplies the 16 lanes."));
    }

    #[test]
    fn another_version_of_a_file_is_not_new() {
        let file = |names: std::ops::Range<u32>| -> String {
            names.map(|i| format!("fn name_{i}(argument: u8) {{}}\n")).collect()
        };
        let mut seen = Seen::default();
        assert!(seen.is_new_code(&file(0..20)));
        assert!(!seen.is_new_code(&file(5..25)));
        assert!(seen.is_new_code(&file(15..40)));
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
