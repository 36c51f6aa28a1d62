//! Stored vectors, random tensors and comparisons.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use models::ops::IGNORE;
use models::{Activation, AttentionBias, Batch, ModelConfig, NormKind, Positions, Role, RotaryScaling, Transformer};
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

    /// The sorted rests of the names that begin with `prefix`.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<_> =
            self.0.keys().filter_map(|name| name.strip_prefix(prefix)).map(str::to_string).collect();
        names.sort();
        names
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

/// Fails unless the [`relative_error`] is at most `tolerance`.
#[track_caller]
pub(crate) fn assert_close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    let error = relative_error(found, expected);
    assert!(error <= tolerance, "{what}: relative error {error:.2e}, at most {tolerance:.0e} expected");
}

/// A model whose every parameter, also gains and biases, is drawn with deviation `size` around its usual centre.
pub(crate) fn random_model(config: &ModelConfig, size: f64, seed: u64) -> Transformer {
    let mut model = Transformer::new(config, seed).unwrap();
    let mut random = Random::new(seed);
    let parameters: Vec<_> = model.parameters().iter().map(|(id, p)| (id, p.role, p.value.dims().to_vec())).collect();
    for (id, role, shape) in parameters {
        let centre = if role == Role::Gain { 1.0 } else { 0.0 };
        let value = random.tensor(&shape).affine(size, centre).unwrap();
        model.parameters_mut().set(id, value).unwrap();
    }
    model
}

/// `sequences` rows of `time` random tokens with random targets, of which the first third of the first row does not
/// count.
pub(crate) fn random_batch(sequences: usize, time: usize, vocabulary: usize, seed: u64) -> Batch {
    let mut random = Random::new(seed);
    let ids = random.ids(sequences * time, vocabulary);
    let mut targets = random.ids(sequences * time, vocabulary);
    targets[..time / 3].fill(IGNORE);
    Batch::new(ids, targets, time).unwrap()
}

/// What `work` gives on a pool of this many threads.
pub(crate) fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// Architectures that together use every part: both families, and mixtures that no family has.
pub(crate) fn architectures(context: usize) -> Vec<(&'static str, ModelConfig)> {
    let gpt2 = ModelConfig::gpt2(37, context, 2, 24, 3);
    let llama = ModelConfig::llama(37, context, 2, 24, 4, 2);
    let rotary = Positions::Rotary { theta: 100.0, scaling: None };
    vec![
        ("gpt2", gpt2.clone()),
        ("gpt2 untied without biases", ModelConfig { tied: false, bias: false, ..gpt2.clone() }),
        (
            "gpt2 with one key head and rotation",
            ModelConfig { kv_heads: 1, positions: rotary, width: 30, ..gpt2.clone() },
        ),
        ("gpt2 with RMSNorm and SwiGLU", ModelConfig { norm: NormKind::Rms, activation: Activation::SwiGlu, ..gpt2 }),
        ("llama", llama.clone()),
        (
            "llama tied with LayerNorm and biases",
            ModelConfig { tied: true, bias: true, norm: NormKind::Layer, ..llama.clone() },
        ),
        (
            "llama with wide heads, norms of queries and keys, attention biases and scaled rotation",
            ModelConfig {
                positions: Positions::Rotary { theta: 100.0, scaling: Some(RotaryScaling::Linear { factor: 2.0 }) },
                head_features: Some(10),
                head_norms: true,
                attention_bias: AttentionBias::All,
                ..llama.clone()
            },
        ),
        (
            "llama with biases of queries, keys and values",
            ModelConfig { attention_bias: AttentionBias::Inputs, ..llama },
        ),
    ]
}
