//! Where a parameter lies in a file in Hugging Face's layout.
//!
//! GPT-2's files fuse queries, keys and values and store matrices transposed; here they are separate and `[outputs,
//! inputs]`. The names in memory are Llama's, so that the other families' files have them as they are.

use std::collections::HashMap;

use candle_core::Tensor;

use super::family::Family;
use crate::Result;
use crate::config::ModelConfig;
use crate::parameters::Parameters;
use crate::tensors::TensorFile;

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

/// GPT-2's name of one of our linear maps, as its files have it, and which third of it that is where it is fused.
pub(super) fn module_of_gpt2(module: &str) -> Option<(String, Option<usize>)> {
    let (name, part) = match gpt2_place(&format!("{module}.weight"))? {
        Gpt2Place::Same(name) | Gpt2Place::Transposed(name) => (name, None),
        Gpt2Place::Fused(name, part) => (name, Some(part)),
    };
    Some((format!("transformer.{}", name.trim_end_matches(".weight")), part))
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

/// A file in Hugging Face's layout, from which parameters are taken by this crate's names.
pub(super) struct HuggingFace {
    file: TensorFile,
    family: Family,
    width: usize,
    /// What the file's names have in front of the family's, or lack.
    prefix: &'static str,
    fused: HashMap<String, Tensor>,
}

impl HuggingFace {
    /// Of a file that [`Family`]'s class wrote, or the class without a head.
    pub(super) fn new(mut file: TensorFile, config: &ModelConfig) -> Self {
        let family = Family::of(config);
        let (marker, whole) = match family {
            Family::Gpt2 => ("wte.weight", "transformer."),
            _ => ("embed_tokens.weight", "model."),
        };
        let prefix = if file.contains(marker) { "" } else { whole };
        file.ignore(|name| {
            name.ends_with(".attn.bias")
                || name.ends_with(".attn.masked_bias")
                || name.ends_with(".rotary_emb.inv_freq")
                || config.tied && name == HEAD
        });
        Self { file, family, width: config.width, prefix, fused: HashMap::new() }
    }

    /// Takes the parameter called `name`, in this crate's layout.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let place = if self.family == Family::Gpt2 { gpt2_place(name) } else { None };
        let prefix = self.prefix;
        match place {
            // What the family has no place for, LoRA's factors, is written under this crate's names.
            None if self.family == Family::Gpt2 => self.file.take(name, shape),
            None => match name.strip_prefix("model.") {
                Some(rest) => self.file.take(&format!("{prefix}{rest}"), shape),
                None => self.file.take(name, shape),
            },
            Some(Gpt2Place::Same(name)) => self.file.take(&format!("{prefix}{name}"), shape),
            Some(Gpt2Place::Transposed(name)) => {
                transposed(&self.file.take(&format!("{prefix}{name}"), &[shape[1], shape[0]])?)
            }
            Some(Gpt2Place::Fused(name, part)) => {
                let width = self.width;
                if !self.fused.contains_key(&name) {
                    let whole = if shape.len() == 2 { vec![width, 3 * width] } else { vec![3 * width] };
                    let tensor = self.file.take(&format!("{prefix}{name}"), &whole)?;
                    self.fused.insert(name.clone(), tensor);
                }
                let taken =
                    transposed(&self.fused[&name].narrow(shape.len() - 1, part * width, width)?)?.contiguous()?;
                if part == 2 {
                    self.fused.remove(&name);
                }
                Ok(taken)
            }
        }
    }

    /// Checks that nothing is left.
    pub(super) fn finish(self) -> Result<()> {
        self.file.finish()
    }
}

/// The untied head, in every family.
pub(super) const HEAD: &str = "lm_head.weight";
