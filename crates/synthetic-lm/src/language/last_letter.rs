//! Last-letter concatenation: words of equal length give the string of their last letters.

use serde::{Deserialize, Serialize};

use super::rule::{Rule, power, read_digits, write_digits};
use super::vocabulary::Token;
use crate::Error;
use crate::error::{check_range, out_of_range};

pub(super) const NAME: &str = "last-letter";

/// Concatenation of last letters: `symbols^(words * word_length)` instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastLetter {
    /// The size of the alphabet, in `2..=4096`.
    pub symbols: usize,
    /// The number of words, in `1..=16`.
    pub words: usize,
    /// Letters in a word, in `1..=16`.
    pub word_length: usize,
}

impl LastLetter {
    pub(super) fn validate(&self) -> Result<Self, Error> {
        check_range(NAME, "symbols", self.symbols, 2..=4096)?;
        check_range(NAME, "words", self.words, 1..=16)?;
        check_range(NAME, "word_length", self.word_length, 1..=16)?;
        let too_many = || {
            out_of_range(NAME, "word_length", self.word_length, "at most 2^62 prompts (symbols^(words * word_length))")
        };
        power(self.symbols, self.words * self.word_length).ok_or_else(too_many)?;
        Ok(self.clone())
    }
}

impl Rule for LastLetter {
    fn symbols(&self) -> usize {
        self.symbols
    }

    fn instances(&self) -> u64 {
        (self.symbols as u64).pow((self.words * self.word_length) as u32)
    }

    fn prompt_length(&self) -> usize {
        self.words * self.word_length
    }

    fn answer_length(&self) -> usize {
        self.words
    }

    fn write_prompt(&self, instance: u64, prompt: &mut [Token]) {
        write_digits(instance, self.symbols, prompt);
    }

    fn instance(&self, prompt: &[Token]) -> Option<u64> {
        (prompt.len() == self.prompt_length()).then(|| read_digits(prompt, self.symbols)).flatten()
    }

    fn write_answer(&self, prompt: &[Token], answer: &mut [Token]) {
        for (letter, word) in answer.iter_mut().zip(prompt.chunks_exact(self.word_length)) {
            *letter = word[self.word_length - 1];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::language::rule::tests::check_instance;

    proptest! {
        #[test]
        fn answers_are_the_last_letters(symbols in 2usize..8, words in 1usize..5, word_length in 1usize..5, pick: u64) {
            let rule = LastLetter { symbols, words, word_length }.validate().unwrap();
            let (prompt, answer) = check_instance(&rule, pick % rule.instances());
            for (word, &letter) in answer.iter().enumerate() {
                prop_assert_eq!(letter, prompt[(word + 1) * word_length - 1]);
            }
        }
    }
}
