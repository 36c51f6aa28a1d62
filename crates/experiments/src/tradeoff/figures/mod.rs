//! The figures of `tradeoff`.

mod consistency;
mod curves;
mod matched;
mod readings;
mod tradeoff;

pub use consistency::Consistency;
pub use curves::{Curve, Curves};
pub use matched::Matched;
pub use readings::readings;
pub use tradeoff::{AlongRun, Tradeoff};
