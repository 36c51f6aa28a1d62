//! Numerical tests of the crate: against what PyTorch computed (`../vectors`), against finite differences of a plain f64
//! implementation, and for equal bits. One binary, so that the tensor library is linked once.

mod finite_differences;
mod reference;
mod support;
