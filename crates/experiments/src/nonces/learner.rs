//! One finetuning in memory: from a checkpoint's weights through all epochs.

use std::collections::BTreeSet;

use lab::seeds;
use models::data::BatchSource as _;
use models::optim::{Optimizer, Policy};
use models::{Transformer, train_step};
use serde::{Deserialize, Serialize};
use synthetic_lm::language::{LanguageConfig, Nonces};

use super::data::{Epochs, Questions, language_of};
use super::preset::{Cell, NoncesPreset};
use crate::error::Result;
use crate::stages::{Judge, Training};

/// What all finetunings of a cell and seed share.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Lesson {
    pub(super) language: LanguageConfig,
    pub(super) examples: usize,
    pub(super) nonces: Nonces,
    pub(super) training: Training,
    pub(super) measured: Vec<u64>,
    pub(super) probes: usize,
    /// It fixes language, examples, nonces and order.
    pub(super) seed: u64,
}

impl Lesson {
    pub(super) fn new(preset: &NoncesPreset, cell: Cell, seed: u64) -> Self {
        Self {
            language: preset.language(),
            examples: cell.examples,
            nonces: preset.nonces_of(cell.nonces),
            training: preset.training(cell.examples),
            measured: preset.finetune.measured.clone(),
            probes: preset.probes,
            seed,
        }
    }

    /// What it costs, in tokens.
    pub(super) fn cost(&self) -> u64 {
        // About: documents have a handful of tokens beside their nonces.
        self.training.tokens(8 + self.nonces.count)
    }

    /// Examples and questions.
    pub(super) fn questions(&self) -> Result<Questions> {
        let language = language_of(&self.language, self.seed)?;
        Questions::draw(&language, self.examples, self.nonces, self.probes, self.seed)
    }

    /// Finetunes a network on the examples of `questions`; `observe` is called before the first step and after the
    /// epochs that are measured. Returns whether the run came to its end.
    pub(super) fn teach(
        &self,
        network: &mut Transformer,
        policy: &Policy,
        questions: &Questions,
        mut observe: impl FnMut(u64, &Transformer) -> Result<()>,
    ) -> Result<bool> {
        let Self { training, .. } = self;
        let mut optimizer = Optimizer::new(network.parameters_mut(), policy)?;
        let mut source = Epochs { examples: &questions.examples, seed: seeds::stream(self.seed, "finetuning order") };
        let (schedule, vocabulary, mut judge) = (training.schedule(), network.config().vocabulary, Judge::new());
        let each = self.examples.div_ceil(training.sequences) as u64;
        let measured: BTreeSet<u64> = self.measured.iter().copied().collect();
        observe(0, network)?;
        for step in 0..training.steps {
            let batch = source.batch(step, training.sequences)?;
            let multiplier = schedule.multiplier(step);
            let report = train_step(network, &mut optimizer, &[batch], Some(training.clip), multiplier)?;
            if judge.diverges(report.loss, vocabulary) || !report.is_finite() {
                return Ok(false);
            }
            let epoch = (step + 1) / each;
            if (step + 1).is_multiple_of(each) && measured.contains(&epoch) {
                observe(epoch, network)?;
            }
        }
        Ok(true)
    }
}

/// A measurement along a finetuning. Accuracies are shares of answers, recall is a share of nonces, losses are in nats
/// for an answer and for a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Epochs done.
    pub epoch: u64,
    /// Loss on the examples' answers.
    pub loss: f64,
    /// Accuracy on the examples' answers.
    pub seen: f64,
    /// Share of the examples' nonces that are known; none without nonces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    /// Loss on the examples' nonces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce_loss: Option<f64>,
    /// Accuracy on test instances.
    pub test: f64,
    /// Accuracy on the same with the opening that no example has.
    pub asked: f64,
    /// Accuracy on the pretraining's facts.
    pub facts: f64,
    /// Accuracy on the pretraining's rules.
    pub rules: f64,
}

impl Point {
    pub(super) fn measure(questions: &Questions, nonces: usize, epoch: u64, network: &Transformer) -> Result<Self> {
        let (seen, recalled) = (questions.seen(network)?, questions.recalled(network)?);
        Ok(Self {
            epoch,
            loss: rounded(seen.loss),
            seen: rounded(seen.right),
            recall: recalled.map(|score| rounded(score.tokens)),
            nonce_loss: recalled.map(|score| rounded(score.loss / nonces as f64)),
            test: rounded(questions.test(network)?.right),
            asked: rounded(questions.test_asked(network)?.right),
            facts: rounded(questions.facts(network)?.right),
            rules: rounded(questions.rules(network)?),
        })
    }

    /// Whether all of it is a number, as JSON needs it.
    pub(super) fn is_finite(&self) -> bool {
        (self.loss + self.nonce_loss.unwrap_or(0.0)).is_finite()
    }
}

/// To six digits after the point: there are many of these numbers, and no more of their digits says anything.
pub(super) fn rounded(x: f64) -> f64 {
    (x * 1e6).round() / 1e6
}
