//! `dsyev`: the eigendecomposition of a symmetric matrix.

use core::ffi::{c_char, c_int};
use faer::{MatMut, MatRef, Side};

/// Eigendecomposition A = V diag(w) V^T of a symmetric column-major n x n matrix, LAPACK's calling convention.
///
/// `jobz` is `V` (the eigenvectors overwrite A, one a column) or `N` (eigenvalues only); `uplo` is `U` or `L`,
/// the triangle of A that is read. With `lwork = -1` only the wanted size of `work` is returned. Eigenvalues
/// come in ascending order. `info = -4` if A has an entry that is not finite, `info > 0` if the iteration did
/// not converge.
///
/// # Safety
/// As for LAPACK's `dsyev`: `a` holds `n` columns of `n` entries `lda` apart, `w` holds `n` entries, `work` at least
/// one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dsyev_(
    jobz: *const c_char,
    uplo: *const c_char,
    n: *const c_int,
    a: *mut f64,
    lda: *const c_int,
    w: *mut f64,
    work: *mut f64,
    lwork: *const c_int,
    info: *mut c_int,
) {
    // SAFETY: all pointers are valid by the contract of LAPACK's dsyev, which the caller keeps.
    unsafe {
        if *lwork == -1 {
            *work = 1.0;
            *info = 0;
            return;
        }
        let (size, lda) = (*n as usize, *lda as usize);
        if !crate::all_finite(a, size, size, lda) {
            *info = -4;
            return;
        }
        let matrix = MatRef::from_raw_parts(a.cast_const(), size, size, 1, lda as isize);
        let side = match *uplo as u8 {
            b'U' => Side::Upper,
            b'L' => Side::Lower,
            _ => {
                *info = -2;
                return;
            }
        };
        *info = match *jobz as u8 {
            b'N' => match matrix.self_adjoint_eigenvalues(side) {
                Ok(values) => {
                    for (i, value) in values.into_iter().enumerate() {
                        *w.add(i) = value;
                    }
                    0
                }
                Err(_) => crate::NOT_CONVERGED,
            },
            b'V' => match matrix.self_adjoint_eigen(side) {
                Ok(eigen) => {
                    for i in 0..size {
                        *w.add(i) = eigen.S()[i];
                    }
                    MatMut::from_raw_parts_mut(a, size, size, 1, lda as isize).copy_from(eigen.U());
                    0
                }
                Err(_) => crate::NOT_CONVERGED,
            },
            _ => -1,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decompose(job: u8, uplo: u8, n: usize, mut a: Vec<f64>) -> (i32, Vec<f64>, Vec<f64>) {
        let (mut w, mut work, mut info) = (vec![0.0; n], vec![0.0], 0);
        let (job, uplo) = (job as c_char, uplo as c_char);
        let (size, lwork) = (n as c_int, 1);
        // SAFETY: all buffers have the sizes that dsyev asks for.
        unsafe {
            dsyev_(&job, &uplo, &size, a.as_mut_ptr(), &size, w.as_mut_ptr(), work.as_mut_ptr(), &lwork, &mut info);
        }
        (info, w, a)
    }

    fn symmetric(n: usize) -> Vec<f64> {
        (0..n * n)
            .map(|i| {
                let (row, col) = (i % n, i / n);
                ((row.min(col) * 7 + row.max(col) * 3) as f64).cos()
            })
            .collect()
    }

    #[test]
    fn eigenpairs_satisfy_their_equation_from_either_triangle() {
        for n in [1, 2, 6] {
            for uplo in [b'U', b'L'] {
                let a = symmetric(n);
                // The other triangle must not be read.
                let mut half = a.clone();
                for row in 0..n {
                    for col in 0..n {
                        if (uplo == b'U' && row > col) || (uplo == b'L' && row < col) {
                            half[row + col * n] = 99.0;
                        }
                    }
                }
                let (info, w, v) = decompose(b'V', uplo, n, half);
                assert_eq!(info, 0);
                assert!(w.windows(2).all(|p| p[0] <= p[1]), "ascending: {w:?}");
                for pair in 0..n {
                    for row in 0..n {
                        let product: f64 = (0..n).map(|col| a[row + col * n] * v[col + pair * n]).sum();
                        assert!((product - w[pair] * v[row + pair * n]).abs() < 1e-13);
                    }
                }
            }
        }
    }

    #[test]
    fn not_a_number_and_unknown_arguments_are_refused() {
        let mut a = symmetric(3);
        a[4] = f64::INFINITY;
        assert_eq!(decompose(b'V', b'U', 3, a).0, -4);
        assert_eq!(decompose(b'V', b'X', 3, symmetric(3)).0, -2);
        assert_eq!(decompose(b'X', b'U', 3, symmetric(3)).0, -1);
    }
}
