//! The one error type of the crate.

use crate::split::Side;

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
        side: Side,
        /// The number of instances asked for.
        asked: usize,
        /// The number of instances that exist on that side.
        available: u128,
    },
    /// A sentence of a word problem that the grammar cannot have written.
    #[error("word problem: cannot read {found:?}, expected {expected}")]
    UnreadableProblem {
        /// The sentence, or the empty string if one is missing.
        found: String,
        /// What should have been there.
        expected: &'static str,
    },
}
