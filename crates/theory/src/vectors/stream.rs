//! Vectors as they come, in sums.

use ndarray::{Array2, ArrayView2};

use super::SecondMoment;

/// Vectors that are taken in at a time.
const ROWS: usize = 512;

/// Sums of the first four powers of a number, about the first one seen, so that a large mean costs no digits.
#[derive(Debug, Clone, Copy, Default)]
struct Powers {
    centre: f64,
    sums: [f64; 4],
}

impl Powers {
    fn new(centre: f64) -> Self {
        Self { centre, sums: [0.0; 4] }
    }

    #[inline]
    fn add(&mut self, x: f64) {
        let d = x - self.centre;
        let square = d * d;
        self.sums[0] += d;
        self.sums[1] += square;
        self.sums[2] += square * d;
        self.sums[3] += square * square;
    }

    /// E(x - mean)^4 / (E(x - mean)^2)^2 - 3; `None` if x does not vary.
    fn excess_kurtosis(&self, count: f64) -> Option<f64> {
        let [m1, m2, m3, m4] = self.sums.map(|sum| sum / count);
        let variance = m2 - m1 * m1;
        let fourth = m4 - 4.0 * m1 * m3 + 6.0 * m1 * m1 * m2 - 3.0 * m1.powi(4);
        // Below this the difference is rounding.
        (variance > 1e-12 * (m2 + self.centre * self.centre)).then(|| fourth / (variance * variance) - 3.0)
    }
}

/// Sums over a stream of vectors; no vector is kept.
#[derive(Debug, Clone)]
pub struct VectorStream {
    count: usize,
    features: Vec<Powers>,
    norms: Powers,
    /// Sums of |x|_1 and of |x|_2.
    lengths: [f64; 2],
    largest: Vec<f64>,
    moment: SecondMoment,
}

/// What a stream of vectors with n features was like.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamStatistics {
    /// Vectors.
    pub count: usize,
    /// Root mean square of the entries.
    pub rms: f64,
    /// Sum of |x|_1 over sqrt(n) times the sum of |x|_2, in 1/sqrt(n)..=1: 1 where all entries of a vector are equally
    /// large, 0.80 for Gaussian ones. Long vectors weigh more, and those that are zero but for rounding nothing.
    pub l1_over_l2: f64,
    /// Excess kurtosis of a feature over the vectors, about its mean: the mean over features that vary.
    pub kurtosis_of_features: f64,
    /// The largest of these.
    pub largest_kurtosis_of_features: f64,
    /// Excess kurtosis of the vectors' lengths |x|_2.
    pub kurtosis_of_norms: f64,
    /// The largest absolute entry over `rms`.
    pub max_over_rms: f64,
    /// The features with the three largest absolute entries, the largest first.
    pub largest_features: Vec<usize>,
}

impl VectorStream {
    /// No vectors yet, of `features` entries each.
    pub fn new(features: usize) -> Self {
        Self {
            count: 0,
            features: vec![Powers::default(); features],
            norms: Powers::default(),
            lengths: [0.0; 2],
            largest: vec![0.0; features],
            moment: SecondMoment::new(features),
        }
    }

    /// Takes in vectors, one after the other.
    ///
    /// # Panics
    /// If the numbers are no whole vectors.
    pub fn extend(&mut self, vectors: &[f32]) {
        let n = self.features.len();
        assert!(n > 0 && vectors.len().is_multiple_of(n), "vectors of {n} features");
        let mut wide = Vec::with_capacity(ROWS.min(vectors.len() / n) * n);
        for rows in vectors.chunks(ROWS * n) {
            wide.clear();
            wide.extend(rows.iter().map(|&x| f64::from(x)));
            wide.chunks_exact(n).for_each(|row| self.row(row));
            if let Ok(rows) = ArrayView2::from_shape((wide.len() / n, n), &wide) {
                self.moment.add(rows);
            }
        }
    }

    fn row(&mut self, row: &[f64]) {
        let (mut sum, mut squares) = (0.0, 0.0);
        if self.count == 0 {
            self.features = row.iter().map(|&x| Powers::new(x)).collect();
        }
        for ((&x, powers), largest) in row.iter().zip(&mut self.features).zip(&mut self.largest) {
            powers.add(x);
            sum += x.abs();
            squares += x * x;
            *largest = largest.max(x.abs());
        }
        let norm = squares.sqrt();
        if self.count == 0 {
            self.norms = Powers::new(norm);
        }
        self.norms.add(norm);
        self.lengths[0] += sum;
        self.lengths[1] += norm;
        self.count += 1;
    }

    /// Vectors so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// S = E[x x^T], n x n; zero without vectors.
    pub fn second_moment(&self) -> Array2<f64> {
        self.moment.mean()
    }

    /// The statistics; all 0 without vectors.
    pub fn statistics(&self) -> StreamStatistics {
        let n = self.features.len();
        let count = self.count.max(1) as f64;
        let rms = (self.moment.square() / (count * n as f64)).sqrt();
        let kurtoses: Vec<f64> = self.features.iter().filter_map(|powers| powers.excess_kurtosis(count)).collect();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| self.largest[b].total_cmp(&self.largest[a]).then(a.cmp(&b)));
        order.truncate(3);
        let most = order.first().map_or(0.0, |&feature| self.largest[feature]);
        StreamStatistics {
            count: self.count,
            rms,
            l1_over_l2: if self.lengths[1] > 0.0 {
                self.lengths[0] / (self.lengths[1] * (n as f64).sqrt())
            } else {
                0.0
            },
            kurtosis_of_features: kurtoses.iter().sum::<f64>() / kurtoses.len().max(1) as f64,
            largest_kurtosis_of_features: kurtoses.iter().copied().reduce(f64::max).unwrap_or(0.0),
            kurtosis_of_norms: self.norms.excess_kurtosis(count).unwrap_or(0.0),
            max_over_rms: if rms > 0.0 { most / rms } else { 0.0 },
            largest_features: order,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{gaussian_array, stream};
    use crate::vectors::MomentStatistics;

    fn flat(rows: &Array2<f64>) -> Vec<f32> {
        rows.iter().map(|&x| x as f32).collect()
    }

    /// Every combination of signs once: S is the identity, and every feature takes the values 1 and -1 equally often.
    fn signs(features: usize) -> Array2<f64> {
        Array2::from_shape_fn((1 << features, features), |(row, j)| if row >> j & 1 == 0 { 1.0 } else { -1.0 })
    }

    #[test]
    fn signs_by_hand() {
        let mut all = VectorStream::new(4);
        all.extend(&flat(&(signs(4) * 2.0)));
        let found = all.statistics();
        assert_eq!((found.count, found.rms, found.max_over_rms), (16, 2.0, 1.0));
        // Equal entries; a coin has kurtosis 1, and lengths that do not vary have none.
        assert_eq!((found.l1_over_l2, found.kurtosis_of_features, found.kurtosis_of_norms), (1.0, -2.0, 0.0));
        assert_eq!(all.second_moment(), Array2::from_diag_elem(4, 4.0));
    }

    #[test]
    fn an_outlier_is_found_with_its_feature() {
        let mut all = VectorStream::new(5);
        let mut rows = signs(5);
        rows[[7, 3]] = -9.0;
        rows[[8, 1]] = 4.0;
        all.extend(&flat(&rows));
        let found = all.statistics();
        assert_eq!(found.largest_features, [3, 1, 0]);
        let rms = ((32.0 * 5.0 - 2.0 + 81.0 + 16.0) / 160.0f64).sqrt();
        assert!((found.max_over_rms - 9.0 / rms).abs() < 1e-12);
        assert!(found.largest_kurtosis_of_features > 10.0 && found.kurtosis_of_norms > 10.0, "{found:?}");
    }

    #[test]
    fn kurtosis_is_about_the_mean_and_keeps_its_digits_where_that_is_large() {
        // 0, 0, 0, 1 moved by 1000: kurtosis of a coin with p = 1/4 is (1 - 6 p (1 - p)) / (p (1 - p)).
        let mut all = VectorStream::new(1);
        all.extend(&[1000.0, 1000.0, 1001.0, 1000.0]);
        let expected = (1.0 - 6.0 * 3.0 / 16.0) / (3.0 / 16.0);
        assert!((all.statistics().kurtosis_of_features - expected).abs() < 1e-9);
    }

    /// y = W2 W1 x on inputs with S = I: the hidden vectors h = W1 x have S = W1 W1^T, and the output gradients of the
    /// hidden layer for residuals e with second moment I are W2^T e, so that B = W2^T W2.
    #[test]
    fn a_linear_network_has_the_moments_of_its_weights() {
        let mut rng = stream(1, "linear network");
        let (w1, w2) = (gaussian_array(70, 6, &mut rng), gaussian_array(5, 70, &mut rng));
        let mut hidden = VectorStream::new(70);
        let mut gradients = VectorStream::new(70);
        for row in signs(6).rows() {
            hidden.extend(&flat(&row.insert_axis(ndarray::Axis(0)).dot(&w1.t())));
        }
        gradients.extend(&flat(&signs(5).dot(&w2)));
        for (stream, expected) in [(&hidden, w1.dot(&w1.t())), (&gradients, w2.t().dot(&w2))] {
            let found = stream.second_moment();
            let scale = expected.diag().sum() / 70.0;
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6 * scale));
            let (a, b) = (MomentStatistics::of(&found).unwrap(), MomentStatistics::of(&expected).unwrap());
            assert!((a.alignment / b.alignment - 1.0).abs() < 1e-6 && (a.trace / b.trace - 1.0).abs() < 1e-6);
            assert!((stream.statistics().rms - scale.sqrt()).abs() < 1e-6 * scale.sqrt());
        }
        // The nuclear norm of W1, the sum of its singular values: here the root of W1's smaller Gram matrix.
        let nuclear: f64 = crate::linalg::singular_values(&w1).unwrap().sum();
        let root = MomentStatistics::of(&hidden.second_moment()).unwrap().trace_root;
        assert!((root / nuclear - 1.0).abs() < 1e-3, "{root} {nuclear}");
    }

    #[test]
    fn many_vectors_at_once_or_one_by_one_are_the_same() {
        let rows = gaussian_array(1300, 3, &mut stream(2, "rows"));
        let (mut whole, mut pieces) = (VectorStream::new(3), VectorStream::new(3));
        whole.extend(&flat(&rows));
        flat(&rows).chunks(3).for_each(|row| pieces.extend(row));
        assert_eq!(whole.statistics().kurtosis_of_norms, pieces.statistics().kurtosis_of_norms);
        let difference = &whole.second_moment() - &pieces.second_moment();
        assert!(difference.iter().all(|x| x.abs() < 1e-13));
        let found = whole.statistics();
        // A direction uniform on the sphere in three dimensions has mean absolute coordinates of 1/2: sqrt(3) / 2.
        assert!((found.l1_over_l2 - 0.866).abs() < 0.01 && found.kurtosis_of_features.abs() < 0.3, "{found:?}");
    }

    #[test]
    fn no_vectors_and_zero_vectors_have_finite_statistics() {
        let mut nothing = VectorStream::new(2);
        assert_eq!(nothing.statistics().rms, 0.0);
        nothing.extend(&[0.0; 6]);
        let found = nothing.statistics();
        assert_eq!((found.count, found.l1_over_l2, found.max_over_rms, found.kurtosis_of_features), (3, 0.0, 0.0, 0.0));
    }
}
