//! The consistency matrix: every optimizer's checkpoint finetuned with every optimizer.
//!
//! Claim C1 beyond its two optimizers: who forgets least from whose checkpoint, and whether optimizers that share a
//! geometry stand nearer to one another. The counterpart for linear networks is theory's figure of the same name.

mod preset;
mod section;
mod statistics;

use lab::error::Failure;
use lab::experiment::Experiment;
use lab::grid::{Grid, Outcomes};
use lab::report::{ReportFolder, Section};

pub use preset::{MatrixPreset, OptimizerPreset};

use crate::parts::TextFlags;
use crate::tradeoff::{self, Planned};

/// The experiment.
pub struct ConsistencyMatrix;

impl Experiment for ConsistencyMatrix {
    const NAME: &'static str = "consistency-matrix";
    const TITLE: &'static str = "Every optimizer against every other";
    const ABOUT: &'static str = "Pretrain with each of several optimizers, finetune every checkpoint with each of them, and compare forgetting at matched learning for every pair\n\n\
                                 Ends with the path of the report. With the --out of a `tradeoff` run of the base preset its checkpoints are used.";
    type Preset = MatrixPreset;
    type Flags = TextFlags;
    type Plan = Planned;

    fn plan(preset: &MatrixPreset, grid: &mut Grid) -> Result<Planned, Failure> {
        tradeoff::plan(&preset.tradeoff()?, grid)
    }

    fn refine(preset: &MatrixPreset, plan: &mut Planned, grid: &mut Grid) -> Result<bool, Failure> {
        tradeoff::refine(&preset.tradeoff()?, plan, grid)
    }

    fn section(
        preset: &MatrixPreset,
        plan: Planned,
        done: &Outcomes,
        report: &ReportFolder,
    ) -> Result<Section, Failure> {
        section::section(preset, plan.read(done), report)
    }
}
