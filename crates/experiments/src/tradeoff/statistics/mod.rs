//! From finetuning runs to statements: forgetting at matched learning, effects, and verdicts on claim C1.
//!
//! 1. [`matched`]: the forgetting of one method at one task loss (*forgetting at matched learning*).
//! 2. [`table`]: that number for every task, checkpoint, method, level and seed.
//! 3. [`effect`]: differences of that forgetting between methods, one number for each seed.
//! 4. [`comparison`]: the effects that the claim is about, and the verdicts.
//!
//! [`pareto`] finds the Pareto fronts that the figures draw; no verdict depends on it. [`rows`] has the files.
//!
//! Everything here is a pure function of the set of rows: the order of the rows, the number of
//! threads and the clock have no influence.

pub mod comparison;
pub mod effect;
pub mod matched;
pub mod pareto;
pub mod rows;
pub mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use comparison::{Comparison, Pair, TradeoffStatistics};
pub use effect::Effect;
pub use matched::Missing;
pub use table::{Cell, LEVELS, MatchedTable, VERDICT_LEVEL};
