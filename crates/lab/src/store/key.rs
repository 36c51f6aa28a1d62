//! What names a stage: its kind, configuration, inputs and the version of its semantics.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::StoreError;
use crate::hash::sha256_hex;

/// The directory name of a stage: its kind and 16 hexadecimal digits, e.g. `finetune-3fa9c1d2e4b60718`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageId(String);

impl StageId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first half of its hexadecimal digits.
    pub(crate) fn short(&self) -> &str {
        let digits = self.0.rsplit_once('-').map_or("", |(_, digits)| digits);
        digits.get(..8).unwrap_or(digits)
    }

    /// The kind of stage, e.g. `finetune`.
    pub fn kind(&self) -> &str {
        self.0.rsplit_once('-').map_or(&self.0, |(kind, _)| kind)
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that a stage's result depends on.
///
/// Two keys are the same stage exactly when their [`StageId`]s agree; the id is made of the first 64
/// bits of the SHA-256 of the key's canonical JSON (object keys sorted, no white space).
#[derive(Clone, Debug)]
pub struct StageKey {
    id: StageId,
    kind: String,
    semantics: u32,
    config: Value,
    inputs: Vec<StageId>,
    /// For people; no part of the id.
    label: String,
}

impl PartialEq for StageKey {
    /// Whether two keys are the same stage, whatever their labels.
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl FromStr for StageId {
    type Err = StoreError;

    /// Reads a directory name; [`StoreError::InvalidName`] for one that no stage can have.
    fn from_str(name: &str) -> Result<Self, StoreError> {
        let is_digit = |c: char| c.is_ascii_digit() || matches!(c, 'a'..='f');
        match name.rsplit_once('-') {
            Some((kind, digits)) if is_kind(kind) && digits.len() == 16 && digits.chars().all(is_digit) => {
                Ok(Self(name.to_string()))
            }
            _ => Err(StoreError::InvalidName {
                name: name.to_string(),
                what: "stage",
                expected: "a kind, '-' and 16 hexadecimal digits",
            }),
        }
    }
}

/// Whether a kind of stage may have this name.
fn is_kind(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

impl StageKey {
    /// Names a stage.
    ///
    /// - `kind`: what is done, e.g. `"pretrain"`; lower-case letters, digits and `-`.
    /// - `semantics`: raised when a fix changes the results of this kind of stage.
    /// - `config`: all that decides the result (seed, device, dtype, the data's fingerprint...) and
    ///   nothing else. JSON knows no NaN or infinity: they would all read `null`, so check before.
    /// - `inputs`: ids of the stages it starts from, in a meaningful order.
    ///
    /// # Errors
    /// [`StoreError::InvalidName`] for a bad kind, [`StoreError::Serialise`] for a configuration that
    /// JSON cannot hold (e.g. a map whose keys are not text).
    pub fn new<C: Serialize>(kind: &str, semantics: u32, config: &C, inputs: &[StageId]) -> Result<Self, StoreError> {
        if !is_kind(kind) {
            return Err(StoreError::InvalidName {
                name: kind.to_string(),
                what: "stage kind",
                expected: "lower-case letters, digits and '-'",
            });
        }
        let config = serde_json::to_value(config).map_err(|error| StoreError::Serialise {
            what: format!("the configuration of a {kind} stage"),
            message: error.to_string(),
        })?;
        let whole = json!({
            "kind": kind, "semantics": semantics, "config": config, "inputs": inputs,
        });
        let digest = sha256_hex(canonical_json(&whole).as_bytes());
        let id = StageId(format!("{kind}-{}", &digest[..16]));
        Ok(Self { id, kind: kind.to_string(), semantics, config, inputs: inputs.to_vec(), label: String::new() })
    }

    /// The same stage with a label for people, which stands in its `config.toml`.
    #[must_use]
    pub fn labelled(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// The label; the id where none was given.
    pub fn label(&self) -> &str {
        if self.label.is_empty() { self.id.as_str() } else { &self.label }
    }

    /// The directory name.
    pub fn id(&self) -> &StageId {
        &self.id
    }

    /// What is done, e.g. `"pretrain"`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Version of the semantics of this kind.
    pub fn semantics(&self) -> u32 {
        self.semantics
    }

    /// The configuration as JSON.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The stages it starts from.
    pub fn inputs(&self) -> &[StageId] {
        &self.inputs
    }

    /// Whether a `config.toml` is this stage's, whatever its label.
    pub(super) fn is_described_by(&self, config: &str) -> bool {
        let unlabelled = |text: &str| {
            let mut table: toml::Table = toml::from_str(text).ok()?;
            table.remove("label");
            Some(table)
        };
        let own = self.to_toml().ok().and_then(|text| unlabelled(&text));
        own.is_some() && own == unlabelled(config)
    }

    /// The content of `config.toml`, for people to read, and for [`watch`](super::watch()).
    pub(super) fn to_toml(&self) -> Result<String, StoreError> {
        let mut table = toml::Table::new();
        table.insert("kind".into(), self.kind.clone().into());
        table.insert("label".into(), self.label().into());
        table.insert("semantics".into(), i64::from(self.semantics).into());
        let inputs: Vec<_> = self.inputs.iter().map(|id| id.as_str().into()).collect();
        table.insert("inputs".into(), toml::Value::Array(inputs));
        if let Some(config) = toml_value(&self.config) {
            table.insert("config".into(), config);
        }
        toml::to_string(&table).map_err(|error| StoreError::Serialise {
            what: format!("config.toml of {}", self.id),
            message: error.to_string(),
        })
    }
}

/// TOML has no null (left out) and no integer above `i64::MAX` (written as text).
fn toml_value(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => (*flag).into(),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(integer), ..) => integer.into(),
            (None, Some(large), _) => large.to_string().into(),
            (None, None, Some(float)) => float.into(),
            (None, None, None) => number.to_string().into(),
        },
        Value::Array(items) => toml::Value::Array(items.iter().filter_map(toml_value).collect()),
        Value::Object(fields) => toml::Value::Table(
            fields.iter().filter_map(|(name, field)| Some((name.clone(), toml_value(field)?))).collect(),
        ),
    })
}

/// JSON with sorted object keys and no white space, whatever order `serde_json` keeps.
fn canonical_json(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            let parts: Vec<_> = sorted
                .iter()
                .map(|(name, field)| format!("{}:{}", Value::String((*name).clone()), canonical_json(field)))
                .collect();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => {
            let parts: Vec<_> = items.iter().map(canonical_json).collect();
            format!("[{}]", parts.join(","))
        }
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id_of(config: &Value) -> String {
        StageKey::new("finetune", 1, config, &[]).unwrap().id().to_string()
    }

    #[test]
    fn an_id_is_the_kind_and_sixteen_hex_digits() {
        let id = id_of(&json!({"lr": 0.1}));
        let digits = id.strip_prefix("finetune-").unwrap();
        assert_eq!(digits.len(), 16);
        assert!(digits.chars().all(|c| c.is_ascii_hexdigit()));
    }

    /// Folders of earlier versions must still be found: the id is a format, not an accident.
    #[test]
    fn ids_stay_the_same_from_release_to_release() {
        let config = json!({"b": [1, 2.5, null], "a": {"seed": u64::MAX, "name": "x\"y"}});
        let canonical = canonical_json(&config);
        assert_eq!(canonical, r#"{"a":{"name":"x\"y","seed":18446744073709551615},"b":[1,2.5,null]}"#);
        let key = StageKey::new("measure", 3, &config, &[]).unwrap();
        let text = format!(r#"{{"config":{canonical},"inputs":[],"kind":"measure","semantics":3}}"#);
        let expected = sha256_hex(text.as_bytes());
        assert_eq!(key.id().as_str(), format!("measure-{}", &expected[..16]));
    }

    #[test]
    fn every_part_of_the_key_changes_the_id() {
        let config = json!({"lr": 0.1});
        let input = StageKey::new("pretrain", 1, &config, &[]).unwrap().id().clone();
        let ids = [
            StageKey::new("finetune", 1, &config, &[]).unwrap(),
            StageKey::new("finetune", 2, &config, &[]).unwrap(),
            StageKey::new("finetune", 1, &json!({"lr": 0.2}), &[]).unwrap(),
            StageKey::new("finetune", 1, &config, &[input]).unwrap(),
            StageKey::new("measure", 1, &config, &[]).unwrap(),
        ]
        .map(|key| key.id().to_string());
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn a_kind_that_is_no_folder_name_is_refused() {
        for kind in ["", "a/b", "Pre", "..", "a b"] {
            let error = StageKey::new(kind, 1, &(), &[]).unwrap_err();
            assert!(matches!(error, StoreError::InvalidName { .. }), "{kind}: {error}");
        }
    }

    #[test]
    fn an_id_is_read_back_and_other_names_are_refused() {
        let id = StageKey::new("fine-tune", 1, &(), &[]).unwrap().id().clone();
        assert_eq!(id.as_str().parse::<StageId>().unwrap(), id);
        assert_eq!(id.kind(), "fine-tune");
        for name in
            ["", "..", "fine-tune", "../fine-tune-0123456789abcdef", "a-0123456789ABCDEF", "a-0123456789abcdef.x"]
        {
            let error = name.parse::<StageId>().unwrap_err();
            assert!(matches!(error, StoreError::InvalidName { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn config_toml_holds_nulls_and_large_seeds() {
        let key = StageKey::new("finetune", 1, &json!({"seed": u64::MAX, "none": null}), &[]);
        let text = key.unwrap().to_toml().unwrap();
        assert!(text.contains("seed = \"18446744073709551615\""), "{text}");
        assert!(!text.contains("none"), "{text}");
    }

    proptest! {
        /// A finished stage is found by the id of the configuration read back from its folder.
        #[test]
        fn numbers_read_back_give_the_same_id(single: f32, double: f64, integer: u64) {
            let config = json!({"lr": single, "decay": [double], "seed": integer});
            let read: Value = serde_json::from_str(&config.to_string()).unwrap();
            prop_assert_eq!(id_of(&config), id_of(&read));
        }

        #[test]
        fn the_order_of_fields_does_not_change_the_id(
            fields in proptest::collection::btree_map("[a-z]{1,6}", -1000i64..1000, 1..8),
        ) {
            let forward: serde_json::Map<_, _> =
                fields.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
            let backward: serde_json::Map<_, _> =
                fields.iter().rev().map(|(k, v)| (k.clone(), json!(v))).collect();
            prop_assert_eq!(id_of(&Value::Object(forward)), id_of(&Value::Object(backward)));
        }
    }
}
