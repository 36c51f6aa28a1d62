//! The section of `consistency-matrix` in the report.

use lab::error::Failure;
use lab::figures::theme::{BLUE, VERMILLION};
use lab::figures::{CellMap, CellPanel};
use lab::report::{ReportFolder, Section, Table, TableRow};
use lab::statistics::{MeanInterval, describe_with_count};

use super::preset::MatrixPreset;
use super::statistics::MatrixStatistics;
use crate::names::display;
use crate::stages::{EndPoint, PretrainResult, Results};
use crate::tradeoff::Finished;
use crate::tradeoff::statistics::rows::{EffectRow, effects};
use crate::tradeoff::statistics::{PRIMARY, VERDICT_LEVEL};

/// A row for each finetuning, in the report's folder.
const RESULTS: &str = "consistency-matrix.csv";
/// The entries and indices of every seed, in the report's folder.
const EFFECTS: &str = "consistency-matrix-effects.csv";

/// Writes tables and figures to `report`; returns the section.
pub(super) fn section(preset: &MatrixPreset, runs: Finished, report: &ReportFolder) -> Result<Section, Failure> {
    let results = Results::from_rows(runs.finetuned.into_iter().map(|(end, _)| end).collect())?;
    let statistics = MatrixStatistics::compute(preset, &results)?;
    report.table_with(RESULTS, &EndPoint::COLUMNS, results.rows())?;
    report.table_with(EFFECTS, &EffectRow::COLUMNS, effects(&[("verdicts", &statistics.pairs)]))?;
    let mut figures = Vec::new();
    for task in results.tasks() {
        let caption = format!(
            "Forgetting on {} at {:.0} % of the common learning of two methods: ln of the method's over the matched one's, \
             mean over {} seeds with its 95 % t interval. Above zero, the checkpoint is better off with its own optimizer.",
            display(&task),
            100.0 * VERDICT_LEVEL,
            preset.seeds
        );
        figures.push(report.figure(&entries(&statistics, preset, &task), caption, EFFECTS)?);
        let caption = format!(
            "The consistency index of every pair on {}: the mean of the two entries of a pair, from which what makes one \
             optimizer gentler than the other everywhere falls out.",
            display(&task)
        );
        figures.push(report.figure(&indices(&statistics, preset, &task), caption, EFFECTS)?);
    }
    Ok(Section {
        introduction: introduction(preset),
        figures,
        tables: vec![checkpoints(preset, &runs.pretrained), gentlest(&statistics, preset)],
        scorecard: statistics.scorecard,
        controls: statistics.controls,
        provenance: runs.provenance,
        ..Section::default()
    })
}

fn introduction(preset: &MatrixPreset) -> Vec<String> {
    let named = |of: &super::preset::OptimizerPreset| format!("{} ({})", display(of.optimizer.as_str()), of.geometry);
    let optimizers: Vec<String> = preset.optimizers.iter().map(named).collect();
    vec![
        format!(
            "Preset {}: each of {} pretrains a checkpoint and finetunes every checkpoint; {} seeds. Forgetting and learning are \
             those of the learning-forgetting tradeoff, and so are the readings.",
            preset.name,
            optimizers.join(", "),
            preset.seeds
        ),
        "The abstract of arXiv 2605.06654 speaks of the same optimizer in both stages; the matrix over more optimizers and the \
         comparison of geometries are this project's."
            .into(),
    ]
}

/// ln of a method's forgetting over the matched one's, by checkpoint and method.
fn entries(statistics: &MatrixStatistics, preset: &MatrixPreset, task: &str) -> CellMap {
    let entry = |checkpoint: &str, method: &str| match checkpoint == method {
        // A method against itself.
        true => Some(MeanInterval { mean: 0.0, bounds: None, n: 0 }),
        false => statistics.entry(task, checkpoint, method)?.interval,
    };
    let signs = [("the matched optimizer forgets less".into(), BLUE), ("it forgets more".into(), VERMILLION)];
    map(preset, format!("consistency-matrix-{task}"), "Forgetting against the matched optimizer", task, entry, signs)
}

/// The index by pair.
fn indices(statistics: &MatrixStatistics, preset: &MatrixPreset, task: &str) -> CellMap {
    let index = |a: &str, b: &str| match a == b {
        true => Some(MeanInterval { mean: 0.0, bounds: None, n: 0 }),
        false => statistics.index(task, [a, b], PRIMARY)?.interval,
    };
    let signs = [("consistent".into(), BLUE), ("the opposite".into(), VERMILLION)];
    map(preset, format!("consistency-index-{task}"), "Consistency index of every pair", task, index, signs)
}

fn map(
    preset: &MatrixPreset,
    name: String,
    title: &str,
    task: &str,
    effect: impl Fn(&str, &str) -> Option<MeanInterval>,
    signs: [(String, plotters::style::RGBColor); 2],
) -> CellMap {
    let names = preset.names();
    // Rows are drawn from below, and read from above.
    let rows: Vec<&String> = names.iter().rev().collect();
    let effects = rows.iter().flat_map(|row| names.iter().map(|column| effect(row, column))).collect();
    CellMap {
        name,
        title: format!("{title}: {}", display(task)),
        x: "finetuned with".into(),
        y: "pretrained with".into(),
        columns: names.iter().map(|name| display(name)).collect(),
        rows: rows.iter().map(|name| display(name)).collect(),
        panels: vec![CellPanel { title: PRIMARY.label(), effects }],
        signs,
    }
}

/// How well every optimizer pretrains here.
fn checkpoints(preset: &MatrixPreset, pretrained: &[(String, u64, PretrainResult)]) -> Table {
    let row = |of: &super::preset::OptimizerPreset| {
        let name = of.optimizer.as_str();
        let losses = pretrained.iter().filter(|(checkpoint, ..)| checkpoint == name);
        let losses: Vec<f64> = losses.filter_map(|(.., result)| result.loss).collect();
        let cells = vec![
            display(name),
            of.geometry.clone(),
            format!("{:e}", of.hidden_rate),
            format!("{:e}", of.embedding_rate),
            describe_with_count(&losses, 3),
        ];
        TableRow { cells, strong: false }
    };
    Table {
        title: "The checkpoints".into(),
        caption: "Held-out loss of pretraining, nats per token. Checkpoints differ in it, so that an entry of the matrix may be \
                  about loss and not about the optimizer; `tradeoff` has controls for this pair by pair."
            .into(),
        header: ["Optimizer", "Geometry", "Hidden rate", "Embedding rate", "Loss"].map(String::from).to_vec(),
        rows: preset.optimizers.iter().map(row).collect(),
        data: None,
    }
}

/// Who forgets least from whose checkpoint.
fn gentlest(statistics: &MatrixStatistics, preset: &MatrixPreset) -> Table {
    let mut rows = Vec::new();
    for task in statistics.pairs.tasks() {
        for checkpoint in preset.names() {
            let others = preset.names().into_iter().filter(|method| *method != checkpoint);
            let mut methods: Vec<(String, f64)> = others
                .filter_map(|method| {
                    let mean = statistics.entry(&task, &checkpoint, &method)?.interval?.mean;
                    Some((method, mean))
                })
                .collect();
            methods.push((checkpoint.clone(), 0.0));
            methods.sort_by(|a, b| a.1.total_cmp(&b.1));
            let place = 1 + methods.iter().position(|(method, _)| *method == checkpoint).unwrap_or_default();
            let order: Vec<String> =
                methods.iter().map(|(method, mean)| format!("{} {mean:+.2}", display(method))).collect();
            rows.push(TableRow {
                cells: vec![
                    task.clone(),
                    display(&checkpoint),
                    format!("{place} of {}", methods.len()),
                    order.join(", "),
                ],
                strong: place == 1,
            });
        }
    }
    Table {
        title: "Who forgets least from whose checkpoint".into(),
        caption: "Methods by their mean entry, the gentlest first. Every entry is read at the common learning of that method and \
                  the matched one."
            .into(),
        header: ["Task", "Checkpoint", "Place of its own optimizer", "Order"].map(String::from).to_vec(),
        rows,
        data: Some(EFFECTS.into()),
    }
}
