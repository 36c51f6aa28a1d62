//! Whether a GPU computes what the processor does: logits and gradients in f32, and losses of a short training in bf16.

use std::fmt::Write as _;

use candle_core::{DType, Tensor};
use models::optim::{AdamW, Muon, Optimizer, Policy, RuleConfig, Scope};
use models::{Batch, Hardware, ModelConfig, Precision, Transformer, train_step};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Checked;
use crate::error::{ExperimentError, Result};

/// Largest relative distance (Frobenius) of logits and of every gradient in f32.
const EXACT: f64 = 1e-3;
/// The same where factors are rounded to tf32.
const TF32: f64 = 1e-2;
/// Largest relative distance of losses of trainings in bf16 and in f32.
const ROUNDED: f64 = 1e-2;
const VOCABULARY: usize = 997;
/// A number that no tile of the kernels divides.
const CONTEXT: usize = 150;

/// Compares both, trainings over `steps` steps. A row that is further off than its bound is a failure.
///
/// # Errors
/// If there is no such device, or it fails.
pub fn parity(hardware: Hardware, steps: u64) -> Result<Checked> {
    let mut rows = Vec::new();
    for (name, config) in networks() {
        for (precision, allowed) in [(Precision::F32, EXACT), (Precision::Tf32, TF32)] {
            rows.extend(exact_rows(name, &config, hardware, precision, allowed)?);
        }
        for (rule_name, rule) in rules() {
            let [expected, found] = [(Hardware::Cpu, Precision::F32), (hardware, Precision::Bf16)]
                .map(|(device, precision)| losses(&config, rule, device, precision, steps));
            let off = furthest(expected?.iter().zip(found?).map(|(a, b)| (a - b).abs() / a));
            rows.push((format!("{name}: losses of {steps} steps of {rule_name} in bf16"), off, ROUNDED));
        }
    }
    let mut table =
        String::from("| compared with the processor in f32 | largest relative distance | allowed |\n|---|---|---|\n");
    let mut failures = Vec::new();
    for (what, off, allowed) in &rows {
        let _ = writeln!(table, "| {what} | {off:.2e} | {allowed:.0e} |");
        // A NaN is no agreement.
        if off.is_nan() || off > allowed {
            failures.push(format!("{what}: off by {off:.2e}"));
        }
    }
    Ok(Checked { table, failures })
}

/// The largest of some distances; NaN if one of them is.
fn furthest(distances: impl Iterator<Item = f64>) -> f64 {
    distances.fold(0.0, |most, off| if off > most || off.is_nan() { off } else { most })
}

/// Every width of the kernels' attention heads, and one that is padded.
fn networks() -> [(&'static str, ModelConfig); 4] {
    [
        ("GPT-2", ModelConfig::gpt2(VOCABULARY, CONTEXT, 4, 128, 2)),
        ("Llama", ModelConfig::llama(VOCABULARY, CONTEXT, 4, 128, 4, 2)),
        ("GPT-2, heads of 16", ModelConfig::gpt2(VOCABULARY, CONTEXT, 2, 128, 8)),
        ("Llama, a head of 128", ModelConfig::llama(VOCABULARY, CONTEXT, 2, 128, 1, 1)),
    ]
}

fn rules() -> [(&'static str, RuleConfig); 2] {
    [("AdamW", RuleConfig::AdamW(AdamW::default())), ("Muon", RuleConfig::Muon(Muon::default()))]
}

/// Rows of tokens in which each follows from the one before, but for noise: there is something to learn.
fn batch(seed: u64) -> Result<Batch> {
    let mut rng = ChaCha8Rng::seed_from_u64(lab::seeds::stream(seed, "parity"));
    let (mut ids, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let mut token = rng.random_range(0..VOCABULARY as u32);
        for _ in 0..CONTEXT {
            ids.push(token);
            let noisy = rng.random_range(0..10) == 0;
            token = if noisy { rng.random_range(0..VOCABULARY as u32) } else { (token * 7 + 3) % VOCABULARY as u32 };
            targets.push(token);
        }
    }
    Ok(Batch::new(ids, targets, CONTEXT)?)
}

fn distance(found: &Tensor, expected: &Tensor) -> Result<f64, candle_core::Error> {
    let values = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    let (found, expected) = (values(found)?, values(expected)?);
    let off: f64 = found.iter().zip(&expected).map(|(a, b)| (a - b).powi(2)).sum();
    let size: f64 = expected.iter().map(|b| b * b).sum();
    Ok((off / size.max(f64::MIN_POSITIVE)).sqrt())
}

fn exact_rows(
    name: &str,
    config: &ModelConfig,
    hardware: Hardware,
    precision: Precision,
    allowed: f64,
) -> Result<Vec<(String, f64, f64)>> {
    let host = Transformer::new(config, 1)?;
    let mut device = host.clone();
    device.parameters_mut().set_precision(precision);
    device.move_to(&hardware.open()?)?;
    let batch = batch(1)?;
    let [expected, found] = [&host, &device].map(|model| model.logits(batch.ids(), CONTEXT));
    let logits = distance(&found?, &expected?).map_err(models::Error::from)?;
    let scale = 1.0 / batch.target_count() as f64;
    let ((_, expected), (_, found)) = (host.gradients(&batch, scale)?, device.gradients(&batch, scale)?);
    let whole = expected.norm()?;
    let mut gradients = Vec::new();
    for (id, parameter) in host.parameters().iter() {
        if let (Some(expected), Some(found)) = (expected.get(id), found.get(id)) {
            let size = expected.sqr().and_then(|s| s.sum_all()).and_then(|s| s.to_scalar::<f32>());
            // Key biases have no gradient but rounding under learned positions.
            if f64::from(size.map_err(models::Error::from)?).sqrt() > 1e-6 * whole {
                gradients.push(distance(found, expected).map_err(models::Error::from)?);
            }
        } else {
            return Err(ExperimentError::value("parity", &parameter.name, "a gradient on both devices"));
        }
    }
    Ok(vec![
        (format!("{name}: logits in {}", precision.as_str()), logits, allowed),
        (
            format!("{name}: the gradient that is furthest off, in {}", precision.as_str()),
            furthest(gradients.into_iter()),
            allowed,
        ),
    ])
}

fn losses(
    config: &ModelConfig,
    hidden: RuleConfig,
    hardware: Hardware,
    precision: Precision,
    steps: u64,
) -> Result<Vec<f64>> {
    let mut model = Transformer::new(config, 1)?;
    model.parameters_mut().set_precision(precision);
    model.move_to(&hardware.open()?)?;
    let rest = RuleConfig::AdamW(AdamW::default());
    let mut optimizer =
        Optimizer::new(model.parameters_mut(), &Policy::hidden_and_rest(Scope::All, hidden, 1e-3, rest, 1e-3, 1e-3))?;
    let step = |i| Ok(train_step(&mut model, &mut optimizer, &[batch(i)?], Some(1.0), 1.0)?.loss);
    (0..steps).map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_that_is_none_is_the_furthest_wherever_it_stands() {
        assert_eq!(furthest([0.1, 0.3, 0.2].into_iter()), 0.3);
        for distances in [[f64::NAN, 0.1], [0.1, f64::NAN]] {
            assert!(furthest(distances.into_iter()).is_nan());
        }
    }

    #[test]
    fn the_processor_agrees_with_itself_and_the_table_says_so() {
        let (_, config) = &networks()[1];
        let rows = exact_rows("Llama", config, Hardware::Cpu, Precision::F32, EXACT).unwrap();
        assert!(rows.iter().all(|(_, off, _)| *off == 0.0), "{rows:?}");
        assert_ne!(batch(1).unwrap(), batch(2).unwrap());
    }
}
