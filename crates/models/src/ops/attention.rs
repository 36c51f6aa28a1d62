//! Causal self-attention with grouped key and value heads.
//!
//! The heads are read in place from `[tokens, heads * width]`; nothing is transposed or copied. Queries go through in
//! blocks of [`BLOCK`] rows, each against the keys it may see, so that memory grows with the sequence's length and not
//! with its square, and the upper half of the score matrix is never computed. The backward computes the probabilities
//! again from the saved log-sum of each row (Dao et al., arXiv 2205.14135).

use candle_core::{Error, Result, Tensor};
use rayon::prelude::*;

use super::product::{Compute, Matrix, product};
use super::simd::{dot, exp, max, sum, vectorized};
use super::view::{tensor, values};
use crate::Precision;

/// Query rows that share one product with the keys.
const BLOCK: usize = 64;

/// One head's products are too small to gain from threads or from bf16, whose packing would cost more than it saves.
const COMPUTE: Compute = Compute::on_one_thread(Precision::F32);

/// How the rows of queries, keys and values divide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Sequences.
    pub batch: usize,
    /// Tokens in each sequence.
    pub time: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Features of one head.
    pub width: usize,
}

impl AttentionShape {
    fn check(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<()> {
        let tokens = self.batch * self.time;
        let wide = [tokens, self.heads * self.width];
        let narrow = [tokens, self.kv_heads * self.width];
        if self.kv_heads == 0 || !self.heads.is_multiple_of(self.kv_heads) {
            return Err(Error::Msg(format!("attention: {} heads in {} groups", self.heads, self.kv_heads)));
        }
        if q.dims() != wide || k.dims() != narrow || v.dims() != narrow {
            return Err(Error::Msg(format!(
                "attention: found q {:?}, k {:?}, v {:?}, expected {wide:?} and {narrow:?}",
                q.dims(),
                k.dims(),
                v.dims()
            )));
        }
        Ok(())
    }

    pub(super) fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// The blocks of query rows: (first row, number of rows, number of keys that the last row sees).
    fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let time = self.time;
        (0..time).step_by(BLOCK).map(move |first| {
            let end = (first + BLOCK).min(time);
            (first, end - first, end)
        })
    }
}

/// The gradients of attention's inputs, in the shapes of the inputs.
#[derive(Debug, Clone)]
pub struct AttentionGradients {
    /// Of the queries.
    pub q: Tensor,
    /// Of the keys.
    pub k: Tensor,
    /// Of the values.
    pub v: Tensor,
}

/// softmax(q k^T / sqrt(width)) v over each token's past and itself.
///
/// `q` is `[tokens, heads * width]`, `k` and `v` are `[tokens, kv_heads * width]`; query head h reads key head h *
/// kv_heads / heads. Returns the output in the shape of `q`, and the log-sum-exp of each row's scores, `[batch, heads,
/// time]`, for the backward.
///
/// # Errors
/// If the shapes do not fit.
pub fn causal_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: AttentionShape,
    _precision: Precision,
) -> Result<(Tensor, Tensor)> {
    shape.check(q, k, v)?;
    on_gpu!(q, causal_attention(q, k, v, shape));
    let AttentionShape { batch, time, heads, kv_heads, width } = shape;
    let (row, kv_row, scale) = (heads * width, kv_heads * width, shape.scale());
    let (q, k, v) = (values(q)?, values(k)?, values(v)?);
    let (q, k, v) = (&*q, &*k, &*v);
    let mut out = vec![0.0; batch * time * row];
    let mut log_sums = vec![0.0; batch * heads * time];
    out.par_chunks_mut(time * row).zip(log_sums.par_chunks_mut(heads * time)).enumerate().for_each(
        |(b, (out, log_sums))| {
            let mut scores = vec![0.0; BLOCK.min(time) * time];
            for head in 0..heads {
                let (at, kv_at) = (b * time * row + head * width, b * time * kv_row + head * kv_heads / heads * width);
                for (first, rows, keys) in shape.blocks() {
                    let scores = &mut scores[..rows * keys];
                    let queries = Matrix::strided(&q[at + first * row..], rows, width, row);
                    let keys_t = Matrix::strided(&k[kv_at..], keys, width, kv_row).t();
                    product(scores, keys, 0.0, scale, queries, keys_t, COMPUTE);
                    let start = head * time + first;
                    softmax_rows(scores, &mut log_sums[start..start + rows], first);
                    let probabilities = Matrix::new(scores, rows, keys);
                    let seen_values = Matrix::strided(&v[kv_at..], keys, width, kv_row);
                    let out = &mut out[first * row + head * width..];
                    product(out, row, 0.0, 1.0, probabilities, seen_values, COMPUTE);
                }
            }
        },
    );
    Ok((tensor(out, (batch * time, row))?, tensor(log_sums, (batch, heads, time))?))
}

/// The gradients of [`causal_attention`] from its inputs, its output, the saved log-sums and the gradient `d_out` of
/// the output.
///
/// With P the probabilities and D_i = <d_out_i, out_i>: dV = P^T d_out, dS = P * (d_out V^T - D), dQ = dS K /
/// sqrt(width), dK = dS^T Q / sqrt(width).
///
/// # Errors
/// If the shapes do not fit.
pub fn causal_attention_backward(
    [q, k, v]: [&Tensor; 3],
    out: &Tensor,
    log_sums: &Tensor,
    d_out: &Tensor,
    shape: AttentionShape,
    _precision: Precision,
) -> Result<AttentionGradients> {
    shape.check(q, k, v)?;
    shape.check(d_out, k, v)?;
    on_gpu!(q, causal_attention_backward([q, k, v], out, log_sums, d_out, shape));
    let AttentionShape { batch, time, heads, kv_heads, width } = shape;
    let (row, kv_row, scale) = (heads * width, kv_heads * width, shape.scale());
    let (q, k, v, out, d_out) = (values(q)?, values(k)?, values(v)?, values(out)?, values(d_out)?);
    let log_sums = values(log_sums)?;
    let (q, k, v, out, d_out, log_sums) = (&*q, &*k, &*v, &*out, &*d_out, &*log_sums);
    let mut dq = vec![0.0; batch * time * row];
    let (mut dk, mut dv) = (vec![0.0; batch * time * kv_row], vec![0.0; batch * time * kv_row]);
    dq.par_chunks_mut(time * row)
        .zip(dk.par_chunks_mut(time * kv_row))
        .zip(dv.par_chunks_mut(time * kv_row))
        .enumerate()
        .for_each(|(b, ((dq, dk), dv))| {
            let block = BLOCK.min(time);
            let (mut p, mut ds) = (vec![0.0; block * time], vec![0.0; block * time]);
            for head in 0..heads {
                let kv_column = head * kv_heads / heads * width;
                let (at, kv_at) = (b * time * row + head * width, b * time * kv_row + kv_column);
                for (first, rows, keys) in shape.blocks() {
                    let (p, ds) = (&mut p[..rows * keys], &mut ds[..rows * keys]);
                    let here = at + first * row;
                    let queries = Matrix::strided(&q[here..], rows, width, row);
                    let d_outs = Matrix::strided(&d_out[here..], rows, width, row);
                    let seen_keys = Matrix::strided(&k[kv_at..], keys, width, kv_row);
                    let seen_values = Matrix::strided(&v[kv_at..], keys, width, kv_row);
                    product(p, keys, 0.0, scale, queries, seen_keys.t(), COMPUTE);
                    product(ds, keys, 0.0, 1.0, d_outs, seen_values.t(), COMPUTE);
                    let means: Vec<f32> = (0..rows).map(|i| row_dot(d_out, out, here + i * row, width)).collect();
                    let start = (b * heads + head) * time + first;
                    score_gradients(p, ds, &log_sums[start..start + rows], &means, first, scale);
                    let (p, ds) = (Matrix::new(p, rows, keys), Matrix::new(ds, rows, keys));
                    let dq = &mut dq[first * row + head * width..];
                    product(dq, row, 0.0, 1.0, ds, seen_keys, COMPUTE);
                    product(&mut dk[kv_column..], kv_row, 1.0, 1.0, ds.t(), queries, COMPUTE);
                    product(&mut dv[kv_column..], kv_row, 1.0, 1.0, p.t(), d_outs, COMPUTE);
                }
            }
        });
    let tokens = batch * time;
    Ok(AttentionGradients {
        q: tensor(dq, (tokens, row))?,
        k: tensor(dk, (tokens, kv_row))?,
        v: tensor(dv, (tokens, kv_row))?,
    })
}

vectorized! {
    /// Softmax over the keys that each query sees (row i of a block that starts at query `first` sees `first` + i + 1);
    /// the rest becomes zero.
    fn softmax_rows(scores: &mut [f32], log_sums: &mut [f32], first: usize) {
        let keys = scores.len() / log_sums.len();
        for (i, (score, log_sum)) in scores.chunks_exact_mut(keys).zip(log_sums).enumerate() {
            let (seen, future) = score.split_at_mut(first + i + 1);
            let top = max(seen);
            for s in seen.iter_mut() {
                *s = exp(*s - top);
            }
            let total = sum(seen);
            let reciprocal = 1.0 / total;
            for s in seen.iter_mut() {
                *s *= reciprocal;
            }
            future.fill(0.0);
            *log_sum = top + total.ln();
        }
    }
}

vectorized! {
    /// From scores in `p` and d_out V^T in `ds`: the probabilities, and the gradients of the scores before their
    /// scaling by `scale`.
    fn score_gradients(p: &mut [f32], ds: &mut [f32], log_sums: &[f32], means: &[f32], first: usize, scale: f32) {
        let keys = p.len() / log_sums.len();
        let rows = p.chunks_exact_mut(keys).zip(ds.chunks_exact_mut(keys));
        for (i, ((p, ds), (log_sum, mean))) in rows.zip(log_sums.iter().zip(means)).enumerate() {
            let seen = first + i + 1;
            for (p, ds) in p[..seen].iter_mut().zip(&mut ds[..seen]) {
                *p = exp(*p - log_sum);
                *ds = *p * (*ds - mean) * scale;
            }
            p[seen..].fill(0.0);
            ds[seen..].fill(0.0);
        }
    }
}

vectorized! {
    /// The scalar product of `width` entries of `a` and `b` from `start` on.
    fn row_dot(a: &[f32], b: &[f32], start: usize, width: usize) -> f32 {
        dot(&a[start..start + width], &b[start..start + width])
    }
}
