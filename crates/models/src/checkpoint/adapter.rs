//! LoRA's adapters in the layout of the PEFT library: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! GPT-2's files have one map for queries, keys and values. Their three adapters become one of three times the rank:
//! the rows of the three A on top of each other, the three B along a diagonal. PEFT scales an adapter by alpha / rank,
//! so that alpha is three times as large there too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use candle_core::{DType, Tensor};
use serde_json::{Map, json};

use super::family::Family;
use super::layout::module_of_gpt2;
use crate::lora::LoraConfig;
use crate::tensors;
use crate::transformer::Transformer;
use crate::{Error, Result};

/// The file of an adapter's weights in a folder that PEFT opens.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// The file with its rank, its scale and the maps that it is for.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";

/// What PEFT's wrappers put in front of a network's own names.
const PREFIX: &str = "base_model.model";

/// The adapter of a map in a file.
struct Adapted {
    /// `[rank, inputs]`.
    a: Tensor,
    /// `[outputs, rank]`.
    b: Tensor,
    /// How many adapters of ours it is made of.
    parts: usize,
}

/// Writes the adapters of a network that [`add_lora`](Transformer::add_lora) gave them.
///
/// # Errors
/// [`Error::Config`] if it has none, or Transformers has no class for it; [`Error::Io`] if the file cannot be written.
pub fn save_adapter(model: &Transformer, path: &Path) -> Result<()> {
    let mut named = Vec::new();
    for (module, Adapted { a, b, .. }) in adapted(model)? {
        named.push((format!("{PREFIX}.{module}.lora_A.weight"), a));
        named.push((format!("{PREFIX}.{module}.lora_B.weight"), b));
    }
    tensors::write(path, &named, HashMap::from([("format".to_owned(), "pt".to_owned())]))
}

/// The text of `adapter_config.json`; `base` is the name or path of the network that the adapters are for.
///
/// # Errors
/// As [`save_adapter`].
pub fn adapter_config(model: &Transformer, lora: &LoraConfig, base: &str) -> Result<String> {
    let is_gpt2 = Family::of(model.config()) == Family::Gpt2;
    let (mut targets, mut ranks, mut alphas) = (BTreeSet::new(), Map::new(), Map::new());
    for (module, Adapted { parts, .. }) in adapted(model)? {
        // The last part of the name, and the one before it where two maps of a block end alike (GPT-2's `c_proj`).
        let place = module.rmatch_indices('.').nth(usize::from(is_gpt2)).map_or(0, |(place, _)| place + 1);
        let target = module[place..].to_owned();
        if parts > 1 {
            ranks.insert(target.clone(), (parts * lora.rank).into());
            alphas.insert(target.clone(), (parts as f64 * lora.alpha).into());
        }
        targets.insert(target);
    }
    let config = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "target_modules": targets,
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "fan_in_fan_out": is_gpt2,
        "bias": "none",
        "modules_to_save": null,
        "use_rslora": false,
        "use_dora": false,
        "init_lora_weights": true,
        "inference_mode": true,
    });
    Ok(format!("{config:#}\n"))
}

/// All adapters by the name of their map in Hugging Face's files.
fn adapted(model: &Transformer) -> Result<BTreeMap<String, Adapted>> {
    let config = model.config();
    let family = Family::of(config);
    if family == Family::Own {
        let expected = "one of GPT-2, Llama, Qwen2 or Qwen3, for adapters that PEFT opens";
        return Err(Error::config("model", "a shape that Transformers has no class for", expected));
    }
    let parameters = model.parameters();
    let mut found = BTreeMap::new();
    let mut fused: BTreeMap<String, Vec<(usize, Tensor, Tensor)>> = BTreeMap::new();
    for (_, parameter) in parameters.iter() {
        let Some(module) = parameter.name.strip_suffix(".lora_A.weight") else { continue };
        let Some(b) = parameters.find(&format!("{module}.lora_B.weight")) else { continue };
        let (a, b) = (parameter.value.clone(), parameters.value(b).clone());
        match (family, module_of_gpt2(module)) {
            (Family::Gpt2, Some((name, Some(part)))) => fused.entry(name).or_default().push((part, a, b)),
            (Family::Gpt2, Some((name, None))) => _ = found.insert(name, Adapted { a, b, parts: 1 }),
            _ => _ = found.insert(module.to_owned(), Adapted { a, b, parts: 1 }),
        }
    }
    for (name, parts) in fused {
        found.insert(name, side_by_side(&parts, config.width)?);
    }
    match found.is_empty() {
        true => Err(Error::config("lora", "a network without adapters", "one with adapters that are not merged")),
        false => Ok(found),
    }
}

/// One adapter for a map whose outputs are those of three of `width` outputs each, of which these are adapted.
fn side_by_side(parts: &[(usize, Tensor, Tensor)], width: usize) -> Result<Adapted> {
    let (_, first, _) = &parts[0];
    let (rank, device) = (first.dim(0)?, first.device().clone());
    let zeros = |rows: usize| Tensor::zeros((rows, rank), DType::F32, &device);
    let columns = parts.iter().map(|(part, _, b)| {
        let rows = [zeros(part * width)?, b.clone(), zeros((2 - part) * width)?];
        Tensor::cat(&rows.into_iter().filter(|rows| rows.elem_count() > 0).collect::<Vec<_>>(), 0)
    });
    let columns = columns.collect::<candle_core::Result<Vec<_>>>()?;
    let rows: Vec<&Tensor> = parts.iter().map(|(_, a, _)| a).collect();
    Ok(Adapted { a: Tensor::cat(&rows, 0)?, b: Tensor::cat(&columns, 1)?.contiguous()?, parts: parts.len() })
}

#[cfg(test)]
mod tests {
    use candle_core::{D, Device};
    use serde_json::Value;

    use super::super::hugging_face_tensors;
    use super::*;
    use crate::config::{AttentionBias, ModelConfig, NormKind};
    use crate::lora::LoraTarget;

    const BOTH: LoraConfig = LoraConfig { rank: 2, alpha: 3.0, targets: Vec::new() };

    /// A network with adapters on these maps that change what it computes.
    fn with_adapters(config: &ModelConfig, targets: &[LoraTarget]) -> (Transformer, LoraConfig) {
        let lora = LoraConfig { targets: targets.to_vec(), ..BOTH };
        let mut model = Transformer::new(config, 3).unwrap();
        model.add_lora(&lora, 4).unwrap();
        let b: Vec<_> =
            model.parameters().iter().filter(|(_, p)| p.name.ends_with("lora_B.weight")).map(|(id, _)| id).collect();
        for (seed, id) in b.into_iter().enumerate() {
            let (rows, columns) = model.parameters().value(id).dims2().unwrap();
            let value = |i: usize| ((i * 37 + seed * 11) % 17) as f32 / 17.0 - 0.5;
            let values = (0..rows * columns).map(value).collect();
            let values = Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
            model.parameters_mut().set(id, values).unwrap();
        }
        (model, lora)
    }

    fn in_files(model: &Transformer) -> BTreeMap<String, Tensor> {
        let of = |name: &str| model.parameters().find(name).map(|id| model.parameters().value(id).clone());
        let named = hugging_face_tensors(model.config(), model.parameters(), of).unwrap();
        named.into_iter().filter(|(name, _)| !name.contains("lora_")).collect()
    }

    fn largest(tensor: &Tensor) -> f32 {
        tensor.abs().unwrap().max_all().unwrap().to_scalar().unwrap()
    }

    fn families() -> [ModelConfig; 4] {
        let llama = ModelConfig::llama(19, 8, 2, 16, 4, 2);
        let wide = ModelConfig { head_features: Some(6), ..llama.clone() };
        let qwen2 = ModelConfig { attention_bias: AttentionBias::Inputs, tied: true, ..llama.clone() };
        [ModelConfig::gpt2(19, 8, 2, 12, 3), llama, wide, qwen2]
    }

    /// What PEFT does with the two files: W + alpha / r B A, with Conv1D's matrices transposed, and rank and alpha by
    /// the pattern whose name a map's name ends with.
    #[test]
    fn base_and_adapter_are_the_merged_weights_in_every_family() {
        use LoraTarget::{DownProj, KProj, OProj, QProj, VProj};
        let some = [&LoraTarget::ALL[..], &[VProj, DownProj], &[QProj, KProj], &[QProj, VProj, OProj]];
        for (config, targets) in families().iter().flat_map(|config| some.map(|targets| (config, targets))) {
            let (mut model, lora) = with_adapters(config, targets);
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join(ADAPTER_WEIGHTS);
            save_adapter(&model, &file).unwrap();
            let said: Value = serde_json::from_str(&adapter_config(&model, &lora, "base").unwrap()).unwrap();
            let stored = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
            let mut weights = in_files(&model);
            let modules: BTreeSet<&str> = stored.keys().map(|name| name.rsplit_once(".lora_").unwrap().0).collect();
            assert_eq!(stored.len(), 2 * modules.len());
            for module in &modules {
                let target = said["target_modules"].as_array().unwrap().iter().find(|target| {
                    let target = target.as_str().unwrap();
                    module.ends_with(&format!(".{target}"))
                });
                let target = target.unwrap_or_else(|| panic!("{module} is no target of {said}")).as_str().unwrap();
                let of = |pattern: &str, all: &str| said[pattern].get(target).unwrap_or(&said[all]).as_f64().unwrap();
                let (rank, alpha) = (of("rank_pattern", "r"), of("alpha_pattern", "lora_alpha"));
                let (a, b) = (&stored[&format!("{module}.lora_A.weight")], &stored[&format!("{module}.lora_B.weight")]);
                assert_eq!((a.dim(0).unwrap(), b.dim(1).unwrap()), (rank as usize, rank as usize), "{module}");
                let change = (b.matmul(a).unwrap() * (alpha / rank)).unwrap();
                let change = match said["fan_in_fan_out"].as_bool().unwrap() {
                    true => change.t().unwrap(),
                    false => change,
                };
                let weight = weights.get_mut(&format!("{}.weight", &module["base_model.model.".len()..])).unwrap();
                *weight = (&*weight + change).unwrap();
            }
            model.merge_lora().unwrap();
            let merged = in_files(&model);
            assert_eq!(merged.keys().collect::<Vec<_>>(), weights.keys().collect::<Vec<_>>());
            let base = in_files(&Transformer::new(config, 3).unwrap());
            for (name, merged) in &merged {
                assert!(largest(&(merged - &weights[name]).unwrap()) < 1e-6, "{name}");
                let module = format!("base_model.model.{}", name.trim_end_matches(".weight"));
                let changed = largest(&(merged - &base[name]).unwrap()) > 0.0;
                assert_eq!(changed, modules.contains(module.as_str()), "{name}");
            }
        }
    }

    #[test]
    fn files_have_the_names_shapes_and_fields_of_peft() {
        let (gpt2, lora) = with_adapters(&families()[0], &LoraTarget::ALL);
        let adapters = adapted(&gpt2).unwrap();
        let names: Vec<&str> = adapters.keys().map(String::as_str).take(4).collect();
        let of_block = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"];
        assert_eq!(names, of_block.map(|name| format!("transformer.h.0.{name}")));
        let fused = &adapters["transformer.h.1.attn.c_attn"];
        assert_eq!((fused.a.dims(), fused.b.dims()), (&[6, 12][..], &[36, 6][..]));
        let text = adapter_config(&gpt2, &lora, "import-1").unwrap();
        let said: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(said["target_modules"], json!(of_block));
        assert_eq!(
            (&said["rank_pattern"], &said["alpha_pattern"]),
            (&json!({"attn.c_attn": 6}), &json!({"attn.c_attn": 9.0}))
        );
        assert_eq!((&said["r"], &said["lora_alpha"], &said["fan_in_fan_out"]), (&json!(2), &json!(3.0), &json!(true)));
        assert_eq!((&said["peft_type"], &said["base_model_name_or_path"]), (&json!("LORA"), &json!("import-1")));

        let (llama, lora) = with_adapters(&families()[1], &LoraTarget::ALL);
        let said: Value = serde_json::from_str(&adapter_config(&llama, &lora, "x").unwrap()).unwrap();
        let all = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"];
        assert_eq!((&said["target_modules"], &said["fan_in_fan_out"]), (&json!(all), &json!(false)));
        assert_eq!(said["rank_pattern"], json!({}));
        assert_eq!(adapted(&llama).unwrap()["model.layers.1.self_attn.k_proj"].b.dims(), [8, 2]);
    }

    #[test]
    fn a_network_without_adapters_or_without_a_class_is_refused() {
        let message = |model: &Transformer| adapter_config(model, &BOTH, "x").unwrap_err().to_string();
        let plain = Transformer::new(&families()[1], 1).unwrap();
        assert!(message(&plain).contains("a network without adapters"));
        let own = ModelConfig { norm: NormKind::Rms, ..ModelConfig::gpt2(19, 8, 2, 12, 3) };
        assert!(message(&with_adapters(&own, &LoraTarget::ALL).0).contains("no class for"));
        let (model, _) = with_adapters(&families()[0], &LoraTarget::ALL);
        let b = &adapted(&model).unwrap()["transformer.h.0.attn.c_attn"].b;
        // Outside the diagonal there is nothing: keys' rows know nothing of queries' columns.
        assert_eq!(largest(&b.narrow(0, 12, 12).unwrap().narrow(D::Minus1, 0, 2).unwrap()), 0.0);
    }
}
