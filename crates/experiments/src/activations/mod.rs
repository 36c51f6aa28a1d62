//! The experiment behind claim C2 on networks: does the optimizer that pretrains a network shape its activations?
//!
//! Checkpoints of several optimizers, and what they are like inside. The reading that decides is how far the axes carry
//! the anisotropy of the activations, AdamW's checkpoint beside a Muon's at the same loss.

mod drawing;
mod plan;
mod preset;
mod section;
mod statistics;

use lab::error::Failure;
use lab::experiment::{Experiment, Flags};
use lab::grid::{Grid, Outcomes};
use lab::preset::Change;
use lab::report::{ReportFolder, Section};

use crate::parts::TextFlags;

pub use plan::Planned;
pub use preset::{ActivationsPreset, HeldOutPreset, ProbedPreset, SwitchPreset};

/// The flags of `activations` beside those of all programs.
#[derive(Debug, Clone, clap::Args)]
pub struct ActivationsFlags {
    #[command(flatten)]
    text: TextFlags,
}

impl Flags for ActivationsFlags {
    fn changes(&self) -> Vec<Change> {
        self.text.changes()
    }
}

/// The experiment.
pub struct Activations;

impl Experiment for Activations {
    const NAME: &'static str = "activations";
    const TITLE: &'static str = "What optimizers do to activations";
    const ABOUT: &'static str = "Pretrain with several optimizers and look into the checkpoints: activations, output gradients and weights, by layer \
                                 and kind\n\nEnds with the path of the report.";
    type Preset = ActivationsPreset;
    type Flags = ActivationsFlags;
    type Plan = Planned;

    fn plan(preset: &ActivationsPreset, grid: &mut Grid) -> Result<Planned, Failure> {
        plan::plan(preset, grid)
    }

    fn section(
        preset: &ActivationsPreset,
        plan: Planned,
        done: &Outcomes,
        report: &ReportFolder,
    ) -> Result<Section, Failure> {
        section::section(preset, &plan.read(done), report)
    }
}
