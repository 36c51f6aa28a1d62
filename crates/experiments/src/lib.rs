//! From presets to verdicts: stages, run store, grid runner, statistics, figures and report, and one binary for each result.
//!
//! ```text
//! preset ──> corpus ──> tokens ──> pretrain ──> measure ──> finetune ──> results.csv ──> stats ──> figures, report
//!            └────────────── stages, each computed once: store ──────────────┘
//!                                 run in parallel: grid
//! ```
//!
//! - [`preset`] holds everything that decides a result; a user copies and edits it.
//! - A stage ([`tokens`], [`pretrain`], [`finetune`]) is a pure function of its configuration and inputs. The [`store`] keeps it under the hash of both, resumes
//!   what was cut off, and never computes twice.
//! - [`grid`] runs many stages at a time; [`training`] is the loop inside them.
//! - [`stats`] turns end points of runs into forgetting at matched learning, intervals and verdicts; [`figures`] and [`report`] show them.
//! - [`tradeoff`] ties these together for claim C1, [`memorization`] for claim C5.
//!
//! A new experiment is a module like [`tradeoff`], a thin binary in `src/bin`, and a line in `src/bin/reproduce.rs`.

pub mod cli;
pub mod console;
pub mod corpus;
pub mod error;
pub mod figures;
pub mod finetune;
pub mod finished;
pub mod grid;
pub mod hash;
pub mod memorization;
pub mod memory;
pub mod ngram;
pub mod optimizer_pairs;
pub mod preset;
pub mod pretrain;
pub mod provenance;
pub mod report;
pub mod seeds;
pub mod stats;
pub mod store;
pub mod tasks;
pub mod tensorboard;
pub mod theory_figures;
pub mod tokens;
pub mod tradeoff;
mod tradeoff_report;
pub mod train_bench;
pub mod training;
