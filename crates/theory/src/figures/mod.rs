//! The data behind each figure: presets in, tables and findings out.
//!
//! Every figure is a module with a preset that can be read from a file (unknown keys are refused) and a `run` that
//! returns a [`FigureData`]. Drawing them is not this crate's business.

pub mod consistency_matrix;
pub mod geometry;
pub mod phase_diagram;
pub mod regularization;
mod table;

pub use table::{FigureData, Finding, Table, Value};

use serde::{Deserialize, Serialize};

use crate::optimizers::Rule;
use crate::structured::{GridSpec, RateGrid};

/// How long a preset runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// Under a minute or so on two cores.
    Quick,
    /// Minutes to half an hour.
    Standard,
}

/// Learning-rate grids for `rules` around where each does best on these problems, `count` values each.
fn grids(rules: &[Rule], count: usize) -> GridSpec {
    rules
        .iter()
        .map(|&rule| {
            let (low, high) = match rule {
                Rule::Sgd | Rule::NaturalGradient => (3e-3, 3.0),
                Rule::Adam | Rule::Sign => (5e-4, 0.3),
                Rule::Lion => (2e-4, 0.1),
                Rule::Muon | Rule::MuonNewtonSchulz => (2e-3, 1.0),
                Rule::NormalisedSgd => (1e-2, 3.0),
                Rule::ShampooOneSidedHalf | Rule::ShampooQuarter => (2e-3, 1.0),
                Rule::ShampooOneSidedQuarter => (5e-3, 2.0),
                Rule::ShampooHalf => (2e-4, 0.5),
            };
            (rule, RateGrid { low, high, count })
        })
        .collect()
}
