//! What clipping gradients needs: their sum of squares, and scaling them.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::simd::{dot, vectorized};
use super::threads::{worth_dividing, written_in_parts};
use super::view::{tensor, values};

/// Values whose squares are summed in `f32`.
const BLOCK: usize = 4096;
/// Blocks that a thread takes at a time.
const BLOCKS: usize = 64;

vectorized! {
    /// The sum of squares of each [`BLOCK`] of `a`.
    fn squares_of_blocks(sums: &mut [f32], a: &[f32]) {
        for (sum, block) in sums.iter_mut().zip(a.chunks(BLOCK)) {
            *sum = dot(block, block);
        }
    }
}

vectorized! {
    fn scaled_values(y: &mut [MaybeUninit<f32>], x: &[f32], factor: f32) {
        for (y, x) in y.iter_mut().zip(x) {
            // As candle's: a zero has no sign.
            y.write(x * factor + 0.0);
        }
    }
}

/// The sum of squares of a slice, accumulated in `f64` a block at a time, for norms over millions of values.
pub(crate) fn sum_of_squares(a: &[f32]) -> f64 {
    let mut sums = vec![0.0; a.len().div_ceil(BLOCK)];
    match worth_dividing(a.len()) {
        true => sums
            .par_chunks_mut(BLOCKS)
            .zip(a.par_chunks(BLOCKS * BLOCK))
            .for_each(|(sums, a)| squares_of_blocks(sums, a)),
        false => squares_of_blocks(&mut sums, a),
    }
    sums.into_iter().fold(0.0, |total, sum| total + f64::from(sum))
}

/// `x` times `factor`.
///
/// # Errors
/// If `x` is not a contiguous `f32` tensor.
pub(crate) fn scaled(x: &Tensor, factor: f64) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return x * factor;
    }
    let input = values(x)?;
    // SAFETY: a value for each of the input.
    let [y] = unsafe { written_in_parts(input.len(), 1, |[y], part| scaled_values(y, &input[part], factor as f32)) };
    tensor(y, x.shape())
}
