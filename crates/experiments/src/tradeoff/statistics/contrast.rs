//! Two methods from one checkpoint: the pair of curves that every reading is taken from.

use super::matched::{Curve, Interpolation, Missing, Point, target_loss};
use crate::stages::{EndPoint, Results};

/// Which runs are compared: a task, a checkpoint, and two methods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compared<'a> {
    /// The task.
    pub task: &'a str,
    /// The checkpoint.
    pub checkpoint: &'a str,
    /// The method that matches the checkpoint, and the other.
    pub methods: [&'a str; 2],
}

/// A method (0: the matched one, 1: the other) that cannot be read, and why.
pub type NotRead = (usize, Missing);

/// The runs of two methods from one checkpoint with one seed and order of the data.
///
/// Their *common learning* is the way from the checkpoint's task loss to the lowest that both methods reach. Levels are
/// shares of it: they depend on these two methods and on no other.
#[derive(Clone, Debug)]
pub struct Contrast {
    /// The checkpoint's task loss, nats per token.
    pub before: f64,
    /// The lowest task loss that both methods reach, nats per token.
    pub lowest: f64,
    /// The method that reaches no lower than that.
    pub limited_by: usize,
    /// Forgetting as a function of task loss, of the matched method and of the other.
    pub curves: [Curve; 2],
}

impl Contrast {
    /// The runs of a seed in one of its orders.
    ///
    /// # Errors
    /// The first method that was not run, only diverged, or learns nothing.
    pub fn of(
        results: &Results,
        compared: Compared<'_>,
        (seed, order): (u64, u64),
        interpolation: Interpolation,
    ) -> Result<Self, NotRead> {
        let test = |row: &EndPoint| (row.task_loss_before, row.task_loss_after);
        Self::by_loss(results, compared, (seed, order), interpolation, test)
    }

    /// The same with losses on the validation set, for a choice that the test must not take part in.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn on_validation(results: &Results, compared: Compared<'_>, run: (u64, u64)) -> Result<Self, NotRead> {
        let validation = |row: &EndPoint| (row.validation_loss_before, row.validation_loss_after);
        Self::by_loss(results, compared, run, Interpolation::Monotone, validation)
    }

    /// The runs by a task loss before and after.
    fn by_loss(
        results: &Results,
        compared: Compared<'_>,
        (seed, order): (u64, u64),
        interpolation: Interpolation,
        losses: impl Fn(&EndPoint) -> (f64, f64),
    ) -> Result<Self, NotRead> {
        let rows: Vec<&EndPoint> = results
            .of(compared.task, compared.checkpoint)
            .filter(|row| row.seed == seed && row.order == order)
            .collect();
        let mut curves = Vec::new();
        let mut before = f64::NAN;
        for (place, method) in compared.methods.into_iter().enumerate() {
            let of_method: Vec<&&EndPoint> = rows.iter().filter(|row| row.method == method).collect();
            if of_method.is_empty() {
                return Err((place, Missing::NotRun));
            }
            let usable: Vec<&&&EndPoint> = of_method.iter().filter(|row| row.is_usable()).collect();
            before = losses(usable.first().ok_or((place, Missing::AllDiverged))?).0;
            let point = |row: &&&&EndPoint| Point {
                learning_rate: row.learning_rate,
                task_loss: losses(row).1,
                forgetting: row.forgetting(),
            };
            let curve = Curve::new(&usable.iter().map(point).collect::<Vec<_>>(), interpolation);
            if curve.lowest() >= before {
                return Err((place, Missing::LearnsNothing));
            }
            curves.push(curve);
        }
        let [matched, other] = <[Curve; 2]>::try_from(curves).map_err(|_| (0, Missing::NotRun))?;
        let limited_by = usize::from(other.lowest() > matched.lowest());
        let lowest = matched.lowest().max(other.lowest());
        Ok(Self { before, lowest, limited_by, curves: [matched, other] })
    }

    /// The task loss at a level, a share of the common learning.
    pub fn task_loss(&self, level: f64) -> f64 {
        target_loss(self.before, self.lowest, level)
    }

    /// Forgetting of both methods at a level, nats per token.
    ///
    /// # Errors
    /// The first method whose runs do not bracket it.
    pub fn forgetting(&self, level: f64) -> Result<[f64; 2], NotRead> {
        let at = |place: usize| self.curves[place].forgetting_at(self.task_loss(level)).map_err(|why| (place, why));
        Ok([at(0)?, at(1)?])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{end_point, grid};
    use super::*;

    const COMPARED: Compared<'_> = Compared { task: "code", checkpoint: "adamw", methods: ["adamw", "muon"] };

    fn contrast(rows: Vec<EndPoint>) -> Result<Contrast, NotRead> {
        Contrast::of(&Results::from_rows(rows).unwrap(), COMPARED, (1, 0), Interpolation::Linear)
    }

    #[test]
    fn levels_follow_the_lowest_loss_that_both_methods_reach_and_no_third_moves_them() {
        // From 4.0, adamw reaches 2.0 and muon 3.0: the common way is 1.0 nat long.
        let mut rows = grid("adamw", "adamw", 1, 4.0, &[(1e-4, 3.9, 0.1), (1e-3, 2.0, 2.0)]);
        rows.extend(grid("adamw", "muon", 1, 4.0, &[(1e-4, 3.8, 0.0), (1e-3, 3.0, 0.8)]));
        rows.extend(grid("adamw", "sgd", 1, 4.0, &[(1e-4, 3.9, 0.0), (1e-3, 3.7, 0.8)]));
        let found = contrast(rows).unwrap();
        assert_eq!((found.lowest, found.limited_by), (3.0, 1));
        // At 75 % the task loss is 3.25: muon .55 of .8 down from 3.8, adamw .65 of 1.9 from 3.9.
        let [adamw, muon] = found.forgetting(0.75).unwrap();
        assert!((muon - 0.8 * 0.55 / 0.8).abs() < 1e-9, "{muon}");
        assert!((adamw - (0.1 + 1.9 * 0.65 / 1.9)).abs() < 1e-9, "{adamw}");
        assert!((found.forgetting(1.0).unwrap()[1] - 0.8).abs() < 1e-12);
    }

    #[test]
    fn every_reason_shows() {
        let adamw = || grid("adamw", "adamw", 1, 4.0, &[(1e-4, 3.9, 0.1), (1e-3, 2.0, 2.0)]);
        let with = |rows: Vec<EndPoint>| {
            let found = contrast(adamw().into_iter().chain(rows).collect());
            found.and_then(|contrast| contrast.forgetting(0.5)).unwrap_err()
        };
        assert_eq!(with(grid("adamw", "muon", 1, 4.0, &[(1e-3, 2.1, 0.8)])), (1, Missing::NeedsLowerRate));
        let mut diverged = end_point("adamw", "muon", 1e-1, 1, 4.0, f64::NAN, f64::NAN);
        diverged.diverged = true;
        assert_eq!(with(vec![diverged]), (1, Missing::AllDiverged));
        assert_eq!(
            with(grid("adamw", "muon", 1, 4.0, &[(1e-4, 4.0, 0.1), (1e-3, 4.2, 0.2)])),
            (1, Missing::LearnsNothing)
        );
        assert_eq!(with(Vec::new()), (1, Missing::NotRun));
        // Another seed, another checkpoint and another order are other runs.
        assert_eq!(with(grid("adamw", "muon", 2, 4.0, &[(1e-4, 3.8, 0.0), (1e-3, 3.0, 0.8)])), (1, Missing::NotRun));
        assert_eq!(with(grid("muon", "muon", 1, 4.0, &[(1e-4, 3.8, 0.0), (1e-3, 3.0, 0.8)])), (1, Missing::NotRun));
        let mut second = grid("adamw", "muon", 1, 4.0, &[(1e-4, 3.8, 0.0), (1e-3, 3.0, 0.8)]);
        second.iter_mut().for_each(|row| row.order = 1);
        assert_eq!(with(second), (1, Missing::NotRun));
    }
}
