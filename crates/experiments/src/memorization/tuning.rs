//! Choosing a learning rate by its runs on tuning seeds.

use serde::{Deserialize, Serialize};

use super::measure::{MEMORISED, steps_to};
use super::run::RunResult;

/// Training answers that a rate must have learned, as a share, before its generalisation counts: an optimizer that
/// learned little has not been asked whether it memorises.
pub const LEARNED: f64 = 0.95;

/// How the runs on tuning seeds choose a rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Choice {
    /// What the best rate is best at.
    pub by: ChosenBy,
    /// Training answers that a rate must have learned, as a share, to be chosen by validation.
    pub learned: f64,
}

/// What the best rate is best at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChosenBy {
    /// Validation instances, among the rates that learned enough.
    Validation,
    /// Speed: the fewest steps to [`MEMORISED`] of the facts.
    Speed,
}

impl Default for Choice {
    fn default() -> Self {
        Self { by: ChosenBy::Validation, learned: LEARNED }
    }
}

/// What the tuning seeds say about a learning rate: means over them at the end of the runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateScore {
    /// The rate.
    pub rate: f64,
    /// Accuracy on training answers.
    pub training: f64,
    /// Accuracy on validation instances.
    pub validation: f64,
    /// Loss on training answers; infinite if a run diverged.
    pub loss: f64,
    /// Steps to [`MEMORISED`] of the facts; infinite if a run does not get there.
    pub steps: f64,
}

impl RateScore {
    /// The score of a rate's runs; a diverged one has learned nothing.
    pub fn of<'a>(rate: f64, runs: impl IntoIterator<Item = &'a RunResult>) -> Self {
        let mut score = Self { rate, training: 0.0, validation: 0.0, loss: 0.0, steps: 0.0 };
        let mut count = 0.0;
        for run in runs {
            count += 1.0;
            score.steps += run.end().and_then(|_| steps_to(&run.curve, MEMORISED)).unwrap_or(f64::INFINITY);
            match run.end() {
                Some(end) => {
                    score.training += end.training_accuracy;
                    score.validation += end.validation;
                    score.loss += end.training_loss;
                }
                None => score.loss = f64::INFINITY,
            }
        }
        Self {
            training: score.training / count,
            validation: score.validation / count,
            steps: score.steps / count,
            ..score
        }
    }
}

/// The place of the rate to use: among those that learned the training answers the one with the highest validation
/// accuracy, of equals the one with the lower training loss; if none learned them, the one that learned most. By speed
/// it is the one with the fewest steps to the facts, if any gets there.
pub fn choose(scores: &[RateScore], choice: Choice) -> usize {
    if choice.by == ChosenBy::Speed && scores.iter().any(|score| score.steps.is_finite()) {
        let faster = |&a: &usize, &b: &usize| scores[a].steps.total_cmp(&scores[b].steps).then(a.cmp(&b));
        return (0..scores.len()).min_by(faster).unwrap_or(0);
    }
    let learned = |score: &RateScore| score.training >= choice.learned && score.loss.is_finite();
    let better = |a: &RateScore, b: &RateScore| match (learned(a), learned(b)) {
        (true, true) => a.validation.total_cmp(&b.validation).then(b.loss.total_cmp(&a.loss)),
        (false, false) => a.loss.is_finite().cmp(&b.loss.is_finite()).then(a.training.total_cmp(&b.training)),
        (one, other) => one.cmp(&other),
    };
    (0..scores.len()).max_by(|&a, &b| better(&scores[a], &scores[b]).then(b.cmp(&a))).unwrap_or(0)
}

/// What has to be said of a rate by its place in its grid: a better one may lie outside.
pub(crate) fn edge(rates: usize, chosen: usize) -> Option<&'static str> {
    match chosen {
        _ if rates == 1 => Some("the only rate"),
        0 => Some("lowest of its grid"),
        place if place + 1 == rates => Some("highest of its grid"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(scores: &[(f64, f64, f64)]) -> Vec<RateScore> {
        let score = |&(training, validation, loss): &(f64, f64, f64)| RateScore {
            rate: 0.1,
            training,
            validation,
            loss,
            steps: f64::INFINITY,
        };
        scores.iter().map(score).collect()
    }

    fn chosen(of: &[(f64, f64, f64)]) -> usize {
        choose(&scores(of), Choice::default())
    }

    #[test]
    fn a_lower_bar_lets_rates_in_that_learned_less() {
        let of = [(0.96, 0.3, 0.1), (0.91, 0.4, 0.2), (0.82, 0.9, 1.0)];
        let at = |learned| choose(&scores(&of), Choice { learned, ..Choice::default() });
        assert_eq!([0.95, 0.9, 0.8].map(at), [0, 1, 2]);
        // None has learned as much: the one that learned most.
        assert_eq!(at(0.99), 0);
    }

    #[test]
    fn by_speed_the_fewest_steps_decide_whatever_was_learned_else() {
        let mut of = scores(&[(0.96, 0.3, 0.1), (0.91, 0.9, 0.2), (0.5, 0.4, 1.0)]);
        let choice = Choice { by: ChosenBy::Speed, ..Choice::default() };
        assert_eq!(choose(&of, choice), choose(&of, Choice::default()));
        (of[1].steps, of[2].steps) = (70.0, 50.0);
        assert_eq!(choose(&of, choice), 2);
    }

    #[test]
    fn validation_decides_among_rates_that_learned() {
        assert_eq!(chosen(&[(0.96, 0.3, 0.1), (1.0, 0.4, 0.0), (0.94, 0.9, 1.0)]), 1);
    }

    #[test]
    fn of_equals_the_lower_training_loss_and_then_the_lower_rate_wins() {
        assert_eq!(chosen(&[(1.0, 0.4, 0.2), (1.0, 0.4, 0.1), (1.0, 0.4, 0.1)]), 1);
    }

    #[test]
    fn where_nothing_was_learned_the_most_counts_and_divergence_never_wins() {
        assert_eq!(chosen(&[(0.2, 0.9, 3.0), (0.6, 0.1, 2.0), (0.7, 0.1, f64::INFINITY)]), 1);
    }
}
