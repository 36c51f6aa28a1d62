//! The stage of a reported finetuning.

use lab::error::Failure;
use lab::stage::{Curve, Stage, Work};
use lab::store::StageId;
use models::optim::Policy;
use serde::{Deserialize, Serialize};

use super::learner::{Lesson, Point, rounded};
use crate::stages::plausible::{losses, shares};
use crate::stages::{Network, NetworkKey};

/// A finetuning from one checkpoint, measured along the way.
#[derive(Debug, Clone)]
pub struct Finetuning {
    /// The pretraining's and the finetuner's names, for people.
    pub names: [&'static str; 2],
    /// The finetuner's rate, for people.
    pub rate: f64,
    /// The stage that keeps the checkpoint.
    pub checkpoint: StageId,
    /// Its shape.
    pub network: Network,
    /// What is taught.
    pub(super) lesson: Lesson,
    /// Which weights are trained with which rule.
    pub policy: Policy,
}

/// What a finetuning led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finetuned {
    /// Measurements, the first before the first step.
    pub curve: Vec<Point>,
    /// Whether it came to its end.
    pub ended: bool,
    /// Loss on nonces behind test instances at the end, in nats for a nonce; none without nonces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind: Option<f64>,
}

impl Finetuned {
    /// The measurement at the end; none if the run diverged.
    pub fn end(&self) -> Option<&Point> {
        self.curve.last().filter(|_| self.ended)
    }
}

/// What decides the result beside the checkpoint.
#[derive(Debug, Serialize)]
pub struct FinetuningKey {
    network: NetworkKey,
    lesson: Lesson,
    policy: Policy,
}

impl Stage for Finetuning {
    const KIND: &'static str = "nonces-finetune";
    const SEMANTICS: u32 = 1;
    type Key = FinetuningKey;
    type Output = Finetuned;

    fn key(&self) -> FinetuningKey {
        FinetuningKey { network: self.network.key(), lesson: self.lesson.clone(), policy: self.policy.clone() }
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.checkpoint.clone()]
    }

    fn label(&self) -> String {
        let ([from, with], Lesson { examples, nonces, seed, .. }) = (self.names, &self.lesson);
        let (rate, nonces) = (self.rate, nonces.count);
        format!("finetune {from} with {with} at {rate} on {examples} examples with {nonces} nonces seed {seed}")
    }

    fn cost(&self) -> u64 {
        self.lesson.cost()
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<Finetuned, Failure> {
        let mut network = self.network.load(&work.input(&self.checkpoint)?)?;
        let (questions, nonces) = (self.lesson.questions()?, self.lesson.nonces.count);
        let mut curve = Vec::new();
        let ended = self.lesson.teach(&mut network, &self.policy, &questions, |epoch, network| {
            let point = Point::measure(&questions, nonces, epoch, network)?;
            // JSON has no numbers but finite ones.
            curve.extend(Some(point).filter(Point::is_finite));
            Ok(())
        })?;
        work.advance(self.cost());
        let ended = ended && curve.last().is_some_and(|point| Some(&point.epoch) == self.lesson.measured.last());
        let blind = if ended { questions.blind(&network)? } else { None };
        let blind = blind.map(|score| rounded(score.loss / nonces as f64)).filter(|loss| loss.is_finite());
        Ok(Finetuned { curve, ended, blind })
    }

    fn summary(output: &Finetuned) -> String {
        match output.end() {
            None => "diverged".into(),
            Some(end) => {
                let recall = end.recall.map_or(String::new(), |share| format!("nonces {share:.2}, "));
                format!("{recall}test {:.2}, facts {:.2}", end.test, end.facts)
            }
        }
    }

    fn check(output: &Finetuned) -> Result<(), String> {
        output.curve.iter().try_for_each(|point| {
            losses(point.nonce_loss.into_iter().chain([point.loss]))?;
            shares(point.recall.into_iter().chain([point.seen, point.test, point.asked, point.facts, point.rules]))
        })
    }

    fn curves(output: &Finetuned) -> Vec<Curve> {
        let curve = |tag: &str, read: fn(&Point) -> Option<f64>| Curve {
            tag: tag.into(),
            points: output.curve.iter().filter_map(|point| Some((point.epoch, read(point)?))).collect(),
        };
        let curves = [
            curve("accuracy/nonces", |p| p.recall),
            curve("accuracy/held-out instances", |p| Some(p.test)),
            curve("accuracy/facts of the pretraining", |p| Some(p.facts)),
        ];
        curves.into_iter().filter(|curve| !curve.points.is_empty()).collect()
    }
}
