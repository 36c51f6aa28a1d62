//! The tokenizer inside a GGUF file as a `tokenizer.json`: byte-level BPE, which llama.cpp calls `gpt2`.

use std::path::Path;

use candle_core::quantized::gguf_file::Value;
use serde_json::{Map, Value as Json, json};

use super::gguf::Gguf;
use crate::{Error, Result};

/// Types of tokens that are found in text before it is divided: control tokens, and a user's own.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// The text of a `tokenizer.json`.
///
/// # Errors
/// One line that names the key which is missing or of another kind.
pub(super) fn tokenizer_json(file: &Gguf, path: &Path) -> Result<String> {
    let refuse = |what: String| Error::File { path: path.into(), what };
    let text = |key: &str| match file.of_tokenizer(key) {
        Some(Value::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let beside = "or a tokenizer.json beside the file";
    match text("model") {
        Some("gpt2") => {}
        other => {
            let found = other.unwrap_or("none");
            return Err(refuse(format!("key `tokenizer.ggml.model`: found {found}, expected gpt2, {beside}")));
        }
    }
    let strings = |key: &str| -> Result<Vec<&str>> {
        let wrong =
            || refuse(format!("key `tokenizer.ggml.{key}`: found none or other values, expected texts, {beside}"));
        let Some(Value::Array(values)) = file.of_tokenizer(key) else { return Err(wrong()) };
        values.iter().map(|value| value.to_string().map(String::as_str).map_err(|_| wrong())).collect()
    };
    let (tokens, merges) = (strings("tokens")?, strings("merges")?);
    let kinds: Vec<i64> = match file.of_tokenizer("token_type") {
        Some(Value::Array(kinds)) => kinds.iter().map(|kind| number(kind).unwrap_or(1)).collect(),
        _ => vec![1; tokens.len()],
    };
    let mut added = Vec::new();
    for (id, (token, kind)) in tokens.iter().zip(&kinds).enumerate() {
        if matches!(*kind, CONTROL | USER_DEFINED) {
            added.push(json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": *kind == CONTROL,
            }));
        }
    }
    let vocabulary: Map<String, Json> =
        tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), Json::from(id))).collect();
    if vocabulary.len() != tokens.len() {
        return Err(refuse("key `tokenizer.ggml.tokens`: found a token twice, expected distinct ones".into()));
    }
    let merges: Vec<Json> = merges
        .into_iter()
        .map(|merge| match merge.split_once(' ') {
            Some((left, right)) => Ok(json!([left, right])),
            None => Err(refuse(format!("key `tokenizer.ggml.merges`: found `{merge}`, expected two tokens"))),
        })
        .collect::<Result<_>>()?;
    let split = text("pre").unwrap_or("default");
    let splitting = splitting(split)
        .ok_or_else(|| refuse(format!("key `tokenizer.ggml.pre`: found {split}, expected one of {KNOWN}, {beside}")))?;
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": if matches!(split, "qwen2") { json!({"type": "NFC"}) } else { Json::Null },
        "pre_tokenizer": splitting,
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": matches!(split, "llama-bpe" | "llama-v3" | "llama3"),
            "vocab": vocabulary, "merges": merges,
        },
    });
    Ok(json.to_string())
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::I32(number) => Some(i64::from(*number)),
        other => other.to_u64().ok().and_then(|number| i64::try_from(number).ok()),
    }
}

/// The ways to divide text that are known, by llama.cpp's names.
const KNOWN: &str = "default, gpt-2, smollm, llama-bpe, qwen2";

/// How text is divided before merges.
fn splitting(name: &str) -> Option<Json> {
    let bytes = |use_regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex });
    // Contractions, words with one sign before them, numbers, signs with line ends behind them, spaces.
    let by_pattern = |digits: &str| {
        let pattern = format!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        );
        let split =
            json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
        json!({ "type": "Sequence", "pretokenizers": [split, bytes(false)] })
    };
    Some(match name {
        "default" | "gpt-2" | "gpt2" => bytes(true),
        "smollm" => json!({
            "type": "Sequence",
            "pretokenizers": [{ "type": "Digits", "individual_digits": true }, bytes(true)],
        }),
        "llama-bpe" | "llama-v3" | "llama3" => by_pattern(r"\p{N}{1,3}"),
        "qwen2" => by_pattern(r"\p{N}"),
        _ => return None,
    })
}
