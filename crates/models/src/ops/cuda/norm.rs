//! LayerNorm and RMSNorm.

use candle_core::{DType, Result, Tensor};

use super::linear::{STRIP, STRIP_BLOCK, sum_strips};
use super::{File, Launch, Source, factor_type, launch, size, suffix, uninitialised};
use crate::Precision;
use crate::ops::norm::{NormGradients, NormSaved};

/// Rows of a block: one warp each.
const ROWS: usize = 4;

fn over_rows<'a>(x: &'a Tensor, kernel: &'a str) -> Result<Launch<'a>> {
    let grid = [x.dim(0)?.div_ceil(ROWS), 1, 1];
    Ok(Launch { device: x.device(), file: File::Norm, kernel, grid, block: [32 * ROWS, 1, 1], shared: 0 })
}

/// The normalised rows in the type of what products read.
pub(in crate::ops) fn norm(
    x: &Tensor,
    gain: &Tensor,
    bias: Option<&Tensor>,
    eps: f64,
    centred: bool,
    precision: Precision,
) -> Result<(Tensor, NormSaved)> {
    let (tokens, features) = x.dims2()?;
    let dtype = factor_type(precision);
    let (source, gain, bias) =
        (Source::of(x, DType::F32)?, Source::of(gain, DType::F32)?, Source::optional(bias, DType::F32)?);
    let (y, target) = uninitialised(dtype, (tokens, features), x.device())?;
    let (mean, mean_target) = uninitialised(DType::F32, tokens, x.device())?;
    let (reciprocal, reciprocal_target) = uninitialised(DType::F32, tokens, x.device())?;
    let kernel = format!("norm_{}", suffix(dtype));
    launch!(
        over_rows(x, &kernel)?,
        target,
        mean_target,
        reciprocal_target,
        &source,
        &gain,
        bias.as_ref(),
        size(tokens)?,
        size(features)?,
        eps as f32,
        centred,
    )?;
    Ok((y, NormSaved { mean, reciprocal }))
}

pub(in crate::ops) fn norm_backward(
    x: &Tensor,
    gain: &Tensor,
    saved: &NormSaved,
    dy: &Tensor,
    residual: Option<&Tensor>,
    centred: bool,
) -> Result<NormGradients> {
    let (tokens, features) = x.dims2()?;
    let device = x.device();
    let (source, gain, gradient) = (Source::of(x, DType::F32)?, Source::of(gain, DType::F32)?, Source::new(dy)?);
    let (mean, reciprocal) = (Source::new(&saved.mean)?, Source::new(&saved.reciprocal)?);
    let residual = Source::optional(residual, DType::F32)?;
    let (input, target) = uninitialised(DType::F32, (tokens, features), device)?;
    let kernel = format!("norm_backward_{}", suffix(dy.dtype()));
    let (rows, columns) = (size(tokens)?, size(features)?);
    let rows_launch = over_rows(x, &kernel)?;
    launch!(
        rows_launch,
        target,
        &source,
        &gain,
        &mean,
        &reciprocal,
        &gradient,
        residual.as_ref(),
        rows,
        columns,
        centred,
    )?;
    let strips = tokens.div_ceil(STRIP);
    let (gains, gains_target) = uninitialised(DType::F32, (strips, features), device)?;
    let (biases, biases_target) = uninitialised(DType::F32, (strips, features), device)?;
    let kernel = format!("norm_parameters_{}", suffix(dy.dtype()));
    let grid = [features.div_ceil(STRIP_BLOCK[0]), strips, 1];
    let parameters = Launch { device, file: File::Norm, kernel: &kernel, grid, block: STRIP_BLOCK, shared: 0 };
    launch!(parameters, gains_target, biases_target, &source, &mean, &reciprocal, &gradient, rows, columns)?;
    Ok(NormGradients { input, gain: sum_strips(&gains)?, bias: sum_strips(&biases)? })
}
