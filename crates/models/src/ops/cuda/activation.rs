//! Elementwise kernels: GELU, SwiGLU and conversions.

use candle_core::{DType, Result, Tensor};

use super::{Count, File, Launch, Source, Target, launch, suffix, uninitialised};

const THREADS: usize = 256;
/// Values that a thread takes (`PACK` in `common.cuh`).
const PACK: usize = 4;

/// The launch of an elementwise kernel over the elements of `tensor`.
pub(super) fn over_elements<'a>(tensor: &'a Tensor, kernel: &'a str) -> Launch<'a> {
    let grid = [tensor.elem_count().div_ceil(THREADS * PACK), 1, 1];
    Launch { device: tensor.device(), file: File::Elementwise, kernel, grid, block: [THREADS, 1, 1], shared: 0 }
}

/// `tensor` in another type, by the kernel of this name.
pub(super) fn convert(tensor: &Tensor, kernel: &str, dtype: DType) -> Result<Source> {
    let source = Source::new(tensor)?;
    let (converted, target) = uninitialised(dtype, tensor.shape(), tensor.device())?;
    launch!(over_elements(tensor, kernel), target, &source, Count(tensor.elem_count()))?;
    Source::new(&converted)
}

pub(in crate::ops) fn gelu(x: &Tensor) -> Result<Tensor> {
    let source = Source::new(x)?;
    let (y, target) = uninitialised(x.dtype(), x.shape(), x.device())?;
    let kernel = format!("gelu_{}", suffix(x.dtype()));
    launch!(over_elements(x, &kernel), target, &source, Count(x.elem_count()))?;
    Ok(y)
}

pub(in crate::ops) fn gelu_backward(x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let (source, gradient) = (Source::new(x)?, Source::of(dy, x.dtype())?);
    let (dx, target) = uninitialised(x.dtype(), x.shape(), x.device())?;
    let kernel = format!("gelu_backward_{}", suffix(x.dtype()));
    launch!(over_elements(x, &kernel), target, &source, &gradient, Count(x.elem_count()))?;
    Ok(dx)
}

pub(in crate::ops) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let (g, u) = (Source::new(gate)?, Source::of(up, gate.dtype())?);
    let (y, target) = uninitialised(gate.dtype(), gate.shape(), gate.device())?;
    let kernel = format!("swiglu_{}", suffix(gate.dtype()));
    launch!(over_elements(gate, &kernel), target, &g, &u, Count(gate.elem_count()))?;
    Ok(y)
}

pub(in crate::ops) fn swiglu_backward(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    let dtype = gate.dtype();
    let (g, u, gradient) = (Source::new(gate)?, Source::of(up, dtype)?, Source::of(dy, dtype)?);
    let (d_gate, gate_target) = uninitialised(dtype, gate.shape(), gate.device())?;
    let (d_up, up_target) = uninitialised(dtype, up.shape(), up.device())?;
    let kernel = format!("swiglu_backward_{}", suffix(dtype));
    let count = Count(gate.elem_count());
    launch!(over_elements(gate, &kernel), gate_target, up_target, &g, &u, &gradient, count)?;
    Ok((d_gate, d_up))
}

/// alpha a + beta b in `f32`.
pub(in crate::ops) fn scaled_add(a: &Tensor, alpha: f32, b: &Tensor, beta: f32) -> Result<Tensor> {
    let (x, y) = (Source::of(a, DType::F32)?, Source::of(b, DType::F32)?);
    let (sum, target) = uninitialised(DType::F32, a.shape(), a.device())?;
    launch!(over_elements(a, "scaled_add"), target, &x, alpha, &y, beta, Count(a.elem_count()))?;
    Ok(sum)
}

/// `residual` + `bias` in every row, either of which may be absent: what a product is then added to, in `target`, a
/// tensor like `out`.
pub(super) fn row_start(out: &Tensor, target: Target, residual: Option<&Source>, bias: Option<&Source>) -> Result<()> {
    let kernel = format!("row_start_{}", suffix(out.dtype()));
    let columns = super::size(out.dim(1)?)?;
    launch!(over_elements(out, &kernel), target, residual, bias, Count(out.elem_count()), columns)
}
