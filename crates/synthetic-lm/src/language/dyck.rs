//! Balanced brackets of several kinds up to a depth: the simplest language that needs a stack.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::discrete::{Discrete, entropy_term};
use super::process::Process;
use super::vocabulary::Token;
use crate::Error;
use crate::error::{check_range, out_of_range};

pub(super) const NAME: &str = "dyck";

/// Dyck language with bounded depth. Symbol `2 i` opens a bracket of kind `i`, `2 i + 1` closes it. Where both may
/// follow, a bracket is opened with the given probability; all kinds are equally likely. A bracket has to open at depth
/// 0 and to close at the largest depth, or when the places left just suffice to close all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dyck {
    /// Kinds of brackets, in `1..=1024`.
    pub kinds: usize,
    /// Largest depth, in `1..=64`.
    pub max_depth: usize,
    /// Probability of opening where both are possible, between 0 and 1 exclusive.
    pub open_probability: f64,
    /// Symbols in a document, even, in `2..=4096`.
    pub length: usize,
}

/// The process.
#[derive(Debug)]
pub(super) struct DyckProcess {
    config: Dyck,
    /// Outcome 0 opens, 1 closes.
    choice: Discrete,
}

impl Dyck {
    pub(super) fn build(&self) -> Result<DyckProcess, Error> {
        check_range(NAME, "kinds", self.kinds, 1..=1024)?;
        check_range(NAME, "max_depth", self.max_depth, 1..=64)?;
        check_range(NAME, "length", self.length, 2..=4096)?;
        if !self.length.is_multiple_of(2) {
            return Err(out_of_range(NAME, "length", self.length, "an even number"));
        }
        // Away from the ends so far that neither outcome is rounded away.
        if !(1e-9..=1.0 - 1e-9).contains(&self.open_probability) {
            return Err(out_of_range(NAME, "open_probability", self.open_probability, "between 0 and 1, exclusive"));
        }
        let choice = Discrete::new([self.open_probability, 1.0 - self.open_probability]);
        Ok(DyckProcess { config: self.clone(), choice })
    }
}

/// What may follow.
enum Next {
    Open,
    Close,
    Either,
}

impl DyckProcess {
    fn next(&self, place: usize, depth: usize) -> Next {
        if depth == self.config.length - place {
            Next::Close
        } else if depth == 0 {
            Next::Open
        } else if depth == self.config.max_depth {
            Next::Close
        } else {
            Next::Either
        }
    }

    /// Probability that a bracket opens.
    fn open_probability(&self, place: usize, depth: usize) -> f64 {
        match self.next(place, depth) {
            Next::Open => 1.0,
            Next::Close => 0.0,
            Next::Either => self.choice.probability(0),
        }
    }
}

impl Process for DyckProcess {
    fn name(&self) -> &'static str {
        NAME
    }

    fn symbols(&self) -> usize {
        2 * self.config.kinds
    }

    fn write(&self, rng: &mut ChaCha8Rng, first_symbol: Token, document: &mut Vec<Token>) {
        let mut stack = [0; 64];
        let mut depth = 0;
        for place in 0..self.config.length {
            let opens = match self.next(place, depth) {
                Next::Open => true,
                Next::Close => false,
                Next::Either => self.choice.sample(rng) == 0,
            };
            if opens {
                // With one kind there is nothing to draw.
                let kind = if self.config.kinds == 1 { 0 } else { self.kind(rng) };
                stack[depth] = kind;
                depth += 1;
                document.push(first_symbol + 2 * kind);
            } else {
                depth -= 1;
                document.push(first_symbol + 2 * stack[depth] + 1);
            }
        }
    }

    fn log_probabilities(&self, document: &[Token]) -> Option<Vec<f64>> {
        if document.len() != self.config.length {
            return None;
        }
        let mut stack: Vec<Token> = Vec::new();
        let step = |(place, &symbol): (usize, &Token)| {
            let open = self.open_probability(place, stack.len());
            let kind = symbol / 2;
            let p = if usize::from(kind) >= self.config.kinds {
                0.0
            } else if symbol.is_multiple_of(2) {
                stack.push(kind);
                open / self.config.kinds as f64
            } else if stack.pop() == Some(kind) {
                1.0 - open
            } else {
                0.0
            };
            (p > 0.0).then(|| p.ln())
        };
        document.iter().enumerate().map(step).collect()
    }

    fn mean_length(&self) -> f64 {
        self.config.length as f64
    }

    /// `sum_t sum_d P_t(d) (H(open or close) + P(open) ln kinds)`, with the distribution of the depth carried along.
    fn entropy(&self) -> f64 {
        let mut at = vec![0.0; self.config.max_depth + 1];
        at[0] = 1.0;
        let mut total = 0.0;
        for place in 0..self.config.length {
            let mut after = vec![0.0; at.len()];
            for (depth, &p) in at.iter().enumerate().filter(|(_, p)| **p > 0.0) {
                let open = self.open_probability(place, depth);
                total += p * (entropy_term(open) + entropy_term(1.0 - open) + open * (self.config.kinds as f64).ln());
                if open > 0.0 {
                    after[depth + 1] += p * open;
                }
                if open < 1.0 {
                    after[depth - 1] += p * (1.0 - open);
                }
            }
            at = after;
        }
        total
    }

    fn blind(&self) -> f64 {
        self.config.length as f64 * (self.symbols() as f64).ln()
    }
}

impl DyckProcess {
    fn kind(&self, rng: &mut impl Rng) -> Token {
        rng.random_range(0..self.config.kinds as u32) as Token
    }
}
