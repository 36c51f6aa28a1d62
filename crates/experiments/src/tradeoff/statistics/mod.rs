//! From finetuning runs to statements: forgetting at matched learning, effects, and verdicts on claim C1.
//!
//! 1. [`matched`]: the forgetting of one method at one task loss (*forgetting at matched learning*).
//! 2. [`contrast`]: two methods from one checkpoint, and the learning that they have in common.
//! 3. [`reading`]: the ways to make one number of a contrast.
//! 4. [`effect`]: contrasts from one checkpoint or two, by one reading, a number for each seed.
//! 5. [`comparison`]: the effects that the claim is about, and the verdicts.
//!
//! [`refine`] says at which rates more runs are needed. [`table`] has what is shown at each level, [`rows`] the files.
//! [`pareto`] finds the Pareto fronts that the figures draw; no verdict depends on it.
//!
//! Everything here is a pure function of the set of rows: the order of the rows, the number of
//! threads and the clock have no influence.

pub mod comparison;
pub mod contrast;
pub mod effect;
pub mod matched;
pub mod pareto;
pub mod reading;
#[cfg(test)]
mod recovery;
pub mod refine;
pub mod rows;
pub mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use comparison::{Comparison, Pair, TradeoffStatistics};
pub use effect::{Effect, Term};
pub use matched::Missing;
pub use reading::{PRIMARY, Reading, VERDICT_LEVEL};
pub use table::{Cell, LEVELS};
