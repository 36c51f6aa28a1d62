//! Is forgetting predictable from the checkpoint (claims C2 and C3)?
//!
//! The hidden matrices of both compared checkpoints are finetuned with every method. What each run forgets is set
//! beside the expansion of the loss on pretraining text to second order along its update, and beside simpler numbers.
//! If the expansion tells what is forgotten, it should tell the consistency index too; and its curvature should say
//! before any finetuning which optimizer forgets less.

mod drawing;
mod plan;
mod predictor;
mod preset;
mod section;
mod statistics;

use lab::error::Failure;
use lab::experiment::Experiment;
use lab::grid::{Grid, Outcomes};
use lab::report::{ReportFolder, Section};

pub use plan::Planned;
pub use preset::PredictionPreset;

use crate::parts::TextFlags;

/// The experiment.
pub struct Predictions;

impl Experiment for Predictions {
    const NAME: &'static str = "prediction";
    const TITLE: &'static str = "Forgetting, predicted";
    const ABOUT: &'static str = "Measure gradient and curvature of every checkpoint on pretraining text, finetune its hidden matrices with every method, and compare what \
                                 is forgotten with what the curvature predicts\n\nEnds with the path of the report. With the --out of a `tradeoff` run of the same preset \
                                 its checkpoints are used.";
    type Preset = PredictionPreset;
    type Flags = TextFlags;
    type Plan = Planned;

    fn plan(preset: &PredictionPreset, grid: &mut Grid) -> Result<Planned, Failure> {
        plan::plan(preset, grid)
    }

    fn section(
        preset: &PredictionPreset,
        plan: Planned,
        done: &Outcomes,
        report: &ReportFolder,
    ) -> Result<Section, Failure> {
        section::section(preset, plan.read(done), report)
    }
}
