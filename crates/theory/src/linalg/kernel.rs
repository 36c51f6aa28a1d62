//! The one product kernel behind all small-matrix work, on the CPU's widest vector units.
//!
//! It is generic over the vector type, so that `pulp` compiles it for each set of vector units. A closure with a large
//! body would not do: it is not inlined into the function that has the units switched on, and keeps the build's plain
//! ones.

use pulp::Simd;

/// Columns of the result that are worked on together: as many sums stay in registers.
const TILE: usize = 8;
/// Longest inner dimension of which a transposed factor is packed at once.
const PACKED: usize = 16;
/// Lanes of the widest vectors.
const MOST_LANES: usize = 8;

/// A column-major matrix: its entries and the distance between its columns.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    pub(super) data: &'a [f64],
    pub(super) stride: usize,
}

/// A matrix with any order of entries: (i, j) is at i * `row` + j * `column`.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    pub(super) data: &'a [f64],
    pub(super) row: usize,
    pub(super) column: usize,
}

/// Where a product goes: scale A B, or that added to what is there.
pub(super) struct Output<'a> {
    pub(super) data: &'a mut [f64],
    pub(super) stride: usize,
    pub(super) scale: f64,
    pub(super) accumulate: bool,
}

impl<'a> Output<'a> {
    /// The product itself, its columns `stride` apart.
    #[inline(always)]
    pub(super) fn plain(data: &'a mut [f64], stride: usize) -> Self {
        Self { data, stride, scale: 1.0, accumulate: false }
    }
}

/// The m x n product of A, m x k, and B, k x n.
///
/// # Panics
/// If a matrix is shorter than its shape.
#[inline(always)]
pub(super) fn multiply<S: Simd>(
    simd: S,
    (m, k, n): (usize, usize, usize),
    a: Columns<'_>,
    b: Strided<'_>,
    mut out: Output<'_>,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(k == 0 || (k - 1) * a.stride + m <= a.data.len(), "first factor");
    assert!(k == 0 || (k - 1) * b.row + (n - 1) * b.column < b.data.len(), "second factor");
    assert!((n - 1) * out.stride + m <= out.data.len(), "result");
    for i in (0..m).step_by(S::F64_LANES) {
        let lanes = S::F64_LANES.min(m - i);
        let mut j = 0;
        while j + TILE <= n {
            // SAFETY: the assertions above bound every entry of the tile's rows and columns.
            unsafe { tile::<S, TILE>(simd, (i, j, lanes), k, a, b, &mut out) };
            j += TILE;
        }
        while j + TILE / 2 <= n {
            // SAFETY: as above.
            unsafe { tile::<S, { TILE / 2 }>(simd, (i, j, lanes), k, a, b, &mut out) };
            j += TILE / 2;
        }
        while j < n {
            // SAFETY: as above.
            unsafe { tile::<S, 1>(simd, (i, j, lanes), k, a, b, &mut out) };
            j += 1;
        }
    }
}

/// Rows i..i + `lanes` of columns j..j + T of the product.
///
/// # Safety
/// These rows and columns must lie inside `out`, and the rows of A and columns of B that they need inside `a` and `b`.
#[inline(always)]
unsafe fn tile<S: Simd, const T: usize>(
    simd: S,
    (i, j, lanes): (usize, usize, usize),
    k: usize,
    a: Columns<'_>,
    b: Strided<'_>,
    out: &mut Output<'_>,
) {
    let full = lanes == S::F64_LANES;
    let mask = simd.mask_between_m64s(0, lanes as u64);
    let load = |at: *const f64| {
        // SAFETY: the caller vouches for the rows; a partial vector is loaded through the mask.
        unsafe { if full { at.cast::<S::f64s>().read_unaligned() } else { simd.mask_load_ptr_f64s(mask, at) } }
    };
    let mut sums = [simd.splat_f64s(0.0); T];
    for p in 0..k {
        // SAFETY: column p of A and row p of B exist.
        let (column, row) =
            unsafe { (load(a.data.as_ptr().add(p * a.stride + i)), b.data.as_ptr().add(p * b.row + j * b.column)) };
        for (t, sum) in sums.iter_mut().enumerate() {
            // SAFETY: column j + t of B exists.
            let entry = unsafe { *row.add(t * b.column) };
            *sum = simd.mul_add_e_f64s(column, simd.splat_f64s(entry), *sum);
        }
    }
    let scale = simd.splat_f64s(out.scale);
    for (t, &sum) in sums.iter().enumerate() {
        let sum = simd.mul_f64s(scale, sum);
        // SAFETY: column j + t of the result exists.
        unsafe {
            let at = out.data.as_mut_ptr().add((j + t) * out.stride + i);
            let sum = if out.accumulate { simd.add_f64s(load(at), sum) } else { sum };
            if full { at.cast::<S::f64s>().write_unaligned(sum) } else { simd.mask_store_ptr_f64s(mask, at, sum) }
        }
    }
}

/// out (m x n) = A^T B for A k x m and B k x n, all column-major without gaps.
#[inline(always)]
pub(super) fn multiply_transposed<S: Simd>(
    simd: S,
    (m, k, n): (usize, usize, usize),
    a: &[f64],
    b: &[f64],
    out: &mut [f64],
) {
    // Rows of A^T that make one vector, packed so that each of their columns is contiguous.
    let mut packed = [0.0; PACKED * MOST_LANES];
    for from in (0..k).step_by(PACKED) {
        let depth = PACKED.min(k - from);
        for i in (0..m).step_by(S::F64_LANES) {
            let lanes = S::F64_LANES.min(m - i);
            for lane in 0..lanes {
                let column = &a[(i + lane) * k + from..][..depth];
                for (p, &x) in column.iter().enumerate() {
                    packed[p * S::F64_LANES + lane] = x;
                }
            }
            let block = Columns { data: &packed, stride: S::F64_LANES };
            let rest = Strided { data: &b[from..], row: 1, column: k };
            let out = Output { data: &mut out[i..], stride: m, scale: 1.0, accumulate: from > 0 };
            multiply(simd, (lanes, depth, n), block, rest, out);
        }
    }
    if k == 0 {
        out.fill(0.0);
    }
}
