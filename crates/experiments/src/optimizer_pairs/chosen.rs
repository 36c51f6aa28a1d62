//! One number a seed from the runs of a grid of rates: at the rate that its validation set chooses, and at equal
//! forgetting.

use std::collections::{BTreeMap, BTreeSet};

use super::preset::Amount;
use crate::stages::EndPoint;
use crate::tradeoff::statistics::matched::{Curve, Interpolation, Point};

/// The forgettings at which settings are compared, nats per token.
pub(super) const EQUAL: [f64; 4] = [0.1, 0.2, 0.3, 0.5];

/// One finetuning.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// What it sees.
    pub(super) amount: Amount,
    pub(super) end: EndPoint,
}

/// A checkpoint, the optimizer it was finetuned with, the task, and the amount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Setting {
    pub(super) checkpoint: String,
    pub(super) method: String,
    pub(super) task: String,
    pub(super) amount: Amount,
}

/// A seed's runs of one setting, read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chosen {
    pub(super) seed: u64,
    /// The run with the lowest validation loss of those that forget no more than the regime allows; none if all do.
    pub(super) best: Option<Best>,
    /// Task loss where so much is forgotten, for each of [`EQUAL`].
    pub(super) at_forgetting: [Option<f64>; EQUAL.len()],
}

/// A run at its chosen rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Best {
    pub(super) rate: f64,
    /// Whether the rate is the lowest or highest of the grid, and a better one may lie outside. The highest that the
    /// regime allows is no edge.
    pub(super) at_edge: bool,
    /// Held-out loss of the solutions, nats per token.
    pub(super) loss: f64,
    /// Share of right answers, for a task with answers.
    pub(super) exact_match: Option<f64>,
    /// Rise of the loss on pretraining text.
    pub(super) forgetting: f64,
}

/// Every setting's seeds.
pub(super) fn choose(runs: &[Run], regime: f64) -> BTreeMap<Setting, Vec<Chosen>> {
    let mut grouped: BTreeMap<Setting, Vec<&EndPoint>> = BTreeMap::new();
    for Run { amount, end } in runs {
        let setting = Setting {
            checkpoint: end.checkpoint.clone(),
            method: end.method.clone(),
            task: end.task.clone(),
            amount: *amount,
        };
        grouped.entry(setting).or_default().push(end);
    }
    let of = |ends: Vec<&EndPoint>| {
        let seeds: BTreeSet<u64> = ends.iter().map(|end| end.seed).collect();
        let of_seed =
            |seed| chosen(seed, &ends.iter().copied().filter(|end| end.seed == seed).collect::<Vec<_>>(), regime);
        seeds.into_iter().map(of_seed).collect()
    };
    grouped.into_iter().map(|(setting, ends)| (setting, of(ends))).collect()
}

fn chosen(seed: u64, ends: &[&EndPoint], regime: f64) -> Chosen {
    let usable: Vec<&&EndPoint> = ends.iter().filter(|end| end.is_usable()).collect();
    let rates = || ends.iter().map(|end| end.learning_rate);
    let (lowest, highest) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
    let allowed = usable.iter().filter(|end| end.forgetting() <= regime);
    let best = allowed.min_by(|a, b| a.validation_loss_after.total_cmp(&b.validation_loss_after));
    let point = |end: &&&EndPoint| Point {
        learning_rate: end.learning_rate,
        task_loss: end.task_loss_after,
        forgetting: end.forgetting(),
    };
    let curve = Curve::new(&usable.iter().map(point).collect::<Vec<_>>(), Interpolation::Monotone);
    Chosen {
        seed,
        best: best.map(|end| Best {
            rate: end.learning_rate,
            at_edge: end.learning_rate == lowest || end.learning_rate == highest,
            loss: end.task_loss_after,
            exact_match: end.exact_match,
            forgetting: end.forgetting(),
        }),
        at_forgetting: EQUAL.map(|forgetting| curve.task_loss_at(forgetting).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::end;
    use super::*;

    fn only(ends: &[EndPoint], regime: f64) -> Chosen {
        chosen(0, &ends.iter().collect::<Vec<_>>(), regime)
    }

    #[test]
    fn the_validation_set_chooses_and_the_test_is_reported() {
        let mut ends = [end(0, 1e-3, 2.0, 0.1), end(0, 2e-3, 1.5, 0.2), end(0, 4e-3, 1.0, 0.3)];
        ends[1].validation_loss_after = 0.5;
        let best = only(&ends, 0.5).best.unwrap();
        assert_eq!((best.rate, best.loss, best.at_edge), (2e-3, 1.5, false));
    }

    #[test]
    fn a_rate_that_forgets_too_much_or_diverges_is_never_chosen() {
        let ends = [end(0, 1e-3, 2.0, 0.1), end(0, 2e-3, 1.0, 0.7), end(0, 4e-3, f64::NAN, f64::NAN)];
        assert_eq!(only(&ends, 0.5).best.map(|best| best.rate), Some(1e-3));
        assert_eq!(only(&ends, 1.0).best.map(|best| best.rate), Some(2e-3));
        assert_eq!(only(&ends, 0.05).best, None);
    }

    #[test]
    fn equal_forgetting_is_read_between_the_runs_and_nowhere_else() {
        // ln F falls straight from .05 to .4 as the loss goes from 3 to 1.
        let found = only(&[end(0, 1e-3, 3.0, 0.05), end(0, 2e-3, 1.0, 0.4)], 0.5).at_forgetting;
        let expected = |forgetting: f64| 3.0 - 2.0 * (forgetting / 0.05f64).ln() / 8f64.ln();
        for (found, forgetting) in found.iter().zip([0.1, 0.2, 0.3]) {
            assert!((found.unwrap() - expected(forgetting)).abs() < 1e-6, "{found:?}");
        }
        assert_eq!(found[3], None);
    }
}
