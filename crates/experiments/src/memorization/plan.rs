//! The stages: tuning runs, and the reported runs at the learning rates that they choose.

use lab::error::Failure;
use lab::grid::{AnyJob, Grid, Job, Outcomes};
use models::optim::RuleName;

use super::preset::{Cell, FIRST_TUNING_SEED, MemorizationPreset, OptimizerPreset};
use super::run::{Run, RunResult};
use super::tuning::{RateScore, choose};
use crate::error::Result;

/// The tuning runs of every learning rate.
type Tuning = Vec<(f64, Vec<Job<RunResult>>)>;

/// The jobs of a preset's reported runs.
pub struct Planned {
    pub(super) preset: MemorizationPreset,
    jobs: Vec<Reporting>,
}

/// The job of a reported run, and those that choose its rate.
struct Reporting {
    cell: Cell,
    optimizer: RuleName,
    seed: u64,
    tuning: Tuning,
    job: Job<RunResult>,
}

/// A reported run.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// Numbers of facts and examples.
    pub cell: Cell,
    /// The optimizer.
    pub optimizer: RuleName,
    /// Scores of the rates it was chosen from.
    pub scores: Vec<RateScore>,
    /// The place of its rate among them.
    pub chosen: usize,
    /// The seed.
    pub seed: u64,
    /// What came out.
    pub result: RunResult,
}

impl Planned {
    /// The reported runs.
    pub fn read(&self, done: &Outcomes) -> Vec<Reported> {
        let reported = |of: &Reporting| {
            let scores = scores(&of.tuning, done);
            let (chosen, result) = (choose(&scores, self.preset.choice), done.get(of.job)?.clone());
            Some(Reported { cell: of.cell, optimizer: of.optimizer, scores, chosen, seed: of.seed, result })
        };
        self.jobs.iter().filter_map(reported).collect()
    }
}

/// What the tuning runs say about every rate.
fn scores(tuning: &Tuning, done: &Outcomes) -> Vec<RateScore> {
    let score =
        |(rate, jobs): &(f64, Vec<Job<RunResult>>)| RateScore::of(*rate, jobs.iter().filter_map(|job| done.get(*job)));
    tuning.iter().map(score).collect()
}

/// Adds every stage of a preset. Runs that several presets share are run once.
///
/// # Errors
/// If the language refuses its configuration.
pub(super) fn plan(preset: MemorizationPreset, grid: &mut Grid) -> Result<Planned, Failure> {
    let mut jobs = Vec::new();
    for cell in preset.cells() {
        for optimizer in &preset.optimizers {
            let tuning = add_tuning(&preset, cell, optimizer, grid)?;
            for seed in 0..preset.seeds_of(cell, optimizer.name) {
                let job = add_reported(&preset, cell, optimizer, &tuning, seed, grid);
                jobs.push(Reporting { cell, optimizer: optimizer.name, seed, tuning: tuning.clone(), job });
            }
        }
    }
    Ok(Planned { preset, jobs })
}

/// A tuning run for every rate and tuning seed.
fn add_tuning(
    preset: &MemorizationPreset,
    cell: Cell,
    optimizer: &OptimizerPreset,
    grid: &mut Grid,
) -> Result<Tuning, Failure> {
    let mut found = Vec::new();
    for &rate in &optimizer.rates {
        let seeds = FIRST_TUNING_SEED..FIRST_TUNING_SEED + preset.tuning_seeds;
        let add = |seed| Ok(grid.stage(Run::new(preset, cell, optimizer, rate, seed)?, &[])?);
        found.push((rate, seeds.map(add).collect::<Result<_, Failure>>()?));
    }
    Ok(found)
}

/// A reported run, after those that choose its rate.
fn add_reported(
    preset: &MemorizationPreset,
    cell: Cell,
    optimizer: &OptimizerPreset,
    tuning: &Tuning,
    seed: u64,
    grid: &mut Grid,
) -> Job<RunResult> {
    let after: Vec<AnyJob> = tuning.iter().flat_map(|(_, jobs)| jobs.iter().map(|job| job.any())).collect();
    let Cell { facts, examples } = cell;
    let label = format!("{}: {facts} facts, {examples} examples, {} seed {seed}", preset.name, optimizer.name);
    let (preset, optimizer, tuning) = (preset.clone(), optimizer.clone(), tuning.clone());
    grid.stage_from(label, preset.run_tokens(), &after, move |done| {
        let scores = scores(&tuning, done);
        let rate = scores[choose(&scores, preset.choice)].rate;
        Ok(Run::new(&preset, cell, &optimizer, rate, seed)?)
    })
}
