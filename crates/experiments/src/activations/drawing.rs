//! The figures of `activations`.

use lab::figures::{IntervalMark, IntervalRow, IntervalRows, LinePanel, LinePanels, Series};
use lab::statistics::MeanInterval;

use super::statistics::{ALIGNMENT, Probed, inputs};
use crate::names::{display, style};

/// The reading that decides, of every network.
pub(super) fn alignments(probed: &[Probed], networks: &[String]) -> IntervalRows {
    let row = |name: &String| {
        let numbers: Vec<f64> = ALIGNMENT.by_seed(probed, name).into_iter().map(|(_, value)| value).collect();
        let of = MeanInterval::arithmetic(&numbers)?;
        let mark = IntervalMark {
            label: "mean over seeds".into(),
            style: style(name),
            mean: of.mean,
            interval: of.bounds.unwrap_or((f64::NEG_INFINITY, f64::INFINITY)),
        };
        let seeds = if of.n == 1 { "1 seed".into() } else { format!("{} seeds", of.n) };
        Some(IntervalRow { label: format!("{}\n{seeds}", display(name)), marks: vec![mark] })
    };
    IntervalRows {
        name: "activations-alignment".into(),
        title: "How far the axes carry the anisotropy of the activations".into(),
        x: "layer mean of ln a (below 0: they do)".into(),
        rows: networks.iter().filter_map(row).collect(),
        reference: 0.0,
    }
}

/// Alignment by layer: a panel for each kind of input, a line for each network.
pub(super) fn by_layer(probed: &[Probed], networks: &[String]) -> LinePanels {
    let mut kinds: Vec<&str> = Vec::new();
    for row in probed.iter().flat_map(|one| inputs(&one.inside)) {
        if !kinds.contains(&row.kind.as_str()) {
            kinds.push(&row.kind);
        }
    }
    let line = |kind: &str, name: &String| {
        let rows = || {
            let of = probed.iter().filter(|one| one.name == *name);
            of.flat_map(|one| inputs(&one.inside)).filter(move |row| row.kind == kind)
        };
        let last = rows().map(|row| row.layer).max().unwrap_or(0);
        let mean = |layer: usize| {
            let numbers: Vec<f64> = rows().filter(|row| row.layer == layer).map(|row| row.alignment).collect();
            Some((layer as f64, MeanInterval::arithmetic(&numbers)?.mean, None))
        };
        Series { label: display(name), style: style(name), points: (0..=last).filter_map(mean).collect() }
    };
    let panel = |kind: &&str| LinePanel {
        title: kind.replace('-', " "),
        y: "alignment a".into(),
        series: networks.iter().map(|name| line(kind, name)).collect(),
        reference: Some(1.0),
    };
    LinePanels {
        name: "activations-layers".into(),
        title: "Alignment of what linear maps read".into(),
        x: "layer".into(),
        panels: kinds.iter().map(panel).collect(),
        columns: 2,
        logarithmic: false,
    }
}
