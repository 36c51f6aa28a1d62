//! The learning-forgetting tradeoff: one image for a task, one panel for a checkpoint.

use crate::names::{display, style};
use crate::stages::{EndPoint, Results};
use crate::tradeoff::statistics::pareto;
use crate::tradeoff::statistics::{TradeoffStatistics, VERDICT_LEVEL};
use lab::figures::theme::{MUTED, Marker, Style, size};
use lab::figures::{
    Anchor, Axis, Canvas, DrawError, Figure, LegendEntry, Panel, PanelTitles, Text, brief, legend, legend_height,
};
use plotters::prelude::DrawingBackend;

/// Width and height of a panel in CSS pixels.
const PANEL: (u32, u32) = (460, 350);
/// Height set aside for the title.
const HEAD: f64 = 34.0;

/// Points that a run passed on its way to its end point; drawn faintly, used for nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct AlongRun {
    /// Checkpoint that the run started from.
    pub checkpoint: String,
    /// Task.
    pub task: String,
    /// Method.
    pub method: String,
    /// Learning and forgetting in nats per token, in the order of steps.
    pub points: Vec<(f64, f64)>,
}

/// Forgetting against learning on one task, with a panel for each checkpoint: end points of runs
/// (one marker for a run), each method's Pareto front for each seed (thin) and the mean of these
/// fronts over seeds (bold), and the level at which verdicts are read.
#[derive(Clone, Debug)]
pub struct Tradeoff {
    task: String,
    methods: Vec<String>,
    panels: Vec<CheckpointPanel>,
}

/// Data of one panel.
#[derive(Clone, Debug)]
struct CheckpointPanel {
    checkpoint: String,
    methods: Vec<MethodPoints>,
    /// Learning at the verdict level, for each seed.
    levels: Vec<f64>,
    diverged: usize,
    /// Largest forgetting worth showing.
    ceiling: f64,
}

/// End points of one method.
#[derive(Clone, Debug)]
struct MethodPoints {
    method: String,
    /// `(learning, forgetting)` of each usable run, for each seed.
    seeds: Vec<Vec<(f64, f64)>>,
    /// Each of these runs in words, in the same order.
    said: Vec<Vec<String>>,
    along: Vec<Vec<(f64, f64)>>,
}

impl Tradeoff {
    /// The figure of one task; `along` may hold runs of other tasks too, or be empty.
    pub fn new(results: &Results, statistics: &TradeoffStatistics, task: &str, along: &[AlongRun]) -> Self {
        let methods = statistics.comparison.methods.clone();
        let panels = statistics
            .checkpoints(task)
            .into_iter()
            .map(|checkpoint| CheckpointPanel::new(results, statistics, task, checkpoint, along))
            .collect();
        Self { task: task.to_owned(), methods, panels }
    }

    /// At most two, so that the figure stays legible at the width of a page.
    fn columns(&self) -> u32 {
        (self.panels.len() as u32).clamp(1, 2)
    }

    fn rows(&self) -> u32 {
        (self.panels.len() as u32).div_ceil(self.columns()).max(1)
    }
}

impl CheckpointPanel {
    fn new(
        results: &Results,
        statistics: &TradeoffStatistics,
        task: &str,
        checkpoint: String,
        along: &[AlongRun],
    ) -> Self {
        let point = |row: &EndPoint| (row.learning(), row.forgetting());
        let of_seed = |method: &String, seed: u64| -> Vec<&EndPoint> {
            let all = results.of(task, &checkpoint);
            all.filter(|row| row.method == *method && row.seed == seed && row.is_usable()).collect()
        };
        let by_seed =
            |method: &String| results.seeds().into_iter().map(|seed| of_seed(method, seed)).collect::<Vec<_>>();
        let methods: Vec<MethodPoints> = statistics
            .comparison
            .methods
            .iter()
            .map(|method| MethodPoints {
                method: method.clone(),
                seeds: by_seed(method).iter().map(|rows| rows.iter().map(|row| point(row)).collect()).collect(),
                said: by_seed(method).iter().map(|rows| rows.iter().map(|row| said(row)).collect()).collect(),
                along: along
                    .iter()
                    .filter(|run| run.task == task && run.checkpoint == checkpoint && run.method == *method)
                    .map(|run| run.points.clone())
                    .collect(),
            })
            .collect();
        let levels = statistics
            .verdict_learning
            .iter()
            .filter(|(of_task, of_checkpoint, ..)| of_task == task && *of_checkpoint == checkpoint)
            .map(|&(.., learning)| learning)
            .collect();
        let diverged = results.of(task, &checkpoint).filter(|row| !row.is_usable()).count();
        // Runs with a far too large rate forget many times more than any that is compared: show up
        // to somewhat more than the most that is forgotten at any level, and count the rest.
        let compared = statistics
            .cells
            .iter()
            .filter(|cell| cell.task == task && cell.checkpoint == checkpoint)
            .flat_map(|cell| cell.values.iter().flat_map(|read| read.forgetting))
            .fold(f64::NEG_INFINITY, f64::max);
        let most = methods
            .iter()
            .flat_map(|method| method.seeds.iter().flatten())
            .map(|point| point.1)
            .fold(f64::NEG_INFINITY, f64::max);
        let ceiling = if compared > 0.0 { most.min(1.5 * compared) } else { most };
        Self { checkpoint, methods, levels, diverged, ceiling }
    }

    fn end_points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.methods.iter().flat_map(|method| method.seeds.iter().flatten().copied())
    }

    fn draw<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        rectangle: (f64, f64, f64, f64),
    ) -> Result<(), DrawError<DB>> {
        let shown = || self.end_points().filter(|point| point.1 <= self.ceiling);
        let x = Axis::around(shown().map(|p| p.0.max(0.0)).chain([0.0]), 0.04, 5);
        let y = Axis::around(shown().map(|p| p.1).chain([0.0]), 0.06, 5);
        let title = format!("From the {} checkpoint", display(&self.checkpoint));
        let titles = PanelTitles { title: &title, x: "learning (nats per token)", y: "forgetting (nats per token)" };
        let panel = Panel::new(canvas, rectangle, (x, y), titles)?;
        self.draw_level(canvas, &panel)?;
        for method in &self.methods {
            let style = style(&method.method);
            for run in &method.along {
                for &point in run {
                    panel.marker(point, Style { marker: Marker::Circle, ..style }, 1.1, 0.25)?;
                }
            }
            for seed in &method.seeds {
                panel.line(&pareto::front(seed), style, 0.35, 1.0)?;
            }
        }
        // Bold lines and markers of all methods lie above all thin lines.
        for method in &self.methods {
            panel.line(&mean_front(&method.seeds), style(&method.method), 1.0, 2.4)?;
        }
        let mut off_scale = 0;
        for method in &self.methods {
            for (&point, said) in method.seeds.iter().flatten().zip(method.said.iter().flatten()) {
                panel.marker(point, style(&method.method), 3.1, 0.75)?;
                panel.note(point, said);
                off_scale += usize::from(!panel.contains(point));
            }
        }
        let mut line = 0;
        for (count, what) in [(off_scale, "off the scale"), (self.diverged, "diverged")] {
            if count > 0 {
                let plural = if count == 1 { "run" } else { "runs" };
                panel.remark(&format!("{count} {plural} {what}"), line)?;
                line += 1;
            }
        }
        Ok(())
    }

    /// The verdict level: its mean over seeds, and a band over the seeds' range.
    fn draw_level<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        panel: &Panel<'_, '_, DB>,
    ) -> Result<(), DrawError<DB>> {
        let finite: Vec<f64> = self.levels.iter().copied().filter(|level| level.is_finite()).collect();
        let (Some(low), Some(high)) =
            (finite.iter().copied().min_by(f64::total_cmp), finite.iter().copied().max_by(f64::total_cmp))
        else {
            return Ok(());
        };
        let mean = finite.iter().sum::<f64>() / finite.len() as f64;
        let (_, top, right, bottom) = panel.frame();
        let at = |learning| panel.at((learning, 0.0)).0.min(right);
        canvas.rectangle((at(low), top), (at(high), bottom), MUTED, 0.12)?;
        canvas.dashed(&[(at(mean), top), (at(mean), bottom)], MUTED, 1.0, 1.2)?;
        let label = format!("{:.0} % level", VERDICT_LEVEL * 100.0);
        let text = Text::new(&label, size::REMARK).colored(MUTED);
        // At the foot of the line, where forgetting is least and data are few; left of it where the right has no room.
        let fits = at(mean) + 5.0 + canvas.text_width(text) <= right;
        let (x, anchor) = if fits { (at(mean) + 5.0, Anchor::Left) } else { (at(mean) - 5.0, Anchor::Right) };
        canvas.text((x, bottom - 9.0), text.anchored(anchor))
    }
}

/// A run in words, for who points at it.
fn said(row: &EndPoint) -> String {
    let order = if row.order == 0 { String::new() } else { format!(", data order {}", row.order) };
    format!(
        "{} checkpoint, {} at rate {}, seed {}{order}: learning {}, forgetting {} nats per token",
        display(&row.checkpoint),
        display(&row.method),
        brief(row.learning_rate),
        row.seed,
        brief(row.learning()),
        brief(row.forgetting())
    )
}

/// Mean over seeds of their Pareto fronts, at learnings that every seed's front covers.
fn mean_front(seeds: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    const STEPS: usize = 80;
    let fronts: Vec<Vec<(f64, f64)>> =
        seeds.iter().map(|points| pareto::front(points)).filter(|front| !front.is_empty()).collect();
    // The least learning that all cover is the largest first point, the most the smallest last.
    let first = fronts.iter().filter_map(|front| front.first());
    let low = first.map(|point| point.0).fold(f64::NEG_INFINITY, f64::max);
    let last = fronts.iter().filter_map(|front| front.last());
    let high = last.map(|point| point.0).fold(f64::INFINITY, f64::min);
    if fronts.is_empty() || low >= high {
        return Vec::new();
    }
    (0..=STEPS)
        .map(|step| {
            let learning = low + (high - low) * step as f64 / STEPS as f64;
            let sum: f64 = fronts.iter().map(|front| interpolate(front, learning)).sum();
            (learning, sum / fronts.len() as f64)
        })
        .collect()
}

/// Linear interpolation in a front that is ascending in learning and not empty.
fn interpolate(front: &[(f64, f64)], learning: f64) -> f64 {
    let right = front.partition_point(|point| point.0 < learning).min(front.len() - 1);
    let (to, from) = (front[right], front[right.saturating_sub(1)]);
    if to.0 <= from.0 {
        return to.1;
    }
    from.1 + (to.1 - from.1) * ((learning - from.0) / (to.0 - from.0)).clamp(0.0, 1.0)
}

impl Figure for Tradeoff {
    fn name(&self) -> String {
        format!("tradeoff-{}", self.task)
    }

    fn size(&self) -> (u32, u32) {
        let legend_lines = if self.columns() == 1 { 2 } else { 1 };
        let legend = legend_height(legend_lines) as u32 + 10;
        (self.columns() * PANEL.0, HEAD as u32 + self.rows() * PANEL.1 + legend)
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), DrawError<DB>> {
        let (width, _) = canvas.size();
        let title = format!("Forgetting against learning: {}", self.task);
        canvas.text((width / 2.0, 18.0), Text::new(&title, size::TITLE).bold())?;
        let (panel_width, panel_height) = (f64::from(PANEL.0), f64::from(PANEL.1));
        for (index, panel) in self.panels.iter().enumerate() {
            let column = index as u32 % self.columns();
            let row = index as u32 / self.columns();
            let (left, top) = (f64::from(column) * panel_width, HEAD + f64::from(row) * panel_height);
            panel.draw(canvas, (left + 6.0, top, left + panel_width, top + panel_height))?;
        }
        if self.panels.is_empty() {
            canvas.text((width / 2.0, HEAD + panel_height / 2.0), Text::new("no runs", size::LABEL).colored(MUTED))?;
        }
        let entries: Vec<LegendEntry> = self
            .methods
            .iter()
            .map(|method| LegendEntry { label: display(method), style: style(method), line: true, marker: true })
            .collect();
        legend(canvas, HEAD + f64::from(self.rows()) * panel_height + 2.0, &entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_front_covers_what_all_seeds_cover() {
        let seeds = [vec![(0.0, 0.0), (2.0, 2.0)], vec![(1.0, 3.0), (3.0, 5.0)], vec![]];
        let mean = mean_front(&seeds);
        assert_eq!(mean.first(), Some(&(1.0, 2.0)));
        assert_eq!(mean.last(), Some(&(2.0, 3.0)));
    }

    #[test]
    fn seeds_that_share_no_learning_have_no_mean() {
        assert!(mean_front(&[vec![(0.0, 0.0), (1.0, 1.0)], vec![(2.0, 0.0), (3.0, 1.0)]]).is_empty());
        assert!(mean_front(&[]).is_empty());
    }
}
