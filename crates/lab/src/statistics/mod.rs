//! Means over seeds with intervals, and the verdict on a claim.
//!
//! Everything here is a pure function of its samples.

mod interval;
mod scorecard;

pub use interval::{CONFIDENCE, MeanInterval};
pub use scorecard::{MIN_SEEDS, ScorecardRow, Verdict};
