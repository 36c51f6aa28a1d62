//! Checkpoints: `model.safetensors` and `config.json`, with Hugging Face's names and layouts for the GPT-2 and Llama
//! families.
//!
//! GPT-2's files fuse queries, keys and values and store matrices transposed; here they are separate and `[outputs,
//! inputs]`. Other architectures are written under this crate's own names (Llama's, plus `model.embed_positions.weight`
//! and biases) with `"model_type": "omc"`.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::{Value, json};

use crate::config::{Activation, ModelConfig, NormKind, Positions};
use crate::parameters::Parameters;
use crate::tensors::{self, TensorFile};
use crate::transformer::Transformer;
use crate::{Error, Result};

/// The file of weights in a checkpoint's directory.
pub const WEIGHTS: &str = "model.safetensors";
/// The file with the model's shape.
pub const CONFIG: &str = "config.json";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Gpt2,
    Llama,
    Own,
}

impl Family {
    fn of(config: &ModelConfig) -> Self {
        let gpt2 = config.positions == Positions::Learned
            && config.norm == NormKind::Layer
            && config.activation == Activation::Gelu
            && config.bias
            && config.heads == config.kv_heads;
        let llama = matches!(config.positions, Positions::Rotary { .. })
            && config.norm == NormKind::Rms
            && config.activation == Activation::SwiGlu
            && !config.bias;
        match (gpt2, llama) {
            (true, _) => Self::Gpt2,
            (_, true) => Self::Llama,
            _ => Self::Own,
        }
    }
}

/// GPT-2's name and layout of one of our parameters.
enum Gpt2Place {
    Same(String),
    Transposed(String),
    /// A third of the fused query-key-value tensor.
    Fused(String, usize),
}

fn gpt2_place(name: &str) -> Option<Gpt2Place> {
    use Gpt2Place::{Fused, Same, Transposed};
    match name {
        "model.embed_tokens.weight" => return Some(Same("wte.weight".into())),
        "model.embed_positions.weight" => return Some(Same("wpe.weight".into())),
        "model.norm.weight" => return Some(Same("ln_f.weight".into())),
        "model.norm.bias" => return Some(Same("ln_f.bias".into())),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (module, leaf) = rest.rsplit_once('.')?;
    let matrix = |target: &str| {
        let full = format!("h.{layer}.{target}.{leaf}");
        if leaf == "weight" { Transposed(full) } else { Same(full) }
    };
    let fused = |part| Fused(format!("h.{layer}.attn.c_attn.{leaf}"), part);
    Some(match module {
        "input_layernorm" => Same(format!("h.{layer}.ln_1.{leaf}")),
        "post_attention_layernorm" => Same(format!("h.{layer}.ln_2.{leaf}")),
        "self_attn.q_proj" => fused(0),
        "self_attn.k_proj" => fused(1),
        "self_attn.v_proj" => fused(2),
        "self_attn.o_proj" => matrix("attn.c_proj"),
        "mlp.up_proj" => matrix("mlp.c_fc"),
        "mlp.down_proj" => matrix("mlp.c_proj"),
        _ => return None,
    })
}

/// A matrix's transpose, or the tensor itself if it is a vector.
fn transposed(tensor: &Tensor) -> Result<Tensor> {
    Ok(if tensor.rank() == 2 { tensor.t()?.contiguous()? } else { tensor.clone() })
}

/// Tensors along a model's parameters (values or gradients) under Hugging Face's names and layouts, sorted by name.
///
/// `tensor_of` gives the tensor of a parameter by this crate's name; parameters for which it gives `None` are left out.
///
/// # Errors
/// If a tensor does not have its parameter's shape.
pub fn hugging_face_tensors(
    config: &ModelConfig,
    parameters: &Parameters,
    tensor_of: impl Fn(&str) -> Option<Tensor>,
) -> Result<Vec<(String, Tensor)>> {
    let mut named = Vec::new();
    let mut fused: HashMap<String, Vec<Tensor>> = HashMap::new();
    for (_, parameter) in parameters.iter() {
        let Some(tensor) = tensor_of(&parameter.name) else { continue };
        let place = (Family::of(config) == Family::Gpt2).then(|| gpt2_place(&parameter.name)).flatten();
        match place {
            None => named.push((parameter.name.clone(), tensor)),
            Some(Gpt2Place::Same(name)) => named.push((format!("transformer.{name}"), tensor)),
            Some(Gpt2Place::Transposed(name)) => named.push((format!("transformer.{name}"), transposed(&tensor)?)),
            Some(Gpt2Place::Fused(name, _)) => fused.entry(name).or_default().push(transposed(&tensor)?),
        }
    }
    for (name, parts) in fused {
        let dim = parts[0].rank() - 1;
        named.push((format!("transformer.{name}"), Tensor::cat(&parts, dim)?.contiguous()?));
    }
    named.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(named)
}

/// Writes `model.safetensors` and `config.json` into `directory`.
///
/// # Errors
/// [`Error::Io`] if a file cannot be written.
pub fn save(model: &Transformer, directory: &Path) -> Result<()> {
    save_weights(model, &directory.join(WEIGHTS))?;
    let path = directory.join(CONFIG);
    std::fs::write(&path, config_text(model.config())).map_err(Error::io(&path))
}

/// Writes the weights alone, whole or not at all.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub fn save_weights(model: &Transformer, path: &Path) -> Result<()> {
    let parameters = model.parameters();
    let value = |name: &str| parameters.find(name).map(|id| parameters.value(id).clone());
    let named = hugging_face_tensors(model.config(), parameters, value)?;
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    tensors::write(path, &named, metadata)
}

/// The text of `config.json`.
pub fn config_text(config: &ModelConfig) -> String {
    format!("{:#}\n", config_json(config))
}

/// Reads a checkpoint that [`save`] or Hugging Face's `save_pretrained` wrote (one file, GPT-2 or Llama).
///
/// # Errors
/// One line that names the file and the field or tensor that is missing, superfluous or of another shape.
pub fn load(directory: &Path) -> Result<Transformer> {
    let path = directory.join(CONFIG);
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    let value: Value =
        serde_json::from_str(&text).map_err(|e| Error::File { path: path.clone(), what: e.to_string() })?;
    let config = parse_config(&value).map_err(|what| Error::File { path, what })?;
    let mut model = Transformer::new(&config, 0)?;
    load_weights(&mut model, &directory.join(WEIGHTS))?;
    Ok(model)
}

/// Replaces the weights of `model` by those of a file in the same layout as [`save`]'s.
///
/// # Errors
/// As [`load`].
pub fn load_weights(model: &mut Transformer, path: &Path) -> Result<()> {
    let config = model.config().clone();
    let mut file = TensorFile::read(path, &Device::Cpu)?;
    let gpt2 = Family::of(&config) == Family::Gpt2;
    let prefix = if gpt2 && !file.contains("wte.weight") { "transformer." } else { "" };
    if gpt2 {
        file.ignore(|name| name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"));
    }
    if config.tied {
        file.ignore(|name| name == "lm_head.weight");
    }
    let mut fused: HashMap<String, Tensor> = HashMap::new();
    let parameters: Vec<_> =
        model.parameters().iter().map(|(id, p)| (id, p.name.clone(), p.value.dims().to_vec())).collect();
    for (id, name, shape) in parameters {
        let place = if gpt2 { gpt2_place(&name) } else { None };
        let value = match place {
            None => file.take(&name, &shape)?,
            Some(Gpt2Place::Same(name)) => file.take(&format!("{prefix}{name}"), &shape)?,
            Some(Gpt2Place::Transposed(name)) => {
                transposed(&file.take(&format!("{prefix}{name}"), &[shape[1], shape[0]])?)?
            }
            Some(Gpt2Place::Fused(name, part)) => {
                let width = config.width;
                if !fused.contains_key(&name) {
                    let whole = if shape.len() == 2 { vec![width, 3 * width] } else { vec![3 * width] };
                    let tensor = file.take(&format!("{prefix}{name}"), &whole)?;
                    fused.insert(name.clone(), tensor);
                }
                transposed(&fused[&name].narrow(shape.len() - 1, part * width, width)?)?.contiguous()?
            }
        };
        model.parameters_mut().set(id, value)?;
    }
    file.finish()
}

fn config_json(config: &ModelConfig) -> Value {
    match (Family::of(config), config.positions) {
        (Family::Gpt2, _) => json!({
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            "vocab_size": config.vocabulary,
            "n_positions": config.context,
            "n_embd": config.width,
            "n_layer": config.layers,
            "n_head": config.heads,
            "n_inner": config.mlp_width,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": config.norm_eps,
            "attn_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "resid_pdrop": 0.0,
            "tie_word_embeddings": config.tied,
            "torch_dtype": "float32",
        }),
        (Family::Llama, Positions::Rotary { theta }) => json!({
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "vocab_size": config.vocabulary,
            "max_position_embeddings": config.context,
            "hidden_size": config.width,
            "intermediate_size": config.mlp_width,
            "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads,
            "num_key_value_heads": config.kv_heads,
            "hidden_act": "silu",
            "rms_norm_eps": config.norm_eps,
            "rope_theta": theta,
            "attention_bias": false,
            "mlp_bias": false,
            "tie_word_embeddings": config.tied,
            "torch_dtype": "float32",
        }),
        _ => json!({ "model_type": "omc", "shape": config }),
    }
}

/// The model's shape from a `config.json`, or what is wrong with it.
fn parse_config(value: &Value) -> Result<ModelConfig, String> {
    let count = |key: &str| -> Result<usize, String> {
        let found = value.get(key).ok_or(format!("field `{key}` is missing"))?;
        found.as_u64().map(|n| n as usize).ok_or(format!("field `{key}`: found {found}, expected a whole number"))
    };
    let number = |key: &str, default: f64| value.get(key).and_then(Value::as_f64).unwrap_or(default);
    let flag = |key: &str, default: bool| value.get(key).and_then(Value::as_bool).unwrap_or(default);
    let only = |key: &str, allowed: &[&str]| -> Result<(), String> {
        match value.get(key).and_then(Value::as_str) {
            Some(found) if !allowed.contains(&found) => {
                Err(format!("field `{key}`: found `{found}`, expected one of {allowed:?}"))
            }
            _ => Ok(()),
        }
    };
    match value.get("model_type").and_then(Value::as_str) {
        Some("gpt2") => {
            only("activation_function", &["gelu_new", "gelu_pytorch_tanh"])?;
            let width = count("n_embd")?;
            let shape = ModelConfig::gpt2(
                count("vocab_size")?,
                count("n_positions")?,
                count("n_layer")?,
                width,
                count("n_head")?,
            );
            let mlp_width = value.get("n_inner").and_then(Value::as_u64).map_or(4 * width, |n| n as usize);
            let norm_eps = number("layer_norm_epsilon", 1e-5);
            Ok(ModelConfig { mlp_width, norm_eps, tied: flag("tie_word_embeddings", true), ..shape })
        }
        Some("llama") => {
            only("hidden_act", &["silu"])?;
            if flag("attention_bias", false) || flag("mlp_bias", false) {
                return Err("fields `attention_bias`, `mlp_bias`: found true, expected false".into());
            }
            let rope = value.get("rope_parameters").or(value.get("rope_scaling")).filter(|v| !v.is_null());
            if let Some(kind) = rope.and_then(|v| v.get("rope_type").or(v.get("type"))).and_then(Value::as_str)
                && kind != "default"
            {
                return Err(format!("field `rope_type`: found `{kind}`, expected `default`"));
            }
            let theta = rope.and_then(|v| v.get("rope_theta")).and_then(Value::as_f64);
            let heads = count("num_attention_heads")?;
            let kv_heads = value.get("num_key_value_heads").and_then(Value::as_u64).map_or(heads, |n| n as usize);
            let shape = ModelConfig::llama(
                count("vocab_size")?,
                count("max_position_embeddings")?,
                count("num_hidden_layers")?,
                count("hidden_size")?,
                heads,
                kv_heads,
            );
            Ok(ModelConfig {
                mlp_width: count("intermediate_size")?,
                norm_eps: number("rms_norm_eps", 1e-6),
                positions: Positions::Rotary { theta: theta.unwrap_or(number("rope_theta", 10_000.0)) },
                tied: flag("tie_word_embeddings", false),
                ..shape
            })
        }
        Some("omc") => {
            let shape = value.get("shape").ok_or("field `shape` is missing")?;
            serde_json::from_value(shape.clone()).map_err(|e| format!("field `shape`: {e}"))
        }
        Some(other) => Err(format!("field `model_type`: found `{other}`, expected `gpt2`, `llama` or `omc`")),
        None => Err("field `model_type` is missing".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes() -> Vec<ModelConfig> {
        let mixed = ModelConfig { norm: NormKind::Rms, ..ModelConfig::gpt2(19, 8, 2, 12, 3) };
        let untied = ModelConfig { tied: false, ..ModelConfig::gpt2(19, 8, 2, 12, 3) };
        vec![ModelConfig::gpt2(19, 8, 2, 12, 3), untied, ModelConfig::llama(19, 8, 2, 16, 4, 2), mixed]
    }

    #[test]
    fn a_saved_model_comes_back_to_the_bit() {
        for config in shapes() {
            let directory = tempfile::tempdir().unwrap();
            let model = Transformer::new(&config, 3).unwrap();
            save(&model, directory.path()).unwrap();
            let back = load(directory.path()).unwrap();
            assert_eq!(back.config(), model.config());
            for ((_, a), (_, b)) in model.parameters().iter().zip(back.parameters().iter()) {
                let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(values(&a.value), values(&b.value), "{}", a.name);
            }
        }
    }

    #[test]
    fn a_truncated_or_foreign_file_is_one_line_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let model = Transformer::new(&shapes()[0], 3).unwrap();
        save(&model, directory.path()).unwrap();
        let path = directory.path().join(WEIGHTS);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 7]).unwrap();
        let message = load(directory.path()).unwrap_err().to_string();
        assert!(message.contains("model.safetensors") && !message.contains('\n'), "{message}");

        let other = Transformer::new(&ModelConfig::gpt2(19, 8, 3, 12, 3), 3).unwrap();
        let named = hugging_face_tensors(other.config(), other.parameters(), |name| {
            other.parameters().find(name).map(|id| other.parameters().value(id).clone())
        });
        tensors::write(&path, &named.unwrap(), HashMap::new()).unwrap();
        let message = load(directory.path()).unwrap_err().to_string();
        assert!(message.contains("belongs to no parameter"), "{message}");
    }

    #[test]
    fn a_config_with_a_missing_or_unknown_field_says_which() {
        for (json, expected) in [
            (json!({}), "model_type"),
            (json!({"model_type": "bert"}), "bert"),
            (json!({"model_type": "gpt2", "n_embd": "x"}), "n_embd"),
            (json!({"model_type": "llama", "hidden_act": "gelu"}), "hidden_act"),
        ] {
            let message = parse_config(&json).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
