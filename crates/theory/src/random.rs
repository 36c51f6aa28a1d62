//! Random numbers: one named stream for each purpose, all from one seed.

use nalgebra::DMatrix;
use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// The generator of stream `name` under `seed`: streams of different names are independent, so that drawing more
/// in one place changes nothing in another.
pub fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    // FNV-1a of the name picks one of ChaCha's 2^64 streams.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(hash);
    rng
}

/// Overwrites `values` with independent N(0, 1).
#[inline(always)]
pub fn fill_gaussian(values: &mut [f64], rng: &mut impl Rng) {
    for value in values {
        *value = StandardNormal.sample(rng);
    }
}

/// A rows x cols matrix of independent N(0, 1).
pub fn gaussian_matrix(rows: usize, cols: usize, rng: &mut impl Rng) -> DMatrix<f64> {
    let mut matrix = DMatrix::zeros(rows, cols);
    fill_gaussian(matrix.as_mut_slice(), rng);
    matrix
}

/// A rows x cols array of independent N(0, 1).
pub fn gaussian_array(rows: usize, cols: usize, rng: &mut impl Rng) -> Array2<f64> {
    Array2::from_shape_simple_fn((rows, cols), || StandardNormal.sample(rng))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_by_seed_and_name_and_differ_otherwise() {
        let draw = |seed, name| gaussian_matrix(4, 4, &mut stream(seed, name));
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
    }

    #[test]
    fn gaussians_have_unit_second_moment() {
        let x = gaussian_matrix(200, 200, &mut stream(1, "moments"));
        assert!((x.norm_squared() / 40_000.0 - 1.0).abs() < 0.03);
        assert!(x.mean().abs() < 0.02);
    }
}
