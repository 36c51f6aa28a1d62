//! The section of `rotation` in the report.

use std::collections::BTreeMap;

use lab::error::Failure;
use lab::figures::{IntervalMark, IntervalRow, IntervalRows};
use lab::report::{ReportFolder, Section, Table, TableRow};
use lab::statistics::{MeanInterval, describe_with_count};
use serde::Serialize;

use super::plan::{FOLDED, Finished, turned};
use super::preset::RotationPreset;
use super::statistics::{Cell, Comparison, Effect, LEVELS, PRIMARY_LEVEL, Scale, Statistics};
use crate::error::Result;
use crate::ground::pair;
use crate::names::{display, style};
use crate::parts::CheckpointPreset;
use crate::stages::{EndPoint, Results, SameFunction};

/// A row for each finetuning, in the report's folder.
const RESULTS: &str = "rotation.csv";
/// Forgetting at matched learning of every seed, in the report's folder.
const MATCHED: &str = "rotation-matched.csv";
/// The effects of every seed, in the report's folder.
const EFFECTS: &str = "rotation-effects.csv";

/// An effect of one seed.
#[derive(Debug, Serialize)]
struct EffectRow<'a> {
    effect: &'a str,
    task: &'a str,
    level: f64,
    scale: Scale,
    seed: u64,
    value: f64,
}

/// Writes tables and figures to `report`; returns the section.
pub(super) fn section(preset: &RotationPreset, done: Finished, report: &ReportFolder) -> Result<Section, Failure> {
    let base = preset.base()?;
    let optimizer = |of: &CheckpointPreset| of.optimizer().map_or(String::new(), |rule| rule.as_str().into());
    let matched = pair(&base)?.map(|checkpoint| (checkpoint.name.clone(), optimizer(checkpoint)));
    let comparison = Comparison { pair: matched, turned: (1..=preset.rotations).map(turned).collect() };
    let results = Results::from_rows(done.ends)?;
    let statistics = Statistics::compute(&results, &preset.tasks, &comparison);
    report.table_with(RESULTS, &EndPoint::COLUMNS, results.rows())?;
    let columns = ["task", "checkpoint", "turn", "method", "level", "seed", "forgetting", "missing"];
    report.table_with(MATCHED, &columns, &statistics.cells)?;
    let columns = ["effect", "task", "level", "scale", "seed", "value"];
    report.table_with(EFFECTS, &columns, statistics.effects.iter().flat_map(rows_of))?;
    let caption = format!(
        "How much more each optimizer forgets from a turned checkpoint than from the plain one, and the consistency index of \
         both networks; logarithms of ratios at {:.0} % of the common learning, means with 95 % t intervals over {} seeds.",
        100.0 * PRIMARY_LEVEL,
        base.seeds
    );
    Ok(Section {
        introduction: introduction(preset, base.seeds),
        figures: vec![report.figure(&figure(&statistics, &comparison), caption, EFFECTS)?],
        tables: vec![forgetting(&statistics, &comparison, preset), functions(&done.networks)],
        scorecard: statistics.scorecard,
        controls: statistics.controls,
        provenance: done.provenance,
        ..Section::default()
    })
}

fn rows_of(effect: &Effect) -> impl Iterator<Item = EffectRow<'_>> {
    effect.samples.iter().map(move |&(seed, value)| EffectRow {
        effect: &effect.label,
        task: &effect.task,
        level: effect.level,
        scale: effect.scale,
        seed,
        value,
    })
}

fn introduction(preset: &RotationPreset, seeds: u64) -> Vec<String> {
    vec![
        format!(
            "Preset {}: the two compared checkpoints of `tradeoff`'s preset {}, {seeds} seeds, finetuned on {} with both optimizers. The gains of the \
             RMSNorms are folded into the matrices that read them; then the residual stream is turned by {} random rotations, or not. All of these networks \
             compute the same. Only hidden matrices are trained, so that Muon trains them all alike, to rounding: a null that is built in. AdamW does not: what a \
             turn changes for it comes from the axes.",
            preset.name,
            preset.base,
            preset.tasks.join(", "),
            preset.rotations
        ),
        "If activations that lie along the axes are why AdamW forgets little from its own checkpoint, it forgets more from the turned one, and the consistency \
         index falls. The causal reading is this project's, not the paper's."
            .into(),
    ]
}

/// The effects at the level of the verdict.
fn figure(statistics: &Statistics, comparison: &Comparison) -> IntervalRows {
    let shown = |effect: &&Effect| effect.level == PRIMARY_LEVEL && effect.scale == Scale::LogRatio;
    let [(first, _), (second, _)] = &comparison.pair;
    let row = |effect: &Effect| {
        // An effect about one optimizer has its look, the others that of the pair's first.
        let of_second = effect.label.starts_with(&display(second));
        let style = style(if of_second { second } else { first });
        let mark = MeanInterval::arithmetic(&effect.values()).map(|mean| IntervalMark {
            label: if of_second { display(second) } else { format!("{} and the index", display(first)) },
            style,
            mean: mean.mean,
            interval: mean.bounds.unwrap_or((f64::NEG_INFINITY, f64::INFINITY)),
        });
        IntervalRow { label: format!("{}\n{}", effect.label, effect.task), marks: mark.into_iter().collect() }
    };
    IntervalRows {
        name: "rotation".into(),
        title: "What a turn of the residual stream changes".into(),
        x: "log ratio of forgetting".into(),
        rows: statistics.effects.iter().filter(shown).map(row).collect(),
        reference: 0.0,
    }
}

/// Mean forgetting by checkpoint, turn and method.
fn forgetting(statistics: &Statistics, comparison: &Comparison, preset: &RotationPreset) -> Table {
    let methods: Vec<&String> = comparison.pair.iter().map(|(_, method)| method).collect();
    let mut rows = Vec::new();
    for task in &preset.tasks {
        for (checkpoint, _) in &comparison.pair {
            for turn in std::iter::once(FOLDED).chain(comparison.turned.iter().map(String::as_str)) {
                for level in LEVELS {
                    let cell = |method: &&String| {
                        let here = |cell: &&Cell| {
                            (&cell.task, &cell.checkpoint, &cell.method) == (task, checkpoint, *method)
                                && cell.turn == turn
                                && cell.level == level
                        };
                        let values: Vec<f64> =
                            statistics.cells.iter().filter(here).filter_map(|cell| cell.forgetting).collect();
                        describe_with_count(&values, 4)
                    };
                    let name = display(&format!("{checkpoint}-{turn}"));
                    let mut cells = vec![task.clone(), name, format!("{:.0} %", 100.0 * level)];
                    cells.extend(methods.iter().map(cell));
                    rows.push(TableRow { cells, strong: level == PRIMARY_LEVEL });
                }
            }
        }
    }
    let header = ["Task", "Checkpoint", "Level"].map(String::from).into_iter();
    Table {
        title: "Forgetting from plain and turned checkpoints".into(),
        caption: "Nats per token at a share of the common learning, which is that of all networks of a row's checkpoint and both methods: mean over seeds with \
                  its 95 % t interval."
            .into(),
        header: header.chain(methods.iter().map(|method| display(method))).collect(),
        rows,
        data: Some(MATCHED.into()),
    }
}

/// How well every network computes what its checkpoint does.
fn functions(networks: &[(String, SameFunction)]) -> Table {
    let mut worst: BTreeMap<&str, SameFunction> = BTreeMap::new();
    for (name, found) in networks {
        let so_far = worst.entry(name).or_insert(*found);
        so_far.difference = so_far.difference.max(found.difference);
        so_far.logit = so_far.logit.max(found.logit);
    }
    let rows = worst.into_iter().map(|(name, found)| TableRow {
        cells: vec![display(name), format!("{:.1e}", found.difference), format!("{:.1}", found.logit)],
        strong: false,
    });
    Table {
        title: "The same function".into(),
        caption: "On one sequence of random tokens: the largest difference between a logit of the network and of its checkpoint, and the largest logit; the \
                  worst seed."
            .into(),
        header: ["Network", "Largest difference", "Largest logit"].map(String::from).to_vec(),
        rows: rows.collect(),
        data: None,
    }
}
