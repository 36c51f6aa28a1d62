//! What the sum of the roots of a second moment's diagonal is after a random rotation.

use statrs::function::gamma::ln_gamma;

/// Distance of the nodes of the trapezoidal rule. The integrand is analytic and bounded in a strip of half width pi / 2
/// whatever n, so that the error is of the order of exp(-pi^2 / STEP) = 1e-17.
const STEP: f64 = 0.25;
/// The integral is cut off where the integrand is below exp(-END / 2) of its largest value.
const END: f64 = 80.0;

/// The mean of sum_j sqrt((Q S Q^T)_jj) over orthogonal Q drawn from the Haar measure, for S with these eigenvalues
/// (none negative).
///
/// It needs no draws. A row q of Q is uniform on the sphere, so that the mean is n E sqrt(q^T S q), and the length of a
/// Gaussian g is independent of its direction: E sqrt(q^T S q) = E sqrt(X) / E|g| with X = sum_k lambda_k g_k^2, where
/// E|g| = sqrt(2) Gamma((n+1)/2) / Gamma(n/2) and, from the Laplace transform of X,
/// E sqrt(X) = 1 / (2 sqrt(pi)) int_0^inf (1 - prod_k (1 + 2 lambda_k t)^(-1/2)) t^(-3/2) dt. The integral is taken by
/// the trapezoidal rule in ln t.
pub fn haar_mean_of_roots(eigenvalues: &[f64]) -> f64 {
    let n = eigenvalues.len() as f64;
    let trace: f64 = eigenvalues.iter().sum();
    if trace <= 0.0 {
        return 0.0;
    }
    let steps = (END / STEP) as i32;
    let mut integral = 0.0;
    for node in -steps..=steps {
        let u = f64::from(node) * STEP;
        let t = u.exp();
        let logarithm: f64 = eigenvalues.iter().map(|lambda| (2.0 * lambda / trace * t).ln_1p()).sum();
        integral += -(-0.5 * logarithm).exp_m1() * (-0.5 * u).exp();
    }
    let root = integral * STEP / (2.0 * std::f64::consts::PI.sqrt()) * trace.sqrt();
    let length = std::f64::consts::SQRT_2 * (ln_gamma((n + 1.0) / 2.0) - ln_gamma(n / 2.0)).exp();
    n * root / length
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};

    use super::*;
    use crate::linalg::random_orthogonal;
    use crate::random::stream;

    #[test]
    fn equal_eigenvalues_are_the_same_in_every_basis() {
        for n in [1, 2, 7, 344] {
            let mean = haar_mean_of_roots(&vec![0.3; n]);
            assert!((mean / (n as f64 * 0.3f64.sqrt()) - 1.0).abs() < 1e-11, "{n}: {mean}");
        }
    }

    #[test]
    fn one_direction_gives_the_mean_absolute_coordinate_of_the_sphere() {
        // n E|q_1| on the circle is 2 * 2 / pi, on the sphere in three dimensions 3 / 2.
        for (n, expected) in [(2, 4.0 / std::f64::consts::PI), (3, 1.5)] {
            let mut eigenvalues = vec![0.0; n];
            eigenvalues[1] = 4.0;
            let mean = haar_mean_of_roots(&eigenvalues);
            assert!((mean / (2.0 * expected) - 1.0).abs() < 1e-12, "{n}: {mean}");
        }
    }

    #[test]
    fn it_is_the_mean_over_drawn_rotations() {
        let n = 24;
        let eigenvalues = Array1::from_iter((1..=n).map(|k| (k as f64).powf(-1.5)));
        let mut rng = stream(1, "haar");
        let sum = |q: &Array2<f64>| (q * q).dot(&eigenvalues).mapv(f64::sqrt).sum();
        let draws: Vec<f64> = (0..50).map(|_| sum(&random_orthogonal(n, &mut rng).unwrap())).collect();
        let mean = draws.iter().sum::<f64>() / 50.0;
        let deviation = (draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 49.0).sqrt();
        let exact = haar_mean_of_roots(eigenvalues.as_slice().unwrap());
        assert!((mean - exact).abs() < 3.0 * deviation / 50f64.sqrt(), "{mean} {exact} {deviation}");
    }

    #[test]
    fn nothing_has_no_roots() {
        assert_eq!(haar_mean_of_roots(&[0.0; 3]), 0.0);
    }
}
