//! Stored vectors, random tensors and comparisons.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The file or folder `name` of `tests/vectors`.
pub(crate) fn vector_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

/// The tensors of one stored file.
pub(crate) struct Vectors(HashMap<String, Tensor>);

impl Vectors {
    pub(crate) fn open(name: &str) -> Self {
        Self(candle_core::safetensors::load(vector_path(name), &Device::Cpu).unwrap())
    }

    pub(crate) fn get(&self, name: &str) -> &Tensor {
        self.0.get(name).unwrap_or_else(|| panic!("no stored tensor `{name}`"))
    }
}

/// The values of a tensor in row-major order.
pub(crate) fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// A tensor of given values.
pub(crate) fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

/// Random values of a seed.
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// `count` values with mean 0 and variance 1 (uniform, so that none is extreme).
    pub(crate) fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| ((2.0 * self.0.random::<f64>() - 1.0) * 3f64.sqrt()) as f32).collect()
    }

    pub(crate) fn tensor(&mut self, shape: &[usize]) -> Tensor {
        tensor(&self.values(shape.iter().product()), shape)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    pub(crate) fn ids(&mut self, count: usize, vocabulary: usize) -> Vec<u32> {
        (0..count).map(|_| self.0.random_range(0..vocabulary as u32)).collect()
    }
}

/// |found - expected| / |expected| in the Frobenius norm; the plain distance where `expected` is zero.
pub(crate) fn relative_error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.dims(), expected.dims(), "shapes");
    relative_distance(&floats(found), &floats(expected))
}

/// [`relative_error`] of slices.
pub(crate) fn relative_distance(found: &[f32], expected: &[f32]) -> f64 {
    let square = |difference: f64| difference * difference;
    let distance: f64 = found.iter().zip(expected).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let size: f64 = expected.iter().map(|b| square(f64::from(*b))).sum();
    if size == 0.0 { distance.sqrt() } else { (distance / size).sqrt() }
}

#[track_caller]
pub(crate) fn assert_close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    let error = relative_error(found, expected);
    assert!(error <= tolerance, "{what}: relative error {error:.2e}, at most {tolerance:.0e} expected");
}
