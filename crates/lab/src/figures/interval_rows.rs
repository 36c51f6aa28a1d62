//! Rows of means with intervals on one axis.

use plotters::prelude::DrawingBackend;

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, DrawError, Text};
use super::output::Figure;
use super::panel::{LegendEntry, legend, legend_height};
use super::text::brief;
use super::theme::{GRID, INK, MUTED, Style, size};

const HEAD: f64 = 40.0;
const LINE: f64 = 19.0;
const GAP: f64 = 10.0;
const FOOT: f64 = 50.0;
const LABELS: f64 = 400.0;
const PLOT: f64 = 420.0;

/// One mean with its interval.
#[derive(Clone, Debug)]
pub struct IntervalMark {
    /// Name for the legend.
    pub label: String,
    /// What it looks like.
    pub style: Style,
    /// The mean.
    pub mean: f64,
    /// The interval's ends, infinite where there is none.
    pub interval: (f64, f64),
}

/// A labelled group of marks, one below the other.
#[derive(Clone, Debug)]
pub struct IntervalRow {
    /// Label, in one or two lines.
    pub label: String,
    /// The marks.
    pub marks: Vec<IntervalMark>,
}

/// The figure.
#[derive(Clone, Debug)]
pub struct IntervalRows {
    /// File name without extension.
    pub name: String,
    /// Above the rows.
    pub title: String,
    /// Title of the axis, with its unit.
    pub x: String,
    /// The rows.
    pub rows: Vec<IntervalRow>,
    /// Where a vertical line marks "no difference".
    pub reference: f64,
}

impl IntervalRows {
    fn height(row: &IntervalRow) -> f64 {
        LINE * row.marks.len().max(2) as f64 + GAP
    }

    fn bottom(&self) -> f64 {
        HEAD + self.rows.iter().map(Self::height).sum::<f64>().max(LINE)
    }
}

impl Figure for IntervalRows {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> (u32, u32) {
        ((LABELS + PLOT + 20.0) as u32, (self.bottom() + FOOT + legend_height(1)) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), DrawError<DB>> {
        let marks = || self.rows.iter().flat_map(|row| &row.marks);
        let ends = marks().flat_map(|mark| [mark.mean, mark.interval.0, mark.interval.1]);
        let axis = Axis::around(ends.chain([self.reference]), 0.05, 6);
        let at = |value: f64| LABELS + axis.share(value).clamp(0.0, 1.0) * PLOT;
        let bottom = self.bottom();
        canvas.text((canvas.size().0 / 2.0, 18.0), Text::new(&self.title, size::TITLE).bold())?;
        for (value, label) in axis.ticks() {
            canvas.line(&[(at(*value), HEAD), (at(*value), bottom)], GRID, 1.0, 0.75)?;
            canvas.text((at(*value), bottom + 12.0), Text::new(label, size::TICK))?;
        }
        canvas.line(&[(at(self.reference), HEAD), (at(self.reference), bottom)], INK, 1.0, 1.2)?;
        canvas.line(&[(LABELS, bottom), (LABELS + PLOT, bottom)], INK, 1.0, 1.0)?;
        let x = Text::new(&self.x, size::LABEL);
        // Under the middle of the axis, or further left where it would leave the figure.
        let middle = (LABELS + PLOT / 2.0).min(canvas.size().0 - 8.0 - canvas.text_width(x) / 2.0);
        canvas.text((middle, bottom + 32.0), x)?;
        if marks().next().is_none() {
            let none = Text::new("no intervals: they need two seeds", size::LABEL).colored(MUTED);
            canvas.text((LABELS + PLOT / 2.0, HEAD + 24.0), none)?;
        }
        let mut top = HEAD;
        let mut entries: Vec<LegendEntry> = Vec::new();
        for row in &self.rows {
            let middle = top + Self::height(row) / 2.0;
            let lines: Vec<&str> = row.label.lines().collect();
            for (index, line) in lines.iter().enumerate() {
                let y = middle + (index as f64 - (lines.len() as f64 - 1.0) / 2.0) * 15.0;
                let text = Text::new(line, size::TICK).anchored(Anchor::Right);
                canvas.text((LABELS - 12.0, y), if index == 0 { text } else { text.colored(MUTED) })?;
            }
            let first = middle - (row.marks.len() as f64 - 1.0) / 2.0 * LINE;
            for (index, mark) in row.marks.iter().enumerate() {
                let y = first + index as f64 * LINE;
                let (low, high) = mark.interval;
                canvas.line(&[(at(low), y), (at(high), y)], mark.style.color, 1.0, 2.0)?;
                canvas.marker((at(mark.mean), y), mark.style, 4.2, 1.0)?;
                let interval = if low.is_finite() && high.is_finite() {
                    format!(" [{}, {}]", brief(low), brief(high))
                } else {
                    String::new()
                };
                let row = row.label.lines().next().unwrap_or_default();
                canvas.note((at(mark.mean), y), format!("{row}, {}: {}{interval}", mark.label, brief(mark.mean)));
                if entries.iter().all(|entry| entry.label != mark.label) {
                    let label = mark.label.clone();
                    entries.push(LegendEntry { label, style: mark.style, line: true, marker: true });
                }
            }
            top += Self::height(row);
        }
        legend(canvas, bottom + FOOT - 6.0, &entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::save;
    use crate::figures::theme::{BLUE, Marker};

    #[test]
    fn no_rows_and_missing_intervals_are_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let interval = (f64::NEG_INFINITY, f64::INFINITY);
        let style = Style { color: BLUE, marker: Marker::Circle, dashed: false };
        let mark = IntervalMark { label: "a".into(), style, mean: 1.0, interval };
        for rows in [vec![], vec![IntervalRow { label: "one\ntwo".into(), marks: vec![mark] }]] {
            let (name, title, x) = ("rows".into(), "title".into(), "x".into());
            save(&IntervalRows { name, title, x, rows, reference: 1.0 }, folder.path()).unwrap();
        }
    }
}
