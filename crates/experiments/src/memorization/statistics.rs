//! From runs to effects and verdicts on claim C5. What counts is fixed in docs/protocol.md.

use std::collections::BTreeSet;

use lab::statistics::{MeanInterval, ScorecardRow};
use models::optim::RuleName;
use synthetic_lm::metrics::{CurvePoint, value_at_loss};

use super::measure::{MEMORISED, Point, steps_to};
use super::plan::Reported;
use super::preset::Cell;

/// A pattern has few examples where they are at most this share of its instances.
pub const FEW: f64 = 0.25;

/// Whether so many examples of a pattern with so many instances are [`FEW`].
pub(super) fn is_few(examples: usize, instances: u64) -> bool {
    examples as f64 <= FEW * instances as f64
}

/// Where along two runs their held-out accuracies are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// At the end.
    End,
    /// Where each first falls to the lowest training loss that both reach.
    MatchedLoss,
    /// Where each first knows [`MEMORISED`] of the facts.
    MatchedFacts,
}

impl Reading {
    /// All readings.
    pub const ALL: [Self; 3] = [Self::End, Self::MatchedLoss, Self::MatchedFacts];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::End => "at the end",
            Self::MatchedLoss => "at matched training loss",
            Self::MatchedFacts => "at matched fact accuracy",
        }
    }
}

/// Held-out accuracies of AdamW and Muon in a cell, compared within each seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The cell.
    pub cell: Cell,
    /// Where they were read.
    pub reading: Reading,
    /// Seed, AdamW's accuracy, Muon's.
    pub pairs: Vec<(u64, f64, f64)>,
}

impl Difference {
    /// Mean and interval of Muon's accuracy less AdamW's.
    pub fn muon_over_adamw(&self) -> Option<MeanInterval> {
        MeanInterval::arithmetic(&self.pairs.iter().map(|(_, adamw, muon)| muon - adamw).collect::<Vec<_>>())
    }
}

/// Everything that is read from the runs.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// Instances of the pattern.
    pub instances: u64,
    /// A difference for each cell and reading.
    pub differences: Vec<Difference>,
    /// The verdicts on C5.
    pub scorecard: Vec<ScorecardRow>,
    /// The same where the claim says nothing.
    pub controls: Vec<ScorecardRow>,
}

/// A training curve as [`synthetic_lm::metrics`] reads it, from the loss and the value at each point.
fn along(curve: &[Point], read: impl Fn(&Point) -> (f64, f64)) -> Vec<CurvePoint> {
    let point = |point: &Point| {
        let (loss, value) = read(point);
        CurvePoint { step: point.step as f64, loss, value }
    };
    curve.iter().map(point).collect()
}

/// The held-out accuracies of two runs of one seed at a reading; `None` if one diverged or does not get there.
fn accuracies(a: &Reported, b: &Reported, reading: Reading) -> Option<(f64, f64)> {
    let (end_a, end_b) = (a.result.end()?, b.result.end()?);
    let matched = |read: fn(&Point) -> f64, level: f64| {
        let at = |run: &Reported| value_at_loss(&along(&run.result.curve, |point| (read(point), point.test)), level);
        Some((at(a)?, at(b)?))
    };
    match reading {
        Reading::End => Some((end_a.test, end_b.test)),
        Reading::MatchedLoss => {
            let lowest =
                |run: &Reported| run.result.curve.iter().map(|p| p.training_loss).fold(f64::INFINITY, f64::min);
            matched(|point| point.training_loss, lowest(a).max(lowest(b)))
        }
        Reading::MatchedFacts => matched(|point| 1.0 - point.facts.unwrap_or(0.0), 1.0 - MEMORISED),
    }
}

/// AdamW's and Muon's runs of every seed in a cell that has both.
fn pairs(reported: &[Reported], cell: Cell) -> Vec<(u64, &Reported, &Reported)> {
    let of = |name: RuleName, seed: u64| {
        reported.iter().find(|run| run.cell == cell && run.optimizer == name && run.seed == seed)
    };
    let seeds: BTreeSet<u64> = reported.iter().map(|run| run.seed).collect();
    let pair = |seed: u64| Some((seed, of(RuleName::AdamW, seed)?, of(RuleName::Muon, seed)?));
    seeds.into_iter().filter_map(pair).collect()
}

impl Statistics {
    /// Reads all there is from the reported runs of a pattern with so many instances.
    pub fn compute(reported: &[Reported], instances: u64) -> Self {
        let cells: BTreeSet<Cell> = reported.iter().map(|run| run.cell).collect();
        let mut differences = Vec::new();
        for &cell in &cells {
            for reading in Reading::ALL {
                let read = |(seed, adamw, muon): (u64, &Reported, &Reported)| {
                    accuracies(adamw, muon, reading).map(|(a, m)| (seed, a, m))
                };
                let pairs = pairs(reported, cell).into_iter().filter_map(read).collect();
                differences.push(Difference { cell, reading, pairs });
            }
        }
        let mut statistics = Self { instances, differences, scorecard: Vec::new(), controls: Vec::new() };
        let cells =
            |wanted: &dyn Fn(Cell) -> bool| cells.iter().copied().filter(|&cell| wanted(cell)).collect::<Vec<_>>();
        let counted = cells(&|cell| cell.facts > 0 && statistics.is_few(cell));
        let few = "With facts to memorise and few pattern examples, AdamW answers more held-out instances than Muon";
        let row = |claim: &str, statement: &str, cells: &[Cell], reading: Reading| {
            let statement = format!("{statement}, {}", reading.name());
            statistics.accuracy_row(claim, &statement, cells, reading)
        };
        let scorecard = vec![
            row("C5a", few, &counted, Reading::End),
            row("C5a", few, &counted, Reading::MatchedLoss),
            memorisation_row(reported, &cells(&|cell| cell.facts > 0)),
        ];
        let without = cells(&|cell| cell.facts == 0 && statistics.is_few(cell));
        let many = cells(&|cell| cell.facts > 0 && !statistics.is_few(cell));
        let mut controls = vec![row("C5a", few, &counted, Reading::MatchedFacts)];
        for reading in [Reading::End, Reading::MatchedLoss] {
            if !without.is_empty() {
                controls.push(row("C5a", "Without facts, few pattern examples: AdamW above Muon", &without, reading));
            }
            if !many.is_empty() {
                controls.push(row("C5a", "With facts, many pattern examples: AdamW above Muon", &many, reading));
            }
        }
        (statistics.scorecard, statistics.controls) = (scorecard, controls);
        statistics
    }

    /// Whether a cell's pattern has few examples.
    pub fn is_few(&self, cell: Cell) -> bool {
        is_few(cell.examples, self.instances)
    }

    /// The difference of a cell at a reading.
    pub fn difference(&self, cell: Cell, reading: Reading) -> Option<&Difference> {
        self.differences.iter().find(|difference| difference.cell == cell && difference.reading == reading)
    }

    /// AdamW's accuracy less Muon's, averaged over the cells within each seed.
    fn accuracy_row(&self, claim: &str, statement: &str, cells: &[Cell], reading: Reading) -> ScorecardRow {
        let found: Vec<&Difference> = cells.iter().filter_map(|&cell| self.difference(cell, reading)).collect();
        let values = found.iter().flat_map(|d| d.pairs.iter().map(|&(seed, adamw, muon)| (seed, adamw - muon)));
        let (samples, missing) = by_seed(values, cells.len());
        let note = left_out(missing);
        ScorecardRow::from_samples(claim, statement, describe(cells), "share of answers", &samples, note)
    }
}

/// The logarithm of AdamW's steps to [`MEMORISED`] of the facts over Muon's, averaged over the cells within each seed.
/// A run that does not get there counts with its last step, which brings the effect nearer to zero; where neither does,
/// there is no value.
fn memorisation_row(reported: &[Reported], cells: &[Cell]) -> ScorecardRow {
    let mut cut_off = [0, 0];
    let mut values = Vec::new();
    for &cell in cells {
        for (seed, adamw, muon) in pairs(reported, cell) {
            let steps = [adamw, muon].map(|run| steps_to(&run.result.curve, MEMORISED));
            let last = [adamw, muon].map(|run| run.result.curve.last().map_or(1.0, |point| point.step as f64));
            if let [None, None] = steps {
                continue;
            }
            for (count, _) in cut_off.iter_mut().zip(steps).filter(|(_, steps)| steps.is_none()) {
                *count += 1;
            }
            values.push((seed, (steps[0].unwrap_or(last[0]) / steps[1].unwrap_or(last[1])).ln()));
        }
    }
    let (samples, missing) = by_seed(values, cells.len());
    let mut note = left_out(missing);
    for (name, count) in ["AdamW", "Muon"].into_iter().zip(cut_off).filter(|(_, count)| *count > 0) {
        let separator = if note.is_empty() { "" } else { "; " };
        note.push_str(&format!(
            "{separator}never reached by {name} in {count} of its runs, which count with their last step"
        ));
    }
    let statement = format!("Muon knows {:.0} % of the facts in fewer steps than AdamW", 100.0 * MEMORISED);
    ScorecardRow::from_samples("C5b", statement, describe(cells), "log ratio of steps", &samples, note)
}

/// Means within each seed, and how many of `cells` values are missing over all seeds that have one.
fn by_seed(values: impl IntoIterator<Item = (u64, f64)>, cells: usize) -> (Vec<f64>, usize) {
    let mut seeds: std::collections::BTreeMap<u64, Vec<f64>> = std::collections::BTreeMap::new();
    for (seed, value) in values {
        seeds.entry(seed).or_default().push(value);
    }
    let missing = seeds.values().map(|values| cells - values.len()).sum();
    (seeds.values().map(|values| values.iter().sum::<f64>() / values.len() as f64).collect(), missing)
}

fn left_out(missing: usize) -> String {
    match missing {
        0 => String::new(),
        1 => "1 value is missing".into(),
        n => format!("{n} values are missing"),
    }
}

/// "100 facts x 20, 40 examples; 200 facts x 20 examples".
fn describe(cells: &[Cell]) -> String {
    let facts: BTreeSet<usize> = cells.iter().map(|cell| cell.facts).collect();
    let group = |&facts: &usize| {
        let examples: Vec<String> =
            cells.iter().filter(|cell| cell.facts == facts).map(|cell| cell.examples.to_string()).collect();
        format!("{facts} facts x {} examples", examples.join(", "))
    };
    if cells.is_empty() { "no such cell".into() } else { facts.iter().map(group).collect::<Vec<_>>().join("; ") }
}

#[cfg(test)]
mod tests {
    use lab::statistics::Verdict;

    use super::*;
    use crate::memorization::{RateScore, RunResult, Spectrum};

    /// A run from (step, training loss, facts, test) at each point.
    fn run(cell: Cell, optimizer: RuleName, seed: u64, points: &[(u64, f64, f64, f64)]) -> Reported {
        let point = |&(step, training_loss, facts, test): &(u64, f64, f64, f64)| Point {
            step,
            training_loss,
            training_accuracy: 1.0,
            facts: (cell.facts > 0).then_some(facts),
            bits: 0.0,
            seen: 1.0,
            exceptions: None,
            validation: 0.0,
            test,
            test_loss: 1.0,
        };
        let spectrum = Some(Spectrum { normalised: vec![1.0], effective_rank: 1.0 });
        let curve = points.iter().map(point).collect();
        let result = RunResult { curve, spectrum, parameters: 1, policy: Vec::new() };
        let scores = vec![RateScore { rate: 0.1, training: 1.0, validation: 0.0, loss: 0.0, steps: 1.0 }];
        Reported { cell, optimizer, scores, chosen: 0, seed, result }
    }

    const CELL: Cell = Cell { facts: 10, examples: 20 };

    /// AdamW learns in 40 steps what takes Muon 20, and generalises better by .2 at the end.
    fn seeds(cell: Cell, n: u64) -> Vec<Reported> {
        let mut runs = Vec::new();
        for seed in 0..n {
            let jitter = seed as f64 * 1e-3;
            runs.push(run(
                cell,
                RuleName::AdamW,
                seed,
                &[(0, 4.0, 0.0, 0.0), (40, 1.0, 0.9, 0.4), (50, 0.5, 1.0, 0.6 + jitter)],
            ));
            runs.push(run(cell, RuleName::Muon, seed, &[(0, 4.0, 0.0, 0.0), (20, 1.0, 0.9, 0.2), (50, 0.0, 1.0, 0.4)]));
        }
        runs
    }

    #[test]
    fn runs_are_compared_at_the_lowest_training_loss_that_both_reach() {
        let runs = seeds(CELL, 1);
        let read = |reading| accuracies(&runs[0], &runs[1], reading).unwrap();
        assert_eq!(read(Reading::End), (0.6, 0.4));
        // AdamW ends at .5, which Muon passes half way between .2 and .4.
        let (adamw, muon) = read(Reading::MatchedLoss);
        assert!((adamw - 0.6).abs() < 1e-12 && (muon - 0.3).abs() < 1e-12, "{adamw} {muon}");
        let (adamw, muon) = read(Reading::MatchedFacts);
        assert!((adamw - 0.4).abs() < 1e-12 && (muon - 0.2).abs() < 1e-12, "{adamw} {muon}");
    }

    #[test]
    fn a_diverged_run_has_no_accuracy() {
        let mut runs = seeds(CELL, 1);
        runs[1].result.spectrum = None;
        assert_eq!(accuracies(&runs[0], &runs[1], Reading::MatchedLoss), None);
    }

    #[test]
    fn few_examples_with_facts_decide_and_the_rest_are_controls() {
        let mut runs = seeds(CELL, 5);
        // 30 of 100 instances are many; without facts there is nothing to memorise: both would change the verdict's
        // mean.
        for cell in [Cell { examples: 30, ..CELL }, Cell { facts: 0, ..CELL }] {
            for run in seeds(cell, 5) {
                let shift = if run.optimizer == RuleName::Muon { 0.5 } else { 0.0 };
                let mut run = run;
                run.result.curve.last_mut().unwrap().test += shift;
                runs.push(run);
            }
        }
        let statistics = Statistics::compute(&runs, 100);
        let [end, matched, faster] = &statistics.scorecard[..] else { panic!("three rows") };
        assert_eq!(end.verdict, Verdict::Reproduced);
        assert!((end.effect.unwrap() - 0.202).abs() < 1e-9, "{end:?}");
        assert_eq!(end.task, "10 facts x 20 examples");
        assert!((matched.effect.unwrap() - 0.302).abs() < 1e-9, "{matched:?}");
        assert!((faster.effect.unwrap() - 2.0f64.ln()).abs() < 1e-9, "{faster:?}");
        let negative = statistics.controls.iter().filter(|row| row.statement.contains("at the end"));
        assert!(negative.clone().count() == 2 && negative.clone().all(|row| row.effect.unwrap() < 0.0));
    }

    #[test]
    fn few_seeds_give_no_verdict() {
        let statistics = Statistics::compute(&seeds(CELL, 4), 100);
        assert!(statistics.scorecard.iter().all(|row| row.verdict_label() == "inconclusive (n = 4)"));
    }

    #[test]
    fn a_run_that_never_memorises_counts_with_its_last_step() {
        let slow = run(CELL, RuleName::AdamW, 0, &[(0, 4.0, 0.0, 0.0), (50, 3.0, 0.2, 0.0)]);
        let fast = run(CELL, RuleName::Muon, 0, &[(0, 4.0, 0.0, 0.0), (10, 1.0, 0.9, 0.0)]);
        let row = memorisation_row(&[slow.clone(), fast], &[CELL]);
        assert!((row.effect.unwrap() - 5.0f64.ln()).abs() < 1e-9);
        assert!(row.note.contains("by AdamW in 1 of its runs"), "{}", row.note);
        let never = Reported { optimizer: RuleName::Muon, ..slow.clone() };
        assert_eq!(memorisation_row(&[slow, never], &[CELL]).effect, None);
    }
}
