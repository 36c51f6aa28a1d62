//! Forgetting at matched learning: means with intervals, for every checkpoint and method.

use crate::names::{display, style};
use crate::tradeoff::statistics::Cell;
use crate::tradeoff::statistics::{TradeoffStatistics, VERDICT_LEVEL};
use lab::figures::theme::{MUTED, size};
use lab::figures::{Axis, Canvas, DrawError, Figure, LegendEntry, Panel, PanelTitles, Text, legend, legend_height};
use plotters::prelude::DrawingBackend;

/// Height of one task's panel in CSS pixels.
const PANEL_HEIGHT: u32 = 330;
const HEAD: f64 = 34.0;

/// Forgetting at the verdict level, a panel for each task: the mean over seeds with its 95 %
/// interval, and the seeds as small markers.
#[derive(Clone, Debug)]
pub struct Matched {
    methods: Vec<String>,
    panels: Vec<TaskPanel>,
    checkpoints: usize,
}

#[derive(Clone, Debug)]
struct TaskPanel {
    task: String,
    /// Checkpoints with their cells, one for each method.
    checkpoints: Vec<(String, Vec<Cell>)>,
}

impl Matched {
    /// The figure of all tasks.
    pub fn new(statistics: &TradeoffStatistics) -> Self {
        let table = &statistics.table;
        let panels: Vec<TaskPanel> = table
            .tasks()
            .into_iter()
            .map(|task| TaskPanel {
                checkpoints: statistics
                    .checkpoints(&task)
                    .into_iter()
                    .map(|checkpoint| {
                        let cells = table
                            .methods
                            .iter()
                            .filter_map(|method| table.cell(&task, &checkpoint, method, VERDICT_LEVEL))
                            .cloned()
                            .collect();
                        (checkpoint, cells)
                    })
                    .collect(),
                task,
            })
            .collect();
        let checkpoints = panels.iter().map(|panel| panel.checkpoints.len()).max().unwrap_or(0);
        Self { methods: table.methods.clone(), panels, checkpoints }
    }
}

impl TaskPanel {
    fn draw<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        rectangle: (f64, f64, f64, f64),
    ) -> Result<(), DrawError<DB>> {
        let cells = || self.checkpoints.iter().flat_map(|(_, cells)| cells);
        let values = cells().flat_map(|cell| cell.values.iter().map(|&(_, value)| value));
        // Intervals of two or three seeds can be many times as wide as the data: they are cut off.
        let y = Axis::around(values.chain([0.0]), 0.12, 5);
        let x = Axis::categories(self.checkpoints.len());
        let y_title = format!("forgetting at {:.0} % (nats per token)", VERDICT_LEVEL * 100.0);
        let titles = PanelTitles { title: &format!("Task: {}", self.task), x: "checkpoint", y: &y_title };
        let panel = Panel::new(canvas, rectangle, (x, y), titles)?;
        let (left, top, right, bottom) = panel.frame();
        let slot = (right - left) / self.checkpoints.len().max(1) as f64;
        for (index, (checkpoint, cells)) in self.checkpoints.iter().enumerate() {
            let middle = panel.at((index as f64, 0.0)).0;
            canvas.text((middle, bottom + 12.0), Text::new(&display(checkpoint), size::TICK))?;
            if index > 0 {
                let edge = middle - slot / 2.0;
                canvas.line(&[(edge, top), (edge, bottom)], MUTED, 0.35, 0.75)?;
            }
            let step = (slot * 0.8 / cells.len() as f64).min(34.0);
            for (order, cell) in cells.iter().enumerate() {
                let shift = (order as f64 - (cells.len() - 1) as f64 / 2.0) * step;
                self.draw_cell(canvas, &panel, index as f64, shift, cell)?;
            }
        }
        Ok(())
    }

    fn draw_cell<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        panel: &Panel<'_, '_, DB>,
        x: f64,
        shift: f64,
        cell: &Cell,
    ) -> Result<(), DrawError<DB>> {
        let style = style(&cell.method);
        let at = |value: f64| {
            let (left, top) = panel.at((x, value));
            (left + shift, top)
        };
        let Some(mean) = cell.mean() else {
            let (_, _, _, bottom) = panel.frame();
            let at = (at(0.0).0, bottom - 9.0);
            return canvas.text(at, Text::new("n/a", size::REMARK).colored(style.color));
        };
        for &(_, value) in &cell.values {
            let (left, top) = at(value);
            canvas.marker((left + 6.0, top), style, 1.8, 0.45)?;
        }
        if let Some(bounds) = mean.bounds {
            panel.whisker_y(x, bounds, shift, style.color)?;
        }
        canvas.marker(at(mean.mean), style, 4.2, 1.0)
    }
}

impl Figure for Matched {
    fn name(&self) -> String {
        "matched".to_owned()
    }

    fn size(&self) -> (u32, u32) {
        let width = (180 * self.checkpoints as u32).clamp(560, 1000);
        let panels = self.panels.len().max(1) as u32;
        (width, HEAD as u32 + panels * PANEL_HEIGHT + legend_height(1) as u32 + 10)
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), DrawError<DB>> {
        let (width, _) = canvas.size();
        canvas.text((width / 2.0, 18.0), Text::new("Forgetting at matched learning", size::TITLE).bold())?;
        let height = f64::from(PANEL_HEIGHT);
        for (index, panel) in self.panels.iter().enumerate() {
            let top = HEAD + index as f64 * height;
            panel.draw(canvas, (6.0, top, width, top + height))?;
        }
        if self.panels.is_empty() {
            canvas.text((width / 2.0, HEAD + height / 2.0), Text::new("no runs", size::LABEL).colored(MUTED))?;
        }
        let entries: Vec<LegendEntry> = self
            .methods
            .iter()
            .map(|method| LegendEntry { label: display(method), style: style(method), line: false, marker: true })
            .collect();
        legend(canvas, HEAD + self.panels.len().max(1) as f64 * height + 2.0, &entries)
    }
}
