//! Random probabilistic context-free grammars in simple Greibach form: every production starts with a terminal, and no
//! two productions of a nonterminal start with the same one. Such a grammar branches like any other but its derivation
//! can be read off from left to right, so that the exact probability of every next token is known.

use rand::RngExt;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::discrete::Discrete;
use super::process::Process;
use super::vocabulary::Token;
use crate::Error;
use crate::error::{check_range, out_of_range};

pub(super) const NAME: &str = "grammar";

/// A random grammar. Each nonterminal has `productions` productions with no further nonterminals, as many with one and
/// as many with two; a production with c of them has probability about in proportion to (1 - 3 m / 4, m / 2, m / 4) for
/// c = 0, 1, 2 and m = `mean_children`. So a document has 1 / (1 - m) symbols on average.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grammar {
    /// The size of the alphabet, at least `3 * productions` and at most 4096.
    pub symbols: usize,
    /// The number of nonterminals, in `1..=1024`.
    pub nonterminals: usize,
    /// Productions of each nonterminal with a given number of children, in `1..=16`.
    pub productions: usize,
    /// Expected number of nonterminals that a production leaves, in `0.1..=0.95`.
    pub mean_children: f64,
}

/// A production: its terminal and the nonterminals after it.
#[derive(Debug)]
struct Production {
    terminal: Token,
    children: Vec<u16>,
}

/// The grammar with its productions drawn. Nonterminal 0 starts every document.
#[derive(Debug)]
pub(super) struct GrammarProcess {
    symbols: usize,
    mean_children: f64,
    nonterminals: Vec<(Discrete, Vec<Production>)>,
}

impl Grammar {
    pub(super) fn build(&self, rng: &mut ChaCha8Rng) -> Result<GrammarProcess, Error> {
        check_range(NAME, "productions", self.productions, 1..=16)?;
        check_range(NAME, "nonterminals", self.nonterminals, 1..=1024)?;
        check_range(NAME, "symbols", self.symbols, 3 * self.productions..=4096)?;
        if !(0.1..=0.95).contains(&self.mean_children) {
            return Err(out_of_range(NAME, "mean_children", self.mean_children, "0.1 to 0.95"));
        }
        let m = self.mean_children;
        let by_children = [1.0 - 0.75 * m, 0.5 * m, 0.25 * m];
        let mut nonterminal = || {
            let terminals = index::sample(rng, self.symbols, 3 * self.productions);
            let mut weights = Vec::with_capacity(terminals.len());
            for mass in by_children {
                let shares: Vec<f64> = (0..self.productions).map(|_| 0.5 + rng.random::<f64>()).collect();
                let sum: f64 = shares.iter().sum();
                weights.extend(shares.into_iter().map(|share| mass * share / sum));
            }
            let production = |(k, terminal)| Production {
                terminal: terminal as Token,
                children: (0..k / self.productions).map(|_| rng.random_range(0..self.nonterminals) as u16).collect(),
            };
            let productions = terminals.iter().enumerate().map(production).collect();
            (Discrete::new(weights), productions)
        };
        let nonterminals = (0..self.nonterminals).map(|_| nonterminal()).collect();
        Ok(GrammarProcess { symbols: self.symbols, mean_children: m, nonterminals })
    }
}

impl GrammarProcess {
    /// Expected number of times that each nonterminal is rewritten in a document: the solution of n = e_0 + M^T n, with
    /// M the expected children, by iteration, which converges like `mean_children^k`.
    fn expected_rewrites(&self) -> Vec<f64> {
        let mut total = vec![0.0; self.nonterminals.len()];
        let mut generation = vec![0.0; self.nonterminals.len()];
        generation[0] = 1.0;
        while generation.iter().sum::<f64>() > 1e-15 {
            let mut next = vec![0.0; generation.len()];
            for (parent, &n) in generation.iter().enumerate() {
                total[parent] += n;
                let (distribution, productions) = &self.nonterminals[parent];
                for (outcome, production) in productions.iter().enumerate() {
                    for &child in &production.children {
                        next[usize::from(child)] += n * distribution.probability(outcome);
                    }
                }
            }
            generation = next;
        }
        total
    }
}

impl Process for GrammarProcess {
    fn name(&self) -> &'static str {
        NAME
    }

    fn symbols(&self) -> usize {
        self.symbols
    }

    fn write(&self, rng: &mut ChaCha8Rng, first_symbol: Token, document: &mut Vec<Token>) {
        let mut stack = Vec::with_capacity(32);
        stack.push(0);
        while let Some(top) = stack.pop() {
            let (distribution, productions) = &self.nonterminals[usize::from(top)];
            let production = &productions[distribution.sample(rng)];
            document.push(first_symbol + production.terminal);
            stack.extend(production.children.iter().rev());
        }
    }

    fn log_probabilities(&self, document: &[Token]) -> Option<Vec<f64>> {
        let mut stack = vec![0];
        let step = |&symbol: &Token| {
            let (distribution, productions) = &self.nonterminals[usize::from(stack.pop()?)];
            let outcome = productions.iter().position(|production| production.terminal == symbol)?;
            stack.extend(productions[outcome].children.iter().rev());
            Some(distribution.probability(outcome).ln())
        };
        let log_probabilities: Option<Vec<f64>> = document.iter().map(step).collect();
        log_probabilities.filter(|_| stack.is_empty())
    }

    fn mean_length(&self) -> f64 {
        1.0 / (1.0 - self.mean_children)
    }

    /// `sum_A n_A H(A)` over nonterminals: each rewriting adds the entropy of the choice of a production.
    fn entropy(&self) -> f64 {
        let rewrites = self.expected_rewrites();
        rewrites.iter().zip(&self.nonterminals).map(|(n, (distribution, _))| n * distribution.entropy()).sum()
    }

    /// Any symbol or the end at every place.
    fn blind(&self) -> f64 {
        (self.mean_length() + 1.0) * (self.symbols as f64 + 1.0).ln()
    }
}
