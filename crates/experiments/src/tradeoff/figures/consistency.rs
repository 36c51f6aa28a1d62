//! The consistency index of every task and pair of checkpoints.

use lab::figures::theme::{GRID, INK, MUTED, Marker, Style, size};
use lab::figures::{Anchor, Axis, Canvas, DrawError, Figure, Text, brief};
use lab::statistics::Verdict;
use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;

use crate::tradeoff::statistics::reading::{OTHERS, Quantity, Reading};
use crate::tradeoff::statistics::{Effect, PRIMARY, TradeoffStatistics};

const WIDTH: u32 = 860;
const HEAD: f64 = 40.0;
const ROW: f64 = 46.0;
const FOOT: f64 = 74.0;
/// Left and right end of the plotting area; beside it stand the labels and the numbers.
const PLOT: (f64, f64) = (220.0, 600.0);

/// Consistency indices with 95 % intervals: for each task and pair one row with the primary reading (large) above the
/// other readings in its unit (small, without interval).
#[derive(Clone, Debug)]
pub struct Consistency {
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    task: String,
    pair: String,
    control: bool,
    verdict: Effect,
    others: Vec<Effect>,
}

impl Consistency {
    /// The figure of all tasks and pairs, in the order of the statistics.
    pub fn new(statistics: &TradeoffStatistics) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for effect in statistics.consistency().filter(|effect| effect.reading == PRIMARY) {
            let of_row = |other: &&Effect| other.task == effect.task && other.pair == effect.pair;
            let others = small().filter_map(|reading| {
                statistics.consistency().filter(of_row).find(|other| other.reading == reading).cloned()
            });
            let others = others.collect();
            rows.push(Row {
                task: effect.task.clone(),
                pair: effect.pair.clone(),
                control: effect.control,
                verdict: effect.clone(),
                others,
            });
        }
        Self { rows }
    }

    /// The axis shows every seed and every mean; an interval that is much wider is cut off.
    fn axis(&self) -> Axis {
        let effects = || self.rows.iter().flat_map(|row| row.others.iter().chain([&row.verdict]));
        let samples = effects().flat_map(|effect| effect.samples.iter().map(|&(_, value)| value));
        Axis::around(samples.chain([0.0]), 0.25, 5)
    }
}

/// The readings in the unit of the primary one.
fn small() -> impl Iterator<Item = Reading> {
    let in_unit = |of: &Reading| matches!(of.quantity, Quantity::LogRatio(_) | Quantity::MeanLogRatio);
    OTHERS.into_iter().filter(in_unit)
}

/// Colour of a verdict.
fn verdict_color(verdict: Verdict) -> RGBColor {
    match verdict {
        Verdict::Reproduced => RGBColor(0, 128, 92),
        Verdict::Contradicted => RGBColor(190, 60, 30),
        Verdict::Inconclusive => MUTED,
    }
}

impl Figure for Consistency {
    fn name(&self) -> String {
        "consistency".to_owned()
    }

    fn size(&self) -> (u32, u32) {
        (WIDTH, (HEAD + ROW * self.rows.len().max(1) as f64 + FOOT) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), DrawError<DB>> {
        let axis = self.axis();
        let (left, right) = PLOT;
        let at = |value: f64| left + axis.share(value).clamp(0.0, 1.0) * (right - left);
        let bottom = HEAD + ROW * self.rows.len().max(1) as f64;
        let middle = f64::from(WIDTH) / 2.0;
        canvas.text((middle, 18.0), Text::new("Consistency index", size::TITLE).bold())?;
        for (value, label) in axis.ticks() {
            canvas.line(&[(at(*value), HEAD), (at(*value), bottom)], GRID, 1.0, 0.75)?;
            canvas.text((at(*value), bottom + 12.0), Text::new(label, size::TICK))?;
        }
        canvas.line(&[(at(0.0), HEAD), (at(0.0), bottom)], INK, 1.0, 1.2)?;
        canvas.line(&[(left, bottom), (right, bottom)], INK, 1.0, 1.0)?;
        let x_title = "index (ln ratio of forgetting); positive: the matched optimizer forgets less";
        canvas.text(((left + right) / 2.0, bottom + 32.0), Text::new(x_title, size::LABEL))?;
        let names: Vec<String> = small().map(|reading| reading.label()).collect();
        let key = format!(
            "discs: {} with 95 % interval; dots: its seeds; triangles down and up: {}",
            PRIMARY.label(),
            names.join("; ")
        );
        canvas.text(((left + right) / 2.0, bottom + 52.0), Text::new(&key, size::REMARK).colored(MUTED))?;
        for (index, row) in self.rows.iter().enumerate() {
            row.draw(canvas, HEAD + (index as f64 + 0.5) * ROW, &at, &axis)?;
        }
        if self.rows.is_empty() {
            let at = ((left + right) / 2.0, HEAD + ROW / 2.0);
            canvas.text(at, Text::new("no runs", size::LABEL).colored(MUTED))?;
        }
        Ok(())
    }
}

impl Row {
    /// Draws the row centred at height `y`; `at` maps an index to the canvas.
    fn draw<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        y: f64,
        at: &impl Fn(f64) -> f64,
        axis: &Axis,
    ) -> Result<(), DrawError<DB>> {
        let color = verdict_color(self.verdict.verdict());
        let style = Style { color, marker: Marker::Circle, dashed: false };
        let edge = PLOT.0 - 14.0;
        let task = Text::new(&self.task, size::LABEL).bold().anchored(Anchor::Right);
        canvas.text((edge, y - 8.0), task)?;
        let pair = if self.control { format!("{}, control", self.pair) } else { self.pair.clone() };
        canvas.text((edge, y + 8.0), Text::new(&pair, size::REMARK).colored(MUTED).anchored(Anchor::Right))?;

        for (order, other) in self.others.iter().enumerate() {
            if let Some(interval) = other.interval {
                let small = Style { marker: [Marker::TriangleDown, Marker::Triangle][order % 2], ..style };
                canvas.marker((at(interval.mean), y + 11.0), small, 2.8, 0.45)?;
                let text = format!("{}, {}: {}", self.pair, other.reading.label(), other.describe());
                canvas.note((at(interval.mean), y + 11.0), text);
            }
        }
        for &(seed, value) in &self.verdict.samples {
            canvas.marker((at(value), y - 11.0), style, 1.8, 0.55)?;
            canvas.note((at(value), y - 11.0), format!("{}, seed {seed}: {}", self.pair, brief(value)));
        }
        let numbers = PLOT.1 + 14.0;
        let Some(interval) = self.verdict.interval else {
            let none = Text::new("not measured", size::REMARK).colored(MUTED).anchored(Anchor::Left);
            return canvas.text((numbers, y), none);
        };
        if let Some((low, high)) = interval.bounds {
            canvas.line(&[(at(low), y), (at(high), y)], color, 1.0, 2.0)?;
            for end in [low, high].into_iter().filter(|&end| axis.contains(end)) {
                canvas.line(&[(at(end), y - 4.0), (at(end), y + 4.0)], color, 1.0, 2.0)?;
            }
        }
        canvas.marker((at(interval.mean), y), style, 4.6, 1.0)?;
        let text = format!("{}, {}: {}", self.pair, self.verdict.reading.label(), self.verdict.describe());
        canvas.note((at(interval.mean), y), text);
        let value = self.verdict.describe();
        canvas.text((numbers, y - 8.0), Text::new(&value, size::TICK).anchored(Anchor::Left))?;
        let verdict = self.verdict.verdict();
        let word = if self.control { verdict.as_sign().to_owned() } else { verdict.to_string() };
        let verdict = format!("{word}, n = {}", interval.n);
        let verdict = Text::new(&verdict, size::REMARK).colored(color).anchored(Anchor::Left);
        canvas.text((numbers, y + 8.0), verdict)
    }
}
