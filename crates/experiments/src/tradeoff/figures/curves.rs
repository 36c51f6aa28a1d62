//! Training curves of pretraining.

use crate::names::{display, style};
use lab::figures::theme::{MUTED, size};
use lab::figures::{
    Anchor, Axis, Canvas, DrawError, Figure, LegendEntry, Panel, PanelTitles, Text, brief, legend, legend_height,
};
use plotters::prelude::DrawingBackend;

const WIDTH: u32 = 760;
const PANEL_HEIGHT: f64 = 400.0;
const HEAD: f64 = 34.0;

/// The loss of one pretraining run.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Name of the checkpoint that the run ends in.
    pub checkpoint: String,
    /// Seed.
    pub seed: u64,
    /// Tokens seen and loss in nats per token, ascending in tokens.
    pub points: Vec<(f64, f64)>,
}

/// Pretraining loss against tokens seen: a line for each run, coloured by optimizer, and horizontal
/// lines for baselines.
#[derive(Clone, Debug)]
pub struct Curves {
    name: String,
    title: String,
    curves: Vec<Curve>,
    baselines: Vec<(String, f64)>,
}

impl Curves {
    /// A figure of `curves` with named `baselines` in nats per token. `name` is the figure's file
    /// name; the title says which loss is shown, for example "Pretraining: held-out loss".
    pub fn new(
        name: impl Into<String>,
        title: impl Into<String>,
        curves: Vec<Curve>,
        baselines: Vec<(String, f64)>,
    ) -> Self {
        Self { name: name.into(), title: title.into(), curves, baselines }
    }

    /// Loss up to which the axis reaches: what runs have fallen below after a twentieth of the
    /// tokens, or a baseline; the first steps would squeeze all that follows.
    fn ceiling(&self) -> f64 {
        let early = self.curves.iter().filter_map(|curve| {
            let last = curve.points.last()?.0;
            let after = curve.points.iter().filter(|(tokens, _)| *tokens >= 0.05 * last);
            after.map(|&(_, loss)| loss).filter(|loss| loss.is_finite()).reduce(f64::max)
        });
        let baselines = self.baselines.iter().map(|&(_, loss)| loss);
        early.chain(baselines).filter(|loss| loss.is_finite()).fold(f64::NEG_INFINITY, f64::max)
    }

    /// Checkpoints in the order of their first curve.
    fn checkpoints(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for curve in &self.curves {
            if !names.contains(&curve.checkpoint.as_str()) {
                names.push(&curve.checkpoint);
            }
        }
        names
    }
}

impl Figure for Curves {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> (u32, u32) {
        let lines = self.checkpoints().len().div_ceil(4).max(1);
        (WIDTH, (HEAD + PANEL_HEIGHT + legend_height(lines) + 10.0) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), DrawError<DB>> {
        let (width, _) = canvas.size();
        canvas.text((width / 2.0, 18.0), Text::new(&self.title, size::TITLE).bold())?;
        let ceiling = self.ceiling();
        let points = || self.curves.iter().flat_map(|curve| curve.points.iter().copied());
        let losses = points().map(|(_, loss)| loss.min(ceiling));
        let y = Axis::around(losses.chain(self.baselines.iter().map(|b| b.1)), 0.06, 6);
        let tokens = points().map(|(tokens, _)| tokens).chain([0.0]);
        let (_, most) = Axis::around(tokens, 0.0, 6).range();
        let x = Axis::new(0.0, most, 6).labelled(with_si_prefix);
        let titles = PanelTitles { title: "", x: "tokens seen", y: "loss (nats per token)" };
        let rectangle = (6.0, HEAD - 14.0, width, HEAD + PANEL_HEIGHT);
        let panel = Panel::new(canvas, rectangle, (x, y), titles)?;
        let (left, _, right, _) = panel.frame();
        for (name, loss) in &self.baselines {
            if !panel.contains((0.0, *loss)) {
                continue;
            }
            let (_, height) = panel.at((0.0, *loss));
            canvas.dashed(&[(left, height), (right, height)], MUTED, 1.0, 1.2)?;
            let label = format!("{name} {loss:.2}");
            let text = Text::new(&label, size::REMARK).colored(MUTED).anchored(Anchor::Right);
            canvas.text((right - 4.0, height - 8.0), text)?;
        }
        for curve in &self.curves {
            panel.line(&curve.points, style(&curve.checkpoint), 0.8, 1.5)?;
            for &(tokens, loss) in &curve.points {
                let (name, seen) = (display(&curve.checkpoint), with_si_prefix(tokens));
                let text = format!("{name}, seed {}: loss {} after {seen} tokens", curve.seed, brief(loss));
                panel.note((tokens, loss), text);
            }
        }
        let entries: Vec<LegendEntry> = self
            .checkpoints()
            .into_iter()
            .map(|name| LegendEntry { label: display(name), style: style(name), line: true, marker: false })
            .collect();
        legend(canvas, HEAD + PANEL_HEIGHT + 2.0, &entries)
    }
}

/// "1.5M" for 1,500,000.
fn with_si_prefix(value: f64) -> String {
    let (scaled, prefix) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let rounded = format!("{scaled:.2}");
    format!("{}{prefix}", rounded.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seenare_written_with_prefixes() {
        assert_eq!(with_si_prefix(1_500_000.0), "1.5M");
        assert_eq!(with_si_prefix(200_000.0), "200k");
        assert_eq!(with_si_prefix(0.0), "0");
        assert_eq!(with_si_prefix(40.0), "40");
    }

    #[test]
    fn the_first_steps_do_not_set_the_scale() {
        let points = (0..=100).map(|step| (f64::from(step), if step < 3 { 50.0 } else { 4.0 })).collect();
        let curve = Curve { checkpoint: "adamw".into(), seed: 1, points };
        assert_eq!(Curves::new("", "", vec![curve], vec![("2-gram".into(), 4.5)]).ceiling(), 4.5);
    }
}
