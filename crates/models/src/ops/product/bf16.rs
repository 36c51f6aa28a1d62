//! Products whose factors are rounded to bf16 and whose sums are `f32`.
//!
//! A processor with AVX512-BF16 multiplies pairs of neighbours along the inner dimension in one instruction, twice the
//! work of an `f32` one. Factors are rounded and laid out as *words* of two such neighbours while they are packed: the
//! left factor in blocks of rows, the right one in panels of [`COLUMNS`] columns. A tile of [`ROWS`] x [`COLUMNS`] sums
//! stays in registers over [`DEPTH`] inner values. A processor with a matrix unit for bf16 ([`amx`]) reads the same
//! words in tiles of its own. Which thread computes a tile changes no bit of it. On other processors the factors are
//! rounded and multiplied in `f32`: the same product up to the order of summation, at less than the speed of `f32`.

use gemm::Parallelism;

use super::{Matrix, Target, f32_product_into};
#[cfg(target_arch = "x86_64")]
use super::{amx, divided};

/// Rows of a tile.
#[cfg(target_arch = "x86_64")]
const ROWS: usize = 8;
/// Columns of a tile: three registers.
#[cfg(target_arch = "x86_64")]
const COLUMNS: usize = 48;
/// Inner values that a tile goes through at a time: a panel of the right factor fits the first cache.
#[cfg(target_arch = "x86_64")]
const DEPTH: usize = 256;
/// The same with the matrix unit, whose sums are stored and loaded again after as many.
#[cfg(target_arch = "x86_64")]
const UNIT_DEPTH: usize = 1024;
/// Rows of the left factor that are packed at a time, to stay in the second cache.
#[cfg(target_arch = "x86_64")]
const ROW_BLOCK: usize = 128;
/// Columns of the right factor that are packed at a time, without and with the matrix unit.
#[cfg(target_arch = "x86_64")]
const COLUMN_BLOCK: usize = 20 * COLUMNS;
#[cfg(target_arch = "x86_64")]
const UNIT_COLUMN_BLOCK: usize = COLUMN_BLOCK * DEPTH / UNIT_DEPTH;

/// target <- a b in bf16.
///
/// # Safety
/// As [`super::product_into`].
pub(super) unsafe fn product_into(target: Target, a: Matrix<'_>, b: Matrix<'_>, parallelism: Parallelism) {
    #[cfg(target_arch = "x86_64")]
    if has_units() {
        let unit = amx::available();
        // SAFETY: the caller vouches for the output, `has_units` and `available` for the instructions.
        let part = |target: Target, a: Matrix<'_>, b: Matrix<'_>| unsafe { packed(target, a, b, unit) };
        // SAFETY: the caller vouches for the output.
        return unsafe { divided(target, a, b, parallelism, [ROWS, COLUMNS], part) };
    }
    // SAFETY: the caller vouches for the output.
    unsafe { rounded(target, a, b, parallelism) }
}

/// Whether this processor has the instructions.
#[cfg(target_arch = "x86_64")]
fn has_units() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
}

/// The product of rounded copies, in `f32`.
///
/// # Safety
/// As [`super::product_into`].
unsafe fn rounded(target: Target, a: Matrix<'_>, b: Matrix<'_>, parallelism: Parallelism) {
    let round = |matrix: Matrix<'_>| -> Vec<f32> { matrix.data.iter().map(|&x| nearest(x)).collect() };
    let (a_data, b_data) = (round(a), round(b));
    let (a, b) = (Matrix { data: &a_data, ..a }, Matrix { data: &b_data, ..b });
    // SAFETY: the caller vouches for the output.
    unsafe { f32_product_into(target, a, b, parallelism) }
}

/// The nearest bf16 number, ties to even.
fn nearest(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let bits = x.to_bits();
    f32::from_bits(bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000)
}

#[cfg(target_arch = "x86_64")]
use wide::packed;

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;
    use std::cell::RefCell;

    use super::super::amx::{self, SIDE, Unit};
    use super::super::avx512::{LANES, load, store, transposed};
    use super::{COLUMN_BLOCK, COLUMNS, DEPTH, Matrix, ROW_BLOCK, ROWS, Target, UNIT_COLUMN_BLOCK, UNIT_DEPTH};

    /// Words of a block of the left factor (with a line of the cache after each row), and of a block of panels of the
    /// right one.
    const LEFT_WORDS: usize = ROW_BLOCK * (UNIT_DEPTH / 2 + LANES);
    const RIGHT_WORDS: usize = COLUMN_BLOCK * DEPTH / 2;

    thread_local! {
        static BUFFERS: RefCell<(Vec<u32>, Vec<u32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
    }

    /// A block of the left factor in words: that of row i and pair p is at i `row_step` + p `pair_step`.
    #[derive(Clone, Copy)]
    struct Left {
        words: *const u32,
        row_step: usize,
        pair_step: usize,
    }

    /// target <- a b on this thread, by the matrix unit if `unit`.
    ///
    /// # Safety
    /// `target` must be valid for the product, and the processor must have AVX512-F, -BW and -BF16, and the unit.
    pub(super) unsafe fn packed(target: Target, a: Matrix<'_>, b: Matrix<'_>, unit: bool) {
        let (m, n, k) = (a.rows, b.columns, a.columns);
        let (column_block, depth) = if unit { (UNIT_COLUMN_BLOCK, UNIT_DEPTH) } else { (COLUMN_BLOCK, DEPTH) };
        // SAFETY: the caller vouches for the unit.
        let unit = unit.then(|| unsafe { Unit::new() });
        BUFFERS.with_borrow_mut(|(left, right)| {
            left.resize(LEFT_WORDS, 0);
            right.resize(RIGHT_WORDS, 0);
            for column in (0..n).step_by(column_block) {
                let columns = column..(column + column_block).min(n);
                for (step, first) in (0..k.max(1)).step_by(depth).enumerate() {
                    let inner = first..(first + depth).min(k);
                    let b = b.row_range(inner.clone()).column_range(columns.clone());
                    // SAFETY: the processor has the instructions; the buffer holds a whole block.
                    let panel_words = unsafe { pack_right(right, b) };
                    for row in (0..m).step_by(ROW_BLOCK) {
                        let rows = row..(row + ROW_BLOCK).min(m);
                        let a = a.row_range(rows).column_range(inner.clone());
                        let part = target.at(row, column);
                        let part = Target { keep: if step == 0 { target.keep } else { 1.0 }, ..part };
                        let size = (a.rows, columns.len(), inner.len().div_ceil(2));
                        // SAFETY: as above; `part` lies inside the output.
                        unsafe {
                            let left = pack_left(left, a, unit.is_some());
                            match &unit {
                                Some(unit) => unit_block(unit, part, left, right.as_ptr(), panel_words, size),
                                None => block(part, left, right.as_ptr(), panel_words, size),
                            }
                        };
                    }
                }
            }
        });
    }

    /// [`block`] by the matrix unit.
    ///
    /// # Safety
    /// As [`block`]; the rows of `left` and the panels have whole tiles of pairs, with zeros after the last.
    #[target_feature(enable = "avx512f")]
    unsafe fn unit_block(
        unit: &Unit,
        target: Target,
        left: Left,
        right: *const u32,
        panel_words: usize,
        (rows, columns, pairs): (usize, usize, usize),
    ) {
        let mut sums = [[[0.0; SIDE]; SIDE]; 4];
        // Beyond the last group of rows or columns the group itself is multiplied again, and not stored.
        let pair = |first: usize, end: usize| [first, if first + SIDE < end { first + SIDE } else { first }];
        for row in (0..rows).step_by(2 * SIDE) {
            let upper_and_lower = pair(row, rows);
            for column in (0..columns).step_by(2 * SIDE) {
                let sides = pair(column, columns);
                // SAFETY: the caller vouches for the words and the target.
                unsafe {
                    let words = sides.map(|column| right.add(column / COLUMNS * panel_words + column % COLUMNS));
                    let lines = upper_and_lower.map(|row| left.words.add(row * left.row_step));
                    unit.multiply(&mut sums, lines, left.row_step, words, COLUMNS, pairs.div_ceil(SIDE));
                    for (i, sums) in sums.iter().enumerate() {
                        let (row, column) = (row + i / 2 * SIDE, column + i % 2 * SIDE);
                        if row < rows && column < columns {
                            let (rows, width) = (SIDE.min(rows - row), SIDE.min(columns - column));
                            amx::store_tile(target.at(row, column), sums, rows, width);
                        }
                    }
                }
            }
        }
    }

    /// All tiles of a packed block of (rows, columns, pairs).
    ///
    /// # Safety
    /// As [`packed`]; `left` and `right` hold the block.
    unsafe fn block(
        target: Target,
        left: Left,
        right: *const u32,
        panel_words: usize,
        (rows, columns, pairs): (usize, usize, usize),
    ) {
        for (panel, column) in (0..columns).step_by(COLUMNS).enumerate() {
            let width = COLUMNS.min(columns - column);
            for row in (0..rows).step_by(ROWS) {
                // SAFETY: the offsets stay inside what the caller vouches for.
                unsafe {
                    let target = target.at(row, column);
                    let left = Left { words: left.words.add(row * left.row_step), ..left };
                    let right = right.add(panel * panel_words);
                    let tile = match width.div_ceil(LANES) {
                        1 => tile::<1>,
                        2 => tile::<2>,
                        _ => tile::<3>,
                    };
                    tile(target, left, right, pairs, ROWS.min(rows - row), width);
                }
            }
        }
    }

    /// `rows` rows of `V` registers of sums, of which `width` columns exist.
    ///
    /// # Safety
    /// As [`packed`]; `left` has [`ROWS`] rows of `pairs` words, `right` `pairs` rows of [`COLUMNS`] words.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn tile<const V: usize>(
        target: Target,
        left: Left,
        right: *const u32,
        pairs: usize,
        rows: usize,
        width: usize,
    ) {
        let mut sums = [[_mm512_setzero_ps(); V]; ROWS];
        for pair in 0..pairs {
            let mut columns = [_mm512_setzero_si512(); V];
            for (v, columns) in columns.iter_mut().enumerate() {
                // SAFETY: the caller vouches for the panel.
                *columns = unsafe { _mm512_loadu_si512(right.add(pair * COLUMNS + v * LANES).cast()) };
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the caller vouches for the block.
                let word = unsafe { *left.words.add(row * left.row_step + pair * left.pair_step) };
                let word = bf16(_mm512_set1_epi32(word.cast_signed()));
                for (sum, &columns) in sums.iter_mut().zip(&columns) {
                    *sum = _mm512_dpbf16_ps(*sum, word, bf16(columns));
                }
            }
        }
        for (row, &sums) in sums.iter().enumerate() {
            if row < rows {
                // SAFETY: the caller vouches for these rows and columns.
                unsafe { store(target.at(row, 0), sums, width) };
            }
        }
    }

    /// The same bits, as pairs of bf16.
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn bf16(words: __m512i) -> __m512bh {
        // SAFETY: two types of one register, without invalid values.
        unsafe { std::mem::transmute(words) }
    }

    /// Words of neighbours in one row: 32 values from `data` on, of which `count` exist.
    ///
    /// # Safety
    /// `count` values must be readable.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn words_along(data: *const f32, count: usize) -> __m512i {
        // SAFETY: the caller vouches for `count` values; the second pointer is read only where values are left.
        let (low, high) = unsafe { (load(data, count), load(data.wrapping_add(LANES), count.saturating_sub(LANES))) };
        // SAFETY: two types of one register.
        unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(high, low)) }
    }

    /// Words of neighbours in two rows: 16 columns of which `count` exist; `next` is null after the last row.
    ///
    /// # Safety
    /// `count` values of each row must be readable.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn words_across(row: *const f32, next: *const f32, count: usize) -> __m512i {
        // SAFETY: the caller vouches for the rows.
        let (low, high) =
            unsafe { (load(row, count), if next.is_null() { _mm512_setzero_ps() } else { load(next, count) }) };
        // SAFETY: two types of one register.
        let halves: __m512i = unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(high, low)) };
        // Halves 0, 16, 1, 17, ...: each value beside the one below it.
        let order = _mm512_add_epi32(
            _mm512_set1_epi32(0x0010_0000),
            _mm512_mullo_epi32(
                _mm512_set1_epi32(0x0001_0001),
                _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
            ),
        );
        _mm512_permutexvar_epi16(order, halves)
    }

    /// Packs a block of the left factor; rows up to a multiple of [`ROWS`] are zero or old, and never stored. With
    /// `in_rows` the words of a row lie together, with zeros up to a whole register after the last.
    ///
    /// # Safety
    /// The processor must have the instructions; `a` has at most [`ROW_BLOCK`] rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn pack_left(buffer: &mut [u32], a: Matrix<'_>, in_rows: bool) -> Left {
        // A line of the cache after each row: rows of a power of two would all compete for the same places.
        let row_step = a.columns.next_multiple_of(2 * LANES) / 2 + LANES;
        assert!(a.rows.next_multiple_of(LANES) * row_step <= buffer.len());
        let (data, words) = (a.data.as_ptr(), buffer.as_mut_ptr());
        if a.column_stride == 1 {
            for row in 0..a.rows {
                for column in (0..a.columns).step_by(2 * LANES) {
                    // SAFETY: within `a`; the buffer has whole registers a row.
                    unsafe {
                        let found = words_along(data.add(row * a.row_stride + column), a.columns - column);
                        _mm512_storeu_si512(words.add(row * row_step + column / 2).cast(), found);
                    }
                }
            }
            return Left { words, row_step, pair_step: 1 };
        }
        assert_eq!(a.row_stride, 1, "a matrix has rows or columns without gaps");
        let pairs = a.columns.div_ceil(2);
        // SAFETY: within `a`; the second pointer is null after the last column.
        let across = |pair: usize, row: usize| unsafe {
            let here = data.add(2 * pair * a.column_stride + row);
            let next = if 2 * pair + 1 < a.columns { here.add(a.column_stride) } else { std::ptr::null() };
            words_across(here, next, a.rows - row)
        };
        if in_rows {
            for pair in (0..pairs).step_by(LANES) {
                for row in (0..a.rows).step_by(LANES) {
                    let mut square = [_mm512_setzero_si512(); LANES];
                    for (i, line) in square.iter_mut().enumerate().take(pairs - pair) {
                        *line = across(pair + i, row);
                    }
                    for (i, line) in transposed(square).into_iter().enumerate() {
                        // SAFETY: the buffer has whole registers of rows and pairs.
                        unsafe { _mm512_storeu_si512(words.add((row + i) * row_step + pair).cast(), line) };
                    }
                }
            }
            return Left { words, row_step, pair_step: 1 };
        }
        let pair_step = a.rows.next_multiple_of(LANES);
        for pair in 0..pairs {
            for row in (0..a.rows).step_by(LANES) {
                // SAFETY: the buffer has whole registers a pair.
                unsafe { _mm512_storeu_si512(words.add(pair * pair_step + row).cast(), across(pair, row)) };
            }
        }
        Left { words, row_step: 1, pair_step }
    }

    /// Packs panels of the right factor and returns the words of a panel.
    ///
    /// # Safety
    /// The processor must have the instructions; `b` fits the buffer.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn pack_right(buffer: &mut [u32], b: Matrix<'_>) -> usize {
        let pairs = b.rows.div_ceil(2);
        let panel_words = pairs.next_multiple_of(LANES) * COLUMNS;
        assert!(b.columns.div_ceil(COLUMNS) * panel_words <= buffer.len());
        let (data, words) = (b.data.as_ptr(), buffer.as_mut_ptr());
        for column in (0..b.columns).step_by(LANES) {
            let to = column / COLUMNS * panel_words + column % COLUMNS;
            let count = LANES.min(b.columns - column);
            if b.column_stride == 1 {
                for pair in 0..pairs {
                    // SAFETY: within `b` and within the panels.
                    unsafe {
                        let here = data.add(2 * pair * b.row_stride + column);
                        let next = if 2 * pair + 1 < b.rows { here.add(b.row_stride) } else { std::ptr::null() };
                        _mm512_storeu_si512(words.add(to + pair * COLUMNS).cast(), words_across(here, next, count));
                    }
                }
                for pair in pairs..pairs.next_multiple_of(LANES) {
                    // SAFETY: a panel has whole registers of pairs.
                    unsafe { _mm512_storeu_si512(words.add(to + pair * COLUMNS).cast(), _mm512_setzero_si512()) };
                }
                continue;
            }
            assert_eq!(b.row_stride, 1, "a matrix has rows or columns without gaps");
            for pair in (0..pairs).step_by(LANES) {
                let mut square = [_mm512_setzero_si512(); LANES];
                for (i, line) in square.iter_mut().enumerate().take(count) {
                    // SAFETY: within `b`.
                    *line =
                        unsafe { words_along(data.add((column + i) * b.column_stride + 2 * pair), b.rows - 2 * pair) };
                }
                for (i, line) in transposed(square).into_iter().enumerate() {
                    // SAFETY: a panel has whole registers of pairs.
                    unsafe { _mm512_storeu_si512(words.add(to + (pair + i) * COLUMNS).cast(), line) };
                }
            }
        }
        panel_words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values between -1 and 1 with long mantissas.
    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 65_521) as f32 / 32_760.5 - 1.0).collect()
    }

    /// The product in f64 of the rounded factors.
    fn expected(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f64> {
        let at = |x: Matrix<'_>, i: usize, j: usize| f64::from(nearest(x.data[i * x.row_stride + j * x.column_stride]));
        let entry = |i: usize, j: usize| (0..a.columns).map(|k| at(a, i, k) * at(b, k, j)).sum();
        (0..a.rows).flat_map(|i| (0..b.columns).map(move |j| (i, j))).map(|(i, j)| entry(i, j)).collect()
    }

    type Product = unsafe fn(Target, Matrix<'_>, Matrix<'_>, Parallelism);

    fn check(product: Product, (m, n, k): (usize, usize, usize), [a_turned, b_turned]: [bool; 2]) {
        let gap = 3;
        let matrix = |data, rows, columns, turned: bool| match turned {
            false => Matrix::strided(data, rows, columns, columns + gap),
            true => Matrix::strided(data, columns, rows, rows + gap).t(),
        };
        let (a, b) = (values((m + gap) * (k + gap), 1), values((k + gap) * (n + gap), 2));
        let (a, b) = (matrix(&a, m, k, a_turned), matrix(&b, k, n, b_turned));
        let exact = expected(a, b);
        for (keep, scale) in [(0.0, 1.0), (1.0, 1.0), (-0.5, 2.0)] {
            let stride = n + gap;
            let old = values(m * stride, 3);
            let mut out = old.clone();
            if keep == 0.0 {
                out.iter_mut().enumerate().filter(|(i, _)| i % stride < n).for_each(|(_, x)| *x = f32::NAN);
            }
            let target = Target::new(out.as_mut_ptr(), stride, keep, scale);
            // SAFETY: `out` has m rows of n values, `stride` apart.
            unsafe { product(target, a, b, Parallelism::None) };
            for (i, (&found, &old)) in out.iter().zip(&old).enumerate() {
                let (row, column) = (i / stride, i % stride);
                if column >= n {
                    assert_eq!(found, old, "a value beside the output changed");
                    continue;
                }
                let kept = if keep == 0.0 { 0.0 } else { f64::from(keep) * f64::from(old) };
                let exact = kept + f64::from(scale) * exact[row * n + column];
                let error = (f64::from(found) - exact).abs();
                assert!(error < 1e-5 * (1.0 + k as f64), "{m} x {n} x {k} at {row}, {column}: {found}, {exact}");
            }
        }
    }

    fn check_shapes(product: Product) {
        let shapes = [
            (1, 1, 1),
            (8, 48, 2),
            (7, 47, 31),
            (9, 49, 33),
            (130, 17, 257),
            (3, 1000, 5),
            (65, 100, 600),
            (40, 500, 1100),
            (16, 16, 0),
        ];
        for shape in shapes {
            for turned in [[false, false], [true, false], [false, true], [true, true]] {
                check(product, shape, turned);
            }
        }
    }

    #[test]
    fn the_product_is_that_of_the_rounded_factors_at_every_shape_layout_and_scale() {
        check_shapes(product_into);
    }

    #[test]
    fn processors_without_the_instructions_compute_the_same_product() {
        check_shapes(rounded);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn processors_without_a_matrix_unit_compute_the_same_product() {
        unsafe fn without(target: Target, a: Matrix<'_>, b: Matrix<'_>, parallelism: Parallelism) {
            // SAFETY: the caller vouches for the output, `has_units` for the instructions.
            let part = |target: Target, a: Matrix<'_>, b: Matrix<'_>| unsafe { packed(target, a, b, false) };
            // SAFETY: as above.
            unsafe { divided(target, a, b, parallelism, [ROWS, COLUMNS], part) }
        }
        if has_units() {
            check_shapes(without);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        for (m, n, k) in [(300, 100, 300), (100, 300, 300)] {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            let outputs = [1, 2, 3, 7].map(|threads| {
                let mut out = vec![0.0; m * n];
                let target = Target::new(out.as_mut_ptr(), n, 0.0, 1.0);
                // SAFETY: `out` has m rows of n values.
                unsafe {
                    product_into(target, Matrix::new(&a, m, k), Matrix::new(&b, k, n), Parallelism::Rayon(threads))
                };
                out
            });
            assert!(outputs.iter().all(|out| *out == outputs[0]));
        }
    }

    #[test]
    fn rounding_is_to_nearest_with_ties_to_even() {
        let cases = [(1.0, 1.0), (1.003_906_3, 1.0), (1.011_718_8, 1.015_625), (-1.005, -1.007_812_5), (0.0, 0.0)];
        for (x, rounded) in cases {
            assert_eq!(nearest(x), rounded, "{x}");
        }
        assert!(nearest(f32::NAN).is_nan());
        assert_eq!(nearest(f32::INFINITY), f32::INFINITY);
    }
}
