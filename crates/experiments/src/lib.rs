//! Stages, run store, grid runner, statistics, figures and report.

pub mod store;
