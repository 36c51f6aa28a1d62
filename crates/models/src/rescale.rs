//! The same function with weights of another scale.
//!
//! In every block, three factors move scale between parameters that undo each other: a norm's gain g / c with the
//! matrices that read it c W; the value map v / c with the output map c o; and, where the MLP is gated, up / c with
//! c down (GELU is not homogeneous, and has no such factor). [`rescale`] chooses them so that the root mean squares of
//! the block's matrices come as near as they can to those of another network.
//!
//! An experiment's control: whatever changes when a rescaled checkpoint is finetuned comes from the scale of its
//! weights, since its function is the same.

use candle_core::Device;
use nalgebra::{DMatrix, DVector};

use crate::config::Activation;
use crate::layers::{Block, Linear};
use crate::parameters::{ParameterId, Parameters, Role};
use crate::transformer::Transformer;
use crate::{Error, Result};

/// A matrix of a block, and the powers in which the two factors of its half of the block enter it.
struct Scaled {
    weight: ParameterId,
    powers: [f64; 2],
}

/// Half of a block, attention or MLP: the norm before it, its matrices, and the bias that is scaled by 1 / (second
/// factor) since it is added to what that factor divides.
struct Half {
    norm: (ParameterId, Option<ParameterId>),
    matrices: Vec<Scaled>,
    inner_bias: Option<ParameterId>,
}

/// The function of `model`, with the root mean squares of its hidden matrices moved to those of `like`: the factors
/// minimise the sum of squares of the logarithms of what is left between them.
///
/// Products are in f64 and rounded once.
///
/// # Errors
/// [`Error::Config`] if the two differ in shape, if either has LoRA's adapters, or if a matrix is zero.
pub fn rescale(model: &Transformer, like: &Transformer) -> Result<Transformer> {
    if model.config() != like.config() {
        return Err(Error::config("model", "two networks of different shapes", "the same shape"));
    }
    for network in [model, like] {
        let mut parameters = network.parameters().iter();
        if let Some((_, adapter)) = parameters.find(|(_, of)| matches!(of.role, Role::LoraA | Role::LoraB)) {
            return Err(Error::config("model", &adapter.name, "no adapters: merge them first"));
        }
    }
    let mut rescaled = model.clone();
    for half in halves(&mut rescaled) {
        let [outer, inner] = factors(&half, model.parameters(), like.parameters())?;
        let parameters = rescaled.parameters_mut();
        for Scaled { weight, powers } in &half.matrices {
            scale(parameters, *weight, outer.powf(powers[0]) * inner.powf(powers[1]))?;
        }
        for id in std::iter::once(half.norm.0).chain(half.norm.1) {
            scale(parameters, id, 1.0 / outer)?;
        }
        if let Some(bias) = half.inner_bias {
            scale(parameters, bias, 1.0 / inner)?;
        }
    }
    Ok(rescaled)
}

fn halves(model: &mut Transformer) -> Vec<Half> {
    let gated = model.config().activation == Activation::SwiGlu;
    let (blocks, _) = model.parts_mut();
    let of = |linear: &Linear, powers| Scaled { weight: linear.weight, powers };
    let of_block = |block: &Block| {
        let attention = Half {
            norm: (block.attention_norm.gain, block.attention_norm.bias),
            matrices: vec![
                of(&block.q, [1.0, 0.0]),
                of(&block.k, [1.0, 0.0]),
                of(&block.v, [1.0, -1.0]),
                of(&block.o, [0.0, 1.0]),
            ],
            inner_bias: block.v.bias,
        };
        let inner = if gated { 1.0 } else { 0.0 };
        let read = block.gate.iter().map(|gate| of(gate, [1.0, 0.0]));
        let mlp = Half {
            norm: (block.mlp_norm.gain, block.mlp_norm.bias),
            matrices: read.chain([of(&block.up, [1.0, -inner]), of(&block.down, [0.0, inner])]).collect(),
            inner_bias: block.up.bias.filter(|_| gated),
        };
        [attention, mlp]
    };
    blocks.iter().flat_map(of_block).collect()
}

/// The two factors of a half: least squares of ln(rms of `of`) + powers . ln(factors) against ln(rms of `like`).
fn factors(half: &Half, of: &Parameters, like: &Parameters) -> Result<[f64; 2]> {
    let rows = half.matrices.len();
    let mut wanted = DVector::zeros(rows);
    for (row, matrix) in half.matrices.iter().enumerate() {
        wanted[row] = log_rms(like, matrix.weight)? - log_rms(of, matrix.weight)?;
    }
    let powers = DMatrix::from_fn(rows, 2, |row, column| half.matrices[row].powers[column]);
    // The shortest solution: a factor that enters nowhere stays one.
    let solved =
        powers.svd(true, true).solve(&wanted, 1e-9).map_err(|why| Error::config("powers", why, "a solution"))?;
    Ok([solved[0].exp(), solved[1].exp()])
}

fn log_rms(parameters: &Parameters, id: ParameterId) -> Result<f64> {
    let values = values(parameters, id)?;
    let mean = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() / values.len() as f64;
    match mean > 0.0 && mean.is_finite() {
        true => Ok(0.5 * mean.ln()),
        false => Err(Error::config("weights", format!("mean square {mean}"), "a positive one in every hidden matrix")),
    }
}

fn values(parameters: &Parameters, id: ParameterId) -> Result<Vec<f32>> {
    Ok(parameters.value(id).to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}

fn scale(parameters: &mut Parameters, id: ParameterId, factor: f64) -> Result<()> {
    let (shape, device) = (parameters.value(id).shape().clone(), parameters.value(id).device().clone());
    let scaled: Vec<f32> = values(parameters, id)?.into_iter().map(|x| (f64::from(x) * factor) as f32).collect();
    parameters.set(id, candle_core::Tensor::from_vec(scaled, shape, &device)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ModelConfig, NormKind};
    use crate::init::Initializer;
    use crate::lora::LoraConfig;

    /// A network whose every parameter is drawn at a scale of its own.
    fn drawn(config: &ModelConfig, seed: u64) -> Transformer {
        let mut model = Transformer::new(config, seed).unwrap();
        let mut initializer = Initializer::new(seed);
        let places: Vec<_> = model.parameters().iter().map(|(id, p)| (id, p.role, p.value.dims().to_vec())).collect();
        for (place, (id, role, shape)) in places.into_iter().enumerate() {
            let centre = if role == Role::Gain { 1.0 } else { 0.0 };
            let deviation = 0.1 + 0.05 * ((place as u64 * 7 + seed) % 5) as f64;
            let value = initializer.normal(&shape, deviation).unwrap().affine(1.0, centre).unwrap();
            model.parameters_mut().set(id, value).unwrap();
        }
        model
    }

    fn shapes() -> Vec<ModelConfig> {
        let rms = ModelConfig { norm: NormKind::Rms, ..ModelConfig::gpt2(19, 8, 2, 12, 3) };
        vec![ModelConfig::llama(19, 8, 2, 16, 4, 2), ModelConfig::gpt2(19, 8, 2, 12, 3), rms]
    }

    fn logits(model: &Transformer) -> Vec<f32> {
        let ids: Vec<u32> = (0..16).map(|i| i * 7 % 19).collect();
        model.logits(&ids, 8).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Sum of squares of ln(rms of one) - ln(rms of the other), over hidden matrices.
    fn distance(a: &Transformer, b: &Transformer) -> f64 {
        let hidden = a.parameters().iter().filter(|(_, of)| matches!(of.role, Role::HiddenMatrix(_)));
        let apart = |id| log_rms(a.parameters(), id).unwrap() - log_rms(b.parameters(), id).unwrap();
        hidden.map(|(id, _)| apart(id).powi(2)).sum()
    }

    #[test]
    fn a_rescaled_network_has_the_same_logits_and_weights_nearer_to_the_other_ones() {
        for config in shapes() {
            let (model, like) = (drawn(&config, 3), drawn(&config, 11));
            let rescaled = rescale(&model, &like).unwrap();
            let (before, after) = (logits(&model), logits(&rescaled));
            let size = before.iter().fold(0f32, |size, x| size.max(x.abs()));
            let worst = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(worst <= 1e-5 * size, "{worst} of {size}");
            let (far, near) = (distance(&model, &like), distance(&rescaled, &like));
            assert!(near < 0.95 * far, "{near} of {far}");
        }
    }

    #[test]
    fn a_network_that_differs_by_the_factors_alone_is_met_exactly() {
        let model = drawn(&ModelConfig::llama(19, 8, 2, 16, 4, 2), 3);
        let mut like = model.clone();
        for (place, half) in halves(&mut like).into_iter().enumerate() {
            let (outer, inner) = (1.5 + place as f64, 0.4 / (1.0 + place as f64));
            for Scaled { weight, powers } in &half.matrices {
                scale(like.parameters_mut(), *weight, f64::powf(outer, powers[0]) * f64::powf(inner, powers[1]))
                    .unwrap();
            }
        }
        assert!(distance(&model, &like) > 1.0);
        assert!(distance(&rescale(&model, &like).unwrap(), &like) < 1e-10);
    }

    #[test]
    fn what_cannot_be_rescaled_is_refused_in_one_line() {
        let model = drawn(&ModelConfig::llama(19, 8, 1, 16, 4, 4), 3);
        let refusal = |a: &Transformer, b: &Transformer| rescale(a, b).unwrap_err().to_string();
        let other = drawn(&ModelConfig::llama(19, 8, 2, 16, 4, 4), 3);
        assert!(refusal(&model, &other).starts_with("model: found two networks of different shapes"));
        let mut adapted = model.clone();
        adapted.add_lora(&LoraConfig::all(2), 1).unwrap();
        assert!(refusal(&adapted, &adapted).contains("merge them first"));
        let mut zero = model.clone();
        let (blocks, _) = zero.parts_mut();
        let id = blocks[0].o.weight;
        scale(zero.parameters_mut(), id, 0.0).unwrap();
        assert!(refusal(&zero, &model).starts_with("weights: found mean square 0"));
    }
}
