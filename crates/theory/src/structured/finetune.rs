//! Finetuning the linear layer with one optimizer over a grid of learning rates.

use std::collections::BTreeMap;

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use super::task::Task;
use crate::error::{Result, at_least, in_range, not_empty, parameter, positive};
use crate::linalg::dense::{axpy, product, product_transposed, squared_norm, with_vector_units};
use crate::linalg::{spectral_power, to_nalgebra};
use crate::optimizers::{MatrixOptimizer, OptimizerConfig, Rule};

/// A grid of learning rates, evenly spaced in the logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateGrid {
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
    /// How many.
    pub count: usize,
}

/// One grid for each optimizer that takes part.
pub type GridSpec = BTreeMap<Rule, RateGrid>;

impl RateGrid {
    /// Checks 0 < low <= high and the count.
    ///
    /// # Errors
    /// Names what is out of range.
    pub fn check(&self) -> Result<()> {
        positive("rates.low", self.low)?;
        positive("rates.high", self.high)?;
        at_least("rates.count", self.count, 1)?;
        if self.high < self.low {
            return Err(parameter("rates.high", self.high, format!("at least rates.low = {}", self.low)));
        }
        Ok(())
    }

    /// The learning rates, ascending.
    pub fn rates(&self) -> impl Iterator<Item = f64> + '_ {
        let ratio = (self.high / self.low).ln();
        let gaps = self.count.saturating_sub(1).max(1) as f64;
        (0..self.count).map(move |i| self.low * (ratio * i as f64 / gaps).exp())
    }
}

/// How each run goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinetuneParams {
    /// Steps of full-batch gradients; the learning rate falls linearly to 0.
    pub steps: usize,
    /// Momentum of every optimizer, in [0, 1).
    pub momentum: f64,
    /// Second-moment decay of every optimizer, in [0, 1).
    pub second_moment_decay: f64,
    /// Share of the first task loss at which forgetting is read, in (0, 1).
    pub share: f64,
    /// The optimizers and their learning rates.
    pub rates: GridSpec,
}

impl FinetuneParams {
    /// Checks every parameter.
    ///
    /// # Errors
    /// Names the first parameter that is out of range.
    pub fn check(&self) -> Result<()> {
        at_least("steps", self.steps, 1)?;
        in_range("momentum", self.momentum, 0.0, 1.0)?;
        in_range("second_moment_decay", self.second_moment_decay, 0.0, 1.0)?;
        positive("share", self.share)?;
        in_range("share", self.share, 0.0, 1.0)?;
        let rules: Vec<_> = self.rates.keys().collect();
        not_empty("rates", &rules)?;
        self.rates.values().try_for_each(RateGrid::check)
    }
}

/// Buffers for finetuning on tasks of one shape.
#[derive(Debug)]
pub struct Finetuner<'a> {
    params: &'a FinetuneParams,
    root: DMatrix<f64>,
    inverse: DMatrix<f64>,
    x: DMatrix<f64>,
    y: DMatrix<f64>,
    weights: DMatrix<f64>,
    error: DMatrix<f64>,
    gradient: DMatrix<f64>,
    on_root: DMatrix<f64>,
}

impl<'a> Finetuner<'a> {
    /// Buffers for `task`.
    ///
    /// # Errors
    /// If a parameter is out of range or the task's covariance cannot be inverted.
    pub fn new(params: &'a FinetuneParams, task: &Task) -> Result<Self> {
        params.check()?;
        let (m, n) = task.y.dim();
        let d = task.x.nrows();
        Ok(Self {
            params,
            root: to_nalgebra(&task.inputs.root),
            inverse: to_nalgebra(&spectral_power(&task.inputs.covariance, -1.0)?),
            x: to_nalgebra(&task.x),
            y: to_nalgebra(&task.y),
            weights: DMatrix::zeros(m, d),
            error: DMatrix::zeros(m, n),
            gradient: DMatrix::zeros(m, d),
            on_root: DMatrix::zeros(m, d),
        })
    }

    /// Least forgetting of `rule` over its learning rates at the task loss asked for, relative to the first task loss;
    /// infinite if no run gets there.
    ///
    /// # Errors
    /// If the rule has no learning rates.
    pub fn least_forgetting(&mut self, rule: Rule) -> Result<f64> {
        let Some(grid) = self.params.rates.get(&rule).copied() else {
            return Err(parameter("rates", "no entry", format!("learning rates for {rule}")));
        };
        let config = OptimizerConfig {
            rule,
            momentum: self.params.momentum,
            second_moment_decay: self.params.second_moment_decay,
        };
        let (m, d) = self.weights.shape();
        let mut optimizer = MatrixOptimizer::new(config, m, d)?.with_metric(&self.inverse)?;
        let mut least = f64::INFINITY;
        for rate in grid.rates() {
            optimizer.reset();
            least = least.min(self.run(&mut optimizer, rate));
        }
        Ok(least)
    }

    /// Least forgetting along one run.
    fn run(&mut self, optimizer: &mut MatrixOptimizer, rate: f64) -> f64 {
        let n = self.x.ncols() as f64;
        self.weights.fill(0.0);
        let first = squared_norm(&self.y) / n;
        let mut least = f64::INFINITY;
        for step in 0..self.params.steps {
            product(&self.weights, &self.x, &mut self.error);
            with_vector_units(|| axpy(-1.0, self.y.as_slice(), self.error.as_mut_slice()));
            let loss = squared_norm(&self.error) / n;
            if loss < self.params.share * first {
                product(&self.weights, &self.root, &mut self.on_root);
                least = least.min(squared_norm(&self.on_root));
            }
            // NaN ends the run too.
            if loss.is_nan() || loss > 1e4 * first {
                break;
            }
            product_transposed(1.0 / n, &self.error, &self.x, &mut self.gradient);
            let left = 1.0 - (step + 1) as f64 / (self.params.steps + 1) as f64;
            optimizer.step(&mut self.weights, &self.gradient, rate * left);
        }
        least / first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::InputFamily;
    use crate::random::stream;
    use crate::structured::{TaskFamily, Teacher, oracle_forgetting};

    fn params() -> FinetuneParams {
        let grid = |low, high| RateGrid { low, high, count: 6 };
        FinetuneParams {
            steps: 150,
            momentum: 0.9,
            second_moment_decay: 0.95,
            share: 0.1,
            rates: BTreeMap::from([
                (Rule::Sgd, grid(0.02, 3.0)),
                (Rule::Adam, grid(0.002, 0.3)),
                (Rule::Muon, grid(0.005, 1.0)),
                (Rule::Lion, grid(0.001, 0.1)),
                (Rule::NaturalGradient, grid(0.02, 3.0)),
            ]),
        }
    }

    #[test]
    fn nothing_forgets_less_than_the_oracle_and_the_natural_gradient_comes_close() {
        let p = params();
        for seed in 0..4 {
            let task = TaskFamily {
                inputs: InputFamily { size: 12, anisotropy: 1.0, rotation: 0.5 },
                outputs: 8,
                samples: 4,
                teacher: Teacher::Linear,
            }
            .draw(&mut stream(seed, "finetune test"))
            .unwrap();
            let (oracle, _) = oracle_forgetting(&task, p.share).unwrap();
            let mut finetuner = Finetuner::new(&p, &task).unwrap();
            for &rule in p.rates.keys() {
                let found = finetuner.least_forgetting(rule).unwrap();
                assert!(found.is_finite(), "{rule} did not learn");
                assert!(found >= oracle * (1.0 - 1e-9), "{rule}: {found} below {oracle}");
            }
            let natural = finetuner.least_forgetting(Rule::NaturalGradient).unwrap();
            assert!(natural < 1.35 * oracle, "{natural} against {oracle}");
        }
    }

    #[test]
    fn grids_span_their_ends() {
        let rates: Vec<f64> = RateGrid { low: 0.01, high: 1.0, count: 3 }.rates().collect();
        for (found, expected) in rates.iter().zip([0.01, 0.1, 1.0]) {
            assert!((found / expected - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn bad_parameters_are_refused() {
        type Change = fn(&mut FinetuneParams);
        let changes: [(&str, Change); 5] = [
            ("steps", |p| p.steps = 0),
            ("share", |p| p.share = 0.0),
            ("share", |p| p.share = 1.0),
            ("rates", |p| p.rates.clear()),
            ("rates.high", |p| {
                p.rates.insert(Rule::Sgd, RateGrid { low: 1.0, high: 0.1, count: 3 });
            }),
        ];
        for (field, change) in changes {
            let mut p = params();
            change(&mut p);
            assert!(p.check().unwrap_err().to_string().starts_with(field));
        }
    }
}
