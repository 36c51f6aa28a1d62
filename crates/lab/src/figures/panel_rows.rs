//! Panels of one size, in rows, under a title and above one legend.

use plotters::prelude::DrawingBackend;

use super::canvas::{Canvas, DrawError, Text};
use super::panel::{LegendEntry, legend, legend_height};
use super::theme::size;

/// Height of the title above the panels.
const HEAD: f64 = 34.0;
/// Room for a title over a single panel.
const LEAST_WIDTH: f64 = 620.0;

/// How many panels there are, and how they stand.
pub(super) struct PanelRows {
    /// Number of panels.
    pub(super) count: usize,
    /// The most beside each other.
    pub(super) columns: usize,
    /// Width and height of a panel.
    pub(super) panel: (f64, f64),
}

impl PanelRows {
    fn columns(&self) -> usize {
        self.columns.min(self.count).max(1)
    }

    /// Where the last row of panels ends.
    fn bottom(&self) -> f64 {
        HEAD + self.panel.1 * self.count.div_ceil(self.columns.max(1)).max(1) as f64
    }

    /// Size of the figure, with a legend of two lines.
    pub(super) fn size(&self) -> (u32, u32) {
        let width = (self.panel.0 * self.columns() as f64).max(LEAST_WIDTH);
        (width as u32, (self.bottom() + legend_height(2) + 8.0) as u32)
    }

    /// Left, top, right and bottom of a panel on a figure of some width.
    pub(super) fn rectangle(&self, width: f64, index: usize) -> (f64, f64, f64, f64) {
        let columns = self.columns();
        let left = width / columns as f64 * (index % columns) as f64;
        let top = HEAD + self.panel.1 * (index / columns) as f64;
        (left, top, left + width / columns as f64, top + self.panel.1)
    }

    /// Draws the title, and every label of the legend once.
    pub(super) fn frame<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        title: &str,
        all: impl Iterator<Item = LegendEntry>,
    ) -> Result<(), DrawError<DB>> {
        canvas.text((canvas.size().0 / 2.0, 18.0), Text::new(title, size::TITLE).bold())?;
        let mut entries: Vec<LegendEntry> = Vec::new();
        for entry in all {
            if entries.iter().all(|known| known.label != entry.label) {
                entries.push(entry);
            }
        }
        legend(canvas, self.bottom() + 4.0, &entries)
    }
}
