//! Lines in panels: any quantity against another, for several named series.

use plotters::prelude::DrawingBackend;

use super::axis::Axis;
use super::canvas::{Canvas, DrawError};
use super::output::Figure;
use super::panel::{LegendEntry, Panel, PanelTitles};
use super::panel_rows::PanelRows;
use super::text::brief;
use super::theme::{INK, Style};

const PANEL: (f64, f64) = (360.0, 270.0);

/// x, y and the ends of the interval of y.
pub type Point = (f64, f64, Option<(f64, f64)>);

/// A named series of points, in ascending x, each with an interval or none.
#[derive(Clone, Debug)]
pub struct Series {
    /// Name for the legend.
    pub label: String,
    /// What it looks like.
    pub style: Style,
    /// The points.
    pub points: Vec<Point>,
}

/// One panel.
#[derive(Clone, Debug)]
pub struct LinePanel {
    /// Above the panel.
    pub title: String,
    /// Title of the vertical axis, with its unit.
    pub y: String,
    /// The lines.
    pub series: Vec<Series>,
    /// A horizontal line of reference.
    pub reference: Option<f64>,
}

/// Panels side by side with one legend and one horizontal quantity.
#[derive(Clone, Debug)]
pub struct LinePanels {
    /// File name without extension.
    pub name: String,
    /// Above the panels.
    pub title: String,
    /// Title of the horizontal axes, with its unit.
    pub x: String,
    /// The panels, in rows of at most `columns`.
    pub panels: Vec<LinePanel>,
    /// Panels in a row, at least 1.
    pub columns: usize,
    /// Whether the vertical axes show logarithms of positive numbers.
    pub logarithmic: bool,
}

impl LinePanels {
    fn rows(&self) -> PanelRows {
        PanelRows { count: self.panels.len(), columns: self.columns, panel: PANEL }
    }

    fn scaled(&self, y: f64) -> f64 {
        if self.logarithmic { y.log10() } else { y }
    }

    fn entries(&self) -> impl Iterator<Item = LegendEntry> {
        let all = self.panels.iter().flat_map(|panel| &panel.series);
        all.map(|series| LegendEntry { label: series.label.clone(), style: series.style, line: true, marker: true })
    }

    /// Room for every value, and for its interval as far as that does not dwarf the values: an interval over two seeds
    /// can be a hundred times as long.
    fn y_axis(&self, panel: &LinePanel) -> Axis {
        let points = || panel.series.iter().flat_map(|series| &series.points);
        let values: Vec<f64> = points().map(|&(_, y, _)| self.scaled(y)).filter(|y| y.is_finite()).collect();
        let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &y| (l.min(y), h.max(y)));
        let room = (high - low).max(0.1 * high.abs().max(low.abs()));
        let ends =
            points().filter_map(|&(_, _, interval)| interval).flat_map(|(l, h)| [self.scaled(l), self.scaled(h)]);
        let ends = ends.filter(|end| end.is_finite() && room.is_finite()).map(|end| end.clamp(low - room, high + room));
        let reference = panel.reference.map(|y| self.scaled(y));
        let axis = Axis::around(values.iter().copied().chain(ends).chain(reference), 0.08, 5);
        if self.logarithmic { axis.labelled(|log| format!("{:.2}", 10f64.powf(log))) } else { axis }
    }

    /// A point in words.
    fn said(&self, panel: &LinePanel, series: &Series, (x, y, interval): Point) -> String {
        let interval = interval.map_or(String::new(), |(low, high)| format!(" [{}, {}]", brief(low), brief(high)));
        format!("{}: {} = {}{interval}, {} = {}", series.label, panel.y, brief(y), self.x, brief(x))
    }

    fn x_axis(&self, panel: &LinePanel) -> Axis {
        let values = panel.series.iter().flat_map(|series| series.points.iter().map(|&(x, ..)| x));
        Axis::around(values, 0.04, 5)
    }
}

impl Figure for LinePanels {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> (u32, u32) {
        self.rows().size()
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), DrawError<DB>> {
        let (width, _) = canvas.size();
        let rows = self.rows();
        for (index, panel) in self.panels.iter().enumerate() {
            let rectangle = rows.rectangle(width, index);
            let titles = PanelTitles { title: &panel.title, x: &self.x, y: &panel.y };
            let area = Panel::new(canvas, rectangle, (self.x_axis(panel), self.y_axis(panel)), titles)?;
            if let Some(reference) = panel.reference {
                let (left, _, right, _) = area.frame();
                let at = area.at((0.0, self.scaled(reference))).1;
                canvas.line(&[(left, at), (right, at)], INK, 0.7, 1.2)?;
            }
            for series in &panel.series {
                let points: Vec<(f64, f64)> = series.points.iter().map(|&(x, y, _)| (x, self.scaled(y))).collect();
                area.line(&points, series.style, 0.9, 1.8)?;
                for (&(x, y, interval), &point) in series.points.iter().zip(&points) {
                    if let Some((low, high)) = interval {
                        area.whisker_y(x, (self.scaled(low), self.scaled(high)), 0.0, series.style.color)?;
                    }
                    area.marker(point, series.style, 3.0, 1.0)?;
                    area.note(point, self.said(panel, series, (x, y, interval)));
                }
            }
        }
        rows.frame(canvas, &self.title, self.entries())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::save;
    use crate::figures::theme::{BLUE, Marker, Style};

    #[test]
    fn empty_and_non_finite_data_are_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let series = |points| Series {
            label: "muon".into(),
            style: Style { color: BLUE, marker: Marker::Circle, dashed: false },
            points,
        };
        let panel = |series| LinePanel { title: "t".into(), y: "y".into(), series, reference: Some(1.0) };
        for panels in [
            vec![],
            vec![panel(vec![])],
            vec![panel(vec![series(vec![
                (0.0, f64::NAN, None),
                (1.0, 2.0, Some((f64::NEG_INFINITY, f64::INFINITY))),
            ])])],
        ] {
            for logarithmic in [false, true] {
                let panels = panels.clone();
                let (name, title, x) = ("lines".into(), "title".into(), "x".into());
                save(&LinePanels { name, title, x, panels, columns: 2, logarithmic }, folder.path()).unwrap();
            }
        }
    }
}
