//! Label-noise training of a two-layer linear network y = W2 W1 x, watched through the functionals.

use nalgebra::DMatrix;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::functional::{Functional, TwoLayerFunctional};
use super::minimum::closed_form_minimum;
use crate::error::{Result, at_least, in_range, not_negative, parameter, positive};
use crate::inputs::{InputFamily, Inputs, off_diagonal_mass, participation_ratio};
use crate::linalg::{from_nalgebra, random_orthogonal, svd, to_nalgebra};
use crate::linear_net::{LabelNoise, Passes, end_to_end, optimizers};
use crate::optimizers::OptimizerConfig;
use crate::random::{gaussian_array, gaussian_matrix, stream};

/// What to simulate; [`TwoLayerParams::check`] makes it runnable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwoLayerParams {
    /// Distribution of the inputs; its size is n.
    pub inputs: InputFamily,
    /// Hidden units h.
    pub hidden: usize,
    /// Outputs m.
    pub outputs: usize,
    /// Samples a step.
    pub batch: usize,
    /// Standard deviation of the label noise.
    pub label_noise: f64,
    /// Ratio in (0, 1] of successive singular values of A C^(1/2), the largest 1; absent: A has entries N(0, 1/n).
    pub target_ratio: Option<f64>,
    /// Start at the minimiser of this functional (SGD's or full whitening's); absent: at a random interpolating point.
    pub start: Option<Functional>,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Steps.
    pub steps: usize,
    /// Share of the steps, at the end, in which the learning rate falls linearly to 0; in [0, 1).
    pub cooldown: f64,
    /// Snapshots after the first, evenly spaced.
    pub records: usize,
}

/// Checked parameters.
#[derive(Debug, Clone)]
pub struct TwoLayerSimulation {
    params: TwoLayerParams,
}

/// What is measured at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Steps taken.
    pub step: usize,
    /// SGD's functional.
    pub sgd: f64,
    /// Adam's functional.
    pub adam: f64,
    /// The full-whitening functional.
    pub full_whitening: f64,
    /// The expected nuclear norm of the gradient noise.
    pub dual_norm: f64,
    /// Participation ratio of the hidden units' mean squares, from 1 to h.
    pub participation_ratio: f64,
    /// Share of the hidden second moment's squared mass off its diagonal, 0 to 1.
    pub off_diagonal_mass: f64,
    /// Sum of the hidden units' root mean squares over sqrt(h) times their norm, 1 for equal units.
    pub l1_over_l2: f64,
    /// |W1 C^(1/2)|_* / |W1 C^(1/2)|_F, from 1 to the root of the rank.
    pub nuclear_over_frobenius: f64,
    /// |W1 C^(1/2)|_F / |W2|_F.
    pub layer_ratio: f64,
    /// Slope of the log gain of W1 C^(1/2) along the singular directions of A C^(1/2) over the log singular values.
    pub exponent: f64,
    /// |(W2 W1 - A) C^(1/2)|_F / |A C^(1/2)|_F.
    pub error: f64,
}

/// A run's snapshots and the closed-form minima of its target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trajectory {
    /// Snapshots in order of time, the first at the start. Fewer than asked for if the run diverged.
    pub snapshots: Vec<Snapshot>,
    /// Least value of SGD's functional for the target.
    pub minimum_sgd: f64,
    /// Least value of Adam's functional.
    pub minimum_adam: f64,
    /// Least value of the full-whitening functional.
    pub minimum_full_whitening: f64,
    /// Whether the weights grew without bound.
    pub diverged: bool,
}

impl Trajectory {
    /// The last snapshot.
    pub fn last(&self) -> &Snapshot {
        &self.snapshots[self.snapshots.len() - 1]
    }
}

impl TwoLayerParams {
    /// Checks every parameter.
    ///
    /// # Errors
    /// Names the first parameter that is out of range.
    pub fn check(self) -> Result<TwoLayerSimulation> {
        self.inputs.check()?;
        at_least("hidden", self.hidden, self.outputs.min(self.inputs.size))?;
        at_least("outputs", self.outputs, 1)?;
        at_least("batch", self.batch, 1)?;
        at_least("steps", self.steps, 1)?;
        at_least("records", self.records, 1)?;
        if self.records > self.steps {
            return Err(parameter("records", self.records, format!("at most the {} steps", self.steps)));
        }
        not_negative("label_noise", self.label_noise)?;
        positive("learning_rate", self.learning_rate)?;
        in_range("cooldown", self.cooldown, 0.0, 1.0)?;
        self.optimizer.check()?;
        if let Some(ratio) = self.target_ratio
            && !(ratio > 0.0 && ratio <= 1.0)
        {
            return Err(parameter("target_ratio", ratio, "in (0, 1]"));
        }
        if let Some(start) = self.start
            && !matches!(start, Functional::Sgd | Functional::FullWhitening)
        {
            return Err(parameter("start", start.name(), "sgd or full-whitening"));
        }
        Ok(TwoLayerSimulation { params: self })
    }
}

/// Inputs, target and start of one seed; the same for all optimizers.
struct Setting {
    inputs: Inputs,
    target: Array2<f64>,
    weights: Vec<DMatrix<f64>>,
}

impl TwoLayerSimulation {
    /// The parameters.
    pub fn params(&self) -> &TwoLayerParams {
        &self.params
    }

    /// Runs with the inputs, target, start and data of `seed`.
    ///
    /// # Errors
    /// If a decomposition does not converge.
    pub fn run(&self, seed: u64) -> Result<Trajectory> {
        let p = &self.params;
        let setting = self.setting(seed)?;
        let watch = Watch::new(p, &setting)?;
        let mut weights = setting.weights;
        let mut states = optimizers(p.optimizer, &weights)?;
        let mut passes = Passes::new(&weights, p.batch);
        let mut data = LabelNoise::new(
            &setting.inputs.root_matrix,
            p.inputs.anisotropy == 0.0,
            &to_nalgebra(&setting.target),
            p.label_noise,
            p.batch,
        );
        let mut rng = stream(seed, "data");
        let mut snapshots = vec![watch.look(0, &weights)?];
        let mut diverged = false;
        let cooldown_steps = p.cooldown * p.steps as f64;
        for record in 0..p.records {
            let (from, to) = (record * p.steps / p.records, (record + 1) * p.steps / p.records);
            for step in from..to {
                let left = (p.steps - step) as f64;
                let rate =
                    if left < cooldown_steps { p.learning_rate * left / cooldown_steps } else { p.learning_rate };
                data.gradients(&weights, &mut passes, &mut rng);
                for ((state, w), g) in states.iter_mut().zip(&mut weights).zip(&passes.gradients) {
                    state.step(w, g, rate);
                }
            }
            if !weights.iter().all(|w| w.norm() < 1e8) {
                diverged = true;
                break;
            }
            snapshots.push(watch.look(to, &weights)?);
        }
        Ok(Trajectory {
            snapshots,
            minimum_sgd: watch.minima[0],
            minimum_adam: watch.minima[1],
            minimum_full_whitening: watch.minima[2],
            diverged,
        })
    }

    /// The inputs and the target A of `seed`.
    ///
    /// # Errors
    /// If a decomposition does not converge.
    pub fn target(&self, seed: u64) -> Result<(Inputs, Array2<f64>)> {
        let p = &self.params;
        let (m, n) = (p.outputs, p.inputs.size);
        let inputs = p.inputs.draw(&mut stream(seed, "inputs"))?;
        let gaussian = gaussian_array(m, n, &mut stream(seed, "target"));
        let target = match p.target_ratio {
            None => gaussian / (n as f64).sqrt(),
            Some(ratio) => {
                let mut svd = svd(&gaussian)?;
                for (i, s) in svd.s.iter_mut().enumerate() {
                    *s = ratio.powi(i as i32);
                }
                (&svd.u * &svd.s).dot(&svd.vt).dot(&inputs.inverse_root)
            }
        };
        Ok((inputs, target))
    }

    fn setting(&self, seed: u64) -> Result<Setting> {
        let p = &self.params;
        let (inputs, target) = self.target(seed)?;
        let mut rng = stream(seed, "start");
        let weights = match p.start {
            None => {
                let mut weights = vec![
                    gaussian_matrix(p.hidden, p.inputs.size, &mut rng) * 0.5,
                    gaussian_matrix(p.outputs, p.hidden, &mut rng) * 0.3,
                ];
                interpolate(&mut weights, &to_nalgebra(&target));
                weights
            }
            Some(which) => {
                // SGD's and the full-whitening minimisers: gains sqrt(ratio s), in a random hidden frame.
                let ratio = closed_form_minimum(which, &inputs, &target)?.map_or(1.0, |minimum| minimum.layer_ratio);
                let svd = svd(&target.dot(&inputs.root))?;
                let rank = svd.s.len();
                let frame = random_orthogonal(p.hidden, &mut rng)?;
                let frame = frame.slice(ndarray::s![.., ..rank]);
                let first = (&frame * &svd.s.mapv(|s| (ratio * s).sqrt())).dot(&svd.vt).dot(&inputs.inverse_root);
                let second = (&svd.u * &svd.s.mapv(|s| (s / ratio).sqrt())).dot(&frame.t());
                vec![to_nalgebra(&first), to_nalgebra(&second)]
            }
        };
        Ok(Setting { inputs, target, weights })
    }
}

/// Gradient descent on |W2 W1 - A|^2 / 2 until it vanishes to rounding.
fn interpolate(weights: &mut [DMatrix<f64>], target: &DMatrix<f64>) {
    let mut product = end_to_end(weights);
    for _ in 0..20_000 {
        let error = &product - target;
        if error.norm() <= 1e-10 * target.norm() {
            break;
        }
        // Safe: the Hessian's largest eigenvalue is below this sum plus the error's norm.
        let rate = 0.5 / (weights[0].norm_squared() + weights[1].norm_squared() + error.norm());
        let g1 = weights[1].tr_mul(&error);
        let g2 = &error * weights[0].transpose();
        weights[0] -= rate * g1;
        weights[1] -= rate * g2;
        product = end_to_end(weights);
    }
}

/// Everything that snapshots need.
struct Watch {
    functionals: Vec<TwoLayerFunctional>,
    minima: [f64; 3],
    root: DMatrix<f64>,
    target_on_z: DMatrix<f64>,
    /// Right singular vectors (columns) and singular values of A C^(1/2) above rounding.
    directions: Vec<(nalgebra::DVector<f64>, f64)>,
}

impl Watch {
    fn new(p: &TwoLayerParams, setting: &Setting) -> Result<Self> {
        let (inputs, target) = (&setting.inputs, &setting.target);
        let on_z = target.dot(&inputs.root);
        let svd = svd(&on_z)?;
        let directions = svd
            .vt
            .outer_iter()
            .zip(&svd.s)
            .filter(|(_, s)| **s > 1e-9 * svd.s[0])
            .map(|(v, &s)| (nalgebra::DVector::from_iterator(v.len(), v.iter().copied()), s))
            .collect();
        let mut minima = [0.0; 3];
        for (minimum, which) in minima.iter_mut().zip(Functional::ALL) {
            *minimum = closed_form_minimum(which, inputs, target)?.map_or(f64::NAN, |m| m.value);
        }
        Ok(Self {
            functionals: Functional::ALL
                .iter()
                .map(|&which| TwoLayerFunctional::new(which, inputs, p.outputs))
                .collect(),
            minima,
            root: inputs.root_matrix.clone(),
            target_on_z: to_nalgebra(&on_z),
            directions,
        })
    }

    fn look(&self, step: usize, weights: &[DMatrix<f64>]) -> Result<Snapshot> {
        let (w1, w2) = (from_nalgebra(&weights[0]), from_nalgebra(&weights[1]));
        let mut values = [0.0; 4];
        for (value, functional) in values.iter_mut().zip(&self.functionals) {
            *value = functional.value(&w1, &w2)?;
        }
        let hidden = &weights[0] * &self.root;
        let second_moment = &hidden * hidden.transpose();
        let mean_squares: Vec<f64> = second_moment.diagonal().iter().copied().collect();
        let roots: f64 = mean_squares.iter().map(|x| x.sqrt()).sum();
        let squares: f64 = mean_squares.iter().sum();
        let nuclear = crate::linalg::singular_values(&from_nalgebra(&hidden))?.sum();
        let gains: Vec<(f64, f64)> = self.directions.iter().map(|(v, s)| (s.ln(), (&hidden * v).norm().ln())).collect();
        Ok(Snapshot {
            step,
            sgd: values[0],
            adam: values[1],
            full_whitening: values[2],
            dual_norm: values[3],
            participation_ratio: participation_ratio(mean_squares.iter().copied()),
            off_diagonal_mass: off_diagonal_mass(&from_nalgebra(&second_moment)),
            l1_over_l2: roots / (squares * mean_squares.len() as f64).sqrt(),
            nuclear_over_frobenius: nuclear / hidden.norm(),
            layer_ratio: hidden.norm() / weights[1].norm(),
            exponent: slope(&gains),
            error: (&weights[1] * &hidden - &self.target_on_z).norm() / self.target_on_z.norm(),
        })
    }
}

/// Least-squares slope of y over x; NaN for fewer than two points.
pub(super) fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (mx, my) = points.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let (covariance, variance) =
        points.iter().fold((0.0, 0.0), |(c, v), (x, y)| (c + (x - mx) * (y - my), v + (x - mx).powi(2)));
    covariance / variance
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizers::Rule;

    fn params(rule: Rule, learning_rate: f64, steps: usize) -> TwoLayerParams {
        TwoLayerParams {
            inputs: InputFamily { size: 6, anisotropy: 0.0, rotation: 0.0 },
            hidden: 12,
            outputs: 3,
            batch: 4,
            label_noise: 1.0,
            target_ratio: None,
            start: None,
            optimizer: OptimizerConfig::new(rule),
            learning_rate,
            steps,
            cooldown: 0.0,
            records: 2,
        }
    }

    #[test]
    fn adam_concentrates_the_hidden_units_and_the_others_do_not() {
        for seed in [1, 2] {
            let run = |rule, rate, steps| params(rule, rate, steps).check().unwrap().run(seed).unwrap();
            let sgd = run(Rule::Sgd, 0.01, 100_000);
            let adam = run(Rule::Adam, 0.003, 60_000);
            let muon = run(Rule::Muon, 0.005, 40_000);
            assert!(adam.last().participation_ratio < 4.5, "{:?}", adam.last());
            for rotation_invariant in [&sgd, &muon] {
                let end = rotation_invariant.last();
                assert!(end.participation_ratio > 6.0, "{end:?}");
                assert!(end.adam > 1.2 * adam.last().adam);
                assert!(end.sgd < 0.4 * rotation_invariant.snapshots[0].sgd);
                assert!(end.sgd < 1.25 * rotation_invariant.minimum_sgd);
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
        let simulation = params(Rule::Muon, 0.004, 500).check().unwrap();
        assert_eq!(simulation.run(3).unwrap(), simulation.run(3).unwrap());
        assert_ne!(simulation.run(3).unwrap(), simulation.run(4).unwrap());
    }

    #[test]
    fn starts_interpolate_and_prescribed_starts_are_minima() {
        let random = params(Rule::Sgd, 0.01, 2).check().unwrap().run(1).unwrap();
        assert!(random.snapshots[0].error < 1e-8);
        for (which, value, minimum) in [(Functional::Sgd, 0, 0), (Functional::FullWhitening, 2, 2)] {
            let mut p = params(Rule::Sgd, 1e-6, 2);
            p.start = Some(which);
            p.inputs.anisotropy = 0.5;
            let run = p.check().unwrap().run(1).unwrap();
            let first = &run.snapshots[0];
            let values = [first.sgd, first.adam, first.full_whitening];
            let minima = [run.minimum_sgd, run.minimum_adam, run.minimum_full_whitening];
            assert!((values[value] / minima[minimum] - 1.0).abs() < 1e-9);
            assert!(first.error < 1e-9 && (first.exponent - 0.5).abs() < 1e-9);
        }
    }

    #[test]
    fn a_prescribed_target_has_its_singular_values() {
        let mut p = params(Rule::Sgd, 0.01, 2);
        p.target_ratio = Some(0.5);
        p.inputs.anisotropy = 1.0;
        let (inputs, target) = p.check().unwrap().target(1).unwrap();
        let s = crate::linalg::singular_values(&target.dot(&inputs.root)).unwrap();
        assert!((s[1] / s[0] - 0.5).abs() < 1e-9 && (s[2] / s[0] - 0.25).abs() < 1e-9);
    }

    #[test]
    fn a_diverging_run_is_an_outcome() {
        let run = params(Rule::Sgd, 10.0, 1000).check().unwrap().run(1).unwrap();
        assert!(run.diverged);
    }

    #[test]
    fn bad_parameters_are_refused_by_name() {
        type Change = fn(&mut TwoLayerParams);
        let changes: [(&str, Change); 10] = [
            ("inputs.size", |p| p.inputs.size = 0),
            ("hidden", |p| p.hidden = 0),
            ("batch", |p| p.batch = 0),
            ("label_noise", |p| p.label_noise = -1.0),
            ("label_noise", |p| p.label_noise = f64::NAN),
            ("learning_rate", |p| p.learning_rate = 0.0),
            ("cooldown", |p| p.cooldown = 1.0),
            ("records", |p| p.records = 1_000_000),
            ("target_ratio", |p| p.target_ratio = Some(1.5)),
            ("start", |p| p.start = Some(Functional::Adam)),
        ];
        for (field, change) in changes {
            let mut p = params(Rule::Sgd, 0.01, 10);
            change(&mut p);
            let message = p.check().unwrap_err().to_string();
            assert!(message.starts_with(field) && !message.contains('\n'), "{message}");
        }
    }
}
