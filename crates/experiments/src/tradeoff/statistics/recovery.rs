//! What the readings find on a synthetic truth, where the index is planted.
//!
//! Learning and forgetting are smooth functions of the learning rate, shaped like those of the networks: task loss
//! falls by 2.2 (1 - exp(-(r/r0)^.53)), forgetting grows as r^1.3. Two methods whose rates differ by a factor then have
//! the same curves, and a constant ratio of forgetting at equal learning, whatever the level. Their grids lie at
//! different places of these curves, as the grids of AdamW and Muon do.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::contrast::{Compared, Contrast};
use super::matched::Interpolation;
use super::reading::{PRIMARY, Quantity, Reading};
use super::refine::{Rule, rates};
use super::testing::grid;
use crate::stages::{EndPoint, Results};

/// Task loss of the checkpoint, and how far it can fall.
const BEFORE: f64 = 4.4;
const DEPTH: f64 = 2.2;
const RATES: [[f64; 5]; 2] = [[6e-6, 2e-5, 6e-5, 1.5e-4, 4e-4], [6e-5, 1.8e-4, 5e-4, 1.2e-3, 3e-3]];
const METHODS: [&str; 2] = ["adamw", "muon"];
/// Muon's rates over AdamW's for the same learning.
const FASTER: f64 = 13.0;
/// Standard deviation of ln forgetting between runs.
const NOISE: f64 = 0.03;
const SEEDS: u64 = 200;

/// Forgetting of either method over AdamW's from the AdamW checkpoint at the same learning, by checkpoint.
const SCALES: [[f64; 2]; 2] = [[1.0, 1.4], [1.1, 0.9]];

fn task_loss(rate: f64) -> f64 {
    BEFORE - DEPTH * (1.0 - (-(rate / 1.34e-5).powf(0.53)).exp())
}

fn forgetting(rate: f64) -> f64 {
    0.4 * (rate / 4e-4).powf(1.3)
}

/// The rate, in AdamW's units, at which the task loss is reached.
fn rate_of(task_loss: f64) -> f64 {
    1.34e-5 * (-(1.0 - (BEFORE - task_loss) / DEPTH).ln()).powf(1.0 / 0.53)
}

struct World {
    random: ChaCha8Rng,
}

impl World {
    fn run(&mut self, checkpoint: usize, method: usize, rate: f64, seed: u64) -> EndPoint {
        let (u, v): (f64, f64) = (1.0 - self.random.random::<f64>(), self.random.random());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        let own = if method == 1 { rate / FASTER } else { rate };
        let forgotten = SCALES[checkpoint][method] * forgetting(own) * (NOISE * normal).exp();
        grid(METHODS[checkpoint], METHODS[method], seed, BEFORE, &[(rate, task_loss(own), forgotten)]).remove(0)
    }

    /// One seed on the coarse grids, with rates added where `rule` asks for them.
    fn seed(&mut self, seed: u64, rule: Option<&Rule<'_>>) -> Results {
        let mut rows = Vec::new();
        let mut wanted: BTreeSet<(usize, usize, u64)> = BTreeSet::new();
        for checkpoint in [0, 1] {
            for method in [0, 1] {
                wanted.extend(RATES[method].map(|rate| (checkpoint, method, rate.to_bits())));
            }
        }
        while !wanted.is_empty() {
            let new: Vec<EndPoint> =
                wanted.iter().map(|&(c, m, rate)| self.run(c, m, f64::from_bits(rate), seed)).collect();
            rows.extend(new);
            wanted.clear();
            let results = Results::from_rows(rows.clone()).unwrap();
            for checkpoint in [0, 1] {
                let added =
                    rule.map_or_else(Default::default, |rule| rates(&results, compared(checkpoint), (seed, 0), rule));
                for (method, rates) in [checkpoint, 1 - checkpoint].into_iter().zip(added) {
                    wanted.extend(rates.into_iter().map(|rate| (checkpoint, method, rate.to_bits())));
                }
            }
        }
        Results::from_rows(rows).unwrap()
    }
}

fn compared(checkpoint: usize) -> Compared<'static> {
    let methods = [METHODS[checkpoint], METHODS[1 - checkpoint]];
    Compared { task: "code", checkpoint: METHODS[checkpoint], methods }
}

/// Mean and standard error over seeds of the index by a reading, less what it would be without noise and grid.
fn bias(reading: Reading, rule: Option<&Rule<'_>>, truth: impl Fn(usize, &Contrast) -> f64) -> (f64, f64) {
    let mut world = World { random: ChaCha8Rng::seed_from_u64(5) };
    let errors: Vec<f64> = (0..SEEDS)
        .map(|seed| {
            let results = world.seed(seed, rule);
            let part = |checkpoint| {
                let found = Contrast::of(&results, compared(checkpoint), (seed, 0), reading.interpolation).unwrap();
                reading.value(&found).unwrap() - truth(checkpoint, &found)
            };
            0.5 * (part(0) + part(1))
        })
        .collect();
    let mean = errors.iter().sum::<f64>() / SEEDS as f64;
    let variance = errors.iter().map(|error| (error - mean).powi(2)).sum::<f64>() / (SEEDS - 1) as f64;
    (mean, (variance / SEEDS as f64).sqrt())
}

/// ln of the other method's forgetting over the matched one's, and their difference where the task loss is reached.
fn true_ratio(checkpoint: usize) -> f64 {
    (SCALES[checkpoint][1 - checkpoint] / SCALES[checkpoint][checkpoint]).ln()
}

fn true_difference(checkpoint: usize, task_loss: f64) -> f64 {
    (SCALES[checkpoint][1 - checkpoint] - SCALES[checkpoint][checkpoint]) * forgetting(rate_of(task_loss))
}

#[test]
fn the_primary_reading_finds_the_planted_index_and_straight_lines_between_coarse_rates_do_not() {
    let rule = Rule { levels: &[0.75, 0.9], gap: 0.05 };
    let (bias_new, error) = bias(PRIMARY, Some(&rule), |checkpoint, _| true_ratio(checkpoint));
    let planted = 0.5 * (true_ratio(0) + true_ratio(1));
    assert!(planted > 0.25);
    // The noise of forgetting allows for .002 or so: the mean of 200 seeds of four curves.
    assert!(error < 0.003, "{error}");
    assert!(bias_new.abs() < 3.0 * error + 0.003, "{bias_new} +- {error}");

    // Protocol 1: forgetting in nats, by straight lines, at 75 % of coarse grids.
    let old = Reading { quantity: Quantity::Difference(0.75), interpolation: Interpolation::Linear };
    let truth = |checkpoint: usize, found: &Contrast| true_difference(checkpoint, found.task_loss(0.75));
    let (bias_old, error) = bias(old, None, truth);
    let size = bias(old, None, |_, _| 0.0).0 - bias_old;
    assert!(bias_old.abs() > 0.2 * size && bias_old.abs() > 10.0 * error, "{bias_old} +- {error} of {size}");
}

#[test]
fn the_mean_over_levels_finds_it_too() {
    let rule = Rule { levels: &[0.75, 0.9], gap: 0.05 };
    let reading = Reading { quantity: Quantity::MeanLogRatio, interpolation: Interpolation::Monotone };
    let (bias, error) = bias(reading, Some(&rule), |checkpoint, _| true_ratio(checkpoint));
    assert!(bias.abs() < 3.0 * error + 0.01, "{bias} +- {error}");
}
