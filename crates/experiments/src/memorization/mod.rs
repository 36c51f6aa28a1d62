//! The experiment behind claim C5: does Muon lean to rote memorisation, at the cost of a pattern with few examples?
//!
//! Networks are trained on a synthetic language of facts (which only memory can hold) and a pattern (of which some instances are held out).
//! Cells vary the numbers of both; each optimizer has its own learning rate in each cell, chosen on tuning seeds.
//!
//! ```text
//! preset ──> language of a cell ──> run (tuning seeds) ──> tuning ──> run (reported seeds) ──> statistics ──> figures, report
//! ```

mod data;
mod drawing;
mod measure;
mod preset;
mod report;
mod run;
mod statistics;
mod tuning;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::grid::{Display, Grid, JobId, Outcome};
use crate::preset::OptimizerName;
use crate::store::Store;
use crate::tradeoff::{report_folder, single_thread};

pub use measure::{Point, Spectrum};
pub use preset::{
    BUILT_IN, Cell, FIRST_TUNING_SEED, LanguagePreset, LossTokens, NetworkPreset, OptimizerPreset, Preset, ProbesPreset,
};
pub use run::{Run, RunResult};
pub use statistics::{Difference, FEW, MEMORISED, Reading, Statistics};
pub use tuning::{LEARNED, RateScore, choose};

/// What to run and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The preset, with the command line's changes.
    pub preset: Preset,
    /// The folder for the run store and the report.
    pub out: PathBuf,
    /// Runs at a time, each on one thread.
    pub jobs: NonZeroUsize,
    /// Time between the snapshots of a run in progress.
    pub snapshot_every: Duration,
    /// Where progress is shown.
    pub display: Display,
    /// The command, for the report.
    pub command: String,
}

/// A reported run.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// Numbers of facts and examples.
    pub cell: Cell,
    /// The optimizer.
    pub optimizer: OptimizerName,
    /// Scores of the rates it was chosen from.
    pub scores: Vec<RateScore>,
    /// The place of its rate among them.
    pub chosen: usize,
    /// The seed.
    pub seed: u64,
    /// What came out.
    pub result: RunResult,
}

enum Output {
    Tuning(RunResult),
    Reported(Box<Reported>),
}

/// Runs the experiment (or what is left of it), writes its section of the report, and returns the path of the report's page.
///
/// # Errors
/// One line that says what was found and expected; what is finished stays in the run store.
pub fn run(options: &Options) -> Result<PathBuf> {
    let started = Instant::now();
    let preset = &options.preset;
    preset.validate()?;
    let store = Store::open(&options.out)?;
    let folder = report_folder(&store)?;
    let grid = build_grid(options, &store);
    if options.display != Display::Quiet {
        let (jobs, tokens) = (grid.len(), grid.tokens() as f64 / 1e6);
        crate::console::say(&format!("memorization: {tokens:.1} M tokens in {jobs} runs, {} at a time", options.jobs));
    }
    let outcomes = grid.run(options.jobs, options.display)?;
    let reported: Vec<Reported> = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome.value {
            Output::Tuning(_) => None,
            Output::Reported(run) => Some(*run),
        })
        .collect();
    let statistics = Statistics::compute(&reported, preset.instances()?);
    report::write(options, &reported, &statistics, started.elapsed().as_secs_f64(), &folder)
}

/// Jobs for every tuning run, and for every reported run after those that choose its rate.
fn build_grid<'a>(options: &'a Options, store: &'a Store) -> Grid<'a, Output> {
    let preset = &options.preset;
    let mut grid = Grid::new();
    for cell in preset.cells() {
        for optimizer in &preset.optimizers {
            let at =
                move |rate, seed| Run { preset, cell, optimizer, rate, seed, snapshot_every: options.snapshot_every };
            let mut tuning: Vec<(f64, Vec<JobId>)> = Vec::new();
            for &rate in &optimizer.rates {
                let seeds = FIRST_TUNING_SEED..FIRST_TUNING_SEED + preset.tuning_seeds;
                let jobs = seeds.map(|seed| {
                    let run = at(rate, seed);
                    grid.add(format!("tuning {}", run.label()), preset.run_tokens(), &[], move |job| {
                        let (advance, skip) = (|n| job.add_tokens(n), |n| job.skip_tokens(n));
                        let result = single_thread(|| run.run(store, advance, skip))??;
                        Ok(Outcome { summary: summary(&result), value: Output::Tuning(result) })
                    })
                });
                tuning.push((rate, jobs.collect()));
            }
            let after: Vec<JobId> = tuning.iter().flat_map(|(_, jobs)| jobs.iter().copied()).collect();
            for seed in 0..preset.seeds {
                let tuning = tuning.clone();
                let Cell { facts, examples } = cell;
                let name = optimizer.name.as_str();
                let label = format!("{facts} facts, {examples} examples, {name} seed {seed}");
                grid.add(label, preset.run_tokens(), &after, move |job| {
                    let runs = |jobs: &[JobId]| -> Vec<RunResult> {
                        let results = jobs.iter().filter_map(|&id| match job.output(id) {
                            Output::Tuning(result) => Some(result.clone()),
                            Output::Reported(_) => None,
                        });
                        results.collect()
                    };
                    let scores: Vec<RateScore> =
                        tuning.iter().map(|(rate, jobs)| RateScore::of(*rate, &runs(jobs))).collect();
                    let chosen = choose(&scores);
                    let run = at(scores[chosen].rate, seed);
                    let (advance, skip) = (|n| job.add_tokens(n), |n| job.skip_tokens(n));
                    let result = single_thread(|| run.run(store, advance, skip))??;
                    let summary = format!("rate {}, {}", run.rate, summary(&result));
                    let reported = Reported { cell, optimizer: optimizer.name, scores, chosen, seed, result };
                    Ok(Outcome { summary, value: Output::Reported(Box::new(reported)) })
                });
            }
        }
    }
    grid
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
