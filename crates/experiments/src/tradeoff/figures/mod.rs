//! The figures of `tradeoff`.

mod consistency;
mod curves;
mod matched;
mod tradeoff;

pub use consistency::Consistency;
pub use curves::{Curve, Curves};
pub use matched::Matched;
pub use tradeoff::{AlongRun, Tradeoff};
