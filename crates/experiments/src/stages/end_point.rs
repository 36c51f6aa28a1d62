//! The outcome of one finetuning run, and the checked set of all of them.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// Largest relative difference between two rows' losses of one and the same checkpoint.
const SAME_LOSS_TOLERANCE: f64 = 1e-6;

/// The end point of one finetuning run: one row of `results.csv`.
///
/// All losses are mean next-token losses in nats per token: `pretrain_*` on held-out pretraining
/// text, `task_*` on the target tokens of held-out task text; `before` is the checkpoint and `after`
/// the finetuned model at the end of its schedule. Losses of a diverged run are whatever was
/// measured last and may be NaN or infinite; files have an empty field for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndPoint {
    /// Name of the task finetuned on.
    pub task: String,
    /// Name of the checkpoint: the pretraining optimizer (`adamw`, `muon`) or a control (`adamw-long`).
    pub checkpoint: String,
    /// Name of the finetuning method: an optimizer (`adamw`, `muon`, `sgd`) or `lora-RANK`.
    pub method: String,
    /// Peak learning rate of the finetuning run.
    pub learning_rate: f64,
    /// Pretraining seed; it fixes initialisation, the draw of the task's data, and the order of both stages' data.
    pub seed: u64,
    /// Which of the finetuning orders that the seed draws: 0, or 1 for a run in a second order.
    pub order: u64,
    /// Pretraining loss of the checkpoint.
    #[serde(with = "finite_or_null")]
    pub pretrain_loss_before: f64,
    /// Pretraining loss of the finetuned model.
    #[serde(with = "finite_or_null")]
    pub pretrain_loss_after: f64,
    /// Task loss of the checkpoint.
    #[serde(with = "finite_or_null")]
    pub task_loss_before: f64,
    /// Task loss of the finetuned model.
    #[serde(with = "finite_or_null")]
    pub task_loss_after: f64,
    /// Loss of the checkpoint on the task's validation set.
    #[serde(with = "finite_or_null")]
    pub validation_loss_before: f64,
    /// Loss of the finetuned model on the task's validation set.
    #[serde(with = "finite_or_null")]
    pub validation_loss_after: f64,
    /// Share of greedily decoded answers that are right after finetuning, in `0..=1`; `None` for a
    /// task without answers.
    pub exact_match: Option<f64>,
    /// Whether the run ended early in NaN or above the loss bound.
    pub diverged: bool,
}

impl EndPoint {
    /// The columns of `results.csv`.
    pub const COLUMNS: [&str; 14] = [
        "task",
        "checkpoint",
        "method",
        "learning_rate",
        "seed",
        "order",
        "pretrain_loss_before",
        "pretrain_loss_after",
        "task_loss_before",
        "task_loss_after",
        "validation_loss_before",
        "validation_loss_after",
        "exact_match",
        "diverged",
    ];

    /// Forgetting: how much the pretraining loss rose, in nats per token.
    pub fn forgetting(&self) -> f64 {
        self.pretrain_loss_after - self.pretrain_loss_before
    }

    /// Learning: how much the task loss fell, in nats per token.
    pub fn learning(&self) -> f64 {
        self.task_loss_before - self.task_loss_after
    }

    /// Whether the run counts in the statistics: it did not diverge and all four losses are finite.
    pub fn is_usable(&self) -> bool {
        !self.diverged
            && [self.pretrain_loss_before, self.pretrain_loss_after, self.task_loss_before, self.task_loss_after]
                .iter()
                .all(|loss| loss.is_finite())
    }

    /// What identifies the run, in the order in which rows are sorted.
    fn compare_keys(&self, other: &Self) -> Ordering {
        (&self.task, &self.checkpoint, &self.method)
            .cmp(&(&other.task, &other.checkpoint, &other.method))
            .then(self.learning_rate.total_cmp(&other.learning_rate))
            .then(self.seed.cmp(&other.seed))
            .then(self.order.cmp(&other.order))
    }

    /// Total order over all columns, so that sorting does not depend on the order of the input.
    fn compare(&self, other: &Self) -> Ordering {
        let losses = |row: &Self| {
            [
                row.pretrain_loss_before,
                row.pretrain_loss_after,
                row.task_loss_before,
                row.task_loss_after,
                row.validation_loss_before,
                row.validation_loss_after,
                row.exact_match.unwrap_or(-1.0),
            ]
        };
        let by_loss = losses(self)
            .into_iter()
            .zip(losses(other))
            .map(|(a, b)| a.total_cmp(&b))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal);
        self.compare_keys(other).then(by_loss).then(self.diverged.cmp(&other.diverged))
    }

    /// How an error message names the run.
    fn describe(&self) -> String {
        format!(
            "checkpoint {}, task {}, method {}, learning rate {:?}, seed {}, order {}",
            self.checkpoint, self.task, self.method, self.learning_rate, self.seed, self.order
        )
    }
}

/// What can be wrong with a set of end points.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ResultsError {
    /// Two different outcomes of the same run.
    #[error("two different rows for the same run ({0}), expected one")]
    Conflict(String),
    /// A learning rate that is not positive and finite.
    #[error("learning rate {value} of a run ({run}), expected a positive finite number")]
    LearningRate {
        /// The value found.
        value: f64,
        /// The run it belongs to.
        run: String,
    },
    /// Two rows disagree about the loss of the checkpoint they both started from.
    #[error(
        "{field} of one checkpoint is {first} in one row and {second} in another ({run}), expected the same number"
    )]
    Checkpoint {
        /// Column name.
        field: &'static str,
        /// Value in the first row.
        first: f64,
        /// Value in the row named by `run`.
        second: f64,
        /// The second row's run.
        run: String,
    },
}

/// A checked set of end points, sorted by task, checkpoint, method, learning rate, seed and order.
///
/// Equal rows count once; a run has one row; all rows of a checkpoint agree about its losses.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Results {
    rows: Vec<EndPoint>,
}

impl Results {
    /// Checks, sorts and deduplicates `rows`, which may come in any order.
    ///
    /// # Errors
    /// When two rows contradict each other or a learning rate is not positive and finite.
    pub fn from_rows(mut rows: Vec<EndPoint>) -> Result<Self, ResultsError> {
        rows.sort_by(EndPoint::compare);
        rows.dedup_by(|b, a| a.compare(b).is_eq());
        for row in &rows {
            if !(row.learning_rate.is_finite() && row.learning_rate > 0.0) {
                return Err(ResultsError::LearningRate { value: row.learning_rate, run: row.describe() });
            }
        }
        for pair in rows.windows(2) {
            if pair[0].compare_keys(&pair[1]).is_eq() {
                return Err(ResultsError::Conflict(pair[1].describe()));
            }
        }
        check_agreement(
            &rows,
            "task_loss_before",
            |row| (&row.checkpoint, row.seed, &row.task),
            |row| row.task_loss_before,
        )?;
        check_agreement(
            &rows,
            "pretrain_loss_before",
            |row| (&row.checkpoint, row.seed),
            |row| row.pretrain_loss_before,
        )?;
        Ok(Self { rows })
    }

    /// All rows, sorted.
    pub fn rows(&self) -> &[EndPoint] {
        &self.rows
    }

    /// Names of the tasks, sorted.
    pub fn tasks(&self) -> Vec<String> {
        sorted_names(self.rows.iter().map(|row| &row.task))
    }

    /// Names of the checkpoints, sorted.
    pub fn checkpoints(&self) -> Vec<String> {
        sorted_names(self.rows.iter().map(|row| &row.checkpoint))
    }

    /// Names of the methods, sorted.
    pub fn methods(&self) -> Vec<String> {
        sorted_names(self.rows.iter().map(|row| &row.method))
    }

    /// Seeds that any row has, ascending.
    pub fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.rows.iter().map(|row| row.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    /// Orders of the finetuning data that any row of a seed has, ascending.
    pub fn orders(&self, seed: u64) -> Vec<u64> {
        let mut orders: Vec<u64> = self.rows.iter().filter(|row| row.seed == seed).map(|row| row.order).collect();
        orders.sort_unstable();
        orders.dedup();
        orders
    }

    /// Rows of one task and checkpoint, sorted by method, learning rate and seed.
    pub fn of<'a>(&'a self, task: &'a str, checkpoint: &'a str) -> impl Iterator<Item = &'a EndPoint> {
        self.rows.iter().filter(move |row| row.task == task && row.checkpoint == checkpoint)
    }
}

fn sorted_names<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<String> = names.cloned().collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Checks that rows with the same `key` have the same finite `value`.
fn check_agreement<'a, K: Ord>(
    rows: &'a [EndPoint],
    field: &'static str,
    key: impl Fn(&'a EndPoint) -> K,
    value: impl Fn(&EndPoint) -> f64,
) -> Result<(), ResultsError> {
    let mut sorted: Vec<&EndPoint> = rows.iter().filter(|row| value(row).is_finite()).collect();
    sorted.sort_by_key(|row| key(row));
    for pair in sorted.windows(2) {
        let (first, second) = (value(pair[0]), value(pair[1]));
        let same = (first - second).abs() <= SAME_LOSS_TOLERANCE * first.abs().max(1.0);
        if key(pair[0]) == key(pair[1]) && !same {
            return Err(ResultsError::Checkpoint { field, first, second, run: pair[1].describe() });
        }
    }
    Ok(())
}

/// JSON has no NaN: a loss that is not finite is written as `null` and read back as NaN.
pub(super) mod finite_or_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::stages) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub(in crate::stages) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(method: &str, learning_rate: f64, seed: u64) -> EndPoint {
        EndPoint {
            checkpoint: "adamw".into(),
            task: "code".into(),
            method: method.into(),
            learning_rate,
            seed,
            order: 0,
            pretrain_loss_before: 3.0,
            pretrain_loss_after: 3.25,
            task_loss_before: 4.5,
            task_loss_after: 4.0,
            validation_loss_before: 4.5,
            validation_loss_after: 4.0,
            exact_match: None,
            diverged: false,
        }
    }

    #[test]
    fn forgetting_is_the_rise_and_learning_the_fall() {
        let row = row("adamw", 1e-3, 1);
        assert_eq!(row.forgetting(), 0.25);
        assert_eq!(row.learning(), 0.5);
    }

    #[test]
    fn equal_rows_count_once_and_order_is_forgotten() {
        let rows = vec![row("muon", 1e-3, 2), row("adamw", 2e-3, 1), row("adamw", 1e-3, 1), row("muon", 1e-3, 2)];
        let mut reversed = rows.clone();
        reversed.reverse();
        let results = Results::from_rows(rows).unwrap();
        assert_eq!(results, Results::from_rows(reversed).unwrap());
        assert_eq!(results.rows().len(), 3);
        assert_eq!(results.rows()[0].learning_rate, 1e-3);
        assert_eq!(results.methods(), ["adamw", "muon"]);
        assert_eq!(results.seeds(), [1, 2]);
    }

    #[test]
    fn nan_rows_of_a_diverged_run_count_once_too() {
        let diverged = EndPoint { task_loss_after: f64::NAN, diverged: true, ..row("muon", 1e-1, 1) };
        let results = Results::from_rows(vec![diverged.clone(), diverged]).unwrap();
        assert_eq!(results.rows().len(), 1);
        assert!(!results.rows()[0].is_usable());
    }

    #[test]
    fn contradicting_rows_are_refused() {
        let other = EndPoint { task_loss_after: 3.9, ..row("adamw", 1e-3, 1) };
        let error = Results::from_rows(vec![row("adamw", 1e-3, 1), other]).unwrap_err();
        assert!(matches!(error, ResultsError::Conflict(_)), "{error}");

        let other = EndPoint { task_loss_before: 4.6, ..row("muon", 1e-3, 1) };
        let error = Results::from_rows(vec![row("adamw", 1e-3, 1), other]).unwrap_err();
        assert!(matches!(error, ResultsError::Checkpoint { field: "task_loss_before", .. }), "{error}");

        let other = EndPoint { pretrain_loss_before: 2.9, task: "math".into(), ..row("muon", 1e-3, 1) };
        let error = Results::from_rows(vec![row("adamw", 1e-3, 1), other]).unwrap_err();
        assert!(matches!(error, ResultsError::Checkpoint { field: "pretrain_loss_before", .. }), "{error}");
    }

    #[test]
    fn another_seed_is_another_checkpoint() {
        let other = EndPoint { task_loss_before: 4.6, pretrain_loss_before: 2.9, ..row("adamw", 1e-3, 2) };
        assert!(Results::from_rows(vec![row("adamw", 1e-3, 1), other]).is_ok());
    }

    #[test]
    fn a_learning_rate_must_be_positive_and_finite() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = Results::from_rows(vec![row("adamw", bad, 1)]).unwrap_err();
            assert!(matches!(error, ResultsError::LearningRate { .. }), "{error}");
        }
    }

    #[test]
    fn json_keeps_a_diverged_row() {
        let diverged = EndPoint { task_loss_after: f64::INFINITY, diverged: true, ..row("muon", 1e-1, 1) };
        let text = serde_json::to_string(&diverged).unwrap();
        let back: EndPoint = serde_json::from_str(&text).unwrap();
        assert!(back.task_loss_after.is_nan());
        assert_eq!(back.pretrain_loss_after, diverged.pretrain_loss_after);
    }
}
