//! Modular arithmetic: `a b = c` with `c = a op b mod p`, one symbol for each residue.

use serde::{Deserialize, Serialize};

use super::rule::{Rule, read_digits, write_digits};
use super::vocabulary::Token;
use crate::Error;
use crate::error::check_range;

pub(super) const NAME: &str = "modular";

/// The operation, from easy to hard to learn from a part of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModularOperation {
    /// a + b
    Add,
    /// a - b
    Subtract,
    /// a b
    Multiply,
    /// a^2 + a b + b^2
    Quadratic,
}

/// Modular arithmetic with two operands: `modulus^2` instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modular {
    /// The modulus, in `5..=1024`; also the size of the alphabet.
    pub modulus: usize,
    /// What is computed.
    pub operation: ModularOperation,
}

impl Modular {
    pub(super) fn validate(&self) -> Result<Self, Error> {
        check_range(NAME, "modulus", self.modulus, 5..=1024)?;
        Ok(self.clone())
    }
}

impl Rule for Modular {
    fn symbols(&self) -> usize {
        self.modulus
    }

    fn instances(&self) -> u64 {
        (self.modulus * self.modulus) as u64
    }

    fn prompt_length(&self) -> usize {
        2
    }

    fn answer_length(&self) -> usize {
        1
    }

    fn write_prompt(&self, instance: u64, prompt: &mut [Token]) {
        write_digits(instance, self.modulus, prompt);
    }

    fn instance(&self, prompt: &[Token]) -> Option<u64> {
        (prompt.len() == 2).then(|| read_digits(prompt, self.modulus)).flatten()
    }

    fn write_answer(&self, prompt: &[Token], answer: &mut [Token]) {
        let (a, b) = (u32::from(prompt[0]), u32::from(prompt[1]));
        let p = self.modulus as u32;
        let result = match self.operation {
            ModularOperation::Add => a + b,
            ModularOperation::Subtract => a + p - b,
            ModularOperation::Multiply => a * b,
            ModularOperation::Quadratic => a * a + a * b + b * b,
        };
        answer[0] = (result % p) as Token;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::rule::tests::check_instance;

    #[test]
    fn whole_tables_are_right() {
        for modulus in [5, 12, 31] {
            for (operation, f) in [
                (ModularOperation::Add, (|a, b| a + b) as fn(i64, i64) -> i64),
                (ModularOperation::Subtract, |a, b| a - b),
                (ModularOperation::Multiply, |a, b| a * b),
                (ModularOperation::Quadratic, |a, b| (a + b) * (a + b) - a * b),
            ] {
                let rule = Modular { modulus, operation };
                for instance in 0..rule.instances() {
                    let (prompt, answer) = check_instance(&rule, instance);
                    let expected = f(i64::from(prompt[0]), i64::from(prompt[1])).rem_euclid(modulus as i64);
                    assert_eq!(i64::from(answer[0]), expected);
                }
            }
        }
    }
}
