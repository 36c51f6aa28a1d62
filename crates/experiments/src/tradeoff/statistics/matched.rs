//! Forgetting at matched learning: what one method forgets when it has reached a given task loss.
//!
//! The end points of one method's runs from one checkpoint (one for each learning rate) are ordered
//! by task loss, and forgetting is interpolated linearly in task loss between the two end points on
//! either side of the asked task loss. Nothing is extrapolated: where the end points do not lie on
//! both sides, the answer is a [`Missing`] reason.
//!
//! Beyond some learning rate a run learns *less* again and forgets much more. Such a run would fall
//! between useful runs when all are ordered by task loss, and the interpolation would mix two
//! branches. Hence the rule ([`useful_range`]): **a run that learns no more and forgets no less than
//! a run of the same method with a lower learning rate is left out.** On the runs that stay, two
//! with the same task loss count once, with the smaller forgetting. Where task loss falls with every
//! step of the learning rate, the rule leaves out nothing.

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Forgetting at `task_loss`, both in nats per token, from finite `points` in any order.
///
/// # Errors
/// [`Missing::NotRun`] without points; [`Missing::NeedsLowerRate`] or [`Missing::LevelNotReached`]
/// when all end points lie on one side.
///
/// # Example
/// ```
/// use experiments::tradeoff::statistics::matched::{forgetting_at, Point};
/// let point = |learning_rate, task_loss, forgetting| Point { learning_rate, task_loss, forgetting };
/// let points = [point(1e-4, 4.0, 0.25), point(1e-3, 3.0, 0.75)];
/// assert_eq!(forgetting_at(&points, 3.5), Ok(0.5));
/// assert!(forgetting_at(&points, 4.5).is_err());
/// ```
pub fn forgetting_at(points: &[Point], task_loss: f64) -> Result<f64, Missing> {
    let useful = useful_range(points);
    let (Some(first), Some(last)) = (useful.first(), useful.last()) else {
        return Err(Missing::NotRun);
    };
    if first.task_loss < task_loss {
        return Err(Missing::NeedsLowerRate);
    }
    if last.task_loss > task_loss {
        return Err(Missing::LevelNotReached);
    }
    // The first point at or below the asked loss; the one before it lies above.
    let below = useful.partition_point(|point| point.task_loss > task_loss);
    let right = useful[below];
    if right.task_loss == task_loss {
        return Ok(right.forgetting);
    }
    let left = useful[below - 1];
    let share = (left.task_loss - task_loss) / (left.task_loss - right.task_loss);
    Ok(left.forgetting + share * (right.forgetting - left.forgetting))
}

/// The task loss that lies `level` of the way from `before` to `lowest_common`.
///
/// `level` is a fraction in `0..=1`; `before` is the checkpoint's task loss and `lowest_common` the
/// lowest task loss that all compared methods reach.
pub fn target_loss(before: f64, lowest_common: f64, level: f64) -> f64 {
    before - level * (before - lowest_common)
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

    #[test]
    fn hand_computed_interpolation_and_ends() {
        let runs = points(&[(1.0, 4.0, 0.0), (2.0, 3.0, 0.2), (4.0, 2.5, 0.8)]);
        assert_eq!(forgetting_at(&runs, 3.5), Ok(0.1));
        assert!((forgetting_at(&runs, 2.75).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(forgetting_at(&runs, 4.0), Ok(0.0));
        assert_eq!(forgetting_at(&runs, 3.0), Ok(0.2));
        assert_eq!(forgetting_at(&runs, 2.5), Ok(0.8));
    }

    #[test]
    fn nothing_is_extrapolated() {
        let runs = points(&[(1.0, 4.0, 0.0), (2.0, 3.0, 0.2)]);
        assert_eq!(forgetting_at(&runs, 4.1), Err(Missing::NeedsLowerRate));
        assert_eq!(forgetting_at(&runs, 2.9), Err(Missing::LevelNotReached));
        assert_eq!(forgetting_at(&[], 3.0), Err(Missing::NotRun));
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
        let runs = points(&[(1.0, 4.0, 0.0), (2.0, 3.0, -0.1), (4.0, 2.0, 0.5)]);
        assert!((forgetting_at(&runs, 3.5).unwrap() + 0.05).abs() < 1e-12);
    }

    #[test]
    fn equal_task_losses_count_once_with_the_smaller_forgetting() {
        let runs = points(&[(1.0, 4.0, 0.1), (2.0, 3.0, 0.4), (4.0, 3.0, 0.2), (8.0, 2.0, 0.6)]);
        assert_eq!(forgetting_at(&runs, 3.0), Ok(0.2));
        assert!((forgetting_at(&runs, 3.5).unwrap() - 0.15).abs() < 1e-12);
    }

    #[test]
    fn levels_lie_between_the_checkpoint_and_the_common_loss() {
        assert_eq!(target_loss(4.0, 2.0, 0.5), 3.0);
        assert_eq!(target_loss(4.0, 2.0, 0.75), 2.5);
        assert_eq!(target_loss(4.0, 2.0, 0.0), 4.0);
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
        fn interpolation_equals_the_brute_force(runs in runs(), task_loss in 0.5..5.5f64) {
            match (forgetting_at(&runs, task_loss), brute_force(&runs, task_loss)) {
                (Ok(found), Some(expected)) => prop_assert!((found - expected).abs() < 1e-9),
                (Err(_), None) => {}
                (found, expected) => prop_assert!(false, "{found:?} against {expected:?}"),
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
            prop_assert_eq!(useful_range(&runs).last().unwrap().task_loss, lowest);
        }
    }
}
