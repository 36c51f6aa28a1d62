//! GGUF files of the Llama, Qwen and GPT-2 families, with quantised weights multiplied out to f32.
//!
//! llama.cpp rotates neighbouring features of a head where Transformers rotates its two halves; files of its type
//! `llama` have queries and keys in that order, and are put back here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Tensor};

use super::special::SpecialTokens;
use crate::config::{AttentionBias, ModelConfig, Positions, RotaryScaling};
use crate::guard::unpanicked;
use crate::{Error, Result};

/// How far the file's factors may be from those that its rotation's numbers give.
const SAME_FACTORS: f64 = 1e-3;
/// Where a rotation's scaling is stored as one factor a frequency.
const FACTORS: &str = "rope_freqs.weight";

/// The most numbers of a tensor: more than any file holds.
const MOST_NUMBERS: usize = 1 << 40;

/// An opened file.
pub(super) struct Gguf {
    path: PathBuf,
    content: Content,
    reader: BufReader<File>,
    family: Family,
    heads: usize,
    kv_heads: usize,
    width: usize,
    /// GPT-2's queries, keys and values of one layer, until all three are taken.
    fused: BTreeMap<String, Tensor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Llama,
    Qwen2,
    Qwen3,
    Gpt2,
}

impl Gguf {
    /// Opens a file and reads its header.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        let mut reader = BufReader::new(file);
        let refuse = |what: String| Error::File { path: path.into(), what };
        let damaged = |found: &str| refuse(format!("found {found}, expected a whole GGUF file"));
        // The library divides by the file's alignment.
        let content = unpanicked(|| Content::read(&mut reader)).map_err(|reason| damaged(&reason))?;
        let content = content.map_err(|error| damaged(&first_line(&error)))?;
        for (name, tensor) in &content.tensor_infos {
            let count = tensor.shape.dims().iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
            // Of nothing the library makes a slice whose pointer it has not aligned.
            if count.is_none_or(|count| count == 0 || count > MOST_NUMBERS) {
                let expected = format!("1 to {MOST_NUMBERS} numbers");
                return Err(refuse(format!("tensor `{name}`: found {:?}, expected {expected}", tensor.shape.dims())));
            }
        }
        let architecture = match content.metadata.get("general.architecture") {
            Some(Value::String(name)) => name.as_str(),
            _ => return Err(refuse("key `general.architecture` is missing".into())),
        };
        let family = match architecture {
            "llama" => Family::Llama,
            "qwen2" => Family::Qwen2,
            "qwen3" => Family::Qwen3,
            "gpt2" => Family::Gpt2,
            other => {
                let expected = "llama, qwen2, qwen3 or gpt2";
                return Err(refuse(format!("key `general.architecture`: found {other}, expected {expected}")));
            }
        };
        let mut opened = Self {
            path: path.into(),
            content,
            reader,
            family,
            heads: 1,
            kv_heads: 1,
            width: 1,
            fused: BTreeMap::new(),
        };
        opened.heads = opened.count("attention.head_count")?;
        opened.kv_heads = match opened.find("attention.head_count_kv") {
            Some(_) => opened.count("attention.head_count_kv")?,
            None => opened.heads,
        };
        opened.width = opened.count("embedding_length")?;
        Ok(opened)
    }

    fn refuse<T>(&self, what: impl Into<String>) -> Result<T> {
        Err(Error::File { path: self.path.clone(), what: what.into() })
    }

    fn key(&self, key: &str) -> String {
        let architecture = match self.family {
            Family::Llama => "llama",
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
            Family::Gpt2 => "gpt2",
        };
        format!("{architecture}.{key}")
    }

    fn find(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(&self.key(key))
    }

    fn count(&self, key: &str) -> Result<usize> {
        let number = match self.find(key) {
            Some(Value::I32(number)) => usize::try_from(*number).ok(),
            Some(value) => value.to_u64().ok().and_then(|number| usize::try_from(number).ok()),
            None => return self.refuse(format!("key `{}` is missing", self.key(key))),
        };
        match number {
            Some(number) => Ok(number),
            None => self.refuse(format!("key `{}`: found another type, expected one whole number", self.key(key))),
        }
    }

    /// A number as it was written in decimals, before it was rounded to f32.
    fn number(&self, key: &str) -> Result<Option<f64>> {
        match self.find(key) {
            None => Ok(None),
            Some(Value::F32(number)) => Ok(number.to_string().parse().ok()),
            Some(Value::F64(number)) => Ok(Some(*number)),
            Some(_) => self.refuse(format!("key `{}`: found another type, expected a number", self.key(key))),
        }
    }

    fn has(&self, tensor: &str) -> bool {
        self.content.tensor_infos.contains_key(tensor)
    }

    /// The shape of the network.
    pub(super) fn config(&mut self) -> Result<ModelConfig> {
        let Some(table) = self.content.tensor_infos.get("token_embd.weight") else {
            return Err(Error::MissingTensor { path: self.path.clone(), name: "token_embd.weight".into() });
        };
        let vocabulary = table.shape.dims().first().copied().unwrap_or(0);
        let (layers, context) = (self.count("block_count")?, self.count("context_length")?);
        let (heads, kv_heads, width) = (self.heads, self.kv_heads, self.width);
        let mlp_width = self.count("feed_forward_length")?;
        let tied = !self.has("output.weight");
        let config = if self.family == Family::Gpt2 {
            let norm_eps = self.number("attention.layer_norm_epsilon")?.unwrap_or(1e-5);
            // llama.cpp writes the embedding a second time, as the head.
            let tied = tied || self.same("output.weight", "token_embd.weight")?;
            let shape = ModelConfig::gpt2(vocabulary, context, layers, width, heads);
            ModelConfig { mlp_width, norm_eps, tied, ..shape }
        } else {
            let head_width = match self.find("attention.key_length") {
                Some(_) => self.count("attention.key_length")?,
                None => width / heads.max(1),
            };
            if self.find("attention.value_length").is_some() && self.count("attention.value_length")? != head_width {
                return self
                    .refuse("key `attention.value_length`: found another number than of `attention.key_length`");
            }
            let theta = self.number("rope.freq_base")?.unwrap_or(10_000.0);
            let (inputs, output) = (self.has("blk.0.attn_q.bias"), self.has("blk.0.attn_output.bias"));
            let attention_bias = match (inputs, output) {
                (false, _) => AttentionBias::None,
                (true, false) => AttentionBias::Inputs,
                (true, true) => AttentionBias::All,
            };
            let bias = output && self.has("blk.0.ffn_up.bias");
            let shape = ModelConfig::llama(vocabulary, context, layers, width, heads, kv_heads);
            ModelConfig {
                mlp_width,
                norm_eps: self.number("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-6),
                positions: Positions::Rotary { theta, scaling: self.scaling(theta, head_width)? },
                bias,
                attention_bias: if bias { AttentionBias::None } else { attention_bias },
                head_norms: self.has("blk.0.attn_q_norm.weight"),
                head_features: (head_width.checked_mul(heads) != Some(width)).then_some(head_width),
                tied,
                ..shape
            }
        };
        config.validate().or_else(|error| self.refuse(error.to_string()))?;
        Ok(config)
    }

    fn same(&mut self, a: &str, b: &str) -> Result<bool> {
        let (a, b) = (self.read(a)?, self.read(b)?);
        Ok(a.dims() == b.dims() && (a - b)?.abs()?.max_all()?.to_scalar::<f32>()? == 0.0)
    }

    /// The rotation's scaling: a kind by its name, or Llama 3's recognised by its factors.
    fn scaling(&mut self, theta: f64, head_width: usize) -> Result<Option<RotaryScaling>> {
        let kind = match self.find("rope.scaling.type") {
            Some(Value::String(kind)) => kind.clone(),
            _ => "none".into(),
        };
        match kind.as_str() {
            "none" => {}
            "linear" => {
                let factor = self.number("rope.scaling.factor")?.unwrap_or(1.0);
                return Ok(Some(RotaryScaling::Linear { factor }));
            }
            other => {
                let key = self.key("rope.scaling.type");
                return self.refuse(format!("key `{key}`: found {other}, expected none or linear"));
            }
        }
        if !self.has(FACTORS) {
            return Ok(None);
        }
        let factors: Vec<f64> =
            self.read(FACTORS)?.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from).collect();
        let factor = factors.iter().copied().fold(1.0, f64::max);
        // The context before it was stretched is not in the file: powers of two are tried.
        let fits = |original: usize| {
            let scaling = RotaryScaling::Llama3 { factor, low: 1.0, high: 4.0, original };
            let given = |j: usize| theta.powf(-2.0 * j as f64 / head_width as f64);
            let right =
                |(j, found): (usize, &f64)| (given(j) / scaling.frequency(given(j)) / found - 1.0).abs() < SAME_FACTORS;
            (factors.len() == head_width / 2 && factors.iter().enumerate().all(right)).then_some(scaling)
        };
        match (4..=24).rev().find_map(|power| fits(1 << power)) {
            Some(scaling) => Ok(Some(scaling)),
            None => {
                self.refuse(format!("tensor `{FACTORS}`: found other factors, expected those of Llama 3's scaling"))
            }
        }
    }

    fn read(&mut self, name: &str) -> Result<Tensor> {
        if !self.has(name) {
            return Err(Error::MissingTensor { path: self.path.clone(), name: name.into() });
        }
        let tensor = self.content.tensor(&mut self.reader, name, &Device::Cpu);
        tensor.and_then(|tensor| tensor.dequantize(&Device::Cpu)).map_err(|error| Error::File {
            path: self.path.clone(),
            what: format!("tensor `{name}`: {}", first_line(&error)),
        })
    }

    /// The parameter called `name` (this crate's name), in this crate's layout.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let place = place(name, self.family)
            .ok_or_else(|| Error::MissingTensor { path: self.path.clone(), name: name.into() })?;
        let (target, part) = match place {
            Place::Whole(target) => (target, None),
            Place::Fused(target, part) => (target, Some(part)),
        };
        let tensor = match part {
            None => self.read(&target)?,
            Some(part) => {
                if !self.fused.contains_key(&target) {
                    let whole = self.read(&target)?;
                    self.fused.insert(target.clone(), whole);
                }
                let whole = &self.fused[&target];
                let mut expected = shape.to_vec();
                expected[0] *= 3;
                if whole.dims() != expected {
                    return Err(Error::Shape { name: target, found: whole.dims().to_vec(), expected });
                }
                let taken = whole.narrow(0, part * shape[0], shape[0])?.contiguous()?;
                if part == 2 {
                    self.fused.remove(&target);
                }
                taken
            }
        };
        if tensor.dims() != shape {
            return Err(Error::Shape { name: target, found: tensor.dims().to_vec(), expected: shape.to_vec() });
        }
        match (self.family, name.contains("self_attn.q_proj"), name.contains("self_attn.k_proj")) {
            (Family::Llama, true, _) => halves(&tensor, self.heads),
            (Family::Llama, _, true) => halves(&tensor, self.kv_heads),
            _ => Ok(tensor),
        }
    }

    /// The tokens that begin and end a text.
    pub(super) fn special_tokens(&self) -> SpecialTokens {
        let id = |key: &str| {
            let value = self.content.metadata.get(&format!("tokenizer.ggml.{key}"))?;
            u32::try_from(value.to_u64().ok()?).ok()
        };
        SpecialTokens { end: id("eos_token_id").into_iter().collect(), begin: id("bos_token_id") }
    }

    /// How a conversation becomes text.
    pub(super) fn chat_template(&self) -> Option<String> {
        let template = self.content.metadata.get("tokenizer.chat_template")?;
        template.to_string().ok().cloned()
    }

    /// What the file says of its tokenizer, by the key behind `tokenizer.ggml.`.
    pub(super) fn of_tokenizer(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(&format!("tokenizer.ggml.{key}"))
    }
}

/// llama.cpp's name of a parameter.
enum Place {
    Whole(String),
    /// A third of the rows.
    Fused(String, usize),
}

fn place(name: &str, family: Family) -> Option<Place> {
    let whole = |name: &str| Some(Place::Whole(name.into()));
    match name {
        "model.embed_tokens.weight" => return whole("token_embd.weight"),
        "model.embed_positions.weight" => return whole("position_embd.weight"),
        "model.norm.weight" => return whole("output_norm.weight"),
        "model.norm.bias" => return whole("output_norm.bias"),
        super::layout::HEAD => return whole("output.weight"),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (module, leaf) = rest.rsplit_once('.')?;
    let fused = |part| Some(Place::Fused(format!("blk.{layer}.attn_qkv.{leaf}"), part));
    let target = match (module, family) {
        ("self_attn.q_proj", Family::Gpt2) => return fused(0),
        ("self_attn.k_proj", Family::Gpt2) => return fused(1),
        ("self_attn.v_proj", Family::Gpt2) => return fused(2),
        ("self_attn.q_proj", _) => "attn_q",
        ("self_attn.k_proj", _) => "attn_k",
        ("self_attn.v_proj", _) => "attn_v",
        ("self_attn.o_proj", _) => "attn_output",
        ("self_attn.q_norm", _) => "attn_q_norm",
        ("self_attn.k_norm", _) => "attn_k_norm",
        ("input_layernorm", _) => "attn_norm",
        ("post_attention_layernorm", _) => "ffn_norm",
        ("mlp.gate_proj", _) => "ffn_gate",
        ("mlp.up_proj", _) => "ffn_up",
        ("mlp.down_proj", _) => "ffn_down",
        _ => return None,
    };
    Some(Place::Whole(format!("blk.{layer}.{target}.{leaf}")))
}

/// The rows of every head with its even ones first, then its odd ones.
fn halves(tensor: &Tensor, heads: usize) -> Result<Tensor> {
    let rows = tensor.dim(0)?;
    let rest = tensor.elem_count() / rows;
    let pairs = tensor.reshape((heads, rows / heads / 2, 2, rest))?;
    Ok(pairs.transpose(1, 2)?.contiguous()?.reshape(tensor.shape())?)
}

/// The first line of an error of the tensor library, which may have a backtrace below it.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or("an error").to_owned()
}
