//! The jobs: every run once, however many settings share it.

use std::collections::HashMap;

use super::preset::{Cell, FIRST_TUNING_SEED, OptimizerPreset, Preset};
use super::run::{Run, RunResult};
use super::tuning::{RateScore, choose};
use super::{Options, Reported};
use crate::error::Result;
use crate::grid::{Grid, JobId, Outcome};
use crate::store::{StageId, Store};
use crate::tradeoff::single_thread;

/// What a job leaves.
pub(super) enum Output {
    Tuning(RunResult),
    Reported(Box<Reported>),
}

/// A grid in the making.
pub(super) struct Plan<'a> {
    options: &'a Options,
    store: &'a Store,
    pub(super) grid: Grid<'a, Output>,
    /// The job of every tuning run.
    tuning: HashMap<StageId, JobId>,
    /// The job of every reported run, by those that choose its rate and its seed.
    reported: HashMap<(Vec<JobId>, u64), JobId>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(options: &'a Options, store: &'a Store) -> Self {
        Self { options, store, grid: Grid::new(), tuning: HashMap::new(), reported: HashMap::new() }
    }

    /// Adds what a preset asks for and is not there yet; returns the jobs of its reported runs.
    pub(super) fn add(&mut self, preset: &'a Preset) -> Result<Vec<JobId>> {
        let mut jobs = Vec::new();
        for cell in preset.cells() {
            for optimizer in &preset.optimizers {
                let tuning = self.add_tuning(preset, cell, optimizer)?;
                for seed in 0..preset.seeds_of(cell, optimizer.name) {
                    jobs.push(self.add_reported(preset, cell, optimizer, &tuning, seed));
                }
            }
        }
        Ok(jobs)
    }

    /// A tuning run for every rate and tuning seed.
    fn add_tuning(
        &mut self,
        preset: &'a Preset,
        cell: Cell,
        optimizer: &'a OptimizerPreset,
    ) -> Result<Vec<(f64, Vec<JobId>)>> {
        let (store, snapshot_every) = (self.store, self.options.snapshot_every);
        let mut found = Vec::new();
        for &rate in &optimizer.rates {
            let mut jobs = Vec::new();
            for seed in FIRST_TUNING_SEED..FIRST_TUNING_SEED + preset.tuning_seeds {
                let run = Run { preset, cell, optimizer, rate, seed, snapshot_every };
                let grid = &mut self.grid;
                let job = *self.tuning.entry(run.id()?).or_insert_with(|| {
                    grid.add(format!("{}: tuning {}", preset.name, run.label()), preset.run_tokens(), &[], move |job| {
                        let (advance, skip) = (|n| job.add_tokens(n), |n| job.skip_tokens(n));
                        let result = single_thread(|| run.run(store, advance, skip))??;
                        Ok(Outcome { summary: summary(&result), value: Output::Tuning(result) })
                    })
                });
                jobs.push(job);
            }
            found.push((rate, jobs));
        }
        Ok(found)
    }

    /// A reported run, after those that choose its rate.
    fn add_reported(
        &mut self,
        preset: &'a Preset,
        cell: Cell,
        optimizer: &'a OptimizerPreset,
        tuning: &[(f64, Vec<JobId>)],
        seed: u64,
    ) -> JobId {
        let (store, snapshot_every) = (self.store, self.options.snapshot_every);
        let after: Vec<JobId> = tuning.iter().flat_map(|(_, jobs)| jobs.iter().copied()).collect();
        if let Some(&job) = self.reported.get(&(after.clone(), seed)) {
            return job;
        }
        let Cell { facts, examples } = cell;
        let name = optimizer.name.as_str();
        let label = format!("{}: {facts} facts, {examples} examples, {name} seed {seed}", preset.name);
        let tuning = tuning.to_vec();
        let job = self.grid.add(label, preset.run_tokens(), &after, move |job| {
            let runs = |jobs: &[JobId]| -> Vec<RunResult> {
                let results = jobs.iter().filter_map(|&id| match job.output(id) {
                    Output::Tuning(result) => Some(result.clone()),
                    Output::Reported(_) => None,
                });
                results.collect()
            };
            let scores: Vec<RateScore> = tuning.iter().map(|(rate, jobs)| RateScore::of(*rate, &runs(jobs))).collect();
            let chosen = choose(&scores);
            let run = Run { preset, cell, optimizer, rate: scores[chosen].rate, seed, snapshot_every };
            let (advance, skip) = (|n| job.add_tokens(n), |n| job.skip_tokens(n));
            let result = single_thread(|| run.run(store, advance, skip))??;
            let summary = format!("rate {}, {}", run.rate, summary(&result));
            let reported = Reported { cell, optimizer: optimizer.name, scores, chosen, seed, result };
            Ok(Outcome { summary, value: Output::Reported(Box::new(reported)) })
        });
        self.reported.insert((after, seed), job);
        job
    }
}

fn summary(result: &RunResult) -> String {
    match result.end() {
        None => "diverged".into(),
        Some(end) => {
            let facts = end.facts.map_or(String::new(), |share| format!("facts {share:.2}, "));
            format!("{facts}seen {:.2}, test {:.2}", end.seen, end.test)
        }
    }
}
