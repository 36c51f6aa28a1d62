//! The figures of `nonces`.

use lab::figures::{LinePanel, LinePanels, Point as Mark, Series};
use lab::statistics::MeanInterval;
use models::optim::RuleName;

use super::finetune::Finetuned;
use super::learner::Point;
use super::placement::Cut;
use super::plan::Done;
use super::preset::{COMPARED, Cell, NoncesPreset};
use super::reading::Reading;
use super::statistics::Statistics;
use super::tables::at_level;
use crate::names::{display, style};

/// Mean and interval of some numbers as a point of a series; `None` without numbers.
fn mark(x: f64, numbers: &[f64]) -> Option<Mark> {
    MeanInterval::arithmetic(numbers).map(|interval| (x, interval.mean, interval.bounds))
}

fn series(name: RuleName, points: Vec<Mark>) -> Series {
    Series { label: display(name.as_str()), style: style(name.as_str()), points }
}

fn runs(done: &Done, cell: Cell, finetuner: RuleName) -> Vec<&Finetuned> {
    let here = done.finetuned.iter().filter(|run| run.cell == cell && run.finetuner == finetuner);
    here.map(|run| &run.result).filter(|run| run.ended).collect()
}

/// The cell whose runs are shown along their way, of a pretraining.
fn shown(preset: &NoncesPreset, pretraining: RuleName) -> Cell {
    Cell { pretraining, examples: preset.placement.examples, nonces: preset.placement.nonces }
}

fn from(pretraining: RuleName) -> String {
    format!("from {}", display(pretraining.as_str()))
}

/// What is learned along the runs of a cell: means over the seeds.
pub(super) fn curves(preset: &NoncesPreset, done: &Done) -> LinePanels {
    type Quantity = (&'static str, &'static str, fn(&Point) -> f64);
    let quantities: [Quantity; 3] = [
        ("nonces", "recall", |p| p.recall.unwrap_or(0.0)),
        ("held-out instances", "accuracy", |p| p.test),
        ("facts of the pretraining", "accuracy", |p| p.facts),
    ];
    let panel = |pretraining: RuleName, (title, y, read): Quantity| {
        let of = |finetuner: RuleName| {
            let runs = runs(done, shown(preset, pretraining), finetuner);
            let at = |epoch: &u64| {
                let here = runs.iter().filter_map(|run| run.curve.iter().find(|point| point.epoch == *epoch));
                mark(*epoch as f64, &here.map(read).collect::<Vec<_>>()).map(|(x, y, _)| (x, y, None))
            };
            series(finetuner, [0].iter().chain(&preset.finetune.measured).filter_map(at).collect())
        };
        let series = preset.finetuners.iter().map(|finetuner| of(finetuner.name)).collect();
        LinePanel { title: format!("{title}, {}", from(pretraining)), y: y.into(), series, reference: None }
    };
    let panels = COMPARED.iter().flat_map(|&name| quantities.map(|quantity| panel(name, quantity))).collect();
    LinePanels {
        name: "nonces-curves".into(),
        title: format!(
            "What is learned when: {} examples with {} nonces",
            preset.placement.examples, preset.placement.nonces
        ),
        x: "epochs".into(),
        panels,
        columns: 3,
        logarithmic: false,
    }
}

/// Held-out accuracy against the share of the nonces that is recalled, a panel for each number of examples, with the
/// most nonces; each finetuner from AdamW's and (dashed) from Muon's checkpoint.
pub(super) fn at_recall(preset: &NoncesPreset, done: &Done) -> LinePanels {
    let most = preset.nonces.last().copied().unwrap_or(0);
    let panel = |&examples: &usize| {
        let line = |pretraining: RuleName, finetuner: RuleName| {
            let runs = runs(done, Cell { pretraining, examples, nonces: most }, finetuner);
            let at = |tenth: usize| {
                let level = tenth as f64 / 20.0;
                let values = at_level(&runs, level);
                // A mean over a few of the seeds would be one of others.
                (2 * values.len() > runs.len()).then(|| mark(level, &values)).flatten().map(|(x, y, _)| (x, y, None))
            };
            let mut series = series(finetuner, (3..20).filter_map(at).collect());
            series.label = format!("{} {}", series.label, from(pretraining));
            series.style.dashed = pretraining == COMPARED[1];
            series
        };
        let series = COMPARED.iter().flat_map(|&finetuner| COMPARED.map(|start| line(start, finetuner))).collect();
        LinePanel { title: format!("{examples} examples"), y: "held-out accuracy".into(), series, reference: None }
    };
    LinePanels {
        name: "nonces-recall".into(),
        title: format!("What is generalised for what is memorised: {most} nonces"),
        x: "share of the nonces recalled".into(),
        panels: preset.examples.iter().map(panel).collect(),
        columns: 2,
        logarithmic: false,
    }
}

/// AdamW's advantage against the number of nonces, a panel for each number of examples.
pub(super) fn advantage(preset: &NoncesPreset, statistics: &Statistics<'_>) -> LinePanels {
    let panel = |&examples: &usize| {
        let line = |&pretraining: &RuleName| {
            let at = |&nonces: &usize| {
                let cell = Cell { pretraining, examples, nonces };
                let pairs = statistics.pairs.iter().filter(|pair| pair.cell == cell);
                let values: Vec<f64> = pairs
                    .filter_map(|pair| Reading::AnswerLoss.of(pair.adamw, pair.muon, |point| point.test))
                    .map(|(adamw, muon)| adamw - muon)
                    .collect();
                mark(nonces as f64, &values)
            };
            let points = preset.nonces.iter().filter_map(at).collect();
            Series { label: from(pretraining), ..series(pretraining, points) }
        };
        let series = COMPARED.iter().map(line).collect();
        LinePanel { title: format!("{examples} examples"), y: "AdamW less Muon".into(), series, reference: Some(0.0) }
    };
    LinePanels {
        name: "nonces-slope".into(),
        title: "Held-out accuracy at equal loss on the answers".into(),
        x: "nonces".into(),
        panels: preset.examples.iter().map(panel).collect(),
        columns: 2,
        logarithmic: false,
    }
}

/// What is left with updates cut to a rank.
pub(super) fn cuts(preset: &NoncesPreset, done: &Done) -> LinePanels {
    type Quantity = (&'static str, &'static str, fn(&Cut) -> f64);
    let quantities: [Quantity; 2] =
        [("nonces", "recall", |c| c.recall), ("held-out instances", "accuracy", |c| c.test)];
    let panel = |pretraining: RuleName, (title, y, read): Quantity| {
        let line = |&finetuner: &RuleName| {
            let runs =
                done.placed.iter().filter(|run| run.cell.pretraining == pretraining && run.finetuner == finetuner);
            let found: Vec<_> = runs.filter_map(|run| run.result.found.as_ref()).collect();
            let at = |&rank: &usize| {
                let here = found.iter().filter_map(|found| found.cuts.iter().find(|cut| cut.rank == rank));
                mark(rank as f64, &here.map(read).collect::<Vec<_>>())
            };
            series(finetuner, preset.placement.ranks.iter().filter_map(at).collect())
        };
        let series = COMPARED.iter().map(line).collect();
        LinePanel { title: format!("{title}, {}", from(pretraining)), y: y.into(), series, reference: None }
    };
    let panels = COMPARED.iter().flat_map(|&name| quantities.map(|quantity| panel(name, quantity))).collect();
    LinePanels {
        name: "nonces-placement".into(),
        title: "What is left of a finetuning whose updates are cut to a rank".into(),
        x: "rank".into(),
        panels,
        columns: 2,
        logarithmic: false,
    }
}
