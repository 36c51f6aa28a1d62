//! A run store's stages as files that TensorBoard opens: the metrics of every step, and the
//! [curves](crate::stage::Stage::curves) of finished stages.
//!
//! A file grows at its end, so that a TensorBoard that has it open shows what is new. The times are those of the
//! stage's files: metrics have none of their own, or a run that was cut off would end with other bytes than one that
//! was not. Between two of them time is taken to pass evenly over the steps.

mod events;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{LabError, Result};
use crate::stage::Curve;
use crate::store::{CURVES, StoreError, Watched, append_at, watch};
use events::{Events, Written};

/// The folder of the event files, beside the run store's.
const FOLDER: &str = "tensorboard";

/// Of a label so many characters are in the name of its folder.
const LONGEST_NAME: usize = 150;

/// What is read of a stage's `config.toml`.
#[derive(Deserialize)]
struct Stage {
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
        let written = match std::fs::read(&path) {
            Ok(content) => Written::read(&content),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Written::default(),
            Err(source) => return Err(StoreError::Io { action: "read", path, source }.into()),
        };
        let new = events(stage, &written)?;
        if !new.is_empty() {
            append_at(&path, written.bytes, &new)?;
        }
    }
    Ok((target, watched.len()))
}

/// A path of names: the kind, as the stage's folder has it, then the label without it.
fn folder(watched: &Watched) -> Result<PathBuf> {
    let Stage { label } = toml::from_str(&watched.config).map_err(|error| {
        let (found, path) = (error.message().replace('\n', ", "), watched.folder.join("config.toml"));
        LabError::value(path.display().to_string(), found, "the configuration of a stage")
    })?;
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-_.=,".contains(c) { c } else { '-' };
    let kind = watched.id.kind();
    let label = label.strip_prefix(kind).unwrap_or(&label).trim();
    let name: String = label.chars().take(LONGEST_NAME).map(allowed).collect();
    // Two stages may differ in something that no label shows.
    Ok(Path::new(kind).join(format!("{name}-{}", watched.id.short())))
}

/// The numbers of every line of the metrics, each under its field's name, and the curves: what is not written yet, as
/// the end of an event file.
fn events(watched: &Watched, written: &Written) -> Result<Vec<u8>> {
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
    let last_step = numbers.keys().next_back().copied().unwrap_or(0);
    let clock = Clock::new(watched, written, last_step);
    let mut file = Events::default();
    if written.bytes == 0 {
        file.begin(clock.times[0]);
    }
    for (step, mut of_step) in numbers {
        of_step.retain(|(tag, _)| !written.numbers.contains(&(step, tag.clone())));
        if !of_step.is_empty() {
            file.add(clock.at(step), step, &of_step);
        }
    }
    Ok(file.into_bytes())
}

/// When a step was made, in seconds since 1970.
struct Clock {
    /// Step 0, the last step that was written earlier, and the last one.
    steps: [f64; 3],
    times: [f64; 3],
}

impl Clock {
    fn new(watched: &Watched, written: &Written, last_step: u64) -> Self {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        // Zero would mean that there are no times.
        let (started, ended) = (seconds(watched.started).max(1.0), seconds(watched.written).max(1.0));
        let (known, at) = written.last.unwrap_or((0, started.min(ended)));
        let first = started.min(at);
        Self { steps: [0.0, known as f64, last_step.max(known) as f64], times: [first, at, ended.max(at)] }
    }

    fn at(&self, step: u64) -> f64 {
        let step = step as f64;
        let part = usize::from(step > self.steps[1]);
        let (from, to) = (self.steps[part], self.steps[part + 1]);
        let share = if to > from { ((step - from) / (to - from)).clamp(0.0, 1.0) } else { 1.0 };
        self.times[part] + share * (self.times[part + 1] - self.times[part])
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CONFIG: &str =
        "kind = \"finetune\"\nlabel = \"finetune adamw on math:max_steps=3 with muon at 0.001 seed 1\"\n";

    fn watched(metrics: &str, curves: Option<&str>) -> Watched {
        let curves = curves.map(String::from);
        let (id, folder) = ("finetune-0123456789abcdef".parse().unwrap(), "runs/kind".into());
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let (started, written) = (at(1_000_000_000), at(1_000_000_100));
        Watched { id, folder, config: CONFIG.into(), metrics: metrics.into(), curves, started, written }
    }

    fn holds(content: &[u8], what: &[u8]) -> bool {
        content.windows(what.len()).any(|window| window == what)
    }

    #[test]
    fn a_stage_under_way_is_read_up_to_its_torn_line_and_a_number_that_json_lacks_is_none() {
        let line = |step, loss| format!("{{\"step\":{step},\"loss\":{loss},\"gradient_norm\":1.0}}\n");
        let whole = line(1, "2.5") + &line(2, "null");
        let content = events(&watched(&format!("{whole}{{\"step\":3,\"lo"), None), &Written::default()).unwrap();
        for number in [2.5, f32::NAN] {
            assert!(holds(&content, &[b"training/loss\x15", &number.to_le_bytes()[..]].concat()), "{number}");
        }
        let error = events(&watched(&format!("{{\"step\":1,\"lo\n{whole}"), None), &Written::default())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("runs/kind/metrics.jsonl: found "), "{error}");
    }

    #[test]
    fn a_stage_is_named_by_its_label_and_has_its_curves() {
        let found = watched("", Some("[{\"tag\":\"accuracy/facts\",\"points\":[[0,0.75],[4,0.125]]}]"));
        let name = folder(&found).unwrap();
        assert_eq!(name, Path::new("finetune/adamw-on-math-max_steps=3-with-muon-at-0.001-seed-1-01234567"));
        let content = events(&found, &Written::default()).unwrap();
        for number in [0.75_f32, 0.125] {
            assert!(holds(&content, &[b"accuracy/facts\x15", &number.to_le_bytes()[..]].concat()), "{number}");
        }
    }

    #[test]
    fn a_kind_that_the_configuration_claims_leads_nowhere() {
        let config = "kind = \"..\"\nlabel = \"../../\u{e9}\"\n".into();
        let name = folder(&Watched { config, ..watched("", None) }).unwrap();
        assert_eq!(name, Path::new("finetune/..-..---01234567"));
        assert!(name.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{name:?}");
    }

    #[test]
    fn an_export_adds_what_is_new_at_the_end_at_the_times_of_the_files() {
        let line = |step: u64| format!("{{\"step\":{step},\"loss\":2.5}}\n");
        let first = events(&watched(&(line(1) + &line(2)), None), &Written::default()).unwrap();
        let known = Written::read(&first);
        assert_eq!((known.bytes, known.last), (first.len() as u64, Some((2, 1_000_000_100.0))));
        let curves = Some("[{\"tag\":\"loss/held out\",\"points\":[[1,0.5],[4,0.25]]}]");
        let later = Watched {
            written: UNIX_EPOCH + Duration::from_secs(1_000_000_200),
            ..watched(&(1..=4).map(line).collect::<String>(), curves)
        };
        let second = events(&later, &known).unwrap();
        let all = Written::read(&[first, second].concat());
        assert_eq!((all.numbers.len(), all.last), (6, Some((4, 1_000_000_200.0))));
        let clock = Clock::new(&later, &known, 4);
        assert_eq!([1, 2, 3, 4].map(|step| clock.at(step) - 1e9), [50.0, 100.0, 150.0, 200.0]);
        assert!(events(&later, &all).unwrap().is_empty(), "what is written is not written again");
    }
}
