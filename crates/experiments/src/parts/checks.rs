//! Checks of single fields.

use std::ops::RangeInclusive;

use models::schedule::Decay;

use crate::error::{ExperimentError, Result};

/// Refuses a number below `least`.
///
/// # Errors
/// The field with what was found and expected; so do all checks here.
pub fn at_least(field: &str, value: u64, least: u64) -> Result<()> {
    if value >= least {
        return Ok(());
    }
    Err(ExperimentError::value(field, value, format!("at least {least}")))
}

/// The most steps of a training: more than any takes.
pub const MOST_STEPS: u64 = 1_000_000_000;
/// The most seeds: a verdict needs some ten.
pub const MOST_SEEDS: u64 = 10_000;
/// The most sequences of a step.
pub const MOST_SEQUENCES: u64 = 1 << 20;
/// The most examples, windows or points that are measured or drawn.
pub const MOST_DRAWN: u64 = 10_000_000;

/// Refuses a number outside `range`: bounds are far above what makes sense, and below what would overflow.
///
/// # Errors
/// As [`at_least`].
pub fn within(field: &str, value: u64, range: RangeInclusive<u64>) -> Result<()> {
    at_least(field, value, *range.start())?;
    if value <= *range.end() {
        return Ok(());
    }
    Err(ExperimentError::value(field, value, format!("at most {}", range.end())))
}

/// Refuses a number of steps that is none, or more than [`MOST_STEPS`].
///
/// # Errors
/// As [`at_least`].
pub fn steps(field: &str, value: u64) -> Result<()> {
    within(field, value, 1..=MOST_STEPS)
}

/// Refuses a number of sequences that is none, or more than [`MOST_SEQUENCES`].
///
/// # Errors
/// As [`at_least`].
pub fn sequences(field: &str, value: usize) -> Result<()> {
    within(field, value as u64, 1..=MOST_SEQUENCES)
}

/// Refuses a number of examples, windows or points that is none, or more than [`MOST_DRAWN`].
///
/// # Errors
/// As [`at_least`].
pub fn drawn(field: &str, value: usize) -> Result<()> {
    within(field, value as u64, 1..=MOST_DRAWN)
}

/// Refuses what is not positive and finite.
///
/// # Errors
/// As [`at_least`].
pub fn positive(field: &str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(ExperimentError::value(field, value, "a positive number"))
}

/// Refuses what is negative or not finite.
///
/// # Errors
/// As [`at_least`].
pub fn not_negative(field: &str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(ExperimentError::value(field, value, "a number that is not negative"))
}

/// Refuses what is no share between 0 and 1; 0 itself is one only if `or_zero`.
///
/// # Errors
/// As [`at_least`].
pub fn share(field: &str, value: f64, or_zero: bool) -> Result<()> {
    if (value > 0.0 || or_zero && value == 0.0) && value < 1.0 {
        return Ok(());
    }
    Err(ExperimentError::value(field, value, "a share between 0 and 1"))
}

/// Refuses a cooldown that is no share.
///
/// # Errors
/// As [`at_least`].
pub fn cooldown(table: &str, decay: Decay) -> Result<()> {
    match decay {
        Decay::Wsd { cooldown } => share(&format!("{table}.decay.wsd.cooldown"), cooldown, false),
        Decay::Constant | Decay::Linear | Decay::Cosine => Ok(()),
    }
}

/// Refuses a list that is empty or names something twice.
///
/// # Errors
/// As [`at_least`].
pub fn distinct<T: PartialEq + std::fmt::Debug>(field: &str, values: &[T]) -> Result<()> {
    if values.is_empty() {
        return Err(ExperimentError::value(field, "none", "at least one"));
    }
    match values.iter().enumerate().find(|(i, value)| values[..*i].contains(value)) {
        None => Ok(()),
        Some((_, twice)) => Err(ExperimentError::value(field, format!("{twice:?} twice"), "distinct values")),
    }
}

/// Refuses a list of learning rates that is empty, or holds one twice or one that is not positive.
///
/// # Errors
/// As [`at_least`].
pub fn rates(field: &str, rates: &[f64]) -> Result<()> {
    if rates.is_empty() {
        return Err(ExperimentError::value(field, "none", "at least one learning rate"));
    }
    for (i, &rate) in rates.iter().enumerate() {
        positive(field, rate)?;
        if rates[..i].contains(&rate) {
            return Err(ExperimentError::value(field, format!("{rate} twice"), "distinct learning rates"));
        }
    }
    Ok(())
}
