//! Causal self-attention with grouped key and value heads.
//!
//! Queries are read in place from `[tokens, heads * width]`; one head's keys and values are packed once for all of its
//! queries. These go through in blocks of [`BLOCK`] rows, so that memory grows with the sequence's length and not with
//! its square, and every tile of a block leaves out what lies in its future. The backward computes the probabilities
//! again from the saved log-sum of each row (Dao et al., arXiv 2205.14135). Heads of one sequence that share no keys
//! are independent: they are what threads divide.

use std::cell::RefCell;
use std::ops::Range;

use candle_core::{Error, Result, Tensor};
use rayon::prelude::*;

use super::product::{Extent, Matrix, Panels, ROWS, Target};
use super::simd::{LANES, dot, exp, max, sum, vectorized};
use super::view::{not_empty, tensor, values};
use crate::Precision;

/// Query rows whose scores exist at one time.
const BLOCK: usize = 64;

/// Masks reach to the end of a register, which must not lie before the end of a tile.
const _: () = assert!(LANES.is_multiple_of(ROWS) && BLOCK.is_multiple_of(ROWS));

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
        not_empty("attention", &[self.batch, self.time, self.heads, self.kv_heads, self.width])?;
        let tokens = self.batch * self.time;
        let wide = [tokens, self.heads * self.width];
        let narrow = [tokens, self.kv_heads * self.width];
        if !self.heads.is_multiple_of(self.kv_heads) {
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

    /// Scores from one row of a block to the next: whole registers.
    fn score_stride(&self) -> usize {
        self.time.next_multiple_of(LANES)
    }

    /// The heads of every sequence that read the same keys: (sequence, key head, query heads).
    fn groups(&self) -> impl IndexedParallelIterator<Item = (usize, usize, Range<usize>)> {
        let Self { batch, heads, kv_heads, .. } = *self;
        let shared = heads / kv_heads;
        (0..batch * kv_heads).into_par_iter().map(move |i| {
            let kv_head = i % kv_heads;
            (i / kv_heads, kv_head, kv_head * shared..(kv_head + 1) * shared)
        })
    }

    /// One head's rows of a sequence in a matrix of so many heads: `[time, width]`.
    fn head<'a>(&self, data: &'a [f32], sequence: usize, head: usize, heads: usize) -> Matrix<'a> {
        let start = sequence * self.time * heads * self.width + head * self.width;
        Matrix::strided(&data[start..], self.time, self.width, heads * self.width)
    }
}

/// A matrix `[tokens, heads * width]` whose heads are written by several threads.
struct Heads {
    data: *mut f32,
    length: usize,
    stride: usize,
}

// SAFETY: only `target` hands out its places, and its callers vouch that no two threads write one of them.
unsafe impl Sync for Heads {}

impl Heads {
    /// In the memory of a vector, which need not be initialised.
    fn new(values: &mut Vec<f32>, stride: usize) -> Self {
        Self { data: values.as_mut_ptr(), length: values.capacity(), stride }
    }

    /// Where the product for `rows` x `columns` values from a place on goes.
    fn target(&self, [row, column]: [usize; 2], [rows, columns]: [usize; 2], keep: f32) -> Target {
        let start = row * self.stride + column;
        assert!(start + (rows - 1) * self.stride + columns <= self.length, "a head exceeds its matrix");
        Target::new(self.data.wrapping_add(start), self.stride, keep, 1.0)
    }
}

/// What one thread needs for one head.
struct Scratch {
    /// The head's factors in panels, and those of a block of queries.
    factors: [Panels; 3],
    of_block: [Panels; 2],
    /// Scores and their gradients, `[BLOCK, score_stride]`.
    scores: [Vec<f32>; 2],
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const {
        RefCell::new(Scratch {
            factors: [const { Panels::new() }; 3],
            of_block: [const { Panels::new() }; 2],
            scores: [Vec::new(), Vec::new()],
        })
    };
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
    let (row, scale, stride) = (heads * width, shape.scale(), shape.score_stride());
    let (q, k, v) = (values(q)?, values(k)?, values(v)?);
    let (q, k, v) = (&*q, &*k, &*v);
    let mut out = Vec::with_capacity(batch * time * row);
    let mut log_sums = vec![0.0; batch * heads * time];
    let outputs = Heads::new(&mut out, row);
    log_sums.par_chunks_mut(heads / kv_heads * time).zip(shape.groups()).for_each(|(log_sums, (b, kv_head, group))| {
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { factors: [keys, seen_values, ..], scores: [scores, _], .. } = scratch;
            scores.resize(BLOCK * stride, 0.0);
            keys.pack(shape.head(k, b, kv_head, kv_heads).t());
            seen_values.pack(shape.head(v, b, kv_head, kv_heads));
            for (head, log_sums) in group.zip(log_sums.chunks_exact_mut(time)) {
                let queries = shape.head(q, b, head, heads);
                for (first, rows, end) in shape.blocks() {
                    let seen = |row: usize| end.min(first + row + ROWS);
                    let queries = queries.row_range(first..end);
                    let all = |row| Extent { columns: seen(row), inner: 0..width };
                    keys.multiply(scores, stride, [0.0, scale], queries, all);
                    softmax_rows(scores, stride, &mut log_sums[first..end], first);
                    let out = outputs.target([b * time + first, head * width], [rows, width], 0.0);
                    let probabilities = Matrix::strided(scores, rows, end, stride);
                    let past = |row| Extent { columns: width, inner: 0..seen(row) };
                    // SAFETY: inside the output; every head of every sequence is in one group.
                    unsafe { seen_values.multiply_into(out, probabilities, past) };
                }
            }
        });
    });
    // SAFETY: every head of every row has been written.
    unsafe { out.set_len(batch * time * row) };
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
    shape.check(out, k, v)?;
    let expected = [shape.batch, shape.heads, shape.time];
    if log_sums.dims() != expected {
        return Err(Error::Msg(format!("attention: found sums {:?}, expected {expected:?}", log_sums.dims())));
    }
    on_gpu!(q, causal_attention_backward([q, k, v], out, log_sums, d_out, shape));
    let AttentionShape { batch, time, heads, kv_heads, width } = shape;
    let (row, kv_row, scale, stride) = (heads * width, kv_heads * width, shape.scale(), shape.score_stride());
    let (q, k, v, out, d_out) = (values(q)?, values(k)?, values(v)?, values(out)?, values(d_out)?);
    let log_sums = values(log_sums)?;
    let (q, k, v, out, d_out, log_sums) = (&*q, &*k, &*v, &*out, &*d_out, &*log_sums);
    let mut dq = Vec::with_capacity(batch * time * row);
    let (mut dk, mut dv) = (vec![0.0; batch * time * kv_row], vec![0.0; batch * time * kv_row]);
    let [q_gradients, k_gradients, v_gradients] =
        [Heads::new(&mut dq, row), Heads::new(&mut dk, kv_row), Heads::new(&mut dv, kv_row)];
    shape.groups().for_each(|(b, kv_head, group)| {
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { factors, of_block: [block_queries, block_d_outs], scores: [p, ds] } = scratch;
            let [keys_t, values_t, keys] = factors;
            p.resize(BLOCK * stride, 0.0);
            ds.resize(BLOCK * stride, 0.0);
            let head_keys = shape.head(k, b, kv_head, kv_heads);
            keys_t.pack(head_keys.t());
            keys.pack(head_keys);
            values_t.pack(shape.head(v, b, kv_head, kv_heads).t());
            let [dk, dv] = [&k_gradients, &v_gradients]
                .map(|gradients| gradients.target([b * time, kv_head * width], [time, width], 1.0));
            for head in group {
                let (queries, d_outs) = (shape.head(q, b, head, heads), shape.head(d_out, b, head, heads));
                for (first, rows, end) in shape.blocks() {
                    let seen = |row: usize| end.min(first + row + ROWS);
                    let all = |row| Extent { columns: seen(row), inner: 0..width };
                    let (queries, d_outs) = (queries.row_range(first..end), d_outs.row_range(first..end));
                    keys_t.multiply(p, stride, [0.0, scale], queries, all);
                    values_t.multiply(ds, stride, [0.0, 1.0], d_outs, all);
                    let at = (b * time + first) * row + head * width;
                    let means: Vec<f32> = (0..rows).map(|i| row_dot(d_out, out, at + i * row, width)).collect();
                    let start = (b * heads + head) * time + first;
                    score_gradients([p, ds], stride, &log_sums[start..start + rows], &means, first, scale);

                    let dq = q_gradients.target([b * time + first, head * width], [rows, width], 0.0);
                    let (p, ds) = (Matrix::strided(p, rows, end, stride), Matrix::strided(ds, rows, end, stride));
                    let past = |row| Extent { columns: width, inner: 0..seen(row) };
                    // Queries before a key do not see it.
                    let later = |key: usize| Extent { columns: width, inner: key.saturating_sub(first)..rows };
                    block_queries.pack(queries);
                    block_d_outs.pack(d_outs);
                    // SAFETY: inside the gradients; every head of every sequence is in one group.
                    unsafe {
                        keys.multiply_into(dq, ds, past);
                        block_queries.multiply_into(dk, ds.t(), later);
                        block_d_outs.multiply_into(dv, p.t(), later);
                    }
                }
            }
        });
    });
    let tokens = batch * time;
    // SAFETY: every head of every row has been written.
    unsafe { dq.set_len(tokens * row) };
    Ok(AttentionGradients {
        q: tensor(dq, (tokens, row))?,
        k: tensor(dk, (tokens, kv_row))?,
        v: tensor(dv, (tokens, kv_row))?,
    })
}

vectorized! {
    /// Softmax over the keys that each query sees (row i of a block that starts at query `first` sees `first` + i + 1);
    /// the rest of its tile becomes zero. Rows are `stride` apart, in whole registers.
    fn softmax_rows(scores: &mut [f32], stride: usize, log_sums: &mut [f32], first: usize) {
        for (i, (row, log_sum)) in scores.chunks_exact_mut(stride).zip(log_sums).enumerate() {
            let seen = first + i + 1;
            let row = &mut row[..seen.next_multiple_of(LANES)];
            row[seen..].fill(f32::NEG_INFINITY);
            let top = max(row);
            for s in row.iter_mut() {
                *s = exp(*s - top);
            }
            let total = sum(row);
            let reciprocal = 1.0 / total;
            for s in row.iter_mut() {
                *s *= reciprocal;
            }
            *log_sum = top + total.ln();
        }
    }
}

vectorized! {
    /// From scores and d_out V^T: the probabilities, and the gradients of the scores before their scaling by `scale`.
    fn score_gradients(
        scores: [&mut [f32]; 2],
        stride: usize,
        log_sums: &[f32],
        means: &[f32],
        first: usize,
        scale: f32,
    ) {
        let [p, ds] = scores;
        let rows = p.chunks_exact_mut(stride).zip(ds.chunks_exact_mut(stride));
        // Copies: a reference might point into the rows, and every value would be read again.
        for (i, ((p, ds), (&log_sum, &mean))) in rows.zip(log_sums.iter().zip(means)).enumerate() {
            let seen = first + i + 1;
            let whole = seen.next_multiple_of(LANES);
            let (p, ds) = (&mut p[..whole], &mut ds[..whole]);
            p[seen..].fill(f32::NEG_INFINITY);
            ds[seen..].fill(0.0);
            for (p, ds) in p.iter_mut().zip(ds) {
                *p = exp(*p - log_sum);
                *ds = *p * (*ds - mean) * scale;
            }
        }
    }
}

vectorized! {
    /// The scalar product of `width` entries of `a` and `b` from `start` on.
    fn row_dot(a: &[f32], b: &[f32], start: usize, width: usize) -> f32 {
        dot(&a[start..start + width], &b[start..start + width])
    }
}
