//! The closed loop: pretrain linear networks with each optimizer, finetune every checkpoint with each optimizer, and
//! see whether the matched one forgets least.
//!
//! In the book: [the derivations](../../../book/theory/closed-loop.html).
//!
//! Two layers or more. Every run of one seed starts from the same weights on the same data; only the optimizer differs.

mod params;
mod result;
mod simulation;

pub use params::{ClosedLoopParams, Phase};
pub use result::{Checkpoint, ClosedLoopResult, SeedResult};
pub use simulation::ClosedLoopSimulation;
