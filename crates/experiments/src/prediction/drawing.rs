//! The figures of `prediction`.

use lab::figures::theme::{Marker, ORANGE, Style};
use lab::figures::{Cloud, IntervalMark, IntervalRow, IntervalRows, ScatterPanel, ScatterPanels};
use lab::statistics::{MeanInterval, describe};

use super::predictor::{Predictor, Run};
use super::statistics::foresight::Foresights;
use super::statistics::ranked::Ranked;
use crate::names::{display, style};
use crate::stages::Moment;

/// The predictors that are drawn run by run.
const SHOWN: [Predictor; 4] = [Predictor::Corrected, Predictor::Exact, Predictor::Square, Predictor::TextDivergence];

/// How the runs of all methods together are drawn.
const ALL_METHODS: Style = Style { color: ORANGE, marker: Marker::Circle, dashed: false };

/// Forgetting of every run against some predictors.
pub(super) fn runs(runs: &[Run], methods: &[String], ranked: &[Ranked]) -> ScatterPanels {
    let panel = |predictor: Predictor| {
        let cloud = |method: &String| Cloud {
            label: display(method),
            style: style(method),
            points: runs
                .iter()
                .filter(|run| run.method == *method)
                .map(|run| (predictor.of(run), run.forgetting()))
                .collect(),
        };
        let rho = ranked.iter().find(|of| of.predictor == predictor && of.method.is_none());
        let expansion = Predictor::EXPANSIONS.contains(&predictor);
        ScatterPanel {
            title: predictor.name().into(),
            x: if expansion { "predicted forgetting (nats per token)".into() } else { predictor.name().into() },
            clouds: methods.iter().map(cloud).collect(),
            diagonal: expansion,
            remark: rho.map(|of| format!("rank correlation {}", describe(&of.rho.values(), 3))).unwrap_or_default(),
        }
    };
    ScatterPanels {
        name: "prediction-runs".into(),
        title: "What finetuning runs forget, and what predicts it".into(),
        y: "forgetting (nats per token)".into(),
        panels: SHOWN.map(panel).to_vec(),
        columns: 2,
        logarithmic: true,
    }
}

/// The rank correlation of every predictor, over all runs and within each method.
pub(super) fn ranks(ranked: &[Ranked], methods: &[String]) -> IntervalRows {
    let row = |predictor: Predictor| {
        let mark = |method: Option<&String>| {
            let of = ranked.iter().find(|of| of.predictor == predictor && of.method.as_ref() == method)?;
            let found = MeanInterval::arithmetic(&of.rho.values())?;
            Some(IntervalMark {
                label: method.map_or_else(|| "all methods".into(), |method| display(method)),
                style: method.map_or(ALL_METHODS, |method| style(method)),
                mean: found.mean,
                interval: found.bounds.unwrap_or((f64::NEG_INFINITY, f64::INFINITY)),
            })
        };
        let marks = std::iter::once(None).chain(methods.iter().map(Some)).filter_map(mark);
        IntervalRow { label: predictor.name().into(), marks: marks.collect() }
    };
    IntervalRows {
        name: "prediction-ranks".into(),
        title: "How well predictors order what runs forget".into(),
        x: "Spearman's rho with forgetting".into(),
        rows: Predictor::ALL.into_iter().map(row).filter(|row| !row.marks.is_empty()).collect(),
        reference: 1.0,
    }
}

/// What was foreseen against what was measured, for every checkpoint and task.
pub(super) fn foresight(foreseen: &Foresights, checkpoints: &[&str], tasks: &[String]) -> ScatterPanels {
    let panel = |moment: Moment| {
        let mut clouds = Vec::new();
        for checkpoint in checkpoints {
            for (place, task) in tasks.iter().enumerate() {
                let cells = foreseen
                    .cells
                    .iter()
                    .filter(|cell| cell.moment == moment && cell.checkpoint == *checkpoint && cell.task == *task);
                let mut style = style(checkpoint);
                // Tasks have markers, checkpoints colours.
                if place > 0 {
                    style.marker = Marker::Triangle;
                }
                clouds.push(Cloud {
                    label: format!("{}, {task}", display(checkpoint)),
                    style,
                    points: cells.filter_map(|cell| Some((cell.foreseen, cell.measured?))).collect(),
                });
            }
        }
        let rho = foreseen.agreements.iter().find(|of| of.moment == moment).and_then(|of| of.rho);
        ScatterPanel {
            title: moment.name().into(),
            x: "ln c(polar)/c(sign), before finetuning".into(),
            clouds,
            diagonal: true,
            remark: rho.map(|rho| format!("rank correlation {rho:.2}")).unwrap_or_default(),
        }
    };
    ScatterPanels {
        name: "prediction-foresight".into(),
        title: "Which optimizer forgets less, foreseen from the curvature".into(),
        y: "ln F(Muon)/F(AdamW), measured".into(),
        panels: Moment::ALL.map(panel).to_vec(),
        columns: 3,
        logarithmic: false,
    }
}
