//! Means over seeds with intervals, and the verdict on a claim.
//!
//! Everything here is a pure function of its samples.

mod interval;
mod pchip;
mod scorecard;

pub use interval::{CONFIDENCE, MeanInterval, describe, describe_with_count};
pub use pchip::Pchip;
pub use scorecard::{MIN_SEEDS, Readings, ScorecardRow, Verdict, correct_for_many};
