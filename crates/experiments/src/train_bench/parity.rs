//! Whether a GPU computes what the processor does: logits and gradients in f32, and losses of a short training in bf16.

use std::fmt::Write as _;

use candle_core::{DType, Tensor};
use models::optim::{AdamW, Muon, Optimizer, Policy, RuleConfig};
use models::{Batch, Hardware, ModelConfig, Precision, Transformer, train_step};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{ExperimentError, Result};

/// Largest relative distance (Frobenius) of logits and of every gradient in f32.
const EXACT: f64 = 1e-3;
/// Largest relative distance of losses of trainings in bf16 and in f32.
const ROUNDED: f64 = 1e-2;
/// Steps of a training.
const STEPS: usize = 50;

const VOCABULARY: usize = 997;
const CONTEXT: usize = 160;

/// Compares both, and returns a Markdown table of what was found.
///
/// # Errors
/// [`ExperimentError::Value`] with the table if something is further off than it may be, or if there is no such device.
pub fn parity(hardware: Hardware) -> Result<String> {
    let mut rows = Vec::new();
    for (name, config) in networks() {
        rows.extend(exact_rows(name, &config, hardware)?);
        for (rule_name, rule) in rules() {
            let [expected, found] = [(Hardware::Cpu, Precision::F32), (hardware, Precision::Bf16)]
                .map(|(device, precision)| losses(&config, rule, device, precision));
            let off = expected?.iter().zip(found?).map(|(a, b)| (a - b).abs() / a).fold(0.0, f64::max);
            rows.push((format!("{name}: losses of {STEPS} steps of {rule_name} in bf16"), off, ROUNDED));
        }
    }
    let mut table =
        String::from("| compared with the processor in f32 | largest relative distance | allowed |\n|---|---|---|\n");
    for (what, off, allowed) in &rows {
        let _ = writeln!(table, "| {what} | {off:.2e} | {allowed:.0e} |");
    }
    // A NaN is no agreement.
    match rows.iter().all(|(_, off, allowed)| off <= allowed) {
        true => Ok(table),
        false => Err(ExperimentError::value("parity", table, "every distance within what is allowed")),
    }
}

fn networks() -> [(&'static str, ModelConfig); 2] {
    [
        ("GPT-2", ModelConfig::gpt2(VOCABULARY, CONTEXT, 4, 128, 2)),
        ("Llama", ModelConfig::llama(VOCABULARY, CONTEXT, 4, 128, 4, 2)),
    ]
}

fn rules() -> [(&'static str, RuleConfig); 2] {
    [("AdamW", RuleConfig::AdamW(AdamW::default())), ("Muon", RuleConfig::Muon(Muon::default()))]
}

/// Rows of tokens in which each follows from the one before, but for noise: there is something to learn.
fn batch(seed: u64) -> Result<Batch> {
    let mut rng = ChaCha8Rng::seed_from_u64(crate::seeds::stream(seed, "parity"));
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

fn exact_rows(name: &str, config: &ModelConfig, hardware: Hardware) -> Result<Vec<(String, f64, f64)>> {
    let host = Transformer::new(config, 1)?;
    let mut device = host.clone();
    device.move_to(&hardware.open()?)?;
    let batch = batch(1)?;
    let [expected, found] = [&host, &device].map(|model| model.logits(batch.ids(), CONTEXT));
    let logits = distance(&found?, &expected?).map_err(models::Error::from)?;
    let scale = 1.0 / batch.target_count() as f64;
    let ((_, expected), (_, found)) = (host.gradients(&batch, scale)?, device.gradients(&batch, scale)?);
    let whole = expected.norm()?;
    let mut gradients: f64 = 0.0;
    for (id, parameter) in host.parameters().iter() {
        if let (Some(expected), Some(found)) = (expected.get(id), found.get(id)) {
            let size = expected.sqr().and_then(|s| s.sum_all()).and_then(|s| s.to_scalar::<f32>());
            // Key biases have no gradient but rounding under learned positions.
            if f64::from(size.map_err(models::Error::from)?).sqrt() > 1e-6 * whole {
                let off = distance(found, expected).map_err(models::Error::from)?;
                // `max` would pass over a NaN.
                gradients = if off > gradients || off.is_nan() { off } else { gradients };
            }
        } else {
            return Err(ExperimentError::value("parity", &parameter.name, "a gradient on both devices"));
        }
    }
    Ok(vec![
        (format!("{name}: logits in f32"), logits, EXACT),
        (format!("{name}: the gradient that is furthest off, in f32"), gradients, EXACT),
    ])
}

fn losses(config: &ModelConfig, hidden: RuleConfig, hardware: Hardware, precision: Precision) -> Result<Vec<f64>> {
    let mut model = Transformer::new(config, 1)?;
    model.parameters_mut().set_precision(precision);
    model.move_to(&hardware.open()?)?;
    let rest = RuleConfig::AdamW(AdamW::default());
    let mut optimizer = Optimizer::new(model.parameters_mut(), &Policy { hidden, ..Policy::uniform(rest, 1e-3) })?;
    let step = |i| Ok(train_step(&mut model, &mut optimizer, &[batch(i)?], Some(1.0), 1.0)?.loss);
    (0..STEPS as u64).map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_agrees_with_itself_and_the_table_says_so() {
        let (_, config) = &networks()[1];
        let rows = exact_rows("Llama", config, Hardware::Cpu).unwrap();
        assert!(rows.iter().all(|(_, off, _)| *off == 0.0), "{rows:?}");
        assert_ne!(batch(1).unwrap(), batch(2).unwrap());
    }
}
