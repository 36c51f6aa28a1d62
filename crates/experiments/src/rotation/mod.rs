//! The causal test of what the axes of the residual stream have to do with forgetting (claim C2).
//!
//! Every checkpoint is finetuned twice: with its gains folded into its matrices, and with its stream turned besides,
//! which changes neither its function nor what Muon does, but what AdamW does. If AdamW forgets little from its own
//! checkpoint because the activations lie along the axes, it forgets more from the turned one, and the consistency
//! index falls.

mod plan;
mod preset;
mod section;
mod statistics;

use lab::error::Failure;
use lab::experiment::Experiment;
use lab::grid::{Grid, Outcomes};
use lab::report::{ReportFolder, Section};

pub use plan::Planned;
pub use preset::RotationPreset;

use crate::parts::TextFlags;

/// The experiment.
pub struct Rotation;

impl Experiment for Rotation {
    const NAME: &'static str = "rotation";
    const TITLE: &'static str = "The residual stream turned";
    const ABOUT: &'static str = "Turn the residual stream of every checkpoint, which changes no function and nothing for Muon, finetune the turned and the plain ones with \
                                 both optimizers, and compare forgetting at matched learning\n\nEnds with the path of the report. With the --out of a `tradeoff` run of the \
                                 same preset its checkpoints are used.";
    type Preset = RotationPreset;
    type Flags = TextFlags;
    type Plan = Planned;

    fn plan(preset: &RotationPreset, grid: &mut Grid) -> Result<Planned, Failure> {
        plan::plan(preset, grid)
    }

    fn section(
        preset: &RotationPreset,
        plan: Planned,
        done: &Outcomes,
        report: &ReportFolder,
    ) -> Result<Section, Failure> {
        section::section(preset, plan.read(done), report)
    }
}
