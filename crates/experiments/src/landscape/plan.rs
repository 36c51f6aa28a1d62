//! The stages of a preset, and what they left.

use lab::error::Failure;
use lab::grid::{Grid, Job, Outcomes};
use lab::stage;

use super::preset::LandscapePreset;
use crate::ground::Ground;
use crate::stages::{Landscape, Surveyed};

/// The jobs of a preset.
pub struct Planned {
    surveys: Vec<(Landscape, Job<Surveyed>)>,
    provenance: Vec<(String, String)>,
}

/// What was found around one checkpoint of one seed on one task.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) checkpoint: String,
    pub(super) task: String,
    pub(super) seed: u64,
    pub(super) surveyed: Surveyed,
}

impl Planned {
    /// What the jobs left, and how it was made.
    pub(super) fn read(self, done: &Outcomes) -> (Vec<Found>, Vec<(String, String)>) {
        let found = self.surveys.iter().filter_map(|(of, job)| {
            Some(Found {
                checkpoint: of.start.checkpoint_name.clone(),
                task: of.start.task.name().into(),
                seed: of.start.seed,
                surveyed: done.get(*job)?.clone(),
            })
        });
        (found.collect(), self.provenance)
    }
}

/// Adds every stage of a preset to the grid.
///
/// # Errors
/// If the text or a task cannot be had, or does not fit the network.
pub(super) fn plan(preset: &LandscapePreset, grid: &mut Grid) -> Result<Planned, Failure> {
    let ground = Ground::prepare(preset.base()?, &preset.tasks, grid)?;
    let survey = preset.survey(&ground.preset);
    let mut planned = Planned { surveys: Vec::new(), provenance: ground.provenance() };
    for seed in ground.preset.seeds().all() {
        // A run that is stopped then has whole seeds to show.
        grid.set_round(seed);
        let tasks = ground.tasks(seed)?;
        for checkpoint in preset.checkpoints(&ground.preset)? {
            if !ground.preset.seeds().has(checkpoint.seeds, seed) {
                continue;
            }
            let pretraining = ground.pretraining(checkpoint, seed)?;
            let id = stage::id_of(&pretraining)?;
            let pretrained = grid.stage(pretraining, &[])?;
            for task in &tasks {
                let start = ground.start(&checkpoint.name, (id.clone(), &ground.network), task, seed);
                let landscape = Landscape { start, survey: survey.clone() };
                let job = grid.stage(landscape.clone(), &[pretrained.any()])?;
                planned.surveys.push((landscape, job));
            }
        }
    }
    ground.estimate(grid)?;
    Ok(planned)
}
