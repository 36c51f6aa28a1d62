//! Choosing a finetuner's learning rate: the stage that tries every rate on a tuning seed, and the choice.

use lab::error::Failure;
use lab::stage::{Stage, Work};
use lab::store::StageId;
use models::optim::Policy;
use serde::{Deserialize, Serialize};

use super::learner::{Lesson, rounded};
use crate::stages::plausible::{losses, shares};
use crate::stages::{Network, NetworkKey};

/// One finetuning at every rate, from one checkpoint on one tuning seed.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// The pretraining's and the finetuner's names, for people.
    pub names: [&'static str; 2],
    /// The stage that keeps the checkpoint.
    pub checkpoint: StageId,
    /// Its shape.
    pub network: Network,
    /// What is taught.
    pub(super) lesson: Lesson,
    /// Every rate with its policy.
    pub policies: Vec<(f64, Policy)>,
}

/// How a rate did on a tuning seed, at the end of its run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The rate.
    pub rate: f64,
    /// Accuracy on validation instances.
    pub validation: f64,
    /// Loss on them, in nats for an answer.
    pub validation_loss: f64,
    /// Accuracy on the examples' answers.
    pub seen: f64,
    /// Share of the nonces that are known; none without nonces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
}

/// What decides the result beside the checkpoint.
#[derive(Debug, Serialize)]
pub struct TuningKey {
    network: NetworkKey,
    lesson: Lesson,
    policies: Vec<Policy>,
}

impl Stage for Tuning {
    const KIND: &'static str = "nonces-tuning";
    const SEMANTICS: u32 = 1;
    type Key = TuningKey;
    /// A rate whose run diverged is left out.
    type Output = Vec<Tried>;

    fn key(&self) -> TuningKey {
        TuningKey {
            network: self.network.key(),
            lesson: self.lesson.clone(),
            policies: self.policies.iter().map(|(_, policy)| policy.clone()).collect(),
        }
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.checkpoint.clone()]
    }

    fn label(&self) -> String {
        let ([from, with], Lesson { examples, nonces, seed, .. }) = (self.names, &self.lesson);
        format!("try rates of {with} on {examples} examples with {} nonces from {from} seed {seed}", nonces.count)
    }

    fn cost(&self) -> u64 {
        self.lesson.cost() * self.policies.len() as u64
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<Vec<Tried>, Failure> {
        let start = self.network.load(&work.input(&self.checkpoint)?)?;
        let questions = self.lesson.questions()?;
        let mut tried = Vec::new();
        for (rate, policy) in &self.policies {
            let mut network = start.clone();
            let ended = self.lesson.teach(&mut network, policy, &questions, |_, _| Ok(()))?;
            work.advance(self.lesson.cost());
            let (validation, seen) = (questions.validation(&network)?, questions.seen(&network)?);
            if ended && (validation.loss + seen.loss).is_finite() {
                tried.push(Tried {
                    rate: *rate,
                    validation: rounded(validation.right),
                    validation_loss: rounded(validation.loss),
                    seen: rounded(seen.right),
                    recall: questions.recalled(&network)?.map(|score| rounded(score.tokens)),
                });
            }
        }
        Ok(tried)
    }

    fn summary(output: &Vec<Tried>) -> String {
        let best = output.iter().max_by(|a, b| a.validation.total_cmp(&b.validation));
        best.map_or("all diverged".into(), |best| format!("validation {:.2} at {}", best.validation, best.rate))
    }

    fn check(output: &Vec<Tried>) -> Result<(), String> {
        losses(output.iter().map(|one| one.validation_loss))?;
        shares(
            output.iter().flat_map(|one| [one.validation, one.seen]).chain(output.iter().filter_map(|one| one.recall)),
        )
    }
}

/// What the tuning seeds say about a rate: means over them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateScore {
    /// The rate.
    pub rate: f64,
    /// Accuracy on validation instances; a run that diverged has none.
    pub validation: f64,
    /// Loss on them; infinite if a run diverged.
    pub validation_loss: f64,
    /// Accuracy on the examples' answers.
    pub seen: f64,
    /// Share of the nonces that are known.
    pub recall: f64,
}

/// The scores of all rates, from what each tuning seed found.
pub(super) fn scores(rates: &[f64], seeds: &[&Vec<Tried>]) -> Vec<RateScore> {
    let score = |&rate: &f64| {
        let found: Vec<&Tried> = seeds.iter().filter_map(|tried| tried.iter().find(|one| one.rate == rate)).collect();
        let mean = |read: fn(&Tried) -> f64| found.iter().map(|one| read(one)).sum::<f64>() / seeds.len().max(1) as f64;
        let whole = found.len() == seeds.len();
        RateScore {
            rate,
            validation: mean(|one| one.validation),
            validation_loss: if whole { mean(|one| one.validation_loss) } else { f64::INFINITY },
            seen: mean(|one| one.seen),
            recall: mean(|one| one.recall.unwrap_or(0.0)),
        }
    };
    rates.iter().map(score).collect()
}

/// The place of the rate to use, by one rule for every optimizer: the highest accuracy on validation instances; of
/// equals the lowest loss on them, and then the lowest rate. How much of the nonces was recalled plays no part.
pub(super) fn choose(scores: &[RateScore]) -> usize {
    let better = |a: &RateScore, b: &RateScore| {
        a.validation.total_cmp(&b.validation).then(b.validation_loss.total_cmp(&a.validation_loss))
    };
    (0..scores.len()).max_by(|&a, &b| better(&scores[a], &scores[b]).then(b.cmp(&a))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(rate: f64, validation: f64, validation_loss: f64, recall: f64) -> Tried {
        Tried { rate, validation, validation_loss, seen: 1.0, recall: Some(recall) }
    }

    #[test]
    fn validation_decides_and_recall_does_not() {
        let seeds = [
            vec![tried(0.1, 0.5, 1.0, 1.0), tried(0.2, 0.7, 2.0, 0.1), tried(0.3, 0.7, 1.5, 0.0)],
            vec![tried(0.1, 0.5, 1.0, 1.0), tried(0.2, 0.7, 2.0, 0.1), tried(0.3, 0.7, 1.5, 0.0)],
        ];
        let scores = scores(&[0.1, 0.2, 0.3], &seeds.iter().collect::<Vec<_>>());
        // Of equals the one with the lower loss.
        assert_eq!(choose(&scores), 2);
        assert!((scores[1].validation - 0.7).abs() < 1e-12 && (scores[1].recall - 0.1).abs() < 1e-12);
    }

    #[test]
    fn a_run_that_diverged_counts_as_nothing_learned() {
        let seeds = [vec![tried(0.1, 0.4, 1.0, 1.0), tried(0.2, 0.7, 1.0, 1.0)], vec![tried(0.1, 0.4, 1.0, 1.0)]];
        let scores = scores(&[0.1, 0.2], &seeds.iter().collect::<Vec<_>>());
        assert_eq!((scores[1].validation, scores[1].validation_loss), (0.35, f64::INFINITY));
        assert_eq!(choose(&scores), 0);
    }
}
