//! The engine of experiments: it runs what others describe, keeps what was computed, and shows what came out. It knows
//! no claim and no optimizer.
//!
//! In the book: [the architecture](../../book/design.html), [a cluster](../../book/cluster.html).
//!
//! ```text
//! preset --> Experiment::plan --> Grid of Stages --> Outcomes --> Experiment::section --> report
//!              (flags)              |        ^                     (statistics, figures, tables)
//!                                   v        |
//!                                    Store: every finished stage once, under the hash of its key
//! ```
//!
//! - A [`Stage`](stage::Stage) is a pure function of its key and its inputs; the [`store`] keeps its output, resumes
//!   what was cut off, and lets several processes work on one folder.
//! - The [`grid`] runs stages at a time, in an order that brings whole seeds to their end; what they compute does not
//!   depend on it.
//! - An [`Experiment`](experiment::Experiment) says which stages a [`preset`] needs and what their outcomes mean.
//!   [`program`] gives it flags, a place in the report and in the reference: all that follows from one line in a
//!   [`Registry`](program::Registry).
//! - [`statistics`] has intervals and verdicts, [`table`] CSV files, [`figures`] and [`report`] what people look at,
//!   [`tensorboard`] the same for TensorBoard.
//!
//! A whole experiment, of one stage and without a report's figures:
//!
//! ```
//! use lab::error::Failure;
//! use lab::experiment::{self, Experiment, NoFlags, Options};
//! use lab::grid::{Grid, Job, Outcomes};
//! use lab::preset::Preset;
//! use lab::report::{Front, ReportFolder, Section};
//! use lab::stage::{Stage, Work};
//! use lab::statistics::ScorecardRow;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct CoinPreset {
//!     seeds: u64,
//! }
//!
//! impl Preset for CoinPreset {
//!     const BUILT_IN: &'static [(&'static str, &'static str)] = &[("quick", "seeds = 6")];
//!     fn validate(&self) -> Result<(), Failure> {
//!         Ok(())
//!     }
//! }
//!
//! struct Toss(u64);
//!
//! impl Stage for Toss {
//!     const KIND: &'static str = "toss";
//!     const SEMANTICS: u32 = 1;
//!     type Key = u64;
//!     type Output = f64;
//!     fn key(&self) -> u64 {
//!         self.0
//!     }
//!     fn label(&self) -> String {
//!         format!("toss seed {}", self.0)
//!     }
//!     fn cost(&self) -> u64 {
//!         1
//!     }
//!     fn compute(&self, _: &mut Work<'_>) -> Result<f64, Failure> {
//!         Ok((lab::seeds::stream(self.0, "coin") % 2) as f64)
//!     }
//!     fn summary(output: &f64) -> String {
//!         output.to_string()
//!     }
//! }
//!
//! struct Coin;
//!
//! impl Experiment for Coin {
//!     const NAME: &'static str = "coin";
//!     const TITLE: &'static str = "Is the coin fair?";
//!     const ABOUT: &'static str = "Toss a coin.";
//!     type Preset = CoinPreset;
//!     type Flags = NoFlags;
//!     type Plan = Vec<Job<f64>>;
//!     fn plan(preset: &CoinPreset, grid: &mut Grid) -> Result<Self::Plan, Failure> {
//!         Ok((0..preset.seeds).map(|seed| grid.stage(Toss(seed), &[])).collect::<Result<_, _>>()?)
//!     }
//!     fn section(_: &CoinPreset, plan: Self::Plan, done: &Outcomes, _: &ReportFolder) -> Result<Section, Failure> {
//!         let heads: Vec<f64> = plan.iter().filter_map(|job| done.get(*job)).map(|toss| toss - 0.5).collect();
//!         let row = ScorecardRow::from_samples("coin", "Heads come more often", "tosses", "share", &heads, "");
//!         Ok(Section { scorecard: vec![row], ..Section::default() })
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let options = Options::quiet(folder.path());
//! let front = Front { title: "Coins", lead: "All were tossed.", claims: &[], evidence: "" };
//! experiment::run::<Coin>(&CoinPreset::find("quick", &[])?, &options, 0, &front)?;
//! assert!(options.report().join("sections/coin.json").exists());
//! # Ok(())
//! # }
//! ```

pub mod console;
pub mod error;
pub mod experiment;
pub mod figures;
mod finished;
pub mod grid;
pub mod hash;
pub mod input;
pub mod interrupt;
pub mod memory;
pub mod preset;
pub mod program;
pub mod provenance;
pub mod report;
pub mod seeds;
pub mod slurm;
pub mod stage;
pub mod statistics;
pub mod store;
pub mod table;
pub mod tensorboard;
