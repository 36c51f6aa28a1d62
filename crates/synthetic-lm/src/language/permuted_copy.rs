//! Copying in context, composed with fixed permutations: `x1 .. xn = y1 .. yn` with `y_i = sigma(x_pi(i))`.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::rule::{Rule, power, read_digits, write_digits};
use super::vocabulary::Token;
use crate::Error;
use crate::error::{check_range, out_of_range};

pub(super) const NAME: &str = "permuted-copy";

/// Copying a string, with or without a permutation of the alphabet and of the places: `symbols^length` instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermutedCopy {
    /// The size of the alphabet, in `2..=4096`.
    pub symbols: usize,
    /// The length of the string, in `1..=64`.
    pub length: usize,
    /// Whether each symbol is replaced by its image under a fixed random permutation.
    pub substitute: bool,
    /// Whether the places are permuted by a fixed random permutation.
    pub reorder: bool,
}

/// The rule with its permutations drawn.
#[derive(Debug)]
pub(super) struct PermutedCopyRule {
    sigma: Vec<Token>,
    pi: Vec<usize>,
    instances: u64,
}

impl PermutedCopy {
    pub(super) fn build(&self, rng: &mut ChaCha8Rng) -> Result<PermutedCopyRule, Error> {
        check_range(NAME, "symbols", self.symbols, 2..=4096)?;
        check_range(NAME, "length", self.length, 1..=64)?;
        let too_many = || out_of_range(NAME, "length", self.length, "at most 2^62 strings (symbols^length)");
        let instances = power(self.symbols, self.length).ok_or_else(too_many)?;
        let mut sigma: Vec<Token> = (0..self.symbols as Token).collect();
        let mut pi: Vec<usize> = (0..self.length).collect();
        if self.substitute {
            sigma.shuffle(rng);
        }
        if self.reorder {
            pi.shuffle(rng);
        }
        Ok(PermutedCopyRule { sigma, pi, instances })
    }
}

impl Rule for PermutedCopyRule {
    fn symbols(&self) -> usize {
        self.sigma.len()
    }

    fn instances(&self) -> u64 {
        self.instances
    }

    fn prompt_length(&self) -> usize {
        self.pi.len()
    }

    fn answer_length(&self) -> usize {
        self.pi.len()
    }

    fn write_prompt(&self, instance: u64, prompt: &mut [Token]) {
        write_digits(instance, self.sigma.len(), prompt);
    }

    fn instance(&self, prompt: &[Token]) -> Option<u64> {
        (prompt.len() == self.pi.len()).then(|| read_digits(prompt, self.sigma.len())).flatten()
    }

    fn write_answer(&self, prompt: &[Token], answer: &mut [Token]) {
        for (symbol, &place) in answer.iter_mut().zip(&self.pi) {
            *symbol = self.sigma[usize::from(prompt[place])];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::language::rule::tests::check_instance;
    use crate::random;

    proptest! {
        #[test]
        fn answers_are_permuted_copies(
            symbols in 2usize..20, length in 1usize..12, substitute: bool, reorder: bool, seed: u64, pick: u64,
        ) {
            let config = PermutedCopy { symbols, length, substitute, reorder };
            let rule = config.build(&mut random::stream(seed, "rule")).unwrap();
            let (prompt, answer) = check_instance(&rule, pick % rule.instances());
            if !substitute && !reorder {
                prop_assert_eq!(&prompt, &answer);
            } else if !substitute {
                let sorted = |mut v: Vec<Token>| { v.sort_unstable(); v };
                prop_assert_eq!(sorted(prompt), sorted(answer));
            } else if !reorder {
                // Equal symbols stay equal, different ones different.
                for i in 0..length {
                    for j in 0..length {
                        prop_assert_eq!(prompt[i] == prompt[j], answer[i] == answer[j]);
                    }
                }
            }
        }
    }

    #[test]
    fn too_many_strings_are_refused() {
        let config = PermutedCopy { symbols: 100, length: 20, substitute: false, reorder: false };
        let message = config.build(&mut random::stream(0, "rule")).unwrap_err().to_string();
        assert_eq!(message, "permuted-copy: length is 20, expected at most 2^62 strings (symbols^length)");
    }
}
