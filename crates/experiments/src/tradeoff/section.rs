//! The section of `tradeoff` in the report: scorecard, figures, tables, provenance.

use std::collections::BTreeMap;

use lab::error::Failure;
use lab::report::{ReportFolder, Section, Table, TableRow};
use lab::statistics::{ScorecardRow, describe};

use super::advice;
use super::compared::{comparison, variants};
use super::figures::{AlongRun, Consistency, Curve, Curves, Matched, Tradeoff, readings};
use super::plan::Finished;
use super::preset::TradeoffPreset;
use super::statistics::rows::{EffectRow, MatchedRow};
use super::statistics::{PRIMARY, TradeoffStatistics, rows};
use super::tables;
use crate::names::display;
use crate::stages::{EndPoint, FinetuneResult, PretrainResult, Results};

/// A row for each finetuning run, in the report's folder.
const RESULTS: &str = "results.csv";
/// Forgetting at matched learning of every seed, in the report's folder.
const MATCHED: &str = "matched.csv";
/// The effects of every seed, in the report's folder.
const EFFECTS: &str = "effects.csv";
/// Every finished stage, pretraining curves included, in the report's folder.
const FINISHED: &str = "tradeoff-finished.csv";

/// Everything that was measured.
struct Measured<'a> {
    preset: &'a TradeoffPreset,
    results: Results,
    statistics: TradeoffStatistics,
    /// The statistics of every variant, by its name.
    variants: Vec<(String, TradeoffStatistics)>,
    runs: &'a Finished,
}

impl<'a> Measured<'a> {
    fn of(preset: &'a TradeoffPreset, runs: &'a Finished) -> Result<Self, Failure> {
        let results = Results::from_rows(runs.finetuned.iter().map(|(row, _)| row.clone()).collect())?;
        let statistics = TradeoffStatistics::compute(&results, &comparison(preset));
        let compute = |(name, comparison)| (name, TradeoffStatistics::compute(&results, &comparison));
        let variants = variants(preset).into_iter().map(compute).collect();
        Ok(Self { preset, results, statistics, variants, runs })
    }

    fn write_tables(&self, report: &ReportFolder) -> Result<(), Failure> {
        let mut all: Vec<(&str, &TradeoffStatistics)> = vec![("verdicts", &self.statistics)];
        all.extend(self.variants.iter().map(|(name, statistics)| (name.as_str(), statistics)));
        report.table_with(RESULTS, &EndPoint::COLUMNS, self.results.rows())?;
        report.table_with(MATCHED, &MatchedRow::COLUMNS, rows::matched(&all))?;
        Ok(report.table_with(EFFECTS, &EffectRow::COLUMNS, rows::effects(&all))?)
    }
}

/// Writes tables and figures to `report`; returns the section.
pub(super) fn section(preset: &TradeoffPreset, runs: &Finished, report: &ReportFolder) -> Result<Section, Failure> {
    let measured = Measured::of(preset, runs)?;
    measured.write_tables(report)?;
    let Measured { results, statistics, .. } = &measured;
    let mut section = Section {
        introduction: introduction(preset, results),
        // Seeds that draw data and orders alone say nothing about other checkpoints.
        scorecard: if preset.imports() { Vec::new() } else { statistics.scorecard.clone() },
        controls: control_rows(&measured),
        provenance: runs.provenance.clone(),
        ..Section::default()
    };
    let along = along_runs(runs);
    for task in results.tasks() {
        let caption = format!(
            "Forgetting against learning on {}: a panel for each checkpoint, a colour for each method, a marker for each run, \
             fronts thin for each seed and bold for their mean; {} seeds.",
            display(&task),
            preset.seeds
        );
        section.figures.push(report.figure(&Tradeoff::new(results, statistics, &task, &along), caption, RESULTS)?);
    }
    let caption = format!(
        "How much more the other methods forget than the matched one ({}): means over seeds with 95 % t intervals.",
        PRIMARY.label()
    );
    section.figures.push(report.figure(&Matched::new(statistics), caption, MATCHED)?);
    if preset.pair.is_some() {
        let caption =
            "Consistency index: above zero, each checkpoint is better off with the optimizer that pretrained it.";
        section.figures.push(report.figure(&Consistency::new(statistics), caption, EFFECTS)?);
    }
    for task in results.tasks().into_iter().filter(|_| preset.pair.is_some()) {
        let caption = format!(
            "The consistency index on {} and its two parts by every reading: a verdict that hangs on a choice shows here. \
             The primary reading decides, the next seven say whether it is robust, and straight lines between rates are shown for comparison.",
            display(&task)
        );
        section.figures.push(report.figure(&readings(statistics, &task), caption, EFFECTS)?);
    }
    if !preset.imports() {
        let curves = Curves::new("pretraining", "Pretraining: held-out loss", curves(runs), runs.baselines.clone());
        let caption =
            "Held-out loss during pretraining, a line for each seed, with n-gram baselines of the same tokens.";
        section.figures.push(report.figure(&curves, caption, FINISHED)?);
    }
    section.tables = tables::matched(statistics);
    section.tables.extend(measured.variants.iter().flat_map(|(name, of)| {
        let mut tables = tables::matched(of);
        tables.iter_mut().for_each(|table| table.title = format!("{} ({name})", table.title));
        tables
    }));
    if preset.pair.is_some() {
        section.tables.push(tables::consistency(statistics));
    }
    section.tables.push(tables::effects(statistics));
    section.tables.push(tables::pretraining(&by_checkpoint(&runs.pretrained, |run| run.loss), &runs.baselines));
    section.tables.push(weight_scale(runs));
    section.tables.extend(exact_match(results));
    Ok(section)
}

/// The controls, the variants, and what the checkpoints are beside the baselines and one another.
fn control_rows(measured: &Measured<'_>) -> Vec<ScorecardRow> {
    let mut rows = Vec::new();
    if measured.preset.imports() {
        rows.extend(measured.statistics.scorecard.iter().cloned());
    }
    rows.extend(measured.statistics.controls.iter().cloned());
    for (name, variant) in &measured.variants {
        rows.extend(variant.scorecard.iter().cloned().map(|row| ScorecardRow {
            statement: format!("Variant {name}: {}", row.statement),
            corrected: None,
            ..row
        }));
    }
    rows.extend(against_baselines(measured.preset, measured.runs));
    rows.extend(loss_differences(measured.preset, measured.runs));
    rows
}

fn introduction(preset: &TradeoffPreset, results: &Results) -> Vec<String> {
    let names = |list: Vec<&str>| list.join(", ");
    let mut paragraphs = vec![
        format!(
            "Preset {}: checkpoints {}; finetuned on {} with {}; {} seeds. Forgetting is the rise of the loss on held-out pretraining \
             text, learning the fall of the loss on held-out task text, both in nats per token. Every run has its own schedule \
             to zero; verdicts compare forgetting at matched learning, interpolated between the end points of runs with different learning rates.",
            preset.name,
            names(preset.checkpoints.iter().map(|c| c.name.as_str()).collect()),
            names(preset.tasks.iter().map(String::as_str).collect()),
            names(preset.methods.iter().map(|m| m.name.as_str()).collect()),
            preset.seeds
        ),
        "The claim is the abstract's of arXiv 2605.06654; levels, statistics and controls are this project's.".into(),
    ];
    if preset.imports() {
        let consistency = match &preset.pair {
            None => "No verdict on consistency follows from one checkpoint",
            Some(_) => {
                "The consistency index is that of these two checkpoints, and no verdict on others follows from it"
            }
        };
        paragraphs.push(format!(
            "The checkpoints were made elsewhere and are the same for every seed: a seed draws the task's data and \
             their order, and intervals are over these draws and orders alone. {consistency}."
        ));
        paragraphs.extend(advice::lines(results));
    }
    paragraphs
}

fn along_runs(runs: &Finished) -> Vec<AlongRun> {
    let run = |(end, result): &(EndPoint, FinetuneResult)| {
        let along = result.along.iter().map(|point| (point.task, point.pretrain));
        let last = [(end.task_loss_after, end.pretrain_loss_after)];
        let points = along
            .chain(last)
            .map(|(task, pretrain)| (end.task_loss_before - task, pretrain - end.pretrain_loss_before));
        AlongRun {
            checkpoint: end.checkpoint.clone(),
            task: end.task.clone(),
            method: end.method.clone(),
            points: points.collect(),
        }
    };
    runs.finetuned.iter().filter(|(end, _)| !end.diverged).map(run).collect()
}

fn curves(runs: &Finished) -> Vec<Curve> {
    let curve = |(name, seed, result): &(String, u64, PretrainResult)| Curve {
        checkpoint: name.clone(),
        seed: *seed,
        points: result.curve.clone(),
    };
    runs.pretrained.iter().map(curve).collect()
}

/// A number of every checkpoint that has it, by checkpoint in the preset's order.
fn by_checkpoint<T>(of: &[(String, u64, T)], number: impl Fn(&T) -> Option<f64>) -> Vec<(String, Vec<f64>)> {
    let mut found: Vec<(String, Vec<f64>)> = Vec::new();
    for (name, number) in of.iter().filter_map(|(name, _, of)| Some((name, number(of)?))) {
        match found.iter_mut().find(|(known, _)| known == name) {
            Some((_, numbers)) => numbers.push(number),
            None => found.push((name.clone(), vec![number])),
        }
    }
    found
}

/// The losses of a checkpoint by seed.
fn losses(runs: &Finished, checkpoint: &str) -> BTreeMap<u64, f64> {
    let of = runs.pretrained.iter().filter(|(name, ..)| name == checkpoint);
    of.filter_map(|(_, seed, result)| Some((*seed, result.loss?))).collect()
}

/// Whether the compared checkpoints have learned more than counting.
fn against_baselines(preset: &TradeoffPreset, runs: &Finished) -> Vec<ScorecardRow> {
    let mut rows = Vec::new();
    for checkpoint in preset.pair.iter().flatten() {
        for (baseline, loss) in &runs.baselines {
            let samples: Vec<f64> = losses(runs, checkpoint).values().map(|own| loss - own).collect();
            let statement = format!("The {} checkpoint has a lower loss than a {baseline} model", display(checkpoint));
            let (claim, task, unit) = ("baseline", "pretraining text", "nats per token");
            rows.push(ScorecardRow::from_samples(claim, statement, task, unit, &samples, ""));
        }
    }
    rows
}

/// How far apart in loss the two checkpoints of each pair are, controls included.
fn loss_differences(preset: &TradeoffPreset, runs: &Finished) -> Vec<ScorecardRow> {
    let row = |[a, b]: &[String; 2]| {
        let (first, second) = (losses(runs, a), losses(runs, b));
        let samples: Vec<f64> = first.iter().filter_map(|(seed, loss)| Some(loss - second.get(seed)?)).collect();
        let statement = format!("The {} checkpoint has a higher loss than {}", display(a), display(b));
        let (claim, task, unit) = ("loss", "pretraining text", "nats per token");
        let note = "zero where a pair is matched in loss";
        ScorecardRow::from_samples(claim, statement, task, unit, &samples, note)
    };
    preset.pair.iter().chain(&preset.controls).map(row).collect()
}

fn weight_scale(runs: &Finished) -> Table {
    let rows = by_checkpoint(&runs.weights, |scale| Some(scale.hidden_rms)).into_iter().map(|(name, numbers)| {
        TableRow { cells: vec![display(&name), describe(&numbers, 4), numbers.len().to_string()], strong: false }
    });
    Table {
        title: "Weight scale of the checkpoints".into(),
        caption: "Root mean square of the hidden matrices' entries: checkpoints that differ in it differ in more than the optimizer.".into(),
        header: ["Checkpoint", "Weight RMS", "Seeds"].map(String::from).to_vec(),
        rows: rows.collect(),
        data: None,
    }
}

/// The best exact match of every checkpoint and method on tasks with answers, with the seeds' mean.
fn exact_match(results: &Results) -> Option<Table> {
    let mut best: BTreeMap<(String, String, String), BTreeMap<u64, f64>> = BTreeMap::new();
    for row in results.rows() {
        if let Some(share) = row.exact_match {
            let seeds = best.entry((row.task.clone(), row.checkpoint.clone(), row.method.clone())).or_default();
            let old = seeds.entry(row.seed).or_insert(share);
            *old = old.max(share);
        }
    }
    let row = |((task, checkpoint, method), seeds): (&(String, String, String), &BTreeMap<u64, f64>)| {
        let shares: Vec<f64> = seeds.values().copied().collect();
        TableRow {
            cells: vec![
                task.clone(),
                display(checkpoint),
                display(method),
                describe(&shares, 4),
                shares.len().to_string(),
            ],
            strong: false,
        }
    };
    let rows: Vec<TableRow> = best.iter().map(row).collect();
    (!rows.is_empty()).then(|| Table {
        title: "Exact match".into(),
        caption: "Share of greedily decoded answers that are right, at the learning rate that is best for this very share: biased upwards where few \
                  answers are decoded. `optimizer-pairs` compares answers without that bias."
            .into(),
        header: ["Task", "Checkpoint", "Method", "Exact match", "Seeds"].map(String::from).to_vec(),
        rows,
        data: Some(RESULTS.into()),
    })
}
