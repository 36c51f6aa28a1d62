//! Numerical tests of the crate: against what PyTorch computed (`../vectors`), against finite differences of a plain
//! f64 implementation, and for equal bits. One binary, so that the tensor library is linked once.

mod checkpoints;
mod curvature;
mod determinism;
mod finite_differences;
mod first_step;
#[cfg(feature = "cuda-emulation")]
mod kernels;
mod model_differences;
mod optimizer_suite;
mod optimizers_torch;
mod parity_lora;
mod parity_transformers;
mod precision;
mod reference;
mod shapes;
mod support;
mod watch;
