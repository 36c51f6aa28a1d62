//! Markov chains of order k over an alphabet, with sparse random transitions: the language that a table of (k+1)-grams
//! predicts as well as anything can.

use rand::RngExt;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::discrete::Discrete;
use super::process::Process;
use super::rule::power;
use super::vocabulary::Token;
use crate::Error;
use crate::error::{check_range, out_of_range};

pub(super) const NAME: &str = "markov";

/// A k-gram grammar. The first `order` symbols of a document are uniform; each further one is one of `successors`
/// symbols that the preceding `order` allow, with probabilities drawn uniformly from the simplex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Markov {
    /// The size of the alphabet, in `2..=4096`; `symbols^order` at most 2^20.
    pub symbols: usize,
    /// How many symbols determine the next one's distribution, in `1..=8`.
    pub order: usize,
    /// How many symbols can follow, in `1..=16` and at most `symbols`.
    pub successors: usize,
    /// Symbols in a document, more than `order` and at most 4096.
    pub length: usize,
}

/// The chain with its transitions drawn.
#[derive(Debug)]
pub(super) struct MarkovProcess {
    config: Markov,
    /// `contexts x successors`: the symbols that can follow.
    next: Vec<Token>,
    /// For each context the distribution over its successors.
    transitions: Vec<Discrete>,
}

impl Markov {
    pub(super) fn build(&self, rng: &mut ChaCha8Rng) -> Result<MarkovProcess, Error> {
        check_range(NAME, "symbols", self.symbols, 2..=4096)?;
        check_range(NAME, "order", self.order, 1..=8)?;
        check_range(NAME, "successors", self.successors, 1..=16.min(self.symbols))?;
        check_range(NAME, "length", self.length, self.order + 1..=4096)?;
        let too_many = || out_of_range(NAME, "order", self.order, "at most 2^20 contexts (symbols^order)");
        let contexts = power(self.symbols, self.order).filter(|&n| n <= 1 << 20).ok_or_else(too_many)? as usize;
        let mut next = Vec::with_capacity(contexts * self.successors);
        let mut transitions = Vec::with_capacity(contexts);
        for _ in 0..contexts {
            next.extend(index::sample(rng, self.symbols, self.successors).iter().map(|symbol| symbol as Token));
            // Exponential weights, normalised, are uniform on the simplex.
            let weights: Vec<f64> = (0..self.successors).map(|_| -(1.0 - rng.random::<f64>()).ln() + 1e-6).collect();
            transitions.push(Discrete::new(weights));
        }
        Ok(MarkovProcess { config: self.clone(), next, transitions })
    }
}

impl MarkovProcess {
    /// The context after `symbol`: the last `order` symbols as the digits of a number, latest last.
    fn shifted(&self, context: usize, symbol: Token) -> usize {
        (context * self.config.symbols + usize::from(symbol)) % self.transitions.len()
    }

    fn followers(&self, context: usize) -> &[Token] {
        &self.next[context * self.config.successors..][..self.config.successors]
    }
}

impl Process for MarkovProcess {
    fn name(&self) -> &'static str {
        NAME
    }

    fn symbols(&self) -> usize {
        self.config.symbols
    }

    fn write(&self, rng: &mut ChaCha8Rng, first_symbol: Token, document: &mut Vec<Token>) {
        let mut context = rng.random_range(0..self.transitions.len());
        let mut digits = context;
        let start = document.len();
        for _ in 0..self.config.order {
            document.push(first_symbol + (digits % self.config.symbols) as Token);
            digits /= self.config.symbols;
        }
        document[start..].reverse();
        for _ in self.config.order..self.config.length {
            let symbol = self.followers(context)[self.transitions[context].sample(rng)];
            document.push(first_symbol + symbol);
            context = self.shifted(context, symbol);
        }
    }

    fn log_probabilities(&self, document: &[Token]) -> Option<Vec<f64>> {
        if document.len() != self.config.length {
            return None;
        }
        let mut context = 0;
        let step = |(place, &symbol): (usize, &Token)| {
            if usize::from(symbol) >= self.config.symbols {
                return None;
            }
            let p = if place < self.config.order {
                1.0 / self.config.symbols as f64
            } else {
                let outcome = self.followers(context).iter().position(|&follower| follower == symbol)?;
                self.transitions[context].probability(outcome)
            };
            context = self.shifted(context, symbol);
            Some(p.ln())
        };
        document.iter().enumerate().map(step).collect()
    }

    fn mean_length(&self) -> f64 {
        self.config.length as f64
    }

    /// `order ln symbols + sum_t sum_c P_t(c) H(c)`, with the distribution of contexts carried from place to place.
    fn entropy(&self) -> f64 {
        let contexts = self.transitions.len();
        let entropies: Vec<f64> = self.transitions.iter().map(Discrete::entropy).collect();
        let mut at = vec![1.0 / contexts as f64; contexts];
        let mut total = self.config.order as f64 * (self.config.symbols as f64).ln();
        for _ in self.config.order..self.config.length {
            let mut after = vec![0.0; contexts];
            for (context, &p) in at.iter().enumerate() {
                total += p * entropies[context];
                for (outcome, &symbol) in self.followers(context).iter().enumerate() {
                    after[self.shifted(context, symbol)] += p * self.transitions[context].probability(outcome);
                }
            }
            at = after;
        }
        total
    }

    fn blind(&self) -> f64 {
        self.config.length as f64 * (self.config.symbols as f64).ln()
    }
}
