//! The section of `tradeoff` in the report: scorecard, figures, tables, provenance.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::figures::{AlongRun, Consistency, Curve, Curves, Figure, Matched, Tradeoff, save};
use crate::finished::FINISHED;
use crate::pretrain::CheckpointMeasures;
use crate::provenance;
use crate::report::{FIGURES, FigureEntry, Report, Section, Table, TableRow, tables};
use crate::stats::names::display;
use crate::stats::{MeanInterval, ScorecardRow};
use crate::tradeoff::{Measured, Options};

/// A row for each finetuning run, in the report's folder.
pub(crate) const RESULTS: &str = "results.csv";
/// Forgetting at matched learning of every seed, in the report's folder.
pub(crate) const MATCHED: &str = "matched.csv";
/// The effects of every seed, in the report's folder.
pub(crate) const EFFECTS: &str = "effects.csv";

/// Writes figures, section and page into `folder`; returns the page's path.
pub(crate) fn write(options: &Options, measured: &Measured, folder: &Path) -> Result<PathBuf> {
    let Measured { results, statistics, .. } = measured;
    let mut section = Section::new("tradeoff", "The learning-forgetting tradeoff");
    section.order = 10;
    section.introduction = introduction(options);
    section.scorecard = statistics.scorecard.clone();
    section.controls = statistics.controls.clone();
    if let Some(controls) = &measured.controls {
        let methods: Vec<String> = controls.comparison.methods.iter().map(|name| display(name)).collect();
        section.controls.extend(controls.scorecard.iter().cloned().map(|mut row| {
            row.statement =
                format!("The pair itself, at the levels of {} alone: {}", methods.join(" and "), row.statement);
            row
        }));
        section.controls.extend(controls.controls.iter().cloned());
    }
    if let Some(ablation) = &measured.ablation {
        section.controls.extend(ablation.scorecard.iter().cloned().map(|mut row| {
            row.statement = format!("Training hidden matrices only: {}", row.statement);
            row
        }));
        section.tables.extend(tables::matched(ablation));
    }
    section.controls.extend(against_baselines(options, measured));
    section.controls.extend(loss_differences(options, measured));
    let along = along_runs(measured);
    let mut add = |data: &str, figure: &dyn Fn() -> Result<(String, String)>| -> Result<()> {
        let (name, caption) = figure()?;
        section.figures.push(FigureEntry { name, caption, data: Some(data.into()) });
        Ok(())
    };
    let figures = folder.join(FIGURES);
    for task in results.tasks() {
        add(RESULTS, &|| {
            let caption = format!(
                "Forgetting against learning on {}: a panel for each checkpoint, a colour for each method, a marker for each run, \
                 fronts thin for each seed and bold for their mean; {} seeds.",
                display(&task),
                options.preset.seeds
            );
            saved(&Tradeoff::new(results, statistics, &task, &along), &figures, caption)
        })?;
    }
    add(MATCHED, &|| {
        let caption = "Forgetting at matched learning: means over seeds with 95 % t intervals.";
        saved(&Matched::new(statistics), &figures, caption.into())
    })?;
    add(EFFECTS, &|| {
        let caption =
            "Consistency index: above zero, each checkpoint is better off with the optimizer that pretrained it.";
        saved(&Consistency::new(statistics), &figures, caption.into())
    })?;
    add(FINISHED, &|| {
        let curves =
            Curves::new("pretraining", "Pretraining: held-out loss", curves(measured), measured.runs.baselines.clone());
        let caption =
            "Held-out loss during pretraining, a line for each seed, with n-gram baselines of the same tokens.";
        saved(&curves, &figures, caption.into())
    })?;
    section.tables.splice(0..0, tables::matched(statistics));
    section.tables.push(tables::consistency(statistics));
    section.tables.push(tables::effects(statistics));
    section.tables.push(tables::pretraining(&by_checkpoint(measured, |end| end.loss), &measured.runs.baselines));
    section.tables.push(weight_scale(measured));
    if let Some(table) = exact_match(measured) {
        section.tables.push(table);
    }
    section.provenance = provenance::lines(&options.command, measured.seconds, measured.runs.arithmetic.clone());
    section.provenance.push(("text".into(), measured.runs.corpus.clone()));
    for (label, lines) in &measured.runs.policies {
        section.provenance.push((label.clone(), lines.join("; ")));
    }
    section.write(folder)?;
    Ok(Report::read(folder)?.write(folder)?)
}

fn saved(figure: &impl Figure, folder: &Path, caption: String) -> Result<(String, String)> {
    save(figure, folder)?;
    Ok((figure.name(), caption))
}

fn introduction(options: &Options) -> Vec<String> {
    let preset = &options.preset;
    let names = |list: Vec<&str>| list.join(", ");
    vec![
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
    ]
}

fn along_runs(measured: &Measured) -> Vec<AlongRun> {
    let run = |(end, result): &(crate::stats::EndPoint, crate::finetune::FinetuneResult)| {
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
    measured.runs.finetuned.iter().filter(|(end, _)| !end.diverged).map(run).collect()
}

fn curves(measured: &Measured) -> Vec<Curve> {
    let curve = |(name, seed, result): &(String, u64, crate::pretrain::PretrainResult)| Curve {
        checkpoint: name.clone(),
        seed: *seed,
        points: result.curve.clone(),
    };
    measured.runs.pretrained.iter().map(curve).collect()
}

/// A number of every pretraining that did not diverge, by checkpoint in the preset's order.
fn by_checkpoint(measured: &Measured, number: impl Fn(CheckpointMeasures) -> f64) -> Vec<(String, Vec<f64>)> {
    let mut found: Vec<(String, Vec<f64>)> = Vec::new();
    for (name, end) in measured.runs.pretrained.iter().filter_map(|(name, _, result)| Some((name, result.end?))) {
        match found.iter_mut().find(|(known, _)| *known == *name) {
            Some((_, numbers)) => numbers.push(number(end)),
            None => found.push((name.clone(), vec![number(end)])),
        }
    }
    found
}

/// The losses of a checkpoint by seed.
fn losses(measured: &Measured, checkpoint: &str) -> BTreeMap<u64, f64> {
    let of = measured.runs.pretrained.iter().filter(|(name, ..)| name == checkpoint);
    of.filter_map(|(_, seed, result)| Some((*seed, result.end?.loss))).collect()
}

/// Whether the compared checkpoints have learned more than counting.
fn against_baselines(options: &Options, measured: &Measured) -> Vec<ScorecardRow> {
    let mut rows = Vec::new();
    for checkpoint in &options.preset.pair {
        for (baseline, loss) in &measured.runs.baselines {
            let samples: Vec<f64> = losses(measured, checkpoint).values().map(|own| loss - own).collect();
            let statement = format!("The {} checkpoint has a lower loss than a {baseline} model", display(checkpoint));
            rows.push(ScorecardRow::from_samples(
                "baseline",
                statement,
                "pretraining text",
                "nats per token",
                &samples,
                "",
            ));
        }
    }
    rows
}

/// How far apart in loss the two checkpoints of each pair are, controls included.
fn loss_differences(options: &Options, measured: &Measured) -> Vec<ScorecardRow> {
    let preset = &options.preset;
    let row = |[a, b]: &[String; 2]| {
        let (first, second) = (losses(measured, a), losses(measured, b));
        let samples: Vec<f64> = first.iter().filter_map(|(seed, loss)| Some(loss - second.get(seed)?)).collect();
        let statement = format!("The {} checkpoint has a higher loss than {}", display(a), display(b));
        ScorecardRow::from_samples(
            "loss",
            statement,
            "pretraining text",
            "nats per token",
            &samples,
            "zero where a pair is matched in loss",
        )
    };
    std::iter::once(&preset.pair).chain(&preset.controls).map(row).collect()
}

fn interval(numbers: &[f64]) -> String {
    match MeanInterval::arithmetic(numbers) {
        Some(MeanInterval { mean, bounds: Some((low, high)), .. }) => format!("{mean:.4} [{low:.4}, {high:.4}]"),
        Some(MeanInterval { mean, .. }) => format!("{mean:.4}"),
        None => "none".into(),
    }
}

fn weight_scale(measured: &Measured) -> Table {
    let rows = by_checkpoint(measured, |end| end.weight_rms).into_iter().map(|(name, numbers)| TableRow {
        cells: vec![display(&name), interval(&numbers), numbers.len().to_string()],
        strong: false,
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
fn exact_match(measured: &Measured) -> Option<Table> {
    let mut best: BTreeMap<(String, String, String), BTreeMap<u64, f64>> = BTreeMap::new();
    for row in measured.results.rows() {
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
                interval(&shares),
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
