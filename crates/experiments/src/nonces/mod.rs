//! Claim C5 as finetuning: is what an optimizer has to memorise beside a new pattern paid for by the pattern?
//!
//! Networks are pretrained with AdamW and Muon on facts and some rules, and finetuned with several optimizers on a few
//! examples of a new rule. Behind every answer stand k random tokens (*nonces*), which can only be memorised and carry
//! loss. Held-out accuracy is compared at equal recall of the nonces, and along k.
//!
//! ```text
//! preset ──> pretrain ──> tuning (every rate, tuning seeds) ──> finetune (reported seeds, the chosen rate)
//!                 └──────────────────────────────────────────> placement (with nonces and without, one rate)
//!        ──> statistics ──> section of the report
//! ```

mod data;
mod drawing;
mod finetune;
mod learner;
mod placement;
mod plan;
mod preset;
mod pretrain;
mod reading;
mod section;
mod statistics;
mod tables;
#[cfg(test)]
mod testing;
mod tuning;

use lab::error::Failure;
use lab::experiment::Experiment;
use lab::grid::{Grid, Outcomes};
use lab::report::{ReportFolder, Section};

pub use finetune::{Finetuned, Finetuning, FinetuningKey};
pub use learner::Point;
pub use placement::{Cut, Found, Placed, Placement, PlacementKey};
pub use plan::Planned;
pub use preset::{
    COMPARED, Cell, FinetunePreset, FinetunerPreset, LanguagePreset, NoncesPreset, PlacementPreset, PretrainerPreset,
};
pub use pretrain::{Learned, Pretrained, Pretraining, PretrainingKey};
pub use tuning::{RateScore, Tried, Tuning, TuningKey};

use crate::parts::MachineFlags;

/// The experiment.
pub struct NoncesExperiment;

impl Experiment for NoncesExperiment {
    const NAME: &'static str = "nonces";
    const TITLE: &'static str = "Finetuning on a new pattern with something to memorise";
    const ABOUT: &'static str = "Pretrain small networks with AdamW and Muon on facts and rules, finetune them with several optimizers on a few examples of a new rule \
                                 whose answers carry random tokens, and compare held-out accuracy at equal recall of these tokens\n\nEnds with the path of the report.";
    type Preset = NoncesPreset;
    type Flags = MachineFlags;
    type Plan = Planned;

    fn plan(preset: &NoncesPreset, grid: &mut Grid) -> Result<Planned, Failure> {
        plan::plan(preset, grid)
    }

    fn section(
        preset: &NoncesPreset,
        plan: Planned,
        done: &Outcomes,
        report: &ReportFolder,
    ) -> Result<Section, Failure> {
        section::section(preset, &plan.read(done), report)
    }
}
