//! Figures, each written as SVG and PNG from one drawing function.
//!
//! A figure is a type with the data it shows that implements [`Figure`]; [`save`] draws it with both backends. It draws
//! on a [`Canvas`] in CSS pixels, mostly through [`Panel`]s, with the markers and sizes of [`theme`]; which name has
//! which colour is the user's. Nothing depends on the system: the font comes from a crate, and the same data give the
//! same bytes.
//!
//! A new figure is a new file and one line here.

mod axis;
mod canvas;
mod font;
mod output;
mod panel;
mod panel_rows;
mod text;
pub mod theme;

mod cell_map;
mod interval_rows;
mod line_panels;
mod scatter_panels;

pub use axis::{Axis, clip_segment};
pub use canvas::{Anchor, Canvas, DrawError, Text};
pub use cell_map::{CellMap, CellPanel};
pub use interval_rows::{IntervalMark, IntervalRow, IntervalRows};
pub use line_panels::{LinePanel, LinePanels, Point, Series};
pub use output::{Figure, FigureError, Saved, save};
pub use panel::{LegendEntry, Panel, PanelTitles, legend, legend_height};
pub use scatter_panels::{Cloud, ScatterPanel, ScatterPanels};
pub(crate) use text::visible;
pub use text::{brief, file_stem};
