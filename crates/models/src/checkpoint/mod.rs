//! Checkpoints in Hugging Face's names and layouts, and GGUF files, of the GPT-2, Llama, Mistral, Qwen2 and Qwen3
//! families.
//!
//! ```text
//! folder: config.json -> shape      model.safetensors, or shards with an index -> layout --+
//! file.gguf: metadata -> gguf       its tensors, quantised or not ------------------------+--> Transformer
//! Transformer -> layout -> model.safetensors;  shape, export -> config.json, tokenizer.json, ...
//!             -> adapter -> adapter_model.safetensors, adapter_config.json
//! ```
//!
//! What is written is of the class that Transformers has for the shape; a shape that none has is written under this
//! crate's own names (Llama's, plus `model.embed_positions.weight` and biases) with `"model_type": "omc"`.

mod adapter;
mod export;
mod family;
mod gguf;
mod gguf_tokenizer;
mod layout;
mod shape;
mod shards;
mod source;
mod special;

use std::collections::HashMap;
use std::path::Path;

use candle_core::Device;

pub use adapter::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_config, save_adapter};
pub use export::files as files_beside;
pub use layout::hugging_face_tensors;
pub use source::{CHAT_TEMPLATE, Source, TOKENIZER};
pub use special::SpecialTokens;

use crate::config::ModelConfig;
use crate::tensors::{self, TensorFile};
use crate::transformer::Transformer;
use crate::{Error, Result};

/// The file of weights in a checkpoint's directory.
pub const WEIGHTS: &str = "model.safetensors";
/// The file with the model's shape.
pub const CONFIG: &str = "config.json";

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
    format!("{:#}\n", shape::config_json(config, None))
}

/// Reads a checkpoint that [`save`] or Hugging Face's `save_pretrained` wrote, or a GGUF file.
///
/// # Errors
/// One line that names the file and the field or tensor that is missing, superfluous or of another shape.
pub fn load(path: &Path) -> Result<Transformer> {
    Source::open(path)?.read()
}

/// Replaces the weights of `model` by those of a file in the same layout as [`save`]'s.
///
/// # Errors
/// As [`load`].
pub fn load_weights(model: &mut Transformer, path: &Path) -> Result<()> {
    source::fill(model, TensorFile::read(path, &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;
    use crate::config::{AttentionBias, NormKind, Positions, RotaryScaling};
    use crate::lora::LoraConfig;

    fn shapes() -> Vec<ModelConfig> {
        let mixed = ModelConfig { norm: NormKind::Rms, ..ModelConfig::gpt2(19, 8, 2, 12, 3) };
        let untied = ModelConfig { tied: false, ..ModelConfig::gpt2(19, 8, 2, 12, 3) };
        let llama = ModelConfig::llama(19, 8, 2, 16, 4, 2);
        let scaling = Some(RotaryScaling::Llama3 { factor: 4.0, low: 1.0, high: 4.0, original: 4 });
        let scaled = ModelConfig { positions: Positions::Rotary { theta: 5e5, scaling }, ..llama.clone() };
        let biased = ModelConfig { bias: true, head_features: Some(6), ..llama.clone() };
        let qwen2 = ModelConfig { attention_bias: AttentionBias::Inputs, tied: true, ..llama.clone() };
        let qwen3 = ModelConfig { head_norms: true, attention_bias: AttentionBias::All, ..llama.clone() };
        let own = ModelConfig { head_norms: true, attention_bias: AttentionBias::Inputs, ..llama.clone() };
        vec![ModelConfig::gpt2(19, 8, 2, 12, 3), untied, mixed, llama, scaled, biased, qwen2, qwen3, own]
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

    /// A snapshot in the middle of a training with LoRA.
    #[test]
    fn weights_with_adapters_come_back_to_the_bit_in_every_family() {
        for config in shapes() {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join(WEIGHTS);
            let adapted = |seed| {
                let mut model = Transformer::new(&config, seed).unwrap();
                model.add_lora(&LoraConfig::all(2), seed).unwrap();
                model
            };
            let (model, mut back) = (adapted(3), adapted(4));
            save_weights(&model, &file).unwrap();
            load_weights(&mut back, &file).unwrap();
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
}
