//! The one error type of the crate.

use std::fmt::Display;
use std::ops::RangeInclusive;

/// What can be wrong with a request to this crate. Every message is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter lies outside its range.
    #[error("{task}: {parameter} is {found}, expected {expected}")]
    OutOfRange {
        /// The task or generator that was configured.
        task: &'static str,
        /// The name of the parameter.
        parameter: &'static str,
        /// The value that was given.
        found: String,
        /// The values that are allowed.
        expected: String,
    },
    /// More distinct instances were asked for than there are.
    #[error(
        "{task}: {asked} {side} examples asked for, but only {available} distinct ones exist with this configuration"
    )]
    TooFewInstances {
        /// The task or generator that was asked.
        task: &'static str,
        /// Which side of the split is too small.
        side: &'static str,
        /// The number of instances asked for.
        asked: usize,
        /// The number of instances that exist on that side.
        available: u128,
    },
    /// A prompt that the task's grammar cannot have written.
    #[error("{task}: cannot read {found:?}, expected {expected}")]
    Unreadable {
        /// The task whose parser refused it.
        task: &'static str,
        /// The part that could not be read; empty if a part is missing.
        found: String,
        /// What should have been there.
        expected: &'static str,
    },
    /// A name that is not registered.
    #[error("unknown {what} {found:?}, expected one of: {known}")]
    Unknown {
        /// What the name should be of: a task or a language.
        what: &'static str,
        /// The name that was given.
        found: String,
        /// The names there are, separated by commas.
        known: String,
    },
    /// A parameter of a task with an unknown name or a value of the wrong kind.
    #[error("{task}: {problem}")]
    BadParameter {
        /// The task that was configured.
        task: &'static str,
        /// What is wrong, with what was expected.
        problem: String,
    },
    /// A file that cannot be read, written or understood.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The error for a parameter that does not fit.
pub(crate) fn out_of_range(
    task: &'static str,
    parameter: &'static str,
    found: impl Display,
    expected: impl Display,
) -> Error {
    Error::OutOfRange { task, parameter, found: found.to_string(), expected: expected.to_string() }
}

/// Checks that a parameter of `task` lies in `range`.
pub(crate) fn check_range<T: PartialOrd + Display>(
    task: &'static str,
    parameter: &'static str,
    found: T,
    range: RangeInclusive<T>,
) -> Result<(), Error> {
    if range.contains(&found) {
        return Ok(());
    }
    Err(out_of_range(task, parameter, found, format_args!("{} to {}", range.start(), range.end())))
}
