//! Initial values, as GPT-2's: normal with deviation 0.02, residual projections divided by sqrt(2 layers), gains one,
//! biases zero.

use candle_core::{Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Result;

/// GPT-2's deviation of initial weights.
pub(crate) const DEVIATION: f64 = 0.02;

/// A stream of initial tensors from one seed.
#[derive(Debug)]
pub(crate) struct Initializer {
    rng: ChaCha8Rng,
}

impl Initializer {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Independent normal values with mean 0, by Box and Muller's transform.
    pub(crate) fn normal(&mut self, shape: &[usize], deviation: f64) -> Result<Tensor> {
        let count: usize = shape.iter().product();
        let mut values = Vec::with_capacity(count + 1);
        while values.len() < count {
            let (u, angle): (f64, f64) =
                (1.0 - self.rng.random::<f64>(), std::f64::consts::TAU * self.rng.random::<f64>());
            let radius = deviation * (-2.0 * u.ln()).sqrt();
            values.push((radius * angle.cos()) as f32);
            values.push((radius * angle.sin()) as f32);
        }
        values.truncate(count);
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    /// Independent uniform values in [-bound, bound).
    pub(crate) fn uniform(&mut self, shape: &[usize], bound: f64) -> Result<Tensor> {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| ((2.0 * self.rng.random::<f64>() - 1.0) * bound) as f32).collect();
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }
}

/// A tensor of one repeated value.
pub(crate) fn constant(shape: &[usize], value: f32) -> Result<Tensor> {
    Ok(Tensor::from_vec(vec![value; shape.iter().product()], shape, &Device::Cpu)?)
}
