//! The figures of the memorisation experiment.

use lab::figures::{self, CellMap, CellPanel, LinePanel, LinePanels, Series};
use lab::statistics::MeanInterval;
use models::optim::RuleName;

use super::measure::Point;
use super::plan::Reported;
use super::preset::{Cell, MemorizationPreset};
use super::statistics::{Reading, Statistics};
use crate::names::{display, style};

/// Mean and interval of some numbers as a point of a series; `None` without numbers.
fn point(x: f64, numbers: &[f64]) -> Option<figures::Point> {
    MeanInterval::arithmetic(numbers).map(|interval| (x, interval.mean, interval.bounds))
}

/// A series for each optimizer of the preset, from its runs in a cell.
fn by_optimizer(preset: &MemorizationPreset, points: impl Fn(RuleName) -> Vec<figures::Point>) -> Vec<Series> {
    let series =
        |name: RuleName| Series { label: display(name.as_str()), style: style(name.as_str()), points: points(name) };
    preset.optimizers.iter().map(|optimizer| series(optimizer.name)).collect()
}

fn runs(reported: &[Reported], cell: Cell, name: RuleName) -> impl Iterator<Item = &Reported> {
    reported.iter().filter(move |run| run.cell == cell && run.optimizer == name && run.result.end().is_some())
}

/// Muon's held-out accuracy less AdamW's in every cell, at each reading.
pub(super) fn map(preset: &MemorizationPreset, statistics: &Statistics) -> CellMap {
    let mut facts = preset.facts.clone();
    facts.sort_unstable();
    let mut examples = preset.examples.clone();
    examples.sort_unstable();
    let panel = |reading: Reading| {
        let cells = facts.iter().flat_map(|&facts| examples.iter().map(move |&examples| Cell { facts, examples }));
        let effect = |cell| statistics.difference(cell, reading).and_then(|d| d.muon_over_adamw());
        CellPanel { title: reading.name().into(), effects: cells.map(effect).collect() }
    };
    let few = |examples: usize| statistics.is_few(Cell { facts: 0, examples });
    let column = |&examples: &usize| format!("{examples}{}", if few(examples) { " (few)" } else { "" });
    CellMap {
        name: "memorization-map".into(),
        title: "Held-out accuracy: Muon less AdamW".into(),
        x: "pattern examples".into(),
        y: "facts".into(),
        columns: examples.iter().map(column).collect(),
        rows: facts.iter().map(usize::to_string).collect(),
        panels: Reading::ALL.into_iter().map(panel).collect(),
        signs: [("Muon generalises better", "muon"), ("AdamW generalises better", "adamw")]
            .map(|(label, name)| (label.into(), style(name).color)),
    }
}

/// Held-out accuracy at the end against the number of examples, a panel for each number of facts.
pub(super) fn generalisation(preset: &MemorizationPreset, reported: &[Reported]) -> LinePanels {
    let panel = |&facts: &usize| {
        let series = by_optimizer(preset, |name| {
            let at = |&examples: &usize| {
                let cell = Cell { facts, examples };
                let ends: Vec<f64> =
                    runs(reported, cell, name).filter_map(|run| run.result.end()).map(|end| end.test).collect();
                point(examples as f64, &ends)
            };
            preset.examples.iter().filter_map(at).collect()
        });
        LinePanel { title: format!("{facts} facts"), y: "held-out accuracy".into(), series, reference: None }
    };
    LinePanels {
        name: "memorization-generalization".into(),
        title: "Generalisation at the end of training".into(),
        x: "pattern examples".into(),
        panels: preset.facts.iter().map(panel).collect(),
        columns: 3,
        logarithmic: false,
    }
}

/// What is learned along the runs of a cell: means over the seeds.
pub(super) fn curves(preset: &MemorizationPreset, reported: &[Reported], cell: Cell) -> LinePanels {
    type Quantity = (&'static str, &'static str, fn(&Point) -> f64);
    let mut quantities: Vec<Quantity> = vec![
        ("training loss", "nats per answer", |p| p.training_loss),
        ("facts", "accuracy", |p| p.facts.unwrap_or(0.0)),
        ("seen instances", "accuracy", |p| p.seen),
        ("held-out instances", "accuracy", |p| p.test),
    ];
    quantities.retain(|(title, ..)| cell.facts > 0 || *title != "facts");
    let panel = |(title, y, read): Quantity| {
        let series = by_optimizer(preset, |name| {
            let curves: Vec<&[Point]> = runs(reported, cell, name).map(|run| run.result.curve.as_slice()).collect();
            let steps = curves.first().map_or(0, |curve| curve.len());
            let at = |index: usize| {
                let points: Vec<&Point> = curves.iter().filter_map(|curve| curve.get(index)).collect();
                let values: Vec<f64> = points.iter().map(|point| read(point)).collect();
                point(points.first()?.step as f64, &values).map(|(x, y, _)| (x, y, None))
            };
            (0..steps).filter_map(at).collect()
        });
        LinePanel { title: title.into(), y: y.into(), series, reference: None }
    };
    LinePanels {
        name: "memorization-curves".into(),
        title: format!("What is learned when: {} facts, {} pattern examples", cell.facts, cell.examples),
        x: "steps".into(),
        panels: quantities.into_iter().map(panel).collect(),
        columns: 2,
        logarithmic: false,
    }
}

/// Singular values of the hidden matrices at the end, a panel for each cell of the control and of the most facts with
/// the fewest examples.
pub(super) fn spectra(preset: &MemorizationPreset, reported: &[Reported], cells: &[Cell]) -> LinePanels {
    let panel = |&cell: &Cell| {
        let series = by_optimizer(preset, |name| {
            let spectra: Vec<&Vec<f64>> = runs(reported, cell, name)
                .filter_map(|run| run.result.spectrum.as_ref().map(|spectrum| &spectrum.normalised))
                .collect();
            let length = spectra.first().map_or(0, |values| values.len());
            let at = |place: usize| {
                let values: Vec<f64> = spectra.iter().map(|values| values[place]).collect();
                let share = (place + 1) as f64 / length as f64;
                point(share, &values).map(|(x, y, _)| (x, y, None))
            };
            (0..length).filter_map(at).collect()
        });
        let title = format!("{} facts, {} examples", cell.facts, cell.examples);
        LinePanel { title, y: "singular value / largest".into(), series, reference: None }
    };
    LinePanels {
        name: "memorization-spectra".into(),
        title: "Spectra of the learned hidden matrices".into(),
        x: "place of the singular value, as a share".into(),
        panels: cells.iter().map(panel).collect(),
        columns: 3,
        logarithmic: false,
    }
}
