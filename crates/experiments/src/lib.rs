//! Stages, run store, grids, statistics, figures and report.

pub mod figures;
pub mod report;
pub mod stats;
