//! Stages, run store, grids, statistics, figures and report.

pub mod cli;
pub mod corpus;
pub mod error;
pub mod figures;
pub mod finetune;
pub mod grid;
pub mod hash;
pub mod memory;
pub mod ngram;
pub mod preset;
pub mod pretrain;
pub mod provenance;
pub mod report;
pub mod seeds;
pub mod stats;
pub mod store;
pub mod tasks;
pub mod tokens;
pub mod tradeoff;
mod tradeoff_report;
pub mod training;
