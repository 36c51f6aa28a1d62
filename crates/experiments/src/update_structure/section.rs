//! The section of `update-structure` in the report.

use lab::error::Failure;
use lab::figures::{IntervalMark, IntervalRow, IntervalRows};
use lab::report::{ReportFolder, Section, Table, TableRow};
use lab::statistics::{MeanInterval, describe_with_count};
use serde::Serialize;

use super::plan::Found;
use super::preset::UpdateStructurePreset;
use super::statistics::{Effect, Kind, Pair, Statistics};
use crate::names::{display, style};
use crate::stages::{Structure, Surgery};

/// A row for each ray, in the report's folder.
const RAYS: &str = "update-structure.csv";
/// A row for each method and kind of layer, in the report's folder.
const STRUCTURES: &str = "update-structure-spectra.csv";
/// The effects of every seed, in the report's folder.
const EFFECTS: &str = "update-structure-effects.csv";

/// A row of [`RAYS`].
#[derive(Debug, Serialize)]
struct Ray<'a> {
    checkpoint: &'a str,
    task: &'a str,
    seed: u64,
    method: &'a str,
    surgery: Surgery,
    target: Option<f64>,
    factor: Option<f64>,
    task_loss: Option<f64>,
    forgetting: Option<f64>,
}

/// A row of [`STRUCTURES`].
#[derive(Debug, Serialize)]
struct Spectrum<'a> {
    checkpoint: &'a str,
    task: &'a str,
    seed: u64,
    method: &'a str,
    kind: &'a str,
    relative: f64,
    rank_of_values: f64,
    rank_of_squares: f64,
    top: f64,
    sign_coherence: f64,
    polar_coherence: f64,
}

/// A row of [`EFFECTS`].
#[derive(Debug, Serialize)]
struct EffectRow<'a> {
    effect: Kind,
    task: &'a str,
    checkpoint: Option<&'a str>,
    method: Option<&'a str>,
    surgery: Option<Surgery>,
    statement: &'a str,
    seed: u64,
    value: f64,
}

/// Writes tables and figures to `report`; returns the section.
pub(super) fn section(
    preset: &UpdateStructurePreset,
    (found, provenance): (Vec<Found>, Vec<(String, String)>),
    report: &ReportFolder,
) -> Result<Section, Failure> {
    let base = preset.base()?;
    let pair: Pair = preset.matched(&base)?.map(|(checkpoint, method)| (checkpoint.into(), method.name.clone()));
    let statistics = Statistics::compute(&found, &preset.tasks, &pair);
    write(&found, &statistics, report)?;
    let caption = format!(
        "What a surgery of an update costs: log ratio of forgetting with it and without, each at the same loss on the task, by the checkpoint that is updated; means \
         with 95 % t intervals over {} seeds.",
        base.seeds
    );
    Ok(Section {
        introduction: introduction(preset, base.seeds),
        figures: vec![report.figure(&figure(&statistics, preset, &pair), caption, EFFECTS)?],
        tables: vec![forgetting(preset, &found, &pair), structures(preset, &found, &pair)],
        scorecard: statistics.scorecard,
        controls: statistics.controls,
        provenance,
        ..Section::default()
    })
}

fn write(found: &[Found], statistics: &Statistics, report: &ReportFolder) -> Result<(), Failure> {
    let rays = found.iter().flat_map(|of| {
        of.transplanted.reached.iter().map(move |reached| Ray {
            checkpoint: &of.checkpoint,
            task: &of.task,
            seed: of.seed,
            method: &reached.method,
            surgery: reached.surgery,
            target: of.transplanted.target,
            factor: reached.factor,
            task_loss: reached.task,
            forgetting: reached.forgetting,
        })
    });
    let columns = ["checkpoint", "task", "seed", "method", "surgery", "target", "factor", "task_loss", "forgetting"];
    report.table_with(RAYS, &columns, rays)?;
    let spectra = found.iter().flat_map(|of| {
        of.transplanted.structures.iter().map(move |structure| Spectrum {
            checkpoint: &of.checkpoint,
            task: &of.task,
            seed: of.seed,
            method: &structure.method,
            kind: &structure.kind,
            relative: structure.relative,
            rank_of_values: structure.rank_of_values,
            rank_of_squares: structure.rank_of_squares,
            top: structure.top,
            sign_coherence: structure.sign_coherence,
            polar_coherence: structure.polar_coherence,
        })
    });
    let columns = [
        "checkpoint",
        "task",
        "seed",
        "method",
        "kind",
        "relative",
        "rank_of_values",
        "rank_of_squares",
        "top",
        "sign_coherence",
        "polar_coherence",
    ];
    report.table_with(STRUCTURES, &columns, spectra)?;
    let effects = statistics.effects.iter().flat_map(|effect| {
        effect.samples.iter().map(move |&(seed, value)| EffectRow {
            effect: effect.kind,
            task: &effect.task,
            checkpoint: effect.of.as_ref().map(|(checkpoint, ..)| checkpoint.as_str()),
            method: effect.of.as_ref().map(|(_, method, _)| method.as_str()),
            surgery: effect.of.as_ref().map(|(.., surgery)| *surgery),
            statement: &effect.statement,
            seed,
            value,
        })
    });
    let columns = ["effect", "task", "checkpoint", "method", "surgery", "statement", "seed", "value"];
    Ok(report.table_with(EFFECTS, &columns, effects)?)
}

fn introduction(preset: &UpdateStructurePreset, seeds: u64) -> Vec<String> {
    let names: Vec<String> = preset.methods.iter().map(|method| display(&method.name)).collect();
    vec![
        format!(
            "Preset {}: the two compared checkpoints of `tradeoff`'s preset {}, {seeds} seeds; their hidden matrices finetuned on {} with {}, at one learning rate \
             each. What a finetuning added to the matrices is changed matrix by matrix and followed along its ray to {:.0} % of the way to the loss that both matched \
             methods reach; forgetting is read there.",
            preset.name,
            preset.base,
            preset.tasks.join(", "),
            names.join(", "),
            100.0 * preset.level
        ),
        "An update as it is, with the spectrum of another seed's, and with random singular vectors are the controls: the second should cost nothing, the third \
         learns next to nothing. Rays that do not come down to the asked loss are counted as missing."
            .into(),
    ]
}

/// What every surgery costs, at both checkpoints.
fn figure(statistics: &Statistics, preset: &UpdateStructurePreset, pair: &Pair) -> IntervalRows {
    let mut rows = Vec::new();
    for task in &preset.tasks {
        for (_, method) in pair {
            for surgery in Surgery::ALL {
                let mark = |effect: &Effect| {
                    let (checkpoint, of, done) = effect.of.as_ref()?;
                    if effect.task != *task || of != method || *done != surgery {
                        return None;
                    }
                    let found = MeanInterval::arithmetic(&effect.values())?;
                    Some(IntervalMark {
                        label: format!("{} checkpoint", display(checkpoint)),
                        style: style(checkpoint),
                        mean: found.mean,
                        interval: found.bounds.unwrap_or((f64::NEG_INFINITY, f64::INFINITY)),
                    })
                };
                let marks: Vec<IntervalMark> = statistics.effects.iter().filter_map(mark).collect();
                if !marks.is_empty() {
                    let label = format!("{}'s update: {}\n{task}", display(method), surgery.name());
                    rows.push(IntervalRow { label, marks });
                }
            }
        }
    }
    IntervalRows {
        name: "update-structure".into(),
        title: "What a change of an update's structure costs".into(),
        x: "log ratio of forgetting, changed over unchanged".into(),
        rows,
        reference: 0.0,
    }
}

/// Forgetting at the asked loss, a row for each update and surgery.
fn forgetting(preset: &UpdateStructurePreset, found: &[Found], pair: &Pair) -> Table {
    let mut rows = Vec::new();
    for task in &preset.tasks {
        for method in &preset.methods {
            for surgery in Surgery::ALL {
                let number = |checkpoint: &String, number: fn(&crate::stages::Reached) -> Option<f64>| -> Vec<f64> {
                    let of = found.iter().filter(|of| of.checkpoint == *checkpoint && of.task == *task);
                    let reached = of.flat_map(|of| &of.transplanted.reached);
                    reached.filter(|r| r.method == method.name && r.surgery == surgery).filter_map(number).collect()
                };
                let columns: Vec<[Vec<f64>; 2]> = pair
                    .iter()
                    .map(|(checkpoint, _)| [number(checkpoint, |r| r.forgetting), number(checkpoint, |r| r.factor)])
                    .collect();
                if columns.iter().flatten().all(Vec::is_empty) {
                    continue;
                }
                let mut cells = vec![task.clone(), display(&method.name), surgery.name().to_owned()];
                cells.extend(columns.iter().flat_map(|[forgotten, factor]| {
                    [describe_with_count(forgotten, 4), describe_with_count(factor, 2)]
                }));
                rows.push(TableRow { cells, strong: surgery == Surgery::Unchanged });
            }
        }
    }
    let header = ["Task", "Update", "Surgery"].map(String::from).into_iter();
    let of_checkpoints = pair.iter().flat_map(|(checkpoint, _)| {
        let name = display(checkpoint);
        [format!("{name}: forgetting"), format!("{name}: factor")]
    });
    Table {
        title: "Forgetting of changed updates at one task loss".into(),
        caption: "Nats per token and the factor of the update, by checkpoint: means with 95 % t intervals over the seeds whose ray reaches the asked loss.".into(),
        header: header.chain(of_checkpoints).collect(),
        rows,
        data: Some(RAYS.into()),
    }
}

/// A number of a structure: its name, where it is, and the digits that are shown.
type Shown = (&'static str, fn(&Structure) -> f64, usize);

/// The structure of every method's update, as the mean over kinds of layers.
fn structures(preset: &UpdateStructurePreset, found: &[Found], pair: &Pair) -> Table {
    let numbers: [Shown; 6] = [
        ("Relative norm", |s| s.relative, 4),
        ("Effective rank (singular values)", |s| s.rank_of_values, 1),
        ("Effective rank (squares)", |s| s.rank_of_squares, 1),
        ("Share of the largest", |s| s.top, 3),
        ("Sign coherence", |s| s.sign_coherence, 3),
        ("Polar coherence", |s| s.polar_coherence, 3),
    ];
    let mut rows = Vec::new();
    for task in &preset.tasks {
        for (checkpoint, _) in pair {
            for method in &preset.methods {
                let mean_over_kinds = |of: &Found, number: fn(&Structure) -> f64| {
                    let own = of.transplanted.structures.iter().filter(|s| s.method == method.name);
                    let values: Vec<f64> = own.map(number).collect();
                    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
                };
                let of_checkpoint = || found.iter().filter(|of| of.checkpoint == *checkpoint && of.task == *task);
                let mut cells = vec![task.clone(), display(checkpoint), display(&method.name)];
                cells.extend(numbers.iter().map(|&(_, number, digits)| {
                    let values: Vec<f64> = of_checkpoint().filter_map(|of| mean_over_kinds(of, number)).collect();
                    describe_with_count(&values, digits)
                }));
                rows.push(TableRow { cells, strong: false });
            }
        }
    }
    let header = ["Task", "Checkpoint", "Update"].map(String::from).into_iter();
    Table {
        title: "Structure of updates".into(),
        caption: "Mean over kinds of layers, then over seeds with its 95 % t interval. Effective rank: exp of the entropy of the singular values, or of their squares, \
                  over their sum. Sign coherence: mean|dW| over the root mean square, the cosine between the update and its signs; polar coherence: the cosine between \
                  the update and its polar factor."
            .into(),
        header: header.chain(numbers.iter().map(|(name, ..)| (*name).to_owned())).collect(),
        rows,
        data: Some(STRUCTURES.into()),
    }
}
