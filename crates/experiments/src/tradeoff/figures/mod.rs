//! The figures of `tradeoff`.

mod consistency;
mod curves;
mod matched;
mod tradeoff;

pub(super) use consistency::Consistency;
pub(super) use curves::{Curve, Curves};
pub(super) use matched::Matched;
pub(super) use tradeoff::{AlongRun, Tradeoff};
