//! probe
use ndarray::{Array1, Array2};
use ndarray_linalg::{Eigh, SVDDC, JobSvd, UPLO};
/// svd
pub fn svd(a: &Array2<f64>) -> (Array2<f64>, Array1<f64>, Array2<f64>) {
    let (u, s, vt) = a.svddc(JobSvd::Some).unwrap();
    (u.unwrap(), s, vt.unwrap())
}
/// eigh
pub fn eigh(a: &Array2<f64>) -> (Array1<f64>, Array2<f64>) { a.eigh(UPLO::Lower).unwrap() }
#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn t() {
        let a = Array2::from_shape_fn((4, 6), |(i, j)| ((i * i + 3 * j * i + j) as f64).sin());
        let (u, s, vt) = svd(&a);
        let b = u.dot(&Array2::from_diag(&s)).dot(&vt);
        assert!((&a - &b).iter().all(|x| x.abs() < 1e-13));
        let g = a.dot(&a.t());
        let (w, v) = eigh(&g);
        let b = v.dot(&Array2::from_diag(&w)).dot(&v.t());
        assert!((&g - &b).iter().all(|x| x.abs() < 1e-12));
    }
}
