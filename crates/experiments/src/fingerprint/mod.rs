//! Which optimizer trained a checkpoint? (claim C2)
//!
//! If optimizers leave their own marks on weights and activations, a simple classifier reads the optimizer off a
//! checkpoint, at learning rates, decays and widths that it has not seen.

mod classifier;
mod features;
mod plan;
mod preset;
mod section;
mod statistics;

use lab::error::Failure;
use lab::experiment::Experiment;
use lab::grid::{Grid, Outcomes};
use lab::report::{ReportFolder, Section};

pub use plan::Planned;
pub use preset::FingerprintPreset;

use crate::parts::TextFlags;

/// The experiment.
pub struct Fingerprint;

impl Experiment for Fingerprint {
    const NAME: &'static str = "fingerprint";
    const TITLE: &'static str = "The optimizer's fingerprint";
    const ABOUT: &'static str = "Pretrain with many optimizers in many settings, look into the checkpoints, and read the optimizer off them in settings that were held \
                                 out\n\nEnds with the path of the report.";
    type Preset = FingerprintPreset;
    type Flags = TextFlags;
    type Plan = Planned;

    fn plan(preset: &FingerprintPreset, grid: &mut Grid) -> Result<Planned, Failure> {
        plan::plan(preset, grid)
    }

    fn section(
        preset: &FingerprintPreset,
        plan: Planned,
        done: &Outcomes,
        report: &ReportFolder,
    ) -> Result<Section, Failure> {
        section::section(preset, plan.read(done), report)
    }
}
