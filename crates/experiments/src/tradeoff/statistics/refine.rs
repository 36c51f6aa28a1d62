//! Where more runs are needed: learning rates between those that bracket a level.
//!
//! What is added is a function of finished results alone, so that a rerun adds the same; and of losses on the
//! validation set, so that the test plays no part in the choice.

use super::contrast::{Compared, Contrast};
use super::matched::Missing;
use crate::stages::Results;

/// When to stop.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule<'a> {
    /// Levels to be bracketed, shares of the common learning.
    pub levels: &'a [f64],
    /// The largest distance in task loss of the two runs beside a level, as a share of the common learning.
    pub gap: f64,
}

/// How far below the lowest learning rate the next one lies, where even that learns more than a level asks for.
const STEP_DOWN: f64 = 3.0;

/// The rates to add next to the matched method and to the other: the middle, in ln(rate), of two runs too far apart, or
/// one below the lowest. Empty where every level is bracketed closely or cannot be.
pub fn rates(results: &Results, compared: Compared<'_>, run: (u64, u64), rule: &Rule<'_>) -> [Vec<f64>; 2] {
    let Ok(contrast) = Contrast::on_validation(results, compared, run) else { return Default::default() };
    let common = contrast.before - contrast.lowest;
    [0, 1].map(|method| {
        let done: Vec<f64> = results
            .of(compared.task, compared.checkpoint)
            .filter(|row| row.method == compared.methods[method] && (row.seed, row.order) == run)
            .map(|row| row.learning_rate)
            .collect();
        let lowest = done.iter().copied().fold(f64::INFINITY, f64::min);
        let next = |&level: &f64| match contrast.curves[method].bracket(contrast.task_loss(level)) {
            Ok((gentle, strong)) if gentle.task_loss - strong.task_loss > rule.gap * common => {
                Some((gentle.learning_rate * strong.learning_rate).sqrt())
            }
            Err(Missing::NeedsLowerRate) => Some(lowest / STEP_DOWN),
            Ok(_) | Err(_) => None,
        };
        // A middle that was tried before and fell out of the useful range cannot bring the two closer.
        let mut rates: Vec<f64> = rule.levels.iter().filter_map(next).map(rounded).collect();
        rates.retain(|rate| !done.contains(rate));
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        rates
    })
}

/// A rate in three digits: it stands in tables and file names.
fn rounded(rate: f64) -> f64 {
    format!("{rate:.2e}").parse().unwrap_or(rate)
}

#[cfg(test)]
mod tests {
    use super::super::testing::grid;
    use super::*;
    use crate::stages::EndPoint;

    const COMPARED: Compared<'_> = Compared { task: "code", checkpoint: "adamw", methods: ["adamw", "muon"] };
    const RULE: Rule<'_> = Rule { levels: &[0.75, 0.9], gap: 0.05 };

    /// A run's losses as smooth functions of its rate: task loss from 4 to 2, forgetting by powers.
    fn run(method: &str, rate: f64) -> EndPoint {
        let learned = 2.0 * (rate / 1e-3).min(1.0).powf(0.4);
        grid("adamw", method, 1, 4.0, &[(rate, 4.0 - learned, 0.3 * (rate / 1e-3))]).remove(0)
    }

    fn refined(rates: &[f64]) -> Vec<EndPoint> {
        let mut rows: Vec<EndPoint> =
            ["adamw", "muon"].iter().flat_map(|method| rates.iter().map(|&rate| run(method, rate))).collect();
        for _ in 0..20 {
            let added = super::rates(&Results::from_rows(rows.clone()).unwrap(), COMPARED, (1, 0), &RULE);
            if added.iter().all(Vec::is_empty) {
                return rows;
            }
            for (method, rates) in ["adamw", "muon"].iter().zip(&added) {
                rows.extend(rates.iter().map(|&rate| run(method, rate)));
            }
        }
        panic!("no end: {} rows", rows.len());
    }

    #[test]
    fn rates_are_added_until_every_level_is_bracketed_closely() {
        let rows = refined(&[1e-5, 1e-4, 1e-3]);
        let results = Results::from_rows(rows).unwrap();
        let contrast = Contrast::on_validation(&results, COMPARED, (1, 0)).unwrap();
        for level in RULE.levels {
            for curve in &contrast.curves {
                let (gentle, strong) = curve.bracket(contrast.task_loss(*level)).unwrap();
                assert!(gentle.task_loss - strong.task_loss <= 0.05 * 2.0, "{gentle:?} {strong:?}");
            }
        }
        // Nothing is added far from the levels.
        assert!(results.rows().iter().all(|row| row.learning_rate < 2e-5 || row.learning_rate > 9e-5));
    }

    #[test]
    fn a_grid_that_starts_too_high_grows_downwards() {
        let rows = refined(&[9e-4, 1e-3]);
        assert!(rows.iter().any(|row| row.learning_rate <= 4e-4), "{rows:?}");
    }

    #[test]
    fn the_validation_set_decides_and_the_test_does_not() {
        let mut rows: Vec<EndPoint> =
            ["adamw", "muon"].iter().flat_map(|method| [1e-5, 1e-4, 1e-3].map(|rate| run(method, rate))).collect();
        let of = |rows: &[EndPoint]| rates(&Results::from_rows(rows.to_vec()).unwrap(), COMPARED, (1, 0), &RULE);
        let before = of(&rows);
        assert!(!before[0].is_empty());
        rows.iter_mut().for_each(|row| row.task_loss_after = 3.9);
        assert_eq!(of(&rows), before);
        // The middle run now learns nearly as much as the strongest: the levels lie below it.
        rows.iter_mut().filter(|row| row.learning_rate == 1e-4).for_each(|row| row.validation_loss_after = 2.05);
        assert_eq!(of(&rows), [vec![3.16e-5], vec![3.16e-5]]);
    }

    #[test]
    fn a_middle_that_turned_out_useless_is_not_tried_again() {
        // The run in the middle learns nothing more and forgets more than the gentle one.
        let mut rows: Vec<EndPoint> =
            ["adamw", "muon"].iter().flat_map(|method| [1e-4, 1e-3].map(|rate| run(method, rate))).collect();
        let wasted = grid("adamw", "adamw", 1, 4.0, &[(3.16e-4, 3.9, 2.0)]);
        rows.extend(wasted);
        let [adamw, muon] = rates(&Results::from_rows(rows).unwrap(), COMPARED, (1, 0), &RULE);
        assert_eq!((adamw, muon), (Vec::new(), vec![3.16e-4]));
    }
}
