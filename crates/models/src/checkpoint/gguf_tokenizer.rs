//! The tokenizer inside a GGUF file as a `tokenizer.json`: byte-level BPE, which llama.cpp calls `gpt2`, or
//! SentencePiece's BPE with its bytes, which it calls `llama`.

use std::collections::HashMap;
use std::path::Path;

use candle_core::quantized::gguf_file::Value;
use serde_json::{Map, Value as Json, json};

use super::gguf::Gguf;
use crate::{Error, Result};

/// Types of tokens: such as text is made of; the one for what has no token; those that are found in text before it is
/// divided, which are control tokens and a user's own.
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// What a refusal ends with.
const BESIDE: &str = "or a tokenizer.json beside the file";

/// The text of a `tokenizer.json`.
///
/// # Errors
/// One line that names the key which is missing or of another kind.
pub(super) fn tokenizer_json(file: &Gguf, path: &Path) -> Result<String> {
    let said = Said::of(file, path)?;
    match said.text("model") {
        Some("gpt2") => said.byte_level(),
        Some("llama") => said.sentencepiece(),
        other => {
            let found = other.unwrap_or("none");
            said.refuse(format!("key `tokenizer.ggml.model`: found {found}, expected gpt2 or llama, {BESIDE}"))
        }
    }
}

/// What a file says of its tokenizer.
struct Said<'a> {
    file: &'a Gguf,
    path: &'a Path,
    tokens: Vec<&'a str>,
    kinds: Vec<i64>,
}

impl<'a> Said<'a> {
    fn of(file: &'a Gguf, path: &'a Path) -> Result<Self> {
        let mut said = Self { file, path, tokens: Vec::new(), kinds: Vec::new() };
        said.tokens = said.strings("tokens")?.unwrap_or_default();
        said.kinds = match file.of_tokenizer("token_type") {
            Some(Value::Array(kinds)) => kinds.iter().map(|kind| number(kind).unwrap_or(NORMAL)).collect(),
            _ => vec![NORMAL; said.tokens.len()],
        };
        Ok(said)
    }

    fn refuse<T>(&self, what: String) -> Result<T> {
        Err(Error::File { path: self.path.into(), what })
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        match self.file.of_tokenizer(key) {
            Some(Value::String(text)) => Some(text.as_str()),
            _ => None,
        }
    }

    fn strings(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        let values = match self.file.of_tokenizer(key) {
            None => return Ok(None),
            Some(Value::Array(values)) => values,
            Some(_) => return self.wrong(key, "one value", "texts"),
        };
        match values.iter().map(|value| value.to_string().map(String::as_str)).collect() {
            Ok(texts) => Ok(Some(texts)),
            Err(_) => self.wrong(key, "other values", "texts"),
        }
    }

    fn wrong<T>(&self, key: &str, found: &str, expected: &str) -> Result<T> {
        self.refuse(format!("key `tokenizer.ggml.{key}`: found {found}, expected {expected}, {BESIDE}"))
    }

    /// The tokens that are found in text as they stand.
    fn added(&self) -> Vec<Json> {
        let found = self.tokens.iter().zip(&self.kinds).enumerate();
        found
            .filter(|(_, (_, kind))| matches!(**kind, CONTROL | USER_DEFINED))
            .map(|(id, (token, kind))| {
                json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": *kind == CONTROL,
                })
            })
            .collect()
    }

    fn vocabulary(&self) -> Result<Map<String, Json>> {
        let vocabulary: Map<String, Json> =
            self.tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), Json::from(id))).collect();
        match vocabulary.len() == self.tokens.len() && !vocabulary.is_empty() {
            true => Ok(vocabulary),
            false if vocabulary.is_empty() => self.wrong("tokens", "none", "texts"),
            false => self.refuse("key `tokenizer.ggml.tokens`: found a token twice, expected distinct ones".into()),
        }
    }

    /// The merges that the file lists.
    fn listed_merges(&self) -> Result<Option<Vec<Json>>> {
        let Some(merges) = self.strings("merges")? else { return Ok(None) };
        let merge = |merge: &str| match merge.split_once(' ') {
            Some((left, right)) => Ok(json!([left, right])),
            None => self.refuse(format!("key `tokenizer.ggml.merges`: found `{merge}`, expected two tokens")),
        };
        merges.into_iter().map(merge).collect::<Result<_>>().map(Some)
    }

    fn byte_level(&self) -> Result<String> {
        let Some(merges) = self.listed_merges()? else { return self.wrong("merges", "none", "texts") };
        let split = self.text("pre").unwrap_or("default");
        let Some(splitting) = splitting(split) else {
            return self.refuse(format!("key `tokenizer.ggml.pre`: found {split}, expected one of {KNOWN}, {BESIDE}"));
        };
        let json = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": self.added(),
            "normalizer": if matches!(split, "qwen2") { json!({"type": "NFC"}) } else { Json::Null },
            "pre_tokenizer": splitting,
            "post_processor": null,
            "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": matches!(split, "llama-bpe" | "llama-v3" | "llama3"),
                "vocab": self.vocabulary()?, "merges": merges,
            },
        });
        Ok(json.to_string())
    }

    /// A space is written as U+2581, and one stands before the text unless the file says otherwise. What has no token
    /// is written in bytes.
    fn sentencepiece(&self) -> Result<String> {
        let vocabulary = self.vocabulary()?;
        let merges = match self.listed_merges()? {
            Some(merges) => merges,
            None => self.merges_by_score()?,
        };
        let prefix = !matches!(self.file.of_tokenizer("add_space_prefix"), Some(Value::Bool(false)));
        let replaced = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
        let prepended = prefix.then(|| json!({ "type": "Prepend", "prepend": SPACE }));
        let stripped = prefix.then(|| json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
        let back = [
            json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
            json!({ "type": "ByteFallback" }),
            json!({ "type": "Fuse" }),
        ];
        let unknown = self.kinds.iter().position(|kind| *kind == UNKNOWN).and_then(|id| self.tokens.get(id));
        let json = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": self.added(),
            "normalizer": { "type": "Sequence", "normalizers": prepended.into_iter().chain([replaced]).collect::<Vec<_>>() },
            "pre_tokenizer": null,
            "post_processor": null,
            "decoder": { "type": "Sequence", "decoders": back.into_iter().chain(stripped).collect::<Vec<_>>() },
            "model": {
                "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                "vocab": vocabulary, "merges": merges,
            },
        });
        Ok(json.to_string())
    }

    /// Every way to divide a token in two, in the order in which SentencePiece would put them together: the token with
    /// the highest score first.
    fn merges_by_score(&self) -> Result<Vec<Json>> {
        let scores: Vec<f64> = match self.file.of_tokenizer("scores") {
            Some(Value::Array(scores)) => scores.iter().filter_map(|s| s.to_f32().ok().map(f64::from)).collect(),
            _ => return self.wrong("scores", "none", "a number for each token"),
        };
        if scores.len() != self.tokens.len() {
            return self.wrong("scores", &format!("{} numbers", scores.len()), &format!("{}", self.tokens.len()));
        }
        let is_text = |id: &usize| self.kinds.get(*id).is_none_or(|kind| *kind == NORMAL);
        let texts: HashMap<&str, usize> =
            self.tokens.iter().enumerate().filter(|(id, _)| is_text(id)).map(|(id, token)| (*token, id)).collect();
        let mut merges = Vec::new();
        for (token, id) in &texts {
            for (place, _) in token.char_indices().skip(1) {
                let (left, right) = token.split_at(place);
                if texts.contains_key(left) && texts.contains_key(right) {
                    let lengths = [left.chars().count(), right.chars().count()];
                    merges.push((scores[*id], lengths, *id, left, right));
                }
            }
        }
        merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2)));
        Ok(merges.into_iter().map(|(.., left, right)| json!([left, right])).collect())
    }
}

/// How SentencePiece writes a space.
const SPACE: &str = "\u{2581}";

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
