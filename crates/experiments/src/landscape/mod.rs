//! The loss around checkpoints (claim C2): how much does the loss on pretraining text rise along the directions that
//! each optimizer takes on a task, at equal gain on that task?
//!
//! The landscape fits its optimizer if, from AdamW's checkpoint, a step along the signs of a gradient forgets less than
//! one along its polar factor, and from Muon's the other way about.

mod compared;
mod plan;
mod preset;
mod section;
mod statistics;

use lab::error::Failure;
use lab::experiment::Experiment;
use lab::grid::{Grid, Outcomes};
use lab::report::{ReportFolder, Section};

pub use plan::Planned;
pub use preset::LandscapePreset;

use crate::parts::TextFlags;

/// The experiment.
pub struct Landscapes;

impl Experiment for Landscapes {
    const NAME: &'static str = "landscape";
    const TITLE: &'static str = "The loss around checkpoints";
    const ABOUT: &'static str = "Move the weights of every checkpoint along the directions that optimizers take on a task, to equal gains and equal lengths, and compare \
                                 how much the loss on pretraining text rises\n\nEnds with the path of the report. With the --out of a `tradeoff` run of the same preset \
                                 its checkpoints are used.";
    type Preset = LandscapePreset;
    type Flags = TextFlags;
    type Plan = Planned;

    fn plan(preset: &LandscapePreset, grid: &mut Grid) -> Result<Planned, Failure> {
        plan::plan(preset, grid)
    }

    fn section(
        preset: &LandscapePreset,
        plan: Planned,
        done: &Outcomes,
        report: &ReportFolder,
    ) -> Result<Section, Failure> {
        section::section(preset, plan.read(done), report)
    }
}
