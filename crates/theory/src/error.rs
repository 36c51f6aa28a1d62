//! The crate's error type.

use thiserror::Error;

/// Why a function of this crate refused its input, in one line.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum TheoryError {
    /// A parameter lies outside its range.
    #[error("{field}: found {found}, expected {expected}")]
    Parameter {
        /// The parameter, as its preset spells it.
        field: String,
        /// The value that was given.
        found: String,
        /// The range it has to lie in.
        expected: String,
    },
    /// Two matrices do not fit together, or one has the wrong shape.
    #[error("{what}: found shape {found_rows} x {found_cols}, expected {expected}")]
    Shape {
        /// Which matrix.
        what: &'static str,
        /// Its number of rows.
        found_rows: usize,
        /// Its number of columns.
        found_cols: usize,
        /// The shape it should have.
        expected: String,
    },
    /// A matrix has an entry that is NaN or infinite.
    #[error("{what}: found an entry that is not finite, expected finite numbers only")]
    NotFinite {
        /// Which matrix.
        what: &'static str,
    },
    /// A decomposition did not converge.
    #[error("{what}: the decomposition did not converge ({cause})")]
    Decomposition {
        /// Which decomposition.
        what: &'static str,
        /// The backend's own words.
        cause: String,
    },
}

impl TheoryError {
    /// The same of a part of a larger preset: `seeds` of `geometry` is `geometry.seeds`.
    pub fn within(self, part: &str) -> Self {
        match self {
            Self::Parameter { field, found, expected } => {
                Self::Parameter { field: format!("{part}.{field}"), found, expected }
            }
            other => other,
        }
    }
}

/// `Result` with this crate's error.
pub type Result<T> = std::result::Result<T, TheoryError>;

/// Builds a [`TheoryError::Parameter`].
pub(crate) fn parameter(
    field: impl Into<String>,
    found: impl std::fmt::Display,
    expected: impl Into<String>,
) -> TheoryError {
    TheoryError::Parameter { field: field.into(), found: found.to_string(), expected: expected.into() }
}

/// Checks that an integer parameter is at least `least`.
pub(crate) fn at_least(field: &str, value: usize, least: usize) -> Result<()> {
    if value < least {
        return Err(parameter(field, value, format!("at least {least}")));
    }
    Ok(())
}

/// Checks that a number is finite and positive.
pub(crate) fn positive(field: &str, value: f64) -> Result<()> {
    if !(value.is_finite() && value > 0.0) {
        return Err(parameter(field, value, "a finite number above 0"));
    }
    Ok(())
}

/// Checks that a number is finite and not negative.
pub(crate) fn not_negative(field: &str, value: f64) -> Result<()> {
    if !(value.is_finite() && value >= 0.0) {
        return Err(parameter(field, value, "a finite number, 0 or above"));
    }
    Ok(())
}

/// Checks that a number lies in [low, high).
pub(crate) fn in_range(field: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if !(value >= low && value < high) {
        return Err(parameter(field, value, format!("in [{low}, {high})")));
    }
    Ok(())
}

/// Checks that a list has at least one entry.
pub(crate) fn not_empty<T>(field: &str, list: &[T]) -> Result<()> {
    if list.is_empty() {
        return Err(parameter(field, "an empty list", "at least one entry"));
    }
    Ok(())
}
