//! Induction: pairs `a1 b1 .. an bn` and then one `a_j` again, to be continued with `b_j`. The pairs are new in every
//! instance, so that only looking back helps.

use serde::{Deserialize, Serialize};

use super::rule::{MOST_INSTANCES, Rule, power, read_digits, write_digits};
use super::vocabulary::Token;
use crate::Error;
use crate::error::{check_range, out_of_range};

pub(super) const NAME: &str = "induction";

/// Associative recall in context. First elements are distinct, second ones arbitrary:
/// `symbols! / (symbols - pairs)! * symbols^pairs * pairs` instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Induction {
    /// The size of the alphabet, in `2..=1024`.
    pub symbols: usize,
    /// The number of pairs, in `1..=16` and at most `symbols`.
    pub pairs: usize,
}

impl Induction {
    pub(super) fn validate(&self) -> Result<Self, Error> {
        check_range(NAME, "symbols", self.symbols, 2..=1024)?;
        check_range(NAME, "pairs", self.pairs, 1..=16.min(self.symbols))?;
        let too_many = || out_of_range(NAME, "pairs", self.pairs, "at most 2^62 prompts");
        self.count().ok_or_else(too_many)?;
        Ok(self.clone())
    }

    fn count(&self) -> Option<u64> {
        let arrangements = (0..self.pairs).try_fold(1u64, |n, k| n.checked_mul((self.symbols - k) as u64))?;
        let n = arrangements.checked_mul(power(self.symbols, self.pairs)?)?.checked_mul(self.pairs as u64)?;
        (n <= MOST_INSTANCES).then_some(n)
    }
}

impl Rule for Induction {
    fn symbols(&self) -> usize {
        self.symbols
    }

    fn instances(&self) -> u64 {
        self.count().expect("checked when it was validated")
    }

    fn prompt_length(&self) -> usize {
        2 * self.pairs + 1
    }

    fn answer_length(&self) -> usize {
        1
    }

    fn write_prompt(&self, instance: u64, prompt: &mut [Token]) {
        let mut asked = [0];
        let mut seconds = [0; 16];
        let rest = write_digits(instance, self.pairs, &mut asked);
        let mut rest = write_digits(rest, self.symbols, &mut seconds[..self.pairs]);
        // The k-th first element is the one with a given rank among the symbols that are not yet taken.
        let mut taken = [0; 16];
        for k in 0..self.pairs {
            let free = (self.symbols - k) as u64;
            let mut first = (rest % free) as Token;
            rest /= free;
            for &symbol in &taken[..k] {
                first += Token::from(symbol <= first);
            }
            insert_sorted(&mut taken, k, first);
            (prompt[2 * k], prompt[2 * k + 1]) = (first, seconds[k]);
        }
        prompt[2 * self.pairs] = prompt[2 * usize::from(asked[0])];
    }

    fn instance(&self, prompt: &[Token]) -> Option<u64> {
        let (&asked, pairs) = prompt.split_last()?;
        if pairs.len() != 2 * self.pairs || pairs.iter().any(|&symbol| usize::from(symbol) >= self.symbols) {
            return None;
        }
        let firsts: Vec<Token> = pairs.iter().step_by(2).copied().collect();
        let seconds: Vec<Token> = pairs.iter().skip(1).step_by(2).copied().collect();
        let asked = firsts.iter().position(|&first| first == asked)? as u64;
        let mut arrangement = 0;
        for k in (0..self.pairs).rev() {
            if firsts[..k].contains(&firsts[k]) {
                return None;
            }
            let rank = firsts[k] - firsts[..k].iter().filter(|&&earlier| earlier < firsts[k]).count() as Token;
            arrangement = arrangement * (self.symbols - k) as u64 + u64::from(rank);
        }
        let rest = arrangement * power(self.symbols, self.pairs)? + read_digits(&seconds, self.symbols)?;
        Some(rest * self.pairs as u64 + asked)
    }

    fn write_answer(&self, prompt: &[Token], answer: &mut [Token]) {
        let asked = prompt[2 * self.pairs];
        let pair = prompt.chunks_exact(2).find(|pair| pair[0] == asked).expect("one of the pairs is asked for");
        answer[0] = pair[1];
    }
}

/// Inserts into the first `n` elements, which are sorted.
fn insert_sorted(sorted: &mut [Token; 16], n: usize, new: Token) {
    let at = sorted[..n].partition_point(|&symbol| symbol < new);
    sorted.copy_within(at..n, at + 1);
    sorted[at] = new;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::language::rule::tests::check_instance;

    proptest! {
        #[test]
        fn the_answer_follows_the_only_earlier_occurrence(symbols in 4usize..40, pairs in 1usize..5, pick: u64) {
            let rule = Induction { symbols, pairs }.validate().unwrap();
            let (prompt, answer) = check_instance(&rule, pick % rule.instances());
            let firsts: Vec<Token> = prompt[..2 * pairs].iter().step_by(2).copied().collect();
            prop_assert_eq!(firsts.iter().collect::<BTreeSet<_>>().len(), pairs);
            let at = firsts.iter().position(|first| *first == prompt[2 * pairs]).unwrap();
            prop_assert_eq!(answer[0], prompt[2 * at + 1]);
        }
    }

    #[test]
    fn every_prompt_has_one_number() {
        let rule = Induction { symbols: 4, pairs: 3 }.validate().unwrap();
        // 4 * 3 * 2 arrangements, 4^3 seconds, 3 questions.
        assert_eq!(rule.instances(), 24 * 64 * 3);
        let prompts: BTreeSet<Vec<Token>> = (0..rule.instances()).map(|i| check_instance(&rule, i).0).collect();
        assert_eq!(prompts.len() as u64, rule.instances());
    }

    #[test]
    fn two_equal_first_elements_are_no_prompt() {
        let rule = Induction { symbols: 4, pairs: 2 };
        assert_eq!(rule.instance(&[1, 2, 1, 3, 1]), None);
        assert_eq!(rule.instance(&[1, 2, 3, 3, 2]), None);
    }
}
