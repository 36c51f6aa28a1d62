//! `config.json`: the network's shape, read and written.

use serde_json::{Map, Value, json};

use super::family::Family;
use super::special::SpecialTokens;
use crate::config::{AttentionBias, ModelConfig, Positions, RotaryScaling};

/// The content of `config.json`, for the class that Transformers has for the shape.
pub(super) fn config_json(config: &ModelConfig, tokens: Option<&SpecialTokens>) -> Value {
    let mut fields = match (Family::of(config), config.positions) {
        (Family::Gpt2, _) => gpt2_json(config),
        (family @ (Family::Llama | Family::Qwen2 | Family::Qwen3), Positions::Rotary { theta, scaling }) => {
            llama_json(config, family, theta, scaling)
        }
        _ => json!({ "model_type": "omc", "shape": config }),
    };
    if let (Value::Object(fields), Some(tokens)) = (&mut fields, tokens) {
        fields.extend(tokens.fields());
    }
    fields
}

fn gpt2_json(config: &ModelConfig) -> Value {
    json!({
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
    })
}

fn llama_json(config: &ModelConfig, family: Family, theta: f64, scaling: Option<RotaryScaling>) -> Value {
    let (model_type, class) = match family {
        Family::Qwen2 => ("qwen2", "Qwen2ForCausalLM"),
        Family::Qwen3 => ("qwen3", "Qwen3ForCausalLM"),
        _ => ("llama", "LlamaForCausalLM"),
    };
    let mut value = json!({
        "model_type": model_type,
        "architectures": [class],
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
        "attention_bias": config.bias || config.attention_bias != AttentionBias::None,
        "mlp_bias": config.bias,
        "tie_word_embeddings": config.tied,
        "torch_dtype": "float32",
    });
    if config.head_features.is_some() || family == Family::Qwen3 {
        value["head_dim"] = config.head_width().into();
    }
    match scaling {
        None => {}
        Some(RotaryScaling::Linear { factor }) => {
            value["rope_scaling"] = json!({ "rope_type": "linear", "factor": factor });
        }
        Some(RotaryScaling::Llama3 { factor, low, high, original }) => {
            value["rope_scaling"] = json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": original,
            });
        }
    }
    value
}

/// The fields of a JSON object, each checked as it is read; a field that is null counts as missing.
#[derive(Clone, Copy)]
struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// What stands before a name in messages.
    within: &'a str,
}

impl<'a> Fields<'a> {
    fn get(self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn refuse<T>(
        self,
        key: &str,
        found: impl std::fmt::Display,
        expected: impl std::fmt::Display,
    ) -> Result<T, String> {
        Err(format!("field `{}{key}`: found {found}, expected {expected}", self.within))
    }

    fn wrong<T>(self, key: &str, found: &Value, expected: &str) -> Result<T, String> {
        let mut text = found.to_string();
        if let Some((end, _)) = text.char_indices().nth(60) {
            text.truncate(end);
            text.push_str("...");
        }
        self.refuse(key, text, expected)
    }

    fn count_or(self, key: &str, default: Option<usize>) -> Result<usize, String> {
        match (self.get(key), default) {
            (Some(found), _) => match found.as_u64().and_then(|n| usize::try_from(n).ok()) {
                Some(number) => Ok(number),
                None => self.wrong(key, found, "a whole number"),
            },
            (None, Some(default)) => Ok(default),
            (None, None) => Err(format!("field `{}{key}` is missing", self.within)),
        }
    }

    fn count(self, key: &str) -> Result<usize, String> {
        self.count_or(key, None)
    }

    fn number(self, key: &str, default: f64) -> Result<f64, String> {
        match self.get(key) {
            Some(found) => found.as_f64().map_or_else(|| self.wrong(key, found, "a number"), Ok),
            None => Ok(default),
        }
    }

    fn flag(self, key: &str, default: bool) -> Result<bool, String> {
        match self.get(key) {
            Some(found) => found.as_bool().map_or_else(|| self.wrong(key, found, "true or false"), Ok),
            None => Ok(default),
        }
    }

    fn object(self, key: &str, within: &'a str) -> Result<Option<Fields<'a>>, String> {
        match self.get(key) {
            Some(Value::Object(object)) => Ok(Some(Fields { object, within })),
            Some(found) => self.wrong(key, found, "an object"),
            None => Ok(None),
        }
    }

    /// Refuses a value that is there and none of `allowed`.
    fn only(self, key: &str, allowed: &[&str]) -> Result<(), String> {
        match self.get(key) {
            Some(found) if !found.as_str().is_some_and(|found| allowed.contains(&found)) => {
                self.wrong(key, found, &allowed.join(" or "))
            }
            _ => Ok(()),
        }
    }

    fn only_flag(self, key: &str, allowed: bool) -> Result<(), String> {
        match self.flag(key, allowed)? == allowed {
            true => Ok(()),
            false => self.refuse(key, !allowed, allowed),
        }
    }
}

/// The model types that are read.
const TYPES: &str = "`gpt2`, `llama`, `mistral`, `qwen2`, `qwen3` or `omc`";

/// The network's shape from a `config.json`, or what is wrong with it, by the name of the field.
pub(super) fn parse_config(value: &Value) -> Result<ModelConfig, String> {
    let Value::Object(object) = value else { return Err("found no object, expected the fields of a network".into()) };
    let fields = Fields { object, within: "" };
    if let Some(found) = fields.get("quantization_config") {
        let method = found.get("quant_method").and_then(Value::as_str).unwrap_or("a table");
        return fields.refuse("quantization_config", format!("`{method}`"), "none: weights in f32, f16 or bf16");
    }
    let config = match fields.get("model_type").and_then(Value::as_str) {
        Some("gpt2") => gpt2(fields)?,
        Some(family @ ("llama" | "mistral" | "qwen2" | "qwen3")) => like_llama(fields, family)?,
        Some("omc") => {
            let shape = value.get("shape").ok_or("field `shape` is missing")?;
            serde_json::from_value(shape.clone()).map_err(|e| format!("field `shape`: {e}"))?
        }
        Some(other) => return fields.refuse("model_type", format!("`{other}`"), TYPES),
        None => return Err(format!("field `model_type` is missing, expected {TYPES}")),
    };
    config.validate().map_err(|error| error.to_string())?;
    Ok(config)
}

fn gpt2(fields: Fields<'_>) -> Result<ModelConfig, String> {
    fields.only("activation_function", &["gelu_new", "gelu_pytorch_tanh"])?;
    fields.only_flag("scale_attn_weights", true)?;
    fields.only_flag("scale_attn_by_inverse_layer_idx", false)?;
    fields.only_flag("add_cross_attention", false)?;
    let width = fields.count("n_embd")?;
    let (vocabulary, context) = (fields.count("vocab_size")?, fields.count("n_positions")?);
    let shape = ModelConfig::gpt2(vocabulary, context, fields.count("n_layer")?, width, fields.count("n_head")?);
    Ok(ModelConfig {
        mlp_width: fields.count_or("n_inner", Some(width.saturating_mul(4)))?,
        norm_eps: fields.number("layer_norm_epsilon", 1e-5)?,
        tied: fields.flag("tie_word_embeddings", true)?,
        ..shape
    })
}

fn like_llama(fields: Fields<'_>, family: &str) -> Result<ModelConfig, String> {
    fields.only("hidden_act", &["silu"])?;
    if fields.number("partial_rotary_factor", 1.0)? != 1.0 {
        return fields.wrong("partial_rotary_factor", &fields.object["partial_rotary_factor"], "1");
    }
    let (width, heads) = (fields.count("hidden_size")?, fields.count("num_attention_heads")?);
    let layers = fields.count("num_hidden_layers")?;
    let kv_heads = fields.count_or("num_key_value_heads", Some(heads))?;
    let head_width = fields.count_or("head_dim", Some(width / heads.max(1)))?;
    let (bias, attention_bias) = biases(fields, family)?;
    let shape =
        ModelConfig::llama(fields.count("vocab_size")?, context(fields, family)?, layers, width, heads, kv_heads);
    Ok(ModelConfig {
        mlp_width: fields.count("intermediate_size")?,
        norm_eps: fields.number("rms_norm_eps", 1e-6)?,
        positions: rotation(fields)?,
        bias,
        attention_bias,
        head_norms: family == "qwen3",
        head_features: (head_width.checked_mul(heads) != Some(width)).then_some(head_width),
        tied: fields.flag("tie_word_embeddings", false)?,
        ..shape
    })
}

/// Whether all linear maps have biases, and which of attention's if not.
fn biases(fields: Fields<'_>, family: &str) -> Result<(bool, AttentionBias), String> {
    if family == "qwen2" {
        return Ok((false, AttentionBias::Inputs));
    }
    if family == "mistral" {
        return Ok((false, AttentionBias::None));
    }
    let attention = fields.flag("attention_bias", false)?;
    match (attention, family == "llama" && fields.flag("mlp_bias", false)?) {
        (true, true) => Ok((true, AttentionBias::None)),
        (true, false) => Ok((false, AttentionBias::All)),
        (false, false) => Ok((false, AttentionBias::None)),
        (false, true) => fields.refuse("mlp_bias", "true", "false, where `attention_bias` is false"),
    }
}

/// The longest sequence. Inside a sliding window, attention is what it is without one.
fn context(fields: Fields<'_>, family: &str) -> Result<usize, String> {
    let longest = fields.count("max_position_embeddings")?;
    let kinds = fields.get("layer_types").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if let Some(kind) = kinds.iter().find(|kind| *kind != "full_attention" && *kind != "sliding_attention") {
        return fields.wrong("layer_types", kind, "full_attention or sliding_attention");
    }
    let slides = family == "mistral"
        || fields.flag("use_sliding_window", false)?
        || kinds.iter().any(|kind| kind == "sliding_attention");
    match slides {
        true => Ok(longest.min(fields.count_or("sliding_window", Some(longest))?)),
        false => Ok(longest),
    }
}

fn rotation(fields: Fields<'_>) -> Result<Positions, String> {
    let plain = fields.number("rope_theta", 10_000.0)?;
    let table = match fields.object("rope_parameters", "rope_parameters.")? {
        Some(table) => Some(table),
        None => fields.object("rope_scaling", "rope_scaling.")?,
    };
    let Some(table) = table else { return Ok(Positions::Rotary { theta: plain, scaling: None }) };
    let key = if table.get("rope_type").is_some() { "rope_type" } else { "type" };
    table.only(key, &["default", "linear", "llama3"])?;
    if table.number("partial_rotary_factor", 1.0)? != 1.0 {
        return table.wrong("partial_rotary_factor", &table.object["partial_rotary_factor"], "1");
    }
    let scaling = match table.get(key).and_then(Value::as_str) {
        Some("linear") => Some(RotaryScaling::Linear { factor: table.number("factor", 1.0)? }),
        Some("llama3") => Some(RotaryScaling::Llama3 {
            factor: table.number("factor", 8.0)?,
            low: table.number("low_freq_factor", 1.0)?,
            high: table.number("high_freq_factor", 4.0)?,
            original: table.count("original_max_position_embeddings")?,
        }),
        _ => None,
    };
    Ok(Positions::Rotary { theta: table.number("rope_theta", plain)?, scaling })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_refused(json: Value, expected: &[&str]) {
        let message = parse_config(&json).unwrap_err();
        for part in expected {
            assert!(message.contains(part), "no `{part}` in `{message}`");
        }
    }

    fn llama() -> Value {
        json!({
            "model_type": "llama", "vocab_size": 64, "hidden_size": 24, "num_attention_heads": 4,
            "num_hidden_layers": 2, "intermediate_size": 40, "max_position_embeddings": 32,
        })
    }

    fn with(key: &str, value: Value) -> Value {
        let mut json = llama();
        json[key] = value;
        json
    }

    #[test]
    fn a_config_with_a_missing_or_unknown_field_says_which() {
        assert_refused(json!([]), &["no object"]);
        assert_refused(json!({}), &["model_type", "missing"]);
        assert_refused(json!({"model_type": "bert"}), &["model_type", "`bert`", "`gpt2`"]);
        assert_refused(json!({"model_type": "gpt2", "n_embd": "x"}), &["n_embd", "\"x\""]);
        assert_refused(json!({"model_type": "gpt2", "activation_function": "relu"}), &["activation_function", "relu"]);
        assert_refused(json!({"model_type": "gpt2", "scale_attn_weights": false}), &["scale_attn_weights", "true"]);
        assert_refused(with("hidden_act", "gelu".into()), &["hidden_act", "gelu", "silu"]);
        assert_refused(with("mlp_bias", true.into()), &["mlp_bias"]);
        assert_refused(with("hidden_size", Value::Null), &["hidden_size", "missing"]);
        assert_refused(with("num_attention_heads", (-4).into()), &["num_attention_heads", "-4"]);
        assert_refused(with("num_attention_heads", 0.into()), &["heads", "0"]);
        assert_refused(with("num_key_value_heads", 3.into()), &["kv-heads", "3"]);
        assert_refused(with("rms_norm_eps", "tiny".into()), &["rms_norm_eps", "tiny", "a number"]);
        assert_refused(with("partial_rotary_factor", 0.5.into()), &["partial_rotary_factor", "0.5"]);
        assert_refused(with("rope_scaling", json!({"rope_type": "yarn"})), &["rope_scaling.rope_type", "yarn"]);
        assert_refused(with("rope_scaling", json!({"type": "dynamic"})), &["rope_scaling.type", "dynamic"]);
        assert_refused(with("rope_scaling", 2.into()), &["rope_scaling", "2", "an object"]);
        assert_refused(with("quantization_config", json!({"quant_method": "awq"})), &["quantization_config", "awq"]);
        assert_refused(with("layer_types", json!(["linear_attention"])), &["layer_types", "linear_attention"]);
    }

    #[test]
    fn heads_rotation_and_windows_are_read_in_old_and_new_spelling() {
        let theta = |json: &Value| parse_config(json).unwrap().positions;
        let plain = Positions::Rotary { theta: 5e5, scaling: None };
        assert_eq!(theta(&with("rope_theta", 5e5.into())), plain);
        assert_eq!(theta(&with("rope_parameters", json!({"rope_type": "default", "rope_theta": 5e5}))), plain);
        let linear = Positions::Rotary { theta: 1e4, scaling: Some(RotaryScaling::Linear { factor: 2.0 }) };
        assert_eq!(theta(&with("rope_scaling", json!({"type": "linear", "factor": 2.0}))), linear);

        assert_eq!(parse_config(&with("head_dim", 6.into())).unwrap().head_features, None);
        assert_eq!(parse_config(&with("head_dim", 10.into())).unwrap().head_features, Some(10));

        let mut mistral = with("sliding_window", 16.into());
        assert_eq!(parse_config(&mistral).unwrap().context, 32);
        mistral["model_type"] = "mistral".into();
        assert_eq!(parse_config(&mistral).unwrap().context, 16);
    }
}
