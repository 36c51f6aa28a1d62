//! Figures, each written as SVG and PNG from one drawing function.
//!
//! A figure is a type with the data it shows that implements [`Figure`]; [`save`] draws it with
//! both backends. It draws on a [`Canvas`] in CSS pixels, mostly through [`Panel`]s, with the
//! colours, markers and sizes of [`theme`]. Nothing depends on the system: the font comes from a
//! crate, and the same data give the same bytes.
//!
//! A new figure is a new file and one line here.

mod axis;
mod canvas;
mod output;
mod panel;
pub mod theme;

mod cell_map;
mod consistency;
mod curves;
mod interval_rows;
mod line_panels;
mod matched;
mod tradeoff;

pub use axis::{Axis, clip_segment};
pub use canvas::{Anchor, Canvas, DrawError, Text};
pub use cell_map::{CellMap, CellPanel};
pub use consistency::Consistency;
pub use curves::{Curve, Curves};
pub use interval_rows::{IntervalMark, IntervalRow, IntervalRows};
pub(crate) use line_panels::Point;
pub use line_panels::{LinePanel, LinePanels, Series};
pub use matched::Matched;
pub use output::{Figure, FigureError, Saved, save};
pub use panel::{LegendEntry, Panel, PanelTitles, legend, legend_height};
pub use tradeoff::{AlongRun, Tradeoff};
