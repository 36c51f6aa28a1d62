//! Training text and held-out text.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::Document;
use crate::error::CorpusError;

/// Documents in two parts that share none.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// To train on, in the corpus's order.
    pub train: Vec<Document>,
    /// To measure on, in the corpus's order.
    pub held_out: Vec<Document>,
}

/// Holds out documents that are drawn at random until they are `held_out_fraction` (between 0 and 1,
/// exclusive) of all bytes.
///
/// All text of a file is on one side. Whole packages are not kept together: a few packages are far larger
/// than the others, so that the loss on held-out *packages* would mostly say which ones were drawn;
/// paragraphs that packages share were dropped when the corpus was made.
///
/// # Errors
/// [`CorpusError::TooLittle`] if a side would be empty, or the fraction is not between 0 and 1.
pub fn split(documents: &[Document], held_out_fraction: f64, seed: u64) -> Result<Split, CorpusError> {
    let each_alone = (0..documents.len()).map(|index| vec![index]).collect();
    split_groups(documents, each_alone, "documents", held_out_fraction, seed)
}

/// The same with all packages of a family on one side: those whose names begin with the same word (`gemm-f32` and
/// `gemm-f64`, two versions of `syn`).
///
/// For code, whose files within a family repeat each other: of the default text's held-out spans of 16 words and signs
/// 8 % stand in the training code if files are drawn, 3 to 5 % if families are (`docs/corpus.md`). No package is large
/// in the code, so that none decides the loss.
///
/// # Errors
/// As [`split`].
pub fn split_by_family(documents: &[Document], held_out_fraction: f64, seed: u64) -> Result<Split, CorpusError> {
    let mut families: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, document) in documents.iter().enumerate() {
        families.entry(family(&document.package)).or_default().push(index);
    }
    split_groups(documents, families.into_values().collect(), "families of packages", held_out_fraction, seed)
}

/// The first word of a package's name.
fn family(package: &str) -> &str {
    package.split([' ', '-', '_']).next().unwrap_or(package)
}

/// Holds out groups of documents, given by their indices.
fn split_groups(
    documents: &[Document],
    groups: Vec<Vec<usize>>,
    what: &str,
    held_out_fraction: f64,
    seed: u64,
) -> Result<Split, CorpusError> {
    let too_little = |found: String, expected: &str| CorpusError::TooLittle {
        what: "text to hold out for validation".into(),
        found,
        expected: expected.into(),
    };
    if !(held_out_fraction > 0.0 && held_out_fraction < 1.0) {
        return Err(too_little(format!("a fraction of {held_out_fraction}"), "one between 0 and 1"));
    }
    if groups.len() < 2 {
        return Err(too_little(format!("{} {what}", groups.len()), "at least 2"));
    }
    let total: usize = documents.iter().map(|document| document.text.len()).sum();
    let wanted = held_out_fraction * total as f64;
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut is_held_out = vec![false; documents.len()];
    let (mut held_out_bytes, mut held_out_count) = (0usize, 0usize);
    for group in order {
        let bytes: usize = groups[group].iter().map(|&index| documents[index].text.len()).sum();
        // A group that would overshoot by more than half of itself is left to the other side.
        let overshoots = held_out_bytes as f64 + bytes as f64 / 2.0 > wanted;
        if overshoots && held_out_count > 0 {
            continue;
        }
        if held_out_count + 1 == groups.len() {
            break;
        }
        for &index in &groups[group] {
            is_held_out[index] = true;
        }
        held_out_bytes += bytes;
        held_out_count += 1;
        if held_out_bytes as f64 >= wanted {
            break;
        }
    }
    let side = |held_out: bool| {
        let chosen = documents.iter().zip(&is_held_out).filter(|(_, flag)| **flag == held_out);
        chosen.map(|(document, _)| document.clone()).collect()
    };
    Ok(Split { train: side(false), held_out: side(true) })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use proptest::prelude::*;

    fn documents(sizes: &[usize]) -> Vec<Document> {
        let document = |(index, &size): (usize, &usize)| Document {
            package: "p 1.0.0".into(),
            path: format!("{index}"),
            text: "x".repeat(size),
        };
        sizes.iter().enumerate().map(document).collect()
    }

    #[test]
    fn another_seed_holds_out_other_documents() {
        let all = documents(&[100; 50]);
        let first = split(&all, 0.1, 1).unwrap();
        assert_eq!(first, split(&all, 0.1, 1).unwrap());
        assert_ne!(first, split(&all, 0.1, 2).unwrap());
    }

    #[test]
    fn too_little_to_split_is_refused() {
        for (count, fraction) in [(0, 0.1), (1, 0.1), (5, 0.0), (5, 1.0), (5, f64::NAN)] {
            let error = split(&documents(&vec![10; count]), fraction, 0).unwrap_err();
            assert!(matches!(error, CorpusError::TooLittle { .. }), "{error}");
        }
    }

    #[test]
    fn a_family_of_packages_is_on_one_side() {
        let names = (0..40).flat_map(|i| [format!("p{i} 1.0.0"), format!("p{i} 2.0.0"), format!("p{i}-derive 1.0.0")]);
        let of = |package: String| Document { package, path: "src/lib.rs".into(), text: "x".repeat(100) };
        let all: Vec<Document> = names.map(of).collect();
        let parts = split_by_family(&all, 0.2, 3).unwrap();
        let families = |side: &[Document]| side.iter().map(|d| family(&d.package).to_string()).collect::<HashSet<_>>();
        assert!(families(&parts.train).is_disjoint(&families(&parts.held_out)));
        assert_eq!((parts.train.len(), parts.held_out.len()), (96, 24));
        let error = split_by_family(&all[..3], 0.2, 3).unwrap_err();
        assert!(error.to_string().contains("1 families of packages"), "{error}");
    }

    proptest! {
        #[test]
        fn the_sides_are_the_whole_and_near_the_fraction(
            sizes in proptest::collection::vec(1usize..100, 2..200),
            fraction in 0.01f64..0.99,
            seed: u64,
        ) {
            let all = documents(&sizes);
            let parts = split(&all, fraction, seed).unwrap();
            prop_assert!(!parts.train.is_empty() && !parts.held_out.is_empty());
            let mut joined: Vec<_> = parts.train.iter().chain(&parts.held_out).cloned().collect();
            joined.sort_by_key(|document| document.path.parse::<usize>().unwrap());
            prop_assert_eq!(&joined, &all);
            let bytes = |side: &[Document]| side.iter().map(|d| d.text.len()).sum::<usize>() as f64;
            let wanted = fraction * bytes(&all);
            prop_assert!((bytes(&parts.held_out) - wanted).abs() <= 100.0);
        }
    }
}
