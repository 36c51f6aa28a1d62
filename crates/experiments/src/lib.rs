//! Stages, run store, grids, statistics, figures and report.
