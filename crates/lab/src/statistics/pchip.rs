//! Monotone interpolation: piecewise cubic Hermite polynomials whose slopes keep the data's ups and downs (Fritsch and
//! Carlson 1980), with the slopes of Fritsch and Butland (1984) inside and one-sided ones of three points at the ends,
//! as in SciPy's `PchipInterpolator`.

/// A curve through points, without overshoot between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pchip {
    /// Place, value and slope, by ascending place.
    knots: Vec<(f64, f64, f64)>,
}

impl Pchip {
    /// The curve through `(x, y)`, finite and by strictly ascending `x`; `None` with fewer than two points or others.
    pub fn new(points: &[(f64, f64)]) -> Option<Self> {
        let ascending = points.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if points.len() < 2 || !ascending || points.iter().any(|(x, y)| !(x.is_finite() && y.is_finite())) {
            return None;
        }
        let widths: Vec<f64> = points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        let rises: Vec<f64> = points.windows(2).map(|pair| (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0)).collect();
        let last = points.len() - 1;
        let slope = |at: usize| match at {
            _ if last == 1 => rises[0],
            0 => end_slope((widths[0], rises[0]), (widths[1], rises[1])),
            at if at == last => end_slope((widths[at - 1], rises[at - 1]), (widths[at - 2], rises[at - 2])),
            at => inner_slope((widths[at - 1], rises[at - 1]), (widths[at], rises[at])),
        };
        Some(Self { knots: points.iter().enumerate().map(|(at, &(x, y))| (x, y, slope(at))).collect() })
    }

    /// The value at `x`; `None` outside the points.
    pub fn at(&self, x: f64) -> Option<f64> {
        let after = self.knots.partition_point(|knot| knot.0 < x).max(1);
        let (left, right) = (self.knots[after - 1], self.knots.get(after)?);
        if !(left.0 <= x && x <= right.0) {
            return None;
        }
        let width = right.0 - left.0;
        let t = (x - left.0) / width;
        let (back, square) = (1.0 - t, t * t);
        // Hermite's four polynomials.
        let of_left = (1.0 + 2.0 * t) * back * back * left.1 + t * back * back * width * left.2;
        let of_right = square * (3.0 - 2.0 * t) * right.1 - square * back * width * right.2;
        Some(of_left + of_right)
    }
}

/// The slope between two intervals of some width and rise: their weighted harmonic mean, zero at a turn.
fn inner_slope(left: (f64, f64), right: (f64, f64)) -> f64 {
    if left.1 * right.1 <= 0.0 {
        return 0.0;
    }
    let (first, second) = (2.0 * right.0 + left.0, right.0 + 2.0 * left.0);
    (first + second) / (first / left.1 + second / right.1)
}

/// The slope at an end, from the interval there and the next one.
fn end_slope(here: (f64, f64), next: (f64, f64)) -> f64 {
    let slope = ((2.0 * here.0 + next.0) * here.1 - here.0 * next.1) / (here.0 + next.0);
    if slope * here.1 <= 0.0 {
        0.0
    } else if here.1 * next.1 < 0.0 && slope.abs() > 3.0 * here.1.abs() {
        3.0 * here.1
    } else {
        slope
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// from scipy.interpolate import PchipInterpolator as P   # SciPy 1.17
    /// p = P([0, 1, 2.5, 3, 5], [.1, .9, 1, .4, 3]); [p(t) for t in (0, .3, 1, 1.7, 2.5, 2.8, 3.3, 4.6, 5)]
    /// p = P([1, 2, 4], [-3, -2, 1]); [p(t) for t in (1.25, 1.9, 2.4, 3.9)]
    /// p = P([1, 2, 4], [0, 2, 2.1]); [p(t) for t in (1.25, 1.9, 2.4, 3.9)]
    #[test]
    fn values_are_those_of_scipy() {
        let check = |points: &[(f64, f64)], expected: &[(f64, f64)]| {
            let curve = Pchip::new(points).unwrap();
            for &(x, y) in expected {
                assert!((curve.at(x).unwrap() - y).abs() < 1e-12, "{x}: {:?} against {y}", curve.at(x));
            }
        };
        check(
            &[(0.0, 0.1), (1.0, 0.9), (2.5, 1.0), (3.0, 0.4), (5.0, 3.0)],
            &[
                (0.0, 0.1),
                (0.3, 0.4253026086956521),
                (1.0, 0.9),
                (1.7, 0.9709784219001611),
                (2.5, 1.0),
                (2.8, 0.6112000000000003),
                (3.3, 0.43172499999999997),
                (4.6, 1.8847999999999994),
                (5.0, 3.0),
            ],
        );
        check(
            &[(1.0, -3.0), (2.0, -2.0), (4.0, 1.0)],
            &[
                (1.25, -2.7815896739130435),
                (1.9, -2.115586956521739),
                (2.4, -1.5048115942028986),
                (3.9, 0.8183677536231884),
            ],
        );
        check(
            &[(1.0, 0.0), (2.0, 2.0), (4.0, 2.1)],
            &[
                (1.25, 0.6800426136363636),
                (1.9, 1.9590136363636366),
                (2.4, 2.0383272727272725),
                (3.9, 2.099793181818182),
            ],
        );
    }

    #[test]
    fn points_that_make_no_curve_are_refused_and_nothing_is_extrapolated() {
        assert_eq!(Pchip::new(&[(1.0, 2.0)]), None);
        assert_eq!(Pchip::new(&[(1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(Pchip::new(&[(1.0, 2.0), (2.0, f64::NAN)]), None);
        let line = Pchip::new(&[(1.0, 2.0), (3.0, 6.0)]).unwrap();
        assert_eq!((line.at(0.9), line.at(2.0), line.at(3.1)), (None, Some(4.0), None));
    }

    proptest! {
        #[test]
        fn nothing_lies_outside_the_two_neighbouring_values(
            values in prop::collection::vec((0.01..2.0f64, -3.0..3.0f64), 2..8),
            share in 0.0..1.0f64,
        ) {
            let mut x = 0.0;
            let points: Vec<(f64, f64)> = values.iter().map(|&(step, y)| { x += step; (x, y) }).collect();
            let curve = Pchip::new(&points).unwrap();
            for pair in points.windows(2) {
                let (low, high) = (pair[0].1.min(pair[1].1), pair[0].1.max(pair[1].1));
                let y = curve.at(pair[0].0 + share * (pair[1].0 - pair[0].0)).unwrap();
                prop_assert!(low - 1e-9 <= y && y <= high + 1e-9, "{y} outside {low} to {high}");
            }
        }
    }
}
