//! The consistency index of what the expansion leaves unexplained: that of ln F - ln F^.
//!
//! F and F^ are read at the same task loss, at 90 % of the common learning of both optimizers from a checkpoint, each
//! from its own curve through the runs. So the index of the difference is the index of F less that of F^.

use lab::statistics::ScorecardRow;

use super::{CLAIM, CONTROL, Pair, Samples, results, seeds};
use crate::error::Result;
use crate::prediction::predictor::{Predictor, Run};
use crate::stages::Results;
use crate::tradeoff::statistics::VERDICT_LEVEL;
use crate::tradeoff::statistics::contrast::{Compared, Contrast};
use crate::tradeoff::statistics::matched::Interpolation;

/// The indices of one task.
#[derive(Debug, Clone)]
pub(in crate::prediction) struct Mediated {
    pub(in crate::prediction) task: String,
    /// The expansion in question.
    pub(in crate::prediction) predictor: Predictor,
    /// I of ln F, in the seeds that have both.
    pub(in crate::prediction) measured: Samples,
    /// I of ln F^.
    pub(in crate::prediction) predicted: Samples,
    /// I of ln F - ln F^.
    pub(in crate::prediction) left: Samples,
}

/// ln of the forgetting of the other method over that of the matched one, from a checkpoint at the verdict's level;
/// none where it cannot be read or one is not positive.
pub(super) fn log_ratio(results: &Results, task: &str, seed: u64, checkpoint: &str, methods: [&str; 2]) -> Option<f64> {
    let contrast = Contrast::of(results, Compared { task, checkpoint, methods }, (seed, 0), Interpolation::Monotone);
    let [matched, other] = contrast.ok()?.forgetting(VERDICT_LEVEL).ok()?;
    (matched > 0.0 && other > 0.0).then(|| (other / matched).ln())
}

fn index(results: &Results, task: &str, seed: u64, pair: &Pair) -> Option<f64> {
    let [(a, of_a), (b, of_b)] = pair;
    let first = log_ratio(results, task, seed, a, [of_a, of_b])?;
    Some(0.5 * (first + log_ratio(results, task, seed, b, [of_b, of_a])?))
}

pub(super) fn compute(runs: &[Run], tasks: &[String], pair: &Pair) -> Result<Vec<Mediated>> {
    let seeds = seeds(runs);
    let measured = results(runs, Run::forgetting)?;
    let mut found = Vec::new();
    for predictor in Predictor::EXPANSIONS {
        let predicted = results(runs, |run| predictor.of(run))?;
        for task in tasks {
            let both = |seed: u64| Some((index(&measured, task, seed, pair)?, index(&predicted, task, seed, pair)?));
            found.push(Mediated {
                task: task.clone(),
                predictor,
                measured: Samples::of(&seeds, |seed| Some(both(seed)?.0)),
                predicted: Samples::of(&seeds, |seed| Some(both(seed)?.1)),
                left: Samples::of(&seeds, |seed| both(seed).map(|(measured, predicted)| measured - predicted)),
            });
        }
    }
    Ok(found)
}

/// Lines of the scorecard, and controls.
pub(super) fn rows(mediated: &[Mediated]) -> (Vec<ScorecardRow>, Vec<ScorecardRow>) {
    const UNIT: &str = "log ratio";
    let (mut scorecard, mut controls) = (Vec::new(), Vec::new());
    for of in mediated {
        let name = of.predictor.name();
        let pairs = of.measured.of_seeds.iter().zip(&of.left.of_seeds);
        let of_seeds = pairs.map(|(&(seed, measured), &(_, left))| (seed, measured.abs() - left.abs())).collect();
        let explained = Samples { of_seeds, left_out: of.left.left_out };
        let statement =
            format!("The consistency index is smaller, whatever its sign, in ln F - ln {name} than in ln F");
        let primary = of.predictor == Predictor::Corrected;
        let claim = if primary { CLAIM } else { CONTROL };
        let row = explained.row(claim, statement, &of.task, UNIT, "");
        if primary {
            scorecard.push(row)
        } else {
            controls.push(row)
        }
        if primary {
            let statement = "Finetuning hidden matrices: the consistency index is positive".to_owned();
            controls.push(of.measured.row(CONTROL, statement, &of.task, UNIT, "at 90 % of the common learning"));
        }
        let statement = format!("The consistency index of {name} is positive");
        controls.push(of.predicted.row(CONTROL, statement, &of.task, UNIT, ""));
        let statement = format!("The consistency index of ln F - ln {name} is positive");
        controls.push(of.left.row(CONTROL, statement, &of.task, UNIT, ""));
    }
    (scorecard, controls)
}

#[cfg(test)]
mod tests {
    use super::super::planted::{grid, pair};
    use super::*;

    #[test]
    fn an_index_that_the_expansion_has_is_taken_away_and_one_that_it_lacks_stays() {
        // Each checkpoint forgets half as much with its own method: I = ln 2.
        let scale = |checkpoint: &str, method: &str| if checkpoint == method { 0.4 } else { 0.8 };
        let two = 2f64.ln();
        let of = |said: fn(&str, &str, f64) -> f64| {
            let runs: Vec<Run> = (0..5).flat_map(|seed| grid(seed, scale, said)).collect();
            let found = compute(&runs, &["code".into()], &pair()).unwrap();
            let found = found.into_iter().find(|of| of.predictor == Predictor::Corrected).unwrap();
            assert_eq!((found.left.of_seeds.len(), found.left.left_out), (5, 0));
            [found.measured, found.predicted, found.left].map(|samples| samples.values()[0])
        };
        let close = |found: [f64; 3], expected: [f64; 3]| {
            let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off < 1e-6, "{found:?}, expected {expected:?}");
        };
        close(of(|_, _, forgetting| 0.3 * forgetting), [two, two, 0.0]);
        // The same size from every checkpoint and method at one task loss.
        let blind = |checkpoint: &str, method: &str, forgetting: f64| match checkpoint == method {
            true => forgetting,
            false => 0.5 * forgetting,
        };
        close(of(blind), [two, 0.0, two]);
    }

    #[test]
    fn a_seed_whose_expansion_is_not_positive_is_left_out_and_counted() {
        let scale = |_: &str, _: &str| 0.4;
        let runs = grid(0, scale, |_, method, forgetting| if method == "muon" { -0.1 } else { forgetting });
        let found = compute(&runs, &["code".into()], &pair()).unwrap();
        assert!(found.iter().filter(|of| of.predictor != Predictor::Exact).all(|of| of.left.left_out == 1));
        let (scorecard, _) = rows(&found);
        assert_eq!((scorecard.len(), scorecard[0].n), (1, 0));
        assert!(scorecard[0].note.contains("1 seeds without a value"));
    }
}
