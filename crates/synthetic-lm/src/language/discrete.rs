//! Finite distributions that are sampled exactly as they are accounted for.

use rand::Rng;

/// A distribution over `0..n` whose probabilities are whole multiples of 2^-64, so that the entropy computed here is
/// that of the samples, without rounding between the two.
#[derive(Debug, Clone)]
pub(super) struct Discrete {
    /// Upper end of each outcome's share of the 64-bit words, the last one (2^64) left out.
    upper: Vec<u64>,
}

impl Discrete {
    /// Probabilities in proportion to positive, finite weights, of which there must be at least one. A weight below
    /// about 2^-53 of the sum may be rounded to zero.
    pub(super) fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let mut cumulative: Vec<f64> = weights
            .into_iter()
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let total = cumulative.pop().expect("a distribution has outcomes");
        // A cast of 2^64 saturates to the largest word.
        Self { upper: cumulative.into_iter().map(|sum| (sum / total * 2f64.powi(64)) as u64).collect() }
    }

    /// The number of outcomes.
    pub(super) fn len(&self) -> usize {
        self.upper.len() + 1
    }

    /// The probability of an outcome below [`Discrete::len`].
    pub(super) fn probability(&self, outcome: usize) -> f64 {
        let end = |i: usize| self.upper.get(i).map_or(1u128 << 64, |&word| u128::from(word));
        let start = outcome.checked_sub(1).map_or(0, end);
        (end(outcome) - start) as f64 / 2f64.powi(64)
    }

    /// Entropy in nats.
    pub(super) fn entropy(&self) -> f64 {
        (0..self.len()).map(|outcome| entropy_term(self.probability(outcome))).sum()
    }

    /// Draws an outcome.
    pub(super) fn sample<R: Rng>(&self, rng: &mut R) -> usize {
        let word = rng.next_u64();
        if self.upper.len() <= 16 {
            // Without branches that depend on the outcome.
            self.upper.iter().map(|&upper| usize::from(word >= upper)).sum()
        } else {
            self.upper.partition_point(|&upper| word >= upper)
        }
    }
}

/// -p ln p, and 0 for p = 0.
pub(super) fn entropy_term(p: f64) -> f64 {
    if p > 0.0 { -p * p.ln() } else { 0.0 }
}

/// Divides `total` among outcomes with these probabilities in whole numbers by the method of largest remainders; equal
/// remainders go to the earlier outcome.
pub(super) fn apportion(probabilities: &[f64], total: u64) -> Vec<u64> {
    let shares: Vec<f64> = probabilities.iter().map(|p| p * total as f64).collect();
    let mut counts: Vec<u64> = shares.iter().map(|share| share.floor() as u64).collect();
    let mut by_remainder: Vec<usize> = (0..shares.len()).collect();
    by_remainder.sort_by(|&a, &b| shares[b].fract().total_cmp(&shares[a].fract()).then(a.cmp(&b)));
    let missing = total.saturating_sub(counts.iter().sum());
    for &outcome in by_remainder.iter().cycle().take(missing as usize) {
        counts[outcome] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    proptest! {
        #[test]
        fn frequencies_follow_the_probabilities(weights in proptest::collection::vec(0.01f64..1.0, 1..40), seed: u64) {
            let distribution = Discrete::new(weights.iter().copied());
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut counts = vec![0u32; weights.len()];
            for _ in 0..20_000 {
                counts[distribution.sample(&mut rng)] += 1;
            }
            let total: f64 = weights.iter().sum();
            for (outcome, &count) in counts.iter().enumerate() {
                let p = distribution.probability(outcome);
                prop_assert!((p - weights[outcome] / total).abs() < 1e-12);
                let deviation = f64::from(count) - 20_000.0 * p;
                prop_assert!(deviation.abs() <= 6.0 * (20_000.0 * p * (1.0 - p)).sqrt() + 1.0);
            }
        }

        #[test]
        fn apportionment_is_whole_and_within_one_of_the_share(weights in proptest::collection::vec(0.01f64..1.0, 1..40), total in 0u64..10_000) {
            let sum: f64 = weights.iter().sum();
            let probabilities: Vec<f64> = weights.iter().map(|w| w / sum).collect();
            let counts = apportion(&probabilities, total);
            prop_assert_eq!(counts.iter().sum::<u64>(), total);
            prop_assert!(counts.iter().zip(&probabilities).all(|(&n, p)| (n as f64 - p * total as f64).abs() < 1.0 + 1e-9));
        }
    }

    #[test]
    fn entropy_of_equal_chances_is_the_logarithm_of_their_number() {
        for n in [1, 2, 7, 1000] {
            assert!((Discrete::new(vec![3.0; n]).entropy() - (n as f64).ln()).abs() < 1e-12);
        }
    }
}
