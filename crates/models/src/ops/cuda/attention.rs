//! Causal attention: on the tensor cores for bf16, in plain `f32` otherwise.

use candle_core::{DType, Device, Error, Result, Tensor};

use super::{File, Launch, Source, launch, size, suffix, uninitialised};
use crate::ops::attention::{AttentionGradients, AttentionShape};

const THREADS: usize = 128;
/// Head widths that kernels are compiled for; others take the next, padded with zeros.
const WIDTHS: [usize; 3] = [32, 64, 128];

/// A kind of kernel: its type, tile and shared memory.
struct Kind {
    dtype: DType,
    padded: usize,
}

impl Kind {
    fn of(dtype: DType, shape: AttentionShape) -> Result<Self> {
        let padded = WIDTHS.into_iter().find(|&padded| shape.width <= padded);
        let padded = padded.ok_or_else(|| {
            Error::Msg(format!("attention: found heads of width {}, expected at most 128 on a GPU", shape.width))
        })?;
        Ok(Self { dtype, padded })
    }

    /// Rows of queries or keys of a block (`TILE` in the kernels).
    fn tile(&self) -> usize {
        if self.dtype == DType::BF16 { 64 } else { 32 }
    }

    /// Bytes of `tiles` tiles of rows, and of `squares` f32 tiles of scores.
    fn shared(&self, tiles: usize, squares: usize) -> usize {
        match self.dtype {
            DType::BF16 => tiles * self.tile() * (self.padded + 8) * 2,
            _ => (tiles * self.tile() * (self.padded + 1) + squares * self.tile() * (self.tile() + 1)) * 4,
        }
    }

    fn kernel(&self, name: &str) -> String {
        format!("{name}_{}_{}", suffix(self.dtype), self.padded)
    }

    fn launch<'a>(
        &self,
        device: &'a Device,
        kernel: &'a str,
        heads: usize,
        shape: AttentionShape,
        shared: usize,
    ) -> Launch<'a> {
        let file = if self.dtype == DType::BF16 { File::AttentionBf16 } else { File::AttentionF32 };
        let grid = [shape.time.div_ceil(self.tile()), heads, shape.batch];
        Launch { device, file, kernel, grid, block: [THREADS, 1, 1], shared }
    }
}

/// What the kernels know of the shape.
fn numbers(shape: AttentionShape) -> Result<([u32; 4], f32)> {
    let numbers = [size(shape.time)?, size(shape.heads)?, size(shape.kv_heads)?, size(shape.width)?];
    Ok((numbers, shape.scale()))
}

pub(in crate::ops) fn causal_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: AttentionShape,
) -> Result<(Tensor, Tensor)> {
    let device = q.device();
    let kind = Kind::of(q.dtype(), shape)?;
    let (q, k, v) = (Source::new(q)?, Source::of(k, kind.dtype)?, Source::of(v, kind.dtype)?);
    let (out, out_target) = uninitialised(kind.dtype, q.tensor.shape(), device)?;
    let (log_sums, log_sums_target) = uninitialised(DType::F32, (shape.batch, shape.heads, shape.time), device)?;
    let ([time, heads, kv_heads, width], scale) = numbers(shape)?;
    let name = kind.kernel("attention");
    let forward = kind.launch(device, &name, shape.heads, shape, kind.shared(3, 1));
    launch!(forward, out_target, log_sums_target, &q, &k, &v, time, heads, kv_heads, width, scale)?;
    Ok((out, log_sums))
}

pub(in crate::ops) fn causal_attention_backward(
    [q, k, v]: [&Tensor; 3],
    out: &Tensor,
    log_sums: &Tensor,
    d_out: &Tensor,
    shape: AttentionShape,
) -> Result<AttentionGradients> {
    let device = q.device();
    let kind = Kind::of(q.dtype(), shape)?;
    let dtype = kind.dtype;
    let (q, k, v) = (Source::new(q)?, Source::of(k, dtype)?, Source::of(v, dtype)?);
    let (out, d_out, log_sums) =
        (Source::of(out, dtype)?, Source::of(d_out, dtype)?, Source::of(log_sums, DType::F32)?);
    let ([time, heads, kv_heads, width], scale) = numbers(shape)?;

    let (dots, dots_target) = uninitialised(DType::F32, log_sums.tensor.shape(), device)?;
    let name = format!("attention_dots_{}", suffix(dtype));
    let grid = [shape.time.div_ceil(THREADS / 32), shape.heads, shape.batch];
    let row_dots = Launch { device, file: File::AttentionF32, kernel: &name, grid, block: [THREADS, 1, 1], shared: 0 };
    launch!(row_dots, dots_target, &d_out, &out, time, heads, kv_heads, width, scale)?;
    let dots = Source::new(&dots)?;

    let (dq, dq_target) = uninitialised(dtype, q.tensor.shape(), device)?;
    let name = kind.kernel("attention_dq");
    let queries = kind.launch(device, &name, shape.heads, shape, kind.shared(4, 1));
    launch!(queries, dq_target, &q, &k, &v, &log_sums, &dots, &d_out, time, heads, kv_heads, width, scale)?;

    let (dk, dk_target) = uninitialised(dtype, k.tensor.shape(), device)?;
    let (dv, dv_target) = uninitialised(dtype, v.tensor.shape(), device)?;
    let name = kind.kernel("attention_dkv");
    let keys = kind.launch(device, &name, shape.kv_heads, shape, kind.shared(4, 2));
    launch!(keys, dk_target, dv_target, &q, &k, &v, &log_sums, &dots, &d_out, time, heads, kv_heads, width, scale)?;
    Ok(AttentionGradients { q: dq, k: dk, v: dv })
}
