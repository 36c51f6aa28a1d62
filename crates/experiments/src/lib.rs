//! Stages, run store, grids, statistics, figures and report.

pub mod corpus;
pub mod grid;
pub mod store;
