//! Which optimizer forgets less from a checkpoint on a task, foreseen from the cost of its direction.
//!
//! A cell is a checkpoint of a seed with a task. Foreseen is ln c(polar)/c(sign), measured is ln F(Muon)/F(AdamW) at
//! 90 % of their common learning: both are positive where AdamW forgets less.

use lab::statistics::{ScorecardRow, describe};

use super::correlation::spearman;
use super::mediation::log_ratio;
use super::{CLAIM, CONTROL, Pair, Samples, results, seeds};
use crate::error::Result;
use crate::prediction::plan::Cell;
use crate::prediction::predictor::Run;
use crate::stages::Moment;

/// A cell with what was foreseen by one kind of curvature, and what was measured.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::prediction) struct Foreseen {
    pub(in crate::prediction) checkpoint: String,
    pub(in crate::prediction) task: String,
    pub(in crate::prediction) seed: u64,
    pub(in crate::prediction) moment: Moment,
    /// ln c(polar)/c(sign).
    pub(in crate::prediction) foreseen: f64,
    /// ln F(Muon)/F(AdamW); none where it cannot be read.
    pub(in crate::prediction) measured: Option<f64>,
}

/// How well one kind of curvature foresees.
#[derive(Debug, Clone)]
pub(in crate::prediction) struct Agreement {
    pub(in crate::prediction) moment: Moment,
    /// The share of a seed's cells whose foreseen sign is the measured one.
    pub(in crate::prediction) share: Samples,
    /// The rank correlation over all cells of all seeds.
    pub(in crate::prediction) rho: Option<f64>,
    /// The cells that have both.
    pub(in crate::prediction) cells: usize,
    /// By task: half of what is foreseen at AdamW's checkpoint less half of that at Muon's, the index foreseen.
    pub(in crate::prediction) indices: Vec<(String, Samples)>,
}

/// All of it.
#[derive(Debug, Clone)]
pub(in crate::prediction) struct Foresights {
    pub(in crate::prediction) cells: Vec<Foreseen>,
    pub(in crate::prediction) agreements: Vec<Agreement>,
}

pub(super) fn compute(runs: &[Run], cells: &[Cell], tasks: &[String], pair: &Pair) -> Result<Foresights> {
    let results = results(runs, Run::forgetting)?;
    let [(adamw, with_adamw), (muon, with_muon)] = pair;
    let mut found = Vec::new();
    for cell in cells {
        let methods: [&str; 2] = [with_adamw, with_muon];
        let measured = log_ratio(&results, &cell.task, cell.seed, &cell.checkpoint, methods);
        for moment in Moment::ALL {
            let cost = |direction: &str| {
                let mut costs = cell.foreseen.costs.iter();
                costs.find(|cost| cost.direction == direction && cost.moment == moment).map(|cost| cost.cost)
            };
            let (Some(sign), Some(polar)) = (cost("sign"), cost("polar")) else { continue };
            found.push(Foreseen {
                checkpoint: cell.checkpoint.clone(),
                task: cell.task.clone(),
                seed: cell.seed,
                moment,
                foreseen: (polar / sign).ln(),
                measured,
            });
        }
    }
    let seeds = seeds(runs);
    let agreement = |moment: Moment| {
        let of_moment: Vec<&Foreseen> = found.iter().filter(|cell| cell.moment == moment).collect();
        let both = |seed: Option<u64>| -> Vec<(f64, f64)> {
            let cells = of_moment.iter().filter(|cell| seed.is_none_or(|seed| cell.seed == seed));
            cells.filter_map(|cell| Some((cell.foreseen, cell.measured?))).collect()
        };
        let share = |seed: u64| {
            let cells = both(Some(seed));
            let same = cells.iter().filter(|(foreseen, measured)| foreseen * measured > 0.0).count();
            (!cells.is_empty()).then(|| same as f64 / cells.len() as f64)
        };
        let index = |task: &String| {
            let at = |seed: u64, checkpoint: &String| {
                let mut cells = of_moment.iter();
                let cell = cells.find(|c| c.seed == seed && c.task == *task && c.checkpoint == *checkpoint);
                cell.map(|cell| cell.foreseen)
            };
            let samples = Samples::of(&seeds, |seed| Some(0.5 * (at(seed, adamw)? - at(seed, muon)?)));
            (task.clone(), samples)
        };
        Agreement {
            moment,
            share: Samples::of(&seeds, share),
            rho: spearman(&both(None)),
            cells: both(None).len(),
            indices: tasks.iter().map(index).collect(),
        }
    };
    let agreements = Moment::ALL.into_iter().map(agreement).collect();
    Ok(Foresights { cells: found, agreements })
}

/// Lines of the scorecard, and controls.
pub(super) fn rows(foresights: &Foresights) -> (Vec<ScorecardRow>, Vec<ScorecardRow>) {
    let (mut scorecard, mut controls) = (Vec::new(), Vec::new());
    for of in &foresights.agreements {
        let primary = of.moment == Moment::Corrected;
        let above = of.share.of_seeds.iter().map(|&(seed, share)| (seed, share - 0.5)).collect();
        let above = Samples { of_seeds: above, left_out: of.share.left_out };
        let statement = format!(
            "The cost of both directions at a checkpoint ({}) tells which optimizer forgets less from it",
            of.moment.name()
        );
        let mut note = match of.rho {
            Some(rho) => format!("rank correlation over all {} cells {rho:.2}", of.cells),
            None => format!("{} cells", of.cells),
        };
        // Where one optimizer forgets less everywhere, a null that always names it is right everywhere too.
        if primary {
            for null in foresights.agreements.iter().filter(|of| of.moment > Moment::Measured) {
                note.push_str(&format!("; share with {} {}", null.moment.name(), describe(&null.share.values(), 2)));
            }
        }
        let claim = if primary { CLAIM } else { CONTROL };
        let row = above.row(claim, statement, "all tasks", "share of cells less 1/2", &note);
        if primary {
            scorecard.push(row)
        } else {
            controls.push(row)
        }
        for (task, index) in of.indices.iter().filter(|_| primary) {
            let statement = "The consistency index foreseen from the costs is positive".to_owned();
            controls.push(index.row(CONTROL, statement, task, "log ratio", ""));
        }
    }
    (scorecard, controls)
}

#[cfg(test)]
mod tests {
    use super::super::planted::{grid, pair};
    use super::*;
    use crate::stages::{Cost, Foreseen as Costs};

    fn cell(checkpoint: &str, seed: u64, ratio: f64) -> Cell {
        let cost = |direction: &str, moment, cost| Cost { direction: direction.into(), moment, cost };
        let costs = Moment::ALL.into_iter().flat_map(|moment| {
            // The nulls say the opposite.
            let ratio = if moment <= Moment::Measured { ratio } else { 1.0 / ratio };
            [cost("sign", moment, 2.0), cost("polar", moment, 2.0 * ratio)]
        });
        let foreseen = Costs { gradient: 1.0, costs: costs.collect() };
        Cell { checkpoint: checkpoint.into(), task: "code".into(), seed, foreseen }
    }

    #[test]
    fn what_is_foreseen_is_set_beside_what_is_measured_with_one_sign() {
        let scale = |checkpoint: &str, method: &str| if checkpoint == method { 0.4 } else { 0.8 };
        let runs: Vec<Run> = (0..5).flat_map(|seed| grid(seed, scale, |_, _, f| f)).collect();
        let cells: Vec<Cell> = (0..5).flat_map(|seed| [cell("adamw", seed, 3.0), cell("muon", seed, 0.25)]).collect();
        let found = compute(&runs, &cells, &["code".into()], &pair()).unwrap();
        let two = 2f64.ln();
        for one in &found.cells {
            let expected = if one.checkpoint == "adamw" { two } else { -two };
            assert!((one.measured.unwrap() - expected).abs() < 1e-6, "{one:?}");
        }
        let of = |moment| found.agreements.iter().find(|of| of.moment == moment).unwrap();
        assert_eq!((of(Moment::Corrected).share.values(), of(Moment::Corrected).cells), (vec![1.0; 5], 10));
        assert_eq!(of(Moment::Turned).share.values(), [0.0; 5]);
        let index = &of(Moment::Corrected).indices[0].1;
        assert!((index.values()[0] - 0.5 * (3f64.ln() + 4f64.ln())).abs() < 1e-12);
        let (scorecard, controls) = rows(&found);
        assert_eq!((scorecard.len(), scorecard[0].effect), (1, Some(0.5)));
        assert!(scorecard[0].note.contains("; share with S turned 0.00"), "{}", scorecard[0].note);
        // The other kinds, and the index.
        assert_eq!(controls.len(), 4 + 1);
    }
}
