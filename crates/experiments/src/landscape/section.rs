//! The section of `landscape` in the report.

use lab::error::Failure;
use lab::figures::{IntervalMark, IntervalRow, IntervalRows, LinePanel, LinePanels, Series};
use lab::report::{ReportFolder, Section, Table, TableRow};
use lab::statistics::{MeanInterval, describe};
use serde::Serialize;

use super::compared::{REFERENCE_BATCHES, REFERENCE_GAIN};
use super::plan::Found;
use super::preset::LandscapePreset;
use super::statistics::{Effect, Kind, Place, Statistics, Surveys, mean};
use crate::names::{display, style};
use crate::stages::{ALL_PARTS, Length};

/// A row for each step, in the report's folder.
const STEPS: &str = "landscape.csv";
/// A row for each curvature, in the report's folder.
const BENDS: &str = "landscape-curvature.csv";
/// The effects of every seed, in the report's folder.
const EFFECTS: &str = "landscape-effects.csv";

/// A row of [`STEPS`].
#[derive(Debug, Serialize)]
struct Step<'a> {
    checkpoint: &'a str,
    task: &'a str,
    seed: u64,
    part: &'a str,
    batches: u64,
    direction: &'a str,
    draw: u64,
    length: Length,
    amount: f64,
    step: f64,
    forgetting: Option<f64>,
    learned: Option<f64>,
}

/// A row of [`BENDS`].
#[derive(Debug, Serialize)]
struct Curvature<'a> {
    checkpoint: &'a str,
    task: &'a str,
    seed: u64,
    batches: u64,
    direction: &'a str,
    draw: u64,
    gain: Option<f64>,
    fall: f64,
    curvature: f64,
}

/// A row of [`EFFECTS`].
#[derive(Debug, Serialize)]
struct EffectRow<'a> {
    effect: Kind,
    task: &'a str,
    about: &'a str,
    control: bool,
    part: Option<&'a str>,
    batches: Option<u64>,
    length: Option<Length>,
    amount: Option<f64>,
    seed: u64,
    value: f64,
}

/// Writes tables and figures to `report`; returns the section.
pub(super) fn section(
    preset: &LandscapePreset,
    (found, provenance): (Vec<Found>, Vec<(String, String)>),
    report: &ReportFolder,
) -> Result<Section, Failure> {
    let base = preset.base()?;
    let statistics = Statistics::compute(&found, &preset.tasks, &preset.pairs(&base)?);
    write(&found, &statistics, report)?;
    let checkpoints: Vec<&str> = preset.checkpoints(&base)?.iter().map(|checkpoint| checkpoint.name.as_str()).collect();
    let seeds = base.seeds;
    let index = format!(
        "Landscape index by the length of the step and the batches behind the gradient, all hidden matrices moved together, and by kind of layer at a gain of \
         {:.0} % and {REFERENCE_BATCHES} batches: means with 95 % t intervals over {seeds} seeds.",
        100.0 * REFERENCE_GAIN
    );
    let rise = format!(
        "Forgetting along directions of gradients of {REFERENCE_BATCHES} batches, against the first-order gain: means with 95 % t intervals over {seeds} seeds."
    );
    Ok(Section {
        introduction: introduction(preset, seeds),
        figures: vec![
            report.figure(&index_figure(&statistics), index, EFFECTS)?,
            report.figure(&rise_figure(preset, &found, &checkpoints), rise, STEPS)?,
        ],
        tables: vec![
            forgetting(preset, &found, &checkpoints),
            curvature(preset, &found, &checkpoints),
            indices(&statistics),
        ],
        scorecard: statistics.scorecard,
        controls: statistics.controls,
        provenance,
        ..Section::default()
    })
}

fn write(found: &[Found], statistics: &Statistics, report: &ReportFolder) -> Result<(), Failure> {
    let steps = found.iter().flat_map(|of| {
        of.surveyed.moved.iter().map(move |moved| Step {
            checkpoint: &of.checkpoint,
            task: &of.task,
            seed: of.seed,
            part: &moved.part,
            batches: moved.batches,
            direction: &moved.direction,
            draw: moved.draw,
            length: moved.length,
            amount: moved.amount,
            step: moved.step,
            forgetting: moved.forgetting,
            learned: moved.learned,
        })
    });
    let columns = [
        "checkpoint",
        "task",
        "seed",
        "part",
        "batches",
        "direction",
        "draw",
        "length",
        "amount",
        "step",
        "forgetting",
        "learned",
    ];
    report.table_with(STEPS, &columns, steps)?;
    let bends = found.iter().flat_map(|of| {
        of.surveyed.bends.iter().map(move |bend| Curvature {
            checkpoint: &of.checkpoint,
            task: &of.task,
            seed: of.seed,
            batches: bend.batches,
            direction: &bend.direction,
            draw: bend.draw,
            gain: bend.gain,
            fall: bend.fall,
            curvature: bend.curvature,
        })
    });
    let columns = ["checkpoint", "task", "seed", "batches", "direction", "draw", "gain", "fall", "curvature"];
    report.table_with(BENDS, &columns, bends)?;
    let effects = statistics.effects.iter().flat_map(|effect| {
        let place = effect.place.as_ref();
        effect.samples.iter().map(move |&(seed, value)| EffectRow {
            effect: effect.kind,
            task: &effect.task,
            about: &effect.about,
            control: effect.control,
            part: place.map(|place| place.part.as_str()),
            batches: place.map(|place| place.batches),
            length: place.map(|place| place.length),
            amount: place.map(|place| place.amount),
            seed,
            value,
        })
    });
    let columns = ["effect", "task", "about", "control", "part", "batches", "length", "amount", "seed", "value"];
    Ok(report.table_with(EFFECTS, &columns, effects)?)
}

fn introduction(preset: &LandscapePreset, seeds: u64) -> Vec<String> {
    vec![
        format!(
            "Preset {}: the checkpoints of `tradeoff`'s preset {}, {seeds} seeds. Gradients of the loss on {} are taken at the checkpoint; their signs are AdamW's \
             direction without averaging, their polar factors Muon's. The hidden matrices are moved along each direction until the first-order gain on the task is a \
             share of its loss; forgetting is how far the loss on held-out pretraining text then lies above the checkpoint's. Nothing is trained.",
            preset.name,
            preset.base,
            preset.tasks.join(", ")
        ),
        "The index is half the sum of two log ratios: the other direction's forgetting over the own one's, from each checkpoint. Random directions of equal \
         length stand beside: theory has no difference between them."
            .into(),
    ]
}

fn mark(effect: &Effect) -> Option<IntervalMark> {
    let found = MeanInterval::arithmetic(&effect.values())?;
    Some(IntervalMark {
        label: effect.about.clone(),
        style: style(if effect.control { "muon-control" } else { "muon" }),
        mean: found.mean,
        interval: found.bounds.unwrap_or((f64::NEG_INFINITY, f64::INFINITY)),
    })
}

/// The index in every place of the compared pair.
fn index_figure(statistics: &Statistics) -> IntervalRows {
    let shown = |effect: &&Effect| effect.kind == Kind::Index && !effect.control;
    let row = |effect: &Effect| IntervalRow {
        label: format!("{}\n{}", effect.place.as_ref().map(Place::label).unwrap_or_default(), effect.task),
        marks: mark(effect).into_iter().collect(),
    };
    IntervalRows {
        name: "landscape-index".into(),
        title: "Landscape index: does each checkpoint's own direction forget less?".into(),
        x: "log ratio of forgetting".into(),
        rows: statistics.effects.iter().filter(shown).map(row).collect(),
        reference: 0.0,
    }
}

/// Names of the directions at a place, in the order of the surveys.
fn directions(found: &[Found], batches: u64) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for moved in found.iter().flat_map(|of| &of.surveyed.moved).filter(|moved| moved.batches == batches) {
        if !names.contains(&moved.direction.as_str()) {
            names.push(&moved.direction);
        }
    }
    names
}

/// A number of every seed in which the survey of a checkpoint and task has it.
fn of_seeds(found: &[Found], checkpoint: &str, task: &str, number: impl Fn(&Found) -> Option<f64>) -> Vec<f64> {
    found.iter().filter(|of| of.checkpoint == checkpoint && of.task == task).filter_map(number).collect()
}

/// Forgetting against gain, a panel for each checkpoint and task.
fn rise_figure(preset: &LandscapePreset, found: &[Found], checkpoints: &[&str]) -> LinePanels {
    let surveys = Surveys(found);
    let mut gains = preset.gains.clone();
    gains.sort_by(f64::total_cmp);
    let mut panels = Vec::new();
    for task in &preset.tasks {
        for &checkpoint in checkpoints {
            let series = directions(found, REFERENCE_BATCHES).into_iter().map(|direction| {
                let point = |&gain: &f64| {
                    let place = Place {
                        part: ALL_PARTS.into(),
                        batches: REFERENCE_BATCHES,
                        length: Length::Gain,
                        amount: gain,
                    };
                    let values = of_seeds(found, checkpoint, task, |of| {
                        surveys.forgetting(checkpoint, (task, of.seed), direction, &place)
                    });
                    let mean = MeanInterval::arithmetic(&values)?;
                    Some((100.0 * gain, mean.mean, mean.bounds))
                };
                let points: Vec<_> = gains.iter().filter_map(point).collect();
                Series { label: direction.into(), style: style(drawn_as(direction)), points }
            });
            panels.push(LinePanel {
                title: format!("{}, {task}", display(checkpoint)),
                y: "forgetting (nats per token)".into(),
                series: series.collect(),
                reference: Some(0.0),
            });
        }
    }
    LinePanels {
        name: "landscape-rise".into(),
        title: "How the loss on pretraining text rises with the gain on the task".into(),
        x: "first-order gain (% of the task's loss)".into(),
        columns: checkpoints.len().clamp(1, 3),
        panels,
        logarithmic: false,
    }
}

/// The name by whose look a direction is drawn: that of its optimizer, dashed where it is the optimizer's own update.
fn drawn_as(direction: &str) -> &str {
    match direction {
        "sign" => "adamw",
        "polar" => "muon",
        "raw" => "sgd",
        "adamw" => "adamw-own",
        "muon" => "muon-own",
        "sgd" => "sgd-own",
        other => other,
    }
}

/// Forgetting by direction and checkpoint: of gradients at the gain of the verdict, of all at one relative length.
fn forgetting(preset: &LandscapePreset, found: &[Found], checkpoints: &[&str]) -> Table {
    let surveys = Surveys(found);
    let mut rows = Vec::new();
    for task in &preset.tasks {
        for batches in [REFERENCE_BATCHES, 1, 0] {
            for direction in directions(found, batches) {
                for (length, amount) in [(Length::Gain, REFERENCE_GAIN), (Length::Relative, preset.relative)] {
                    let place = Place { part: ALL_PARTS.into(), batches, length, amount };
                    let values = |checkpoint: &str| {
                        of_seeds(found, checkpoint, task, |of| {
                            surveys.forgetting(checkpoint, (task, of.seed), direction, &place)
                        })
                    };
                    let numbers: Vec<Vec<f64>> = checkpoints.iter().map(|checkpoint| values(checkpoint)).collect();
                    if numbers.iter().all(Vec::is_empty) {
                        continue;
                    }
                    let mut cells = vec![task.clone(), direction.to_owned(), place.label()];
                    cells.extend(numbers.iter().map(|values| describe(values, 4)));
                    let strong = batches == REFERENCE_BATCHES
                        && length == Length::Gain
                        && ["sign", "polar"].contains(&direction);
                    rows.push(TableRow { cells, strong });
                }
            }
        }
    }
    let header = ["Task", "Direction", "Step"].map(String::from).into_iter();
    Table {
        title: "Forgetting along directions".into(),
        caption: "Nats per token, all hidden matrices moved together: mean over seeds with its 95 % t interval. `noise-...` is the difference between the \
                  updates of two batches."
            .into(),
        header: header.chain(checkpoints.iter().map(|name| display(name))).collect(),
        rows,
        data: Some(STEPS.into()),
    }
}

/// Curvature along directions of length 1.
fn curvature(preset: &LandscapePreset, found: &[Found], checkpoints: &[&str]) -> Table {
    let mut rows = Vec::new();
    for task in &preset.tasks {
        let mut names: Vec<(u64, &str)> = Vec::new();
        for bend in found.iter().flat_map(|of| &of.surveyed.bends) {
            if !names.contains(&(bend.batches, bend.direction.as_str())) {
                names.push((bend.batches, &bend.direction));
            }
        }
        for (batches, direction) in names {
            let of_draws = |of: &Found| {
                let here = of.surveyed.bends.iter().filter(|b| b.batches == batches && b.direction == direction);
                mean(here.map(|bend| Some(bend.curvature)))
            };
            let mut cells = vec![task.clone(), direction.to_owned(), batches.to_string()];
            cells
                .extend(checkpoints.iter().map(|checkpoint| describe(&of_seeds(found, checkpoint, task, of_draws), 5)));
            rows.push(TableRow { cells, strong: false });
        }
    }
    let header = ["Task", "Direction", "Batches"].map(String::from).into_iter();
    Table {
        title: "Curvature along directions".into(),
        caption: "Second derivative of the loss on pretraining text along a direction of Frobenius norm 1 over all hidden matrices: mean over seeds with its \
                  95 % t interval."
            .into(),
        header: header.chain(checkpoints.iter().map(|name| display(name))).collect(),
        rows,
        data: Some(BENDS.into()),
    }
}

/// The index in every place and pair.
fn indices(statistics: &Statistics) -> Table {
    let shown = |effect: &&Effect| effect.kind == Kind::Index;
    let row = |effect: &Effect| TableRow {
        cells: vec![
            effect.task.clone(),
            if effect.control { format!("{} (control)", effect.about) } else { effect.about.clone() },
            effect.place.as_ref().map(Place::label).unwrap_or_default(),
            describe(&effect.values(), 3),
            effect.samples.len().to_string(),
        ],
        strong: effect.place.as_ref().is_some_and(|place| place.amount == REFERENCE_GAIN) && !effect.control,
    };
    Table {
        title: "Landscape index".into(),
        caption: "Log ratio: mean over seeds with its 95 % t interval; seeds with a forgetting that is not positive are left out.".into(),
        header: ["Task", "Pair", "Step", "Index", "Seeds"].map(String::from).to_vec(),
        rows: statistics.effects.iter().filter(shown).map(row).collect(),
        data: Some(EFFECTS.into()),
    }
}
