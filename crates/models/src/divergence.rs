//! How far a model's predictions are from another's.

use crate::batch::Batch;
use crate::ops::IGNORE;
use crate::transformer::Transformer;
use crate::{Error, Result};

/// Tokens whose logits are there at a time.
const ROWS: usize = 256;

/// The mean over all target tokens of `batches` of KL(p || q) in nats, p what `base` predicts there and q what `model`
/// does. The targets themselves play no part. Logits are `f32`, the rest `f64`.
///
/// # Errors
/// [`Error::NoTargets`] if there is none, and those of [`Transformer::hidden`].
pub fn mean_divergence(base: &Transformer, model: &Transformer, batches: &[Batch]) -> Result<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for batch in batches {
        let hidden = [base, model].map(|network| network.hidden(batch.ids(), batch.time()));
        let [of_base, of_model] = hidden;
        let (of_base, of_model) = (of_base?, of_model?);
        for first in (0..batch.ids().len()).step_by(ROWS) {
            let length = ROWS.min(batch.ids().len() - first);
            let targets = &batch.targets()[first..first + length];
            if targets.iter().all(|&target| target == IGNORE) {
                continue;
            }
            let logits = |network: &Transformer, hidden: &candle_core::Tensor| -> Result<Vec<Vec<f32>>> {
                Ok(network.head(&hidden.narrow(0, first, length)?.contiguous()?)?.to_vec2()?)
            };
            let (p, q) = (logits(base, &of_base)?, logits(model, &of_model)?);
            for ((p, q), _) in p.iter().zip(&q).zip(targets).filter(|(_, target)| **target != IGNORE) {
                sum += divergence(p, q);
                count += 1;
            }
        }
    }
    match count {
        0 => Err(Error::NoTargets),
        _ => Ok(sum / f64::from(count)),
    }
}

/// KL(softmax(p) || softmax(q)).
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let most = |logits: &[f32]| f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let (most_p, most_q) = (most(p), most(q));
    let (mut sum_p, mut sum_q, mut mean) = (0.0, 0.0, 0.0);
    for (&p, &q) in p.iter().zip(q) {
        let (p, q) = (f64::from(p) - most_p, f64::from(q) - most_q);
        let weight = p.exp();
        sum_p += weight;
        sum_q += q.exp();
        mean += weight * (p - q);
    }
    mean / sum_p - sum_p.ln() + sum_q.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConfig;

    #[test]
    fn divergence_by_hand() {
        // p = (1/2, 1/2), q = (1/4, 3/4), whatever is added to the logits.
        let expected = 0.5 * 2f64.ln() + 0.5 * (2.0 / 3.0f64).ln();
        let found = divergence(&[3.0, 3.0], &[-5.0, -5.0 + 3f32.ln()]);
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        assert!(divergence(&[1.0, -2.0, 80.0], &[1.0, -2.0, 80.0]).abs() < 1e-12);
    }

    #[test]
    fn a_model_is_at_no_distance_from_itself_and_tokens_without_a_target_do_not_count() {
        let [a, b] = [1, 2].map(|seed| Transformer::new(&ModelConfig::llama(19, 8, 1, 16, 4, 2), seed).unwrap());
        let batch = |targets: Vec<u32>| [Batch::new(vec![1, 2, 3, 4, 5, 6, 7, 8], targets, 4).unwrap()];
        let all = batch(vec![1; 8]);
        assert!(mean_divergence(&a, &a, &all).unwrap().abs() < 1e-9);
        let whole = mean_divergence(&a, &b, &all).unwrap();
        assert!(whole > 0.0);
        let half = |keep: fn(usize) -> bool| {
            let targets = (0..8).map(|i| if keep(i) { 1 } else { IGNORE }).collect();
            mean_divergence(&a, &b, &batch(targets)).unwrap()
        };
        let mean = 0.5 * (half(|i| i < 4) + half(|i| i >= 4));
        assert!((whole - mean).abs() < 1e-9, "{whole} {mean}");
        assert!(mean_divergence(&a, &b, &batch(vec![IGNORE; 8])).is_err());
    }
}
