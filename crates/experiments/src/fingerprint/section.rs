//! The section of `fingerprint` in the report.

use lab::error::Failure;
use lab::figures::{IntervalMark, IntervalRow, IntervalRows};
use lab::report::{ReportFolder, Section, Table, TableRow};
use lab::statistics::{MeanInterval, describe, describe_with_count};
use serde::Serialize;

use super::features::Source;
use super::plan::Finished;
use super::preset::FingerprintPreset;
use super::statistics::{HeldOut, Known, Statistics};
use crate::names::{display, style};

/// A row for each checkpoint and feature, in the report's folder.
const FEATURES: &str = "fingerprint.csv";
/// The balanced accuracies of every seed, in the report's folder.
const ACCURACY: &str = "fingerprint-accuracy.csv";

/// A row of [`FEATURES`].
#[derive(Debug, Serialize)]
struct FeatureRow<'a> {
    optimizer: &'a str,
    seed: u64,
    rate: f64,
    decay: f64,
    width: usize,
    source: Source,
    feature: &'a str,
    value: f64,
}

/// A row of [`ACCURACY`].
#[derive(Debug, Serialize)]
struct AccuracyRow {
    held_out: HeldOut,
    known: Known,
    seed: u64,
    balanced_accuracy: f64,
}

/// Writes tables and figures to `report`; returns the section.
pub(super) fn section(
    preset: &FingerprintPreset,
    finished: Finished,
    report: &ReportFolder,
) -> Result<Section, Failure> {
    let checkpoints = &finished.checkpoints;
    let statistics = Statistics::compute(checkpoints, preset.ridge)?;
    let rows = checkpoints.iter().flat_map(|of| {
        of.features.iter().map(move |((source, feature), &value)| FeatureRow {
            optimizer: &of.optimizer,
            seed: of.seed,
            rate: of.setting.rate,
            decay: of.setting.decay,
            width: of.setting.width,
            source: *source,
            feature,
            value,
        })
    });
    let columns = ["optimizer", "seed", "rate", "decay", "width", "source", "feature", "value"];
    report.table_with(FEATURES, &columns, rows)?;
    let rows = statistics.reads.iter().flat_map(|read| {
        let (held_out, known) = (read.held_out, read.known);
        read.accuracy.iter().map(move |&(seed, balanced_accuracy)| AccuracyRow {
            held_out,
            known,
            seed,
            balanced_accuracy,
        })
    });
    report.table_with(ACCURACY, &["held_out", "known", "seed", "balanced_accuracy"], rows)?;
    let seeds = preset.seeds;
    let caption = format!(
        "Balanced accuracy by what was held out and what the classifier knows: means with 95 % t intervals over {seeds} seeds. The line is chance."
    );
    Ok(Section {
        introduction: introduction(preset, &finished),
        figures: vec![report.figure(&figure(&statistics), caption, ACCURACY)?],
        tables: vec![
            accuracy(&statistics),
            confusion(&statistics),
            telltales(&statistics),
            losses(&finished, &statistics),
        ],
        scorecard: statistics.scorecard,
        controls: statistics.controls,
        provenance: finished.provenance,
        ..Section::default()
    })
}

fn introduction(preset: &FingerprintPreset, finished: &Finished) -> Vec<String> {
    let names: Vec<String> = preset.rates.keys().map(|name| display(name.as_str())).collect();
    let rates = preset.rates.values().next().map_or(0, Vec::len);
    let mut paragraphs = vec![
        format!(
            "Preset {}: {} checkpoints of {}, each at {rates} learning rates, {} weight decays and {} widths, {} seeds. Statistics of weights, activations and output \
             gradients, means over blocks, go into ridge regression of each optimizer against the others.",
            preset.name,
            finished.checkpoints.len(),
            names.join(", "),
            preset.decays.len(),
            preset.widths().len(),
            preset.seeds
        ),
        "Learning rates are held out by their rank: all lowest ones at once, then the next. Optimizers differ in how far they get in the same steps; what the loss \
         alone gives away stands beside."
            .into(),
    ];
    if finished.diverged > 0 {
        paragraphs.push(format!("{} pretrainings diverged and are left out.", finished.diverged));
    }
    paragraphs
}

fn figure(statistics: &Statistics) -> IntervalRows {
    let row = |held_out: HeldOut| {
        let mark = |known: Known| {
            let read = statistics.reads.iter().find(|read| read.held_out == held_out && read.known == known)?;
            let found = MeanInterval::arithmetic(&read.values())?;
            let look = ["muon", "adamw", "lion", "sgd"][Known::ALL.iter().position(|of| *of == known)?];
            Some(IntervalMark {
                label: known.name().into(),
                style: style(look),
                mean: found.mean,
                interval: found.bounds.unwrap_or((f64::NEG_INFINITY, f64::INFINITY)),
            })
        };
        IntervalRow {
            label: format!("{} held out", held_out.name()),
            marks: Known::ALL.into_iter().filter_map(mark).collect(),
        }
    };
    IntervalRows {
        name: "fingerprint".into(),
        title: "How often the optimizer is recognised".into(),
        x: "balanced accuracy".into(),
        rows: HeldOut::ALL.into_iter().map(row).filter(|row| !row.marks.is_empty()).collect(),
        reference: 1.0 / statistics.optimizers.len().max(1) as f64,
    }
}

fn accuracy(statistics: &Statistics) -> Table {
    let row = |held_out: HeldOut| {
        let of = |known: Known| {
            let read = statistics.reads.iter().find(|read| read.held_out == held_out && read.known == known);
            read.map_or_else(|| "none".to_owned(), |read| describe_with_count(&read.values(), 3))
        };
        let cells = std::iter::once(held_out.name().to_owned()).chain(Known::ALL.map(of));
        TableRow { cells: cells.collect(), strong: held_out == HeldOut::Rate }
    };
    Table {
        title: "Balanced accuracy".into(),
        caption: "Mean over optimizers of the share of checkpoints that are recognised; means over seeds with 95 % t intervals.".into(),
        header: std::iter::once("Held out".to_owned()).chain(Known::ALL.map(|known| known.name().to_owned())).collect(),
        rows: HeldOut::ALL.map(row).to_vec(),
        data: Some(ACCURACY.into()),
    }
}

fn confusion(statistics: &Statistics) -> Table {
    let read = statistics.reads.iter().find(|read| read.held_out == HeldOut::Rate && read.known == Known::Both);
    let counts = read.map(|read| read.confusion.clone()).unwrap_or_default();
    let row = |(optimizer, counts): (&String, Vec<usize>)| TableRow {
        cells: std::iter::once(display(optimizer)).chain(counts.iter().map(usize::to_string)).collect(),
        strong: false,
    };
    let header = statistics.optimizers.iter().map(|optimizer| display(optimizer));
    Table {
        title: "What was taken for what".into(),
        caption: "Checkpoints by their optimizer (rows) and the one read off weights and activations (columns), learning rates held out.".into(),
        header: std::iter::once("Trained with".to_owned()).chain(header).collect(),
        rows: statistics.optimizers.iter().zip(counts).map(row).collect(),
        data: Some(ACCURACY.into()),
    }
}

fn telltales(statistics: &Statistics) -> Table {
    let rows: Vec<TableRow> = statistics
        .optimizers
        .iter()
        .map(|optimizer| TableRow { cells: statistics.of(optimizer), strong: false })
        .collect();
    let most = rows.iter().map(|row| row.cells.len()).max().unwrap_or(1);
    let header = (1..most).map(|place| format!("Feature {place}"));
    Table {
        title: "What gives each away".into(),
        caption: "The features with the largest weights in the classifier that was fitted to all checkpoints; in brackets the mean over the optimizer's checkpoints in \
                  standard deviations from that of all. Features that go together share their weight."
            .into(),
        header: std::iter::once("Optimizer".to_owned()).chain(header).collect(),
        rows,
        data: Some(FEATURES.into()),
    }
}

fn losses(finished: &Finished, statistics: &Statistics) -> Table {
    let mut places: Vec<usize> = finished.checkpoints.iter().map(|of| of.setting.place).collect();
    places.sort_unstable();
    places.dedup();
    let row = |optimizer: &String| {
        let at = |place: &usize| {
            let own = finished.checkpoints.iter().filter(|of| of.optimizer == *optimizer && of.setting.place == *place);
            describe(&own.map(|of| of.loss).collect::<Vec<_>>(), 2)
        };
        TableRow { cells: std::iter::once(display(optimizer)).chain(places.iter().map(at)).collect(), strong: false }
    };
    let header = places.iter().map(|place| format!("Rate {}", place + 1));
    Table {
        title: "How far they get".into(),
        caption: "Loss on held-out pretraining text, nats per token, by rank of the learning rate: means over seeds, decays and widths with 95 % t intervals.".into(),
        header: std::iter::once("Optimizer".to_owned()).chain(header).collect(),
        rows: statistics.optimizers.iter().map(row).collect(),
        data: Some(FEATURES.into()),
    }
}
