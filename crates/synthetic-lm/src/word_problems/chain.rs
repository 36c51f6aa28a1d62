//! The arithmetic under a word problem: a start and a sequence of operations, numbered exactly.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Smallest number in a problem: with two and more, every noun is a plural.
pub(super) const SMALLEST: u32 = 2;
/// Largest factor and divisor, as in the multiplication table of school.
pub(super) const LARGEST_FACTOR: u32 = 10;

/// An arithmetic operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Sum with the operand.
    Add,
    /// Difference, never below two.
    Subtract,
    /// Product, with factors up to ten.
    Multiply,
    /// Exact quotient, with divisors up to ten.
    Divide,
}

impl Operation {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Add, Self::Subtract, Self::Multiply, Self::Divide];

    /// `+`, `-`, `*` or `/`.
    pub fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Subtract => '-',
            Self::Multiply => '*',
            Self::Divide => '/',
        }
    }

    /// The result with `value` on the left, or none if it is not a non-negative whole number.
    pub fn apply(self, value: u32, operand: u32) -> Option<u32> {
        match self {
            Self::Add => value.checked_add(operand),
            Self::Subtract => value.checked_sub(operand),
            Self::Multiply => value.checked_mul(operand),
            Self::Divide => (operand != 0 && value.is_multiple_of(operand)).then(|| value / operand),
        }
    }

    /// The operands that a generated problem may have after `value`, when no number may exceed `largest`. For
    /// division only those that divide are meant, which [`Operation::apply`] tells.
    fn operands(self, value: u32, largest: u32) -> RangeInclusive<u32> {
        SMALLEST..=match self {
            Self::Add => largest - value,
            Self::Subtract => value - SMALLEST,
            Self::Multiply => (largest / value).min(LARGEST_FACTOR),
            Self::Divide => (value / SMALLEST).min(LARGEST_FACTOR),
        }
    }
}

/// One operation with its operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step {
    /// What is done.
    pub operation: Operation,
    /// With which number.
    pub operand: u32,
}

/// A start and what is done to it, in order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain {
    /// The number at the start.
    pub start: u32,
    /// The steps, at least one.
    pub steps: Vec<Step>,
}

impl Chain {
    /// The number at the end, or none if a step has no whole, non-negative result.
    pub fn answer(&self) -> Option<u32> {
        self.steps.iter().try_fold(self.start, |value, step| step.operation.apply(value, step.operand))
    }
}

/// All chains with a given sequence of operations, numbered from 0 in lexicographic order of (start, operands).
#[derive(Debug, Clone)]
pub(super) struct ChainSpace {
    operations: Vec<Operation>,
    largest: u32,
    /// `completions[k][v]`: in how many ways operations `k..` can be carried out from value `v`.
    completions: Vec<Arc<[u128]>>,
    size: u128,
}

/// The tables of completions for suffixes of operation sequences, shared between spaces.
pub(super) type Completions = BTreeMap<Vec<Operation>, Arc<[u128]>>;

impl ChainSpace {
    /// The space of chains with these `operations` in which every number lies in `2..=largest`. `shared` holds the
    /// tables of the spaces made before with the same `largest`, and takes the new ones.
    pub(super) fn new(operations: &[Operation], largest: u32, shared: &mut Completions) -> Self {
        let completions: Vec<_> =
            (0..=operations.len()).map(|k| completions_of(&operations[k..], largest, shared)).collect();
        let size = completions[0].iter().sum();
        Self { operations: operations.to_vec(), largest, completions, size }
    }

    /// The number of chains.
    pub(super) fn size(&self) -> u128 {
        self.size
    }

    /// The sequence of operations.
    pub(super) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The chain with number `rank`, which must be below the size.
    pub(super) fn chain(&self, mut rank: u128) -> Chain {
        let mut start = SMALLEST;
        while rank >= self.completions[0][start as usize] {
            rank -= self.completions[0][start as usize];
            start += 1;
        }
        let mut value = start;
        let mut steps = Vec::with_capacity(self.operations.len());
        for (k, &operation) in self.operations.iter().enumerate() {
            for operand in operation.operands(value, self.largest) {
                let Some(result) = operation.apply(value, operand) else {
                    continue;
                };
                let ways = self.completions[k + 1][result as usize];
                if rank < ways {
                    steps.push(Step { operation, operand });
                    value = result;
                    break;
                }
                rank -= ways;
            }
        }
        Chain { start, steps }
    }
}

fn completions_of(operations: &[Operation], largest: u32, shared: &mut Completions) -> Arc<[u128]> {
    if let Some(table) = shared.get(operations) {
        return Arc::clone(table);
    }
    let table: Arc<[u128]> = match operations.split_first() {
        None => (0..=largest).map(|value| u128::from(value >= SMALLEST)).collect(),
        Some((&operation, rest)) => {
            let next = completions_of(rest, largest, shared);
            let ways_from = |value| {
                let results = operation.operands(value, largest).filter_map(|operand| operation.apply(value, operand));
                results.map(|result| next[result as usize]).sum()
            };
            (0..=largest).map(|value| if value < SMALLEST { 0 } else { ways_from(value) }).collect()
        }
    };
    shared.insert(operations.to_vec(), Arc::clone(&table));
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// All chains by brute force: every start and operand up to the largest number.
    fn enumerate(operations: &[Operation], largest: u32) -> BTreeSet<Chain> {
        let mut partial: Vec<(Chain, u32)> =
            (2..=largest).map(|start| (Chain { start, steps: vec![] }, start)).collect();
        for &operation in operations {
            let factors = matches!(operation, Operation::Multiply | Operation::Divide);
            let last = if factors { largest.min(10) } else { largest };
            partial = partial
                .into_iter()
                .flat_map(|(chain, value)| (2..=last).map(move |operand| (chain.clone(), value, operand)))
                .filter_map(|(mut chain, value, operand)| {
                    let result = operation.apply(value, operand).filter(|result| (2..=largest).contains(result))?;
                    chain.steps.push(Step { operation, operand });
                    Some((chain, result))
                })
                .collect();
        }
        partial.into_iter().map(|(chain, _)| chain).collect()
    }

    #[test]
    fn numbering_covers_exactly_the_chains_found_by_brute_force() {
        use Operation::{Add, Divide, Multiply, Subtract};
        for (operations, largest) in [
            (vec![Add], 10),
            (vec![Divide], 40),
            (vec![Multiply, Subtract], 25),
            (vec![Subtract, Divide, Add], 14),
            (vec![Divide, Divide, Divide], 30),
        ] {
            let space = ChainSpace::new(&operations, largest, &mut Completions::new());
            let numbered: Vec<Chain> = (0..space.size()).map(|rank| space.chain(rank)).collect();
            assert_eq!(numbered, enumerate(&operations, largest).into_iter().collect::<Vec<_>>(), "{operations:?}");
        }
    }
}
