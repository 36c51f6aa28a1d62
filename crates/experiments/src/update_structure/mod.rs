//! The structure of finetuning updates (claim C3): does an update forget little because it is built as the checkpoint's
//! own optimizer builds it?
//!
//! The updates of both optimizers from both checkpoints are taken apart and given each other's structure. If structure
//! matters, what is a gain at one checkpoint is a loss at the other: the verdict is on that interaction.

mod plan;
mod preset;
mod section;
mod statistics;

use lab::error::Failure;
use lab::experiment::Experiment;
use lab::grid::{Grid, Outcomes};
use lab::report::{ReportFolder, Section};

pub use plan::Planned;
pub use preset::{UpdateMethod, UpdateStructurePreset};

use crate::parts::TextFlags;

/// The experiment.
pub struct UpdateStructure;

impl Experiment for UpdateStructure {
    const NAME: &'static str = "update-structure";
    const TITLE: &'static str = "The structure of updates";
    const ABOUT: &'static str = "Finetune the hidden matrices of every checkpoint, give the updates other spectra, signs and singular vectors, move each along its ray to \
                                 the same task loss, and compare forgetting\n\nEnds with the path of the report. With the --out of a `tradeoff` run of the same preset its \
                                 checkpoints are used.";
    type Preset = UpdateStructurePreset;
    type Flags = TextFlags;
    type Plan = Planned;

    fn plan(preset: &UpdateStructurePreset, grid: &mut Grid) -> Result<Planned, Failure> {
        plan::plan(preset, grid)
    }

    fn section(
        preset: &UpdateStructurePreset,
        plan: Planned,
        done: &Outcomes,
        report: &ReportFolder,
    ) -> Result<Section, Failure> {
        section::section(preset, plan.read(done), report)
    }
}
