//! A run store's trainings as files that TensorBoard opens.

mod events;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{ExperimentError, Result};
use crate::finetune::FinetuneResult;
use crate::memorization::RunResult;
use crate::pretrain::PretrainResult;
use crate::store::{Watched, watch, write_atomic};
use events::EventFile;

/// The folder of the event files, beside the run store's.
const FOLDER: &str = "tensorboard";

/// What is read of a stage's configuration.
#[derive(Deserialize)]
struct Stage {
    kind: String,
    #[serde(default)]
    inputs: Vec<String>,
    config: Config,
}

/// The fields that name a training, of all kinds of stages together.
#[derive(Deserialize)]
struct Config {
    seed: Option<u64>,
    checkpoint: Option<Named>,
    task: Option<String>,
    method: Option<String>,
    rate: Option<f64>,
    cell: Option<Cell>,
    /// A table in a training of `memorization`, a name in a finetuning, which `method` tells already.
    optimizer: Option<toml::Value>,
    pretrain: Option<Batches>,
    model: Option<Model>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Cell {
    facts: usize,
    examples: usize,
}

/// Of a training of `memorization`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Optimizer {
    name: String,
    hidden_rate: f64,
}

#[derive(Deserialize)]
struct Batches {
    sequences: u64,
}

#[derive(Deserialize)]
struct Model {
    context: u64,
}

/// A line of a stage's metrics. JSON has no NaN: a number that is none reads `null`.
#[derive(Deserialize)]
struct Step {
    step: u64,
    loss: Option<f64>,
    gradient_norm: Option<f64>,
    multiplier: f64,
}

/// Writes the metrics of every training in the run store of `out`, finished or not, to `out/tensorboard`, a folder for each; returns that folder and the number of trainings.
///
/// # Errors
/// If there is no run store, or a file cannot be read or written.
pub fn export(out: &Path) -> Result<(PathBuf, usize)> {
    let watched = watch(out)?;
    let stages: Vec<Stage> = watched.iter().map(stage).collect::<Result<_>>()?;
    let pretrained = watched.iter().zip(&stages).filter(|(_, stage)| stage.kind == "pretrain");
    let checkpoints: BTreeMap<&str, &Config> =
        pretrained.map(|(watched, stage)| (watched.id.as_str(), &stage.config)).collect();

    let target = out.join(FOLDER);
    for (watched, stage) in watched.iter().zip(&stages) {
        let name = label(stage, stage.inputs.first().and_then(|input| checkpoints.get(input.as_str())).copied());
        // Two stages may differ in something that no name shows.
        let digest = watched.id.rsplit('-').next().unwrap_or(&watched.id);
        let path = target.join(format!("{name}-{}", &digest[..digest.len().min(8)])).join("events.out.tfevents.0");
        write_atomic(&path, &events(watched, stage)?)?;
    }
    Ok((target, stages.len()))
}

fn stage(watched: &Watched) -> Result<Stage> {
    toml::from_str(&watched.config).map_err(|error| {
        let (found, path) = (error.message().replace('\n', ", "), watched.folder.join("config.toml"));
        ExperimentError::value(path.display().to_string(), found, "the configuration of a stage")
    })
}

/// A path of names, from the kind of training to the seed.
fn label(stage: &Stage, start: Option<&Config>) -> String {
    let config = &stage.config;
    let mut parts = vec![stage.kind.clone()];
    parts.extend(config.cell.as_ref().map(|cell| format!("{}-facts-{}-examples", cell.facts, cell.examples)));
    parts.extend(config.task.clone());
    let start_name = start.and_then(|start| start.checkpoint.as_ref());
    let names = [config.checkpoint.as_ref().or(start_name).map(|c| c.name.as_str()), config.method.as_deref()];
    let names: Vec<&str> = names.into_iter().flatten().collect();
    parts.extend((!names.is_empty()).then(|| names.join("-to-")));
    parts.extend(config.rate.map(|rate| format!("rate-{rate}")));
    if let Some(Optimizer { name, hidden_rate }) = config.optimizer.clone().and_then(|table| table.try_into().ok()) {
        parts.push(format!("{name}-rate-{hidden_rate}"));
    }
    parts.extend(config.seed.or_else(|| start.and_then(|start| start.seed)).map(|seed| format!("seed-{seed}")));
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-_.=,".contains(c) { c } else { '-' };
    parts.iter().map(|part| part.chars().map(allowed).collect::<String>()).collect::<Vec<_>>().join("/")
}

/// Loss, gradient norm and schedule of every step, and what the stage's result holds by step.
fn events(watched: &Watched, stage: &Stage) -> Result<Vec<u8>> {
    let mut numbers: BTreeMap<u64, Vec<(&str, f64)>> = BTreeMap::new();
    let mut lines = watched.metrics.lines().peekable();
    while let Some(line) = lines.next() {
        match serde_json::from_str(line) {
            Ok(Step { step, loss, gradient_norm, multiplier }) => {
                let [loss, gradient_norm] = [loss, gradient_norm].map(|number| number.unwrap_or(f64::NAN));
                let of_step = [
                    ("loss/training", loss),
                    ("gradient norm", gradient_norm),
                    ("share of the learning rate", multiplier),
                ];
                numbers.entry(step).or_default().extend(of_step);
            }
            // Torn: the stage is under way.
            Err(_) if lines.peek().is_none() && !watched.metrics.ends_with('\n') => break,
            Err(error) => {
                let path = watched.folder.join("metrics.jsonl").display().to_string();
                return Err(ExperimentError::value(path, error.to_string(), "a line for every step"));
            }
        }
    }
    let last = numbers.keys().next_back().copied().unwrap_or(0);
    match stage.kind.as_str() {
        "pretrain" => {
            if let (Some(found), Some(batches), Some(model)) =
                (result::<PretrainResult>(watched)?, &stage.config.pretrain, &stage.config.model)
            {
                let tokens = (batches.sequences * model.context) as f64;
                for (seen, loss) in found.curve {
                    numbers.entry((seen / tokens).round() as u64).or_default().push(("loss/held-out text", loss));
                }
            }
        }
        "finetune" => {
            if let Some(FinetuneResult { end, along }) = result(watched)? {
                let along = along.into_iter().map(|point| (point.step, point.pretrain, point.task));
                for (step, pretrain, task) in along.chain(end.map(|end| (last, end.pretrain, end.task))) {
                    let of_step = [("loss/held-out text", pretrain), ("loss/held-out task", task)];
                    numbers.entry(step).or_default().extend(of_step);
                }
            }
        }
        "memorization" => {
            for point in result::<RunResult>(watched)?.into_iter().flat_map(|found| found.curve) {
                let of_step = numbers.entry(point.step).or_default();
                of_step.extend(point.facts.map(|share| ("accuracy/facts", share)));
                of_step.extend([("accuracy/seen instances", point.seen), ("accuracy/held-out instances", point.test)]);
                of_step.push(("loss/held-out instances", point.test_loss));
            }
        }
        _ => {}
    }
    let mut file = EventFile::new();
    for (step, of_step) in numbers {
        file.add(step, &of_step);
    }
    Ok(file.into_bytes())
}

/// What a finished stage led to.
fn result<T: DeserializeOwned>(watched: &Watched) -> Result<Option<T>> {
    let path = || watched.folder.join("result.json").display().to_string();
    let read = |text: &String| {
        serde_json::from_str(text)
            .map_err(|error| ExperimentError::value(path(), error.to_string(), "the result of a stage"))
    };
    watched.result.as_ref().map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(config: &str, metrics: &str, result: Option<&str>) -> Watched {
        let result = result.map(String::from);
        let (id, folder) = ("kind-0123456789abcdef".into(), "runs/kind".into());
        Watched { id, folder, config: config.into(), metrics: metrics.into(), result }
    }

    fn holds(content: &[u8], what: &[u8]) -> bool {
        content.windows(what.len()).any(|window| window == what)
    }

    const MEMORIZATION: &str = "kind = \"memorization\"\ninputs = []\n[config]\nseed = 1003\n[config.cell]\nfacts = 30\nexamples = 12\n\
                                [config.optimizer]\nname = \"muon\"\nhidden-rate = 0.1\n";

    #[test]
    fn a_training_under_way_is_read_up_to_its_torn_line_and_a_diverged_step_is_no_number() {
        let line =
            |step, loss| format!("{{\"step\":{step},\"loss\":{loss},\"gradient_norm\":1.0,\"multiplier\":1.0}}\n");
        let whole = line(1, "2.5") + &line(2, "null");
        let under_way = watched(MEMORIZATION, &format!("{whole}{{\"step\":3,\"lo"), None);
        let content = events(&under_way, &stage(&under_way).unwrap()).unwrap();
        for number in [2.5, f32::NAN] {
            assert!(holds(&content, &[b"loss/training\x15", &number.to_le_bytes()[..]].concat()), "{number}");
        }
        let broken = watched(MEMORIZATION, &format!("{{\"step\":1,\"lo\n{whole}"), None);
        let error = events(&broken, &stage(&broken).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("runs/kind/metrics.jsonl: found "), "{error}");
    }

    #[test]
    fn a_training_of_memorization_is_named_by_cell_optimizer_and_seed_and_has_its_accuracies() {
        let point = "{\"step\":0,\"training_loss\":1.0,\"training_accuracy\":0.5,\"facts\":0.75,\"bits\":0.0,\"seen\":0.25,\"exceptions\":null,\
                     \"validation\":0.0,\"test\":0.125,\"test_loss\":2.0}";
        let done = format!("{{\"curve\":[{point}],\"spectrum\":null,\"parameters\":1,\"policy\":[]}}");
        let found = watched(MEMORIZATION, "", Some(&done));
        let stage = stage(&found).unwrap();
        assert_eq!(label(&stage, None), "memorization/30-facts-12-examples/muon-rate-0.1/seed-1003");
        let content = events(&found, &stage).unwrap();
        for (tag, number) in [("accuracy/facts", 0.75_f32), ("accuracy/held-out instances", 0.125)] {
            assert!(holds(&content, &[tag.as_bytes(), &[0x15], &number.to_le_bytes()[..]].concat()), "{tag}");
        }
    }
}
