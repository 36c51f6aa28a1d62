//! Readings: the ways in which two methods' runs from one checkpoint become one number.
//!
//! Every number is positive where the matched method has the better tradeoff. The primary reading decides verdicts; the
//! [`OTHERS`] say whether a verdict hangs on that choice; the [`LINEAR`] ones show what straight lines between coarse
//! rates would have said.

use serde::{Deserialize, Serialize};

use super::contrast::{Contrast, NotRead};
use super::matched::{Interpolation, log_forgetting};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// ln of the other's forgetting less ln of the matched one's, at a level
    /// ([`log_forgetting`], so that small and negative forgetting has a value).
    LogRatio(f64),
    /// The other's forgetting less the matched one's at a level, nats per token.
    Difference(f64),
    /// The mean of [`LogRatio`](Self::LogRatio) over the levels from 50 to 100 %.
    MeanLogRatio,
    /// The other's task loss less the matched one's where both have forgotten so much, nats per token.
    EqualForgetting(f64),
}

/// A quantity, and what lies between the runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// What is compared.
    pub quantity: Quantity,
    /// What lies between two runs.
    pub interpolation: Interpolation,
}

/// The level at which verdicts are read.
pub const VERDICT_LEVEL: f64 = 0.9;

/// The reading that decides verdicts.
pub const PRIMARY: Reading = monotone(Quantity::LogRatio(VERDICT_LEVEL));

/// The readings that a robust verdict needs beside the primary one.
pub const OTHERS: [Reading; 7] = [
    monotone(Quantity::Difference(VERDICT_LEVEL)),
    monotone(Quantity::LogRatio(0.75)),
    monotone(Quantity::MeanLogRatio),
    monotone(Quantity::EqualForgetting(0.05)),
    monotone(Quantity::EqualForgetting(0.1)),
    monotone(Quantity::EqualForgetting(0.2)),
    monotone(Quantity::EqualForgetting(0.5)),
];

/// Readings with straight lines between the runs, for comparison alone.
pub const LINEAR: [Reading; 3] = [
    linear(Quantity::LogRatio(VERDICT_LEVEL)),
    linear(Quantity::Difference(VERDICT_LEVEL)),
    linear(Quantity::Difference(0.75)),
];

const fn monotone(quantity: Quantity) -> Reading {
    Reading { quantity, interpolation: Interpolation::Monotone }
}

const fn linear(quantity: Quantity) -> Reading {
    Reading { quantity, interpolation: Interpolation::Linear }
}

/// Every reading, the primary one first.
pub fn all() -> impl Iterator<Item = Reading> {
    std::iter::once(PRIMARY).chain(OTHERS).chain(LINEAR)
}

/// Levels of [`Quantity::MeanLogRatio`], in percent.
const MEAN_LEVELS: std::ops::RangeInclusive<u32> = 50..=100;
/// Distance between them.
const MEAN_STEP: usize = 5;

impl Reading {
    /// The number, from runs with this reading's interpolation.
    ///
    /// # Errors
    /// The first method that the reading does not find, and why.
    pub fn value(&self, contrast: &Contrast) -> Result<f64, NotRead> {
        let log_ratio = |level: f64| {
            let [matched, other] = contrast.forgetting(level)?;
            Ok(log_forgetting(other) - log_forgetting(matched))
        };
        match self.quantity {
            Quantity::LogRatio(level) => log_ratio(level),
            Quantity::Difference(level) => {
                let [matched, other] = contrast.forgetting(level)?;
                Ok(other - matched)
            }
            Quantity::MeanLogRatio => {
                let ratios: Result<Vec<f64>, NotRead> =
                    MEAN_LEVELS.step_by(MEAN_STEP).map(|level| log_ratio(f64::from(level) / 100.0)).collect();
                let ratios = ratios?;
                Ok(ratios.iter().sum::<f64>() / ratios.len() as f64)
            }
            Quantity::EqualForgetting(forgetting) => {
                let at =
                    |place: usize| contrast.curves[place].task_loss_at(forgetting).map_err(|missing| (place, missing));
                let (matched, other) = (at(0)?, at(1)?);
                Ok(other - matched)
            }
        }
    }

    /// The unit of the number.
    pub fn unit(&self) -> &'static str {
        match self.quantity {
            Quantity::LogRatio(_) | Quantity::MeanLogRatio => "ln ratio of forgetting",
            Quantity::Difference(_) => "nats per token of forgetting",
            Quantity::EqualForgetting(_) => "nats per token of learning",
        }
    }

    /// A few words: "ln ratio at 90 %".
    pub fn label(&self) -> String {
        let what = match self.quantity {
            Quantity::LogRatio(level) => format!("ln ratio at {:.0} %", level * 100.0),
            Quantity::Difference(level) => format!("nats at {:.0} %", level * 100.0),
            Quantity::MeanLogRatio => {
                format!("ln ratio, mean of {} to {} %", MEAN_LEVELS.start(), MEAN_LEVELS.end())
            }
            Quantity::EqualForgetting(forgetting) => format!("learning at F = {forgetting}"),
        };
        match self.interpolation {
            Interpolation::Monotone => what,
            Interpolation::Linear => format!("{what}, straight lines"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::contrast::Compared;
    use super::super::matched::Missing;
    use super::super::testing::grid;
    use super::*;
    use crate::stages::Results;

    /// F = scale exp(-2 (L - 2)) for both methods, from task loss 4 down to 2.
    fn contrast(scales: [f64; 2], interpolation: Interpolation) -> Contrast {
        let runs = |scale: f64| -> Vec<(f64, f64, f64)> {
            let losses = [3.8, 3.2, 2.7, 2.3, 2.0];
            losses
                .iter()
                .enumerate()
                .map(|(i, l)| (1e-4 * (i + 1) as f64, *l, scale * (-2.0 * (l - 2.0f64)).exp()))
                .collect()
        };
        let mut rows = grid("adamw", "adamw", 1, 4.0, &runs(scales[0]));
        rows.extend(grid("adamw", "muon", 1, 4.0, &runs(scales[1])));
        let compared = Compared { task: "code", checkpoint: "adamw", methods: ["adamw", "muon"] };
        Contrast::of(&Results::from_rows(rows).unwrap(), compared, (1, 0), interpolation).unwrap()
    }

    #[test]
    fn a_constant_ratio_is_found_by_every_reading() {
        let found = contrast([0.6, 0.9], Interpolation::Monotone);
        let ratio = 1.5f64.ln();
        let value = |quantity| monotone(quantity).value(&found).unwrap();
        for quantity in [Quantity::LogRatio(0.9), Quantity::LogRatio(0.75), Quantity::MeanLogRatio] {
            assert!((value(quantity) - ratio).abs() < 1e-9, "{quantity:?}: {}", value(quantity));
        }
        // At 90 % the task loss is 2.2.
        assert!((value(Quantity::Difference(0.9)) - 0.3 * (-0.4f64).exp()).abs() < 1e-9);
        // L = 2 + ln(scale / F) / 2: the other has learned less by half the ln ratio, wherever both are read.
        for forgetting in [0.05, 0.1, 0.2, 0.5] {
            let found = value(Quantity::EqualForgetting(forgetting));
            assert!((found - ratio / 2.0).abs() < 1e-6, "{forgetting}: {found}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_which_method_and_why() {
        let found = contrast([0.6, 0.4], Interpolation::Monotone);
        let value = monotone(Quantity::EqualForgetting(0.5)).value(&found);
        assert_eq!(value, Err((1, Missing::LevelNotReached)));
    }

    #[test]
    fn labels_and_units_tell_the_readings_apart() {
        let labels: std::collections::BTreeSet<String> = all().map(|reading| reading.label()).collect();
        assert_eq!(labels.len(), 1 + OTHERS.len() + LINEAR.len());
        assert_eq!(PRIMARY.label(), "ln ratio at 90 %");
    }
}
