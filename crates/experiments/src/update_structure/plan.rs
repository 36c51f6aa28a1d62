//! The stages of a preset, and what they left.

use lab::error::Failure;
use lab::grid::{AnyJob, Grid, Job, Outcomes};
use lab::stage;
use lab::store::StageId;

use super::preset::UpdateStructurePreset;
use crate::ground::{Ground, pair};
use crate::stages::{Finetuned, Finetuning, Start, Transplant, Transplanted};
use crate::tradeoff::finetuning;

/// The jobs of a preset.
pub struct Planned {
    transplants: Vec<(Transplant, Job<Transplanted>)>,
    provenance: Vec<(String, String)>,
}

/// What was found about the updates of one checkpoint of one seed on one task.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) checkpoint: String,
    pub(super) task: String,
    pub(super) seed: u64,
    pub(super) transplanted: Transplanted,
}

impl Planned {
    /// What the jobs left, and how it was made.
    pub(super) fn read(self, done: &Outcomes) -> (Vec<Found>, Vec<(String, String)>) {
        let found = self.transplants.iter().filter_map(|(of, job)| {
            Some(Found {
                checkpoint: of.start.checkpoint_name.clone(),
                task: of.start.task.name().into(),
                seed: of.start.seed,
                transplanted: done.get(*job)?.clone(),
            })
        });
        (found.collect(), self.provenance)
    }
}

/// The finetunings of one checkpoint of one seed on one task.
struct Runs {
    start: Start,
    /// By method: the stage that keeps the weights.
    kept: Vec<StageId>,
    jobs: Vec<AnyJob>,
}

/// Adds every stage of a preset to the grid.
///
/// # Errors
/// If the text or a task cannot be had, or does not fit the network.
pub(super) fn plan(preset: &UpdateStructurePreset, grid: &mut Grid) -> Result<Planned, Failure> {
    let ground = Ground::prepare(preset.base()?, &preset.tasks, grid)?;
    let mut planned = Planned { transplants: Vec::new(), provenance: ground.provenance() };
    let mut runs = Vec::new();
    for seed in ground.preset.seeds().all() {
        grid.set_round(seed);
        runs.push(finetunings(preset, &ground, seed, grid)?);
    }
    for (seed, of_seed) in runs.iter().enumerate() {
        // The other seed is there only then.
        let other = (seed + 1) % runs.len();
        grid.set_round(ground.preset.first_seed + seed.max(other) as u64);
        for (place, of) in of_seed.iter().enumerate() {
            let other = (other != seed).then(|| &runs[other][place]);
            let transplant = transplant(preset, &ground, of, other)?;
            let after: Vec<AnyJob> =
                of.jobs.iter().chain(other.iter().flat_map(|other| &other.jobs)).copied().collect();
            let job = grid.stage(transplant.clone(), &after)?;
            planned.transplants.push((transplant, job));
        }
    }
    ground.estimate(grid)?;
    Ok(planned)
}

/// All finetunings of a seed: for both checkpoints and every task those of all methods.
fn finetunings(
    preset: &UpdateStructurePreset,
    ground: &Ground,
    seed: u64,
    grid: &mut Grid,
) -> Result<Vec<Runs>, Failure> {
    let (mut runs, tasks) = (Vec::new(), ground.tasks(seed)?);
    for checkpoint in pair(&ground.preset)? {
        let pretraining = ground.pretraining(checkpoint, seed)?;
        let id = stage::id_of(&pretraining)?;
        let pretrained = grid.stage(pretraining, &[])?;
        for task in &tasks {
            let start = ground.start(&checkpoint.name, (id.clone(), &ground.network), task, seed);
            let mut of = Runs { start: start.clone(), kept: Vec::new(), jobs: vec![pretrained.any()] };
            for method in &preset.methods {
                let run = finetuning(&ground.preset, &start, checkpoint, &method.method(), method.rate);
                let run = Finetuning { carries_state: false, along: 0, keep_weights: true, keep_adapter: false, ..run };
                of.kept.push(stage::id_of(&run)?);
                of.jobs.push(grid.stage(run, &[pretrained.any()])?.any());
            }
            runs.push(of);
        }
    }
    Ok(runs)
}

fn transplant(
    preset: &UpdateStructurePreset,
    ground: &Ground,
    of: &Runs,
    other: Option<&Runs>,
) -> Result<Transplant, Failure> {
    let matched = preset.matched(&ground.preset)?.map(|(_, method)| method.name.as_str());
    let finetuned = |name: &str| {
        let place = preset.methods.iter().position(|method| method.name == name);
        let place = place.ok_or_else(|| format!("no method {name}"))?;
        Ok::<_, Failure>(Finetuned {
            method: name.into(),
            stage: of.kept[place].clone(),
            other_seed: other.map(|other| [other.start.checkpoint.clone(), other.kept[place].clone()]),
        })
    };
    let others = preset.methods.iter().map(|method| method.name.as_str()).filter(|name| !matched.contains(name));
    let others = others.map(|name| Ok(Finetuned { other_seed: None, ..finetuned(name)? }));
    Ok(Transplant {
        start: of.start.clone(),
        pair: [finetuned(matched[0])?, finetuned(matched[1])?],
        others: others.collect::<Result<_, Failure>>()?,
        level: preset.level,
        rank: preset.rank,
    })
}
