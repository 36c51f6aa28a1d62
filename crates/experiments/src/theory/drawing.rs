//! From the theory's tables to drawings.

use lab::figures::theme::Style;
use lab::figures::{IntervalMark, IntervalRow, IntervalRows, LinePanel, LinePanels, Series};
use theory::figures::{FigureData, Table};

use super::preset::FigureName;
use crate::names::{display, style};

/// Figures with their captions and the tables that hold their numbers.
#[derive(Default)]
pub(super) struct Drawings {
    pub(super) lines: Vec<(LinePanels, String, String)>,
    pub(super) rows: Vec<(IntervalRows, String, String)>,
}

/// All drawings of a figure.
pub(super) fn drawings(name: FigureName, data: &FigureData) -> Drawings {
    let mut drawings = Drawings::default();
    let table = |name: &str| data.table(name);
    match name {
        FigureName::Geometry => drawings.lines.extend(table("geometry-activations").map(geometry)),
        FigureName::Regularization => {
            drawings.lines.extend(table("regularization-trajectories").map(trajectories));
        }
        FigureName::PhaseDiagram => drawings.lines.extend(table("phase-diagram").into_iter().flat_map(phase_diagrams)),
        FigureName::ConsistencyMatrix => {
            if let (Some(index), Some(checkpoints)) =
                (table("consistency-matrix-index"), table("consistency-matrix-checkpoints"))
            {
                drawings.rows.push(consistency(index, checkpoints));
            }
        }
    }
    drawings
}

/// The theory's Adam, which has no weight decay, is drawn like AdamW, and normalised SGD like SGD.
fn style_of(optimizer: &str) -> Style {
    style(match optimizer {
        "adam" => "adamw",
        "normalised-sgd" => "sgd",
        other => other,
    })
}

fn name(optimizer: &str) -> String {
    match optimizer {
        "adam" => "Adam".into(),
        "normalised-sgd" => "normalised SGD".into(),
        "sign" => "sign descent".into(),
        other => display(other),
    }
}

/// The series of that label, made if there is none yet.
fn series<'a>(all: &'a mut Vec<Series>, label: &str, style: Style) -> &'a mut Series {
    let at = all.iter().position(|s| s.label == label).unwrap_or_else(|| {
        all.push(Series { label: label.to_owned(), style, points: Vec::new() });
        all.len() - 1
    });
    &mut all[at]
}

fn geometry(table: &Table) -> (LinePanels, String, String) {
    let mut all = Vec::new();
    for [optimizer, active, mean, low, high] in
        table.select(["optimizer", "active_coordinates", "output_change", "low", "high"])
    {
        let optimizer = optimizer.text();
        // In thousandths, so that the numbers at the axis are short.
        let [mean, low, high] = [mean, low, high].map(|value| 1e3 * value.number());
        let point = (active.number().log2(), mean, Some((low, high)));
        series(&mut all, &name(&optimizer), style_of(&optimizer)).points.push(point);
    }
    let panels = LinePanels {
        name: "theory-geometry".into(),
        title: "Output change of updates with equal gain".into(),
        x: "binary logarithm of the number of active coordinates".into(),
        panels: vec![LinePanel {
            title: "activations of length 1".into(),
            y: "length of the change / 0.001".into(),
            series: all,
            reference: None,
        }],
        columns: 1,
        logarithmic: false,
    };
    let caption = "Mean change of a layer's output at activations of length 1 with few or many active coordinates, for updates with \
                   the same first-order gain; 95 % intervals over gradients.";
    (panels, caption.into(), table.name.clone())
}

fn trajectories(table: &Table) -> (LinePanels, String, String) {
    const READINGS: [(&str, &str, &str); 6] = [
        ("sgd", "SGD's functional", "value"),
        ("adam", "Adam's functional", "value"),
        ("dual_norm", "Muon's: expected nuclear norm", "value"),
        ("participation_ratio", "active hidden units", "participation ratio"),
        ("off_diagonal_mass", "off-diagonal mass", "share of the squared mass"),
        ("layer_ratio", "ratio of the layers' norms", "first over second layer"),
    ];
    let panels = READINGS
        .iter()
        .map(|(column, title, y)| {
            let mut all = Vec::new();
            for [optimizer, momentum, step, value] in table.select(["optimizer", "momentum", "step", column]) {
                let optimizer = optimizer.text();
                let plain = momentum.number() == 0.0 && optimizer != "sgd";
                let style = Style { dashed: plain, ..style_of(&optimizer) };
                let label = if plain { format!("{}, no momentum", name(&optimizer)) } else { name(&optimizer) };
                series(&mut all, &label, style).points.push((step.number() / 1000.0, value.number(), None));
            }
            LinePanel { title: (*title).into(), y: (*y).into(), series: all, reference: None }
        })
        .collect();
    let panels = LinePanels {
        name: "theory-regularization".into(),
        title: "Label noise on a two-layer linear network".into(),
        x: "thousand steps".into(),
        panels,
        columns: 3,
        logarithmic: false,
    };
    let caption = "Functionals of the weights and statistics of the hidden units along training with label noise, means over seeds.";
    (panels, caption.into(), table.name.clone())
}

/// One figure a teacher, one panel an anisotropy, one line a number of samples.
fn phase_diagrams(table: &Table) -> Vec<(LinePanels, String, String)> {
    type ByAnisotropy = Vec<(f64, Vec<Series>)>;
    let mut figures: Vec<(String, ByAnisotropy)> = Vec::new();
    for [teacher, anisotropy, samples, rotation, ratio, low, high] in
        table.select(["teacher", "anisotropy", "samples", "rotation", "adam_over_muon", "low", "high"])
    {
        let teacher = teacher.text();
        if figures.last().is_none_or(|(last, _)| *last != teacher) {
            figures.push((teacher, Vec::new()));
        }
        let Some((_, panels)) = figures.last_mut() else { continue };
        if panels.last().is_none_or(|(last, _)| *last != anisotropy.number()) {
            panels.push((anisotropy.number(), Vec::new()));
        }
        let Some((_, all)) = panels.last_mut() else { continue };
        let style = [style("lora-4"), style("lora-16"), style("lora-64"), style("lora-256")];
        let style = style[all.iter().take_while(|s| s.label != format!("{} samples", samples.text())).count() % 4];
        let point = (rotation.number(), ratio.number(), Some((low.number(), high.number())));
        series(all, &format!("{} samples", samples.text()), style).points.push(point);
    }
    figures
        .into_iter()
        .map(|(teacher, panels)| {
            let target = if teacher == "random labels" { teacher.clone() } else { format!("{teacher} teacher") };
            let panels = panels.into_iter().map(|(anisotropy, mut series)| {
                // Where no seed learned there is nothing to draw, and nothing for the legend.
                series.retain(|series| series.points.iter().any(|(_, ratio, _)| ratio.is_finite()));
                LinePanel {
                    title: format!("anisotropy {anisotropy}"),
                    y: "forgetting, Adam / Muon".into(),
                    series,
                    reference: Some(1.0),
                }
            });
            let figure = LinePanels {
                name: format!("theory-phase-diagram-{}", teacher.replace(' ', "-")),
                title: format!("Adam's forgetting over Muon's, {target}"),
                x: "turn of the activations' axes".into(),
                panels: panels.collect(),
                columns: 3,
                logarithmic: true,
            };
            let caption = format!(
                "Ratio of Adam's to Muon's forgetting at 90 % of the task learned, {target}, over the turn of the axes from \
                 aligned (0) to random (1): below the line Adam forgets less, above it Muon; geometric means with 95 % intervals over seeds."
            );
            (figure, caption, table.name.clone())
        })
        .collect()
}

fn consistency(index: &Table, checkpoints: &Table) -> (IntervalRows, String, String) {
    let mut rows: Vec<IntervalRow> = Vec::new();
    let mark = |label: &str, style, [mean, low, high]: [f64; 3]| {
        let logs = [mean, low, high].map(f64::ln);
        IntervalMark { label: label.into(), style, mean: logs[0], interval: (logs[1], logs[2]) }
    };
    for [setting, mean, low, high] in index.select(["setting", "index", "low", "high"]) {
        let label = setting.text().replace(", label noise", "\nlabel noise");
        let values = [mean, low, high].map(|v| v.number());
        let mut marks = vec![mark("index: matching helps", style("lora-16"), values)];
        for [of, pretrained, ratio, low, high] in
            checkpoints.select(["setting", "pretrained", "adam_over_muon", "ratio_low", "ratio_high"])
        {
            // From each checkpoint, how much more the other optimizer forgets than the checkpoint's own.
            let values = [ratio, low, high].map(|v| v.number());
            match pretrained.text().as_str() {
                "adam" if of == setting => {
                    let turned = [1.0 / values[0], 1.0 / values[2], 1.0 / values[1]];
                    marks.push(mark("Adam's checkpoint: Muon over Adam", style_of("adam"), turned));
                }
                "muon" if of == setting => {
                    marks.push(mark("Muon's checkpoint: Adam over Muon", style_of("muon"), values));
                }
                _ => {}
            }
        }
        rows.push(IntervalRow { label, marks });
    }
    let figure = IntervalRows {
        name: "theory-consistency-matrix".into(),
        title: "Mismatched over matched forgetting, linear networks".into(),
        x: "log ratio; right of the line the matched optimizer forgets less".into(),
        rows,
        reference: 0.0,
    };
    let caption = "Forgetting of the mismatched over that of the matched optimizer from each checkpoint, and their mean, the consistency index \
                   (the interaction); geometric means with 95 % intervals over seeds.";
    (figure, caption.into(), index.name.clone())
}
