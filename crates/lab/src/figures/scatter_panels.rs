//! Points in panels: any quantity against another, for several named groups.

use plotters::prelude::DrawingBackend;

use super::axis::Axis;
use super::canvas::{Canvas, DrawError};
use super::output::Figure;
use super::panel::{LegendEntry, Panel, PanelTitles};
use super::panel_rows::PanelRows;
use super::text::brief;
use super::theme::{MUTED, Marker, Style};

const PANEL: (f64, f64) = (400.0, 320.0);

/// A named group of points.
#[derive(Clone, Debug)]
pub struct Cloud {
    /// Name for the legend.
    pub label: String,
    /// What it looks like.
    pub style: Style,
    /// x and y.
    pub points: Vec<(f64, f64)>,
}

/// One panel.
#[derive(Clone, Debug)]
pub struct ScatterPanel {
    /// Above the panel.
    pub title: String,
    /// Title of the horizontal axis, with its unit.
    pub x: String,
    /// The groups.
    pub clouds: Vec<Cloud>,
    /// Whether a line shows where both quantities are equal.
    pub diagonal: bool,
    /// A remark in the corner; may be empty.
    pub remark: String,
}

/// Panels side by side with one legend and one vertical quantity.
#[derive(Clone, Debug)]
pub struct ScatterPanels {
    /// File name without extension.
    pub name: String,
    /// Above the panels.
    pub title: String,
    /// Title of the vertical axes, with its unit.
    pub y: String,
    /// The panels, in rows of at most `columns`.
    pub panels: Vec<ScatterPanel>,
    /// Panels in a row, at least 1.
    pub columns: usize,
    /// Whether both axes show logarithms. Points that have no place on the axes are left out and counted.
    pub logarithmic: bool,
}

impl ScatterPanels {
    fn rows(&self) -> PanelRows {
        PanelRows { count: self.panels.len(), columns: self.columns, panel: PANEL }
    }

    fn entries(&self) -> impl Iterator<Item = LegendEntry> {
        let clouds = self.panels.iter().flat_map(|panel| &panel.clouds);
        clouds.map(|cloud| LegendEntry { label: cloud.label.clone(), style: cloud.style, line: false, marker: true })
    }

    /// Where a point lies on the axes; none if it has no place there.
    fn placed(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        let place = if self.logarithmic { (x.log10(), y.log10()) } else { (x, y) };
        (place.0.is_finite() && place.1.is_finite()).then_some(place)
    }

    fn axis(&self, values: impl Iterator<Item = f64>) -> Axis {
        let axis = Axis::around(values, 0.06, 5);
        if !self.logarithmic {
            return axis;
        }
        axis.labelled(|log| {
            let value = 10f64.powf(log);
            if (0.01..1000.0).contains(&value) {
                let digits = (1.0 - log.floor()).clamp(0.0, 3.0) as usize;
                format!("{value:.digits$}")
            } else {
                format!("{value:.0e}")
            }
        })
    }
}

impl Figure for ScatterPanels {
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
            let placed = |cloud: &Cloud| -> Vec<(f64, f64)> {
                cloud.points.iter().filter_map(|&point| self.placed(point)).collect()
            };
            let all: Vec<(f64, f64)> = panel.clouds.iter().flat_map(placed).collect();
            let axes = (self.axis(all.iter().map(|point| point.0)), self.axis(all.iter().map(|point| point.1)));
            let (low, high) = axes.1.range();
            let titles = PanelTitles { title: &panel.title, x: &panel.x, y: &self.y };
            let area = Panel::new(canvas, rectangle, axes, titles)?;
            if panel.diagonal {
                let style = Style { color: MUTED, marker: Marker::Circle, dashed: true };
                area.line(&[(low, low), (high, high)], style, 0.9, 1.2)?;
            }
            for cloud in &panel.clouds {
                for &values in &cloud.points {
                    let Some(point) = self.placed(values) else { continue };
                    area.marker(point, cloud.style, 2.8, 0.7)?;
                    let (x, y) = (brief(values.0), brief(values.1));
                    area.note(point, format!("{}: {} = {y}, {} = {x}", cloud.label, self.y, panel.x));
                }
            }
            let left_out = panel.clouds.iter().map(|cloud| cloud.points.len()).sum::<usize>() - all.len();
            let mut line = 0;
            if !panel.remark.is_empty() {
                area.remark(&panel.remark, line)?;
                line += 1;
            }
            if left_out > 0 {
                area.remark(&format!("{left_out} points have no place"), line)?;
            }
        }
        rows.frame(canvas, &self.title, self.entries())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::save;
    use crate::figures::theme::BLUE;

    #[test]
    fn empty_negative_and_non_finite_points_are_drawn_or_counted() {
        let folder = tempfile::tempdir().unwrap();
        let cloud = |points| Cloud {
            label: "muon".into(),
            style: Style { color: BLUE, marker: Marker::Circle, dashed: false },
            points,
        };
        let panel =
            |clouds| ScatterPanel { title: "t".into(), x: "x".into(), clouds, diagonal: true, remark: "r".into() };
        let points = vec![(0.1, 0.2), (-1.0, 0.5), (f64::NAN, 1.0), (20.0, 3.0)];
        for panels in [vec![], vec![panel(vec![])], vec![panel(vec![cloud(points)]), panel(vec![cloud(vec![])])]] {
            for logarithmic in [false, true] {
                let (name, title, y, panels) = ("scatter".into(), "title".into(), "y".into(), panels.clone());
                let figure = ScatterPanels { name, title, y, panels, columns: 2, logarithmic };
                save(&figure, folder.path()).unwrap();
                let drawn = std::fs::read_to_string(folder.path().join("scatter.svg")).unwrap();
                let left_out = figure.panels.first().is_some_and(|panel| !panel.clouds.is_empty());
                let count = if logarithmic { 2 } else { 1 };
                assert_eq!(drawn.contains(&format!("{count} points have no place")), left_out, "{logarithmic}");
            }
        }
    }
}
