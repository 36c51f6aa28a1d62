//! The output head with softmax and cross-entropy, fused.
//!
//! The logits of a language model are its largest activation by far (`tokens * vocabulary`). Here they exist for
//! [`ROWS`] tokens at a time: a chunk is computed, turned into the loss and its own gradient, multiplied into the
//! gradients of the hidden states and of the head, and overwritten by the next.

use candle_core::{Error, Result, Tensor};

use super::product::{Compute, Matrix, product};
use super::simd::{exp, max, sum, sum_pairs, vectorized};
use super::view::{not_empty, tensor, values};
use crate::Precision;

/// Tokens whose logits exist at one time.
const ROWS: usize = 256;

/// The target of a token that has none: padding, or a prompt that is only read.
pub const IGNORE: u32 = u32::MAX;

/// A sum of `f64` numbers. On a GPU it may still be under way: only who reads it waits for it.
#[derive(Debug, Clone)]
pub enum Sum {
    /// The sum.
    Known(f64),
    /// A tensor `[1]` of `f64` on a GPU that will hold it.
    Pending(Tensor),
}

impl Sum {
    /// The sum, after the work before it is done.
    ///
    /// # Errors
    /// If that work failed.
    pub fn value(&self) -> Result<f64> {
        match self {
            Self::Known(sum) => Ok(*sum),
            #[cfg(kernels)]
            Self::Pending(sum) => super::cuda::read_number(sum),
            #[cfg(not(kernels))]
            Self::Pending(sum) => sum.reshape(())?.to_scalar(),
        }
    }
}

/// The loss of a batch, and what backward needs.
#[derive(Debug, Clone)]
pub struct HeadLoss {
    /// The sum of -ln p(target) over the tokens that have a target, in nats.
    pub sum: Sum,
    /// How many tokens have a target.
    pub count: usize,
    /// The gradients of `scale * sum`, if they were asked for.
    pub gradients: Option<HeadGradients>,
}

/// The gradients of a fused head.
#[derive(Debug, Clone)]
pub struct HeadGradients {
    /// Of the hidden states `[tokens, features]`.
    pub hidden: Tensor,
    /// Of the head's weight `[vocabulary, features]`, if it is trained.
    pub weight: Option<Tensor>,
}

/// Which gradients a call of [`head_loss`] computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadBackward {
    /// The gradients are those of `scale * sum`; 1 / count makes them those of the mean.
    pub scale: f32,
    /// Whether the head's weight is trained.
    pub weight: bool,
}

fn check(hidden: &Tensor, weight: &Tensor) -> Result<(usize, usize, usize)> {
    let ((tokens, features), (vocabulary, width)) = (hidden.dims2()?, weight.dims2()?);
    if width != features {
        return Err(Error::Msg(format!("head: found {features} features, expected {width}")));
    }
    not_empty("head", &[tokens, features, vocabulary])?;
    Ok((tokens, features, vocabulary))
}

/// The logits `[tokens, vocabulary]` of `hidden` `[tokens, features]` under `weight` `[vocabulary, features]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn head_logits(hidden: &Tensor, weight: &Tensor, precision: Precision) -> Result<Tensor> {
    on_gpu!(weight, head_logits(hidden, weight, precision));
    super::matmul_transposed(hidden, weight, precision)
}

/// Cross-entropy of softmax(hidden W^T) against `targets`, and the gradients of `scale * sum` if `backward` asks for
/// them.
///
/// `hidden` is `[tokens, features]`, `weight` is `[vocabulary, features]`, `targets` has one entry a token: an id, or
/// [`IGNORE`].
///
/// # Errors
/// If the shapes do not fit or a target is neither below the vocabulary's size nor [`IGNORE`].
pub fn head_loss(
    hidden: &Tensor,
    weight: &Tensor,
    targets: &[u32],
    backward: Option<HeadBackward>,
    precision: Precision,
) -> Result<HeadLoss> {
    let (tokens, features, vocabulary) = check(hidden, weight)?;
    if targets.len() != tokens {
        return Err(Error::Msg(format!("head: found {} targets for {tokens} tokens", targets.len())));
    }
    if let Some(target) = targets.iter().find(|&&t| t != IGNORE && t as usize >= vocabulary) {
        return Err(Error::Msg(format!("head: found target {target}, the vocabulary has {vocabulary} entries")));
    }
    on_gpu!(weight, head_loss(hidden, weight, targets, backward, precision));
    let (h, w) = (values(hidden)?, values(weight)?);
    let mut logits = vec![0.0; ROWS.min(tokens) * vocabulary];
    let mut d_hidden = vec![0.0; if backward.is_some() { tokens * features } else { 0 }];
    let mut d_weight = vec![0.0; if backward.is_some_and(|g| g.weight) { vocabulary * features } else { 0 }];
    let (mut total, mut count) = (0.0, 0);
    for first in (0..tokens).step_by(ROWS) {
        let targets = &targets[first..tokens.min(first + ROWS)];
        if targets.iter().all(|&t| t == IGNORE) {
            continue;
        }
        let rows = targets.len();
        let chunk = &h[first * features..][..rows * features];
        let logits = &mut logits[..rows * vocabulary];
        let (chunk, weights) = (Matrix::new(chunk, rows, features), Matrix::new(&w, vocabulary, features));
        product(logits, vocabulary, 0.0, 1.0, chunk, weights.t(), Compute::on_pool(precision));
        let (sum, found) = softmax_rows(logits, vocabulary, targets, backward.map(|g| g.scale));
        total += sum;
        count += found;
        if backward.is_some() {
            let d_logits = Matrix::new(logits, rows, vocabulary);
            let d_chunk = &mut d_hidden[first * features..][..rows * features];
            product(d_chunk, features, 0.0, 1.0, d_logits, weights, Compute::on_pool(precision));
            if !d_weight.is_empty() {
                product(&mut d_weight, features, 1.0, 1.0, d_logits.t(), chunk, Compute::on_pool(precision));
            }
        }
    }
    let mut loss = HeadLoss { sum: Sum::Known(total), count, gradients: None };
    if let Some(backward) = backward {
        let weight = backward.weight.then(|| tensor(d_weight, (vocabulary, features))).transpose()?;
        loss.gradients = Some(HeadGradients { hidden: tensor(d_hidden, (tokens, features))?, weight });
    }
    Ok(loss)
}

/// The loss of rows of logits; with a `scale` the rows become scale * (softmax - one-hot target), zero where there is
/// no target.
fn softmax_rows(logits: &mut [f32], vocabulary: usize, targets: &[u32], scale: Option<f32>) -> (f64, usize) {
    use rayon::prelude::*;

    let one_row = |(row, &target): (&mut [f32], &u32)| match target {
        IGNORE => {
            row.fill(0.0);
            None
        }
        _ => Some(softmax_row(row, target as usize, scale)),
    };
    let losses: Vec<Option<f64>> = logits.par_chunks_exact_mut(vocabulary).zip(targets).map(one_row).collect();
    let count = losses.iter().flatten().count();
    (losses.iter().flatten().sum(), count)
}

vectorized! {
    /// The loss of one row; with a `scale` the row becomes its own gradient.
    fn softmax_row(row: &mut [f32], target: usize, scale: Option<f32>) -> f64 {
        let top = max(row);
        let chosen = row[target];
        let total = match scale {
            None => sum_pairs(row, row, |x, _| exp(x - top)),
            Some(scale) => {
                for x in row.iter_mut() {
                    *x = exp(*x - top);
                }
                let total = sum(row);
                let factor = scale / total;
                for x in row.iter_mut() {
                    *x *= factor;
                }
                row[target] -= scale;
                total
            }
        };
        f64::from(top - chosen) + f64::from(total).ln()
    }
}
