//! A pattern in a language: a rule, a training pool of a chosen size, exceptions, and held-out instances.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::pool::{Form, Pool};
use super::rule::Rule;
use super::rules::PatternRule;
use super::vocabulary::{Token, Vocabulary};
use crate::Error;
use crate::error::out_of_range;
use crate::permutation::Permutation;
use crate::random;

/// A share of one in this many instances is held out for validation, and as much again for the test.
const HELD_OUT_ONE_IN: u64 = 10;

/// A pattern. A document is `marker prompt.. = answer.. .`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// The rule.
    pub rule: PatternRule,
    /// The number of different training instances, all equally frequent; any from the training side if none is given.
    #[serde(default)]
    pub examples: Option<usize>,
    /// The share of the training instances, in `0.0..=1.0`, whose label is drawn at random from all but the rule's.
    /// Rounded to a whole number of instances; needs a number of examples.
    #[serde(default)]
    pub exceptions: f64,
}

/// The pattern with its rule, partition and training pool drawn.
///
/// A permutation puts the instances in an order: first those for validation, then those for the test, then those to
/// train on. So a larger pool contains the smaller one, and what is held out does not depend on its size.
#[derive(Debug)]
pub(super) struct PatternBook {
    pub(super) name: &'static str,
    pub(super) rule: Box<dyn Rule>,
    order: Permutation,
    /// Instances held out for validation; as many again for the test.
    held_out: u64,
    /// The training documents, exceptions first; none if the pool is unlimited.
    pub(super) pool: Option<(Pool, usize)>,
    /// How many of the pool are exceptions.
    pub(super) exceptions: usize,
    marker: Token,
    first_symbol: Token,
}

impl Pattern {
    /// Checks the configuration apart from the vocabulary; the rule for further use.
    pub(super) fn build_rule(&self, seed: u64) -> Result<Box<dyn Rule>, Error> {
        let rule = self.rule.build(&mut random::stream(seed, "rule"))?;
        let name = self.rule.name();
        let held_out = 2 * (rule.instances() / HELD_OUT_ONE_IN);
        if held_out == 0 {
            let expected = format!("at least {HELD_OUT_ONE_IN}, so that some can be held out");
            return Err(out_of_range(name, "instances", rule.instances(), expected));
        }
        let available = rule.instances() - held_out;
        match self.examples {
            Some(0) => return Err(out_of_range(name, "examples", 0, "at least 1")),
            Some(asked) if asked as u64 > available => {
                return Err(Error::TooFewInstances { task: name, side: "train", asked, available: available.into() });
            }
            Some(asked) if asked > MOST_EXAMPLES => {
                return Err(out_of_range(
                    name,
                    "examples",
                    asked,
                    format_args!("at most {MOST_EXAMPLES}, or none given"),
                ));
            }
            _ => {}
        }
        if !(0.0..=1.0).contains(&self.exceptions) {
            return Err(out_of_range(name, "exceptions", self.exceptions, "0 to 1"));
        }
        if self.exceptions > 0.0 && self.examples.is_none() {
            return Err(out_of_range(
                name,
                "exceptions",
                self.exceptions,
                "0 where the number of examples is not given",
            ));
        }
        Ok(rule)
    }

    /// Draws everything for a configuration whose rule has been built.
    pub(super) fn build(&self, rule: Box<dyn Rule>, marker: Token, vocabulary: &Vocabulary, seed: u64) -> PatternBook {
        let order = Permutation::new(rule.instances().into(), random::derive(seed, "order"));
        let held_out = rule.instances() / HELD_OUT_ONE_IN;
        let examples = self.examples.unwrap_or(0);
        let exceptions = (self.exceptions * examples as f64).round() as usize;
        let name = self.rule.name();
        let first_symbol = vocabulary.first_symbol();
        let mut book = PatternBook { name, rule, order, held_out, pool: None, exceptions, marker, first_symbol };
        if self.examples.is_some() {
            book.pool = Some((book.draw_pool(examples, &mut random::stream(seed, "exceptions")), examples));
        }
        book
    }
}

/// Most examples of a pool, which is kept in memory.
const MOST_EXAMPLES: usize = 1 << 24;

/// A part of the instances of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Validation,
    Test,
    Train,
}

impl PatternBook {
    fn draw_pool(&self, examples: usize, rng: &mut ChaCha8Rng) -> Pool {
        let mut pool = Pool::new(self.rule.prompt_length(), self.rule.answer_length());
        let labels = self.rule.labels() as u32;
        let mut ruled = vec![0; self.rule.answer_length()];
        for position in 0..examples {
            let instance = self.instance(Part::Train, position as u64);
            pool.push(self.marker, |prompt, answer| {
                self.rule.write_prompt(instance, prompt);
                self.rule.write_answer(prompt, answer);
                if position < self.exceptions {
                    ruled.copy_from_slice(answer);
                    while *answer == ruled[..] {
                        answer.fill_with(|| rng.random_range(0..labels) as Token);
                    }
                }
                self.raise(prompt);
                self.raise(answer);
            });
        }
        pool
    }

    fn raise(&self, symbols: &mut [Token]) {
        for symbol in symbols {
            *symbol += self.first_symbol;
        }
    }

    /// How long prompt and answer are.
    pub(super) fn form(&self) -> Form {
        Form { prompt: self.rule.prompt_length(), answer: self.rule.answer_length() }
    }

    /// The number of instances in a part.
    pub(super) fn instances(&self, part: Part) -> u64 {
        match part {
            Part::Validation | Part::Test => self.held_out,
            Part::Train => self.rule.instances() - 2 * self.held_out,
        }
    }

    /// The instance at a position, below [`PatternBook::instances`], of a part.
    pub(super) fn instance(&self, part: Part, position: u64) -> u64 {
        let start = match part {
            Part::Validation => 0,
            Part::Test => self.held_out,
            Part::Train => 2 * self.held_out,
        };
        self.order.apply((start + position).into()) as u64
    }

    /// Appends the document of an instance with the rule's label.
    pub(super) fn write(&self, instance: u64, document: &mut Vec<Token>) {
        self.form().append(self.marker, document, |prompt, answer| {
            self.rule.write_prompt(instance, prompt);
            self.rule.write_answer(prompt, answer);
            self.raise(prompt);
            self.raise(answer);
        });
    }

    /// The number of the instance with this prompt, given as tokens, or none if it is not a prompt of the rule.
    pub(super) fn read(&self, prompt: &[Token]) -> Option<u64> {
        let symbols: Option<Vec<Token>> = prompt.iter().map(|token| token.checked_sub(self.first_symbol)).collect();
        self.rule.instance(&symbols?)
    }
}
