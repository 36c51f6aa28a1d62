//! The same function in another basis of the residual stream.
//!
//! A network with RMSNorms computes the same if its stream x is turned, x' = Q x with Q orthogonal, once no gain tells
//! the axes apart. So the gains g are folded into the maps that read them first, W diag(g) in place of W
//! ([`fold_gains`]); then every map that reads the stream becomes W Q^T, every map that writes to it Q W ([`turn`]).
//! This is the invariance that SliceGPT and QuaRot use (Ashkboos et al., arXiv 2401.15024 and 2404.00456).
//!
//! Training tells the two apart or not: the gradient of W Q^T is G Q^T, and the polar factor of G Q^T is that of G
//! times Q^T, so that Muon takes the turned step; an elementwise rule does not. Gains and embeddings have to stay
//! frozen: the gain of a turned stream scales other directions.

use candle_core::{Device, Tensor};
use nalgebra::DMatrix;

use crate::config::{ModelConfig, NormKind};
use crate::parameters::{ParameterId, Role};
use crate::transformer::Transformer;
use crate::{Error, Result};

/// How far Q Q^T may be from the identity, in any entry.
const ORTHOGONAL: f64 = 1e-9;

/// The shape of a network whose gains are folded: its head is a matrix of its own, since the last gain goes into it and
/// not into the embedding.
///
/// # Errors
/// [`Error::Config`] if its norms are no RMSNorms: LayerNorm subtracts the mean over the axes, which no other basis
/// has.
pub fn folded_config(config: &ModelConfig) -> Result<ModelConfig> {
    match config.norm {
        NormKind::Rms => Ok(ModelConfig { tied: false, ..config.clone() }),
        NormKind::Layer => {
            Err(Error::config("norm", "layer", "rms: the stream of a network with LayerNorms cannot be turned"))
        }
    }
}

/// The same function with every gain one: each is multiplied into the columns of the matrices that read it, the last
/// one into the head.
///
/// # Errors
/// As [`folded_config`], and if the model has LoRA's adapters.
pub fn fold_gains(model: &Transformer) -> Result<Transformer> {
    let mut folded = Transformer::new(&folded_config(model.config())?, 0)?;
    refuse_adapters(model)?;
    folded.parameters_mut().set_precision(model.parameters().precision());
    let from = model.parameters();
    let places: Vec<(ParameterId, String, Role)> =
        folded.parameters().iter().map(|(id, parameter)| (id, parameter.name.clone(), parameter.role)).collect();
    for (id, name, role) in places {
        // A tied head is the embedding.
        let source =
            from.find(&name).or_else(|| (role == Role::Head).then(|| from.find("model.embed_tokens.weight"))?);
        let source = source.ok_or_else(|| Error::config("model", format!("no {name}"), "a whole model"))?;
        folded.parameters_mut().set(id, from.value(source).to_device(&Device::Cpu)?)?;
    }
    for (gain, readers) in readers_of_norms(&mut folded) {
        let values = vector(folded.parameters().value(gain))?;
        for reader in readers {
            let mut matrix = matrix(folded.parameters().value(reader))?;
            for (mut column, &gain) in matrix.column_iter_mut().zip(&values) {
                column *= gain;
            }
            folded.parameters_mut().set(reader, tensor(&matrix)?)?;
        }
        folded.parameters_mut().set(gain, Tensor::from_vec(vec![1f32; values.len()], values.len(), &Device::Cpu)?)?;
    }
    folded.move_to(model.device())?;
    Ok(folded)
}

/// The same function with its stream turned by `q`, orthogonal, width x width in row-major order: x' = Q x. Products
/// are in f64 and rounded once.
///
/// # Errors
/// [`Error::Config`] if `q` is not orthogonal or of another size, if the norms are no RMSNorms, if a gain is not one
/// ([`fold_gains`] first), or if the model has LoRA's adapters.
pub fn turn(model: &Transformer, q: &[f64]) -> Result<Transformer> {
    folded_config(model.config())?;
    refuse_adapters(model)?;
    let width = model.config().width;
    if q.len() != width * width {
        return Err(Error::config("rotation", format!("{} numbers", q.len()), format!("{width} x {width}")));
    }
    let q = DMatrix::from_row_slice(width, width, q);
    let worst = (&q * q.transpose() - DMatrix::identity(width, width)).amax();
    if worst.is_nan() || worst > ORTHOGONAL {
        return Err(Error::config("rotation", format!("a matrix {worst:.1e} off"), "an orthogonal one"));
    }
    let mut turned = model.clone();
    // The norms of queries and keys do not lie in the stream.
    let in_stream = |name: &str| !name.contains(".self_attn.");
    let uneven = model.parameters().iter().filter(|(_, of)| of.role == Role::Gain && in_stream(&of.name));
    for (_, parameter) in uneven {
        if vector(&parameter.value)?.iter().any(|&gain| gain != 1.0) {
            return Err(Error::config("gain", &parameter.name, "ones: fold the gains first"));
        }
    }
    let (readers, writers) = readers_and_writers(&mut turned);
    for id in readers {
        let matrix = matrix(turned.parameters().value(id))? * q.transpose();
        turned.parameters_mut().set(id, tensor(&matrix)?)?;
    }
    for (weight, bias) in writers {
        let matrix = &q * matrix(turned.parameters().value(weight))?;
        turned.parameters_mut().set(weight, tensor(&matrix)?)?;
        if let Some(bias) = bias {
            let values = vector(turned.parameters().value(bias))?;
            let values: Vec<f32> =
                (&q * DMatrix::from_column_slice(width, 1, &values)).iter().map(|&x| x as f32).collect();
            turned.parameters_mut().set(bias, Tensor::from_vec(values, width, &Device::Cpu)?)?;
        }
    }
    Ok(turned)
}

/// Every norm's gain with the matrices that read what it scales.
fn readers_of_norms(model: &mut Transformer) -> Vec<(ParameterId, Vec<ParameterId>)> {
    let last = (model.last_gain(), vec![model.head_weight()]);
    let (blocks, _) = model.parts_mut();
    let of_blocks = blocks.iter().flat_map(|block| {
        let mlp = block.gate.iter().chain([&block.up]).map(|linear| linear.weight).collect();
        let attention = [&block.q, &block.k, &block.v].map(|linear| linear.weight).to_vec();
        [(block.attention_norm.gain, attention), (block.mlp_norm.gain, mlp)]
    });
    of_blocks.chain([last]).collect()
}

/// The matrices whose rows lie in the stream (embeddings and the head included, each once), and the maps whose columns
/// do, with their biases.
fn readers_and_writers(model: &mut Transformer) -> (Vec<ParameterId>, Vec<(ParameterId, Option<ParameterId>)>) {
    let embeds = |role| matches!(role, Role::TokenEmbedding | Role::PositionEmbedding | Role::Head);
    let tables = model.parameters().iter().filter(|(_, parameter)| embeds(parameter.role)).map(|(id, _)| id);
    let mut readers: Vec<ParameterId> = tables.collect();
    let (blocks, _) = model.parts_mut();
    let mut writers = Vec::new();
    for block in blocks.iter() {
        let reading = [&block.q, &block.k, &block.v, &block.up].into_iter().chain(&block.gate);
        readers.extend(reading.map(|linear| linear.weight));
        writers.extend([&block.o, &block.down].map(|linear| (linear.weight, linear.bias)));
    }
    (readers, writers)
}

fn refuse_adapters(model: &Transformer) -> Result<()> {
    let adapter = model.parameters().iter().find(|(_, parameter)| matches!(parameter.role, Role::LoraA | Role::LoraB));
    match adapter {
        Some((_, parameter)) => Err(Error::config("model", &parameter.name, "no adapters: merge them first")),
        None => Ok(()),
    }
}

fn vector(tensor: &Tensor) -> Result<Vec<f64>> {
    let values: Vec<f32> = tensor.to_device(&Device::Cpu)?.to_vec1()?;
    Ok(values.into_iter().map(f64::from).collect())
}

fn matrix(tensor: &Tensor) -> Result<DMatrix<f64>> {
    let (rows, columns) = tensor.dims2()?;
    let values: Vec<f32> = tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
    Ok(DMatrix::from_row_iterator(rows, columns, values.into_iter().map(f64::from)))
}

fn tensor(matrix: &DMatrix<f64>) -> Result<Tensor> {
    // The transpose's columns, one after the other, are the rows.
    let values: Vec<f32> = matrix.transpose().iter().map(|&x| x as f32).collect();
    Ok(Tensor::from_vec(values, matrix.shape(), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Positions;
    use crate::init::Initializer;
    use crate::optim::{AdamW, Muon, Optimizer, Policy, RuleConfig, Scope};
    use crate::{Batch, lora::LoraConfig, train_step};

    /// A network whose every parameter is drawn, gains around one.
    fn drawn(config: &ModelConfig) -> Transformer {
        let mut model = Transformer::new(config, 3).unwrap();
        let mut initializer = Initializer::new(5);
        let places: Vec<_> = model.parameters().iter().map(|(id, p)| (id, p.role, p.value.dims().to_vec())).collect();
        for (id, role, shape) in places {
            let centre = if role == Role::Gain { 1.0 } else { 0.0 };
            let value = initializer.normal(&shape, 0.3).unwrap().affine(1.0, centre).unwrap();
            model.parameters_mut().set(id, value).unwrap();
        }
        model
    }

    /// The orthogonal factor of a matrix of drawn numbers.
    fn rotation(width: usize) -> Vec<f64> {
        let values = Initializer::new(7).normal(&[width, width], 1.0).unwrap();
        let q = matrix(&values).unwrap().qr().q();
        q.transpose().iter().copied().collect()
    }

    /// RMSNorms in the Llama family, and with learned positions, biases and GELU.
    fn shapes() -> Vec<ModelConfig> {
        let rms = ModelConfig { norm: NormKind::Rms, ..ModelConfig::gpt2(19, 8, 2, 12, 3) };
        let tied = ModelConfig { tied: true, ..ModelConfig::llama(19, 8, 2, 16, 4, 2) };
        assert_eq!(rms.positions, Positions::Learned);
        vec![ModelConfig::llama(19, 8, 2, 16, 4, 2), tied, rms]
    }

    fn logits(model: &Transformer) -> Vec<f32> {
        let ids: Vec<u32> = (0..16).map(|i| i * 7 % 19).collect();
        model.logits(&ids, 8).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[track_caller]
    fn assert_same(found: &[f32], expected: &[f32]) {
        let size = expected.iter().fold(0f32, |size, x| size.max(x.abs()));
        let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(size > 0.5 && worst <= 1e-5 * size, "{worst} of {size}");
    }

    #[test]
    fn folded_and_turned_networks_have_the_logits_of_the_original() {
        for config in shapes() {
            let model = drawn(&config);
            let folded = fold_gains(&model).unwrap();
            assert_same(&logits(&folded), &logits(&model));
            let turned = turn(&folded, &rotation(config.width)).unwrap();
            assert_same(&logits(&turned), &logits(&model));
            for (id, parameter) in folded.parameters().iter().filter(|(_, p)| p.role != Role::Gain) {
                let key = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let moved = key(&parameter.value) != key(turned.parameters().value(id));
                // Only what adds to a hidden layer has nothing to do with the stream.
                let apart = parameter.role == Role::Bias && !parameter.name.contains("o_proj");
                let apart = apart && !parameter.name.contains("down_proj");
                assert_eq!(moved, !apart, "{}", parameter.name);
            }
        }
    }

    /// Losses of a few steps on the hidden matrices, gains and embeddings frozen.
    fn losses(start: &Transformer, rule: RuleConfig, rate: f64) -> Vec<f64> {
        let mut model = start.clone();
        let policy = Policy::hidden_and_rest(Scope::HiddenMatrices, rule, rate, rule, rate, rate);
        let mut optimizer = Optimizer::new(model.parameters_mut(), &policy).unwrap();
        let ids: Vec<u32> = (0..16).map(|i| i * 5 % 19).collect();
        let batch = [Batch::new(ids, (0..16).map(|i| i * 11 % 19).collect(), 8).unwrap()];
        (0..12).map(|_| train_step(&mut model, &mut optimizer, &batch, Some(1.0), 1.0).unwrap().loss).collect()
    }

    fn distance(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn muon_does_not_notice_a_turned_stream_and_adamw_does() {
        for config in shapes() {
            let folded = fold_gains(&drawn(&config)).unwrap();
            let turned = turn(&folded, &rotation(config.width)).unwrap();
            let muon = RuleConfig::Muon(Muon::default());
            let (plain, other) = (losses(&folded, muon, 3e-3), losses(&turned, muon, 3e-3));
            let learned = plain[0] - plain[11];
            assert!(learned > 0.05, "{plain:?}");
            assert!(distance(&plain, &other) < 1e-4 * learned.max(1.0), "{plain:?} {other:?}");
            let adamw = RuleConfig::AdamW(AdamW::default());
            let (plain, other) = (losses(&folded, adamw, 3e-3), losses(&turned, adamw, 3e-3));
            assert!(distance(&plain, &other) > 5e-3, "{plain:?} {other:?}");
        }
    }

    #[test]
    fn what_cannot_be_turned_is_refused_in_one_line() {
        let refusal = |model: &Transformer, q: &[f64]| turn(model, q).unwrap_err().to_string();
        let layer = Transformer::new(&ModelConfig::gpt2(19, 8, 1, 12, 3), 1).unwrap();
        assert!(fold_gains(&layer).unwrap_err().to_string().starts_with("norm: found layer, expected rms"));
        assert!(refusal(&layer, &rotation(12)).starts_with("norm: "));
        let model = drawn(&ModelConfig::llama(19, 8, 1, 16, 4, 4));
        assert!(refusal(&model, &rotation(16)).starts_with("gain: found model.layers.0.input_layernorm.weight"));
        let mut folded = fold_gains(&model).unwrap();
        assert!(refusal(&folded, &rotation(12)).starts_with("rotation: found 144 numbers, expected 16 x 16"));
        let mut bent = rotation(16);
        bent[0] += 1e-3;
        assert!(refusal(&folded, &bent).contains("expected an orthogonal one"));
        folded.add_lora(&LoraConfig::all(2), 1).unwrap();
        assert!(refusal(&folded, &rotation(16)).contains("merge them first"));
        assert!(fold_gains(&folded).is_err());
    }
}
