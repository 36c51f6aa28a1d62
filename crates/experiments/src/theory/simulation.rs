//! The simulations of one figure as a stage.

use lab::error::Failure;
use lab::stage::{Stage, Work};
use theory::figures::FigureData;

use super::preset::FigurePreset;

/// What a run of a simulation counts for on the progress bar.
const RUN: u64 = 1000;

/// The simulations of one figure.
#[derive(Debug, Clone)]
pub struct Simulation(
    /// What decides their numbers.
    pub FigurePreset,
);

impl Stage for Simulation {
    const KIND: &'static str = "theory";
    const SEMANTICS: u32 = 1;
    type Key = FigurePreset;
    type Output = FigureData;

    fn key(&self) -> FigurePreset {
        self.0.clone()
    }

    fn label(&self) -> String {
        format!("theory {}", self.0.name())
    }

    fn cost(&self) -> u64 {
        self.0.runs() as u64 * RUN
    }

    fn uses_all_threads(&self) -> bool {
        true
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<FigureData, Failure> {
        let work = &*work;
        Ok(self.0.run(|| work.advance(RUN))?)
    }

    fn summary(output: &FigureData) -> String {
        format!("{} tables, {} findings", output.tables.len(), output.findings.len())
    }
}
