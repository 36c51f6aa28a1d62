//! The operations on an NVIDIA GPU.
//!
//! Every function here is the twin of one in [`ops`](super) for tensors that lie on a GPU: the same arguments, the same
//! results up to rounding. The public operation checks shapes and hands over (`on_gpu!`). Kernels are in
//! `kernels/*.cu`, products of matrices are cuBLAS's.
//!
//! With [`Precision::Bf16`] what only a product or a nonlinearity reads is stored as bf16 (outputs of norms, of linear
//! maps without a residual, attention); the residual stream, weights, their gradients and the optimizers' state are
//! `f32`. With the other precisions everything is `f32`.
//!
//! No kernel uses atomics: sums have a fixed order, and a run gives the same bits again on the same GPU.
//!
//! With the feature `cuda-emulation` the same host code and the same kernels run on the processor (`emulated.rs`),
//! where tests compare them with the CPU's operations; otherwise `device.rs` talks to the GPU.

mod activation;
mod attention;
mod embedding;
mod linear;
mod loss;
mod norm;
mod optimizer;

#[cfg(not(feature = "cuda-emulation"))]
mod device;
#[cfg(not(feature = "cuda-emulation"))]
use device as backend;

#[cfg(feature = "cuda-emulation")]
mod emulated;
#[cfg(feature = "cuda-emulation")]
use emulated as backend;

use candle_core::{DType, Device, Error, Result, Shape, Tensor};

pub(super) use activation::{gelu, gelu_backward, scaled_add, swiglu, swiglu_backward};
pub(super) use attention::{causal_attention, causal_attention_backward};
pub(crate) use backend::{is_gpu, read_number};
pub(super) use embedding::{add_rows, embed, position_gradient, rotate};
#[cfg(feature = "cuda-emulation")]
pub use emulated::emulate;
pub(super) use linear::{as_factor, bias_gradient, head_logits, input_gradient, linear, weight_gradient};
pub(super) use loss::head_loss;
pub(super) use norm::{norm, norm_backward};
pub(crate) use optimizer::{adamw, muon, orthogonalize, sgd, sum_of_squares};

use crate::Precision;

/// A kernel's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Elementwise,
    Norm,
    Embedding,
    Loss,
    AttentionF32,
    AttentionBf16,
    Optimizer,
}

/// One launch: blocks of threads, bytes of shared memory, and whose memory the kernel works on.
#[cfg_attr(feature = "cuda-emulation", expect(dead_code, reason = "the emulation has one device"))]
struct Launch<'a> {
    device: &'a Device,
    file: File,
    kernel: &'a str,
    grid: [usize; 3],
    block: [usize; 3],
    shared: usize,
}

/// An argument of a kernel, whatever its type: its bytes, lowest first.
#[derive(Debug, Clone, Copy)]
struct Argument(u64);

impl From<u32> for Argument {
    fn from(value: u32) -> Self {
        Self(value.into())
    }
}

impl From<bool> for Argument {
    fn from(value: bool) -> Self {
        Self(value.into())
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Self {
        Self(value.to_bits().into())
    }
}

impl From<&Source> for Argument {
    fn from(source: &Source) -> Self {
        Self(source.address)
    }
}

impl From<Option<&Source>> for Argument {
    fn from(source: Option<&Source>) -> Self {
        Self(source.map_or(0, |source| source.address))
    }
}

impl From<Target> for Argument {
    fn from(target: Target) -> Self {
        Self(target.0)
    }
}

/// A count of elements, 64 bits wide in every kernel that takes one.
#[derive(Clone, Copy)]
struct Count(usize);

impl From<Count> for Argument {
    fn from(count: Count) -> Self {
        Self(count.0 as u64)
    }
}

/// A number of rows, columns or blocks, 32 bits wide in a kernel.
///
/// # Errors
/// If it does not fit.
fn size(value: usize) -> Result<u32> {
    u32::try_from(value)
        .map_err(|_| Error::Msg(format!("a kernel's dimension: found {value}, expected at most 2^32 - 1")))
}

/// A tensor that a kernel reads: contiguous, at an address that is a multiple of 16.
struct Source {
    tensor: Tensor,
    address: u64,
}

impl Source {
    fn new(tensor: &Tensor) -> Result<Self> {
        let tensor = tensor.contiguous()?;
        let address = backend::read_address(&tensor)?;
        if address % 16 == 0 {
            return Ok(Self { tensor, address });
        }
        // Memory of its own begins at such an address.
        let tensor = tensor.force_contiguous()?;
        let address = backend::read_address(&tensor)?;
        match address % 16 {
            0 => Ok(Self { tensor, address }),
            _ => Err(Error::Msg(format!("a tensor's address: found {address:#x}, expected a multiple of 16"))),
        }
    }

    /// The tensor in `dtype`, converted if it has another.
    fn of(tensor: &Tensor, dtype: DType) -> Result<Self> {
        match (tensor.dtype(), dtype) {
            (found, wanted) if found == wanted => Self::new(tensor),
            (DType::F32, DType::BF16) => activation::convert(tensor, "to_bf16", dtype),
            (DType::BF16, DType::F32) => activation::convert(tensor, "to_f32", dtype),
            (found, wanted) => Err(Error::Msg(format!("found a tensor of {found:?}, expected {wanted:?}"))),
        }
    }

    fn optional(tensor: Option<&Tensor>, dtype: DType) -> Result<Option<Self>> {
        tensor.map(|tensor| Self::of(tensor, dtype)).transpose()
    }
}

/// The address of a tensor that a kernel writes; the tensor must live until the launch.
#[derive(Debug, Clone, Copy)]
struct Target(u64);

impl Target {
    const NONE: Self = Self(0);

    fn of(tensor: &Tensor) -> Result<Self> {
        backend::write_address(tensor).map(Self)
    }
}

/// A tensor whose values are not set, and where to write them.
fn uninitialised(dtype: DType, shape: impl Into<Shape>, device: &Device) -> Result<(Tensor, Target)> {
    let tensor = backend::uninitialised(&shape.into(), dtype, device)?;
    let target = Target::of(&tensor)?;
    Ok((tensor, target))
}

/// Values of the host on the device. A launch that reads them may come right after: both are in the device's one queue.
fn upload<T: candle_core::WithDType>(values: &[T], device: &Device) -> Result<Source> {
    Source::new(&Tensor::from_slice(values, values.len(), device)?)
}

/// The type of what products read.
fn factor_type(precision: Precision) -> DType {
    match precision {
        Precision::F32 | Precision::Tf32 => DType::F32,
        Precision::Bf16 => DType::BF16,
    }
}

/// The end of a kernel's name.
fn suffix(dtype: DType) -> &'static str {
    if dtype == DType::BF16 { "bf16" } else { "f32" }
}

/// Launches a kernel with these arguments.
macro_rules! launch {
    ($launch:expr, $($argument:expr),* $(,)?) => {
        $crate::ops::cuda::backend::launch(&$launch, &[$($crate::ops::cuda::Argument::from($argument)),*])
    };
}
use launch;
