//! The state of an optimizer on one matrix, and its step.

use nalgebra::DMatrix;

use super::{OptimizerConfig, Rule};
use crate::error::{Result, TheoryError, at_least};
use crate::linalg::dense::{axpy, product, product_transposed, squared_norm, transposed_product, with_vector_units};
use crate::linalg::newton_schulz::{NewtonSchulzWorkspace, Polynomial};
use crate::linalg::polar::PolarWorkspace;

/// Keeps Adam's quotient finite where all gradients were zero; far below any gradient of the simulations.
const ADAM_EPSILON: f64 = 1e-12;
/// Newton-Schulz steps of Muon as it is run.
const NEWTON_SCHULZ_STEPS: usize = 5;

/// An optimizer's state for one m x n matrix.
#[derive(Debug, Clone)]
pub struct MatrixOptimizer {
    config: OptimizerConfig,
    /// The decays to the power of the number of steps taken, for the corrections of the averages' start from zero.
    momentum_power: f64,
    second_moment_power: f64,
    /// Exponential average of the gradients, m x n.
    average: DMatrix<f64>,
    /// What the rule is applied to: the average, corrected for its start from zero.
    corrected: DMatrix<f64>,
    direction: DMatrix<f64>,
    rule: RuleState,
}

/// The buffers that only some rules have.
#[derive(Debug, Clone)]
enum RuleState {
    None,
    SecondMoments(DMatrix<f64>),
    Polar(Box<PolarWorkspace>),
    NewtonSchulz(Box<NewtonSchulzWorkspace>),
    Shampoo { left: Option<Box<Side>>, right: Option<Box<Side>>, power: f64, product: DMatrix<f64> },
    Metric(DMatrix<f64>),
}

/// One side's preconditioner in Shampoo.
#[derive(Debug, Clone)]
struct Side {
    gram: DMatrix<f64>,
    average: DMatrix<f64>,
    root: DMatrix<f64>,
    workspace: PolarWorkspace,
}

impl Side {
    fn new(size: usize) -> Box<Self> {
        Box::new(Self {
            gram: DMatrix::zeros(size, size),
            average: DMatrix::zeros(size, size),
            root: DMatrix::zeros(size, size),
            workspace: PolarWorkspace::new(size, size),
        })
    }

    /// Takes in `self.gram` and brings `root` up to date.
    fn update(&mut self, decay: f64, correction: f64, power: f64) {
        for (average, gram) in self.average.as_mut_slice().iter_mut().zip(self.gram.as_mut_slice()) {
            *average = decay * *average + (1.0 - decay) * *gram;
            *gram = correction * *average;
        }
        self.workspace.symmetric_power(&self.gram, power, &mut self.root);
    }
}

impl MatrixOptimizer {
    /// Fresh state for a `rows` x `cols` matrix.
    ///
    /// # Errors
    /// If a side is zero or a decay rate lies outside [0, 1).
    pub fn new(config: OptimizerConfig, rows: usize, cols: usize) -> Result<Self> {
        at_least("rows", rows, 1)?;
        at_least("cols", cols, 1)?;
        config.check()?;
        let shampoo = |left: bool, right: bool, power: f64| RuleState::Shampoo {
            left: left.then(|| Side::new(rows)),
            right: right.then(|| Side::new(cols)),
            power,
            product: DMatrix::zeros(rows, cols),
        };
        let rule = match config.rule {
            Rule::Sgd | Rule::NormalisedSgd | Rule::Sign | Rule::Lion => RuleState::None,
            Rule::Adam => RuleState::SecondMoments(DMatrix::zeros(rows, cols)),
            Rule::Muon => RuleState::Polar(Box::new(PolarWorkspace::new(rows, cols))),
            Rule::MuonNewtonSchulz => RuleState::NewtonSchulz(Box::new(NewtonSchulzWorkspace::new(rows, cols))),
            Rule::ShampooOneSidedHalf => shampoo(rows <= cols, rows > cols, -0.5),
            Rule::ShampooOneSidedQuarter => shampoo(rows <= cols, rows > cols, -0.25),
            Rule::ShampooQuarter => shampoo(true, true, -0.25),
            Rule::ShampooHalf => shampoo(true, true, -0.5),
            Rule::NaturalGradient => RuleState::Metric(DMatrix::identity(cols, cols)),
        };
        Ok(Self {
            config,
            momentum_power: 1.0,
            second_moment_power: 1.0,
            average: DMatrix::zeros(rows, cols),
            corrected: DMatrix::zeros(rows, cols),
            direction: DMatrix::zeros(rows, cols),
            rule,
        })
    }

    /// The same with the inverse metric that the natural gradient multiplies from the right, n x n; other rules ignore
    /// it.
    ///
    /// # Errors
    /// If the shape is not n x n.
    pub fn with_metric(mut self, inverse: &DMatrix<f64>) -> Result<Self> {
        let cols = self.average.ncols();
        if inverse.shape() != (cols, cols) {
            return Err(TheoryError::Shape {
                what: "inverse metric",
                found_rows: inverse.nrows(),
                found_cols: inverse.ncols(),
                expected: format!("{cols} x {cols}"),
            });
        }
        if let RuleState::Metric(metric) = &mut self.rule {
            metric.copy_from(inverse);
        }
        Ok(self)
    }

    /// Forgets everything seen, so that the buffers serve another run.
    pub fn reset(&mut self) {
        (self.momentum_power, self.second_moment_power) = (1.0, 1.0);
        self.average.fill(0.0);
        match &mut self.rule {
            RuleState::SecondMoments(v) => v.fill(0.0),
            RuleState::Shampoo { left, right, .. } => {
                for side in [left, right].into_iter().flatten() {
                    side.average.fill(0.0);
                }
            }
            _ => {}
        }
    }

    /// Takes in one gradient and returns the direction D that the weights move against.
    ///
    /// # Panics
    /// If the gradient's shape is not this state's.
    pub fn direction<'a>(&'a mut self, gradient: &'a DMatrix<f64>) -> &'a DMatrix<f64> {
        assert_eq!(gradient.shape(), self.average.shape(), "gradient's shape");
        let OptimizerConfig { rule, momentum, second_moment_decay } = self.config;
        self.momentum_power *= momentum;
        self.second_moment_power *= second_moment_decay;
        let second_moment_correction = 1.0 / (1.0 - self.second_moment_power);
        if rule == Rule::Lion {
            for ((d, m), &g) in self.direction.iter_mut().zip(self.average.iter_mut()).zip(gradient.iter()) {
                *d = sign(momentum * *m + (1.0 - momentum) * g);
                *m = second_moment_decay * *m + (1.0 - second_moment_decay) * g;
            }
            return &self.direction;
        }
        let averaged = if momentum == 0.0 {
            gradient
        } else {
            let correction = 1.0 / (1.0 - self.momentum_power);
            let (average, corrected) = (self.average.as_mut_slice(), self.corrected.as_mut_slice());
            with_vector_units(|| {
                for ((c, m), &g) in corrected.iter_mut().zip(average).zip(gradient.as_slice()) {
                    *m = momentum * *m + (1.0 - momentum) * g;
                    *c = correction * *m;
                }
            });
            &self.corrected
        };
        let direction = &mut self.direction;
        match &mut self.rule {
            RuleState::SecondMoments(second) => {
                let (m, v) = (averaged.as_slice(), second.as_mut_slice());
                let (d, g) = (direction.as_mut_slice(), gradient.as_slice());
                with_vector_units(|| {
                    for (((d, v), &m), &g) in d.iter_mut().zip(v).zip(m).zip(g) {
                        *v = second_moment_decay * *v + (1.0 - second_moment_decay) * g * g;
                        *d = m / ((second_moment_correction * *v).sqrt() + ADAM_EPSILON);
                    }
                });
            }
            RuleState::Polar(workspace) => workspace.polar(averaged, direction),
            RuleState::NewtonSchulz(workspace) => {
                workspace.iterate(averaged, Polynomial::KellerJordan, NEWTON_SCHULZ_STEPS, direction)
            }
            RuleState::Shampoo { left, right, power, product: half_way } => {
                half_way.copy_from(averaged);
                if let Some(left) = left {
                    product_transposed(1.0, gradient, gradient, &mut left.gram);
                    left.update(second_moment_decay, second_moment_correction, *power);
                    product(&left.root, averaged, half_way);
                }
                match right {
                    Some(right) => {
                        transposed_product(gradient, gradient, &mut right.gram);
                        right.update(second_moment_decay, second_moment_correction, *power);
                        product(half_way, &right.root, direction);
                    }
                    None => direction.copy_from(half_way),
                }
            }
            RuleState::Metric(metric) => product(averaged, metric, direction),
            RuleState::None => match rule {
                Rule::Sign => {
                    for (d, &m) in direction.iter_mut().zip(averaged.iter()) {
                        *d = sign(m);
                    }
                }
                Rule::NormalisedSgd => {
                    let norm = squared_norm(averaged).sqrt();
                    let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
                    for (d, &m) in direction.iter_mut().zip(averaged.iter()) {
                        *d = scale * m;
                    }
                }
                _ => return averaged,
            },
        }
        &self.direction
    }

    /// One step: W <- W - `learning_rate` * D.
    ///
    /// # Panics
    /// If a shape is not this state's.
    pub fn step(&mut self, weights: &mut DMatrix<f64>, gradient: &DMatrix<f64>, learning_rate: f64) {
        let direction = self.direction(gradient);
        with_vector_units(|| axpy(-learning_rate, direction.as_slice(), weights.as_mut_slice()));
    }
}

/// The sign with sign(0) = 0, so that zero gradients give zero updates.
#[inline(always)]
fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{from_nalgebra, spectral_power, to_nalgebra};
    use crate::random::{gaussian_matrix, stream};

    fn optimizer(rule: Rule, momentum: f64, rows: usize, cols: usize) -> MatrixOptimizer {
        MatrixOptimizer::new(OptimizerConfig::new(rule).with_momentum(momentum), rows, cols).unwrap()
    }

    #[test]
    fn every_rule_descends_a_quadratic_and_leaves_zero_gradients_alone() {
        for rule in Rule::ALL {
            for (m, n) in [(3, 5), (5, 3), (1, 4)] {
                let mut rng = stream(1, rule.name());
                let target = gaussian_matrix(m, n, &mut rng);
                let mut weights = DMatrix::zeros(m, n);
                let mut state = optimizer(rule, 0.9, m, n);
                for step in 0..3000 {
                    let gradient = &weights - &target;
                    state.step(&mut weights, &gradient, 0.03 * (1.0 - step as f64 / 3000.0));
                }
                let left = (&weights - &target).norm() / target.norm();
                assert!(left < 0.02, "{rule} on {m} x {n} leaves {left}");
                let mut fresh = optimizer(rule, 0.9, m, n);
                assert_eq!(fresh.direction(&DMatrix::zeros(m, n)).norm(), 0.0, "{rule}");
            }
        }
    }

    #[test]
    fn the_first_step_is_each_rules_closed_form() {
        let g = gaussian_matrix(4, 6, &mut stream(2, "test"));
        let direction = |rule| optimizer(rule, 0.9, 4, 6).direction(&g).clone();
        assert!((direction(Rule::Sgd) - &g).norm() < 1e-14);
        assert!((direction(Rule::NormalisedSgd) - &g / g.norm()).norm() < 1e-14);
        for rule in [Rule::Sign, Rule::Adam, Rule::Lion] {
            assert!((direction(rule) - g.map(f64::signum)).norm() < 1e-9, "{rule}");
        }
        // With one gradient seen, Shampoo's L^(-1/2) G and L^(-1/4) G R^(-1/4) are its polar factor.
        let polar = direction(Rule::Muon);
        for rule in [Rule::ShampooOneSidedHalf, Rule::ShampooQuarter] {
            assert!((direction(rule) - &polar).norm() < 1e-9, "{rule}");
        }
        assert!((direction(Rule::MuonNewtonSchulz) - &polar).norm() < 0.35 * polar.norm());
    }

    #[test]
    fn adam_follows_its_recursion_over_several_steps() {
        let mut rng = stream(3, "test");
        let mut state =
            MatrixOptimizer::new(OptimizerConfig { rule: Rule::Adam, momentum: 0.8, second_moment_decay: 0.95 }, 2, 2)
                .unwrap();
        let (mut m, mut v) = (0.0, 0.0);
        for t in 1..=5 {
            let g = gaussian_matrix(2, 2, &mut rng);
            m = 0.8 * m + 0.2 * g[(1, 0)];
            v = 0.95 * v + 0.05 * g[(1, 0)] * g[(1, 0)];
            let expected = (m / (1.0 - 0.8f64.powi(t))) / (v / (1.0 - 0.95f64.powi(t))).sqrt();
            assert!((state.direction(&g)[(1, 0)] - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn shampoo_half_whitens_both_sides_of_its_averages() {
        let mut rng = stream(4, "test");
        let mut state = optimizer(Rule::ShampooHalf, 0.0, 3, 5);
        let (mut left, mut right) = (DMatrix::zeros(3, 3), DMatrix::zeros(5, 5));
        let mut last = DMatrix::zeros(3, 5);
        for t in 1..=40 {
            let g = gaussian_matrix(3, 5, &mut rng);
            left = 0.99 * left + 0.01 * &g * g.transpose();
            right = 0.99 * right + 0.01 * g.transpose() * &g;
            last.copy_from(state.direction(&g));
            let correction = 1.0 - 0.99f64.powi(t);
            let root =
                |s: &DMatrix<f64>| to_nalgebra(&spectral_power(&from_nalgebra(&(s / correction)), -0.5).unwrap());
            if t == 40 {
                assert!((&last - root(&left) * g * root(&right)).norm() < 1e-9);
            }
        }
    }

    #[test]
    fn natural_gradient_multiplies_the_inverse_metric() {
        let g = gaussian_matrix(2, 3, &mut stream(5, "test"));
        let inverse = DMatrix::from_diagonal(&nalgebra::DVector::from_vec(vec![1.0, 0.5, 0.1]));
        let mut state = optimizer(Rule::NaturalGradient, 0.0, 2, 3).with_metric(&inverse).unwrap();
        assert!((state.direction(&g) - &g * &inverse).norm() < 1e-14);
        assert!(optimizer(Rule::NaturalGradient, 0.0, 2, 3).with_metric(&DMatrix::zeros(2, 2)).is_err());
    }

    #[test]
    fn a_reset_state_repeats_its_first_run() {
        for rule in Rule::ALL {
            let mut rng = stream(6, "test");
            let gradients: Vec<_> = (0..4).map(|_| gaussian_matrix(3, 4, &mut rng)).collect();
            let mut state = optimizer(rule, 0.9, 3, 4);
            let mut run = || {
                state.reset();
                gradients.iter().map(|g| state.direction(g).clone()).last().unwrap()
            };
            let first = run();
            assert!((run() - first).norm() < 1e-9, "{rule}");
        }
    }

    #[test]
    fn bad_constants_are_refused() {
        for (momentum, decay) in [(1.0, 0.9), (-0.1, 0.9), (0.9, f64::NAN), (0.9, 1.5)] {
            let config = OptimizerConfig { rule: Rule::Adam, momentum, second_moment_decay: decay };
            assert!(MatrixOptimizer::new(config, 2, 2).is_err());
        }
        let message = MatrixOptimizer::new(OptimizerConfig::new(Rule::Sgd), 0, 2).unwrap_err().to_string();
        assert_eq!(message, "rows: found 0, expected at least 1");
    }
}
