//! How much more other methods forget than the matched one: means with intervals, for every checkpoint and method.

use crate::names::{display, style};
use crate::tradeoff::statistics::{Effect, PRIMARY, TradeoffStatistics};
use lab::figures::theme::{INK, MUTED, size};
use lab::figures::{
    Axis, Canvas, DrawError, Figure, LegendEntry, Panel, PanelTitles, Text, brief, legend, legend_height,
};
use plotters::prelude::DrawingBackend;

/// Height of one task's panel in CSS pixels.
const PANEL_HEIGHT: u32 = 330;
const HEAD: f64 = 34.0;

/// The primary reading of every comparison from one checkpoint, a panel for each task: the mean over seeds with its
/// 95 % interval, and the seeds as small markers.
#[derive(Clone, Debug)]
pub struct Matched {
    methods: Vec<String>,
    panels: Vec<TaskPanel>,
    checkpoints: usize,
}

#[derive(Clone, Debug)]
struct TaskPanel {
    task: String,
    /// Checkpoints with their comparisons, each with the other method.
    checkpoints: Vec<(String, Vec<(String, Effect)>)>,
}

impl Matched {
    /// The figure of all tasks.
    pub fn new(statistics: &TradeoffStatistics) -> Self {
        let of = |task: &str, checkpoint: &str| {
            let effects = statistics.effects.iter().filter(|of| of.task == task && of.reading == PRIMARY);
            let alone = effects.filter_map(|effect| match &effect.terms[..] {
                [term] if term.checkpoint == checkpoint => Some((term.other.clone(), effect.clone())),
                _ => None,
            });
            alone.collect::<Vec<(String, Effect)>>()
        };
        let panel = |task: String| {
            let checkpoints = statistics.checkpoints(&task).into_iter();
            let checkpoints = checkpoints.map(|checkpoint| (checkpoint.clone(), of(&task, &checkpoint))).collect();
            TaskPanel { task, checkpoints }
        };
        let panels: Vec<TaskPanel> = statistics.tasks().into_iter().map(panel).collect();
        let checkpoints = panels.iter().map(|panel| panel.checkpoints.len()).max().unwrap_or(0);
        let compared = |method: &&String| {
            let all = panels.iter().flat_map(|panel| &panel.checkpoints).flat_map(|(_, effects)| effects);
            all.into_iter().any(|(other, _)| other == *method)
        };
        let methods = statistics.comparison.methods.iter().filter(compared).cloned().collect();
        Self { methods, panels, checkpoints }
    }
}

impl TaskPanel {
    fn draw<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        rectangle: (f64, f64, f64, f64),
    ) -> Result<(), DrawError<DB>> {
        let effects = || self.checkpoints.iter().flat_map(|(_, effects)| effects);
        let values = effects().flat_map(|(_, effect)| effect.samples.iter().map(|&(_, value)| value));
        // Intervals of two or three seeds can be many times as wide as the data: they are cut off.
        let y = Axis::around(values.chain([0.0]), 0.12, 5);
        let x = Axis::categories(self.checkpoints.len());
        let y_title = PRIMARY.label();
        let titles = PanelTitles { title: &format!("Task: {}", self.task), x: "checkpoint", y: &y_title };
        let panel = Panel::new(canvas, rectangle, (x, y), titles)?;
        let (left, top, right, bottom) = panel.frame();
        let zero = panel.at((0.0, 0.0)).1;
        canvas.line(&[(left, zero), (right, zero)], INK, 0.8, 1.0)?;
        let slot = (right - left) / self.checkpoints.len().max(1) as f64;
        for (index, (checkpoint, effects)) in self.checkpoints.iter().enumerate() {
            let middle = panel.at((index as f64, 0.0)).0;
            canvas.text((middle, bottom + 12.0), Text::new(&display(checkpoint), size::TICK))?;
            if index > 0 {
                let edge = middle - slot / 2.0;
                canvas.line(&[(edge, top), (edge, bottom)], MUTED, 0.35, 0.75)?;
            }
            let step = (slot * 0.8 / effects.len().max(1) as f64).min(34.0);
            for (order, (other, effect)) in effects.iter().enumerate() {
                let shift = (order as f64 - (effects.len() as f64 - 1.0) / 2.0) * step;
                self.draw_effect(canvas, &panel, (index as f64, shift), other, effect)?;
            }
        }
        Ok(())
    }

    fn draw_effect<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        panel: &Panel<'_, '_, DB>,
        (x, shift): (f64, f64),
        other: &str,
        effect: &Effect,
    ) -> Result<(), DrawError<DB>> {
        let style = style(other);
        let at = |value: f64| {
            let (left, top) = panel.at((x, value));
            (left + shift, top)
        };
        let Some(mean) = effect.interval else {
            let (_, _, _, bottom) = panel.frame();
            let at = (at(0.0).0, bottom - 9.0);
            return canvas.text(at, Text::new("n/a", size::REMARK).colored(style.color));
        };
        for &(seed, value) in &effect.samples {
            let (left, top) = at(value);
            canvas.marker((left + 6.0, top), style, 1.8, 0.45)?;
            canvas.note((left + 6.0, top), format!("{}, seed {seed}: {}", effect.label, brief(value)));
        }
        if let Some(bounds) = mean.bounds {
            panel.whisker_y(x, bounds, shift, style.color)?;
        }
        canvas.note(at(mean.mean), format!("{}: {}, n = {}", effect.label, effect.describe(), mean.n));
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
        canvas.text(
            (width / 2.0, 18.0),
            Text::new("Forgetting of other methods against the matched one", size::TITLE).bold(),
        )?;
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
