//! Products of small column-major matrices into buffers that exist already.
//!
//! The simulations multiply matrices of 4 to 48 rows hundreds of thousands of times; at that size the calls and
//! the packing of a general matrix product cost more than its arithmetic.

use nalgebra::DMatrix;
use pulp::{Arch, NullaryFnOnce, Simd, WithSimd};

use super::kernel::{Columns, Output, Strided, multiply, multiply_transposed};

/// Runs `work` compiled for the widest vector units that this CPU has.
///
/// Only code that is inlined into `work` profits: give a type whose `call` is `#[inline(always)]`. A closure is inlined
/// only if it is short.
#[inline(always)]
pub fn with_vector_units<W: NullaryFnOnce>(work: W) -> W::Output {
    Arch::new().dispatch(work)
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

/// A product to be formed: out = scale A B, with A column-major and B in any order, or A^T B.
enum Product<'a> {
    Plain { shape: (usize, usize, usize), a: &'a [f64], b: Strided<'a>, scale: f64, out: &'a mut [f64] },
    Transposed { shape: (usize, usize, usize), a: &'a [f64], b: &'a [f64], out: &'a mut [f64] },
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self {
            Self::Plain { shape, a, b, scale, out } => {
                let (stride, accumulate) = (shape.0, false);
                multiply(simd, shape, Columns { data: a, stride }, b, Output { data: out, stride, scale, accumulate });
            }
            Self::Transposed { shape, a, b, out } => multiply_transposed(simd, shape, a, b, out),
        }
    }
}

/// out = A B.
///
/// # Panics
/// If the shapes do not fit.
pub fn product(a: &DMatrix<f64>, b: &DMatrix<f64>, out: &mut DMatrix<f64>) {
    let shape = (a.nrows(), a.ncols(), b.ncols());
    assert!(b.nrows() == shape.1 && out.shape() == (shape.0, shape.2), "shapes of A B");
    let b = Strided { data: b.as_slice(), row: 1, column: shape.1 };
    Arch::new().dispatch(Product::Plain { shape, a: a.as_slice(), b, scale: 1.0, out: out.as_mut_slice() });
}

/// out = A^T B.
///
/// # Panics
/// If the shapes do not fit.
pub fn transposed_product(a: &DMatrix<f64>, b: &DMatrix<f64>, out: &mut DMatrix<f64>) {
    let shape = (a.ncols(), a.nrows(), b.ncols());
    assert!(b.nrows() == shape.1 && out.shape() == (shape.0, shape.2), "shapes of A^T B");
    Arch::new().dispatch(Product::Transposed { shape, a: a.as_slice(), b: b.as_slice(), out: out.as_mut_slice() });
}

/// out = scale A B^T.
///
/// # Panics
/// If the shapes do not fit.
pub fn product_transposed(scale: f64, a: &DMatrix<f64>, b: &DMatrix<f64>, out: &mut DMatrix<f64>) {
    let shape = (a.nrows(), a.ncols(), b.nrows());
    assert!(b.ncols() == shape.1 && out.shape() == (shape.0, shape.2), "shapes of A B^T");
    let b = Strided { data: b.as_slice(), row: shape.2, column: 1 };
    Arch::new().dispatch(Product::Plain { shape, a: a.as_slice(), b, scale, out: out.as_mut_slice() });
}

/// Transposes A into `out`.
///
/// # Panics
/// If the shapes do not fit.
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
pub fn squared_norm(a: &DMatrix<f64>) -> f64 {
    with_vector_units(|| dot(a.as_slice(), a.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{gaussian_matrix, stream};

    #[test]
    fn products_agree_with_nalgebra() {
        let mut rng = stream(1, "test");
        for (m, k, n) in [(1, 1, 1), (3, 17, 5), (24, 4, 8), (9, 8, 33), (5, 130, 13), (16, 64, 4)] {
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

    #[test]
    fn products_without_an_inner_dimension_are_zero() {
        let mut out = DMatrix::from_element(3, 2, 7.0);
        product(&DMatrix::zeros(3, 0), &DMatrix::zeros(0, 2), &mut out);
        assert_eq!(out.norm(), 0.0);
        out.fill(7.0);
        transposed_product(&DMatrix::zeros(0, 3), &DMatrix::zeros(0, 2), &mut out);
        assert_eq!(out.norm(), 0.0);
    }
}
