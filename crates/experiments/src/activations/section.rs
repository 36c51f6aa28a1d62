//! The section of `activations` in the report: scorecard, figures, tables, and the files with the numbers.

use lab::error::Failure;
use lab::report::{ReportFolder, Section, Table, TableRow};
use lab::statistics::MeanInterval;
use serde::Serialize;

use super::drawing;
use super::plan::Finished;
use super::preset::ActivationsPreset;
use super::statistics::{ALIGNMENT, OTHERS, Probed, controls, inputs, scorecard};
use crate::names::display;

/// One row a network, stream and statistic.
const VECTORS: &str = "activations-vectors.csv";
/// One row a network, matrix and statistic.
const WEIGHTS: &str = "activations-weights.csv";

/// Reads a number off a network, if it has one.
type Read<'a> = &'a dyn Fn(&Probed) -> Option<f64>;
type OwnedRead = Box<dyn Fn(&Probed) -> Option<f64>>;

/// A number of a network.
#[derive(Serialize)]
struct NumberRow<'a> {
    checkpoint: &'a str,
    seed: u64,
    layer: u64,
    measured: &'a str,
    kind: &'a str,
    statistic: &'a str,
    value: f64,
}

/// Every number of a row, by name.
fn numbers(row: &impl Serialize) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
    match serde_json::to_value(row)? {
        serde_json::Value::Object(fields) => Ok(fields),
        other => Err(format!("found {other}, expected a row").into()),
    }
}

/// The rows of all networks, a number a row; `measured` is a weight's where the row itself does not say.
fn write<R: Serialize>(
    report: &ReportFolder,
    name: &str,
    probed: &[Probed],
    rows: impl Fn(&Probed) -> &[R],
) -> Result<(), Failure> {
    let mut all = Vec::new();
    for one in probed {
        for row in rows(one) {
            all.push((one, numbers(row)?));
        }
    }
    let text = |fields: &'_ serde_json::Map<String, serde_json::Value>, field: &str| {
        fields.get(field).and_then(serde_json::Value::as_str).unwrap_or("weight").to_owned()
    };
    let labelled: Vec<_> = all
        .iter()
        .map(|(one, fields)| {
            let layer = fields.get("layer").and_then(serde_json::Value::as_u64).unwrap_or(0);
            (*one, fields, layer, text(fields, "measured"), text(fields, "kind"))
        })
        .collect();
    let of_row = labelled.iter().flat_map(|(one, fields, layer, measured, kind)| {
        fields.iter().filter(|(statistic, _)| *statistic != "layer").filter_map(move |(statistic, value)| {
            let (checkpoint, seed, value) = (one.name.as_str(), one.seed, value.as_f64()?);
            Some(NumberRow { checkpoint, seed, layer: *layer, measured, kind, statistic, value })
        })
    });
    let columns = ["checkpoint", "seed", "layer", "measured", "kind", "statistic", "value"];
    Ok(report.table_with(name, &columns, of_row)?)
}

/// Writes tables and figures to `report`; returns the section.
pub(super) fn section(preset: &ActivationsPreset, done: &Finished, report: &ReportFolder) -> Result<Section, Failure> {
    let probed = &done.probed;
    write(report, VECTORS, probed, |one| one.inside.vectors.as_slice())?;
    write(report, WEIGHTS, probed, |one| one.inside.weights.as_slice())?;
    let mut section = Section {
        introduction: introduction(preset),
        scorecard: scorecard(preset, probed),
        controls: controls(preset, probed),
        tables: vec![summary(probed), by_kind(preset, probed), weights(probed)],
        provenance: done.provenance.clone(),
        ..Section::default()
    };
    let caption = format!(
        "Layer mean of ln a of every network: below zero the axes carry the anisotropy of the activations; means over up to {} \
         seeds with 95 % t intervals.",
        preset.seeds
    );
    section.figures.push(report.figure(&drawing::alignments(probed, &networks(probed)), caption, VECTORS)?);
    let caption = "Alignment a of what linear maps read, by layer: means over seeds.";
    section.figures.push(report.figure(&drawing::by_layer(probed, &networks(probed)), caption, VECTORS)?);
    Ok(section)
}

/// Names of the networks, in the order in which they were planned.
fn networks(probed: &[Probed]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for one in probed {
        if !names.contains(&one.name) {
            names.push(one.name.clone());
        }
    }
    names
}

fn introduction(preset: &ActivationsPreset) -> Vec<String> {
    let names: Vec<String> = preset.checkpoints.iter().map(|checkpoint| display(&checkpoint.name)).collect();
    vec![
        format!(
            "Preset {}: checkpoints {}, a network that is not trained, and up to {} seeds; each is run on {} held-out \
             tokens. a is the sum of the roots of the diagonal of S = E[x x^T] over its mean under random rotations of the axes: \
             below 1 the axes carry the anisotropy.",
            preset.name,
            names.join(", "),
            preset.seeds,
            preset.evaluation.probe_tokens
        ),
        "The verdict is read at the layer mean of ln a over what the linear maps inside the blocks read, AdamW less a Muon at its \
         loss. The claim is the abstract's of arXiv 2605.06654; the reading is this project's (docs/protocol.md, docs/probes.md)."
            .into(),
    ]
}

/// The mean with its interval; nothing where a network has no such number.
fn written(numbers: &[f64]) -> String {
    MeanInterval::arithmetic(numbers).map_or_else(String::new, |mean| mean.describe(3))
}

/// A table with a row for each network: a column for each of the given numbers of it.
fn by_network(title: &str, caption: &str, probed: &[Probed], columns: &[(&str, Read<'_>)], data: &str) -> Table {
    let row = |name: &String| {
        let of: Vec<&Probed> = probed.iter().filter(|one| one.name == *name).collect();
        let cell =
            |read: &dyn Fn(&Probed) -> Option<f64>| written(&of.iter().filter_map(|one| read(one)).collect::<Vec<_>>());
        let cells = columns.iter().map(|(_, read)| cell(*read));
        TableRow {
            cells: [display(name)].into_iter().chain(cells).chain([of.len().to_string()]).collect(),
            strong: false,
        }
    };
    let titles = columns.iter().map(|(title, _)| (*title).to_owned());
    Table {
        title: title.into(),
        caption: caption.into(),
        header: ["Network".to_owned()].into_iter().chain(titles).chain(["Seeds".to_owned()]).collect(),
        rows: networks(probed).iter().map(row).collect(),
        data: Some(data.into()),
    }
}

fn summary(probed: &[Probed]) -> Table {
    let readings: Vec<_> = std::iter::once(&ALIGNMENT).chain(&OTHERS).collect();
    let readers: Vec<OwnedRead> =
        readings.iter().map(|reading| Box::new(|one: &Probed| Some(reading.of(&one.inside))) as OwnedRead).collect();
    let loss = |one: &Probed| one.loss;
    let mut columns: Vec<(&str, Read<'_>)> = vec![("Loss", &loss)];
    columns.extend(readings.iter().zip(&readers).map(|(reading, read)| (reading.title, &**read)));
    let caption = "Means over what the linear maps inside the blocks read, then over seeds with 95 % t intervals; the loss in nats per \
                   token on held-out text.";
    by_network("Activations by checkpoint", caption, probed, &columns, VECTORS)
}

fn by_kind(preset: &ActivationsPreset, probed: &[Probed]) -> Table {
    let kinds: Vec<String> = {
        let mut kinds: Vec<String> = Vec::new();
        for row in probed.iter().flat_map(|one| inputs(&one.inside)) {
            let kind = format!("{}, layer {}", row.kind, row.layer);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    };
    let row = |kind: &String| {
        let cell = |name: &String| {
            let of = probed.iter().filter(|one| one.name == *name).flat_map(|one| inputs(&one.inside));
            let of = of.filter(|row| format!("{}, layer {}", row.kind, row.layer) == *kind);
            written(&of.map(|row| row.alignment).collect::<Vec<_>>())
        };
        TableRow { cells: [kind.clone()].into_iter().chain(preset.pair.iter().map(cell)).collect(), strong: false }
    };
    Table {
        title: "Alignment by layer and kind".into(),
        caption: "The compared pair: means of a over seeds with 95 % t intervals.".into(),
        header: ["Input".to_owned()].into_iter().chain(preset.pair.iter().map(|name| display(name))).collect(),
        rows: kinds.iter().map(row).collect(),
        data: Some(VECTORS.into()),
    }
}

fn weights(probed: &[Probed]) -> Table {
    let mean = |one: &Probed, read: fn(&crate::stages::WeightRow) -> Option<f64>| {
        let numbers: Vec<f64> = one.inside.weights.iter().filter_map(read).collect();
        (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64)
    };
    let columns: [(&str, Read<'_>); 6] = [
        ("RMS", &|one| mean(one, |row| Some(row.rms))),
        ("Largest entry", &|one| mean(one, |row| Some(row.largest_entry))),
        ("Spectral norm", &|one| mean(one, |row| Some(row.spectral_norm))),
        ("Stable rank", &|one| mean(one, |row| Some(row.stable_rank))),
        ("Effective rank", &|one| mean(one, |row| Some(row.effective_rank))),
        ("Distance", &|one| mean(one, |row| row.distance)),
    ];
    let caption = "Means over the matrices inside the blocks, then over seeds with 95 % t intervals. Effective rank: exp of the entropy of \
                   the singular values; distance: from the initial weights, over their norm.";
    by_network("Weights by checkpoint", caption, probed, &columns, WEIGHTS)
}
