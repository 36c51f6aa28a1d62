//! The experiment behind claim C4: with one optimizer in both stages, is Muon worse than AdamW when finetuned on reasoning?
//!
//! Checkpoints of both optimizers are finetuned with both on word problems of rising difficulty and on other tasks, with finetuning sets of several sizes. What is
//! compared is the task itself, not forgetting: held-out loss on the solutions and exact match.

mod figures;
mod preset;
mod report;
mod statistics;

use std::path::PathBuf;
use std::time::Instant;

pub use preset::PairsPreset;

use crate::error::Result;
use crate::finished::Finished;
use crate::store::{Store, write_atomic};
use crate::tradeoff::{self, Options};
use statistics::{Run, Statistics};

/// The stages' results, in the report's folder.
const FINISHED: &str = "optimizer-pairs-finished.csv";
/// A row for each finetuning, in the report's folder.
const RESULTS: &str = "optimizer-pairs.csv";

/// What to run and where.
pub type PairsOptions = Options<PairsPreset>;

/// Runs the experiment (or what is left of it), writes its section of the report, and returns the path of the page.
///
/// # Errors
/// One line that says what was found and expected; what is finished stays in the run store.
pub fn run(options: &PairsOptions) -> Result<PathBuf> {
    let started = Instant::now();
    let preset = &options.preset;
    let store = Store::open(&options.out)?;
    let folder = tradeoff::report_folder(&store)?;
    let mut all = Finished::default();
    let mut runs = Vec::new();
    let mut last = tradeoff::Runs::default();
    for experiment in preset.experiments()? {
        let size = experiment.evaluation.train_examples;
        let stages = tradeoff::run_stages(&options.with_preset(experiment), &store)?;
        all.extend(&stages.finished);
        runs.extend(stages.finetuned.iter().map(|(end, _)| Run { examples: size, end: end.clone() }));
        last = stages;
    }
    write_atomic(&folder.join(FINISHED), all.write().as_bytes())?;
    write_atomic(&folder.join(RESULTS), statistics::csv(&runs).as_bytes())?;
    let statistics = Statistics::compute(preset, &runs)?;
    report::write(options, &statistics, &last, &folder, started.elapsed().as_secs_f64())
}
