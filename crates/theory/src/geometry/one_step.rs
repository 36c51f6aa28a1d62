//! What one step on one sample does to the layer's output, in closed form.

use ndarray::{Array1, Array2};

use super::norm::VectorNorm;

/// One sample of a linear layer y = W x: its activation x and the loss's derivative d = dL/dy; its gradient is d x^T.
#[derive(Debug, Clone, PartialEq)]
pub struct OneSample {
    /// dL/dy, of length m.
    pub d: Array1<f64>,
    /// x, of length n.
    pub x: Array1<f64>,
}

impl OneSample {
    /// The gradient G = d x^T, m x n.
    pub fn gradient(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.d.len(), self.x.len()), |(i, j)| self.d[i] * self.x[j])
    }

    /// D x for sign descent's direction D = sign(G): sign(d) |x|_1.
    pub fn output_of_sign_descent(&self) -> Array1<f64> {
        sign(&self.d) * VectorNorm::One.value(self.x.view())
    }

    /// D x for Muon's direction, the polar factor of G: d / |d|_2 times |x|_2. Normalised SGD's is the same, G having
    /// rank one.
    pub fn output_of_muon(&self) -> Array1<f64> {
        &self.d * (VectorNorm::Two.value(self.x.view()) / VectorNorm::Two.value(self.d.view()))
    }

    /// G x, plain SGD's change of the output for a unit learning rate: d |x|_2^2.
    pub fn output_of_sgd(&self) -> Array1<f64> {
        &self.d * self.x.dot(&self.x)
    }
}

/// y sign(x)^T / |x|_1, an m x n matrix that maps x to y.
///
/// Sign descent on the squared loss of the one pair (x, y) ends there from W = 0 with steps toward zero if all |y_i|
/// are equal. Of all solutions it has the least largest entry, max |y_i| / |x|_1 (not uniquely).
pub fn interpolator_of_sign_descent(x: &Array1<f64>, y: &Array1<f64>) -> Array2<f64> {
    let s = sign(x) / VectorNorm::One.value(x.view());
    Array2::from_shape_fn((y.len(), x.len()), |(i, j)| y[i] * s[j])
}

/// y x^T / |x|_2^2, an m x n matrix that maps x to y.
///
/// Muon on the squared loss of the one pair (x, y) ends there from W = 0 with steps toward zero. Of all solutions it
/// has the least spectral norm, |y|_2 / |x|_2 (not uniquely).
pub fn interpolator_of_muon(x: &Array1<f64>, y: &Array1<f64>) -> Array2<f64> {
    let squared = x.dot(x);
    Array2::from_shape_fn((y.len(), x.len()), |(i, j)| y[i] * x[j] / squared)
}

/// Signs with sign(0) = 0.
fn sign(x: &Array1<f64>) -> Array1<f64> {
    x.mapv(|x| if x == 0.0 { 0.0 } else { x.signum() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Norm;
    use crate::linalg::random_orthogonal;
    use crate::random::{gaussian_array, stream};
    use proptest::prelude::*;

    fn vector(n: usize, seed: u64, name: &str) -> Array1<f64> {
        gaussian_array(1, n, &mut stream(seed, name)).row(0).to_owned()
    }

    fn close(a: &Array1<f64>, b: &Array1<f64>) -> bool {
        (a - b).iter().all(|x| x.abs() < 1e-10)
    }

    /// Steepest descent on |W x - y|^2 / 2 from zero with steps that fall to zero.
    fn descend(norm: Norm, x: &Array1<f64>, y: &Array1<f64>) -> Array2<f64> {
        let mut w = Array2::zeros((y.len(), x.len()));
        let steps = 4000;
        for step in 0..steps {
            let sample = OneSample { d: w.dot(x) - y, x: x.clone() };
            let d = norm.oracle(&sample.gradient()).unwrap();
            w -= &(d * (0.004 * (1.0 - step as f64 / steps as f64)));
        }
        w
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

        #[test]
        fn closed_forms_are_the_directions_applied(seed in 0u64..100_000, m in 1usize..7, n in 1usize..9) {
            let sample = OneSample { d: vector(m, seed, "d"), x: vector(n, seed, "x") };
            let g = sample.gradient();
            let applied = |norm: Norm| norm.oracle(&g).unwrap().dot(&sample.x);
            prop_assert!(close(&applied(Norm::LargestEntry), &sample.output_of_sign_descent()));
            prop_assert!(close(&applied(Norm::Spectral), &sample.output_of_muon()));
            prop_assert!(close(&applied(Norm::Frobenius), &sample.output_of_muon()));
            prop_assert!(close(&g.dot(&sample.x), &sample.output_of_sgd()));
        }

        #[test]
        fn interpolators_interpolate_with_the_least_norm(seed in 0u64..100_000, m in 1usize..5, n in 2usize..7) {
            let (x, y) = (vector(n, seed, "x"), vector(m, seed, "y"));
            let mut rng = stream(seed, "others");
            for (w, norm) in [
                (interpolator_of_sign_descent(&x, &y), Norm::LargestEntry),
                (interpolator_of_muon(&x, &y), Norm::Spectral),
            ] {
                prop_assert!(close(&w.dot(&x), &y));
                let own = norm.value(&w).unwrap();
                for _ in 0..20 {
                    // Any other solution: add a matrix that vanishes on x.
                    let z = gaussian_array(m, n, &mut rng);
                    let zx = z.dot(&x) / x.dot(&x);
                    let other = &w + &(&z - &Array2::from_shape_fn((m, n), |(i, j)| zx[i] * x[j]));
                    prop_assert!(norm.value(&other).unwrap() >= own * (1.0 - 1e-12));
                }
            }
        }
    }

    #[test]
    fn descent_from_zero_ends_at_the_closed_forms() {
        let x = vector(6, 1, "x");
        let y = Array1::from_vec(vec![0.8, -0.8, 0.8]);
        let gap = |a: Array2<f64>, b: Array2<f64>| (a - b).iter().fold(0.0, |m, x: &f64| f64::max(m, x.abs()));
        assert!(gap(descend(Norm::LargestEntry, &x, &y), interpolator_of_sign_descent(&x, &y)) < 1e-4);
        let y = vector(3, 2, "y");
        assert!(gap(descend(Norm::Spectral, &x, &y), interpolator_of_muon(&x, &y)) < 1e-4);
    }

    #[test]
    fn the_spectral_solution_turns_with_the_inputs_and_the_sign_solution_does_not() {
        let (x, y) = (vector(5, 3, "x"), vector(3, 3, "y"));
        let q = random_orthogonal(5, &mut stream(3, "q")).unwrap();
        let turned = q.dot(&x);
        let gap = |f: fn(&Array1<f64>, &Array1<f64>) -> Array2<f64>| {
            (f(&turned, &y) - f(&x, &y).dot(&q.t())).iter().map(|e| e * e).sum::<f64>()
        };
        assert!(gap(interpolator_of_muon) < 1e-20);
        assert!(gap(interpolator_of_sign_descent) > 1e-3);
    }
}
