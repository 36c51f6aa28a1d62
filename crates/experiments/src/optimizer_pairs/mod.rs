//! The experiment behind claim C4: with one optimizer in both stages, is Muon worse than AdamW when finetuned on
//! reasoning?
//!
//! Checkpoints of both optimizers, of equal loss, are finetuned with both on word problems and on other tasks, with
//! finetuning sets of several sizes that are seen several times. What is compared is the task itself: held-out loss on
//! the solutions and exact match, at rates that leave most of the pretraining in place, and at equal forgetting.

mod chosen;
mod figures;
mod preset;
mod rows;
mod section;
mod statistics;
#[cfg(test)]
mod testing;

use lab::error::Failure;
use lab::experiment::Experiment;
use lab::grid::{Grid, Outcomes};
use lab::report::{ReportFolder, Section};

pub use preset::{Amount, PairsPreset};

use crate::parts::TextFlags;
use crate::tradeoff::{self, Planned, TradeoffPreset};

/// The experiment.
pub struct OptimizerPairs;

impl Experiment for OptimizerPairs {
    const NAME: &'static str = "optimizer-pairs";
    const TITLE: &'static str = "One optimizer in both stages, or two";
    const ABOUT: &'static str = "Finetune checkpoints of two optimizers, of equal loss, with both on word problems, string instructions and code, with sets of several \
                                 sizes, and compare task loss and right answers where little is forgotten\n\nEnds with the path of the report. With the --out of a `tradeoff` run of the same preset its \
                                 checkpoints are used.";
    type Preset = PairsPreset;
    type Flags = TextFlags;
    /// The jobs of each amount of finetuning.
    type Plan = Vec<(Amount, Planned)>;

    fn plan(preset: &PairsPreset, grid: &mut Grid) -> Result<Self::Plan, Failure> {
        let (amounts, experiments): (Vec<Amount>, Vec<TradeoffPreset>) = preset.experiments()?.into_iter().unzip();
        Ok(amounts.into_iter().zip(tradeoff::plan_all(&experiments, grid)?).collect())
    }

    fn section(
        preset: &PairsPreset,
        plan: Self::Plan,
        done: &Outcomes,
        report: &ReportFolder,
    ) -> Result<Section, Failure> {
        section::section(preset, plan.iter().map(|(amount, planned)| (*amount, planned.read(done))).collect(), report)
    }
}
