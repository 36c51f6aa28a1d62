//! A preset as a user writes it, and a change as it stands on the command line: refused in one line, or read and
//! printed in a form that reads back to the same.
#![no_main]

use lab::preset::{Change, bounded, has_field, parse, with};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Preset {
    name: String,
    seeds: u64,
    #[serde(default)]
    tasks: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<std::path::PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inner: Option<Inner>,
    #[serde(default)]
    methods: Vec<Method>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    rate: f64,
    steps: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Method {
    name: String,
    rates: Vec<f64>,
}

fn one_line(message: &str) {
    let line = lab::console::one_line(message);
    assert!(!line.contains(|c: char| c.is_control()) && line.chars().count() < 1100);
}

fuzz_target!(|input: (&str, Vec<&str>)| {
    let (text, changes) = input;
    let preset: Preset = match parse(text, "fuzzed.toml") {
        Ok(preset) => preset,
        Err(error) => return one_line(&error.to_string()),
    };
    for change in changes {
        let change = match Change::parse(change) {
            Ok(change) => change,
            Err(error) => return one_line(&error.to_string()),
        };
        let _ = has_field(&preset, &change);
        match with(&preset, &[change]) {
            Ok(changed) => {
                let _ = bounded(&changed, &|_| 1000).map_err(|error| one_line(&error.to_string()));
            }
            Err(error) => one_line(&error.to_string()),
        }
    }
    if let Ok(printed) = toml::to_string(&preset) {
        let back: Preset = parse(&printed, "printed.toml").expect("what is printed is read");
        assert_eq!(toml::to_string(&back).expect("as before"), printed);
    }
});
