//! Products of matrices.

use candle_core::{DType, Error, Result, Tensor};

use super::{File, Launch, Source, Target, activation, backend, factor_type, launch, size, suffix, uninitialised};
use crate::Precision;

/// Rows of a strip of partial column sums (`STRIP` in `norm.cu`).
pub(super) const STRIP: usize = 256;
/// The block of kernels that sum strips: 32 columns, 8 rows at a time.
pub(super) const STRIP_BLOCK: [usize; 3] = [32, 8, 1];
const THREADS: usize = 256;

/// Where the values of a matrix lie: rows `stride` apart, the matrices of a batch `step` apart, read as the transpose
/// if `transposed`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) address: u64,
    pub(super) stride: usize,
    pub(super) step: usize,
    pub(super) transposed: bool,
}

/// out <- keep out + scale left right for every matrix of a batch: `rows` x `inner` times `inner` x `columns`.
///
/// Addresses are those of live tensors that hold these matrices; with `keep` = 0 the old values are not read.
#[derive(Debug)]
#[cfg_attr(feature = "cuda-emulation", expect(dead_code, reason = "the emulation has one precision"))]
pub(super) struct Product {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) inner: usize,
    pub(super) batch: usize,
    pub(super) left: Place,
    pub(super) right: Place,
    pub(super) out: Place,
    /// The type of both factors.
    pub(super) factors: DType,
    pub(super) result: DType,
    pub(super) keep: f32,
    pub(super) scale: f32,
    pub(super) precision: Precision,
}

/// A factor of a product: a matrix, or a batch of them, possibly a part of its rows and columns, possibly read as the
/// transpose.
pub(super) struct Factor<'a> {
    source: &'a Source,
    batch: usize,
    rows: usize,
    columns: usize,
    stride: usize,
    step: usize,
    transposed: bool,
}

impl<'a> Factor<'a> {
    /// A tensor `[rows, columns]` or `[batch, rows, columns]`.
    pub(super) fn new(source: &'a Source) -> Result<Self> {
        let (batch, rows, columns) = match *source.tensor.dims() {
            [rows, columns] => (1, rows, columns),
            [batch, rows, columns] => (batch, rows, columns),
            ref dims => return Err(Error::Msg(format!("product: found a tensor {dims:?}, expected a matrix"))),
        };
        Ok(Self { source, batch, rows, columns, stride: columns, step: rows * columns, transposed: false })
    }

    /// The first rows and columns of the matrix.
    pub(super) fn corner(self, rows: usize, columns: usize) -> Self {
        Self { rows: rows.min(self.rows), columns: columns.min(self.columns), ..self }
    }

    /// The transpose; no value moves.
    pub(super) fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    /// The transpose if `turn`.
    pub(super) fn turned(self, turn: bool) -> Self {
        if turn { self.t() } else { self }
    }

    fn shape(&self) -> (usize, usize) {
        if self.transposed { (self.columns, self.rows) } else { (self.rows, self.columns) }
    }

    fn place(&self) -> Place {
        Place { address: self.source.address, stride: self.stride, step: self.step, transposed: self.transposed }
    }
}

/// out <- keep out + scale left right into `target`, where a tensor of `dtype` has rows without gaps.
pub(super) fn product(
    left: Factor<'_>,
    right: Factor<'_>,
    (target, dtype): (Target, DType),
    [keep, scale]: [f32; 2],
    precision: Precision,
) -> Result<()> {
    let ((rows, inner), (right_rows, columns)) = (left.shape(), right.shape());
    let factors = left.source.tensor.dtype();
    if inner != right_rows || left.batch != right.batch || factors != right.source.tensor.dtype() {
        return Err(Error::Msg(format!(
            "product: found {rows} x {inner} of {factors:?} times {right_rows} x {columns} of {:?}",
            right.source.tensor.dtype()
        )));
    }
    let batch = left.batch;
    if rows * columns * inner * batch == 0 {
        return Err(Error::Msg(format!("product: found {rows} x {inner} times {inner} x {columns}")));
    }
    let out = Place { address: target.0, stride: columns, step: rows * columns, transposed: false };
    let (device, left, right) = (left.source.tensor.device(), left.place(), right.place());
    let product =
        Product { rows, columns, inner, batch, left, right, out, factors, result: dtype, keep, scale, precision };
    backend::product(device, &product)
}

pub(in crate::ops) fn as_factor(x: &Tensor, precision: Precision) -> Result<Tensor> {
    Ok(Source::of(x, factor_type(precision))?.tensor)
}

/// y = x W^T (+ b) (+ residual), in the residual's type if there is one.
pub(in crate::ops) fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
    precision: Precision,
) -> Result<Tensor> {
    let kind = factor_type(precision);
    let dtype = residual.map_or(kind, Tensor::dtype);
    linear_into(x, weight, bias, residual, dtype, precision)
}

/// The logits in `f32`.
pub(in crate::ops) fn head_logits(hidden: &Tensor, weight: &Tensor, precision: Precision) -> Result<Tensor> {
    linear_into(hidden, weight, None, None, DType::F32, precision)
}

fn linear_into(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
    dtype: DType,
    precision: Precision,
) -> Result<Tensor> {
    let kind = factor_type(precision);
    let (tokens, outputs) = (x.dim(0)?, weight.dim(0)?);
    if bias.is_some_and(|bias| bias.dims() != [outputs])
        || residual.is_some_and(|residual| residual.dims() != [tokens, outputs])
    {
        return Err(Error::Msg(format!("linear: a bias or residual does not fit [{tokens}, {outputs}]")));
    }
    let (x, w) = (Source::of(x, kind)?, Source::of(weight, kind)?);
    let (y, target) = uninitialised(dtype, (tokens, outputs), weight.device())?;
    let (bias, residual) = (Source::optional(bias, DType::F32)?, Source::optional(residual, dtype)?);
    let keep = if bias.is_some() || residual.is_some() {
        activation::row_start(&y, target, residual.as_ref(), bias.as_ref())?;
        1.0
    } else {
        0.0
    };
    product(Factor::new(&x)?, Factor::new(&w)?.t(), (target, dtype), [keep, 1.0], precision)?;
    Ok(y)
}

/// The sum of dy W over all pairs; in `f32` if there is more than one, so that the sum is rounded once.
pub(in crate::ops) fn input_gradient(pairs: &[(&Tensor, &Tensor)], precision: Precision) -> Result<Tensor> {
    let kind = factor_type(precision);
    let Some((first_dy, first_weight)) = pairs.first() else {
        return Err(Error::Msg("input_gradient: no map given".into()));
    };
    let dtype = if pairs.len() == 1 { kind } else { DType::F32 };
    let (dx, target) = uninitialised(dtype, (first_dy.dim(0)?, first_weight.dim(1)?), first_dy.device())?;
    for (i, (dy, weight)) in pairs.iter().enumerate() {
        if dy.dim(0)? != dx.dim(0)? || weight.dims() != [dy.dim(1)?, dx.dim(1)?] {
            return Err(Error::Msg(format!(
                "input_gradient: found weight {:?} for a gradient {:?}",
                weight.dims(),
                dy.dims()
            )));
        }
        let (dy, w) = (Source::of(dy, kind)?, Source::of(weight, kind)?);
        let keep = if i == 0 { 0.0 } else { 1.0 };
        product(Factor::new(&dy)?, Factor::new(&w)?, (target, dtype), [keep, 1.0], precision)?;
    }
    Ok(dx)
}

/// dW = dy^T x in `f32`.
pub(in crate::ops) fn weight_gradient(dy: &Tensor, x: &Tensor, precision: Precision) -> Result<Tensor> {
    let kind = factor_type(precision);
    let (dy, x) = (Source::of(dy, kind)?, Source::of(x, kind)?);
    let shape = (dy.tensor.dim(1)?, x.tensor.dim(1)?);
    let (dw, target) = uninitialised(DType::F32, shape, dy.tensor.device())?;
    product(Factor::new(&dy)?.t(), Factor::new(&x)?, (target, DType::F32), [0.0, 1.0], precision)?;
    Ok(dw)
}

/// The column sums of dy in `f32`.
pub(in crate::ops) fn bias_gradient(dy: &Tensor) -> Result<Tensor> {
    let (rows, columns) = dy.dims2()?;
    let source = Source::new(dy)?;
    let strips = rows.div_ceil(STRIP);
    let (partial, partial_target) = uninitialised(DType::F32, (strips, columns), dy.device())?;
    let kernel = format!("column_sums_{}", suffix(dy.dtype()));
    let grid = [columns.div_ceil(STRIP_BLOCK[0]), strips, 1];
    let sums = Launch { device: dy.device(), file: File::Norm, kernel: &kernel, grid, block: STRIP_BLOCK, shared: 0 };
    launch!(sums, partial_target, &source, size(rows)?, size(columns)?)?;
    sum_strips(&partial)
}

/// The sum of the rows of `strips` `[strips, columns]`, in order.
pub(super) fn sum_strips(strips: &Tensor) -> Result<Tensor> {
    let (count, columns) = strips.dims2()?;
    let source = Source::new(strips)?;
    let (sum, target) = uninitialised(DType::F32, columns, strips.device())?;
    let grid = [columns.div_ceil(THREADS), 1, 1];
    let device = strips.device();
    let total = Launch { device, file: File::Norm, kernel: "sum_strips", grid, block: [THREADS, 1, 1], shared: 0 };
    launch!(total, target, &source, size(count)?, size(columns)?)?;
    Ok(sum)
}
