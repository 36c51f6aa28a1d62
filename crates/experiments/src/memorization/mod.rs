//! The experiment behind claim C5: does Muon lean to rote memorisation, at the cost of a pattern with few examples?
//!
//! Networks are trained on a synthetic language of facts (which only memory can hold) and a pattern (of which some
//! instances are held out). Cells vary the numbers of both; each optimizer has its own learning rate in each cell,
//! chosen on tuning seeds.
//!
//! ```text
//! preset ──> language of a cell ──> run (tuning seeds) ──> tuning ──> run (reported seeds)
//!        ──> statistics ──> section of the report
//! ```

mod data;
mod drawing;
mod measure;
mod plan;
mod preset;
mod run;
mod section;
mod setting;
mod settings;
mod statistics;
mod tuning;
mod variation;

use lab::error::Failure;
use lab::experiment::Experiment;
use lab::grid::{Grid, Outcomes};
use lab::report::{ReportFolder, Section};

pub(crate) use measure::effective_rank;
pub use measure::{MEMORISED, Point, Spectrum};
pub use plan::{Planned, Reported};
pub use preset::{
    Cell, FIRST_TUNING_SEED, LanguagePreset, LossTokens, MemorizationPreset, NetworkPreset, OptimizerPreset,
    ProbesPreset, Variation,
};
pub use run::{Run, RunResult};
pub use statistics::{Difference, FEW, Reading, Statistics};
pub(crate) use tuning::edge;
pub use tuning::{Choice, ChosenBy, LEARNED, RateScore, choose};
pub use variation::varied;

use crate::parts::MachineFlags;

/// The experiment.
pub struct Memorization;

impl Experiment for Memorization {
    const NAME: &'static str = "memorization";
    const TITLE: &'static str = "Rote memorisation and a pattern with few examples";
    const ABOUT: &'static str = "Train small networks with each optimizer on a synthetic language of facts and a pattern, and compare what they memorise with what they \
                                 generalise\n\nEnds with the path of the report.";
    type Preset = MemorizationPreset;
    type Flags = MachineFlags;
    /// The preset's jobs, then those of its variations.
    type Plan = Vec<Planned>;

    fn plan(preset: &MemorizationPreset, grid: &mut Grid) -> Result<Vec<Planned>, Failure> {
        let presets = std::iter::once(preset.clone()).chain(varied(preset)?);
        presets.map(|preset| plan::plan(preset, grid)).collect()
    }

    fn section(
        _: &MemorizationPreset,
        plan: Vec<Planned>,
        done: &Outcomes,
        report: &ReportFolder,
    ) -> Result<Section, Failure> {
        let settings = plan.iter().map(|planned| setting::Setting::of(planned, done)).collect::<Result<Vec<_>, _>>()?;
        section::section(&settings, report)
    }
}
