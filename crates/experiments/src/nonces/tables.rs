//! The tables of the section, and the rows of its files.

use lab::report::{Table, TableRow};
use lab::statistics::{MeanInterval, describe};
use models::optim::RuleName;
use serde::Serialize;

use super::finetune::Finetuned;
use super::learner::Point;
use super::plan::{Done, Reported};
use super::preset::{COMPARED, NoncesPreset};
use super::reading::{Reading, at_recall, epochs_to_recall, highest_recall};
use super::statistics::{Pair, RECALLED, RECALLS, Statistics};
use crate::memorization::edge;
use crate::names::display;

/// One row a reported finetuning.
pub(super) const RUNS: &str = "nonces.csv";
/// One row a measurement along a reported finetuning.
pub(super) const CURVES: &str = "nonces-curves.csv";
/// One row a pair of runs and a reading.
pub(super) const DIFFERENCES: &str = "nonces-differences.csv";
/// One row a learning rate of a cell and finetuner.
pub(super) const RATES: &str = "nonces-rates.csv";
/// One row a pretraining.
pub(super) const PRETRAINING: &str = "nonces-pretraining.csv";
/// One row a finetuning that was taken apart and a rank.
pub(super) const PLACEMENT: &str = "nonces-placement.csv";

/// A row of [`RUNS`].
#[derive(Debug, Serialize)]
pub(super) struct RunRow {
    pretraining: RuleName,
    finetuning: RuleName,
    examples: usize,
    nonces: usize,
    seed: u64,
    learning_rate: f64,
    diverged: bool,
    recall: Option<f64>,
    epochs_to_recall: Option<f64>,
    blind_nonce_loss: Option<f64>,
    seen: Option<f64>,
    answer_loss: Option<f64>,
    test: Option<f64>,
    test_asked: Option<f64>,
    facts_before: Option<f64>,
    facts: Option<f64>,
    rules_before: Option<f64>,
    rules: Option<f64>,
}

pub(super) fn runs(done: &Done) -> impl Iterator<Item = RunRow> {
    done.finetuned.iter().map(|run| {
        let (end, start) = (run.result.end(), run.result.curve.first());
        RunRow {
            pretraining: run.cell.pretraining,
            finetuning: run.finetuner,
            examples: run.cell.examples,
            nonces: run.cell.nonces,
            seed: run.seed,
            learning_rate: run.scores[run.chosen].rate,
            diverged: end.is_none(),
            recall: end.and_then(|end| end.recall),
            epochs_to_recall: epochs_to_recall(&run.result, RECALLED).filter(|_| run.cell.nonces > 0),
            blind_nonce_loss: run.result.blind,
            seen: end.map(|end| end.seen),
            answer_loss: end.map(|end| end.loss),
            test: end.map(|end| end.test),
            test_asked: end.map(|end| end.asked),
            facts_before: start.map(|start| start.facts),
            facts: end.map(|end| end.facts),
            rules_before: start.map(|start| start.rules),
            rules: end.map(|end| end.rules),
        }
    })
}

/// A row of [`CURVES`].
#[derive(Debug, Serialize)]
pub(super) struct CurveRow {
    pretraining: RuleName,
    finetuning: RuleName,
    examples: usize,
    nonces: usize,
    seed: u64,
    epoch: u64,
    recall: Option<f64>,
    nonce_loss: Option<f64>,
    seen: f64,
    answer_loss: f64,
    test: f64,
    facts: f64,
}

/// Of the compared finetuners.
pub(super) fn curves(done: &Done) -> impl Iterator<Item = CurveRow> {
    done.finetuned.iter().filter(|run| COMPARED.contains(&run.finetuner)).flat_map(|run| {
        run.result.curve.iter().map(|point| CurveRow {
            pretraining: run.cell.pretraining,
            finetuning: run.finetuner,
            examples: run.cell.examples,
            nonces: run.cell.nonces,
            seed: run.seed,
            epoch: point.epoch,
            recall: point.recall,
            nonce_loss: point.nonce_loss,
            seen: point.seen,
            answer_loss: point.loss,
            test: point.test,
            facts: point.facts,
        })
    })
}

/// A row of [`DIFFERENCES`].
#[derive(Debug, Serialize)]
pub(super) struct DifferenceRow {
    pretraining: RuleName,
    examples: usize,
    nonces: usize,
    read: String,
    seed: u64,
    adamw: f64,
    muon: f64,
}

pub(super) fn differences<'a>(statistics: &'a Statistics<'_>) -> impl Iterator<Item = DifferenceRow> + 'a {
    let epochs = [4, 16].map(Reading::Epoch);
    let readings = [Reading::TopRecall].into_iter().chain(RECALLS.map(Reading::Recall));
    let readings: Vec<Reading> = readings.chain([Reading::AnswerLoss]).chain(epochs).chain([Reading::End]).collect();
    statistics.pairs.iter().flat_map(move |pair| {
        let row = |reading: &Reading| row_of(pair, *reading);
        readings.iter().filter_map(row).collect::<Vec<_>>()
    })
}

fn row_of(pair: &Pair<'_>, reading: Reading) -> Option<DifferenceRow> {
    let (adamw, muon) = reading.of(pair.adamw, pair.muon, |point| point.test)?;
    Some(DifferenceRow {
        pretraining: pair.cell.pretraining,
        examples: pair.cell.examples,
        nonces: pair.cell.nonces,
        read: reading.name(),
        seed: pair.seed,
        adamw,
        muon,
    })
}

/// A row of [`RATES`].
#[derive(Debug, Serialize)]
pub(super) struct RateRow {
    pretraining: RuleName,
    finetuning: RuleName,
    examples: usize,
    nonces: usize,
    learning_rate: f64,
    validation: f64,
    validation_loss: f64,
    seen: f64,
    recall: f64,
    chosen: bool,
}

/// One run of every cell and finetuner: all seeds have the same scores.
fn one_a_choice(done: &Done) -> impl Iterator<Item = &Reported<Finetuned>> {
    let is_first = |run: &&Reported<Finetuned>| {
        let same = |other: &&Reported<Finetuned>| other.cell == run.cell && other.finetuner == run.finetuner;
        done.finetuned.iter().find(same).is_some_and(|first| first.seed == run.seed)
    };
    done.finetuned.iter().filter(is_first)
}

pub(super) fn rates(done: &Done) -> impl Iterator<Item = RateRow> {
    one_a_choice(done).flat_map(|run| {
        run.scores.iter().enumerate().map(|(place, score)| RateRow {
            pretraining: run.cell.pretraining,
            finetuning: run.finetuner,
            examples: run.cell.examples,
            nonces: run.cell.nonces,
            learning_rate: score.rate,
            validation: score.validation,
            validation_loss: score.validation_loss,
            seen: score.seen,
            recall: score.recall,
            chosen: place == run.chosen,
        })
    })
}

/// A row of [`PRETRAINING`].
#[derive(Debug, Serialize)]
pub(super) struct PretrainingRow {
    optimizer: RuleName,
    seed: u64,
    diverged: bool,
    facts: f64,
    rules: f64,
}

pub(super) fn pretraining(done: &Done) -> impl Iterator<Item = PretrainingRow> {
    done.pretrained.iter().map(|(optimizer, seed, result)| {
        let end = result.curve.last();
        PretrainingRow {
            optimizer: *optimizer,
            seed: *seed,
            diverged: result.diverged,
            facts: end.map_or(0.0, |end| end.facts),
            rules: end.map_or(0.0, |end| end.rules),
        }
    })
}

/// A row of [`PLACEMENT`].
#[derive(Debug, Serialize)]
pub(super) struct PlacementRow {
    pretraining: RuleName,
    finetuning: RuleName,
    seed: u64,
    pattern_rank: f64,
    memory_rank: f64,
    memory_over_pattern: f64,
    overlap: f64,
    chance_overlap: f64,
    rank: usize,
    recall: f64,
    seen: f64,
    test: f64,
}

pub(super) fn placement(done: &Done) -> impl Iterator<Item = PlacementRow> {
    done.placed.iter().filter_map(|run| Some((run, run.result.found.as_ref()?))).flat_map(|(run, found)| {
        found.cuts.iter().map(move |cut| PlacementRow {
            pretraining: run.cell.pretraining,
            finetuning: run.finetuner,
            seed: run.seed,
            pattern_rank: found.pattern_rank,
            memory_rank: found.memory_rank,
            memory_over_pattern: found.ratio,
            overlap: found.overlap,
            chance_overlap: found.chance,
            rank: cut.rank,
            recall: cut.recall,
            seen: cut.seen,
            test: cut.test,
        })
    })
}

fn header(titles: &[&str]) -> Vec<String> {
    titles.iter().map(|title| (*title).into()).collect()
}

/// What the checkpoints know.
pub(super) fn checkpoints(preset: &NoncesPreset, done: &Done) -> Table {
    let rows = preset.pretrainers.iter().map(|pretrainer| {
        let of = |read: fn(&super::pretrain::Learned) -> f64| -> Vec<f64> {
            let ends = done.pretrained.iter().filter(|(name, ..)| *name == pretrainer.name);
            ends.filter_map(|(.., result)| result.curve.last().map(read)).collect()
        };
        let (facts, rules) = (of(|end| end.facts), of(|end| end.rules));
        let cells = vec![
            display(pretrainer.name.as_str()),
            pretrainer.rate.to_string(),
            describe(&facts, 3),
            describe(&rules, 3),
        ];
        TableRow { cells, strong: false }
    });
    Table {
        title: "Checkpoints".into(),
        caption: "Shares of right answers after pretraining: on facts, and on held-out instances of the rules. Means over seeds with 95 % t \
                  intervals."
            .into(),
        header: header(&["Pretraining", "Rate", "Facts", "Rules"]),
        rows: rows.collect(),
        data: Some(PRETRAINING.into()),
    }
}

/// What came out in every cell for every finetuner.
pub(super) fn cells(preset: &NoncesPreset, done: &Done) -> Table {
    let mut rows = Vec::new();
    for cell in preset.pretrainers.iter().flat_map(|pretrainer| preset.cells(pretrainer.name)) {
        for finetuner in &preset.finetuners {
            let here = |run: &&Reported<Finetuned>| run.cell == cell && run.finetuner == finetuner.name;
            let runs: Vec<&Finetuned> = done.finetuned.iter().filter(here).map(|run| &run.result).collect();
            let ends = |read: fn(&Point) -> Option<f64>, digits: usize| {
                describe(&runs.iter().filter_map(|run| read(run.end()?)).collect::<Vec<_>>(), digits)
            };
            let with_nonces = |text: String| if cell.nonces > 0 { text } else { String::new() };
            let times: Vec<f64> = runs.iter().filter_map(|run| epochs_to_recall(run, RECALLED)).collect();
            let never = runs.len() - times.len();
            let never = if never > 0 { format!("\n{never} never") } else { String::new() };
            rows.push(TableRow {
                cells: vec![
                    display(cell.pretraining.as_str()),
                    display(finetuner.name.as_str()),
                    cell.examples.to_string(),
                    cell.nonces.to_string(),
                    with_nonces(ends(|end| end.recall, 2)),
                    with_nonces(describe(&times, 1) + &never),
                    ends(|end| Some(end.seen), 2),
                    ends(|end| Some(end.test), 3),
                    ends(|end| Some(end.asked), 3),
                    ends(|end| Some(end.facts), 2),
                    ends(|end| Some(end.rules), 2),
                ],
                strong: COMPARED.contains(&finetuner.name),
            });
        }
    }
    Table {
        title: "At the end of finetuning".into(),
        caption: "Means over seeds with 95 % t intervals, each finetuner at its chosen learning rate: recall is the share of the nonces that are known, seen and \
                  held out are shares of right answers, other opening is held out behind the token that asks, facts and rules are those of the pretraining."
            .into(),
        header: header(&[
            "Pretraining",
            "Finetuning",
            "Examples",
            "Nonces",
            "Recall",
            "Epochs to 75 %",
            "Seen",
            "Held out",
            "Other opening",
            "Facts",
            "Rules",
        ]),
        rows,
        data: Some(RUNS.into()),
    }
}

/// Held-out accuracy of both compared finetuners at the readings.
pub(super) fn compared(preset: &NoncesPreset, statistics: &Statistics<'_>) -> Table {
    let mut rows = Vec::new();
    let readings = [Reading::TopRecall, Reading::AnswerLoss, Reading::Epoch(4), Reading::Epoch(16), Reading::End];
    for cell in preset.pretrainers.iter().flat_map(|pretrainer| preset.cells(pretrainer.name)) {
        for reading in readings {
            let here = statistics.pairs.iter().filter(|pair| pair.cell == cell);
            let values: Vec<(f64, f64)> =
                here.clone().filter_map(|pair| reading.of(pair.adamw, pair.muon, |point| point.test)).collect();
            let Some(difference) = MeanInterval::arithmetic(&values.iter().map(|(a, m)| a - m).collect::<Vec<_>>())
            else {
                continue;
            };
            let of = |read: fn(&(f64, f64)) -> f64| describe(&values.iter().map(read).collect::<Vec<_>>(), 3);
            let level = match reading {
                Reading::TopRecall => {
                    let level = |pair: &Pair<'_>| highest_recall(pair.adamw).min(highest_recall(pair.muon));
                    describe(&here.map(level).collect::<Vec<_>>(), 2)
                }
                _ => String::new(),
            };
            rows.push(TableRow {
                cells: vec![
                    display(cell.pretraining.as_str()),
                    cell.examples.to_string(),
                    cell.nonces.to_string(),
                    reading.name(),
                    level,
                    of(|pair| pair.0),
                    of(|pair| pair.1),
                    difference.describe_signed(3),
                    values.len().to_string(),
                ],
                strong: reading == Reading::TopRecall,
            });
        }
    }
    Table {
        title: "Held-out accuracy of AdamW and Muon as finetuners".into(),
        caption: "Means over seeds with 95 % t intervals; that of the difference is paired.".into(),
        header: header(&[
            "Pretraining",
            "Examples",
            "Nonces",
            "Read",
            "Recall",
            "AdamW",
            "Muon",
            "AdamW less Muon",
            "Seeds",
        ]),
        rows,
        data: Some(DIFFERENCES.into()),
    }
}

/// The chosen rates, and whether the grid would have to be wider.
pub(super) fn chosen(done: &Done) -> Table {
    let rows = one_a_choice(done).map(|run| {
        let score = &run.scores[run.chosen];
        TableRow {
            cells: vec![
                display(run.cell.pretraining.as_str()),
                display(run.finetuner.as_str()),
                run.cell.examples.to_string(),
                run.cell.nonces.to_string(),
                score.rate.to_string(),
                format!("{:.3}", score.validation),
                if run.cell.nonces > 0 { format!("{:.2}", score.recall) } else { String::new() },
                edge(run.scores.len(), run.chosen).unwrap_or_default().into(),
            ],
            strong: false,
        }
    });
    Table {
        title: "Chosen learning rates".into(),
        caption: "Of the hidden matrices: the highest accuracy on validation instances at the end, on tuning seeds that report nothing, whatever was recalled. \
                  A rate at an edge of its grid may not be the best."
            .into(),
        header: header(&["Pretraining", "Finetuning", "Examples", "Nonces", "Rate", "Validation", "Recall", "Remark"]),
        rows: rows.collect(),
        data: Some(RATES.into()),
    }
}

/// Where what was memorised lies.
pub(super) fn placed(preset: &NoncesPreset, done: &Done) -> Table {
    let mut rows = Vec::new();
    for pretrainer in &preset.pretrainers {
        for finetuner in COMPARED {
            let runs = done.placed.iter().filter(|run| run.cell.pretraining == pretrainer.name);
            let found: Vec<_> =
                runs.filter(|run| run.finetuner == finetuner).filter_map(|run| run.result.found.as_ref()).collect();
            let of = |read: fn(&super::placement::Found) -> f64| {
                describe(&found.iter().map(|found| read(found)).collect::<Vec<_>>(), 3)
            };
            rows.push(TableRow {
                cells: vec![
                    display(pretrainer.name.as_str()),
                    display(finetuner.as_str()),
                    of(|found| found.pattern_rank),
                    of(|found| found.memory_rank),
                    of(|found| found.ratio),
                    of(|found| found.overlap),
                    of(|found| found.chance),
                ],
                strong: false,
            });
        }
    }
    Table {
        title: "Where the nonces are put".into(),
        caption: "The same run with nonces and without: pattern is the update without, memory what nonces change about it. Effective ranks are shares of the full \
                  one, the size is a ratio of Frobenius norms, the overlap is that of the first singular directions (1: the same), beside that of random ones; means \
                  over hidden matrices, and over seeds with 95 % t intervals."
            .into(),
        header: header(&[
            "Pretraining",
            "Finetuning",
            "Rank of the pattern",
            "Rank of the memory",
            "Size of the memory",
            "Overlap",
            "By chance",
        ]),
        rows,
        data: Some(PLACEMENT.into()),
    }
}

/// Mean accuracy of a cell's runs where they first recall this share of the nonces, over the seeds that do.
pub(super) fn at_level(runs: &[&Finetuned], level: f64) -> Vec<f64> {
    runs.iter().filter(|run| run.ended).filter_map(|run| at_recall(run, level, |point| point.test)).collect()
}
