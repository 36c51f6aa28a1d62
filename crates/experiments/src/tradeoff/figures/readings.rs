//! One claim by every reading of the same runs: whether its verdict hangs on a choice.

use lab::figures::theme::{BLUE, Marker, ORANGE, Style, VERMILLION};
use lab::figures::{IntervalMark, IntervalRow, IntervalRows};

use crate::names::display;
use crate::tradeoff::statistics::reading;
use crate::tradeoff::statistics::{Effect, PRIMARY, TradeoffStatistics};

/// The specification curve of one task: a row for each reading, marks for the consistency index of the compared pair
/// and for its two parts.
///
/// Readings have different units, so an effect is shown over its standard deviation between seeds: its sign, and how
/// many seeds it takes to see it. The index stands in its own unit beside the reading's name.
pub fn readings(statistics: &TradeoffStatistics, task: &str) -> IntervalRows {
    let of_task = || statistics.effects.iter().filter(move |effect| effect.task == task && !effect.control);
    let rows = reading::all().map(|reading| {
        let by = |part: &str| of_task().filter(|of| of.reading == reading && of.part == part).collect::<Vec<_>>();
        let (index, parts) = (by("b"), by("a"));
        let name = if reading == PRIMARY { format!("{} (primary)", reading.label()) } else { reading.label() };
        let numbers = index.first().map_or_else(|| "not run".into(), |of| of.describe());
        let marks = index.iter().chain(&parts).enumerate().filter_map(|(place, effect)| mark(effect, place));
        IntervalRow {
            label: format!("{name}\n{numbers}, n = {}", index.first().map_or(0, |of| of.samples.len())),
            marks: marks.collect(),
        }
    });
    IntervalRows {
        name: format!("readings-{task}"),
        title: format!("{}: one claim, every reading", display(task)),
        x: "effect / its standard deviation over seeds; positive: the matched optimizer is better".into(),
        rows: rows.collect(),
        reference: 0.0,
    }
}

/// An effect with its interval over its standard deviation; nothing where there is no spread.
fn mark(effect: &Effect, place: usize) -> Option<IntervalMark> {
    let interval = effect.interval?;
    let (low, high) = interval.bounds?;
    let count = effect.samples.len() as f64;
    let squares: f64 = effect.samples.iter().map(|(_, value)| (value - interval.mean).powi(2)).sum();
    let deviation = (squares / (count - 1.0)).sqrt();
    let (color, marker) = [(BLUE, Marker::Circle), (ORANGE, Marker::Triangle), (VERMILLION, Marker::Square)][place % 3];
    let label = if place == 0 { format!("index of {}", effect.label) } else { effect.label.clone() };
    (deviation > 0.0).then(|| IntervalMark {
        label,
        style: Style { color, marker, dashed: false },
        mean: interval.mean / deviation,
        interval: (low / deviation, high / deviation),
    })
}
