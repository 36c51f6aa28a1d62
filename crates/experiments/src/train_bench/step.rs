//! Our own training step, and the speed of a large matrix product.

use std::time::Instant;

use candle_core::Device;
use models::optim::{AdamW, Muon, Optimizer, Policy, RuleConfig, Scope};
use models::{Batch, Hardware, ModelConfig, Precision, Transformer, gpu_memory, mean_loss, train_step};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{BenchOptimizer, Measurement, Shape, Timed};
use crate::error::Result;

/// Median time of a training step (forward, backward, clip to norm 1, update) or of an evaluation on random tokens,
/// `micro_batch` sequences at a time, and the peak memory of this process or of the GPU.
///
/// # Errors
/// If a shape is impossible or the threads cannot be started.
pub fn measure(
    shape: &Shape,
    optimizer: BenchOptimizer,
    precision: Precision,
    hardware: Hardware,
    micro_batch: usize,
) -> Result<Measurement> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(shape.threads).build()?;
    let device = hardware.open()?;
    let (step_ms, loss) = pool.install(|| times(shape, optimizer, precision, &device, micro_batch))?;
    let peak_bytes = gpu_memory(&device)?.map(|memory| memory.peak).or_else(peak_memory);
    Ok(Measurement { step_ms, peak_bytes, loss })
}

/// The median time of a step, and the loss before the last.
fn times(
    shape: &Shape,
    optimizer: BenchOptimizer,
    precision: Precision,
    device: &Device,
    micro_batch: usize,
) -> Result<(f64, f64)> {
    let config = ModelConfig::gpt2(shape.vocabulary, shape.context, shape.layers, shape.width, shape.heads);
    let adamw = RuleConfig::AdamW(AdamW { weight_decay: 0.1, ..AdamW::default() });
    let hidden = match optimizer {
        BenchOptimizer::Adamw => adamw,
        BenchOptimizer::Muon => RuleConfig::Muon(Muon { weight_decay: 0.1, ..Muon::default() }),
    };
    let mut model = Transformer::new(&config, 0)?;
    model.parameters_mut().set_precision(precision);
    model.move_to(device)?;
    let mut state =
        Optimizer::new(model.parameters_mut(), &Policy::hidden_and_rest(Scope::All, hidden, 1e-3, adamw, 1e-3, 1e-3))?;
    let mut rng = ChaCha8Rng::seed_from_u64(lab::seeds::stream(0, "benchmark tokens"));
    let mut draw = || rng.random_range(0..shape.vocabulary as u32);
    let ids: Vec<u32> = (0..shape.tokens()).map(|_| draw()).collect();
    let targets = (0..shape.tokens()).map(|_| draw()).collect();
    let parts = Batch::new(ids, targets, shape.context)?.split(micro_batch);
    let (mut milliseconds, mut loss) = (Vec::new(), f64::NAN);
    for step in 0..shape.warmup + shape.steps {
        let start = Instant::now();
        loss = match shape.timed {
            Timed::Step => train_step(&mut model, &mut state, &parts, Some(1.0), 1.0)?.loss,
            Timed::Evaluation => mean_loss(&model, &parts)?,
        };
        if step >= shape.warmup {
            milliseconds.push(1e3 * start.elapsed().as_secs_f64());
        }
    }
    Ok((median(&mut milliseconds), loss))
}

/// The median; of an even number the mean of the middle two.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[half],
        _ => (values[half - 1] + values[half]) / 2.0,
    }
}

/// The largest resident set of this process so far, in bytes.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

/// Floating-point operations per second of a product of two 1024 x 1024 matrices, the best of ten: what the step's
/// products could reach at most.
///
/// # Errors
/// If the threads cannot be started.
pub fn product_speed(threads: usize, precision: Precision) -> Result<f64> {
    const SIDE: usize = 1024;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let seconds = pool.install(|| -> Result<f64, models::Error> {
        let values: Vec<f32> = (0..SIDE * SIDE).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect();
        let matrix = candle_core::Tensor::from_vec(values, (SIDE, SIDE), &candle_core::Device::Cpu)?;
        let mut best = f64::INFINITY;
        for _ in 0..10 {
            let start = Instant::now();
            models::ops::matmul_transposed(&matrix, &matrix, precision)?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok(best)
    })?;
    Ok(2.0 * (SIDE as f64).powi(3) / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&mut []).is_nan());
    }

    #[test]
    fn a_step_and_a_product_take_time() {
        let shape = Shape {
            layers: 1,
            width: 16,
            heads: 2,
            context: 8,
            batch: 2,
            vocabulary: 32,
            steps: 2,
            warmup: 1,
            ..super::super::SHAPES[0]
        };
        let measured = measure(&shape, BenchOptimizer::Muon, Precision::Bf16, Hardware::Cpu, shape.batch).unwrap();
        assert!(measured.step_ms > 0.0 && measured.loss.is_finite());
        assert!(product_speed(1, Precision::F32).unwrap() > 1e8);
    }
}
