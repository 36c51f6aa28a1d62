//! The experiment behind claim C4: with one optimizer in both stages, is Muon worse than AdamW when finetuned on
//! reasoning?
//!
//! Checkpoints of both optimizers are finetuned with both on word problems of rising difficulty and on other tasks,
//! with finetuning sets of several sizes. What is compared is the task itself, not forgetting: held-out loss on the
//! solutions and exact match.

mod figures;
mod preset;
mod section;
mod statistics;

use lab::error::Failure;
use lab::experiment::Experiment;
use lab::grid::{Grid, Outcomes};
use lab::report::{ReportFolder, Section};

pub use preset::PairsPreset;

use crate::parts::TextFlags;
use crate::tradeoff::{self, Planned};

/// The experiment.
pub struct OptimizerPairs;

impl Experiment for OptimizerPairs {
    const NAME: &'static str = "optimizer-pairs";
    const TITLE: &'static str = "One optimizer in both stages, or two";
    const ABOUT: &'static str = "Finetune checkpoints of two optimizers with both on word problems of rising difficulty, string instructions and code, with sets of several \
                                 sizes, and compare task loss and right answers\n\nEnds with the path of the report. With the --out of a `tradeoff` run of the same preset its \
                                 checkpoints are used.";
    type Preset = PairsPreset;
    type Flags = TextFlags;
    /// The jobs of each size of the finetuning set.
    type Plan = Vec<(usize, Planned)>;

    fn plan(preset: &PairsPreset, grid: &mut Grid) -> Result<Self::Plan, Failure> {
        let experiments = preset.experiments()?;
        let sizes = experiments.iter().map(|experiment| experiment.evaluation.train_examples);
        Ok(sizes.zip(tradeoff::plan_all(&experiments, grid)?).collect())
    }

    fn section(
        preset: &PairsPreset,
        plan: Self::Plan,
        done: &Outcomes,
        report: &ReportFolder,
    ) -> Result<Section, Failure> {
        section::section(preset, plan.iter().map(|(size, planned)| (*size, planned.read(done))).collect(), report)
    }
}
