//! What products with AVX-512 share: loading part of a register, transposing, and storing a tile of sums.

use std::arch::x86_64::*;

use super::Target;

pub(super) use crate::ops::simd::LANES;

/// A mask of the first `count` lanes.
pub(super) fn first_lanes(count: usize) -> __mmask16 {
    if count >= LANES { u16::MAX } else { (1 << count) - 1 }
}

/// Up to `count` values from `data` on; zeros after them.
///
/// # Safety
/// `count` values (or a whole register) must be readable.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn load(data: *const f32, count: usize) -> __m512 {
    // SAFETY: only the masked lanes are read.
    unsafe { _mm512_maskz_loadu_ps(first_lanes(count), data) }
}

/// Stores a row of sums, `width` columns of it.
///
/// # Safety
/// The target must be valid for them.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn store<const V: usize>(target: Target, sums: [__m512; V], width: usize) {
    let (keep, scale) = (_mm512_set1_ps(target.keep), _mm512_set1_ps(target.scale));
    for (v, sum) in sums.into_iter().enumerate() {
        let mask = first_lanes(width - v * LANES);
        let at = target.at(0, v * LANES);
        let mut value = _mm512_mul_ps(sum, scale);
        // SAFETY: the caller vouches for the target, and the mask for the columns.
        unsafe {
            if target.keep != 0.0 {
                value = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, at.out), keep, value);
            }
            _mm512_mask_storeu_ps(at.out, mask, value);
        }
    }
}

/// The transpose of 16 x 16 words.
#[target_feature(enable = "avx512f")]
pub(super) fn transposed(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    let mut fours = [_mm512_setzero_si512(); LANES];
    for group in (0..LANES).step_by(4) {
        let (low, high) =
            (_mm512_unpacklo_epi32(rows[group], rows[group + 1]), _mm512_unpackhi_epi32(rows[group], rows[group + 1]));
        let (low2, high2) = (
            _mm512_unpacklo_epi32(rows[group + 2], rows[group + 3]),
            _mm512_unpackhi_epi32(rows[group + 2], rows[group + 3]),
        );
        fours[group] = _mm512_unpacklo_epi64(low, low2);
        fours[group + 1] = _mm512_unpackhi_epi64(low, low2);
        fours[group + 2] = _mm512_unpacklo_epi64(high, high2);
        fours[group + 3] = _mm512_unpackhi_epi64(high, high2);
    }
    // Lane L of fours[4 g + j] holds column 4 L + j of rows 4 g to 4 g + 3: what is left is a transpose of lanes
    // for each j.
    let mut columns = [_mm512_setzero_si512(); LANES];
    for j in 0..4 {
        let even = _mm512_shuffle_i32x4::<0x88>(fours[j], fours[4 + j]);
        let odd = _mm512_shuffle_i32x4::<0xdd>(fours[j], fours[4 + j]);
        let even2 = _mm512_shuffle_i32x4::<0x88>(fours[8 + j], fours[12 + j]);
        let odd2 = _mm512_shuffle_i32x4::<0xdd>(fours[8 + j], fours[12 + j]);
        columns[j] = _mm512_shuffle_i32x4::<0x88>(even, even2);
        columns[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd, odd2);
        columns[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even, even2);
        columns[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd, odd2);
    }
    columns
}
