//! Pareto fronts in the plane of learning and forgetting.

/// The points `(learning, forgetting)` that no other point beats, by ascending learning.
///
/// A point is beaten when another learns at least as much and forgets at most as much, and is better
/// in one of the two; equal points stay once. Points that are not finite are left out.
pub fn front(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted: Vec<(f64, f64)> = points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    // From most learning to least; at equal learning the least forgetting first.
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.total_cmp(&b.1)));
    let mut front: Vec<(f64, f64)> = Vec::new();
    for point in sorted {
        if front.last().is_none_or(|last| point.1 < last.1) {
            front.push(point);
        }
    }
    front.reverse();
    front
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hand_made_front() {
        let points = [(1.0, 0.1), (2.0, 0.5), (1.5, 0.6), (2.0, 0.7), (2.0, 0.5), (f64::NAN, 0.0)];
        assert_eq!(front(&points), [(1.0, 0.1), (2.0, 0.5)]);
        assert_eq!(front(&[]), []);
    }

    proptest! {
        #[test]
        fn a_point_is_on_the_front_exactly_when_nothing_beats_it(
            points in prop::collection::vec((0..6i32, 0..6i32), 0..15),
        ) {
            let points: Vec<(f64, f64)> =
                points.into_iter().map(|(x, y)| (f64::from(x), f64::from(y))).collect();
            let front = front(&points);
            for p in &points {
                let beaten = points.iter().any(|q| q.0 >= p.0 && q.1 <= p.1 && q != p);
                prop_assert_eq!(front.contains(p), !beaten, "{:?}", p);
            }
            prop_assert!(front.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
        }
    }
}
