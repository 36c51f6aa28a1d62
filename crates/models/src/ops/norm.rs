//! LayerNorm and RMSNorm over the features of each token.

use std::mem::MaybeUninit;

use candle_core::{Error, Result, Tensor};

use super::simd::{dot, sum, sum_pairs, vectorized};
use super::view::{not_empty, tensor, values, written};
use crate::Precision;

/// What a norm's backward needs beside its input: one mean (0 for RMSNorm) and one reciprocal deviation per token.
#[derive(Debug, Clone)]
pub struct NormSaved {
    pub(super) mean: Tensor,
    pub(super) reciprocal: Tensor,
}

/// The gradients of a norm's inputs.
#[derive(Debug, Clone)]
pub struct NormGradients {
    /// Of the input `[tokens, features]`, with the residual branch's gradient added.
    pub input: Tensor,
    /// Of the gain `[features]`.
    pub gain: Tensor,
    /// Of the bias `[features]`; to be ignored for a norm without one.
    pub bias: Tensor,
}

/// y = (x - mean) / sqrt(variance + eps) * gain + bias over each row of `x` `[tokens, features]`; `gain` and `bias` are
/// `[features]`.
///
/// With `precision` bf16, a GPU gives y as bf16: products read it next.
///
/// # Errors
/// If the shapes do not fit.
pub fn layer_norm(
    x: &Tensor,
    gain: &Tensor,
    bias: Option<&Tensor>,
    eps: f64,
    precision: Precision,
) -> Result<(Tensor, NormSaved)> {
    normalise(x, gain, bias, eps, true, precision)
}

/// y = x / sqrt(mean(x^2) + eps) * gain over each row of `x` `[tokens, features]`; `gain` is `[features]`.
///
/// As in [`layer_norm`], `precision` is the type that y may have on a GPU.
///
/// # Errors
/// If the shapes do not fit.
pub fn rms_norm(x: &Tensor, gain: &Tensor, eps: f64, precision: Precision) -> Result<(Tensor, NormSaved)> {
    normalise(x, gain, None, eps, false, precision)
}

vectorized! {
    fn normalise_rows(
        y: &mut [MaybeUninit<f32>],
        saved: [&mut [f32]; 2],
        x: &[f32],
        gain: &[f32],
        bias: Option<&[f32]>,
        eps: f32,
        centred: bool,
    ) {
        let features = gain.len();
        let [means, reciprocals] = saved;
        for (i, (y, x)) in y.chunks_exact_mut(features).zip(x.chunks_exact(features)).enumerate() {
            let mean = if centred { sum(x) / features as f32 } else { 0.0 };
            let variance = sum_pairs(x, x, |x, _| (x - mean) * (x - mean)) / features as f32;
            let reciprocal = 1.0 / (variance + eps).sqrt();
            match bias {
                Some(bias) => {
                    for ((y, x), (gain, bias)) in y.iter_mut().zip(x).zip(gain.iter().zip(bias)) {
                        y.write((x - mean) * reciprocal * gain + bias);
                    }
                }
                None => {
                    for ((y, x), gain) in y.iter_mut().zip(x).zip(gain) {
                        y.write((x - mean) * reciprocal * gain);
                    }
                }
            }
            means[i] = mean;
            reciprocals[i] = reciprocal;
        }
    }
}

vectorized! {
    /// The gradients of x, and of gain and bias (`vectors`), which are added to.
    fn gradients_of_rows(
        dx: &mut [MaybeUninit<f32>],
        vectors: [&mut [f32]; 2],
        saved: [&[f32]; 2],
        x_and_dy: [&[f32]; 2],
        gain: &[f32],
        residual: Option<&[f32]>,
        centred: bool,
    ) {
        let features = gain.len();
        let ([d_gain, d_bias], [means, reciprocals], [x, dy]) = (vectors, saved, x_and_dy);
        let (mut z, mut g) = (vec![0.0; features], vec![0.0; features]);
        let rows = dx.chunks_exact_mut(features).zip(x.chunks_exact(features)).zip(dy.chunks_exact(features));
        for (i, ((dx, x), dy)) in rows.enumerate() {
            let (mean, r) = (means[i], reciprocals[i]);
            for ((z, g), ((x, dy), gain)) in z.iter_mut().zip(&mut g).zip(x.iter().zip(dy).zip(gain)) {
                *z = (x - mean) * r;
                *g = dy * gain;
            }
            for ((d_gain, d_bias), (dy, z)) in d_gain.iter_mut().zip(&mut *d_bias).zip(dy.iter().zip(&z)) {
                *d_gain += dy * z;
                *d_bias += dy;
            }
            let mean_g = if centred { sum(&g) / features as f32 } else { 0.0 };
            let mean_gz = dot(&g, &z) / features as f32;
            match residual {
                Some(residual) => {
                    let residual = &residual[i * features..][..features];
                    for ((dx, g), (z, residual)) in dx.iter_mut().zip(&g).zip(z.iter().zip(residual)) {
                        dx.write(r * (g - mean_g - z * mean_gz) + residual);
                    }
                }
                None => {
                    for ((dx, g), z) in dx.iter_mut().zip(&g).zip(&z) {
                        dx.write(r * (g - mean_g - z * mean_gz));
                    }
                }
            }
        }
    }
}

fn check(x: &Tensor, gain: &Tensor) -> Result<(usize, usize)> {
    let (tokens, features) = x.dims2()?;
    if gain.dims() != [features] {
        return Err(Error::Msg(format!("norm: found a gain {:?}, expected [{features}]", gain.dims())));
    }
    not_empty("norm", &[tokens, features])?;
    Ok((tokens, features))
}

fn normalise(
    x: &Tensor,
    gain: &Tensor,
    bias: Option<&Tensor>,
    eps: f64,
    centred: bool,
    _precision: Precision,
) -> Result<(Tensor, NormSaved)> {
    let (tokens, features) = check(x, gain)?;
    on_gpu!(x, norm(x, gain, bias, eps, centred, _precision));
    let (input, gain) = (values(x)?, values(gain)?);
    let bias = bias.map(values).transpose()?;
    if bias.as_ref().is_some_and(|bias| bias.len() != features) {
        return Err(Error::Msg(format!("norm: found a bias that does not fit {features} features")));
    }
    let (mut mean, mut reciprocal) = (vec![0.0; tokens], vec![0.0; tokens]);
    let saved = [&mut mean[..], &mut reciprocal];
    // SAFETY: a value for each of the input.
    let y = unsafe {
        written(input.len(), |y| normalise_rows(y, saved, &input, &gain, bias.as_deref(), eps as f32, centred))
    };
    let saved = NormSaved { mean: tensor(mean, tokens)?, reciprocal: tensor(reciprocal, tokens)? };
    Ok((tensor(y, (tokens, features))?, saved))
}

/// The gradients of [`layer_norm`] (`centred`) or [`rms_norm`], with `residual` (the gradient that reaches `x` past the
/// norm) added.
///
/// With z = (x - mean) r the normalised row and g = dy * gain: dx = r (g - mean(g) - z mean(g z)), where RMSNorm lacks
/// mean(g).
///
/// # Errors
/// If the shapes do not fit.
pub fn norm_backward(
    x: &Tensor,
    gain: &Tensor,
    saved: &NormSaved,
    dy: &Tensor,
    residual: Option<&Tensor>,
    centred: bool,
) -> Result<NormGradients> {
    let (tokens, features) = check(x, gain)?;
    on_gpu!(x, norm_backward(x, gain, saved, dy, residual, centred));
    let (mean, reciprocal) = (values(&saved.mean)?, values(&saved.reciprocal)?);
    let (input, gain, gradient) = (values(x)?, values(gain)?, values(dy)?);
    let residual = residual.map(values).transpose()?;
    let fits = |values: &[f32], length: usize| values.len() == length;
    if !fits(&gradient, input.len())
        || residual.as_ref().is_some_and(|residual| !fits(residual, input.len()))
        || !fits(&mean, tokens)
        || !fits(&reciprocal, tokens)
    {
        return Err(Error::Msg(format!("norm: found gradients that do not fit {tokens} x {features}")));
    }
    let (mut dgain, mut dbias) = (vec![0.0; features], vec![0.0; features]);
    let (vectors, saved) = ([&mut dgain[..], &mut dbias], [&mean[..], &reciprocal]);
    // SAFETY: a value for each of the input.
    let dx = unsafe {
        written(input.len(), |dx| {
            gradients_of_rows(dx, vectors, saved, [&input, &gradient], &gain, residual.as_deref(), centred);
        })
    };
    Ok(NormGradients {
        input: tensor(dx, (tokens, features))?,
        gain: tensor(dgain, features)?,
        bias: tensor(dbias, features)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs are not zeroed first, so that a short input would leave them without values.
    #[test]
    fn inputs_of_other_lengths_are_refused() {
        let values = |shape: &[usize]| tensor(vec![1.0; shape.iter().product()], shape).unwrap();
        let (x, gain) = (values(&[4, 8]), values(&[8]));
        assert!(layer_norm(&x, &gain, Some(&values(&[4])), 1e-5, Precision::F32).is_err());
        let (_, saved) = layer_norm(&x, &gain, Some(&gain), 1e-5, Precision::F32).unwrap();
        assert!(norm_backward(&x, &gain, &saved, &x, Some(&x), true).is_ok());
        assert!(norm_backward(&x, &gain, &saved, &values(&[2, 8]), None, true).is_err());
        assert!(norm_backward(&x, &gain, &saved, &x, Some(&values(&[2, 8])), true).is_err());
        let (_, short) = layer_norm(&values(&[2, 8]), &gain, None, 1e-5, Precision::F32).unwrap();
        assert!(norm_backward(&x, &gain, &short, &x, None, true).is_err());
    }
}
