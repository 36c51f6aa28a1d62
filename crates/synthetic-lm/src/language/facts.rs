//! Facts: keys with values drawn at random, so that nothing but rote memory helps.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::discrete::Discrete;
use super::pool::Pool;
use super::rule::power;
use super::vocabulary::{Token, Vocabulary};
use crate::Error;
use crate::error::{check_range, out_of_range};
use crate::permutation::Permutation;
use crate::random;

pub(super) const NAME: &str = "facts";

/// How often each fact is told.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frequency {
    /// All equally often.
    #[default]
    Uniform,
    /// The fact of rank r (from 1) in proportion to r^-exponent; the exponent in `0.0..=2.0`.
    Zipf(f64),
}

/// A set of facts. A document is `marker key.. = value .`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The number of facts, in `1..=1_000_000` and at most `key_symbols^key_length`. Fact 0 is the most frequent.
    pub count: usize,
    /// Alphabet of the keys, in `2..=32768`.
    pub key_symbols: usize,
    /// Tokens in a key, in `1..=8`.
    pub key_length: usize,
    /// The number of values to draw from, in `2..=32768`.
    pub values: usize,
    /// How often each fact is told.
    #[serde(default)]
    pub frequency: Frequency,
}

/// The facts with keys and values drawn.
#[derive(Debug)]
pub(super) struct FactBook {
    pub(super) config: Facts,
    pub(super) pool: Pool,
    /// None if all are equally frequent.
    frequencies: Option<Discrete>,
}

impl Facts {
    pub(super) fn validate(&self) -> Result<(), Error> {
        check_range(NAME, "count", self.count, 1..=1_000_000)?;
        check_range(NAME, "key_symbols", self.key_symbols, 2..=32768)?;
        check_range(NAME, "key_length", self.key_length, 1..=8)?;
        check_range(NAME, "values", self.values, 2..=32768)?;
        if let Frequency::Zipf(exponent) = self.frequency {
            check_range(NAME, "frequency", exponent, 0.0..=2.0)?;
        }
        if power(self.key_symbols, self.key_length).is_some_and(|keys| keys < self.count as u64) {
            let expected = format!("enough for {} keys (key_symbols^key_length)", self.count);
            return Err(out_of_range(NAME, "key_length", self.key_length, expected));
        }
        Ok(())
    }

    /// Draws keys and values for a configuration that has been validated.
    pub(super) fn build(&self, marker: Token, vocabulary: &Vocabulary, seed: u64) -> FactBook {
        // 32768^8 = 2^120 fits in 128 bits.
        let keys =
            Permutation::new((self.key_symbols as u128).pow(self.key_length as u32), random::derive(seed, "keys"));
        let mut rng = random::stream(seed, "values");
        let mut pool = Pool::new(self.key_length, 1);
        for fact in 0..self.count {
            let mut key = keys.apply(fact as u128);
            pool.push(marker, |prompt, answer| {
                for token in prompt {
                    *token = vocabulary.first_key() + (key % self.key_symbols as u128) as Token;
                    key /= self.key_symbols as u128;
                }
                answer[0] = vocabulary.first_value() + rng.random_range(0..self.values as u32) as Token;
            });
        }
        let frequencies = match self.frequency {
            Frequency::Uniform => None,
            Frequency::Zipf(exponent) => {
                Some(Discrete::new((1..=self.count).map(|rank| (rank as f64).powf(-exponent))))
            }
        };
        FactBook { config: self.clone(), pool, frequencies }
    }
}

impl FactBook {
    /// Draws a fact as often as its frequency demands.
    pub(super) fn sample(&self, rng: &mut ChaCha8Rng) -> usize {
        match &self.frequencies {
            None => rng.random_range(0..self.config.count),
            Some(frequencies) => frequencies.sample(rng),
        }
    }

    /// The share of a fact in the documents of this component.
    pub(super) fn frequency(&self, fact: usize) -> f64 {
        self.frequencies.as_ref().map_or(1.0 / self.config.count as f64, |frequencies| frequencies.probability(fact))
    }

    /// Entropy in nats of which fact is told.
    pub(super) fn entropy(&self) -> f64 {
        self.frequencies.as_ref().map_or((self.config.count as f64).ln(), Discrete::entropy)
    }

    /// ln of the number of possible keys.
    pub(super) fn ln_keys(&self) -> f64 {
        self.config.key_length as f64 * (self.config.key_symbols as f64).ln()
    }
}
