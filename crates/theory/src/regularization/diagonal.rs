//! Label noise on a diagonal linear network y = sum_i u_i v_i x_i that can interpolate its data in many ways.
//!
//! The functionals are SGD's sum u_i^2 + v_i^2, least 2 sum |u_i v_i| for a given product (an l1 norm), and Adam's sum
//! |u_i| + |v_i|, least 2 sum sqrt|u_i v_i| (sparser). For Muon it matters which matrix u is: as a row vector its polar
//! factor is u / |u| (normalised SGD); as diag(u) it is the sign (sign descent). `docs/theory/regularization.md` has
//! the rest.

use nalgebra::DMatrix;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::error::{Result, at_least, in_range, not_negative, parameter, positive};
use crate::inputs::participation_ratio;
use crate::linalg::dense::dot;
use crate::optimizers::{MatrixOptimizer, OptimizerConfig, Rule};
use crate::random::{gaussian_matrix, stream};

/// Which matrix Muon and Shampoo take the vectors u and v for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A 1 x d row vector.
    Row,
    /// The d x d matrix diag(u).
    Diagonal,
}

/// What to simulate; [`DiagonalParams::check`] makes it runnable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiagonalParams {
    /// Features d.
    pub features: usize,
    /// Fixed training inputs, fewer than the features.
    pub samples: usize,
    /// Non-zero coefficients (+1 or -1) of the true vector.
    pub sparsity: usize,
    /// Standard deviation of the noise that is added to the labels anew at every step.
    pub label_noise: f64,
    /// All u_i at the start; the v_i start from 0, which leaves the sign of every product free.
    pub start: f64,
    /// Samples a step, at most `samples`.
    pub batch: usize,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// Which matrix u is to it.
    pub shape: Shape,
    /// Its learning rate; it falls linearly to 0 in the last quarter.
    pub learning_rate: f64,
    /// Steps.
    pub steps: usize,
}

/// Checked parameters.
#[derive(Debug, Clone)]
pub struct DiagonalSimulation {
    params: DiagonalParams,
}

/// What a run ends with, for beta_i = u_i v_i.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiagonalReading {
    /// SGD's functional, sum u_i^2 + v_i^2.
    pub sgd: f64,
    /// Adam's functional, sum |u_i| + |v_i|.
    pub adam: f64,
    /// 2 sum |beta_i|: least of SGD's functional for this beta.
    pub l1: f64,
    /// 2 sum sqrt|beta_i|: least of Adam's functional for this beta.
    pub half_norm: f64,
    /// Participation ratio of |beta_i|, from 1 to d.
    pub participation_ratio: f64,
    /// |beta - true beta| / |true beta|.
    pub recovery_error: f64,
    /// Mean squared error on the noiseless training labels, relative to their mean square.
    pub training_error: f64,
}

impl DiagonalParams {
    /// Checks every parameter.
    ///
    /// # Errors
    /// Names the first parameter that is out of range.
    pub fn check(self) -> Result<DiagonalSimulation> {
        at_least("features", self.features, 1)?;
        at_least("samples", self.samples, 1)?;
        at_least("batch", self.batch, 1)?;
        at_least("steps", self.steps, 1)?;
        for (field, value, most, what) in [
            ("sparsity", self.sparsity, self.features, "features"),
            ("samples", self.samples, self.features, "features"),
            ("batch", self.batch, self.samples, "samples"),
        ] {
            if value > most {
                return Err(parameter(field, value, format!("at most the {most} {what}")));
            }
        }
        at_least("sparsity", self.sparsity, 1)?;
        not_negative("label_noise", self.label_noise)?;
        positive("start", self.start)?;
        positive("learning_rate", self.learning_rate)?;
        in_range("learning_rate", self.learning_rate, 0.0, 1e3)?;
        self.optimizer.check()?;
        Ok(DiagonalSimulation { params: self })
    }
}

impl DiagonalSimulation {
    /// Runs with the data of `seed`.
    ///
    /// # Errors
    /// If the optimizer's constants are out of range.
    pub fn run(&self, seed: u64) -> Result<DiagonalReading> {
        let p = &self.params;
        let d = p.features;
        let mut rng = stream(seed, "diagonal data");
        // One column a sample.
        let x = gaussian_matrix(d, p.samples, &mut rng);
        let truth: Vec<f64> = (0..d)
            .map(|i| match (i < p.sparsity, i % 2 == 0) {
                (true, true) => 1.0,
                (true, false) => -1.0,
                (false, _) => 0.0,
            })
            .collect();
        let labels: Vec<f64> = x.column_iter().map(|c| dot(c.as_slice(), &truth)).collect();
        let config = match (p.optimizer.rule, p.shape) {
            (Rule::Muon, Shape::Diagonal) => OptimizerConfig { rule: Rule::Sign, ..p.optimizer },
            _ => p.optimizer,
        };
        let mut states = [MatrixOptimizer::new(config, 1, d)?, MatrixOptimizer::new(config, 1, d)?];
        let mut u = DMatrix::from_element(1, d, p.start);
        let mut v = DMatrix::zeros(1, d);
        let (mut gu, mut gv) = (DMatrix::zeros(1, d), DMatrix::zeros(1, d));
        let mut order: Vec<usize> = (0..p.samples).collect();
        let mut product = vec![0.0; d];
        let mut gradient = vec![0.0; d];
        let mut noise = stream(seed, "diagonal noise");
        for step in 0..p.steps {
            for (b, (u, v)) in product.iter_mut().zip(u.iter().zip(v.iter())) {
                *b = u * v;
            }
            gradient.fill(0.0);
            for slot in 0..p.batch {
                let pick = rand::RngExt::random_range(&mut noise, slot..p.samples);
                order.swap(slot, pick);
                let sample = order[slot];
                let column = &x.as_slice()[sample * d..(sample + 1) * d];
                let xi: f64 = StandardNormal.sample(&mut noise);
                let error = dot(column, &product) - labels[sample] - p.label_noise * xi;
                for (g, x) in gradient.iter_mut().zip(column) {
                    *g += error * x / p.batch as f64;
                }
            }
            for i in 0..d {
                gu[i] = gradient[i] * v[i];
                gv[i] = gradient[i] * u[i];
            }
            let left = (p.steps - step) as f64 / p.steps as f64;
            let rate = p.learning_rate * (4.0 * left).min(1.0);
            states[0].step(&mut u, &gu, rate);
            states[1].step(&mut v, &gv, rate);
        }
        let beta: Vec<f64> = u.iter().zip(v.iter()).map(|(u, v)| u * v).collect();
        let sum = |f: &dyn Fn(f64) -> f64, values: &[f64]| values.iter().map(|&x| f(x)).sum::<f64>();
        let missed: Vec<f64> = beta.iter().zip(&truth).map(|(a, b)| a - b).collect();
        let wrong: Vec<f64> = x.column_iter().map(|c| dot(c.as_slice(), &missed)).collect();
        Ok(DiagonalReading {
            sgd: u.norm_squared() + v.norm_squared(),
            adam: sum(&f64::abs, u.as_slice()) + sum(&f64::abs, v.as_slice()),
            l1: 2.0 * sum(&f64::abs, &beta),
            half_norm: 2.0 * sum(&|b| b.abs().sqrt(), &beta),
            participation_ratio: participation_ratio(beta.iter().map(|b| b.abs())),
            recovery_error: (dot(&missed, &missed) / dot(&truth, &truth)).sqrt(),
            training_error: dot(&wrong, &wrong) / dot(&labels, &labels),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(rule: Rule, shape: Shape, learning_rate: f64, steps: usize) -> DiagonalParams {
        DiagonalParams {
            features: 30,
            samples: 15,
            sparsity: 2,
            label_noise: 0.5,
            start: 0.5,
            batch: 5,
            optimizer: OptimizerConfig::new(rule),
            shape,
            learning_rate,
            steps,
        }
    }

    #[test]
    fn muon_on_a_diagonal_matrix_is_sign_descent_and_on_a_row_normalised_sgd() {
        let run = |rule, shape| params(rule, shape, 0.001, 300).check().unwrap().run(1).unwrap();
        assert_eq!(run(Rule::Muon, Shape::Diagonal), run(Rule::Sign, Shape::Row));
        let (muon, normalised) = (run(Rule::Muon, Shape::Row), run(Rule::NormalisedSgd, Shape::Row));
        assert!((muon.sgd - normalised.sgd).abs() < 1e-9 * muon.sgd);
    }

    #[test]
    fn functionals_bound_their_minima_at_the_same_product() {
        let reading = params(Rule::Adam, Shape::Row, 0.002, 2000).check().unwrap().run(2).unwrap();
        assert!(reading.sgd >= reading.l1 - 1e-12);
        assert!(reading.adam >= reading.half_norm - 1e-12);
    }

    #[test]
    fn bad_parameters_are_refused() {
        let good = || params(Rule::Sgd, Shape::Row, 0.01, 10);
        assert!(good().check().is_ok());
        for bad in [
            DiagonalParams { features: 0, ..good() },
            DiagonalParams { sparsity: 31, ..good() },
            DiagonalParams { batch: 16, ..good() },
            DiagonalParams { start: f64::NAN, ..good() },
            DiagonalParams { label_noise: -0.1, ..good() },
        ] {
            assert!(bad.check().is_err());
        }
    }
}
