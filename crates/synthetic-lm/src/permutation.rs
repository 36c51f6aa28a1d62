//! Seeded permutations of `0..size` for sizes far beyond what a shuffled list could hold.
//!
//! Drawing distinct instances of a task then needs neither memory of what was drawn nor luck: the first `n` images are
//! `n` distinct instances in random order.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::random::mix;

/// Up to this size a permutation is a shuffled list, uniform over all permutations.
const LIST_LIMIT: u128 = 4096;
/// Rounds of the Feistel network. Four make a pseudorandom permutation (Luby and Rackoff, 1988); two more for good
/// measure.
const ROUNDS: usize = 6;

/// A bijection of `0..size` chosen by a seed.
#[derive(Debug, Clone)]
pub struct Permutation {
    size: u128,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    List(Vec<u16>),
    /// A balanced Feistel network on `2 * half_bits` bits; images beyond `size` are mapped again until they fall
    /// inside.
    Feistel {
        half_bits: u32,
        keys: [u64; ROUNDS],
    },
}

impl Permutation {
    /// The permutation of `0..size` that `seed` chooses.
    pub fn new(size: u128, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let form = if size <= LIST_LIMIT {
            let mut list: Vec<u16> = (0..size as u16).collect();
            list.shuffle(&mut rng);
            Form::List(list)
        } else {
            let bits = u128::BITS - (size - 1).leading_zeros();
            Form::Feistel { half_bits: bits.div_ceil(2), keys: std::array::from_fn(|_| rng.next_u64()) }
        };
        Self { size, form }
    }

    /// The number of elements.
    pub fn size(&self) -> u128 {
        self.size
    }

    /// The image of `index`.
    ///
    /// # Panics
    /// If `index` is not below the size.
    pub fn apply(&self, index: u128) -> u128 {
        assert!(index < self.size, "index {index} of a permutation of {} elements", self.size);
        match &self.form {
            Form::List(list) => u128::from(list[index as usize]),
            Form::Feistel { half_bits, keys } => {
                let mut image = feistel(index, *half_bits, keys);
                while image >= self.size {
                    image = feistel(image, *half_bits, keys);
                }
                image
            }
        }
    }
}

fn feistel(index: u128, half_bits: u32, keys: &[u64; ROUNDS]) -> u128 {
    let mask = u64::MAX >> (64 - half_bits);
    let (mut left, mut right) = ((index >> half_bits) as u64 & mask, index as u64 & mask);
    for key in keys {
        (left, right) = (right, left ^ (mix(right ^ key) & mask));
    }
    u128::from(left) << half_bits | u128::from(right)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_element_is_hit_once(size in 1u128..20_000, seed: u64) {
            let permutation = Permutation::new(size, seed);
            let mut hit = vec![false; size as usize];
            for index in 0..size {
                let image = permutation.apply(index) as usize;
                prop_assert!(!std::mem::replace(&mut hit[image], true));
            }
        }

        #[test]
        fn huge_sizes_stay_in_range_and_distinct(size in (1u128 << 64)..(1 << 90), seed: u64) {
            let permutation = Permutation::new(size, seed);
            let images: std::collections::BTreeSet<u128> = (0..1000).map(|i| permutation.apply(i)).collect();
            prop_assert_eq!(images.len(), 1000);
            prop_assert!(images.iter().all(|&image| image < size));
        }
    }

    /// The first images of many seeds spread evenly over ten bins: chi-square with 9 degrees of freedom, whose 0.9999
    /// quantile is 33.7.
    #[test]
    fn first_images_are_spread_evenly() {
        for size in [1000u128, 1_000_003] {
            let mut bins = [0u32; 10];
            for seed in 0..5000 {
                bins[(Permutation::new(size, seed).apply(0) * 10 / size) as usize] += 1;
            }
            let chi2: f64 = bins.iter().map(|&n| (f64::from(n) - 500.0).powi(2) / 500.0).sum();
            assert!(chi2 < 33.7, "size {size}: {bins:?}");
        }
    }
}
