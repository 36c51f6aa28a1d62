//! Processes: documents whose every token is random given the ones before, with known conditional probabilities.

use std::fmt::Debug;

use rand_chacha::ChaCha8Rng;

use super::vocabulary::Token;

/// A random process over symbols `0..symbols` that writes one document at a time.
pub(super) trait Process: Debug + Send + Sync {
    /// The generator's name.
    fn name(&self) -> &'static str;

    /// The size of the alphabet.
    fn symbols(&self) -> usize;

    /// Appends a document, each symbol raised by `first_symbol`.
    fn write(&self, rng: &mut ChaCha8Rng, first_symbol: Token, document: &mut Vec<Token>);

    /// ln P of each symbol of a document given the ones before. None if the process cannot have written the document.
    fn log_probabilities(&self, document: &[Token]) -> Option<Vec<f64>>;

    /// Expected number of symbols in a document.
    fn mean_length(&self) -> f64;

    /// Entropy of a document in nats: the least expected loss of any model of it.
    fn entropy(&self) -> f64;

    /// Expected loss per document, in nats, of a model that knows the alphabet and the form of documents only: lengths
    /// if they are fixed, otherwise that the end may come at any place.
    fn blind(&self) -> f64;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::language::{Dyck, Grammar, Markov};
    use crate::random;

    fn markov(symbols: usize, order: usize, length: usize, seed: u64) -> Box<dyn Process> {
        let config = Markov { symbols, order, successors: 2.max(symbols / 2), length };
        Box::new(config.build(&mut random::stream(seed, "process")).unwrap())
    }

    fn dyck(kinds: usize, max_depth: usize, length: usize) -> Box<dyn Process> {
        Box::new(Dyck { kinds, max_depth, open_probability: 0.4, length }.build().unwrap())
    }

    fn grammar(productions: usize, nonterminals: usize, mean_children: f64, seed: u64) -> Box<dyn Process> {
        let config = Grammar { symbols: 3 * productions + 2, nonterminals, productions, mean_children };
        Box::new(config.build(&mut random::stream(seed, "process")).unwrap())
    }

    fn documents(process: &dyn Process, n: usize, seed: u64) -> Vec<Vec<Token>> {
        let mut rng = random::stream(seed, "documents");
        let document = |_| {
            let mut document = Vec::new();
            process.write(&mut rng, 100, &mut document);
            document.iter().map(|symbol| symbol - 100).collect()
        };
        (0..n).map(document).collect()
    }

    /// Mean and standard error.
    fn estimate(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, (variance / n).sqrt())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// The entropy from the recursion over states is the mean surprise of the samples, and so is the mean length.
        #[test]
        fn samples_have_the_stated_entropy_and_length(
            which in 0usize..3, a in 2usize..5, b in 1usize..4, length in 4usize..12, seed: u64,
        ) {
            let process = match which {
                0 => markov(a, b, length, seed),
                1 => dyck(a, b, 2 * length),
                _ => grammar(a, b, 0.7, seed),
            };
            let documents = documents(process.as_ref(), 4000, seed);
            let surprise: Vec<f64> = documents.iter().map(|d| -process.log_probabilities(d).unwrap().iter().sum::<f64>()).collect();
            let (mean, error) = estimate(&surprise);
            prop_assert!((mean - process.entropy()).abs() < 5.0 * error + 1e-9, "{} {}", mean, process.entropy());
            prop_assert!(process.entropy() < process.blind());
            let lengths: Vec<f64> = documents.iter().map(|d| d.len() as f64).collect();
            let (mean, error) = estimate(&lengths);
            prop_assert!((mean - process.mean_length()).abs() < 5.0 * error + 1e-9);
            prop_assert!(documents.iter().flatten().all(|&symbol| usize::from(symbol) < process.symbols()));
        }

        #[test]
        fn brackets_are_balanced_and_not_too_deep(kinds in 1usize..4, max_depth in 1usize..6, half in 1usize..20, seed: u64) {
            let process = dyck(kinds, max_depth, 2 * half);
            for document in documents(process.as_ref(), 50, seed) {
                let mut stack = Vec::new();
                for symbol in document {
                    if symbol % 2 == 0 { stack.push(symbol) } else { prop_assert_eq!(stack.pop(), Some(symbol - 1)) }
                    prop_assert!(stack.len() <= max_depth);
                }
                prop_assert!(stack.is_empty());
            }
        }
    }

    /// Relative frequencies of whole documents against their stated probabilities, which also sum to one: checks the
    /// conditional probabilities without the recursion.
    #[test]
    fn stated_probabilities_are_the_frequencies() {
        for process in [markov(3, 1, 4, 1), markov(2, 2, 5, 2), dyck(2, 2, 6), grammar(1, 3, 0.3, 3)] {
            let n = 40_000;
            let mut counts: BTreeMap<Vec<Token>, f64> = BTreeMap::new();
            for document in documents(process.as_ref(), n, 5) {
                *counts.entry(document).or_default() += 1.0;
            }
            let mut total = 0.0;
            for (document, count) in &counts {
                let p = process.log_probabilities(document).unwrap().iter().sum::<f64>().exp();
                total += p;
                let expected = p * n as f64;
                assert!((count - expected).abs() < 6.0 * expected.sqrt() + 4.0, "{process:?} {document:?}");
            }
            assert!(total > 0.995 && total < 1.0 + 1e-9, "{process:?}: {total}");
        }
    }

    #[test]
    fn documents_of_another_form_are_impossible() {
        assert_eq!(dyck(2, 2, 4).log_probabilities(&[0, 2, 1, 3]), None, "crossed brackets");
        assert_eq!(dyck(2, 1, 4).log_probabilities(&[0, 2, 3, 1]), None, "too deep");
        assert_eq!(dyck(1, 1, 4).log_probabilities(&[0, 1]), None, "too short");
        assert_eq!(markov(3, 1, 4, 1).log_probabilities(&[0, 1, 7, 0]), None, "beyond the alphabet");
        let process = grammar(2, 2, 0.5, 1);
        let document = documents(process.as_ref(), 20, 1).into_iter().find(|d| d.len() > 1).unwrap();
        assert!(process.log_probabilities(&document).is_some());
        assert_eq!(process.log_probabilities(&document[..document.len() - 1]), None, "cut off");
    }
}
