//! Means over seeds with t intervals.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean over independent repetitions with its 95 % t interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Lower end of the interval; `-inf` with fewer than two values.
    pub low: f64,
    /// Upper end of the interval; `+inf` with fewer than two values.
    pub high: f64,
    /// Number of values.
    pub n: usize,
}

impl Estimate {
    /// Mean and two-sided 95 % t interval of `values`. No values give a NaN mean.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        if n < 2 {
            return Self { mean, low: f64::NEG_INFINITY, high: f64::INFINITY, n };
        }
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
        let half = t_quantile(n - 1) * (variance / n as f64).sqrt();
        Self { mean, low: mean - half, high: mean + half, n }
    }

    /// Geometric mean of positive values, its interval taken on the logarithms.
    pub fn geometric(values: &[f64]) -> Self {
        let logs: Vec<f64> = values.iter().map(|x| x.ln()).collect();
        Self::of(&logs).exp()
    }

    /// The estimate of logarithms as one of factors.
    pub fn exp(self) -> Self {
        Self { mean: self.mean.exp(), low: self.low.exp(), high: self.high.exp(), n: self.n }
    }

    /// Whether the whole interval lies above `value`.
    pub fn above(&self, value: f64) -> bool {
        self.low > value
    }

    /// Whether the whole interval lies below `value`.
    pub fn below(&self, value: f64) -> bool {
        self.high < value
    }
}

/// The 97.5 % quantile of Student's t with `freedom` >= 1 degrees of freedom.
fn t_quantile(freedom: usize) -> f64 {
    match StudentsT::new(0.0, 1.0, freedom as f64) {
        Ok(t) => t.inverse_cdf(0.975),
        // Not reached for freedom >= 1; infinity says "no interval" rather than a wrong one.
        Err(_) => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        // mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.302653
        let e = Estimate::of(&[1.0, 2.0, 3.0]);
        assert!((e.mean - 2.0).abs() < 1e-12);
        assert!((e.high - (2.0 + 4.302_652_73 / 3f64.sqrt())).abs() < 1e-6);
        assert!((e.low + e.high - 4.0).abs() < 1e-9);
    }

    #[test]
    fn one_value_has_no_interval() {
        let e = Estimate::of(&[1.0]);
        assert!(!e.above(-1e300) && !e.below(1e300));
    }

    #[test]
    fn geometric_means_are_of_ratios() {
        let e = Estimate::geometric(&[0.5, 2.0]);
        assert!((e.mean - 1.0).abs() < 1e-12);
        assert!((e.low * e.high - 1.0).abs() < 1e-9);
    }
}
