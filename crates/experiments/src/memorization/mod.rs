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
mod plan;
mod preset;
mod report;
mod run;
mod settings;
mod statistics;
mod tuning;
mod variation;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::grid::{Display, JobId};
use crate::preset::OptimizerName;
use crate::store::Store;
use crate::tradeoff::report_folder;
use plan::{Output, Plan};

pub use measure::{Point, Spectrum};
pub use preset::{
    BUILT_IN, Cell, FIRST_TUNING_SEED, LanguagePreset, LossTokens, NetworkPreset, OptimizerPreset, Preset, ProbesPreset,
};
pub use run::{Run, RunResult};
pub use statistics::{Difference, FEW, MEMORISED, Reading, Statistics};
pub use tuning::{LEARNED, RateScore, choose};
pub use variation::Variation;

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

/// A preset or a variation of it, with what came out.
#[derive(Debug)]
struct Setting {
    preset: Preset,
    reported: Vec<Reported>,
    statistics: Statistics,
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
    let presets: Vec<Preset> = std::iter::once(preset.clone()).chain(preset.varied()?).collect();
    let mut plan = Plan::new(options, &store);
    let jobs = presets.iter().map(|preset| plan.add(preset)).collect::<Result<Vec<_>>>()?;
    let grid = plan.grid;
    if options.display != Display::Quiet {
        let (jobs, tokens) = (grid.len(), grid.tokens() as f64 / 1e6);
        crate::console::say(&format!("memorization: {tokens:.1} M tokens in {jobs} runs, {} at a time", options.jobs));
    }
    let outcomes = grid.run(options.jobs, options.display)?;
    let setting = |(preset, jobs): (&Preset, Vec<JobId>)| -> Result<Setting> {
        let reported = jobs.iter().filter_map(|job| match &outcomes[job.index()].value {
            Output::Tuning(_) => None,
            Output::Reported(run) => Some(Reported::clone(run)),
        });
        let reported: Vec<Reported> = reported.collect();
        let statistics = Statistics::compute(&reported, preset.instances()?);
        Ok(Setting { preset: preset.clone(), reported, statistics })
    };
    let settings = presets.iter().zip(jobs).map(setting).collect::<Result<Vec<_>>>()?;
    report::write(options, &settings, started.elapsed().as_secs_f64(), &folder)
}
