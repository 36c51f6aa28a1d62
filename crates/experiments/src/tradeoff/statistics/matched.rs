//! Forgetting at matched learning: what one method forgets when it has reached a given task loss.
//!
//! The end points of one method's runs from one checkpoint (one for each learning rate) are ordered by task loss, and
//! interpolated between the two on either side of the asked task loss. Nothing is extrapolated: where the end points do
//! not lie on both sides, the answer is a [`Missing`] reason.
//!
//! Forgetting grows by orders of magnitude over the rates of a grid, so what is interpolated is its logarithm
//! ([`log_forgetting`]), by a curve without overshoot ([`Pchip`]). Straight lines in forgetting itself lie above such a
//! curve: [`Interpolation::Linear`] is kept to show by how much.
//!
//! Beyond some learning rate a run learns *less* again and forgets much more. Such a run would fall
//! between useful runs when all are ordered by task loss, and the interpolation would mix two
//! branches. Hence the rule ([`useful_range`]): **a run that learns no more and forgets no less than
//! a run of the same method with a lower learning rate is left out.** On the runs that stay, two
//! with the same task loss count once, with the smaller forgetting. Where task loss falls with every
//! step of the learning rate, the rule leaves out nothing.

use lab::statistics::Pchip;
use serde::{Deserialize, Serialize};

/// Nats per token below which forgetting is no longer read on a logarithmic scale: about the noise of a difference of
/// two losses on the held-out windows.
pub const SMALL: f64 = 0.003;

/// ln F, continued below [`SMALL`] by its tangent there, so that runs which forget nothing, or less, have a value too.
pub fn log_forgetting(forgetting: f64) -> f64 {
    if forgetting > SMALL { forgetting.ln() } else { SMALL.ln() + (forgetting - SMALL) / SMALL }
}

/// The forgetting that [`log_forgetting`] maps to `log`.
fn from_log(log: f64) -> f64 {
    if log > SMALL.ln() { log.exp() } else { SMALL + (log - SMALL.ln()) * SMALL }
}

/// End point of one run, as far as matching needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Peak learning rate of the run.
    pub learning_rate: f64,
    /// Task loss at the end, nats per token.
    pub task_loss: f64,
    /// Forgetting at the end, nats per token.
    pub forgetting: f64,
}

/// Why there is no forgetting at matched learning for a method, checkpoint, task, seed and level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// There is no row at all.
    NotRun,
    /// There are rows, and every one diverged or has a loss that is not finite.
    AllDiverged,
    /// No run ends below the checkpoint's task loss, so the method takes no part in the levels.
    LearnsNothing,
    /// Every run learns more than the level asks for: the grid lacks lower learning rates.
    NeedsLowerRate,
    /// No run learns as much as the level asks for: the grid lacks the rates that do.
    LevelNotReached,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotRun => "not run",
            Self::AllDiverged => "all runs diverged",
            Self::LearnsNothing => "learns nothing",
            Self::NeedsLowerRate => "needs a lower learning rate",
            Self::LevelNotReached => "level not reached",
        })
    }
}

/// The end points that count, by descending task loss, each task loss once.
///
/// Leaves out every point with the task loss and the forgetting both at least those of a point with
/// a lower learning rate; of points with equal task loss the one with the smallest forgetting stays.
pub fn useful_range(points: &[Point]) -> Vec<Point> {
    let mut useful: Vec<Point> = points
        .iter()
        .filter(|point| {
            !points.iter().any(|gentler| {
                gentler.learning_rate < point.learning_rate
                    && gentler.task_loss <= point.task_loss
                    && gentler.forgetting <= point.forgetting
            })
        })
        .copied()
        .collect();
    useful.sort_by(|a, b| b.task_loss.total_cmp(&a.task_loss).then(a.forgetting.total_cmp(&b.forgetting)));
    useful.dedup_by(|b, a| a.task_loss == b.task_loss);
    useful
}

/// What lies between two end points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// A monotone cubic of [`log_forgetting`] in task loss.
    Monotone,
    /// A straight line of forgetting in task loss.
    Linear,
}

/// Forgetting of one method as a function of the task loss that it reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The useful end points, by descending task loss.
    points: Vec<Point>,
    /// What lies between them; none for straight lines, and with fewer than two.
    between: Option<Pchip>,
}

impl Curve {
    /// The curve through finite `points`, in any order.
    pub fn new(points: &[Point], interpolation: Interpolation) -> Self {
        Self::through(useful_range(points), interpolation)
    }

    /// The curve through useful points by descending task loss.
    fn through(points: Vec<Point>, interpolation: Interpolation) -> Self {
        let ascending = points.iter().rev().map(|point| (point.task_loss, log_forgetting(point.forgetting)));
        let between = match interpolation {
            Interpolation::Monotone => Pchip::new(&ascending.collect::<Vec<_>>()),
            Interpolation::Linear => None,
        };
        Self { points, between }
    }

    /// The lowest task loss; infinite without points.
    pub fn lowest(&self) -> f64 {
        self.points.last().map_or(f64::INFINITY, |point| point.task_loss)
    }

    /// The end points on either side of a task loss: the one at or above it, the one at or below it.
    ///
    /// # Errors
    /// [`Missing::NotRun`] without points; [`Missing::NeedsLowerRate`] or [`Missing::LevelNotReached`]
    /// when all end points lie on one side.
    pub fn bracket(&self, task_loss: f64) -> Result<(Point, Point), Missing> {
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else {
            return Err(Missing::NotRun);
        };
        if first.task_loss < task_loss {
            return Err(Missing::NeedsLowerRate);
        }
        if last.task_loss > task_loss {
            return Err(Missing::LevelNotReached);
        }
        let below = self.points.partition_point(|point| point.task_loss > task_loss);
        let right = self.points[below];
        let left = if right.task_loss == task_loss { right } else { self.points[below - 1] };
        Ok((left, right))
    }

    /// Forgetting at `task_loss`, both in nats per token.
    ///
    /// # Errors
    /// As [`bracket`](Self::bracket).
    pub fn forgetting_at(&self, task_loss: f64) -> Result<f64, Missing> {
        let (left, right) = self.bracket(task_loss)?;
        if right.task_loss == task_loss {
            return Ok(right.forgetting);
        }
        Ok(match &self.between {
            Some(curve) => curve.at(task_loss).map(from_log).ok_or(Missing::LevelNotReached)?,
            None => {
                let share = (left.task_loss - task_loss) / (left.task_loss - right.task_loss);
                left.forgetting + share * (right.forgetting - left.forgetting)
            }
        })
    }

    /// The task loss at which the curve, followed from the gentlest run on, first reaches `forgetting`.
    ///
    /// # Errors
    /// [`Missing::NotRun`] without points, [`Missing::NeedsLowerRate`] where already the gentlest run forgets more,
    /// [`Missing::LevelNotReached`] where none forgets as much.
    pub fn task_loss_at(&self, forgetting: f64) -> Result<f64, Missing> {
        let first = self.points.first().ok_or(Missing::NotRun)?;
        if first.forgetting > forgetting {
            return Err(Missing::NeedsLowerRate);
        }
        let after = self.points.iter().position(|point| point.forgetting >= forgetting);
        let after = after.ok_or(Missing::LevelNotReached)?;
        if self.points[after].forgetting == forgetting {
            return Ok(self.points[after].task_loss);
        }
        // Between two points the curve does not turn, so that halving finds the one place.
        let (mut before, mut beyond) = (self.points[after - 1].task_loss, self.points[after].task_loss);
        for _ in 0..60 {
            let middle = (before + beyond) / 2.0;
            if self.forgetting_at(middle)? < forgetting {
                before = middle;
            } else {
                beyond = middle;
            }
        }
        Ok((before + beyond) / 2.0)
    }

    /// How far the curve would miss the two runs on either side of `task_loss`, each left out in turn: the larger
    /// distance in [`log_forgetting`]. `None` where both are ends of the curve, which cannot be left out.
    pub fn leave_one_out(&self, task_loss: f64) -> Option<f64> {
        let (left, right) = self.bracket(task_loss).ok()?;
        let miss = |left_out: Point| {
            let points: Vec<Point> = self.points.iter().filter(|point| **point != left_out).copied().collect();
            let interpolation = if self.between.is_some() { Interpolation::Monotone } else { Interpolation::Linear };
            let without = Self::through(points, interpolation);
            let found = without.forgetting_at(left_out.task_loss).ok()?;
            Some((log_forgetting(found) - log_forgetting(left_out.forgetting)).abs())
        };
        [left, right].into_iter().filter_map(miss).max_by(f64::total_cmp)
    }
}

/// Forgetting at `task_loss`, both in nats per token, from finite `points` in any order.
///
/// # Errors
/// As [`Curve::bracket`].
///
/// # Example
/// ```
/// use experiments::tradeoff::statistics::matched::{forgetting_at, Point};
/// let point = |learning_rate, task_loss, forgetting| Point { learning_rate, task_loss, forgetting };
/// let points = [point(1e-4, 4.0, 0.25), point(1e-3, 3.0, 1.0)];
/// // Half way between the two on a logarithmic scale.
/// assert!((forgetting_at(&points, 3.5).unwrap() - 0.5).abs() < 1e-12);
/// assert!(forgetting_at(&points, 4.5).is_err());
/// ```
pub fn forgetting_at(points: &[Point], task_loss: f64) -> Result<f64, Missing> {
    Curve::new(points, Interpolation::Monotone).forgetting_at(task_loss)
}

/// The task loss that lies `level` of the way from `before` to `lowest_common`.
///
/// `level` is a fraction in `0..=1`; `before` is the checkpoint's task loss and `lowest_common` the
/// lowest task loss that both compared methods reach. Level 1 is `lowest_common` to the bit.
pub fn target_loss(before: f64, lowest_common: f64, level: f64) -> f64 {
    lowest_common + (1.0 - level) * (before - lowest_common)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(values: &[(f64, f64, f64)]) -> Vec<Point> {
        values
            .iter()
            .map(|&(learning_rate, task_loss, forgetting)| Point { learning_rate, task_loss, forgetting })
            .collect()
    }

    fn linear(values: &[(f64, f64, f64)]) -> Curve {
        Curve::new(&points(values), Interpolation::Linear)
    }

    fn monotone(values: &[(f64, f64, f64)]) -> Curve {
        Curve::new(&points(values), Interpolation::Monotone)
    }

    #[test]
    fn hand_computed_lines_and_ends() {
        let runs = linear(&[(1.0, 4.0, 0.0), (2.0, 3.0, 0.2), (4.0, 2.5, 0.8)]);
        assert_eq!(runs.forgetting_at(3.5), Ok(0.1));
        assert!((runs.forgetting_at(2.75).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(runs.forgetting_at(4.0), Ok(0.0));
        assert_eq!(runs.forgetting_at(3.0), Ok(0.2));
        assert_eq!(runs.forgetting_at(2.5), Ok(0.8));
    }

    #[test]
    fn exponential_forgetting_is_followed_where_lines_lie_above_it() {
        // F = exp(-3 (L - 2)) .4: rates that triple it or more lie far apart, as in a coarse grid.
        let truth = |loss: f64| 0.4 * (-3.0 * (loss - 2.0)).exp();
        let runs: Vec<(f64, f64, f64)> = [3.4, 2.9, 2.5, 2.2, 2.0]
            .iter()
            .enumerate()
            .map(|(i, &loss)| (i as f64 + 1.0, loss, truth(loss)))
            .collect();
        for loss in [2.7, 2.35, 2.1] {
            let curve = monotone(&runs).forgetting_at(loss).unwrap();
            assert!((curve / truth(loss) - 1.0).abs() < 1e-9, "{curve} against {}", truth(loss));
            assert!(linear(&runs).forgetting_at(loss).unwrap() > 1.01 * truth(loss));
        }
        assert!(monotone(&runs).leave_one_out(2.35).unwrap() < 1e-9);
        assert!(linear(&runs).leave_one_out(2.35).unwrap() > 0.1);
    }

    #[test]
    fn the_logarithm_goes_on_straight_below_the_noise() {
        assert_eq!(log_forgetting(0.5), 0.5f64.ln());
        let step = 1e-6;
        let slope = (log_forgetting(SMALL + step) - log_forgetting(SMALL - step)) / (2.0 * step);
        assert!((slope * SMALL - 1.0).abs() < 1e-3, "{slope}");
        assert_eq!(log_forgetting(0.0), SMALL.ln() - 1.0);
        for forgetting in [-0.2, 0.0, 0.002, 0.003, 0.1, 2.0] {
            assert!((from_log(log_forgetting(forgetting)) - forgetting).abs() < 1e-12);
        }
    }

    #[test]
    fn nothing_is_extrapolated() {
        for interpolation in [Interpolation::Monotone, Interpolation::Linear] {
            let runs = Curve::new(&points(&[(1.0, 4.0, 0.0), (2.0, 3.0, 0.2)]), interpolation);
            assert_eq!(runs.forgetting_at(4.1), Err(Missing::NeedsLowerRate));
            assert_eq!(runs.forgetting_at(2.9), Err(Missing::LevelNotReached));
            assert_eq!(runs.task_loss_at(0.3), Err(Missing::LevelNotReached));
            assert_eq!(runs.task_loss_at(-0.1), Err(Missing::NeedsLowerRate));
            assert_eq!(Curve::new(&[], interpolation).forgetting_at(3.0), Err(Missing::NotRun));
        }
    }

    #[test]
    fn an_end_point_alone_is_read_at_its_own_loss_only() {
        let run = monotone(&[(1.0, 4.0, 0.1)]);
        assert_eq!(run.forgetting_at(4.0), Ok(0.1));
        assert_eq!(run.forgetting_at(3.9), Err(Missing::LevelNotReached));
        assert_eq!(run.leave_one_out(4.0), None);
    }

    #[test]
    fn runs_past_the_turn_do_not_enter() {
        let useful = [(1.0, 4.0, 0.1), (2.0, 3.0, 0.3), (4.0, 2.0, 0.9)];
        // The fourth rate learns as little as the first two and forgets more than any.
        let mut with_wreck = useful.to_vec();
        with_wreck.push((8.0, 3.4, 5.0));
        assert_eq!(forgetting_at(&points(&with_wreck), 3.5), forgetting_at(&points(&useful), 3.5));
        assert_eq!(useful_range(&points(&with_wreck)), points(&useful));
    }

    #[test]
    fn forgetting_that_first_falls_is_kept() {
        // A gentle run improves the pretraining loss (negative forgetting) more than the gentlest.
        let runs = [(1.0, 4.0, 0.0), (2.0, 3.0, -0.1), (4.0, 2.0, 0.5)];
        assert!((linear(&runs).forgetting_at(3.5).unwrap() + 0.05).abs() < 1e-12);
        let curve = monotone(&runs).forgetting_at(3.5).unwrap();
        assert!(-0.1 < curve && curve < 0.0, "{curve}");
        // The level is found on the way up, not where the curve leaves zero.
        let found = monotone(&runs).task_loss_at(0.2).unwrap();
        assert!(2.0 < found && found < 3.0);
    }

    #[test]
    fn equal_task_losses_count_once_with_the_smaller_forgetting() {
        let runs = [(1.0, 4.0, 0.1), (2.0, 3.0, 0.4), (4.0, 3.0, 0.2), (8.0, 2.0, 0.6)];
        assert_eq!(linear(&runs).forgetting_at(3.0), Ok(0.2));
        assert!((linear(&runs).forgetting_at(3.5).unwrap() - 0.15).abs() < 1e-12);
    }

    #[test]
    fn levels_lie_between_the_checkpoint_and_the_common_loss() {
        assert_eq!(target_loss(4.0, 2.0, 0.5), 3.0);
        assert_eq!(target_loss(4.0, 2.0, 0.75), 2.5);
        assert_eq!(target_loss(4.0, 2.0, 0.0), 4.0);
        assert_eq!(target_loss(0.1 + 0.2, 0.1, 1.0), 0.1);
    }

    /// Interpolation by search over all pairs of points that have no third between them.
    fn brute_force(points: &[Point], task_loss: f64) -> Option<f64> {
        let kept: Vec<&Point> = points
            .iter()
            .filter(|p| {
                !points.iter().any(|q| {
                    q.learning_rate < p.learning_rate && q.task_loss <= p.task_loss && q.forgetting <= p.forgetting
                })
            })
            .collect();
        for a in &kept {
            for b in &kept {
                let neighbours = !kept.iter().any(|c| c.task_loss < a.task_loss && c.task_loss > b.task_loss);
                if a.task_loss >= task_loss && b.task_loss <= task_loss && a.task_loss > b.task_loss && neighbours {
                    let slope = (b.forgetting - a.forgetting) / (b.task_loss - a.task_loss);
                    return Some(a.forgetting + slope * (task_loss - a.task_loss));
                }
            }
        }
        None
    }

    fn runs() -> impl Strategy<Value = Vec<Point>> {
        prop::collection::vec((1e-4..1.0f64, 1.0..5.0f64, -0.5..3.0f64), 1..10).prop_map(|v| points(&v))
    }

    proptest! {
        #[test]
        fn lines_equal_the_brute_force(runs in runs(), task_loss in 0.5..5.5f64) {
            let curve = Curve::new(&runs, Interpolation::Linear);
            match (curve.forgetting_at(task_loss), brute_force(&runs, task_loss)) {
                (Ok(found), Some(expected)) => prop_assert!((found - expected).abs() < 1e-9),
                (Err(_), None) => {}
                (found, expected) => prop_assert!(false, "{found:?} against {expected:?}"),
            }
        }

        #[test]
        fn a_curve_lies_between_the_runs_on_either_side(runs in runs(), task_loss in 0.5..5.5f64) {
            let curve = Curve::new(&runs, Interpolation::Monotone);
            if let Ok((left, right)) = curve.bracket(task_loss) {
                let found = curve.forgetting_at(task_loss).unwrap();
                let (low, high) = (left.forgetting.min(right.forgetting), left.forgetting.max(right.forgetting));
                prop_assert!(low - 1e-9 <= found && found <= high + 1e-9);
            }
        }

        #[test]
        fn task_loss_at_a_forgetting_is_where_the_curve_has_it(runs in runs(), forgetting in -0.4..2.5f64) {
            let curve = Curve::new(&runs, Interpolation::Monotone);
            if let Ok(task_loss) = curve.task_loss_at(forgetting) {
                let found = curve.forgetting_at(task_loss).unwrap();
                prop_assert!((found - forgetting).abs() < 1e-6, "{found} at {task_loss}");
            }
        }

        #[test]
        fn the_order_of_runs_does_not_matter(runs in runs(), task_loss in 0.5..5.5f64, turn in 0usize..10) {
            let mut other = runs.clone();
            other.rotate_left(turn.min(runs.len()));
            other.reverse();
            prop_assert_eq!(forgetting_at(&runs, task_loss), forgetting_at(&other, task_loss));
        }

        #[test]
        fn the_lowest_task_loss_always_stays(runs in runs()) {
            let lowest = runs.iter().map(|p| p.task_loss).fold(f64::INFINITY, f64::min);
            prop_assert_eq!(Curve::new(&runs, Interpolation::Monotone).lowest(), lowest);
        }
    }
}
