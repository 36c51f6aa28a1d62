//! Products of matrices that are views of slices.
//!
//! In `f32` large products are the [`gemm`] crate's and the small ones of attention are tiles of our own ([`Panels`]).
//! A product can add into its output: a residual branch costs no pass of its own.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bf16;
mod tile;

use gemm::Parallelism;

pub(crate) use tile::{Extent, Panels, ROWS};

use super::threads::threads;
use crate::Precision;

/// A row-major matrix, possibly read as its transpose.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` x `columns` values, rows `stride` apart.
    pub(crate) fn strided(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(rows == 0 || columns == 0 || (rows - 1) * stride + columns <= data.len(), "matrix exceeds its slice");
        Self { data, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// `rows` x `columns` values without gaps.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// Number of rows.
    pub(crate) fn rows(self) -> usize {
        self.rows
    }

    /// Some of the rows; no value moves.
    pub(crate) fn row_range(self, range: std::ops::Range<usize>) -> Self {
        assert!(range.end <= self.rows, "rows exceed the matrix");
        Self { data: &self.data[range.start * self.row_stride..], rows: range.len(), ..self }
    }

    /// Some of the columns; no value moves.
    pub(crate) fn column_range(self, range: std::ops::Range<usize>) -> Self {
        self.t().row_range(range).t()
    }

    /// The transpose; no value moves.
    pub(crate) fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// In which numbers and on which threads a product is computed; the threads change no bit of it.
#[derive(Clone, Copy)]
pub(crate) struct Compute {
    precision: Precision,
    parallelism: Parallelism,
}

impl Compute {
    /// On the threads of the current rayon pool.
    pub(crate) fn on_pool(precision: Precision) -> Self {
        let parallelism = match threads() {
            1 => Parallelism::None,
            threads => Parallelism::Rayon(threads),
        };
        Self { precision, parallelism }
    }

    /// On the calling thread.
    #[cfg(feature = "cuda-emulation")]
    pub(crate) const fn on_one_thread(precision: Precision) -> Self {
        Self { precision, parallelism: Parallelism::None }
    }
}

/// Where a product goes: out <- `keep` out + `scale` (product), rows `stride` apart; with `keep` = 0 the old values are
/// not read, and need not be initialised.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    out: *mut f32,
    stride: usize,
    keep: f32,
    scale: f32,
}

impl Target {
    /// The output that begins at `out`.
    pub(crate) fn new(out: *mut f32, stride: usize, keep: f32, scale: f32) -> Self {
        Self { out, stride, keep, scale }
    }

    /// The part of the output from this row and column on, which need not be one that exists.
    fn at(self, row: usize, column: usize) -> Self {
        Self { out: self.out.wrapping_add(row * self.stride + column), ..self }
    }
}

// SAFETY: threads that share a target write to disjoint parts of the output.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

/// out <- `keep` * out + `scale` * a b, where `out` has rows `stride` apart; with `keep` = 0 the old values are not
/// read.
pub(crate) fn product(
    out: &mut [f32],
    stride: usize,
    keep: f32,
    scale: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
    compute: Compute,
) {
    assert_eq!(a.columns, b.rows, "inner dimensions of a matrix product");
    let (m, n) = (a.rows, b.columns);
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * stride + n <= out.len(), "the product exceeds its output");
    // SAFETY: the asserts here keep every write inside `out`, which is borrowed mutably, so that it overlaps neither
    // operand.
    unsafe { product_into(Target::new(out.as_mut_ptr(), stride, keep, scale), a, b, compute) }
}

/// target <- a b.
///
/// # Safety
/// `target.out` must be valid for writes (and, if `keep` is not 0, reads) of `a.rows` rows of `b.columns` values, rows
/// `stride` apart, that overlap neither operand.
unsafe fn product_into(target: Target, a: Matrix<'_>, b: Matrix<'_>, compute: Compute) {
    // SAFETY: the caller vouches for the output.
    unsafe {
        match compute.precision {
            Precision::Bf16 => bf16::product_into(target, a, b, compute.parallelism),
            Precision::F32 | Precision::Tf32 => f32_product_into(target, a, b, compute.parallelism),
        }
    }
}

/// target <- a b in `f32`.
///
/// # Safety
/// As [`product_into`].
unsafe fn f32_product_into(target: Target, a: Matrix<'_>, b: Matrix<'_>, parallelism: Parallelism) {
    let Target { out, stride, keep, scale } = target;
    // SAFETY: the caller vouches for the output; the assert in `Matrix::strided` keeps every read inside its slice.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out,
            1,
            stride as isize,
            keep != 0.0,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            keep,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Divides the longer side of the output among the threads, in multiples of `unit`, and calls `part` for each.
///
/// # Safety
/// As [`product_into`].
#[cfg(target_arch = "x86_64")]
unsafe fn divided(
    target: Target,
    a: Matrix<'_>,
    b: Matrix<'_>,
    parallelism: Parallelism,
    [row_unit, column_unit]: [usize; 2],
    part: impl Fn(Target, Matrix<'_>, Matrix<'_>) + Sync,
) {
    use rayon::prelude::*;

    let (m, n) = (a.rows, b.columns);
    let threads = match parallelism {
        Parallelism::None => 1,
        Parallelism::Rayon(threads) => threads.max(1),
    };
    let (side, unit) = if m >= n { (m, row_unit) } else { (n, column_unit) };
    let share = side.div_ceil(threads).next_multiple_of(unit);
    if share >= side {
        return part(target, a, b);
    }
    (0..side.div_ceil(share)).into_par_iter().for_each(|i| {
        let range = i * share..((i + 1) * share).min(side);
        match m >= n {
            true => part(target.at(range.start, 0), a.row_range(range), b),
            false => part(target.at(0, range.start), a, b.column_range(range)),
        }
    });
}

/// `scale` * a b in a new vector, row after row; its memory is not zeroed first.
pub(crate) fn new_product(scale: f32, a: Matrix<'_>, b: Matrix<'_>, compute: Compute) -> Vec<f32> {
    assert_eq!(a.columns, b.rows, "inner dimensions of a matrix product");
    let (m, n, k) = (a.rows, b.columns, a.columns);
    if m * n * k == 0 {
        return vec![0.0; m * n];
    }
    let mut out: Vec<f32> = Vec::with_capacity(m * n);
    // SAFETY: `out` has room for m n values, none of which is read, and all of which are written before `set_len`.
    unsafe {
        product_into(Target::new(out.as_mut_ptr(), n, 0.0, scale), a, b, compute);
        out.set_len(m * n);
    }
    out
}
