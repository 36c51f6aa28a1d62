//! The stage that pretrains a network on facts and rules.

use lab::error::Failure;
use lab::seeds;
use lab::stage::{Curve, Stage, Work};
use models::checkpoint;
use models::optim::{Optimizer, Policy};
use serde::{Deserialize, Serialize};
use synthetic_lm::language::{LanguageConfig, Nonces};

use super::data::{PretrainingRows, Questions, language_of};
use super::learner::rounded;
use super::preset::{NoncesPreset, PretrainerPreset};
use crate::error::Result;
use crate::stages::plausible::shares;
use crate::stages::{Network, NetworkKey, Trained, Training};

/// One pretraining, which keeps its weights.
#[derive(Debug, Clone)]
pub struct Pretraining {
    /// Its optimizer's name, for people.
    pub optimizer: &'static str,
    /// The language.
    pub language: LanguageConfig,
    /// Share of the rules' documents that open with the token that asks.
    pub asked_share: f64,
    /// The network.
    pub network: Network,
    /// Which weights are trained with which rule.
    pub policy: Policy,
    /// The loop.
    pub training: Training,
    /// Measurements along the run.
    pub curve_points: u64,
    /// Most questions of a kind.
    pub probes: usize,
    /// It fixes language, initial weights and order.
    pub seed: u64,
}

/// A measurement along a pretraining.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// Steps done.
    pub step: u64,
    /// Accuracy on facts.
    pub facts: f64,
    /// Accuracy on held-out instances of the rules.
    pub rules: f64,
}

/// What a pretraining led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pretrained {
    /// Measurements along the run.
    pub curve: Vec<Learned>,
    /// Whether it diverged.
    pub diverged: bool,
}

/// What decides the result.
#[derive(Debug, Serialize)]
pub struct PretrainingKey {
    language: LanguageConfig,
    asked_share: f64,
    network: NetworkKey,
    policy: Policy,
    training: Training,
    curve_points: u64,
    probes: usize,
    seed: u64,
}

impl Pretraining {
    pub(super) fn new(preset: &NoncesPreset, pretrainer: &PretrainerPreset, seed: u64) -> Result<Self> {
        Ok(Self {
            optimizer: pretrainer.name.as_str(),
            language: preset.language(),
            asked_share: preset.language.asked_share,
            network: preset.network()?,
            policy: preset.pretraining_policy(pretrainer),
            training: preset.pretrain.training(preset.steps),
            curve_points: preset.pretrain.curve_points,
            probes: preset.probes,
            seed,
        })
    }
}

impl Stage for Pretraining {
    const KIND: &'static str = "nonces-pretrain";
    const SEMANTICS: u32 = 1;
    type Key = PretrainingKey;
    type Output = Pretrained;

    fn key(&self) -> PretrainingKey {
        PretrainingKey {
            language: self.language.clone(),
            asked_share: self.asked_share,
            network: self.network.key(),
            policy: self.policy.clone(),
            training: self.training,
            curve_points: self.curve_points,
            probes: self.probes,
            seed: self.seed,
        }
    }

    fn label(&self) -> String {
        format!("pretrain {} on facts and rules seed {}", self.optimizer, self.seed)
    }

    fn cost(&self) -> u64 {
        self.training.tokens(self.network.config.context)
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<Pretrained, Failure> {
        let (training, context) = (&self.training, self.network.config.context);
        let language = language_of(&self.language, self.seed)?;
        let mut network = self.network.build(seeds::stream(self.seed, "initial weights"))?;
        let optimizer = Optimizer::new(network.parameters_mut(), &self.policy)?;
        let mut trained: Trained<Learned> = Trained::new(network, optimizer);
        trained.resume(work, training, context)?;
        let seed = seeds::stream(self.seed, "order");
        let mut source = PretrainingRows { language: &language, context, asked: self.asked_share, seed };
        // Examples and nonces are none of the pretraining's.
        let none = Nonces { count: 0, alphabet: 2 };
        let questions = Questions::draw(&language, 1, none, self.probes, self.seed)?;
        let interval = (training.steps / self.curve_points.max(1)).max(1);
        trained.train(work, &mut source, training, |step, network| {
            if !(step.is_multiple_of(interval) || step == training.steps) {
                return Ok(None);
            }
            let (facts, rules) = (questions.facts(network)?.right, questions.rules(network)?);
            Ok(Some(Learned { step, facts: rounded(facts), rules: rounded(rules) }))
        })?;
        work.files().write_with(checkpoint::WEIGHTS, |path| checkpoint::save_weights(&trained.model, path))?;
        Ok(Pretrained { curve: trained.points, diverged: trained.diverged })
    }

    fn summary(output: &Pretrained) -> String {
        match output.curve.last() {
            Some(end) if !output.diverged => format!("facts {:.2}, rules {:.2}", end.facts, end.rules),
            _ => "diverged".into(),
        }
    }

    fn check(output: &Pretrained) -> Result<(), String> {
        shares(output.curve.iter().flat_map(|point| [point.facts, point.rules]))
    }

    fn leads_on(output: &Pretrained) -> bool {
        !output.diverged
    }

    fn curves(output: &Pretrained) -> Vec<Curve> {
        let curve = |tag: &str, read: fn(&Learned) -> f64| Curve {
            tag: tag.into(),
            points: output.curve.iter().map(|point| (point.step, read(point))).collect(),
        };
        vec![curve("accuracy/facts", |p| p.facts), curve("accuracy/held-out instances of rules", |p| p.rules)]
    }
}
