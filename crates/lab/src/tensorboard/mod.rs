//! A run store's stages as files that TensorBoard opens: the metrics of every step, and the
//! [curves](crate::stage::Stage::curves) of finished stages.

mod events;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{LabError, Result};
use crate::stage::Curve;
use crate::store::{CURVES, Watched, watch, write_atomic};
use events::EventFile;

/// The folder of the event files, beside the run store's.
const FOLDER: &str = "tensorboard";

/// What is read of a stage's `config.toml`.
#[derive(Deserialize)]
struct Stage {
    kind: String,
    label: String,
}

/// Writes the numbers of every stage in the run store of `out` that has metrics, finished or not, to `out/tensorboard`,
/// a folder for each; returns that folder and the number of stages.
///
/// # Errors
/// If there is no run store, or a file cannot be read or written.
pub fn export(out: &Path) -> Result<(PathBuf, usize)> {
    let watched = watch(out)?;
    let target = out.join(FOLDER);
    for stage in &watched {
        let path = target.join(folder(stage)?).join("events.out.tfevents.0");
        write_atomic(&path, &events(stage)?)?;
    }
    Ok((target, watched.len()))
}

/// A path of names: the kind, then the label without it.
fn folder(watched: &Watched) -> Result<PathBuf> {
    let Stage { kind, label } = toml::from_str(&watched.config).map_err(|error| {
        let (found, path) = (error.message().replace('\n', ", "), watched.folder.join("config.toml"));
        LabError::value(path.display().to_string(), found, "the configuration of a stage")
    })?;
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-_.=,".contains(c) { c } else { '-' };
    let label = label.strip_prefix(kind.as_str()).unwrap_or(&label).trim();
    // Two stages may differ in something that no label shows.
    let digest = watched.id.rsplit('-').next().unwrap_or(&watched.id);
    let name: String = label.chars().map(allowed).collect();
    Ok(Path::new(&kind).join(format!("{name}-{}", &digest[..digest.len().min(8)])))
}

/// The numbers of every line of the metrics, each under its field's name, and the curves.
fn events(watched: &Watched) -> Result<Vec<u8>> {
    let wrong = |file: &str, found: String, expected: &str| {
        LabError::value(watched.folder.join(file).display().to_string(), found, expected)
    };
    let mut numbers: BTreeMap<u64, Vec<(String, f64)>> = BTreeMap::new();
    let mut lines = watched.metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let fields: Map<String, Value> = match serde_json::from_str(line) {
            Ok(fields) => fields,
            // Torn: the stage is under way.
            Err(_) if lines.peek().is_none() && !watched.metrics.ends_with('\n') => break,
            Err(error) => return Err(wrong("metrics.jsonl", error.to_string(), "a line for every step")),
        };
        let step = fields.get("step").and_then(Value::as_u64);
        let step = step.ok_or_else(|| wrong("metrics.jsonl", format!("`{line}`"), "a field `step` in every line"))?;
        let of_step = numbers.entry(step).or_default();
        for (name, value) in fields.iter().filter(|(name, _)| *name != "step") {
            match value {
                Value::Number(number) => {
                    of_step.extend(number.as_f64().map(|number| (format!("training/{name}"), number)));
                }
                // JSON has no NaN and no infinity: they are written as null.
                Value::Null => of_step.push((format!("training/{name}"), f64::NAN)),
                _ => {}
            }
        }
    }
    if let Some(text) = &watched.curves {
        let curves: Vec<Curve> =
            serde_json::from_str(text).map_err(|error| wrong(CURVES, error.to_string(), "the curves of a stage"))?;
        for Curve { tag, points } in curves {
            for (step, value) in points {
                numbers.entry(step).or_default().push((tag.clone(), value));
            }
        }
    }
    let mut file = EventFile::new();
    for (step, of_step) in numbers {
        file.add(step, &of_step);
    }
    Ok(file.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str =
        "kind = \"finetune\"\nlabel = \"finetune adamw on math:max_steps=3 with muon at 0.001 seed 1\"\n";

    fn watched(metrics: &str, curves: Option<&str>) -> Watched {
        let curves = curves.map(String::from);
        let (id, folder) = ("finetune-0123456789abcdef".into(), "runs/kind".into());
        Watched { id, folder, config: CONFIG.into(), metrics: metrics.into(), curves }
    }

    fn holds(content: &[u8], what: &[u8]) -> bool {
        content.windows(what.len()).any(|window| window == what)
    }

    #[test]
    fn a_stage_under_way_is_read_up_to_its_torn_line_and_a_number_that_json_lacks_is_none() {
        let line = |step, loss| format!("{{\"step\":{step},\"loss\":{loss},\"gradient_norm\":1.0}}\n");
        let whole = line(1, "2.5") + &line(2, "null");
        let content = events(&watched(&format!("{whole}{{\"step\":3,\"lo"), None)).unwrap();
        for number in [2.5, f32::NAN] {
            assert!(holds(&content, &[b"training/loss\x15", &number.to_le_bytes()[..]].concat()), "{number}");
        }
        let error = events(&watched(&format!("{{\"step\":1,\"lo\n{whole}"), None)).unwrap_err().to_string();
        assert!(error.starts_with("runs/kind/metrics.jsonl: found "), "{error}");
    }

    #[test]
    fn a_stage_is_named_by_its_label_and_has_its_curves() {
        let found = watched("", Some("[{\"tag\":\"accuracy/facts\",\"points\":[[0,0.75],[4,0.125]]}]"));
        let name = folder(&found).unwrap();
        assert_eq!(name, Path::new("finetune/adamw-on-math-max_steps=3-with-muon-at-0.001-seed-1-01234567"));
        let content = events(&found).unwrap();
        for number in [0.75_f32, 0.125] {
            assert!(holds(&content, &[b"accuracy/facts\x15", &number.to_le_bytes()[..]].concat()), "{number}");
        }
    }
}
