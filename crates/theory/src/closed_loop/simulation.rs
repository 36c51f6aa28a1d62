//! Pretraining and finetuning of one closed loop.

use nalgebra::DMatrix;
use rayon::prelude::*;

use super::params::ClosedLoopParams;
use super::result::{Checkpoint, ClosedLoopResult, SeedResult};
use crate::error::Result;
use crate::inputs::{InputFamily, off_diagonal_mass, participation_ratio};
use crate::linalg::dense::{axpy, product, squared_norm};
use crate::linalg::from_nalgebra;
use crate::linear_net::{LabelNoise, Passes, optimizers};
use crate::optimizers::{MatrixOptimizer, OptimizerConfig, Rule};
use crate::random::{gaussian_matrix, stream};

/// Checked parameters.
#[derive(Debug, Clone)]
pub struct ClosedLoopSimulation {
    params: ClosedLoopParams,
}

/// The warm start of one seed.
struct Start {
    /// C^(1/2).
    root: DMatrix<f64>,
    target: DMatrix<f64>,
    weights: Vec<DMatrix<f64>>,
}

/// Samples of the warm start's steps.
const WARM_START_BATCH: usize = 32;
/// Standard deviation of the first weights, times the root of a layer's number of inputs.
const START_GAIN: f64 = 0.9;

impl ClosedLoopParams {
    /// Checks every parameter; what is checked can be run.
    ///
    /// # Errors
    /// Names the first parameter that is out of range.
    pub fn check(self) -> Result<ClosedLoopSimulation> {
        self.validate()?;
        Ok(ClosedLoopSimulation::new(self))
    }
}

impl ClosedLoopSimulation {
    fn new(params: ClosedLoopParams) -> Self {
        Self { params }
    }

    /// The parameters.
    pub fn params(&self) -> &ClosedLoopParams {
        &self.params
    }

    /// Runs all seeds and optimizers in parallel; `done` is called once for each finished (seed, pretraining
    /// optimizer).
    ///
    /// # Errors
    /// If a decomposition does not converge.
    pub fn run(&self, done: impl Fn() + Sync) -> Result<ClosedLoopResult> {
        let rules: Vec<Rule> = self.params.pretraining.keys().copied().collect();
        let starts =
            (0..self.params.seeds as u64).into_par_iter().map(|seed| self.start(seed)).collect::<Result<Vec<_>>>()?;
        let checkpoints = (0..starts.len() * rules.len())
            .into_par_iter()
            .map(|index| {
                let (seed, rule) = (index / rules.len(), rules[index % rules.len()]);
                let checkpoint = self.checkpoint(seed as u64, &starts[seed], rule)?;
                done();
                Ok(checkpoint)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(ClosedLoopResult {
            seeds: checkpoints
                .chunks(rules.len())
                .enumerate()
                .map(|(seed, checkpoints)| SeedResult { seed: seed as u64, checkpoints: checkpoints.to_vec() })
                .collect(),
        })
    }

    fn start(&self, seed: u64) -> Result<Start> {
        let p = &self.params;
        let widths = &p.widths;
        let (n, m) = (widths[0], widths[widths.len() - 1]);
        let inputs = InputFamily { size: n, anisotropy: p.anisotropy, rotation: 1.0 }
            .draw(&mut stream(seed, "closed loop inputs"))?;
        let target = gaussian_matrix(m, n, &mut stream(seed, "closed loop target")) / (n as f64).sqrt();
        let mut rng = stream(seed, "closed loop start");
        let mut weights: Vec<DMatrix<f64>> = widths
            .windows(2)
            .map(|w| gaussian_matrix(w[1], w[0], &mut rng) * (START_GAIN / (w[0] as f64).sqrt()))
            .collect();
        let mut data = LabelNoise::new(&inputs.root_matrix, false, &target, 0.0, WARM_START_BATCH);
        let config = OptimizerConfig::new(p.warm_start_rule);
        let config = if p.warm_start_rule == Rule::Sgd { config.with_momentum(0.0) } else { config };
        let mut states = optimizers(config, &weights)?;
        let mut passes = Passes::new(&weights, WARM_START_BATCH);
        for step in 0..p.warm_start.steps {
            let left = 1.0 - step as f64 / p.warm_start.steps as f64;
            data.gradients(&weights, &mut passes, &mut rng);
            for ((state, w), g) in states.iter_mut().zip(&mut weights).zip(&passes.gradients) {
                state.step(w, g, p.warm_start.learning_rate * left);
            }
        }
        Ok(Start { root: inputs.root_matrix, target, weights })
    }

    /// Pretrains from the seed's warm start with `rule` and finetunes with every optimizer on every task.
    fn checkpoint(&self, seed: u64, start: &Start, rule: Rule) -> Result<Checkpoint> {
        let p = &self.params;
        let weights = self.pretrain(seed, start, rule)?;
        let mut watch = Passes::new(&weights, start.root.ncols());
        watch.input_mut().copy_from(&start.root);
        watch.forward(&weights);
        let target_on_z = &start.target * &start.root;
        let error = (watch.output() - &target_on_z).norm_squared() / target_on_z.norm_squared();
        let hidden = &watch.activations[1..weights.len()];
        let mut mass = 0.0;
        let mut participation = 0.0;
        for activation in hidden {
            let s = activation * activation.transpose();
            mass += off_diagonal_mass(&from_nalgebra(&s)) / hidden.len() as f64;
            participation += participation_ratio(s.diagonal().iter().copied()) / hidden.len() as f64;
        }
        let mut tasks = Tasks::new(self, &weights, &start.root)?;
        let mut rng = stream(seed, "closed loop tasks");
        let mut forgetting: Vec<(Rule, Vec<f64>)> = p.finetune.rates.keys().map(|&rule| (rule, Vec::new())).collect();
        for _ in 0..p.tasks {
            tasks.draw(&weights, &mut rng);
            for (rule, values) in &mut forgetting {
                values.push(tasks.least_forgetting(&weights, *rule));
            }
        }
        Ok(Checkpoint { rule, error, off_diagonal_mass: mass, participation_ratio: participation, forgetting })
    }

    fn pretrain(&self, seed: u64, start: &Start, rule: Rule) -> Result<Vec<DMatrix<f64>>> {
        let p = &self.params;
        let phase = p.pretraining[&rule];
        let mut weights = start.weights.clone();
        let mut data = LabelNoise::new(&start.root, false, &start.target, p.label_noise, p.batch);
        let config = OptimizerConfig::new(rule);
        let config = if rule == Rule::Sgd { config.with_momentum(0.0) } else { config };
        let mut states = optimizers(config, &weights)?;
        let mut passes = Passes::new(&weights, p.batch);
        let mut rng = stream(seed, "closed loop pretraining");
        let cooldown_steps = p.cooldown * phase.steps as f64;
        for step in 0..phase.steps {
            let left = (phase.steps - step) as f64;
            let rate =
                if left < cooldown_steps { phase.learning_rate * left / cooldown_steps } else { phase.learning_rate };
            data.gradients(&weights, &mut passes, &mut rng);
            for ((state, w), g) in states.iter_mut().zip(&mut weights).zip(&passes.gradients) {
                state.step(w, g, rate);
            }
        }
        Ok(weights)
    }
}

/// Buffers for finetuning one checkpoint.
struct Tasks<'a> {
    params: &'a ClosedLoopParams,
    states: Vec<(Rule, Vec<MatrixOptimizer>)>,
    weights: Vec<DMatrix<f64>>,
    /// Passes over the task's samples.
    passes: Passes,
    /// Passes over C^(1/2), whose output is the network's map in whitened coordinates.
    whole: Passes,
    pretrained: DMatrix<f64>,
    change: DMatrix<f64>,
    root: DMatrix<f64>,
    x: DMatrix<f64>,
    y: DMatrix<f64>,
}

impl<'a> Tasks<'a> {
    fn new(simulation: &'a ClosedLoopSimulation, weights: &[DMatrix<f64>], root: &DMatrix<f64>) -> Result<Self> {
        let p = &simulation.params;
        let states = p
            .finetune
            .rates
            .keys()
            .map(|&rule| {
                let config = OptimizerConfig {
                    rule,
                    momentum: p.finetune.momentum,
                    second_moment_decay: p.finetune.second_moment_decay,
                };
                Ok((rule, optimizers(config, &weights[p.first_tuned_layer..])?))
            })
            .collect::<Result<_>>()?;
        let mut whole = Passes::new(weights, root.ncols());
        whole.input_mut().copy_from(root);
        whole.forward(weights);
        let pretrained = whole.output().clone();
        let (m, n) = (pretrained.nrows(), p.samples);
        Ok(Self {
            params: p,
            states,
            weights: weights.to_vec(),
            passes: Passes::new(weights, n),
            change: DMatrix::zeros(m, root.ncols()),
            whole,
            pretrained,
            root: root.clone(),
            x: DMatrix::zeros(root.ncols(), n),
            y: DMatrix::zeros(m, n),
        })
    }

    /// Draws the samples and the wanted change of one task.
    fn draw(&mut self, weights: &[DMatrix<f64>], rng: &mut impl rand::Rng) {
        let d = self.root.ncols();
        let z = gaussian_matrix(d, self.params.samples, rng);
        product(&self.root, &z, &mut self.x);
        let scale = self.params.task_scale / (d as f64).sqrt();
        let wanted = gaussian_matrix(self.y.nrows(), d, rng) * scale;
        self.passes.input_mut().copy_from(&self.x);
        self.passes.forward(weights);
        product(&wanted, &self.x, &mut self.y);
        self.y += self.passes.output();
    }

    /// Least forgetting of one optimizer over its learning rates, infinite if it never learns.
    fn least_forgetting(&mut self, checkpoint: &[DMatrix<f64>], rule: Rule) -> f64 {
        let grid = self.params.finetune.rates[&rule];
        let mut least = f64::INFINITY;
        for rate in grid.rates() {
            for (w, c) in self.weights.iter_mut().zip(checkpoint) {
                w.copy_from(c);
            }
            least = least.min(self.run(rule, rate));
        }
        least
    }

    fn run(&mut self, rule: Rule, rate: f64) -> f64 {
        let p = self.params;
        let Some((_, states)) = self.states.iter_mut().find(|(r, _)| *r == rule) else {
            return f64::INFINITY;
        };
        for state in states.iter_mut() {
            state.reset();
        }
        let steps = p.finetune.steps;
        let mut first = 0.0;
        let mut least = f64::INFINITY;
        for step in 0..steps {
            self.passes.forward(&self.weights);
            let loss = self.passes.compare(&self.y);
            if step == 0 {
                first = loss;
            }
            if loss < p.finetune.share * first {
                self.whole.forward(&self.weights);
                self.change.copy_from(self.whole.output());
                axpy(-1.0, self.pretrained.as_slice(), self.change.as_mut_slice());
                least = least.min(squared_norm(&self.change) / first);
            }
            if loss.is_nan() || loss > 1e4 * first {
                break;
            }
            self.passes.backward(&self.weights, p.first_tuned_layer);
            let left = 1.0 - step as f64 / steps as f64;
            for (layer, state) in (p.first_tuned_layer..).zip(states.iter_mut()) {
                state.step(&mut self.weights[layer], &self.passes.gradients[layer], rate * left);
            }
        }
        least
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::closed_loop::Phase;
    use crate::on_threads;
    use crate::structured::{FinetuneParams, RateGrid};
    use std::collections::BTreeMap;

    fn params() -> ClosedLoopParams {
        let grid = |low, high| RateGrid { low, high, count: 6 };
        let phase = |learning_rate, steps| Phase { learning_rate, steps };
        ClosedLoopParams {
            anisotropy: 1.0,
            widths: vec![8, 12, 8],
            batch: 8,
            label_noise: 1.0,
            warm_start_rule: Rule::Sgd,
            warm_start: phase(0.02, 3000),
            pretraining: BTreeMap::from([(Rule::Adam, phase(0.004, 20_000)), (Rule::Muon, phase(0.005, 8_000))]),
            cooldown: 0.25,
            first_tuned_layer: 1,
            samples: 3,
            task_scale: 0.7,
            tasks: 4,
            seeds: 4,
            finetune: FinetuneParams {
                steps: 150,
                momentum: 0.9,
                second_moment_decay: 0.95,
                share: 0.1,
                rates: BTreeMap::from([(Rule::Adam, grid(0.001, 0.2)), (Rule::Muon, grid(0.003, 0.5))]),
            },
        }
    }

    #[test]
    fn adam_checkpoints_are_nearer_to_the_neuron_basis_and_matching_helps_them() {
        let result = params().check().unwrap().run(|| ()).unwrap();
        let (adam, muon) = (result.off_diagonal_mass(Rule::Adam).mean, result.off_diagonal_mass(Rule::Muon).mean);
        assert!(adam < 0.75 * muon, "off-diagonal mass {adam} and {muon}");
        assert!(result.pretraining_error(Rule::Adam).mean < 0.1);
        assert!(result.pretraining_error(Rule::Muon).mean < 0.1);
        let index = result.consistency(Rule::Adam, Rule::Muon);
        assert!(index.mean > 1.0 && index.n == 4, "{index:?}");
    }

    #[test]
    fn deep_networks_repeat_to_the_bit_with_any_number_of_threads() {
        let mut p = params();
        p.widths = vec![6, 7, 7, 6];
        p.seeds = 2;
        p.tasks = 1;
        p.pretraining.values_mut().for_each(|phase| phase.steps = 300);
        let simulation = p.check().unwrap();
        let with = |threads| on_threads(threads, || simulation.run(|| ()).unwrap());
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn bad_loops_are_refused_by_name() {
        type Change = fn(&mut ClosedLoopParams);
        let changes: [(&str, Change); 8] = [
            ("widths", |p| p.widths = vec![4, 4]),
            ("widths", |p| p.widths[1] = 0),
            ("inputs.anisotropy", |p| p.anisotropy = f64::NAN),
            ("label_noise", |p| p.label_noise = -1.0),
            ("pretraining", |p| p.pretraining.clear()),
            ("first_tuned_layer", |p| p.first_tuned_layer = 2),
            ("samples", |p| p.samples = 0),
            ("task_scale", |p| p.task_scale = 0.0),
        ];
        for (field, change) in changes {
            let mut p = params();
            change(&mut p);
            let message = p.check().unwrap_err().to_string();
            assert!(message.starts_with(field), "{message}");
        }
    }
}
