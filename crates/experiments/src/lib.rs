//! Stages, run store, grid runner, statistics, figures and report.

pub mod corpus;
pub mod figures;
pub mod grid;
pub mod report;
pub mod stats;
pub mod store;
