//! The kernel of products in `f32`: a tile of sums that stays in registers while it goes through the inner dimension.
//!
//! The right factor is packed into [`Panels`] of one to three registers of columns, which a tile reads from front to
//! back. The left factor is read where it lies. A caller says for each tile which columns and which inner values it
//! needs: causal attention leaves out the future.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::{Matrix, Target};
use crate::ops::simd::{LANES, vectorized};
#[cfg(target_arch = "x86_64")]
use crate::ops::simd::{Level, level};

/// Rows of a tile.
pub(crate) const ROWS: usize = 8;
/// The most registers of columns in a tile: 24 of 32 registers hold sums.
const WIDEST: usize = 3;

/// Registers of the next panel, where so many columns are left: three, but rather two and two than three and one.
fn registers(columns: usize) -> usize {
    match columns.div_ceil(LANES) {
        4 => 2,
        needed => needed.min(WIDEST),
    }
}

/// What a tile computes: the columns from 0 to `columns` (and what else is in the last of their panels), summed over
/// some of the inner values.
pub(crate) struct Extent {
    pub(crate) columns: usize,
    pub(crate) inner: Range<usize>,
}

/// A right factor in panels of columns.
pub(crate) struct Panels {
    /// The panel that begins at column c begins at c `inner`.
    values: Vec<f32>,
    inner: usize,
    columns: usize,
}

impl Panels {
    /// An empty factor.
    pub(crate) const fn new() -> Self {
        Self { values: Vec::new(), inner: 0, columns: 0 }
    }

    /// Replaces the factor.
    pub(crate) fn pack(&mut self, b: Matrix<'_>) {
        (self.inner, self.columns) = (b.rows, b.columns);
        let needed = b.rows * b.columns.next_multiple_of(LANES);
        if self.values.len() < needed {
            self.values.resize(needed, 0.0);
        }
        let mut column = 0;
        while column < b.columns {
            let registers = registers(b.columns - column);
            let end = (column + registers * LANES).min(b.columns);
            let panel = &mut self.values[column * b.rows..][..registers * LANES * b.rows];
            pack_panel(panel, registers, b.column_range(column..end));
            column = end;
        }
    }

    /// target <- left b; `extent` is asked for every tile, by its first row.
    ///
    /// # Safety
    /// The target must be valid for all rows of `left` and all columns.
    pub(crate) unsafe fn multiply_into(&self, target: Target, left: Matrix<'_>, extent: impl Fn(usize) -> Extent) {
        let mut column = 0;
        while column < self.columns {
            let registers = registers(self.columns - column);
            let width = (registers * LANES).min(self.columns - column);
            let panel = &self.values[column * self.inner..][..registers * LANES * self.inner];
            for row in (0..left.rows).step_by(ROWS) {
                let Extent { columns, inner } = extent(row);
                assert!(inner.end <= self.inner, "inner values exceed the factor");
                if column < columns {
                    let left = left.row_range(row..(row + ROWS).min(left.rows)).column_range(inner.clone());
                    let right = &panel[inner.start * registers * LANES..];
                    // SAFETY: the caller vouches for the target.
                    unsafe { tile(target.at(row, column), left, right, registers, width) };
                }
            }
            column += width;
        }
    }

    /// out <- `keep` out + `scale` left b, rows of `out` `stride` apart.
    pub(crate) fn multiply(
        &self,
        out: &mut [f32],
        stride: usize,
        [keep, scale]: [f32; 2],
        left: Matrix<'_>,
        extent: impl Fn(usize) -> Extent,
    ) {
        if left.rows == 0 || self.columns == 0 {
            return;
        }
        assert!((left.rows - 1) * stride + self.columns <= out.len(), "the product exceeds its output");
        // SAFETY: the assert keeps every write inside `out`, which is borrowed mutably.
        unsafe { self.multiply_into(Target::new(out.as_mut_ptr(), stride, keep, scale), left, extent) };
    }
}

/// Copies a factor of at most `registers` registers of columns, row after row; columns that are not there become 0.
fn pack_panel(panel: &mut [f32], registers: usize, b: Matrix<'_>) {
    let width = registers * LANES;
    for column in (0..width).step_by(LANES) {
        let part = b.column_range(column..(column + LANES).min(b.columns));
        if b.column_stride == 1 {
            copy_columns(&mut panel[column..], width, part);
        } else {
            assert_eq!(b.row_stride, 1, "a matrix has rows or columns without gaps");
            turn_columns(&mut panel[column..], width, part);
        }
    }
}

vectorized! {
    /// Copies at most a register of columns of a matrix whose rows lie together, `step` values from row to row.
    fn copy_columns(panel: &mut [f32], step: usize, b: Matrix<'_>) {
        for k in 0..b.rows {
            let (to, from) = (&mut panel[k * step..][..LANES], &b.data[k * b.row_stride..]);
            if b.columns == LANES {
                to.copy_from_slice(&from[..LANES]);
            } else {
                to[..b.columns].copy_from_slice(&from[..b.columns]);
                to[b.columns..].fill(0.0);
            }
        }
    }
}

/// As [`copy_columns`], of a matrix whose columns lie together.
fn turn_columns(panel: &mut [f32], step: usize, b: Matrix<'_>) {
    for first in (0..b.rows).step_by(LANES) {
        let rows = LANES.min(b.rows - first);
        let mut square = [[0.0; LANES]; LANES];
        for (j, line) in square.iter_mut().enumerate().take(b.columns) {
            let from = &b.data[j * b.column_stride + first..];
            if rows == LANES {
                line.copy_from_slice(&from[..LANES]);
            } else {
                line[..rows].copy_from_slice(&from[..rows]);
            }
        }
        for (k, line) in transposed(square).iter().enumerate().take(rows) {
            panel[(first + k) * step..][..LANES].copy_from_slice(line);
        }
    }
}

/// The transpose.
fn transposed(square: [[f32; LANES]; LANES]) -> [[f32; LANES]; LANES] {
    #[cfg(target_arch = "x86_64")]
    if let Level::Avx512 = level() {
        type Registers = [std::arch::x86_64::__m512i; LANES];
        type Square = [[f32; LANES]; LANES];
        // SAFETY: `level` vouches for the instructions; a row is a register of 16 values.
        return unsafe {
            std::mem::transmute::<Registers, Square>(avx512::transposed(std::mem::transmute::<Square, Registers>(
                square,
            )))
        };
    }
    std::array::from_fn(|i| std::array::from_fn(|j| square[j][i]))
}

/// target <- left right for a tile of at most [`ROWS`] rows and of `width` columns in `registers` registers.
///
/// # Safety
/// The target must be valid for the tile; `right` has `left.columns` rows of `registers` registers.
unsafe fn tile(target: Target, left: Matrix<'_>, right: &[f32], registers: usize, width: usize) {
    debug_assert!(left.rows <= ROWS && left.columns * registers * LANES <= right.len());
    #[cfg(target_arch = "x86_64")]
    if let Level::Avx512 = level() {
        // SAFETY: the caller vouches for target and factor, `level` for the instructions.
        return unsafe {
            match registers {
                1 => wide_tile::<1>(target, left, right, width),
                2 => wide_tile::<2>(target, left, right, width),
                _ => wide_tile::<3>(target, left, right, width),
            }
        };
    }
    portable_tile(target, left, right, registers, width);
}

/// [`tile`] with AVX-512.
///
/// # Safety
/// As [`tile`], on a processor that has it.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn wide_tile<const V: usize>(target: Target, left: Matrix<'_>, right: &[f32], width: usize) {
    use std::arch::x86_64::*;

    let mut sums = [[_mm512_setzero_ps(); V]; ROWS];
    // Rows that are not there repeat the last one; their sums are not stored.
    let rows: [*const f32; ROWS] =
        std::array::from_fn(|row| left.data[row.min(left.rows - 1) * left.row_stride..].as_ptr());
    let right = right.as_ptr();
    let mut at = 0;
    for k in 0..left.columns {
        let mut columns = [_mm512_setzero_ps(); V];
        for (v, columns) in columns.iter_mut().enumerate() {
            // SAFETY: the caller vouches for the panel.
            *columns = unsafe { _mm512_loadu_ps(right.add((k * V + v) * LANES)) };
        }
        for (sums, row) in sums.iter_mut().zip(rows) {
            // SAFETY: a value of the matrix, whose slice holds them all.
            let x = _mm512_set1_ps(unsafe { *row.add(at) });
            for (sum, &columns) in sums.iter_mut().zip(&columns) {
                *sum = _mm512_fmadd_ps(x, columns, *sum);
            }
        }
        at += left.column_stride;
    }
    // One row at a time: a pointer to all sums would keep them out of registers.
    for (row, &sums) in sums.iter().enumerate() {
        if row < left.rows {
            // SAFETY: the caller vouches for the target.
            unsafe { avx512::store(target.at(row, 0), sums, width) };
        }
    }
}

vectorized! {
    /// [`tile`] in parts of four rows and 16 columns, whose sums fit the registers of smaller vector units.
    fn portable_tile(target: Target, left: Matrix<'_>, right: &[f32], registers: usize, width: usize) {
        const PART: usize = 4;
        for row in (0..left.rows).step_by(PART) {
            let rows: [usize; PART] =
                std::array::from_fn(|i| (row + i).min(left.rows - 1) * left.row_stride);
            for v in 0..registers {
                let mut sums = [[0.0f32; LANES]; PART];
                for k in 0..left.columns {
                    let columns = &right[(k * registers + v) * LANES..][..LANES];
                    for (sums, row) in sums.iter_mut().zip(rows) {
                        let x = left.data[row + k * left.column_stride];
                        for (sum, column) in sums.iter_mut().zip(columns) {
                            *sum = x.mul_add(*column, *sum);
                        }
                    }
                }
                for (i, sums) in sums.iter().enumerate().take(left.rows - row) {
                    for (column, &sum) in (v * LANES..width).zip(sums) {
                        let out = target.at(row + i, column).out;
                        let kept = match target.keep {
                            0.0 => 0.0,
                            // SAFETY: the callers of `tile` vouch for the target.
                            keep => keep * unsafe { *out },
                        };
                        // SAFETY: as above.
                        unsafe { *out = sum.mul_add(target.scale, kept) };
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 65_521) as f32 / 32_760.5 - 1.0).collect()
    }

    fn at(matrix: Matrix<'_>, row: usize, column: usize) -> f64 {
        f64::from(matrix.data[row * matrix.row_stride + column * matrix.column_stride])
    }

    /// A matrix with gaps between its rows, or between its columns.
    fn matrix(data: &[f32], rows: usize, columns: usize, turned: bool) -> Matrix<'_> {
        match turned {
            false => Matrix::strided(data, rows, columns, columns + 3),
            true => Matrix::strided(data, columns, rows, rows + 3).t(),
        }
    }

    const SHAPES: [(usize, usize, usize); 7] =
        [(1, 1, 1), (8, 48, 2), (7, 47, 31), (9, 64, 33), (30, 17, 100), (3, 200, 5), (16, 16, 0)];

    #[test]
    fn a_product_is_exact_for_every_shape_layout_and_scale() {
        for (m, n, k) in SHAPES {
            for turned in [[false, false], [true, false], [false, true], [true, true]] {
                let (a, b) = (values((m + 3) * (k + 3), 1), values((k + 3) * (n + 3), 2));
                let (a, b) = (matrix(&a, m, k, turned[0]), matrix(&b, k, n, turned[1]));
                let mut panels = Panels::new();
                // What another factor left must not show.
                panels.pack(Matrix::new(&[f32::NAN; 5000], 50, 100));
                panels.pack(b);
                for (keep, scale) in [(0.0, 1.0), (1.0, 1.0), (-0.5, 2.0)] {
                    let stride = n + 3;
                    let old = if keep == 0.0 { vec![f32::NAN; m * stride] } else { values(m * stride, 3) };
                    let mut out = old.clone();
                    panels.multiply(&mut out, stride, [keep, scale], a, |_| Extent { columns: n, inner: 0..k });
                    for (i, (&found, &old)) in out.iter().zip(&old).enumerate() {
                        let (row, column) = (i / stride, i % stride);
                        if column >= n {
                            assert_eq!(found.to_bits(), old.to_bits(), "a value beside the output changed");
                            continue;
                        }
                        let sum: f64 = (0..k).map(|inner| at(a, row, inner) * at(b, inner, column)).sum();
                        let kept = if keep == 0.0 { 0.0 } else { f64::from(keep) * f64::from(old) };
                        let error = (f64::from(found) - kept - f64::from(scale) * sum).abs();
                        assert!(error < 1e-6 * (1.0 + k as f64), "{m} x {n} x {k} at {row}, {column}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_tile_sums_what_its_extent_says_and_leaves_later_panels_alone() {
        let (m, n, k) = (20, 150, 40);
        let (a, b) = (values(m * k, 1), values(k * n, 2));
        let (a, b) = (Matrix::new(&a, m, k), Matrix::new(&b, k, n));
        let mut panels = Panels::new();
        panels.pack(b);
        let mut out = vec![f32::NAN; m * n];
        let extent = |row: usize| Extent { columns: row + 1, inner: row..row + 5 };
        panels.multiply(&mut out, n, [0.0, 1.0], a, extent);
        for row in 0..m {
            let first = row / ROWS * ROWS;
            for column in 0..n {
                let found = f64::from(out[row * n + column]);
                if column <= first {
                    let sum: f64 = (first..first + 5).map(|inner| at(a, row, inner) * at(b, inner, column)).sum();
                    assert!((found - sum).abs() < 1e-5, "{row}, {column}");
                } else if column >= 3 * LANES {
                    assert!(found.is_nan(), "{row}, {column} is in a panel that was not asked for");
                }
            }
        }
    }

    #[test]
    fn tiles_without_avx512_give_the_same_product() {
        for (m, n, k) in [(8, 48, 100), (5, 33, 7), (1, 16, 1)] {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            let mut panels = Panels::new();
            panels.pack(Matrix::new(&b, k, n));
            let outputs = [values(m * n, 3), values(m * n, 3)].map(|mut out| {
                panels.multiply(&mut out, n, [0.5, 2.0], Matrix::new(&a, m, k), |_| Extent { columns: n, inner: 0..k });
                out
            });
            let mut portable = values(m * n, 3);
            let target = Target::new(portable.as_mut_ptr(), n, 0.5, 2.0);
            portable_tile(target, Matrix::new(&a, m, k), &panels.values, registers(n), n);
            assert_eq!(outputs[0], outputs[1]);
            for (x, y) in outputs[0].iter().zip(&portable) {
                assert!((x - y).abs() < 1e-5 * (1.0 + x.abs()), "{x}, {y}");
            }
        }
    }
}
