//! `dgesdd`: the singular value decomposition.

use core::ffi::{c_char, c_int};
use faer::{MatMut, MatRef};

/// Singular value decomposition A = U diag(s) V^T of a column-major m x n matrix, LAPACK's calling convention.
///
/// `jobz` is `S` (the first min(m, n) columns of U and rows of V^T), `A` (all of them) or `N` (singular values
/// only); LAPACK's `O` (overwrite A) is refused with `info = -1`. With `lwork = -1` only the wanted size of
/// `work` is returned. Singular values come in descending order. `info = -4` if A has an entry that is not
/// finite, `info > 0` if the iteration did not converge. `work` and `iwork` are otherwise not touched.
///
/// # Safety
/// As for LAPACK's `dgesdd`: `a` holds `n` columns `lda` apart; `s` min(m, n) entries; `u` and `vt`, where
/// `jobz` asks for them, as many columns `ldu` and `ldvt` apart as it says; `work` at least one entry.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dgesdd_(
    jobz: *const c_char,
    m: *const c_int,
    n: *const c_int,
    a: *mut f64,
    lda: *const c_int,
    s: *mut f64,
    u: *mut f64,
    ldu: *const c_int,
    vt: *mut f64,
    ldvt: *const c_int,
    work: *mut f64,
    lwork: *const c_int,
    _iwork: *mut c_int,
    info: *mut c_int,
) {
    // SAFETY: all pointers are valid by the contract of LAPACK's dgesdd, which the caller keeps.
    unsafe {
        if *lwork == -1 {
            *work = 1.0;
            *info = 0;
            return;
        }
        let (rows, cols, lda) = (*m as usize, *n as usize, *lda as usize);
        let k = rows.min(cols);
        if !crate::all_finite(a, rows, cols, lda) {
            *info = -4;
            return;
        }
        let matrix = MatRef::from_raw_parts(a.cast_const(), rows, cols, 1, lda as isize);
        let job = *jobz as u8;
        *info = match job {
            b'N' => match matrix.singular_values() {
                Ok(values) => {
                    for (i, value) in values.into_iter().enumerate() {
                        *s.add(i) = value;
                    }
                    0
                }
                Err(_) => crate::NOT_CONVERGED,
            },
            b'S' | b'A' => {
                let decomposition = if job == b'S' { matrix.thin_svd() } else { matrix.svd() };
                match decomposition {
                    Ok(svd) => {
                        for i in 0..k {
                            *s.add(i) = svd.S()[i];
                        }
                        let (left, right) = (svd.U(), svd.V());
                        MatMut::from_raw_parts_mut(u, rows, left.ncols(), 1, *ldu as isize).copy_from(left);
                        MatMut::from_raw_parts_mut(vt, right.ncols(), cols, 1, *ldvt as isize)
                            .copy_from(right.transpose());
                        0
                    }
                    Err(_) => crate::NOT_CONVERGED,
                }
            }
            _ => -1,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `dgesdd_` on a column-major matrix; returns info, s, U and V^T.
    fn decompose(job: u8, m: usize, n: usize, mut a: Vec<f64>) -> (i32, Vec<f64>, Vec<f64>, Vec<f64>) {
        let k = m.min(n);
        let (u_cols, vt_rows) = if job == b'A' { (m, n) } else { (k, k) };
        let (mut s, mut u, mut vt) = (vec![0.0; k], vec![0.0; m * u_cols], vec![0.0; vt_rows * n]);
        let (mut work, mut iwork, mut info) = (vec![0.0], vec![0; 8 * k], 0);
        let job = job as c_char;
        let (m, n, ldvt, lwork) = (m as c_int, n as c_int, vt_rows as c_int, 1);
        // SAFETY: all buffers have the sizes that dgesdd asks for.
        unsafe {
            dgesdd_(
                &job,
                &m,
                &n,
                a.as_mut_ptr(),
                &m,
                s.as_mut_ptr(),
                u.as_mut_ptr(),
                &m,
                vt.as_mut_ptr(),
                &ldvt,
                work.as_mut_ptr(),
                &lwork,
                iwork.as_mut_ptr(),
                &mut info,
            );
        }
        (info, s, u, vt)
    }

    fn example(m: usize, n: usize) -> Vec<f64> {
        (0..m * n).map(|i| ((i * i + 3 * i) as f64).sin()).collect()
    }

    #[test]
    fn factors_multiply_back_for_wide_tall_and_full_factors() {
        for (m, n) in [(5, 3), (3, 5), (4, 4), (1, 6), (6, 1)] {
            for job in [b'S', b'A'] {
                let a = example(m, n);
                let (info, s, u, vt) = decompose(job, m, n, a.clone());
                assert_eq!(info, 0);
                assert!(s.windows(2).all(|w| w[0] >= w[1]), "descending: {s:?}");
                let vt_rows = vt.len() / n;
                for i in 0..m {
                    for j in 0..n {
                        let sum: f64 = (0..s.len()).map(|r| u[i + r * m] * s[r] * vt[r + j * vt_rows]).sum();
                        assert!((sum - a[i + j * m]).abs() < 1e-13);
                    }
                }
            }
        }
    }

    #[test]
    fn values_alone_agree_with_the_full_decomposition() {
        let (_, full, _, _) = decompose(b'S', 5, 4, example(5, 4));
        let (info, alone, _, _) = decompose(b'N', 5, 4, example(5, 4));
        assert_eq!(info, 0);
        for (a, b) in full.iter().zip(&alone) {
            assert!((a - b).abs() < 1e-13);
        }
    }

    #[test]
    fn not_a_number_and_unknown_jobs_are_refused() {
        let mut a = example(3, 3);
        a[4] = f64::NAN;
        assert_eq!(decompose(b'S', 3, 3, a).0, -4);
        assert_eq!(decompose(b'O', 3, 3, example(3, 3)).0, -1);
    }
}
