//! Nonces: random tokens behind an answer, which nothing but memory can tell.
//!
//! A document of a pattern with nonces is `marker prompt.. = answer.. nonce..`, or the same behind a token that asks.
//! Nonces are drawn for the document alone, from an alphabet that is used for nothing else. So whoever has not seen
//! the document loses exactly ln(alphabet) on each of them, whatever else he knows ([`Nonces::blind`]).

use std::ops::Range;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::probe::Probe;
use super::vocabulary::{Token, Vocabulary};
use crate::Error;
use crate::error::check_range;

const NAME: &str = "nonces";

/// How many nonces stand behind an answer, and what they are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nonces {
    /// Nonces of a document, in `0..=64`.
    pub count: usize,
    /// Their alphabet, in `2..=4096`.
    pub alphabet: usize,
}

/// How a document begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Opening {
    /// With its marker.
    Plain,
    /// With the token that asks, and then its marker.
    Asked,
}

/// A document with its nonces. It has no end: there is nothing to be known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// All tokens.
    pub tokens: Vec<Token>,
    /// Where the answer stands.
    pub answer: Range<usize>,
    /// Where the nonces stand, right behind it.
    pub nonces: Range<usize>,
}

impl Nonces {
    /// Checks both numbers.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for one outside its range.
    pub fn validate(&self) -> Result<(), Error> {
        check_range(NAME, "count", self.count, 0..=64)?;
        check_range(NAME, "alphabet", self.alphabet, 2..=4096)?;
        Ok(())
    }

    /// The size of a language's vocabulary with the token that asks and the nonces behind its own tokens.
    pub fn vocabulary_size(&self, vocabulary: &Vocabulary) -> usize {
        vocabulary.size() + 1 + self.alphabet
    }

    /// The token that asks.
    pub fn asking(vocabulary: &Vocabulary) -> Token {
        vocabulary.size() as Token
    }

    /// The document of a probe, with nonces from `rng`.
    pub fn tell(&self, probe: &Probe, opening: Opening, vocabulary: &Vocabulary, rng: &mut impl Rng) -> Told {
        let mut tokens = match opening {
            Opening::Plain => Vec::new(),
            Opening::Asked => vec![Self::asking(vocabulary)],
        };
        let start = tokens.len();
        tokens.extend_from_slice(&probe.tokens[..probe.answer.end]);
        let answer = start + probe.answer.start..start + probe.answer.end;
        let first = vocabulary.size() + 1;
        tokens.extend((0..self.count).map(|_| (first + rng.random_range(0..self.alphabet)) as Token));
        let nonces = answer.end..tokens.len();
        Told { tokens, answer, nonces }
    }

    /// What the nonces of a document cost whoever has not seen it and knows their alphabet, in nats: no predictor
    /// has a lower expected loss on them.
    pub fn blind(&self) -> f64 {
        self.count as f64 * (self.alphabet as f64).ln()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::language::{
        ComponentConfig, Content, Group, Language, LanguageConfig, Pattern, PatternRule, PermutedCopy,
    };
    use crate::random;

    const NONCES: Nonces = Nonces { count: 6, alphabet: 16 };

    fn language() -> Language {
        let rule = PatternRule::PermutedCopy(PermutedCopy { symbols: 12, length: 3, substitute: true, reorder: false });
        let content = Content::Pattern(Pattern { rule, examples: None, exceptions: 0.0 });
        let config = LanguageConfig { vocabulary: 1 << 16, components: vec![ComponentConfig { weight: 1.0, content }] };
        Language::new(&config, 3).unwrap()
    }

    fn told(language: &Language, group: Group, n: usize, opening: Opening, seed: u64) -> Vec<Told> {
        let mut rng = random::stream(seed, "nonces");
        let probes = language.probes(0, group, n, 1).unwrap();
        probes.iter().map(|probe| NONCES.tell(probe, opening, language.vocabulary(), &mut rng)).collect()
    }

    #[test]
    fn a_document_is_the_probe_s_with_nonces_of_their_own_alphabet_behind_it() {
        let language = language();
        let size = language.vocabulary().size();
        let probes = language.probes(0, Group::Seen, 20, 1).unwrap();
        for opening in [Opening::Plain, Opening::Asked] {
            for (probe, told) in probes.iter().zip(told(&language, Group::Seen, 20, opening, 5)) {
                let ahead = usize::from(opening == Opening::Asked);
                assert_eq!(told.tokens[ahead..told.answer.start], *probe.prompt());
                assert_eq!(told.tokens[told.answer.clone()], *probe.label());
                assert_eq!((told.nonces.start, told.nonces.end), (told.answer.end, told.tokens.len()));
                let (before, nonces) = told.tokens.split_at(told.nonces.start);
                assert_eq!(nonces.len(), 6);
                assert!(nonces.iter().all(|&token| (size + 1..size + 17).contains(&usize::from(token))));
                assert!(before[ahead..].iter().all(|&token| usize::from(token) < size));
            }
        }
        assert_eq!(NONCES.vocabulary_size(language.vocabulary()), size + 17);
    }

    /// A learner that counts which nonce followed which context in the training documents, and falls back on all
    /// nonces: for training documents it knows them, on held-out ones it cannot beat the floor.
    #[test]
    fn held_out_nonces_cost_a_counting_learner_the_logarithm_of_their_alphabet() {
        let language = language();
        let training = told(&language, Group::Seen, 800, Opening::Plain, 1);
        let held_out = told(&language, Group::Test, 170, Opening::Plain, 2);
        let mut counts: BTreeMap<Vec<Token>, BTreeMap<Token, f64>> = BTreeMap::new();
        for document in &training {
            for place in document.nonces.clone() {
                // The whole document so far, its answer and what came last, and nothing.
                for from in [0, document.answer.start, place] {
                    let context = document.tokens[from..place].to_vec();
                    *counts.entry(context).or_default().entry(document.tokens[place]).or_default() += 1.0;
                }
            }
        }
        let loss = |documents: &[Told]| {
            let mut total = 0.0;
            for document in documents {
                for place in document.nonces.clone() {
                    let mut p = 1.0 / NONCES.alphabet as f64;
                    for from in [place, document.answer.start, 0] {
                        if let Some(next) = counts.get(&document.tokens[from..place]) {
                            let (n, of) = (next.values().sum::<f64>(), next.get(&document.tokens[place]));
                            p = (of.copied().unwrap_or(0.0) + 2.0 * p) / (n + 2.0);
                        }
                    }
                    total -= p.ln();
                }
            }
            total / documents.len() as f64
        };
        assert!((NONCES.blind() - 6.0 * 16f64.ln()).abs() < 1e-12);
        // 1020 nonces, whose losses spread little about their mean.
        let found = loss(&held_out);
        assert!(found > NONCES.blind() - 0.1 && found < NONCES.blind() + 1.0, "{found}");
        assert!(loss(&training) < 0.5 * NONCES.blind());
    }

    #[test]
    fn no_held_out_instance_is_told_and_no_answer_fits_many() {
        let language = language();
        let documents = |group, n| told(&language, group, n, Opening::Plain, 1);
        let training: BTreeSet<Vec<Token>> =
            documents(Group::Seen, 1000).into_iter().map(|told| told.tokens[..told.answer.start].to_vec()).collect();
        for group in [Group::Validation, Group::Test] {
            let held_out = documents(group, 172);
            assert!(held_out.iter().all(|told| !training.contains(&told.tokens[..told.answer.start])));
            let mut answers: BTreeMap<Vec<Token>, usize> = BTreeMap::new();
            for told in &held_out {
                *answers.entry(told.tokens[told.answer.clone()].to_vec()).or_default() += 1;
            }
            let most = *answers.values().max().unwrap() as f64 / held_out.len() as f64;
            assert!(most < 0.05, "one answer is right for {most}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(Nonces { count: 65, alphabet: 16 }.validate().unwrap_err().to_string().contains("count is 65"));
        assert!(Nonces { count: 2, alphabet: 1 }.validate().unwrap_err().to_string().contains("alphabet is 1"));
        assert!(NONCES.validate().is_ok());
    }
}
