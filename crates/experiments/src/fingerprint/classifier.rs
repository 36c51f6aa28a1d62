//! A regularised linear classifier: ridge regression of one class against the rest, on standardised features.

use ndarray::{Array1, Array2, Axis};
use theory::linalg::symmetric_eigen;

use crate::error::Result;

/// A standard deviation below this share of a feature's size is rounding: the feature does not vary.
const ROUNDING: f64 = 1e-9;

/// A classifier that was fitted.
#[derive(Debug, Clone)]
pub(super) struct Classifier {
    mean: Array1<f64>,
    /// One over the standard deviation; 0 of a feature that does not vary.
    scale: Array1<f64>,
    /// Features x classes.
    pub(super) weights: Array2<f64>,
    offsets: Array1<f64>,
}

impl Classifier {
    /// Fits samples, a row of features each, to their classes, 0 to `classes` - 1. Every class weighs the same. For
    /// each class c the weights w minimise the mean square of (z^T w + b - y), y = 1 in the class and -1 outside it,
    /// plus `ridge` |w|^2, with z the standardised features.
    ///
    /// # Errors
    /// If a feature is not finite.
    pub(super) fn fit(samples: &Array2<f64>, of: &[usize], classes: usize, ridge: f64) -> Result<Self> {
        let count = |class: usize| of.iter().filter(|&&one| one == class).count();
        let present = (0..classes).filter(|&class| count(class) > 0).count().max(1);
        // The weights of all samples sum to 1.
        let weight = Array1::from_iter(of.iter().map(|&class| 1.0 / (count(class) * present) as f64));
        let mean = samples.t().dot(&weight);
        let centred = samples - &mean;
        let deviation = (&centred * &centred).t().dot(&weight).mapv(f64::sqrt);
        let varies = |(deviation, mean): (&f64, &f64)| *deviation > ROUNDING * mean.abs();
        let scale = deviation.iter().zip(&mean).map(|of| if varies(of) { 1.0 / of.0 } else { 0.0 });
        let scale = Array1::from_iter(scale);
        let z = &centred * &scale;
        let weighted = &z * &weight.view().insert_axis(Axis(1));
        let eigen = symmetric_eigen(&z.t().dot(&weighted))?;
        let shrink = eigen.values.mapv(|value| 1.0 / (value.max(0.0) + ridge));
        let sides = Array2::from_shape_fn((of.len(), classes), |(i, class)| if of[i] == class { 1.0 } else { -1.0 });
        let projected = eigen.vectors.t().dot(&weighted.t().dot(&sides));
        let weights = eigen.vectors.dot(&(&projected * &shrink.insert_axis(Axis(1))));
        // Features are centred, so that the offset is the mean side.
        let offsets = sides.t().dot(&weight);
        Ok(Self { mean, scale, weights, offsets })
    }

    /// The standardised features of samples.
    pub(super) fn standardised(&self, samples: &Array2<f64>) -> Array2<f64> {
        (samples - &self.mean) * &self.scale
    }

    /// The class of each sample.
    pub(super) fn classes(&self, samples: &Array2<f64>) -> Vec<usize> {
        let scores = self.standardised(samples).dot(&self.weights) + &self.offsets;
        let best = |row: ndarray::ArrayView1<'_, f64>| {
            (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a))).unwrap_or(0)
        };
        scores.rows().into_iter().map(best).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use theory::random::gaussian_array;

    /// Three classes, each shifted along a feature of its own, among features of noise on other scales.
    fn planted(per_class: usize, seed: u64) -> (Array2<f64>, Vec<usize>) {
        let mut samples = gaussian_array(3 * per_class, 8, &mut ChaCha8Rng::seed_from_u64(seed));
        let of: Vec<usize> = (0..3 * per_class).map(|row| row % 3).collect();
        for (row, &class) in of.iter().enumerate() {
            samples[[row, 2 * class]] += 5.0;
        }
        for column in 0..8 {
            samples.column_mut(column).mapv_inplace(|x| 100.0 + 10f64.powi(column as i32 - 4) * x);
        }
        samples.column_mut(7).fill(3.0);
        (samples, of)
    }

    fn accuracy(found: &[usize], of: &[usize]) -> f64 {
        found.iter().zip(of).filter(|(a, b)| a == b).count() as f64 / of.len() as f64
    }

    #[test]
    fn planted_classes_are_found_in_new_samples_and_by_their_own_features() {
        let (samples, of) = planted(20, 1);
        let classifier = Classifier::fit(&samples, &of, 3, 0.1).unwrap();
        let (new, of_new) = planted(50, 2);
        let found = accuracy(&classifier.classes(&new), &of_new);
        assert!(found > 0.97, "{found}");
        for class in 0..3 {
            let own = classifier.weights[[2 * class, class]];
            for feature in (0..8).filter(|&feature| feature % 2 == 1) {
                assert!(own > 4.0 * classifier.weights[[feature, class]].abs(), "{}", classifier.weights);
            }
        }
        assert_eq!(classifier.weights.row(7).iter().map(|w| w.abs()).sum::<f64>(), 0.0, "a feature that is constant");
    }

    #[test]
    fn a_rare_class_weighs_as_much_as_a_frequent_one() {
        // One feature, the classes half overlapping: the border lies in the middle however many there are of each.
        let of: Vec<usize> = (0..44).map(|i| usize::from(i >= 40)).collect();
        let place = |i: usize| if i < 40 { (i % 4) as f64 } else { 6.0 + (i % 4) as f64 };
        let samples = Array2::from_shape_fn((44, 1), |(i, _)| place(i));
        let classifier = Classifier::fit(&samples, &of, 2, 1e-6).unwrap();
        let at = |x: f64| classifier.classes(&Array2::from_elem((1, 1), x))[0];
        assert_eq!([at(4.4), at(4.6)], [0, 1]);
    }

    #[test]
    fn noise_alone_leaves_chance() {
        let samples = gaussian_array(90, 30, &mut ChaCha8Rng::seed_from_u64(3));
        let of: Vec<usize> = (0..90).map(|row| row % 3).collect();
        let classifier = Classifier::fit(&samples, &of, 3, 1.0).unwrap();
        let new = gaussian_array(600, 30, &mut ChaCha8Rng::seed_from_u64(4));
        let of_new: Vec<usize> = (0..600).map(|row| row % 3).collect();
        let found = accuracy(&classifier.classes(&new), &of_new);
        assert!((found - 1.0 / 3.0).abs() < 0.1, "{found}");
    }
}
