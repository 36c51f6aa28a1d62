//! The experiment behind claim C1: does a checkpoint forget less when it is finetuned with the optimizer that
//! pretrained it?
//!
//! Pretraining optimizer x finetuning method x learning rate x seed; forgetting is compared at matched learning.

mod advice;
mod brought;
pub mod compared;
pub mod figures;
mod flags;
mod method;
mod plan;
mod preset;
mod section;
pub mod statistics;
pub mod tables;

use lab::error::Failure;
use lab::experiment::{Experiment, Options};
use lab::grid::{Grid, Outcomes};
use lab::report::{ReportFolder, Section};

pub use flags::TradeoffFlags;
pub use method::{FinetunePreset, FinetuneScope, InitialState, MethodPreset};
pub use plan::{Finished, Planned, finetuning, plan, plan_all, pretraining, refine, show_example};
pub use preset::{EvaluationPreset, RefinePreset, RescaledPreset, TradeoffPreset};

/// The experiment.
pub struct Tradeoff;

impl Experiment for Tradeoff {
    const NAME: &'static str = "tradeoff";
    const TITLE: &'static str = "The learning-forgetting tradeoff";
    const ABOUT: &'static str = "Pretrain with several optimizers, finetune each checkpoint with several methods at several learning rates, and compare \
                                 forgetting at matched learning\n\nEnds with the path of the report.";
    type Preset = TradeoffPreset;
    type Flags = TradeoffFlags;
    type Plan = Planned;

    fn plan(preset: &TradeoffPreset, grid: &mut Grid) -> Result<Planned, Failure> {
        plan(preset, grid)
    }

    fn refine(preset: &TradeoffPreset, plan: &mut Planned, grid: &mut Grid) -> Result<bool, Failure> {
        refine(preset, plan, grid)
    }

    fn show(flags: &TradeoffFlags, preset: &TradeoffPreset, options: &Options) -> Result<Option<String>, Failure> {
        let Some(number) = flags.show_example() else { return Ok(None) };
        show_example(preset, number, &mut options.grid(preset)?).map(Some)
    }

    fn section(
        preset: &TradeoffPreset,
        plan: Planned,
        done: &Outcomes,
        report: &ReportFolder,
    ) -> Result<Section, Failure> {
        section::section(preset, &plan.read(done), report)
    }
}
