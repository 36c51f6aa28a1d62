//! A panel: a frame with axes, titles and data; and the legend below a figure.

use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;

use super::axis::{Axis, clip_segment};
use super::canvas::{Anchor, Canvas, DrawError, Text};
use super::theme::{GRID, INK, MUTED, Style, size};

/// Room in CSS pixels for tick labels and titles around the plotting area.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 48.0;

/// What is written around a panel; empty texts leave their place empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct PanelTitles<'a> {
    /// Above the panel.
    pub title: &'a str,
    /// Below the horizontal axis, with its unit.
    pub x: &'a str,
    /// Along the vertical axis, with its unit.
    pub y: &'a str,
}

/// A plotting area with axes; data outside the axes are cut off.
pub struct Panel<'a, 'b, DB: DrawingBackend> {
    canvas: &'a Canvas<'b, DB>,
    x: Axis,
    y: Axis,
    /// Left, top, right, bottom of the plotting area in CSS pixels.
    frame: (f64, f64, f64, f64),
}

impl<'a, 'b, DB: DrawingBackend> Panel<'a, 'b, DB> {
    /// Draws grid, ticks and titles into the rectangle `(left, top, right, bottom)` of the canvas.
    ///
    /// # Errors
    /// When the backend fails; so do all methods here.
    pub fn new(
        canvas: &'a Canvas<'b, DB>,
        rectangle: (f64, f64, f64, f64),
        (x, y): (Axis, Axis),
        titles: PanelTitles<'_>,
    ) -> Result<Self, DrawError<DB>> {
        let (left, top, right, bottom) = rectangle;
        let frame = (left + LEFT, top + TOP, right - RIGHT, bottom - BOTTOM);
        let panel = Self { canvas, x, y, frame };
        let (left, top, right, bottom) = frame;
        for (value, label) in panel.y.ticks() {
            let at = panel.at((0.0, *value)).1;
            canvas.line(&[(left, at), (right, at)], GRID, 1.0, 0.75)?;
            canvas.text((left - 7.0, at), Text::new(label, size::TICK).anchored(Anchor::Right))?;
        }
        for (value, label) in panel.x.ticks() {
            let at = panel.at((*value, 0.0)).0;
            canvas.line(&[(at, top), (at, bottom)], GRID, 1.0, 0.75)?;
            canvas.text((at, bottom + 12.0), Text::new(label, size::TICK))?;
        }
        canvas.line(&[(left, top), (left, bottom), (right, bottom)], INK, 1.0, 1.0)?;
        canvas.text((left, top - 15.0), Text::new(titles.title, size::LABEL).bold().anchored(Anchor::Left))?;
        canvas.text(((left + right) / 2.0, bottom + 33.0), Text::new(titles.x, size::LABEL))?;
        let middle = (rectangle.0 + 10.0, (top + bottom) / 2.0);
        canvas.text(middle, Text::new(titles.y, size::LABEL).upwards())?;
        Ok(panel)
    }

    /// Where a data point lies on the canvas.
    pub fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (left, top, right, bottom) = self.frame;
        (left + self.x.share(x) * (right - left), bottom - self.y.share(y) * (bottom - top))
    }

    /// Left, top, right and bottom of the plotting area on the canvas.
    pub fn frame(&self) -> (f64, f64, f64, f64) {
        self.frame
    }

    /// Whether a data point lies within the axes.
    pub fn contains(&self, (x, y): (f64, f64)) -> bool {
        self.x.contains(x) && self.y.contains(y)
    }

    /// A line through data points.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn line(&self, data: &[(f64, f64)], style: Style, alpha: f64, width: f64) -> Result<(), DrawError<DB>> {
        let mut run: Vec<(f64, f64)> = Vec::new();
        for ends in data.windows(2) {
            let Some((from, to)) = clip_segment((&self.x, &self.y), ends[0], ends[1]) else {
                continue;
            };
            let (from, to) = (self.at(from), self.at(to));
            if run.last() != Some(&from) {
                self.canvas.styled_line(&std::mem::take(&mut run), style, alpha, width)?;
                run.push(from);
            }
            run.push(to);
        }
        self.canvas.styled_line(&run, style, alpha, width)
    }

    /// A marker at a data point.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn marker(&self, data: (f64, f64), style: Style, radius: f64, alpha: f64) -> Result<(), DrawError<DB>> {
        if self.contains(data) { self.canvas.marker(self.at(data), style, radius, alpha) } else { Ok(()) }
    }

    /// Says what is drawn at a data point; nothing outside of the axes.
    pub fn note(&self, data: (f64, f64), text: impl Into<String>) {
        if self.contains(data) {
            self.canvas.note(self.at(data), text);
        }
    }

    /// A vertical interval at `x`, moved sideways by `shift` CSS pixels; ends within the axes have caps.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn whisker_y(&self, x: f64, (low, high): (f64, f64), shift: f64, color: RGBColor) -> Result<(), DrawError<DB>> {
        let Some((from, to)) = clip_segment((&self.x, &self.y), (x, low), (x, high)) else {
            return Ok(());
        };
        let moved = |data| {
            let (x, y) = self.at(data);
            (x + shift, y)
        };
        self.canvas.line(&[moved(from), moved(to)], color, 1.0, 1.5)?;
        for end in [low, high].into_iter().filter(|&end| self.y.contains(end)) {
            let (x, y) = moved((x, end));
            self.canvas.line(&[(x - 3.0, y), (x + 3.0, y)], color, 1.0, 1.5)?;
        }
        Ok(())
    }

    /// A remark in the upper left corner of the plotting area, `line` lines down.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn remark(&self, remark: &str, line: usize) -> Result<(), DrawError<DB>> {
        let (left, top, ..) = self.frame;
        let at = (left + 8.0, top + 9.0 + 14.0 * line as f64);
        self.canvas.text(at, Text::new(remark, size::REMARK).colored(MUTED).anchored(Anchor::Left))
    }
}

/// One entry of a legend.
#[derive(Clone, Debug)]
pub struct LegendEntry {
    /// What it says.
    pub label: String,
    /// What it looks like.
    pub style: Style,
    /// Whether a line is drawn through the marker.
    pub line: bool,
    /// Whether a marker is drawn.
    pub marker: bool,
}

/// Height of one line of the legend in CSS pixels.
const LEGEND_LINE: f64 = 22.0;
const SWATCH: f64 = 26.0;
const GAP: f64 = 20.0;

/// Height in CSS pixels to set aside for a legend of `count` lines.
pub fn legend_height(lines: usize) -> f64 {
    LEGEND_LINE * lines as f64
}

/// Draws a legend centred below `top`, in as many lines as the canvas is too narrow for one.
///
/// # Errors
/// When the backend fails.
pub fn legend<DB: DrawingBackend>(
    canvas: &Canvas<'_, DB>,
    top: f64,
    entries: &[LegendEntry],
) -> Result<(), DrawError<DB>> {
    let (width, _) = canvas.size();
    let width_of = |entry: &LegendEntry| SWATCH + 6.0 + canvas.text_width(Text::new(&entry.label, size::LABEL));
    let mut lines: Vec<(f64, Vec<&LegendEntry>)> = Vec::new();
    for entry in entries {
        let needed = width_of(entry);
        match lines.last_mut() {
            Some((used, line)) if *used + GAP + needed <= width - 2.0 * GAP => {
                *used += GAP + needed;
                line.push(entry);
            }
            _ => lines.push((needed, vec![entry])),
        }
    }
    for (index, (used, line)) in lines.into_iter().enumerate() {
        let y = top + (index as f64 + 0.5) * LEGEND_LINE;
        let mut x = (width - used) / 2.0;
        for entry in line {
            if entry.line {
                canvas.styled_line(&[(x, y), (x + SWATCH, y)], entry.style, 1.0, 2.0)?;
            }
            if entry.marker {
                canvas.marker((x + SWATCH / 2.0, y), entry.style, 4.0, 1.0)?;
            }
            let at = (x + SWATCH + 6.0, y);
            canvas.text(at, Text::new(&entry.label, size::LABEL).anchored(Anchor::Left))?;
            x += width_of(entry) + GAP;
        }
    }
    Ok(())
}
