//! The stages of a preset, and what they left.

use lab::error::Failure;
use lab::grid::{Grid, Job, Outcomes};
use lab::stage;

use super::predictor::Run;
use super::preset::PredictionPreset;
use crate::ground::{Ground, pair};
use crate::stages::{
    Curvature, CurvatureRow, Finetuning, Foreseen, Foresight, Losses, Measurement, Predicted, Prediction,
};
use crate::tradeoff::finetuning;

/// The jobs of a preset.
pub struct Planned {
    runs: Vec<(Prediction, Job<Losses>, Job<Option<Predicted>>)>,
    foreseen: Vec<(Foresight, Job<Foreseen>)>,
    curvatures: Vec<(String, u64, Job<Vec<CurvatureRow>>)>,
    provenance: Vec<(String, String)>,
}

/// What was foreseen for one checkpoint of one seed on one task.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) checkpoint: String,
    pub(super) task: String,
    pub(super) seed: u64,
    pub(super) foreseen: Foreseen,
}

/// What the stages left.
pub(super) struct Finished {
    pub(super) runs: Vec<Run>,
    /// Runs that diverged.
    pub(super) diverged: usize,
    pub(super) cells: Vec<Cell>,
    /// Checkpoint, seed and the curvature of every matrix.
    pub(super) curvatures: Vec<(String, u64, Vec<CurvatureRow>)>,
    pub(super) provenance: Vec<(String, String)>,
}

impl Planned {
    /// What the jobs left.
    pub(super) fn read(self, done: &Outcomes) -> Finished {
        let (mut runs, mut diverged) = (Vec::new(), 0);
        for (of, before, job) in &self.runs {
            let (Some(before), Some(outcome)) = (done.get(*before), done.get(*job)) else { continue };
            match outcome {
                Some(predicted) => runs.push(Run {
                    checkpoint: of.run.start.checkpoint_name.clone(),
                    task: of.run.start.task.name().into(),
                    seed: of.run.start.seed,
                    method: of.run.method.clone(),
                    rate: of.run.rate,
                    task_before: before.task,
                    predicted: predicted.clone(),
                }),
                None => diverged += 1,
            }
        }
        let cell = |(of, job): &(Foresight, Job<Foreseen>)| {
            Some(Cell {
                checkpoint: of.start.checkpoint_name.clone(),
                task: of.start.task.name().into(),
                seed: of.start.seed,
                foreseen: done.get(*job)?.clone(),
            })
        };
        let curvatures = self.curvatures.iter();
        Finished {
            runs,
            diverged,
            cells: self.foreseen.iter().filter_map(cell).collect(),
            curvatures: curvatures
                .filter_map(|(name, seed, job)| Some((name.clone(), *seed, done.get(*job)?.clone())))
                .collect(),
            provenance: self.provenance,
        }
    }
}

/// Adds every stage of a preset to the grid.
///
/// # Errors
/// If the text or a task cannot be had, or does not fit the network.
pub(super) fn plan(preset: &PredictionPreset, grid: &mut Grid) -> Result<Planned, Failure> {
    let ground = Ground::prepare(preset.base()?, &preset.tasks, grid)?;
    let mut planned =
        Planned { runs: Vec::new(), foreseen: Vec::new(), curvatures: Vec::new(), provenance: ground.provenance() };
    let (base, methods) = (&ground.preset, preset.methods(&ground.preset));
    for seed in base.seeds().all() {
        // A run that is stopped then has whole seeds to show.
        grid.set_round(seed);
        let tasks = ground.tasks(seed)?;
        for checkpoint in pair(base)? {
            let pretraining = ground.pretraining(checkpoint, seed)?;
            let id = stage::id_of(&pretraining)?;
            let pretrained = grid.stage(pretraining, &[])?;
            let curvature = Curvature {
                name: checkpoint.name.clone(),
                checkpoint: id.clone(),
                network: ground.network.clone(),
                text: ground.text.clone(),
                windows: base.evaluation.pretrain_windows,
                seed,
            };
            let kept = stage::id_of(&curvature)?;
            let curved = grid.stage(curvature, &[pretrained.any()])?;
            planned.curvatures.push((checkpoint.name.clone(), seed, curved));
            for task in &tasks {
                let start = ground.start(&checkpoint.name, (id.clone(), &ground.network), task, seed);
                let before = grid.stage(Measurement(start.clone()), &[pretrained.any()])?;
                let foresight = Foresight {
                    start: start.clone(),
                    curvature: kept.clone(),
                    batches: preset.gradient_batches,
                    sequences: base.finetune.sequences,
                };
                let foreseen = grid.stage(foresight.clone(), &[curved.any()])?;
                planned.foreseen.push((foresight, foreseen));
                for method in methods.iter().filter(|method| base.seeds().has(method.seeds, seed)) {
                    for &rate in &method.rates {
                        let run = finetuning(base, &start, checkpoint, method, rate);
                        let prediction = Prediction {
                            run: Finetuning {
                                carries_state: false,
                                along: 0,
                                keep_weights: false,
                                keep_adapter: false,
                                ..run
                            },
                            curvature: kept.clone(),
                            divergence_windows: preset.divergence_windows,
                            leading: preset.leading,
                        };
                        let job = grid.stage(prediction.clone(), &[curved.any(), before.any()])?;
                        planned.runs.push((prediction, before, job));
                    }
                }
            }
        }
    }
    ground.estimate(grid)?;
    Ok(planned)
}
