//! P3: how much a structured update forgets, and the phase diagram in which Adam's and Muon's updates change places.
//!
//! In the book: [the derivations](../../../book/theory/structured-updates.html).
//!
//! A pretrained linear layer sees activations with second moment S. Finetuning it on n samples of a new task changes it
//! by dW and costs forgetting tr(dW S dW^T). Each optimizer runs over a grid of learning rates; its forgetting is the
//! least among all points of all its runs at which the task loss has fallen to a given share.

mod finetune;
mod oracle;
mod phase;
mod task;

pub use finetune::{FinetuneParams, Finetuner, GridSpec, RateGrid};
pub use oracle::oracle_forgetting;
pub use phase::{CellResult, PhaseCell, PhaseParams, PhaseSimulation, tie, tie_line};
pub use task::{Task, TaskFamily, Teacher};
