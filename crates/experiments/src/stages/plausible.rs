//! What no measurement can be: the check of outputs that a file tells.

/// Refuses losses below zero; one that is no number is a training that diverged.
///
/// # Errors
/// In a few words, with the first.
pub fn losses(values: impl IntoIterator<Item = f64>) -> Result<(), String> {
    match values.into_iter().find(|value| *value < 0.0) {
        Some(loss) => Err(format!("found a loss of {loss}, and none is below 0")),
        None => Ok(()),
    }
}

/// Refuses what is no share of answers.
///
/// # Errors
/// As [`losses`].
pub fn shares(values: impl IntoIterator<Item = f64>) -> Result<(), String> {
    match values.into_iter().find(|value| !(0.0..=1.0).contains(value)) {
        Some(share) => Err(format!("found a share of {share}, and all are from 0 to 1")),
        None => Ok(()),
    }
}
