//! LAPACK in pure Rust, as far as this workspace calls it.
//!
//! `ndarray-linalg` calls LAPACK through its Fortran symbols and leaves it to a *source crate*
//! (a crate whose name ends in `-src`) to provide them. This one defines the two symbols that the
//! workspace calls, in double precision, over [faer](https://docs.rs/faer), so that nothing but
//! Cargo is needed to build:
//!
//! | symbol | called by | what it does |
//! |---|---|---|
//! | [`dgesdd_`] | `ndarray_linalg::SVDDC` | singular value decomposition |
//! | [`dsyev_`] | `ndarray_linalg::Eigh` | eigendecomposition of a symmetric matrix |
//!
//! Everything else of LAPACK stays undefined: a call of any other routine of `ndarray-linalg` fails
//! when the program is linked, with the routine's name, and the remedy is to define it here.
//! Linking relies on unused functions being dropped before undefined symbols are reported, as the
//! linkers of Linux do.
//!
//! A crate uses it by naming it once: `use lapack_faer_src as _;`.
//!
//! The routines are sequential: results do not depend on a number of threads.

mod eigen;
mod svd;

pub use eigen::dsyev_;
pub use svd::dgesdd_;

/// What LAPACK reports through `info` when an iteration did not converge.
const NOT_CONVERGED: i32 = 1;

/// Whether every entry of the column-major `rows` x `cols` matrix at `a` is a finite number.
///
/// # Safety
/// `a` points to `cols` columns of `rows` readable entries, `lda` apart.
unsafe fn all_finite(a: *const f64, rows: usize, cols: usize, lda: usize) -> bool {
    (0..cols).all(|j| {
        // SAFETY: column j starts at a + j * lda and has `rows` entries, by this function's contract.
        let column = unsafe { std::slice::from_raw_parts(a.add(j * lda), rows) };
        column.iter().all(|x| x.is_finite())
    })
}
