//! The output head with softmax and cross-entropy.

use candle_core::{DType, Device, Result, Tensor};

use super::linear::{Factor, product};
use super::{File, Launch, Source, Target, factor_type, launch, size, suffix, uninitialised, upload};
use crate::Precision;
use crate::ops::loss::{HeadBackward, HeadGradients, HeadLoss, IGNORE, Sum};

const THREADS: usize = 256;

/// Logits that exist at one time: 512 MiB of `f32`.
const LOGITS: usize = 1 << 27;

/// The vocabulary is padded to a multiple of this many entries, so that rows of logits begin where tensor cores read
/// fast.
const PADDING: usize = 64;

fn one_block<'a>(device: &'a Device, file: File, kernel: &'a str) -> Launch<'a> {
    Launch { device, file, kernel, grid: [1, 1, 1], block: [THREADS, 1, 1], shared: 0 }
}

/// `tensor` with rows of zeros behind its own, `rows` in all.
fn padded(tensor: &Tensor, rows: usize) -> Result<Tensor> {
    match rows - tensor.dim(0)? {
        0 => Ok(tensor.clone()),
        more => Tensor::cat(&[tensor, &Tensor::zeros((more, tensor.dim(1)?), tensor.dtype(), tensor.device())?], 0),
    }
}

/// The logits of a chunk of tokens are computed, turned into losses and their own gradients, and multiplied into the
/// gradients of hidden states and head.
pub(in crate::ops) fn head_loss(
    hidden: &Tensor,
    weight: &Tensor,
    targets: &[u32],
    backward: Option<HeadBackward>,
    precision: Precision,
) -> Result<HeadLoss> {
    let ((tokens, features), vocabulary) = (hidden.dims2()?, weight.dim(0)?);
    let device = hidden.device();
    let kind = factor_type(precision);
    let stride = vocabulary.next_multiple_of(PADDING);
    let rows = (LOGITS / stride).max(256) / 128 * 128;
    let h = Source::of(hidden, kind)?;
    let w = Source::new(&padded(&Source::of(weight, kind)?.tensor, stride)?)?;
    let (losses, losses_target) = uninitialised(DType::F32, tokens, device)?;
    let (logits, logits_target) = uninitialised(DType::F32, (rows.min(tokens), stride), device)?;
    let logits = Source::new(&logits)?;
    let gradients = match backward {
        None => None,
        Some(backward) => {
            let (d_logits, d_logits_target) = uninitialised(kind, (rows.min(tokens), stride), device)?;
            let (d_hidden, d_hidden_target) = uninitialised(kind, (tokens, features), device)?;
            let d_weight = match backward.weight {
                true => Some(Tensor::zeros((vocabulary, features), DType::F32, device)?),
                false => None,
            };
            Some((backward, Source::new(&d_logits)?, d_logits_target, d_hidden, d_hidden_target, d_weight))
        }
    };
    let kernel = format!("softmax_loss_{}", suffix(kind));
    let target_ids = upload(targets, device)?;
    for first in (0..tokens).step_by(rows) {
        let count = rows.min(tokens - first);
        let chunk = Source::new(&h.tensor.narrow(0, first, count)?)?;
        product(Factor::new(&chunk)?, Factor::new(&w)?.t(), (logits_target, DType::F32), [0.0, 1.0], precision)?;
        let at = |target: Target, row: usize, size: usize| Target(target.0 + (row * size) as u64);
        let (d_logits_target, scale) = match &gradients {
            Some((backward, _, target, ..)) => (*target, backward.scale),
            None => (Target::NONE, 0.0),
        };
        let grid = [count, 1, 1];
        let softmax = Launch { device, file: File::Loss, kernel: &kernel, grid, block: [THREADS, 1, 1], shared: 0 };
        launch!(
            softmax,
            at(losses_target, first, DType::F32.size_in_bytes()),
            d_logits_target,
            &logits,
            at(Target(target_ids.address), first, DType::U32.size_in_bytes()),
            size(vocabulary)?,
            size(stride)?,
            scale,
        )?;
        if let Some((_, d_logits, _, _, d_hidden_target, d_weight)) = &gradients {
            let d_chunk = at(*d_hidden_target, first, features * kind.size_in_bytes());
            let left = Factor::new(d_logits)?.corner(count, stride);
            product(left, Factor::new(&w)?, (d_chunk, kind), [0.0, 1.0], precision)?;
            if let Some(d_weight) = d_weight {
                let left = Factor::new(d_logits)?.corner(count, vocabulary).t();
                let target = (Target::of(d_weight)?, DType::F32);
                product(left, Factor::new(&chunk)?, target, [1.0, 1.0], precision)?;
            }
        }
    }
    let (sum, sum_target) = uninitialised(DType::F64, 1, device)?;
    let total = one_block(device, File::Loss, "sum_f32");
    launch!(total, sum_target, &Source::new(&losses)?, size(tokens)?)?;
    let gradients = gradients.map(|(.., d_hidden, _, d_weight)| HeadGradients { hidden: d_hidden, weight: d_weight });
    let count = targets.iter().filter(|&&target| target != IGNORE).count();
    Ok(HeadLoss { sum: Sum::Pending(sum), count, gradients })
}
