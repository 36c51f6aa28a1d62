//! Colours, markers and sizes that all figures share.
//!
//! The colours are Okabe and Ito's palette, whose members colour-blind readers can tell apart; what is
//! compared has markers too, so that figures survive a black-and-white print.

use plotters::style::RGBColor;

/// Background of every figure.
pub const BACKGROUND: RGBColor = RGBColor(255, 255, 255);
/// Text and axes.
pub const INK: RGBColor = RGBColor(38, 38, 44);
/// Secondary text and reference lines.
pub const MUTED: RGBColor = RGBColor(105, 105, 115);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(228, 228, 232);

/// Font sizes in CSS pixels.
pub mod size {
    /// Title of a figure.
    pub const TITLE: f64 = 15.0;
    /// Title of a panel, axis or legend entry.
    pub const LABEL: f64 = 12.5;
    /// Numbers at ticks.
    pub const TICK: f64 = 11.5;
    /// Remarks inside a panel.
    pub const REMARK: f64 = 10.5;
}

/// Blue.
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
/// Vermillion.
pub const VERMILLION: RGBColor = RGBColor(213, 94, 0);
/// Nearly black.
pub const BLACK: RGBColor = RGBColor(60, 60, 60);
/// Bluish green.
pub const GREEN: RGBColor = RGBColor(0, 158, 115);
/// Reddish purple.
pub const PURPLE: RGBColor = RGBColor(204, 121, 167);
/// Orange.
pub const ORANGE: RGBColor = RGBColor(230, 159, 0);
/// Sky blue.
pub const SKY: RGBColor = RGBColor(86, 180, 233);

/// Shape of a data point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// A disc.
    Circle,
    /// A square standing on its side.
    Square,
    /// A square standing on its corner.
    Diamond,
    /// A triangle pointing up.
    Triangle,
    /// A triangle pointing down.
    TriangleDown,
}

/// How a method or checkpoint is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// Colour of lines and markers.
    pub color: RGBColor,
    /// Shape of data points.
    pub marker: Marker,
    /// Whether lines are dashed: control checkpoints share their optimizer's colour.
    pub dashed: bool,
}
