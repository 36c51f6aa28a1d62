//! Which seeds a preset has.

use super::checks::{MOST_SEEDS, within};
use crate::error::{ExperimentError, Result};

/// The pretraining seeds of a preset: so many, from the first on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
}

impl Seeds {
    /// Checks the fields `seeds` and `first-seed`.
    ///
    /// # Errors
    /// If there is none, or not so many below 2^64.
    pub fn check(self) -> Result<()> {
        within("seeds", self.count, 1..=MOST_SEEDS)?;
        match self.first.checked_add(self.count) {
            Some(_) => Ok(()),
            None => Err(ExperimentError::value("first-seed", self.first, "fewer, with seeds below 2^64")),
        }
    }

    /// All of them, ascending.
    pub fn all(self) -> std::ops::Range<u64> {
        self.first..self.first + self.count
    }

    /// Whether what has only so many of them, from the first on (all if `None`), has this one.
    pub fn has(self, count: Option<u64>, seed: u64) -> bool {
        count.is_none_or(|count| seed - self.first < count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_fewer_seeds_has_the_first_ones() {
        let seeds = Seeds { first: 10, count: 3 };
        assert_eq!(seeds.all().collect::<Vec<_>>(), [10, 11, 12]);
        let of = |count| seeds.all().filter(|&seed| seeds.has(count, seed)).count();
        assert_eq!((of(None), of(Some(2)), of(Some(9))), (3, 2, 3));
    }

    #[test]
    fn no_seed_and_too_high_ones_are_refused() {
        let refusal = |first, count| Seeds { first, count }.check().unwrap_err().to_string();
        assert!(refusal(0, 1_000_000_000).starts_with("seeds: found 1000000000, expected at most 10000"));
        assert!(refusal(0, 0).starts_with("seeds: found 0"));
        assert!(refusal(u64::MAX, 1).starts_with("first-seed: "));
    }
}
