//! Generated language tasks with exact oracles.
//!
//! In the book: [generated tasks](../../book/synthetic-lm.html).
//!
//! Every task here is made from a grammar and a seed, so that nothing has to be downloaded and the right answer to
//! each instance is known. Training and test instances are disjoint by construction: the instances of a task are
//! numbered, the numbers are parted once and for all, and each seed only chooses an order within its part
//! (module [`split`]).
//!
//! - [`word_problems`] and [`string_instructions`]: text tasks for finetuning, found by name in the [`registry`].
//! - [`language`]: token languages that mix facts, patterns, exceptions and random processes, with the loss that a
//!   perfect memoriser or rule-follower would have; [`metrics`] reads a model's answers against them.
//! - [`export`]: JSON lines for other trainers.
//!
//! # Example
//! ```
//! use synthetic_lm::word_problems::{self, WordProblemsConfig};
//!
//! let two_steps = WordProblemsConfig { min_steps: 2, max_steps: 2, ..WordProblemsConfig::default() };
//! let config = two_steps.validate()?;
//! let split = word_problems::generate(&config, 0, 1000, 100)?;
//! let example = &split.test[0];
//! assert!(word_problems::is_correct(&example.completion, example));
//! # Ok::<(), synthetic_lm::Error>(())
//! ```

#![forbid(unsafe_code)]

mod error;
mod example;
pub mod export;
pub mod language;
pub mod metrics;
pub mod permutation;
pub mod random;
pub mod registry;
pub mod split;
pub mod string_instructions;
pub mod word_problems;

pub use error::Error;
pub use example::{Example, Split, constant_baseline};
pub use registry::{Task, task, task_names};
