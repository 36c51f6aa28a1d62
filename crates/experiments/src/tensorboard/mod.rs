//! A run store's trainings as files that TensorBoard opens.

mod events;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{ExperimentError, Result};
use crate::finetune::FinetuneResult;
use crate::pretrain::PretrainResult;
use crate::store::write_atomic;
use crate::training::StepMetrics;
use events::EventFile;

/// The folder of the event files, beside `runs/`.
const FOLDER: &str = "tensorboard";
/// What a stage that is not finished has behind its name.
const PARTIAL: &str = ".partial";

/// What is read of a stage's `config.toml`.
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

/// Writes the metrics of every training in the run store of `out`, finished or not, to `out/tensorboard`, a folder for each; returns that folder and the number of trainings.
///
/// # Errors
/// If there is no run store, or a file cannot be read or written.
pub fn export(out: &Path) -> Result<(PathBuf, usize)> {
    let runs = out.join("runs");
    let read_error = |source| ExperimentError::ReadFile { path: runs.clone(), source };
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&runs)
        .map_err(read_error)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .map_err(read_error)?;
    folders.retain(|folder| folder.join("metrics.jsonl").is_file());
    folders.sort();
    let stages: Vec<(String, Stage)> =
        folders.iter().map(|folder| Ok((id(folder), stage(folder)?))).collect::<Result<_>>()?;
    let checkpoints: BTreeMap<&str, &Config> = stages
        .iter()
        .filter(|(_, stage)| stage.kind == "pretrain")
        .map(|(id, stage)| (id.as_str(), &stage.config))
        .collect();

    let target = out.join(FOLDER);
    for (folder, (id, stage)) in folders.iter().zip(&stages) {
        let name = label(stage, stage.inputs.first().and_then(|input| checkpoints.get(input.as_str())).copied());
        // Two stages may differ in something that no name shows.
        let digest = id.rsplit('-').next().unwrap_or(id);
        let path = target.join(format!("{name}-{}", &digest[..digest.len().min(8)])).join("events.out.tfevents.0");
        write_atomic(&path, &events(folder, stage)?)?;
    }
    Ok((target, stages.len()))
}

fn id(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(PARTIAL).unwrap_or(&name).to_string()
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|source| ExperimentError::ReadFile { path: path.into(), source })
}

fn stage(folder: &Path) -> Result<Stage> {
    let path = folder.join("config.toml");
    let text = read(&path)?;
    toml::from_str(&text).map_err(|error| {
        ExperimentError::value(
            path.display().to_string(),
            error.message().replace('\n', ", "),
            "the configuration of a stage",
        )
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

/// Loss, gradient norm and schedule of every step, and the held-out losses that the stage's result has.
fn events(folder: &Path, stage: &Stage) -> Result<Vec<u8>> {
    let mut numbers: BTreeMap<u64, Vec<(&str, f64)>> = BTreeMap::new();
    // The last line of a training that goes on may be half written.
    for line in read(&folder.join("metrics.jsonl"))?.lines() {
        let Ok(StepMetrics { step, loss, gradient_norm, multiplier }) = serde_json::from_str(line) else { continue };
        let of_step =
            [("loss/training", loss), ("gradient norm", gradient_norm), ("share of the learning rate", multiplier)];
        numbers.entry(step).or_default().extend(of_step);
    }
    let last = numbers.keys().next_back().copied().unwrap_or(0);
    if stage.kind == "pretrain"
        && let (Some(result), Some(batches), Some(model)) =
            (result::<PretrainResult>(folder)?, &stage.config.pretrain, &stage.config.model)
    {
        let tokens = (batches.sequences * model.context) as f64;
        for (seen, loss) in result.curve {
            numbers.entry((seen / tokens).round() as u64).or_default().push(("loss/held-out text", loss));
        }
    }
    if stage.kind == "finetune"
        && let Some(FinetuneResult { end, along }) = result(folder)?
    {
        let along = along.into_iter().map(|point| (point.step, point.pretrain, point.task));
        for (step, pretrain, task) in along.chain(end.map(|end| (last, end.pretrain, end.task))) {
            numbers.entry(step).or_default().extend([("loss/held-out text", pretrain), ("loss/held-out task", task)]);
        }
    }
    let mut file = EventFile::new();
    for (step, of_step) in numbers {
        file.add(step, &of_step);
    }
    Ok(file.into_bytes())
}

/// What a finished stage led to.
fn result<T: DeserializeOwned>(folder: &Path) -> Result<Option<T>> {
    let path = folder.join("result.json");
    if !path.is_file() {
        return Ok(None);
    }
    serde_json::from_str(&read(&path)?)
        .map(Some)
        .map_err(|error| ExperimentError::value(path.display().to_string(), error.to_string(), "the result of a stage"))
}
