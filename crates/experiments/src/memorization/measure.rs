//! What a network knows: answers to questions, and the spectra of its weights.

use models::{Role, Transformer};
use serde::{Deserialize, Serialize};
use synthetic_lm::language::{Probe, Token};
use synthetic_lm::metrics::{self, CurvePoint, Response};
use theory::linalg::singular_values_of;

use super::data::Questions;
use crate::error::Result;
use crate::stages::{Asked, answers};

/// Share of the facts at which they count as memorised.
pub const MEMORISED: f64 = 0.9;

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

/// Steps until a share of the facts is known; `None` if it never is, or there are no facts.
pub(super) fn steps_to(curve: &[Point], share: f64) -> Option<f64> {
    let point = |point: &Point| CurvePoint {
        step: point.step as f64,
        loss: point.training_loss,
        value: point.facts.unwrap_or(0.0),
    };
    metrics::time_to_reach(&curve.iter().map(point).collect::<Vec<_>>(), share)
}

/// The network's answers.
fn respond(network: &Transformer, probes: &[Probe]) -> Result<Vec<Response>> {
    let asked: Vec<Asked<'_>> =
        probes.iter().map(|probe| Asked { tokens: &probe.tokens, part: probe.answer.clone() }).collect();
    let response = |tokens: Vec<(Token, f64)>| Response {
        predicted: tokens.iter().map(|&(token, _)| token).collect(),
        loss: tokens.iter().map(|&(_, loss)| loss).sum(),
    };
    Ok(answers(network, &asked)?.into_iter().map(response).collect())
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
pub(crate) fn effective_rank(singular: &[f64]) -> f64 {
    let total: f64 = singular.iter().sum();
    let shares = singular.iter().map(|value| value / total).filter(|&share| share > 0.0);
    shares.map(|share| -share * share.ln()).sum::<f64>().exp() / singular.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_rank_is_one_for_equal_values_and_least_for_a_single_one() {
        assert!((effective_rank(&[2.0; 8]) - 1.0).abs() < 1e-12);
        assert!((effective_rank(&[3.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-12);
    }
}
