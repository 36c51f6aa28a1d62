//! What a network knows: answers to questions, and the spectra of its weights.

use models::{Role, Transformer};
use serde::{Deserialize, Serialize};
use synthetic_lm::language::{Probe, Token};
use synthetic_lm::metrics::{self, Response};
use theory::linalg::singular_values_of;

use super::data::Questions;
use crate::error::Result;

/// Questions that run through the network together.
const ROWS: usize = 128;

/// A point of a run. Accuracies are shares of questions, losses nats per answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps done.
    pub step: u64,
    /// Mean loss on the answers of training documents: facts and training instances by their shares.
    pub training_loss: f64,
    /// The share of them that are answered rightly.
    pub training_accuracy: f64,
    /// Accuracy on facts; none without facts.
    pub facts: Option<f64>,
    /// Bits about the facts' values that the network holds, a fact.
    pub bits: f64,
    /// Accuracy on training instances that follow the rule.
    pub seen: f64,
    /// On exceptions, the share of answers that are the label seen in training; none without exceptions.
    pub exceptions: Option<f64>,
    /// Accuracy on validation instances.
    pub validation: f64,
    /// Accuracy on test instances.
    pub test: f64,
    /// Loss on test instances.
    pub test_loss: f64,
}

/// The network's answers. An answer is judged token by token after the right ones before it, which finds the same
/// answers to be right as greedy decoding does.
fn respond(network: &Transformer, probes: &[Probe]) -> Result<Vec<Response>> {
    let mut responses = Vec::with_capacity(probes.len());
    for chunk in probes.chunks(ROWS) {
        // Documents of one group are equally long, and the last token of an answer is only predicted.
        let time = chunk[0].answer.end - 1;
        let ids: Vec<u32> = chunk.iter().flat_map(|probe| probe.tokens[..time].iter().map(|&t| t.into())).collect();
        let logits: Vec<Vec<f32>> = network.logits(&ids, time)?.to_vec2().map_err(models::Error::from)?;
        for (probe, rows) in chunk.iter().zip(logits.chunks(time)) {
            let mut response = Response { predicted: Vec::with_capacity(probe.answer.len()), loss: 0.0 };
            for (logits, &token) in rows[probe.answer.start - 1..].iter().zip(probe.label()) {
                let (predicted, loss) = read(logits, token);
                response.predicted.push(predicted);
                response.loss += loss;
            }
            responses.push(response);
        }
    }
    Ok(responses)
}

/// The most probable token (of equal ones the lowest), and -ln P of the right one.
fn read(logits: &[f32], right: Token) -> (Token, f64) {
    let (mut best, mut top) = (0, f32::NEG_INFINITY);
    for (token, &logit) in logits.iter().enumerate() {
        if logit > top {
            (best, top) = (token, logit);
        }
    }
    let total: f64 = logits.iter().map(|&logit| f64::from(logit - top).exp()).sum();
    (best as Token, total.ln() + f64::from(top - logits[usize::from(right)]))
}

impl Questions {
    /// Asks all of them; `blind` is the loss on a fact's value without knowing it.
    pub(super) fn ask(&self, network: &Transformer, step: u64, blind: f64) -> Result<Point> {
        let [facts, seen, exceptions, validation, test] =
            [&self.facts, &self.seen, &self.exceptions, &self.validation, &self.test]
                .map(|probes| respond(network, probes));
        let (facts, seen, exceptions, validation, test) = (facts?, seen?, exceptions?, validation?, test?);
        let known = metrics::memorisation(&self.facts, &facts, blind, 1);
        // Exceptions are training documents too: the pool is both, by their numbers.
        let pool = (seen.len() + exceptions.len()) as f64;
        let mix = |on_facts: f64, on_seen: f64, on_exceptions: f64| {
            let pattern = (seen.len() as f64 * on_seen + exceptions.len() as f64 * on_exceptions) / pool;
            self.fact_share * on_facts + (1.0 - self.fact_share) * pattern
        };
        let on_seen = metrics::accuracy(&self.seen, &seen);
        let on_exceptions = metrics::accuracy(&self.exceptions, &exceptions);
        Ok(Point {
            step,
            training_loss: mix(metrics::mean_loss(&facts), metrics::mean_loss(&seen), metrics::mean_loss(&exceptions)),
            training_accuracy: mix(known.accuracy, on_seen, on_exceptions),
            facts: (!self.facts.is_empty()).then_some(known.accuracy),
            bits: known.bits / self.facts.len().max(1) as f64,
            seen: on_seen,
            exceptions: metrics::conflict(&self.exceptions, &exceptions).map(|conflict| conflict.label),
            validation: metrics::accuracy(&self.validation, &validation),
            test: metrics::accuracy(&self.test, &test),
            test_loss: metrics::mean_loss(&test),
        })
    }
}

/// Singular values of the hidden matrices, each matrix's divided by its largest, descending, and averaged over the
/// matrices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spectrum {
    /// The mean of the normalised singular values, place by place.
    pub normalised: Vec<f64>,
    /// Mean over the matrices of exp(entropy of the singular values' shares), as a share of the number of singular
    /// values: 1 for an orthogonal matrix.
    pub effective_rank: f64,
}

/// The spectrum of a network whose hidden matrices all have the residual stream on one side, hence equally many
/// singular values.
pub(super) fn spectrum(network: &Transformer) -> Result<Spectrum> {
    let mut sum = vec![0.0; network.config().width];
    let (mut rank, mut matrices) = (0.0, 0.0);
    for (_, parameter) in network.parameters().iter().filter(|(_, p)| matches!(p.role, Role::HiddenMatrix(_))) {
        let &[rows, columns] = parameter.value.dims() else { continue };
        let values: Vec<f32> = parameter.value.flatten_all().and_then(|v| v.to_vec1()).map_err(models::Error::from)?;
        let singular = singular_values_of(rows, columns, values.into_iter().map(f64::from).collect())?;
        rank += effective_rank(&singular);
        matrices += 1.0;
        for (sum, value) in sum.iter_mut().zip(&singular) {
            *sum += value / singular[0];
        }
    }
    Ok(Spectrum { normalised: sum.iter().map(|sum| sum / matrices).collect(), effective_rank: rank / matrices })
}

/// exp(entropy) of the shares of the singular values (Roy and Vetterli, 2007), over their number.
fn effective_rank(singular: &[f64]) -> f64 {
    let total: f64 = singular.iter().sum();
    let shares = singular.iter().map(|value| value / total).filter(|&share| share > 0.0);
    shares.map(|share| -share * share.ln()).sum::<f64>().exp() / singular.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_the_logarithm_of_the_softmax() {
        let (predicted, loss) = read(&[0.0, 2.0, 2.0], 0);
        assert_eq!(predicted, 1);
        assert!((loss - (1.0 + 2.0 * f64::exp(2.0)).ln()).abs() < 1e-6);
    }

    #[test]
    fn effective_rank_is_one_for_equal_values_and_least_for_a_single_one() {
        assert!((effective_rank(&[2.0; 8]) - 1.0).abs() < 1e-12);
        assert!((effective_rank(&[3.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-12);
    }
}
