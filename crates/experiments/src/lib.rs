//! Stages, run store, grid runner, statistics, figures and report.

pub mod corpus;
pub mod grid;
pub mod store;
