//! Pairs of names in a preset: of two, where TOML's lists have any number.

use serde::{Deserialize, Deserializer, de};

/// A list of two names.
///
/// # Errors
/// With the number that was found.
pub fn pair<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[String; 2], D::Error> {
    two(Vec::deserialize(deserializer)?)
}

/// A list of two names, or an empty one.
///
/// # Errors
/// As [`pair`].
pub fn pair_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[String; 2]>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    if names.is_empty() { Ok(None) } else { two(names).map(Some) }
}

/// A list of lists of two names each.
///
/// # Errors
/// As [`pair`].
pub fn pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<[String; 2]>, D::Error> {
    Vec::<Vec<String>>::deserialize(deserializer)?.into_iter().map(two).collect()
}

fn two<E: de::Error>(names: Vec<String>) -> Result<[String; 2], E> {
    names.try_into().map_err(|names: Vec<String>| {
        E::custom(format!("found {} names ({}), expected a pair of two", names.len(), names.join(", ")))
    })
}
