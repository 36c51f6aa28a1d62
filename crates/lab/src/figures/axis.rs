//! Ranges, ticks and clipping.

/// A linear axis: its range and its ticks.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis over `low..high` with about `count` ticks at round numbers. An empty or non-finite
    /// range becomes one unit wide, so that any data can be drawn.
    pub fn new(low: f64, high: f64, count: usize) -> Self {
        let (low, high) = match (low.is_finite(), high.is_finite()) {
            (true, true) if high - low > f64::EPSILON * low.abs().max(high.abs()) => (low, high),
            (true, _) => (low - 0.5, low + 0.5),
            (false, true) => (high - 0.5, high + 0.5),
            (false, false) => (0.0, 1.0),
        };
        Self { low, high, ticks: ticks(low, high, count.max(2)) }
    }

    /// An axis around finite `values` with a margin of `margin` of their span on both sides.
    pub fn around(values: impl IntoIterator<Item = f64>, margin: f64, count: usize) -> Self {
        let (low, high) = values
            .into_iter()
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let span = high - low;
        Self::new(low - margin * span, high + margin * span, count)
    }

    /// An axis without ticks for `count` categories at 0, 1, 2, ...
    pub fn categories(count: usize) -> Self {
        Self { low: -0.5, high: count.max(1) as f64 - 0.5, ticks: Vec::new() }
    }

    /// The same axis with other labels at its ticks.
    pub fn labelled(mut self, label: impl Fn(f64) -> String) -> Self {
        for (value, text) in &mut self.ticks {
            *text = label(*value);
        }
        self
    }

    /// Ends of the range.
    pub fn range(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Values and labels of the ticks, ascending.
    pub fn ticks(&self) -> &[(f64, String)] {
        &self.ticks
    }

    /// Whether a value lies within the range.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Where a value lies: 0 at the lower and 1 at the upper end.
    pub fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }
}

/// Ticks at multiples of 1, 2 or 5 times a power of ten, labelled with as many decimals as needed.
fn ticks(low: f64, high: f64, count: usize) -> Vec<(f64, String)> {
    let rough = (high - low) / count as f64;
    let power = rough.log10().floor();
    let base = 10f64.powf(power);
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * base >= rough * 0.99).unwrap_or(10.0);
    let step = factor * base;
    let decimals = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last)
        .map(|index| {
            let value = index as f64 * step;
            (value, format!("{value:.decimals$}"))
        })
        .collect()
}

/// The part of a segment that lies within both axes, or `None`; positions are data.
pub fn clip_segment((x, y): (&Axis, &Axis), from: (f64, f64), to: (f64, f64)) -> Option<((f64, f64), (f64, f64))> {
    if ![from.0, from.1, to.0, to.1].iter().all(|value| value.is_finite()) {
        return None;
    }
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (mut enter, mut leave) = (0.0f64, 1.0f64);
    let sides = [(-dx, from.0 - x.low), (dx, x.high - from.0), (-dy, from.1 - y.low), (dy, y.high - from.1)];
    for (towards, distance) in sides {
        if towards == 0.0 {
            if distance < 0.0 {
                return None;
            }
        } else if towards < 0.0 {
            enter = enter.max(distance / towards);
        } else {
            leave = leave.min(distance / towards);
        }
    }
    let at = |share: f64| (from.0 + share * dx, from.1 + share * dy);
    (enter <= leave).then(|| (at(enter), at(leave)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks().iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(&Axis::new(0.0, 1.0, 5)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&Axis::new(-12.0, 31.0, 4)), ["0", "20"]);
        assert_eq!(labels(&Axis::new(0.01, 0.033, 4)), ["0.01", "0.02", "0.03"]);
    }

    #[test]
    fn impossible_ranges_become_possible() {
        for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (f64::INFINITY, f64::NEG_INFINITY)] {
            let (low, high) = Axis::new(low, high, 5).range();
            assert!(low.is_finite() && high - low > 0.0);
        }
    }

    #[test]
    fn segments_are_cut_at_the_edge() {
        let axis = Axis::new(0.0, 1.0, 5);
        let cut = clip_segment((&axis, &axis), (-1.0, 0.5), (0.5, 0.5)).unwrap();
        assert_eq!(cut, ((0.0, 0.5), (0.5, 0.5)));
        assert_eq!(clip_segment((&axis, &axis), (-1.0, 2.0), (2.0, 2.0)), None);
        assert_eq!(clip_segment((&axis, &axis), (f64::NAN, 0.0), (1.0, 1.0)), None);
    }

    proptest! {
        #[test]
        fn any_range_has_few_ticks_inside(low in -1e6..1e6f64, span in 1e-3..1e6f64, count in 2usize..9) {
            let axis = Axis::new(low, low + span, count);
            let (low, high) = axis.range();
            let slack = 1e-6 * (high - low);
            prop_assert!(axis.ticks().len() <= count + 1);
            prop_assert!(axis.ticks().iter().all(|(v, _)| *v >= low - slack && *v <= high + slack));
        }
    }
}
