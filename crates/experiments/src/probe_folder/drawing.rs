//! The figures of `probe`: numbers by layer, a line for each kind.

use lab::figures::theme::{BLACK, BLUE, GREEN, Marker, ORANGE, PURPLE, SKY, Style, VERMILLION};
use lab::figures::{LinePanel, LinePanels, Series};

use crate::stages::{Measured, VectorRow, WeightRow};

/// Of the kinds in the order in which they come.
fn style(place: usize) -> Style {
    let colors = [BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK];
    let markers = [Marker::Circle, Marker::Square, Marker::Diamond, Marker::Triangle];
    Style { color: colors[place % colors.len()], marker: markers[place % markers.len()], dashed: false }
}

/// A line for each kind, by layer.
fn lines<'a>(points: impl Iterator<Item = (&'a str, usize, f64)>) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for (kind, layer, value) in points {
        let at = all.iter().position(|series| series.label == kind).unwrap_or_else(|| {
            all.push(Series { label: kind.to_owned(), style: style(all.len()), points: Vec::new() });
            all.len() - 1
        });
        all[at].points.push((layer as f64, value, None));
    }
    all
}

fn panel(title: &str, y: &str, series: Vec<Series>, reference: Option<f64>) -> LinePanel {
    LinePanel { title: title.into(), y: y.into(), series, reference }
}

/// Activations: alignment, directions that count, outliers.
pub(super) fn vectors(rows: &[VectorRow]) -> LinePanels {
    let of = |wanted: fn(Measured) -> bool, read: fn(&VectorRow) -> f64| {
        lines(rows.iter().filter(|row| wanted(row.measured)).map(|row| (row.kind.as_str(), row.layer, read(row))))
    };
    let activation = |measured| measured != Measured::Gradient;
    let gradient = |measured| measured == Measured::Gradient;
    LinePanels {
        name: "vectors".into(),
        title: "Activations and output gradients by layer".into(),
        x: "layer".into(),
        panels: vec![
            panel("alignment, activations", "a", of(activation, |row| row.alignment), Some(1.0)),
            panel("participation ratio of S", "directions", of(activation, |row| row.participation_ratio), None),
            panel("largest entry", "max / RMS", of(activation, |row| row.max_over_rms), None),
            panel("alignment, output gradients", "a", of(gradient, |row| row.alignment), Some(1.0)),
            panel("participation ratio of B", "directions", of(gradient, |row| row.participation_ratio), None),
            panel("size of output gradients", "RMS", of(gradient, |row| row.rms), None),
        ],
        columns: 3,
        logarithmic: false,
    }
}

/// Weights: ranks and norms.
pub(super) fn weights(rows: &[WeightRow]) -> LinePanels {
    let of = |read: fn(&WeightRow) -> f64| lines(rows.iter().map(|row| (row.kind.as_str(), row.layer, read(row))));
    LinePanels {
        name: "weights".into(),
        title: "Weights by layer".into(),
        x: "layer".into(),
        panels: vec![
            panel("stable rank", "stable rank", of(|row| row.stable_rank), None),
            panel("effective rank", "exp of the entropy of sigma", of(|row| row.effective_rank), None),
            panel("spectral norm", "largest singular value", of(|row| row.spectral_norm), None),
        ],
        columns: 3,
        logarithmic: false,
    }
}
