//! From the end points of finetuning runs to verdicts.
//!
//! The path of the numbers, one file to a step:
//!
//! 1. [`endpoint`]: one finetuning run is one [`EndPoint`]; [`Results`] is a checked, sorted set of
//!    them, and [`csv`] its file form.
//! 2. [`matched`]: the forgetting of one method at one task loss (*forgetting at matched learning*).
//! 3. [`table`]: that number for every task, checkpoint, method, level and seed.
//! 4. [`interval`]: means over seeds with 95 % paired t intervals.
//! 5. [`effect`]: differences of that forgetting between methods, one number for each seed.
//! 6. [`scorecard`]: a claim, its effect and its [`Verdict`]; [`comparison`] computes the verdicts on
//!    claim C1 (the better learning-forgetting tradeoff of the matched optimizer).
//!
//! [`pareto`] finds the Pareto fronts that the figures draw; no verdict depends on it.
//!
//! Everything here is a pure function of the set of rows: the order of the rows, the number of
//! threads and the clock have no influence.

pub mod comparison;
pub mod csv;
pub mod effect;
pub mod endpoint;
pub mod interval;
pub mod matched;
pub mod names;
pub mod pareto;
pub mod scorecard;
pub mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use comparison::{Comparison, Pair, TradeoffStatistics};
pub use effect::Effect;
pub use endpoint::{EndPoint, Results, ResultsError};
pub use interval::MeanInterval;
pub use matched::Missing;
pub use scorecard::{MIN_SEEDS, ScorecardRow, Verdict};
pub use table::{LEVELS, MatchedTable, VERDICT_LEVEL};
