//! From runs and what was to be known of them to how well that predicts; from costs to how well they foresee.
//!
//! 1. [`ranked`]: rank correlations and slopes, over all runs of a seed and within each method.
//! 2. [`mediation`]: the consistency index of what the expansion leaves unexplained.
//! 3. [`foresight`]: which optimizer forgets less, before any finetuning.
//! 4. [`blame`]: which layers the expansion names, and where updates lie in what the layers read.
//!
//! A seed gives one number; intervals are over seeds.

pub(super) mod blame;
mod correlation;
pub(super) mod foresight;
pub(super) mod mediation;
pub(super) mod ranked;

use lab::statistics::{ScorecardRow, correct_for_many};

use super::plan::Finished;
use super::predictor::Run;
use crate::error::Result;
use crate::stages::{EndPoint, Results};

/// Each compared checkpoint with the method of its optimizer, AdamW's first.
pub(super) type Pair = [(String, String); 2];

/// The claim that verdicts are about.
const CLAIM: &str = "C2 (prediction)";
/// The same for what stands beside.
const CONTROL: &str = "C2 (prediction, control)";

/// A number of every seed.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Samples {
    /// Seed and number.
    pub(super) of_seeds: Vec<(u64, f64)>,
    /// Seeds without one.
    pub(super) left_out: usize,
}

impl Samples {
    /// The number of every seed that has one.
    fn of(seeds: &[u64], number: impl Fn(u64) -> Option<f64>) -> Self {
        let of_seeds: Vec<(u64, f64)> = seeds.iter().filter_map(|&seed| Some((seed, number(seed)?))).collect();
        let left_out = seeds.len() - of_seeds.len();
        Self { of_seeds, left_out }
    }

    pub(super) fn values(&self) -> Vec<f64> {
        self.of_seeds.iter().map(|&(_, value)| value).collect()
    }

    /// A line of the scorecard.
    fn row(&self, claim: &str, statement: String, task: &str, unit: &str, note: &str) -> ScorecardRow {
        let left_out = match self.left_out {
            0 => String::new(),
            left_out => format!("{left_out} seeds without a value left out"),
        };
        let note = [note, &left_out].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        ScorecardRow::from_samples(claim, statement, task, unit, &self.values(), note)
    }
}

/// All seeds of runs, ascending.
pub(super) fn seeds(runs: &[Run]) -> Vec<u64> {
    let mut seeds: Vec<u64> = runs.iter().map(|run| run.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    seeds
}

/// The runs as end points, with `forgetting` in place of what was measured.
fn results(runs: &[Run], forgetting: impl Fn(&Run) -> f64) -> Result<Results> {
    let row = |run: &Run| EndPoint {
        task: run.task.clone(),
        checkpoint: run.checkpoint.clone(),
        method: run.method.clone(),
        learning_rate: run.rate,
        seed: run.seed,
        order: 0,
        pretrain_loss_before: run.predicted.before,
        pretrain_loss_after: run.predicted.before + forgetting(run),
        task_loss_before: run.task_before,
        task_loss_after: run.predicted.task,
        validation_loss_before: run.task_before,
        validation_loss_after: run.predicted.task,
        exact_match: None,
        diverged: false,
    };
    Ok(Results::from_rows(runs.iter().map(row).collect())?)
}

/// Everything that the report shows.
pub(super) struct Statistics {
    pub(super) ranked: Vec<ranked::Ranked>,
    pub(super) mediated: Vec<mediation::Mediated>,
    pub(super) foreseen: foresight::Foresights,
    pub(super) scorecard: Vec<ScorecardRow>,
    pub(super) controls: Vec<ScorecardRow>,
}

impl Statistics {
    pub(super) fn compute(finished: &Finished, tasks: &[String], methods: &[String], pair: &Pair) -> Result<Self> {
        let runs = &finished.runs;
        let ranked = ranked::compute(runs, methods);
        let mediated = mediation::compute(runs, tasks, pair)?;
        let foreseen = foresight::compute(runs, &finished.cells, tasks, pair)?;
        let mut scorecard: Vec<ScorecardRow> = Vec::new();
        let mut controls = Vec::new();
        for (rows, others) in [ranked::rows(&ranked), mediation::rows(&mediated), foresight::rows(&foreseen)] {
            scorecard.extend(rows);
            controls.extend(others);
        }
        correct_for_many(&mut scorecard.iter_mut().collect::<Vec<_>>());
        Ok(Self { ranked, mediated, foreseen, scorecard, controls })
    }
}

#[cfg(test)]
pub(super) mod planted {
    //! Made-up runs: every one forgets exactly what it is told to.

    use crate::prediction::predictor::Run;
    use crate::stages::{Part, Predicted};

    /// A run with these losses whose expansion says `predicted`, all of it in the second-order term.
    pub(in crate::prediction) fn run(
        (checkpoint, method, seed, rate): (&str, &str, u64, f64),
        (task, forgetting, predicted): (f64, f64, f64),
    ) -> Run {
        let part = Part {
            layer: 0,
            kind: "up_proj".into(),
            square: rate * rate,
            output_change: rate,
            first: 0.0,
            alone: 0.5 * predicted,
            kronecker: 2.0 * predicted,
            corrected: 2.0 * predicted,
            leading: 0.5,
            leading_count: 0.25,
        };
        Run {
            checkpoint: checkpoint.into(),
            task: "code".into(),
            seed,
            method: method.into(),
            rate,
            task_before: 4.0,
            predicted: Predicted {
                before: 3.0,
                pretrain: 3.0 + forgetting,
                task,
                along: [0.0, predicted],
                together: predicted,
                divergence_on_task: 4.0 - task,
                divergence_on_text: forgetting,
                parts: vec![part],
            },
        }
    }

    /// Four rates of both methods from both checkpoints: F = scale exp(-2 (L - 2)) from task loss 3.8 to 2, and of it
    /// the expansion says the share `said`.
    pub(in crate::prediction) fn grid(
        seed: u64,
        scale: impl Fn(&str, &str) -> f64,
        said: impl Fn(&str, &str, f64) -> f64,
    ) -> Vec<Run> {
        let mut runs = Vec::new();
        for checkpoint in ["adamw", "muon"] {
            for method in ["adamw", "muon"] {
                for (place, loss) in [3.8, 3.2, 2.6, 2.0].into_iter().enumerate() {
                    let forgetting = scale(checkpoint, method) * (-2.0 * (loss - 2.0f64)).exp();
                    let rate = 1e-3 * (place + 1) as f64;
                    let predicted = said(checkpoint, method, forgetting);
                    runs.push(run((checkpoint, method, seed, rate), (loss, forgetting, predicted)));
                }
            }
        }
        runs
    }

    pub(in crate::prediction) fn pair() -> super::Pair {
        [("adamw".into(), "adamw".into()), ("muon".into(), "muon".into())]
    }
}
