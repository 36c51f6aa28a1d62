//! A preset or a variation of it, with what came out.

use lab::grid::Outcomes;

use super::plan::{Planned, Reported};
use super::preset::MemorizationPreset;
use super::statistics::Statistics;
use crate::error::Result;

/// A preset or a variation of it, with what came out.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) preset: MemorizationPreset,
    pub(super) reported: Vec<Reported>,
    pub(super) statistics: Statistics,
}

impl Setting {
    /// What the jobs of a preset left, and what follows from it.
    ///
    /// # Errors
    /// If the language refuses the preset's rule.
    pub(super) fn of(planned: &Planned, done: &Outcomes) -> Result<Self> {
        let preset = planned.preset.clone();
        let reported = planned.read(done);
        let statistics = Statistics::compute(&reported, preset.instances()?);
        Ok(Self { preset, reported, statistics })
    }
}
