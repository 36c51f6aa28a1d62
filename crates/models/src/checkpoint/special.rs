//! The tokens that begin and end a text, as the files of a checkpoint name them.

use std::path::Path;

use serde_json::{Map, Value};

/// Ids of tokens with a meaning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpecialTokens {
    /// Any of these ends a text; the first is the one that training teaches.
    pub end: Vec<u32>,
    /// What a text begins with, where there is such a token.
    pub begin: Option<u32>,
}

impl SpecialTokens {
    /// One token that both ends a text and stands before one, as GPT-2 has it.
    pub fn one(end: u32) -> Self {
        Self { end: vec![end], begin: Some(end) }
    }

    /// The same with `end` as the first of the tokens that end a text.
    #[must_use]
    pub fn ended_by(mut self, end: u32) -> Self {
        self.end.retain(|token| *token != end);
        self.end.insert(0, end);
        self
    }

    /// The fields of `config.json` and `generation_config.json`.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        match self.end.as_slice() {
            [] => {}
            [one] => _ = fields.insert("eos_token_id".into(), (*one).into()),
            several => _ = fields.insert("eos_token_id".into(), several.into()),
        }
        if let Some(begin) = self.begin {
            fields.insert("bos_token_id".into(), begin.into());
        }
        if let Some(end) = self.end.first() {
            fields.insert("pad_token_id".into(), (*end).into());
        }
        fields
    }

    /// What the JSON files of a folder say; the later ones are asked first, as Transformers does.
    pub fn of_folder(folder: &Path) -> Self {
        let mut tokens = Self::default();
        for name in ["generation_config.json", "config.json"] {
            let Ok(text) = std::fs::read_to_string(folder.join(name)) else { continue };
            let Ok(value) = serde_json::from_str::<Value>(&text) else { continue };
            let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
            if tokens.end.is_empty() {
                tokens.end = match value.get("eos_token_id") {
                    Some(Value::Array(several)) => several.iter().filter_map(id).collect(),
                    Some(one) => id(one).into_iter().collect(),
                    None => Vec::new(),
                };
            }
            tokens.begin = tokens.begin.or_else(|| value.get("bos_token_id").and_then(id));
        }
        tokens
    }
}
