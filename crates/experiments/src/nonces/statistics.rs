//! From finetuning runs to effects and verdicts on claim C5. What counts is fixed in docs/protocol.md.

use std::collections::{BTreeMap, BTreeSet};

use lab::statistics::{MIN_SEEDS, MeanInterval, Readings, ScorecardRow, correct_for_many};
use models::optim::RuleName;

use super::finetune::Finetuned;
use super::learner::Point;
use super::plan::Reported;
use super::preset::{COMPARED, Cell};
use super::reading::{Reading, epochs_to_recall};
use crate::names::display;

/// Shares of the nonces at which runs are compared too.
pub(super) const RECALLS: [f64; 3] = [0.5, 0.75, 0.9];
/// The share of the nonces to which epochs are counted.
pub(super) const RECALLED: f64 = 0.75;

/// AdamW's and Muon's run of a cell and seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) cell: Cell,
    pub(super) seed: u64,
    pub(super) adamw: &'a Finetuned,
    pub(super) muon: &'a Finetuned,
}

/// Everything that is read from the runs.
#[derive(Debug)]
pub(super) struct Statistics<'a> {
    /// From the same checkpoint.
    pub(super) pairs: Vec<Pair<'a>>,
    pub(super) scorecard: Vec<ScorecardRow>,
    pub(super) controls: Vec<ScorecardRow>,
}

/// What of a cell's readings is an effect.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// AdamW's number less Muon's.
    Difference,
    /// The slope of that in the number of nonces.
    Slope,
}

/// An effect: positive where the claim holds.
struct Contrast<'a> {
    form: Form,
    reading: Reading,
    value: fn(&Point) -> f64,
    cells: &'a dyn Fn(&Cell) -> bool,
}

/// Points (nonces, difference) of a seed, by what stays the same along the number of nonces: the pretraining and the
/// number of examples.
type Lines = BTreeMap<(RuleName, usize), Vec<(f64, f64)>>;

/// One number a seed, and how many cells had none.
struct Samples {
    values: Vec<f64>,
    missing: usize,
}

const TEST: fn(&Point) -> f64 = |point| point.test;

/// The pairs of runs from one checkpoint, or each from the checkpoint of its own optimizer, which then bears the name
/// of AdamW's.
fn pairs(reported: &[Reported<Finetuned>], own: bool) -> Vec<Pair<'_>> {
    let of = |finetuner: RuleName, cell: Cell, seed: u64| {
        reported.iter().find(|run| run.finetuner == finetuner && run.cell == cell && run.seed == seed)
    };
    let [adamw, muon] = COMPARED;
    let first = reported.iter().filter(|run| run.finetuner == adamw && (!own || run.cell.pretraining == adamw));
    first
        .filter_map(|run| {
            let other = if own { Cell { pretraining: muon, ..run.cell } } else { run.cell };
            let muon = &of(muon, other, run.seed)?.result;
            Some(Pair { cell: run.cell, seed: run.seed, adamw: &run.result, muon })
        })
        .collect()
}

impl Contrast<'_> {
    fn samples(&self, pairs: &[Pair<'_>]) -> Samples {
        let mut found: BTreeMap<u64, Lines> = BTreeMap::new();
        let mut missing = 0;
        for pair in pairs.iter().filter(|pair| (self.cells)(&pair.cell)) {
            let of = found.entry(pair.seed).or_default();
            let line = of.entry((pair.cell.pretraining, pair.cell.examples)).or_default();
            match self.reading.of(pair.adamw, pair.muon, self.value) {
                Some((adamw, muon)) => line.push((pair.cell.nonces as f64, adamw - muon)),
                None => missing += 1,
            }
        }
        let mut values = Vec::new();
        for lines in found.values() {
            let numbers: Vec<f64> = match self.form {
                Form::Difference => lines.values().flatten().map(|&(_, difference)| difference).collect(),
                Form::Slope => lines.values().filter_map(|line| slope(line)).collect(),
            };
            if !numbers.is_empty() {
                values.push(numbers.iter().sum::<f64>() / numbers.len() as f64);
            }
        }
        Samples { values, missing }
    }

    fn row(&self, pairs: &[Pair<'_>], claim: &str, statement: &str, task: &str) -> ScorecardRow {
        let Samples { values, missing } = self.samples(pairs);
        let unit = match self.form {
            Form::Difference => "share of answers",
            Form::Slope => "share of answers a nonce",
        };
        let note = match missing {
            0 => String::new(),
            1 => "1 value is missing".into(),
            n => format!("{n} values are missing"),
        };
        let statement = format!("{statement}, {}", self.reading.name());
        ScorecardRow::from_samples(claim, statement, task, unit, &values, note)
    }
}

/// The least-squares slope of points; `None` if they have one x.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    let mean = |read: fn(&(f64, f64)) -> f64| points.iter().map(read).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let square: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    (square > 0.0).then(|| points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / square)
}

/// "8, 16 examples x 2, 6 nonces, from AdamW and Muon".
fn describe<'a>(cells: impl Iterator<Item = &'a Cell> + Clone) -> String {
    let list = |numbers: BTreeSet<usize>| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let from: BTreeSet<&str> = cells.clone().map(|cell| cell.pretraining.as_str()).collect();
    let from: Vec<String> = from.iter().map(|name| display(name)).collect();
    let (examples, nonces) =
        (cells.clone().map(|cell| cell.examples).collect(), cells.map(|cell| cell.nonces).collect());
    format!("{} examples x {} nonces, from {}", list(examples), list(nonces), from.join(" and "))
}

impl<'a> Statistics<'a> {
    /// Reads all there is from the reported runs.
    pub(super) fn compute(reported: &'a [Reported<Finetuned>]) -> Self {
        let same = pairs(reported, false);
        let with: &dyn Fn(&Cell) -> bool = &|cell| cell.nonces > 0;
        let all: &dyn Fn(&Cell) -> bool = &|_| true;
        let task = |of: &dyn Fn(&Cell) -> bool| describe(same.iter().map(|pair| &pair.cell).filter(|cell| of(cell)));
        let difference = |reading| Contrast { form: Form::Difference, reading, value: TEST, cells: with };
        let slope = |reading| Contrast { form: Form::Slope, reading, value: TEST, cells: all };
        let above = "With nonces to memorise, AdamW answers more held-out instances than Muon";
        let steeper = "AdamW's advantage over Muon in held-out accuracy grows with the number of nonces";
        let beside = [RECALLS.map(Reading::Recall).to_vec(), vec![Reading::AnswerLoss, Reading::End]].concat();
        let beside_slope = [Reading::End, Reading::Epoch(16), Reading::Epoch(4)];
        let row = |of: &Contrast<'_>, others: Vec<Contrast<'_>>, statement: &str| {
            let mut row = of.row(&same, "C5 (finetuning)", statement, &task(of.cells));
            let others = others.iter().map(|other| other.samples(&same).values);
            let others = others.filter(|values| values.len() >= MIN_SEEDS);
            let others: Vec<MeanInterval> = others.filter_map(|values| MeanInterval::arithmetic(&values)).collect();
            row.readings = Readings::about(row.verdict, &others);
            row
        };
        let mut scorecard = vec![
            row(&difference(Reading::TopRecall), beside.iter().map(|&one| difference(one)).collect(), above),
            row(&slope(Reading::AnswerLoss), beside_slope.iter().map(|&one| slope(one)).collect(), steeper),
        ];
        correct_for_many(&mut scorecard.iter_mut().collect::<Vec<_>>());

        let control = "C5 (finetuning, control)";
        let mut controls = Vec::new();
        let mut add = |of: Contrast<'_>, statement: &str| {
            if same.iter().any(|pair| (of.cells)(&pair.cell)) {
                controls.push(of.row(&same, control, statement, &task(of.cells)));
            }
        };
        beside.iter().for_each(|&reading| add(difference(reading), above));
        beside_slope.iter().for_each(|&reading| add(slope(reading), steeper));
        let without: &dyn Fn(&Cell) -> bool = &|cell| cell.nonces == 0;
        for reading in [Reading::AnswerLoss, Reading::End] {
            let null = "Without nonces, AdamW answers more held-out instances than Muon";
            add(Contrast { cells: without, ..difference(reading) }, null);
        }
        for name in COMPARED {
            let of: &dyn Fn(&Cell) -> bool = &|cell| cell.pretraining == name && cell.nonces > 0;
            add(Contrast { cells: of, ..difference(Reading::TopRecall) }, above);
            let of: &dyn Fn(&Cell) -> bool = &|cell| cell.pretraining == name;
            add(Contrast { cells: of, ..slope(Reading::AnswerLoss) }, steeper);
        }
        let sizes: BTreeSet<usize> = same.iter().map(|pair| pair.cell.examples).collect();
        for examples in sizes {
            let of: &dyn Fn(&Cell) -> bool = &|cell| cell.examples == examples && cell.nonces > 0;
            add(Contrast { cells: of, ..difference(Reading::TopRecall) }, above);
            let of: &dyn Fn(&Cell) -> bool = &|cell| cell.examples == examples;
            add(Contrast { cells: of, ..slope(Reading::AnswerLoss) }, steeper);
        }
        let other = |statement: &str| format!("Behind an opening that no example has: {statement}");
        add(Contrast { value: |point| point.asked, ..difference(Reading::TopRecall) }, &other(above));
        add(Contrast { value: |point| point.asked, ..slope(Reading::AnswerLoss) }, &other(steeper));
        let kept = "AdamW keeps more of the pretraining's facts than Muon";
        add(Contrast { value: |point| point.facts, ..difference(Reading::TopRecall) }, kept);

        let own = pairs(reported, true);
        let statement = "With one optimizer in both stages, AdamW answers more held-out instances than Muon";
        let mut matched = difference(Reading::TopRecall).row(&own, control, statement, "");
        matched.task = task(with).split(", from").next().unwrap_or_default().into();
        controls.push(matched);
        controls.push(speed(&same, control, task(with)));
        Self { pairs: same, scorecard, controls }
    }
}

/// The logarithm of AdamW's epochs to [`RECALLED`] of the nonces over Muon's, averaged over cells within each seed;
/// cells in which one does not get there are left out.
fn speed(pairs: &[Pair<'_>], claim: &str, task: String) -> ScorecardRow {
    let (mut found, mut missing): (BTreeMap<u64, Vec<f64>>, usize) = (BTreeMap::new(), 0);
    for pair in pairs.iter().filter(|pair| pair.cell.nonces > 0) {
        let epochs = |run| epochs_to_recall(run, RECALLED).filter(|&epochs| epochs > 0.0);
        match epochs(pair.adamw).zip(epochs(pair.muon)) {
            Some((adamw, muon)) => found.entry(pair.seed).or_default().push((adamw / muon).ln()),
            None => missing += 1,
        }
    }
    let samples: Vec<f64> = found.values().map(|of| of.iter().sum::<f64>() / of.len() as f64).collect();
    let statement = format!("Muon recalls {:.0} % of the nonces in fewer epochs than AdamW", 100.0 * RECALLED);
    let note = if missing > 0 { format!("{missing} values are missing") } else { String::new() };
    ScorecardRow::from_samples(claim, statement, task, "log ratio of epochs", &samples, note)
}

#[cfg(test)]
mod tests {
    use lab::statistics::Verdict;

    use super::super::testing::run;
    use super::*;

    /// Runs in which AdamW is ahead by .1 a nonce, and by `base` without any.
    fn reported(seeds: u64, base: f64, each: f64) -> Vec<Reported<Finetuned>> {
        let mut all = Vec::new();
        for pretraining in COMPARED {
            for (examples, nonces) in [(8, 0), (8, 2), (8, 4), (16, 0), (16, 2), (16, 4)] {
                for seed in 10..10 + seeds {
                    for finetuner in COMPARED {
                        let ahead = if finetuner == RuleName::AdamW { base + each * nonces as f64 } else { 0.0 };
                        let ahead = ahead * (1.0 + seed as f64 * 1e-3);
                        let mut result = run(&[(0, 4.0, 0.0, 0.0), (4, 1.0, 1.0, 0.2 + ahead)], true);
                        if nonces == 0 {
                            result.curve.iter_mut().for_each(|point| point.recall = None);
                        }
                        let cell = Cell { pretraining, examples, nonces };
                        all.push(Reported { cell, finetuner, seed, scores: Vec::new(), chosen: 0, result });
                    }
                }
            }
        }
        all
    }

    #[test]
    fn an_advantage_that_grows_with_the_nonces_is_what_is_claimed() {
        let runs = reported(6, 0.0, 0.1);
        let statistics = Statistics::compute(&runs);
        let [above, steeper] = &statistics.scorecard[..] else { panic!("two rows") };
        assert_eq!((above.verdict, steeper.verdict), (Verdict::Reproduced, Verdict::Reproduced));
        // The mean of .2 and .4, and .1, both times 1.0125.
        assert!((above.effect.unwrap() - 0.30375).abs() < 1e-9, "{above:?}");
        assert!((steeper.effect.unwrap() - 0.10125).abs() < 1e-9, "{steeper:?}");
        assert_eq!(above.readings, Some(Readings::Robust));
        assert!(above.corrected.is_some() && steeper.corrected.is_some());
        assert_eq!(above.task, "8, 16 examples x 2, 4 nonces, from AdamW and Muon");
        let null: Vec<_> =
            statistics.controls.iter().filter(|row| row.statement.starts_with("Without nonces")).collect();
        assert!(null.len() == 2 && null.iter().all(|row| row.effect == Some(0.0)));
    }

    #[test]
    fn an_advantage_that_has_nothing_to_do_with_nonces_has_no_slope() {
        let runs = reported(6, 0.3, 0.0);
        let statistics = Statistics::compute(&runs);
        let [above, steeper] = &statistics.scorecard[..] else { panic!("two rows") };
        assert_eq!((above.verdict, steeper.verdict), (Verdict::Reproduced, Verdict::Inconclusive));
        let contradicted = reported(6, 0.0, -0.04);
        let statistics = Statistics::compute(&contradicted);
        assert!(statistics.scorecard.iter().all(|row| row.verdict == Verdict::Contradicted));
    }

    #[test]
    fn four_seeds_give_no_verdict() {
        let runs = reported(4, 0.0, 0.1);
        let statistics = Statistics::compute(&runs);
        assert!(statistics.scorecard.iter().all(|row| row.verdict_label() == "inconclusive (n = 4)"));
    }

    #[test]
    fn a_slope_is_that_of_the_line_of_least_squares() {
        assert!((slope(&[(0.0, 1.0), (2.0, 2.0), (6.0, 4.0)]).unwrap() - 0.5).abs() < 1e-12);
        // numpy.polyfit([0, 2, 6], [0, 3, 4], 1)[0]
        assert!((slope(&[(0.0, 0.0), (2.0, 3.0), (6.0, 4.0)]).unwrap() - 0.607_142_857_142_857_1).abs() < 1e-12);
        assert_eq!(slope(&[(2.0, 1.0)]), None);
    }
}
