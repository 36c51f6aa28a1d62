//! Patterns: prompts whose answer a rule determines.

use std::fmt::Debug;

use super::vocabulary::Token;

/// A rule from prompts to answers, over symbols `0..symbols`. All prompts have one length, and so have all answers; the
/// prompts are numbered from 0, in a way that gives every prompt exactly one number.
pub(super) trait Rule: Debug + Send + Sync {
    /// The size of the alphabet.
    fn symbols(&self) -> usize;

    /// Answers are strings over the symbols `0..labels`.
    fn labels(&self) -> usize {
        self.symbols()
    }

    /// The number of different prompts.
    fn instances(&self) -> u64;

    /// Symbols in a prompt.
    fn prompt_length(&self) -> usize;

    /// Symbols in an answer.
    fn answer_length(&self) -> usize;

    /// Writes the prompt with number `instance`, below [`Rule::instances`], into a slice of [`Rule::prompt_length`].
    fn write_prompt(&self, instance: u64, prompt: &mut [Token]);

    /// The number of a prompt, or none if it is not a prompt of this rule.
    fn instance(&self, prompt: &[Token]) -> Option<u64>;

    /// Writes the answer to a prompt into a slice of [`Rule::answer_length`].
    fn write_answer(&self, prompt: &[Token], answer: &mut [Token]);
}

/// Most instances that a rule may have: numbers stay well inside 64 bits.
pub(super) const MOST_INSTANCES: u64 = 1 << 62;

/// `base^exponent`, or none beyond [`MOST_INSTANCES`].
pub(super) fn power(base: usize, exponent: usize) -> Option<u64> {
    (base as u64).checked_pow(exponent as u32).filter(|&n| n <= MOST_INSTANCES)
}

/// Writes `number` in base `base`, least digit first; what is left of the number after that.
pub(super) fn write_digits(mut number: u64, base: usize, digits: &mut [Token]) -> u64 {
    for digit in digits {
        *digit = (number % base as u64) as Token;
        number /= base as u64;
    }
    number
}

/// The number with these digits in base `base`, least digit first, or none if one is not a digit.
pub(super) fn read_digits(digits: &[Token], base: usize) -> Option<u64> {
    digits
        .iter()
        .rev()
        .try_fold(0, |number, &digit| (usize::from(digit) < base).then(|| number * base as u64 + u64::from(digit)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What every rule must satisfy, for one instance: its prompt is in the alphabet and reads back; so does the
    /// answer.
    pub(in crate::language) fn check_instance(rule: &dyn Rule, instance: u64) -> (Vec<Token>, Vec<Token>) {
        let mut prompt = vec![0; rule.prompt_length()];
        rule.write_prompt(instance, &mut prompt);
        let mut answer = vec![0; rule.answer_length()];
        rule.write_answer(&prompt, &mut answer);
        assert!(prompt.iter().chain(&answer).all(|&symbol| usize::from(symbol) < rule.symbols()));
        assert_eq!(rule.instance(&prompt), Some(instance), "{prompt:?}");
        prompt[0] = rule.symbols() as Token;
        assert_eq!(rule.instance(&prompt), None, "a symbol beyond the alphabet");
        rule.write_prompt(instance, &mut prompt);
        (prompt, answer)
    }
}
