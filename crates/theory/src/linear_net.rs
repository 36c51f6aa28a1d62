//! Deep linear networks y = W_L ... W_1 x, with gradients into buffers that exist already.

use nalgebra::DMatrix;
use rand::Rng;

use crate::error::Result;
use crate::linalg::dense::{axpy, dot, product, product_transposed, transposed_product};
use crate::optimizers::{MatrixOptimizer, OptimizerConfig};
use crate::random::fill_gaussian;

/// The product W_L ... W_1 of a network's weights (first layer first).
pub(crate) fn end_to_end(weights: &[DMatrix<f64>]) -> DMatrix<f64> {
    let mut product = weights[0].clone();
    for w in &weights[1..] {
        product = w * product;
    }
    product
}

/// Fresh optimizer state for each of `weights`.
pub(crate) fn optimizers(config: OptimizerConfig, weights: &[DMatrix<f64>]) -> Result<Vec<MatrixOptimizer>> {
    weights.iter().map(|w| MatrixOptimizer::new(config, w.nrows(), w.ncols())).collect()
}

/// Forward and backward passes on batches of one size.
#[derive(Debug, Clone)]
pub(crate) struct Passes {
    /// Input of every layer, then the network's output; each with one column a sample.
    pub(crate) activations: Vec<DMatrix<f64>>,
    /// Errors at every layer's output.
    deltas: Vec<DMatrix<f64>>,
    /// Gradients of 1/2 mean |error|^2 with respect to every layer.
    pub(crate) gradients: Vec<DMatrix<f64>>,
}

impl Passes {
    /// Buffers for a network of these shapes and `batch` samples.
    pub(crate) fn new(weights: &[DMatrix<f64>], batch: usize) -> Self {
        let mut activations = vec![DMatrix::zeros(weights[0].ncols(), batch)];
        activations.extend(weights.iter().map(|w| DMatrix::zeros(w.nrows(), batch)));
        Self {
            deltas: activations[1..].to_vec(),
            activations,
            gradients: weights.iter().map(|w| DMatrix::zeros(w.nrows(), w.ncols())).collect(),
        }
    }

    /// The batch, to be filled before `forward`.
    pub(crate) fn input_mut(&mut self) -> &mut DMatrix<f64> {
        &mut self.activations[0]
    }

    /// The network's output for the batch.
    pub(crate) fn output(&self) -> &DMatrix<f64> {
        &self.activations[self.activations.len() - 1]
    }

    pub(crate) fn forward(&mut self, weights: &[DMatrix<f64>]) {
        for (layer, w) in weights.iter().enumerate() {
            let (before, after) = self.activations.split_at_mut(layer + 1);
            product(w, &before[layer], &mut after[0]);
        }
    }

    /// Sets the error to output - `targets` and returns the mean over samples of its squared norm.
    pub(crate) fn compare(&mut self, targets: &DMatrix<f64>) -> f64 {
        let last = self.deltas.len() - 1;
        let error = self.deltas[last].as_mut_slice();
        error.copy_from_slice(self.activations[last + 1].as_slice());
        axpy(-1.0, targets.as_slice(), error);
        dot(error, error) / targets.ncols() as f64
    }

    /// Gradients of the layers from `first` on.
    pub(crate) fn backward(&mut self, weights: &[DMatrix<f64>], first: usize) {
        let scale = 1.0 / self.activations[0].ncols() as f64;
        for layer in (first..weights.len()).rev() {
            product_transposed(scale, &self.deltas[layer], &self.activations[layer], &mut self.gradients[layer]);
            if layer > first {
                let (before, after) = self.deltas.split_at_mut(layer);
                transposed_product(&weights[layer], &after[0], &mut before[layer - 1]);
            }
        }
    }
}

/// Label-noise training: fresh inputs x = C^(1/2) z and labels A x + sigma xi at every step.
#[derive(Debug, Clone)]
pub(crate) struct LabelNoise {
    /// C^(1/2), or nothing for isotropic inputs.
    root: Option<DMatrix<f64>>,
    /// A C^(1/2).
    target_on_z: DMatrix<f64>,
    sigma: f64,
    z: DMatrix<f64>,
    targets: DMatrix<f64>,
    xi: DMatrix<f64>,
}

impl LabelNoise {
    pub(crate) fn new(root: &DMatrix<f64>, isotropic: bool, target: &DMatrix<f64>, sigma: f64, batch: usize) -> Self {
        let (m, n) = target.shape();
        Self {
            root: (!isotropic).then(|| root.clone()),
            target_on_z: target * root,
            sigma,
            z: DMatrix::zeros(n, batch),
            targets: DMatrix::zeros(m, batch),
            xi: DMatrix::zeros(m, batch),
        }
    }

    /// Draws a batch and computes the gradients of all layers.
    pub(crate) fn gradients(&mut self, weights: &[DMatrix<f64>], passes: &mut Passes, rng: &mut impl Rng) {
        fill_gaussian(self.z.as_mut_slice(), rng);
        match &self.root {
            Some(root) => product(root, &self.z, passes.input_mut()),
            None => passes.input_mut().copy_from(&self.z),
        }
        product(&self.target_on_z, &self.z, &mut self.targets);
        if self.sigma > 0.0 {
            fill_gaussian(self.xi.as_mut_slice(), rng);
            axpy(self.sigma, self.xi.as_slice(), self.targets.as_mut_slice());
        }
        passes.forward(weights);
        passes.compare(&self.targets);
        passes.backward(weights, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{gaussian_matrix, stream};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let mut rng = stream(1, "test");
        let weights =
            vec![gaussian_matrix(4, 3, &mut rng), gaussian_matrix(5, 4, &mut rng), gaussian_matrix(2, 5, &mut rng)];
        let inputs = gaussian_matrix(3, 6, &mut rng);
        let targets = gaussian_matrix(2, 6, &mut rng);
        let loss = |weights: &[DMatrix<f64>]| 0.5 * (end_to_end(weights) * &inputs - &targets).norm_squared() / 6.0;
        let mut passes = Passes::new(&weights, 6);
        passes.input_mut().copy_from(&inputs);
        passes.forward(&weights);
        let mean_squared = passes.compare(&targets);
        assert!((0.5 * mean_squared - loss(&weights)).abs() < 1e-12);
        passes.backward(&weights, 0);
        for layer in 0..3 {
            for entry in 0..weights[layer].len() {
                let mut moved = weights.clone();
                moved[layer][entry] += 1e-5;
                let up = loss(&moved);
                moved[layer][entry] -= 2e-5;
                let slope = (up - loss(&moved)) / 2e-5;
                assert!((slope - passes.gradients[layer][entry]).abs() < 1e-6 * slope.abs().max(1.0));
            }
        }
    }
}
