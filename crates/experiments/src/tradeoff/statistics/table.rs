//! Forgetting at matched learning for every task, checkpoint, method, level and seed.

use lab::statistics::MeanInterval;
use serde::{Deserialize, Serialize};

use super::matched::{Missing, Point, forgetting_at, target_loss};
use crate::stages::{EndPoint, Results};

/// The three levels: shares of the way from the checkpoint's task loss to the lowest task loss that
/// all compared methods reach.
pub const LEVELS: [f64; 3] = [0.50, 0.75, 0.90];

/// The level at which verdicts are read.
pub const VERDICT_LEVEL: f64 = 0.75;

/// Where the levels of one checkpoint of one seed lie.
///
/// The compared methods of a task, checkpoint and seed are those of the comparison that have a run
/// which learns at all (ends below the checkpoint's task loss); a method that has none could only
/// make every level empty, and is reported as missing instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// Task.
    pub task: String,
    /// Checkpoint.
    pub checkpoint: String,
    /// Seed.
    pub seed: u64,
    /// The checkpoint's task loss, nats per token.
    pub task_loss_before: f64,
    /// The lowest task loss that all compared methods reach, nats per token.
    pub lowest_common: f64,
    /// The compared method that reaches no lower than that.
    pub limited_by: String,
}

/// One method at one level of one checkpoint, over all seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Task.
    pub task: String,
    /// Checkpoint.
    pub checkpoint: String,
    /// Method.
    pub method: String,
    /// Level, a share in `0..=1`.
    pub level: f64,
    /// Seeds with a value, ascending, with forgetting in nats per token.
    pub values: Vec<(u64, f64)>,
    /// Seeds without a value, ascending, with the reason.
    pub missing: Vec<(u64, Missing)>,
    /// Number of runs, over all seeds, left out because they diverged.
    pub diverged: usize,
}

impl Cell {
    /// Mean over seeds with its interval (of the mean itself, not paired); `None` without values.
    pub fn mean(&self) -> Option<MeanInterval> {
        let values: Vec<f64> = self.values.iter().map(|&(_, value)| value).collect();
        MeanInterval::arithmetic(&values)
    }

    /// The value of one seed.
    pub fn at(&self, seed: u64) -> Option<f64> {
        self.values.iter().find(|(s, _)| *s == seed).map(|&(_, value)| value)
    }
}

/// The table of forgetting at matched learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatchedTable {
    /// The compared methods, in the order of the comparison.
    pub methods: Vec<String>,
    /// Where the levels lie, sorted by task, checkpoint and seed; a checkpoint from which nothing
    /// learns has no entry.
    pub reach: Vec<Reach>,
    /// The cells, sorted by task, checkpoint, level and then in the order of `methods`.
    pub cells: Vec<Cell>,
}

impl MatchedTable {
    /// Computes the table at [`LEVELS`] for the `methods` to compare; rows of others are ignored.
    pub fn compute(results: &Results, methods: &[String]) -> Self {
        let mut table = Self { methods: methods.to_vec(), reach: Vec::new(), cells: Vec::new() };
        for task in results.tasks() {
            for checkpoint in results.checkpoints() {
                table.add(results, &task, &checkpoint);
            }
        }
        table
    }

    /// The cell of a task, checkpoint, method and level.
    pub fn cell(&self, task: &str, checkpoint: &str, method: &str, level: f64) -> Option<&Cell> {
        self.cells.iter().find(|cell| {
            cell.task == task && cell.checkpoint == checkpoint && cell.method == method && cell.level == level
        })
    }

    /// Names of the tasks, in the order of the cells.
    pub fn tasks(&self) -> Vec<String> {
        let mut tasks: Vec<String> = self.cells.iter().map(|cell| cell.task.clone()).collect();
        tasks.dedup();
        tasks
    }

    /// Adds the reach and the cells of one task and checkpoint.
    fn add(&mut self, results: &Results, task: &str, checkpoint: &str) {
        let rows: Vec<&EndPoint> = results.of(task, checkpoint).collect();
        if rows.is_empty() {
            return;
        }
        let methods = self.methods.clone();
        let mut cells: Vec<Cell> = LEVELS
            .iter()
            .flat_map(|&level| methods.iter().map(move |method| (level, method)))
            .map(|(level, method)| Cell {
                task: task.to_owned(),
                checkpoint: checkpoint.to_owned(),
                method: method.clone(),
                level,
                values: Vec::new(),
                missing: Vec::new(),
                diverged: rows.iter().filter(|row| row.method == *method && !row.is_usable()).count(),
            })
            .collect();
        // Every seed of the whole set, so that a seed that lacks this checkpoint shows as not run.
        for seed in results.seeds() {
            let runs: Vec<Runs> = methods.iter().map(|method| Runs::of(&rows, method, seed)).collect();
            let reach = reach(&runs, &methods);
            for cell in &mut cells {
                let index = methods.iter().position(|method| *method == cell.method);
                let outcome = index.map_or(Err(Missing::NotRun), |index| {
                    runs[index].learns()?;
                    let (before, lowest, _) = reach.as_ref().ok_or(Missing::LearnsNothing)?;
                    forgetting_at(&runs[index].points, target_loss(*before, *lowest, cell.level))
                });
                match outcome {
                    Ok(value) => cell.values.push((seed, value)),
                    Err(reason) => cell.missing.push((seed, reason)),
                }
            }
            if let Some((task_loss_before, lowest_common, limited_by)) = reach {
                self.reach.push(Reach {
                    task: task.to_owned(),
                    checkpoint: checkpoint.to_owned(),
                    seed,
                    task_loss_before,
                    lowest_common,
                    limited_by,
                });
            }
        }
        self.cells.append(&mut cells);
    }
}

/// The usable runs of one method from one checkpoint of one seed.
struct Runs {
    before: f64,
    points: Vec<Point>,
    has_rows: bool,
}

impl Runs {
    fn of(rows: &[&EndPoint], method: &str, seed: u64) -> Self {
        let rows: Vec<&&EndPoint> = rows.iter().filter(|row| row.method == method && row.seed == seed).collect();
        let usable: Vec<&&&EndPoint> = rows.iter().filter(|row| row.is_usable()).collect();
        Self {
            before: usable.first().map_or(f64::NAN, |row| row.task_loss_before),
            points: usable
                .iter()
                .map(|row| Point {
                    learning_rate: row.learning_rate,
                    task_loss: row.task_loss_after,
                    forgetting: row.forgetting(),
                })
                .collect(),
            has_rows: !rows.is_empty(),
        }
    }

    /// The lowest task loss reached; infinite without points.
    fn lowest(&self) -> f64 {
        self.points.iter().map(|point| point.task_loss).fold(f64::INFINITY, f64::min)
    }

    /// Whether the method can take part in the levels, or why not.
    fn learns(&self) -> Result<(), Missing> {
        if !self.has_rows {
            Err(Missing::NotRun)
        } else if self.points.is_empty() {
            Err(Missing::AllDiverged)
        } else if self.lowest() >= self.before {
            Err(Missing::LearnsNothing)
        } else {
            Ok(())
        }
    }
}

/// The checkpoint's task loss, the lowest task loss that all methods which learn reach, and the
/// method that reaches no lower; `None` when no method learns.
fn reach(runs: &[Runs], methods: &[String]) -> Option<(f64, f64, String)> {
    runs.iter()
        .zip(methods)
        .filter(|(runs, _)| runs.learns().is_ok())
        .max_by(|(a, _), (b, _)| a.lowest().total_cmp(&b.lowest()))
        .map(|(runs, method)| (runs.before, runs.lowest(), method.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{end_point, grid};
    use super::*;

    fn methods() -> Vec<String> {
        vec!["adamw".into(), "muon".into()]
    }

    #[test]
    fn levels_follow_the_lowest_loss_that_all_methods_reach() {
        // From 4.0, adamw reaches 2.0 and muon 3.0: the common way is 1.0 nat long.
        let mut rows = grid("adamw", "adamw", 1, 4.0, &[(1e-4, 3.9, 0.1), (1e-3, 2.0, 2.0)]);
        rows.extend(grid("adamw", "muon", 1, 4.0, &[(1e-4, 3.8, 0.0), (1e-3, 3.0, 0.8)]));
        let table = MatchedTable::compute(&Results::from_rows(rows).unwrap(), &methods());
        assert_eq!(table.reach.len(), 1);
        assert_eq!((table.reach[0].lowest_common, table.reach[0].limited_by.as_str()), (3.0, "muon"));
        // At 75 % the task loss is 3.25: muon .55 of .8 down from 3.8, adamw .65 of 1.9 from 3.9.
        let muon = table.cell("code", "adamw", "muon", 0.75).unwrap().at(1).unwrap();
        assert!((muon - 0.8 * 0.55 / 0.8).abs() < 1e-9, "{muon}");
        let adamw = table.cell("code", "adamw", "adamw", 0.75).unwrap().at(1).unwrap();
        assert!((adamw - (0.1 + 1.9 * 0.65 / 1.9)).abs() < 1e-9, "{adamw}");
    }

    #[test]
    fn every_reason_shows() {
        let mut rows = grid("adamw", "adamw", 1, 4.0, &[(1e-4, 3.9, 0.1), (1e-3, 2.0, 2.0)]);
        // Muon: only runs that learn too much for the lower levels.
        rows.extend(grid("adamw", "muon", 1, 4.0, &[(1e-3, 2.1, 0.8)]));
        // SGD diverged everywhere; LoRA never learns; lora-64 was not run.
        let mut sgd = end_point("adamw", "sgd", 1e-1, 1, 4.0, f64::NAN, f64::NAN);
        sgd.diverged = true;
        rows.push(sgd);
        rows.extend(grid("adamw", "lora-4", 1, 4.0, &[(1e-4, 4.0, 0.1), (1e-3, 4.2, 0.2)]));
        let methods: Vec<String> = ["adamw", "muon", "sgd", "lora-4", "lora-64"].map(String::from).to_vec();
        let table = MatchedTable::compute(&Results::from_rows(rows).unwrap(), &methods);
        let reason = |method: &str| table.cell("code", "adamw", method, 0.5).unwrap().missing[0].1.clone();
        assert_eq!(reason("muon"), Missing::NeedsLowerRate);
        assert_eq!(reason("sgd"), Missing::AllDiverged);
        assert_eq!(reason("lora-4"), Missing::LearnsNothing);
        assert_eq!(reason("lora-64"), Missing::NotRun);
        assert_eq!(table.cell("code", "adamw", "sgd", 0.5).unwrap().diverged, 1);
        assert!(table.cell("code", "adamw", "adamw", 0.5).unwrap().missing.is_empty());
    }

    #[test]
    fn a_seed_without_this_checkpoint_counts_as_not_run() {
        let mut rows = grid("adamw", "adamw", 1, 4.0, &[(1e-4, 3.9, 0.1), (1e-3, 2.0, 2.0)]);
        rows.extend(grid("muon", "adamw", 2, 4.0, &[(1e-4, 3.9, 0.1), (1e-3, 2.0, 2.0)]));
        let table = MatchedTable::compute(&Results::from_rows(rows).unwrap(), &methods());
        let cell = table.cell("code", "adamw", "adamw", 0.75).unwrap();
        assert_eq!(cell.values.len(), 1);
        assert_eq!(cell.missing, [(2, Missing::NotRun)]);
    }
}
