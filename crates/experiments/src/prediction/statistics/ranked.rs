//! How well each predictor orders what runs forget, and how its size goes with theirs.

use lab::statistics::{MeanInterval, ScorecardRow};

use super::correlation::{line, spearman};
use super::{CLAIM, CONTROL, Samples, seeds};
use crate::names::display;
use crate::prediction::predictor::{Predictor, Run};
use crate::tradeoff::statistics::matched::SMALL;

/// The rank correlation that is asked of the expansion over all methods.
pub(in crate::prediction) const GOAL: f64 = 0.9;
/// The same within each method.
pub(in crate::prediction) const GOAL_WITHIN: f64 = 0.8;

/// One predictor over some runs.
#[derive(Debug, Clone)]
pub(in crate::prediction) struct Ranked {
    pub(in crate::prediction) predictor: Predictor,
    /// The method whose runs these are; none for all runs.
    pub(in crate::prediction) method: Option<String>,
    /// Spearman's rho with forgetting.
    pub(in crate::prediction) rho: Samples,
    /// The slope of ln F on ln of the predictor, over runs that forget more than the noise.
    pub(in crate::prediction) slope: Samples,
    /// Mean ln F less ln of the predictor, over the same runs; of an expansion only.
    pub(in crate::prediction) excess: Samples,
    /// The runs of all seeds, and those of them that slope and excess are about.
    pub(in crate::prediction) counts: [usize; 2],
}

/// ln of the predictor and ln F, where a run forgets more than the noise and is predicted to forget at all.
pub(in crate::prediction) fn logs(run: &Run, predictor: Predictor) -> Option<(f64, f64)> {
    let (forgetting, predicted) = (run.forgetting(), predictor.of(run));
    (forgetting > SMALL && predicted > 0.0).then(|| (predicted.ln(), forgetting.ln()))
}

pub(super) fn compute(runs: &[Run], methods: &[String]) -> Vec<Ranked> {
    let seeds = seeds(runs);
    let mut found = Vec::new();
    for predictor in Predictor::ALL {
        for method in std::iter::once(None).chain(methods.iter().map(Some)) {
            let of = |run: &&Run| method.is_none_or(|method| run.method == *method);
            let of_seed = |seed: u64| runs.iter().filter(of).filter(move |run| run.seed == seed);
            let logs = |seed: u64| of_seed(seed).filter_map(|run| logs(run, predictor)).collect::<Vec<_>>();
            let ordered = |seed: u64| {
                let pairs = of_seed(seed).map(|run| (predictor.of(run), run.forgetting()));
                spearman(&pairs.collect::<Vec<_>>())
            };
            let excess = |seed: u64| {
                let logs = logs(seed);
                let expansion = Predictor::EXPANSIONS.contains(&predictor) && !logs.is_empty();
                expansion.then(|| logs.iter().map(|(x, y)| y - x).sum::<f64>() / logs.len() as f64)
            };
            found.push(Ranked {
                predictor,
                method: method.cloned(),
                rho: Samples::of(&seeds, ordered),
                slope: Samples::of(&seeds, |seed| Some(line(&logs(seed))?.0)),
                excess: Samples::of(&seeds, excess),
                counts: [runs.iter().filter(of).count(), seeds.iter().map(|&seed| logs(seed).len()).sum()],
            });
        }
    }
    found
}

/// Lines of the scorecard, and controls.
pub(super) fn rows(ranked: &[Ranked]) -> (Vec<ScorecardRow>, Vec<ScorecardRow>) {
    const TASK: &str = "all tasks";
    const UNIT: &str = "Spearman's rho, difference";
    let find = |predictor: Predictor, method: Option<&String>| {
        ranked.iter().find(|of| of.predictor == predictor && of.method.as_ref() == method)
    };
    let beside = |of: &Ranked, other: &dyn Fn(u64) -> Option<f64>| {
        let seeds: Vec<u64> = of.rho.of_seeds.iter().map(|&(seed, _)| seed).collect();
        let rho = |seed: u64| Some(of.rho.of_seeds.iter().find(|(of, _)| *of == seed)?.1 - other(seed)?);
        Samples { left_out: of.rho.left_out, ..Samples::of(&seeds, rho) }
    };
    let mean = |of: &Ranked| {
        MeanInterval::arithmetic(&of.rho.values())
            .map_or_else(String::new, |mean| format!("rho itself {:.3}", mean.mean))
    };
    let (mut scorecard, mut controls) = (Vec::new(), Vec::new());
    let Some(primary) = find(Predictor::Corrected, None) else { return (scorecard, controls) };
    let name = Predictor::Corrected.name();
    let statement = format!("{name} orders what all runs forget: rank correlation above {GOAL}");
    scorecard.push(beside(primary, &|_| Some(GOAL)).row(CLAIM, statement, TASK, UNIT, &mean(primary)));
    for of in ranked.iter().filter(|of| of.predictor == Predictor::Corrected && of.method.is_some()) {
        let method = of.method.as_deref().map(display).unwrap_or_default();
        let statement = format!("{name} orders what runs with {method} forget: rank correlation above {GOAL_WITHIN}");
        controls.push(beside(of, &|_| Some(GOAL_WITHIN)).row(CONTROL, statement, TASK, UNIT, &mean(of)));
    }
    for rival in Predictor::ALL.into_iter().skip(1) {
        let Some(other) = find(rival, None) else { continue };
        let rho = |seed: u64| other.rho.of_seeds.iter().find(|(of, _)| *of == seed).map(|&(_, rho)| rho);
        let statement = format!("{name} orders what all runs forget better than {}", rival.name());
        controls.push(beside(primary, &rho).row(CONTROL, statement, TASK, UNIT, &mean(other)));
    }
    (scorecard, controls)
}

#[cfg(test)]
mod tests {
    use super::super::planted::grid;
    use super::*;

    fn find(ranked: &[Ranked], predictor: Predictor, method: Option<&str>) -> Ranked {
        ranked.iter().find(|of| of.predictor == predictor && of.method.as_deref() == method).unwrap().clone()
    }

    #[test]
    fn a_planted_power_law_is_found_with_its_slope_and_its_size() {
        // What is forgotten is e times the square of what was predicted.
        let said = |_: &str, _: &str, forgetting: f64| (forgetting / std::f64::consts::E).sqrt();
        let scale = |_: &str, method: &str| if method == "muon" { 0.7 } else { 0.4 };
        let runs: Vec<Run> = (0..3).flat_map(|seed| grid(seed, scale, said)).collect();
        let ranked = compute(&runs, &["adamw".into(), "muon".into()]);
        for method in [None, Some("adamw"), Some("muon")] {
            let found = find(&ranked, Predictor::Corrected, method);
            assert_eq!(found.rho.of_seeds.len(), 3);
            assert!(found.rho.values().iter().all(|rho| (rho - 1.0).abs() < 1e-12), "{found:?}");
            assert!(found.slope.values().iter().all(|slope| (slope - 2.0).abs() < 1e-9), "{found:?}");
            // ln F - ln F^ = 1 + ln F^.
            let runs: Vec<f64> = runs
                .iter()
                .filter(|run| run.seed == 0 && method.is_none_or(|method| run.method == method))
                .map(|run| 1.0 + Predictor::Corrected.of(run).ln())
                .collect();
            let expected = runs.iter().sum::<f64>() / runs.len() as f64;
            assert!((found.excess.of_seeds[0].1 - expected).abs() < 1e-9);
        }
        // The square of the update is a function of the rate, which does not tell the methods apart.
        let (square, within) =
            (find(&ranked, Predictor::Square, None), find(&ranked, Predictor::Square, Some("adamw")));
        assert!(square.rho.values()[0] < 1.0 - 1e-6 && within.rho.values()[0] > 1.0 - 1e-12);
        assert!(square.excess.of_seeds.is_empty());
        let (scorecard, controls) = rows(&ranked);
        assert_eq!(scorecard.len(), 1);
        assert!((scorecard[0].effect.unwrap() - 0.1).abs() < 1e-9);
        assert_eq!(controls.len(), 2 + Predictor::ALL.len() - 1);
    }

    #[test]
    fn runs_that_forget_nothing_count_in_the_order_and_not_in_the_slope() {
        let scale = |_: &str, _: &str| 0.02;
        let runs = grid(0, scale, |_, _, forgetting| forgetting - 1e-3);
        let found = find(&compute(&runs, &[]), Predictor::Corrected, None);
        let above = runs.iter().filter(|run| run.forgetting() > SMALL).count();
        assert_eq!(found.counts, [16, above]);
        assert!(above < 16 && (found.rho.values()[0] - 1.0).abs() < 1e-12);
    }
}
