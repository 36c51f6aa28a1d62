//! Where along two runs they are compared.

use synthetic_lm::metrics::{CurvePoint, time_to_reach, value_at_loss};

use super::finetune::Finetuned;
use super::learner::Point;

/// Where along two runs they are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reading {
    /// Where each first recalls as large a share of the nonces as both come to.
    TopRecall,
    /// Where each first recalls this share of the nonces.
    Recall(f64),
    /// Where the loss on the answers first falls to the lowest that both reach. What the nonces cost plays no part.
    AnswerLoss,
    /// After so many epochs.
    Epoch(u64),
    /// At the end.
    End,
}

impl Reading {
    /// In words.
    pub(super) fn name(self) -> String {
        match self {
            Self::TopRecall => "at the highest recall that both reach".into(),
            Self::Recall(level) => format!("at {:.0} % recall", 100.0 * level),
            Self::AnswerLoss => "at equal loss on the answers".into(),
            Self::Epoch(epoch) => format!("after {epoch} epochs"),
            Self::End => "at the end".into(),
        }
    }

    /// A number of both runs there; `None` if one diverged or does not get there.
    pub(super) fn of(self, a: &Finetuned, b: &Finetuned, value: fn(&Point) -> f64) -> Option<(f64, f64)> {
        let (end_a, end_b) = (a.end()?, b.end()?);
        let matched = |cost: fn(&Point) -> f64, level: f64| {
            let at = |run: &Finetuned| value_at_loss(&along(&run.curve, cost, value), level);
            Some((at(a)?, at(b)?))
        };
        match self {
            Self::TopRecall => {
                (end_a.recall.is_some() && end_b.recall.is_some()).then_some(())?;
                matched(forgotten, lowest(a, forgotten).max(lowest(b, forgotten)))
            }
            Self::Recall(level) => {
                (end_a.recall.is_some() && end_b.recall.is_some()).then_some(())?;
                matched(forgotten, 1.0 - level)
            }
            Self::AnswerLoss => {
                let loss: fn(&Point) -> f64 = |point| point.loss;
                matched(loss, lowest(a, loss).max(lowest(b, loss)))
            }
            Self::Epoch(epoch) => {
                let at = |run: &Finetuned| run.curve.iter().find(|point| point.epoch == epoch).map(value);
                Some((at(a)?, at(b)?))
            }
            Self::End => Some((value(end_a), value(end_b))),
        }
    }
}

/// The share of the nonces that are not known: it falls along a run, as a loss does.
fn forgotten(point: &Point) -> f64 {
    1.0 - point.recall.unwrap_or(0.0)
}

fn lowest(run: &Finetuned, cost: fn(&Point) -> f64) -> f64 {
    run.curve.iter().map(cost).fold(f64::INFINITY, f64::min)
}

fn along(curve: &[Point], cost: fn(&Point) -> f64, value: fn(&Point) -> f64) -> Vec<CurvePoint> {
    let point = |point: &Point| CurvePoint { step: point.epoch as f64, loss: cost(point), value: value(point) };
    curve.iter().map(point).collect()
}

/// The highest share of the nonces that a run recalls.
pub(super) fn highest_recall(run: &Finetuned) -> f64 {
    1.0 - lowest(run, forgotten)
}

/// A number of a run where it first recalls this share of the nonces.
pub(super) fn at_recall(run: &Finetuned, level: f64, value: fn(&Point) -> f64) -> Option<f64> {
    value_at_loss(&along(&run.curve, forgotten, value), 1.0 - level)
}

/// Epochs until a run first recalls this share of the nonces.
pub(super) fn epochs_to_recall(run: &Finetuned, level: f64) -> Option<f64> {
    time_to_reach(&along(&run.curve, forgotten, |point| point.recall.unwrap_or(0.0)), level)
}

#[cfg(test)]
mod tests {
    use super::super::testing::run;
    use super::*;

    #[test]
    fn runs_are_read_where_they_know_as_much() {
        // (epoch, loss of answers, recall, test)
        let a = run(&[(0, 4.0, 0.1, 0.0), (2, 1.0, 0.5, 0.4), (4, 0.5, 0.8, 0.6)], true);
        let b = run(&[(0, 4.0, 0.1, 0.0), (2, 0.5, 0.9, 0.2), (4, 0.1, 1.0, 0.4)], true);
        let read = |reading: Reading| reading.of(&a, &b, |point| point.test).unwrap();
        let near = |(x, y): (f64, f64), (u, v): (f64, f64)| (x - u).abs() < 1e-9 && (y - v).abs() < 1e-9;
        // .8 is the highest that both reach: the end of the first, 7/8 of the second's first way.
        assert!(near(read(Reading::TopRecall), (0.6, 0.175)), "{:?}", read(Reading::TopRecall));
        assert!(near(read(Reading::Recall(0.5)), (0.4, 0.1)));
        assert!(near(read(Reading::AnswerLoss), (0.6, 0.2)));
        assert!(near(read(Reading::Epoch(2)), (0.4, 0.2)) && near(read(Reading::End), (0.6, 0.4)));
        assert_eq!(Reading::Recall(0.9).of(&a, &b, |point| point.test), None);
        assert_eq!(Reading::Epoch(3).of(&a, &b, |point| point.test), None);
        assert!((epochs_to_recall(&b, 0.5).unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_diverged_run_and_one_without_nonces_have_no_recall_to_be_read_at() {
        let a = run(&[(0, 4.0, 0.1, 0.0), (2, 1.0, 0.5, 0.4)], true);
        let diverged = run(&[(0, 4.0, 0.1, 0.0)], false);
        assert_eq!(Reading::End.of(&a, &diverged, |point| point.test), None);
        let mut without = a.clone();
        without.curve.iter_mut().for_each(|point| point.recall = None);
        assert_eq!(Reading::TopRecall.of(&without, &without, |point| point.test), None);
        assert!(Reading::AnswerLoss.of(&without, &a, |point| point.test).is_some());
    }
}
