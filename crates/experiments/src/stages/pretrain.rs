//! The pretraining stage: from tokens to a checkpoint.

use std::sync::Arc;

use lab::error::Failure;
use lab::seeds;
use lab::stage::{Curve, Stage, Work};
use lab::store::StageId;
use models::data::PackedText;
use models::optim::{Optimizer, Policy};
use models::{Batch, Transformer, mean_loss};
use serde::{Deserialize, Serialize};

use super::network::{Network, NetworkKey, keep};
use super::plausible::losses;
use super::tokens::TokenData;
use super::training::{Trained, Training};
use super::{EVALUATION_ROWS, OPTIMIZER};
use crate::error::Result;

/// What a checkpoint is known by; all numbers are finite, since JSON has no others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PretrainResult {
    /// L_pre: mean loss on held-out pretraining text, in nats per token; `None` if the training diverged.
    pub loss: Option<f64>,
    /// Training tokens seen and held-out loss along the way, as long as it was finite.
    pub curve: Vec<(f64, f64)>,
    /// Tokens of a step.
    pub step_tokens: u64,
}

/// One pretraining: a checkpoint and a seed.
#[derive(Debug, Clone)]
pub struct Pretraining {
    /// The checkpoint's name, for people.
    pub name: String,
    /// The network.
    pub network: Network,
    /// Which weights are trained with which rule.
    pub policy: Policy,
    /// The loop.
    pub training: Training,
    /// Points along the way at which the held-out loss is measured.
    pub curve_points: u64,
    /// Held-out windows on which it is measured.
    pub held_out_windows: usize,
    /// It fixes the initial weights and the order of the text.
    pub seed: u64,
    /// The text.
    pub data: Arc<TokenData>,
}

/// What decides the result beside the text.
#[derive(Debug, Serialize)]
pub struct PretrainKey {
    network: NetworkKey,
    policy: Policy,
    training: Training,
    curve_points: u64,
    held_out_windows: usize,
    seed: u64,
}

impl Stage for Pretraining {
    const KIND: &'static str = "pretrain";
    const SEMANTICS: u32 = 4;
    type Key = PretrainKey;
    type Output = PretrainResult;

    fn key(&self) -> PretrainKey {
        PretrainKey {
            network: self.network.key(),
            policy: self.policy.clone(),
            training: self.training,
            curve_points: self.curve_points,
            held_out_windows: self.held_out_windows,
            seed: self.seed,
        }
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.data.id.clone()]
    }

    fn label(&self) -> String {
        format!("pretrain {} seed {}", self.name, self.seed)
    }

    fn cost(&self) -> u64 {
        self.training.tokens(self.network.context())
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<PretrainResult, Failure> {
        let network = self.network.build(seeds::stream(self.seed, "initial weights"))?;
        let on_text = OnText {
            policy: &self.policy,
            training: &self.training,
            curve_points: self.curve_points,
            held_out_windows: self.held_out_windows,
            order: seeds::stream(self.seed, "pretraining order"),
            data: &self.data,
        };
        on_text.train(network, work)
    }

    fn summary(output: &PretrainResult) -> String {
        output.loss.map_or_else(|| "diverged".into(), |loss| format!("held-out loss {loss:.3}"))
    }

    fn check(output: &PretrainResult) -> Result<(), String> {
        losses(output.loss.into_iter().chain(output.curve.iter().map(|&(_, loss)| loss)))
    }

    fn leads_on(output: &PretrainResult) -> bool {
        output.loss.is_some()
    }

    fn curves(output: &PretrainResult) -> Vec<Curve> {
        let step = |tokens: f64| (tokens / output.step_tokens as f64).round() as u64;
        let points = output.curve.iter().map(|&(tokens, loss)| (step(tokens), loss)).collect();
        vec![Curve { tag: "loss/held-out text".into(), points }]
    }
}

/// A training on text, whatever it starts from.
pub(super) struct OnText<'a> {
    pub(super) policy: &'a Policy,
    pub(super) training: &'a Training,
    pub(super) curve_points: u64,
    pub(super) held_out_windows: usize,
    /// Seed of the order of the text.
    pub(super) order: u64,
    pub(super) data: &'a TokenData,
}

impl OnText<'_> {
    /// Trains the network and keeps it, with its optimizer's state and its tokenizer.
    pub(super) fn train(&self, mut network: Transformer, work: &mut Work<'_>) -> Result<PretrainResult, Failure> {
        let Self { training, data, .. } = self;
        let context = network.config().context;
        let optimizer = Optimizer::new(network.parameters_mut(), self.policy)?;
        let mut trained: Trained<(f64, f64)> = Trained::new(network, optimizer);
        trained.resume(work, training, context)?;
        let mut source = PackedText::new(data.prose_train.clone(), context, self.order)?;
        let held_out = held_out(data, context, self.held_out_windows)?;
        let interval = (training.steps / self.curve_points.max(1)).max(1);
        let step_tokens = training.step_tokens(context);
        let observe = |step: u64, network: &Transformer| -> Result<Option<(f64, f64)>> {
            if step == 0 || !(step.is_multiple_of(interval) || step == training.steps) {
                return Ok(None);
            }
            let loss = mean_loss(network, &held_out)?;
            Ok(loss.is_finite().then_some(((step * step_tokens) as f64, loss)))
        };
        trained.train(work, &mut source, training, observe)?;
        let loss = match trained.diverged {
            true => None,
            // The last step may have been the one that made the loss infinite.
            false => Some(mean_loss(&trained.model, &held_out)?).filter(|loss| loss.is_finite()),
        };
        let files = work.files();
        keep(&trained.model, Some(&data.tokenizer), None, files)?;
        files.write_with(OPTIMIZER, |path| trained.optimizer.save(trained.model.parameters(), path))?;
        Ok(PretrainResult { loss, curve: trained.points, step_tokens })
    }
}

/// The held-out pretraining text on which L_pre is measured: so many windows of `context` tokens.
///
/// # Errors
/// If there is less than one window.
pub fn held_out(data: &TokenData, context: usize, windows: usize) -> Result<Vec<Batch>> {
    let text = PackedText::new(data.prose_held_out.clone(), context, 0)?;
    Ok(text.spread(windows, EVALUATION_ROWS)?)
}
