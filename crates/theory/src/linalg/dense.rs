//! Products of small column-major matrices into buffers that exist already.
//!
//! The simulations multiply matrices of 4 to 48 rows hundreds of thousands of times; at that size the calls and
//! the packing of a general matrix product cost more than its arithmetic. These loops are inlined into the
//! simulation, which is compiled for the vector units found at run time (see [`with_vector_units`]).

use nalgebra::DMatrix;

/// Runs `work` compiled for the widest vector units that this CPU has.
///
/// Only code that is inlined into `work` profits.
#[inline(always)]
pub fn with_vector_units<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// y += a x for slices of one length.
#[inline(always)]
pub fn axpy(a: f64, x: &[f64], y: &mut [f64]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// Scalar product of two slices of one length, in eight partial sums.
#[inline(always)]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let mut rest = 0.0;
    for (a, b) in a_rest.iter().zip(b_rest) {
        rest += a * b;
    }
    ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7])) + rest
}

/// out = A B.
///
/// # Panics
/// If the shapes do not fit.
#[inline(always)]
pub fn product(a: &DMatrix<f64>, b: &DMatrix<f64>, out: &mut DMatrix<f64>) {
    let (m, k, n) = (a.nrows(), a.ncols(), b.ncols());
    assert!(b.nrows() == k && out.shape() == (m, n), "shapes of A B");
    let (a, b) = (a.as_slice(), b.as_slice());
    let out = out.as_mut_slice();
    out.fill(0.0);
    for j in 0..n {
        let column = &mut out[j * m..(j + 1) * m];
        for p in 0..k {
            axpy(b[j * k + p], &a[p * m..(p + 1) * m], column);
        }
    }
}

/// out = A^T B.
///
/// # Panics
/// If the shapes do not fit.
#[inline(always)]
pub fn transposed_product(a: &DMatrix<f64>, b: &DMatrix<f64>, out: &mut DMatrix<f64>) {
    let (k, m, n) = (a.nrows(), a.ncols(), b.ncols());
    assert!(b.nrows() == k && out.shape() == (m, n), "shapes of A^T B");
    let (a, b) = (a.as_slice(), b.as_slice());
    let out = out.as_mut_slice();
    for j in 0..n {
        for i in 0..m {
            out[j * m + i] = dot(&a[i * k..(i + 1) * k], &b[j * k..(j + 1) * k]);
        }
    }
}

/// out = scale A B^T.
///
/// # Panics
/// If the shapes do not fit.
#[inline(always)]
pub fn product_transposed(scale: f64, a: &DMatrix<f64>, b: &DMatrix<f64>, out: &mut DMatrix<f64>) {
    let (m, k, n) = (a.nrows(), a.ncols(), b.nrows());
    assert!(b.ncols() == k && out.shape() == (m, n), "shapes of A B^T");
    let (a, b) = (a.as_slice(), b.as_slice());
    let out = out.as_mut_slice();
    out.fill(0.0);
    for j in 0..n {
        let column = &mut out[j * m..(j + 1) * m];
        for p in 0..k {
            axpy(scale * b[p * n + j], &a[p * m..(p + 1) * m], column);
        }
    }
}

/// Transposes A into `out`.
///
/// # Panics
/// If the shapes do not fit.
#[inline(always)]
pub fn transpose(a: &DMatrix<f64>, out: &mut DMatrix<f64>) {
    let (m, n) = a.shape();
    assert!(out.shape() == (n, m), "shape of A^T");
    let (a, out) = (a.as_slice(), out.as_mut_slice());
    for j in 0..n {
        for i in 0..m {
            out[i * n + j] = a[j * m + i];
        }
    }
}

/// Sum of squared entries.
#[inline(always)]
pub fn squared_norm(a: &DMatrix<f64>) -> f64 {
    dot(a.as_slice(), a.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{gaussian_matrix, stream};

    #[test]
    fn products_agree_with_nalgebra() {
        let mut rng = stream(1, "test");
        for (m, k, n) in [(1, 1, 1), (3, 17, 5), (24, 4, 8), (9, 8, 33)] {
            let a = gaussian_matrix(m, k, &mut rng);
            let b = gaussian_matrix(k, n, &mut rng);
            let mut out = DMatrix::from_element(m, n, 7.0);
            product(&a, &b, &mut out);
            assert!((&out - &a * &b).norm() < 1e-12);
            transposed_product(&a.transpose(), &b, &mut out);
            assert!((&out - &a * &b).norm() < 1e-12);
            product_transposed(2.0, &a, &b.transpose(), &mut out);
            assert!((&out - 2.0 * &a * &b).norm() < 1e-12);
            let mut flipped = DMatrix::zeros(k, m);
            transpose(&a, &mut flipped);
            assert_eq!(flipped, a.transpose());
            assert!((squared_norm(&a) - a.norm_squared()).abs() < 1e-12);
        }
    }
}
