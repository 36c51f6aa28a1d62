//! Means over seeds with 95 % t intervals.
//!
//! All comparisons here are paired: the number that enters is already a difference (or a log ratio)
//! computed within one seed, so a seed's common luck cancels before the interval is taken.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Confidence of every interval in the project.
pub const CONFIDENCE: f64 = 0.95;

/// A mean over seeds and its two-sided 95 % t interval.
///
/// From [`arithmetic`](MeanInterval::arithmetic): the mean, in the unit of the samples, with
/// `mean +- t_(0.975, n-1) s / sqrt n`, where `s` is the sample standard deviation (divisor
/// `n - 1`). From [`geometric`](MeanInterval::geometric): the geometric mean, a ratio, with the
/// same interval taken on logarithms and mapped back, hence not symmetric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanInterval {
    /// The mean.
    pub mean: f64,
    /// Lower and upper end; `None` for a single sample, which has no spread.
    pub bounds: Option<(f64, f64)>,
    /// Number of samples (seeds).
    pub n: usize,
}

impl MeanInterval {
    /// Arithmetic mean of `samples`; `None` when there are none or one is not finite.
    pub fn arithmetic(samples: &[f64]) -> Option<Self> {
        if samples.is_empty() || samples.iter().any(|sample| !sample.is_finite()) {
            return None;
        }
        let n = samples.len();
        let mean = samples.iter().sum::<f64>() / n as f64;
        let bounds = (n > 1).then(|| {
            let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
            let standard_error = (squares / (n - 1) as f64 / n as f64).sqrt();
            let half = t_quantile(n - 1) * standard_error;
            (mean - half, mean + half)
        });
        Some(Self { mean, bounds, n })
    }

    /// The p-value of the two-sided t-test that an arithmetic mean is zero, which is below .05 exactly where the
    /// interval misses zero; `None` for a single sample.
    ///
    /// Samples without any spread give 0, or 1 if they are all zero.
    pub fn p_value(&self) -> Option<f64> {
        let (low, high) = self.bounds?;
        let half = (high - low) / 2.0;
        if half == 0.0 {
            return Some(if self.mean == 0.0 { 1.0 } else { 0.0 });
        }
        let statistic = t_quantile(self.n - 1) * self.mean.abs() / half;
        let distribution = StudentsT::new(0.0, 1.0, (self.n - 1) as f64).ok()?;
        Some(2.0 * distribution.cdf(-statistic))
    }

    /// Geometric mean of positive `ratios`; `None` when there are none or one is not positive.
    pub fn geometric(ratios: &[f64]) -> Option<Self> {
        if ratios.iter().any(|&ratio| ratio.is_nan() || ratio <= 0.0) {
            return None;
        }
        let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
        let of_logs = Self::arithmetic(&logs)?;
        Some(Self {
            mean: of_logs.mean.exp(),
            bounds: of_logs.bounds.map(|(low, high)| (low.exp(), high.exp())),
            n: of_logs.n,
        })
    }
}

impl MeanInterval {
    /// "0.012 [0.004, 0.020]" in so many digits after the point; the mean alone for a single sample.
    pub fn describe(&self, digits: usize) -> String {
        match self.bounds {
            Some((low, high)) => format!("{:.digits$} [{low:.digits$}, {high:.digits$}]", self.mean),
            None => format!("{:.digits$}", self.mean),
        }
    }

    /// The same with signs: "+0.012 [+0.004, +0.020]".
    pub fn describe_signed(&self, digits: usize) -> String {
        match self.bounds {
            Some((low, high)) => format!("{:+.digits$} [{low:+.digits$}, {high:+.digits$}]", self.mean),
            None => format!("{:+.digits$}", self.mean),
        }
    }
}

/// The arithmetic mean of `samples` with its interval as [`MeanInterval::describe`] writes it; "none" where there is
/// none.
pub fn describe(samples: &[f64], digits: usize) -> String {
    MeanInterval::arithmetic(samples).map_or_else(|| "none".into(), |mean| mean.describe(digits))
}

/// The same with the number of samples: "0.012 [0.004, 0.020] (n = 5)".
pub fn describe_with_count(samples: &[f64], digits: usize) -> String {
    let text = |mean: MeanInterval| format!("{} (n = {})", mean.describe(digits), mean.n);
    MeanInterval::arithmetic(samples).map_or_else(|| "none".into(), text)
}

/// The 0.975 quantile of Student's t with `freedom` degrees of freedom; 0 degrees give infinity.
fn t_quantile(freedom: usize) -> f64 {
    match StudentsT::new(0.0, 1.0, freedom as f64) {
        Ok(distribution) => distribution.inverse_cdf(0.5 + CONFIDENCE / 2.0),
        Err(_) => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn quantiles_agree_with_the_printed_table() {
        for (freedom, expected) in
            [(1, 12.706_204_736), (2, 4.302_652_730), (4, 2.776_445_105), (9, 2.262_157_163), (30, 2.042_272_456)]
        {
            let found = t_quantile(freedom);
            assert!((found - expected).abs() < 1e-6, "{freedom}: {found}");
        }
    }

    #[test]
    fn a_hand_computed_interval() {
        // 1, 2, 3, 4: mean 2.5, s^2 = 5/3, standard error sqrt(5/12), t_(.975, 3) = 3.182446305.
        let interval = MeanInterval::arithmetic(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        let half = 3.182_446_305 * (5.0f64 / 12.0).sqrt();
        let (low, high) = interval.bounds.unwrap();
        assert_eq!((interval.mean, interval.n), (2.5, 4));
        assert!((low - (2.5 - half)).abs() < 1e-6 && (high - (2.5 + half)).abs() < 1e-6);
    }

    #[test]
    fn one_sample_has_a_mean_and_no_interval() {
        assert_eq!(MeanInterval::arithmetic(&[3.0]), Some(MeanInterval { mean: 3.0, bounds: None, n: 1 }));
        assert_eq!(MeanInterval::arithmetic(&[]), None);
        assert_eq!(MeanInterval::arithmetic(&[1.0, f64::NAN]), None);
    }

    /// from scipy import stats; stats.ttest_1samp([.11, .2, -.05, .3, .17], 0).pvalue   # SciPy 1.17
    #[test]
    fn p_values_are_those_of_scipy() {
        for (samples, expected) in
            [([0.11, 0.2, -0.05, 0.3, 0.17], 0.065_078_698_512_770_7), ([1.0, 1.1, 0.9, 1.0, 1.2], 3.412_216_730e-5)]
        {
            let found = MeanInterval::arithmetic(&samples).unwrap().p_value().unwrap();
            assert!((found / expected - 1.0).abs() < 1e-6, "{found} against {expected}");
        }
        assert_eq!(MeanInterval::arithmetic(&[3.0]).unwrap().p_value(), None);
        assert_eq!(MeanInterval::arithmetic(&[0.0; 5]).unwrap().p_value(), Some(1.0));
        assert_eq!(MeanInterval::arithmetic(&[1.0; 5]).unwrap().p_value(), Some(0.0));
    }

    #[test]
    fn an_interval_is_written_with_its_digits_and_signs() {
        assert_eq!(describe(&[1.0, 2.0, 3.0, 4.0], 2), "2.50 [0.45, 4.55]");
        assert_eq!(MeanInterval::arithmetic(&[1.0, -1.0]).unwrap().describe_signed(1), "+0.0 [-12.7, +12.7]");
        assert_eq!((describe(&[0.5], 3), describe(&[], 3)), ("0.500".into(), "none".into()));
    }

    #[test]
    fn geometric_means_of_ratios() {
        let interval = MeanInterval::geometric(&[0.5, 2.0]).unwrap();
        let (low, high) = interval.bounds.unwrap();
        assert!((interval.mean - 1.0).abs() < 1e-12);
        assert!((low * high - 1.0).abs() < 1e-9 && low < high);
        assert_eq!(MeanInterval::geometric(&[1.0, -1.0]), None);
        assert_eq!(MeanInterval::geometric(&[1.0, 0.0]), None);
    }

    #[test]
    fn intervals_of_simulated_normals_cover_the_mean_95_times_in_100() {
        let mut rng = ChaCha8Rng::seed_from_u64(17);
        let mut normal = || {
            let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
            (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        };
        let trials = 20_000;
        let covered = (0..trials)
            .filter(|_| {
                let samples: Vec<f64> = (0..5).map(|_| 1.5 + 0.3 * normal()).collect();
                let (low, high) = MeanInterval::arithmetic(&samples).unwrap().bounds.unwrap();
                low <= 1.5 && 1.5 <= high
            })
            .count() as f64
            / f64::from(trials);
        // Five standard errors of a binomial share: 5 sqrt(.95 * .05 / 20000) = 0.0077.
        assert!((covered - 0.95).abs() < 0.0077, "{covered}");
    }

    proptest! {
        #[test]
        fn intervals_follow_shift_and_scale(
            samples in prop::collection::vec(-5.0..5.0f64, 2..9),
            shift in -3.0..3.0f64,
            scale in 0.1..4.0f64,
        ) {
            let plain = MeanInterval::arithmetic(&samples).unwrap();
            let moved: Vec<f64> = samples.iter().map(|x| shift + scale * x).collect();
            let moved = MeanInterval::arithmetic(&moved).unwrap();
            let (low, high) = plain.bounds.unwrap();
            let (moved_low, moved_high) = moved.bounds.unwrap();
            prop_assert!((moved.mean - (shift + scale * plain.mean)).abs() < 1e-9);
            prop_assert!((moved_low - (shift + scale * low)).abs() < 1e-7);
            prop_assert!((moved_high - (shift + scale * high)).abs() < 1e-7);
        }
    }
}
