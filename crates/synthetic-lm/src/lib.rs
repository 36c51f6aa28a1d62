//! Generated language tasks with exact oracles.
