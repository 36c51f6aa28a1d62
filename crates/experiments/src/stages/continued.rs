//! A pretraining that starts from a checkpoint in place of initial weights, with any optimizer, its state fresh.

use std::sync::Arc;

use lab::error::Failure;
use lab::stage::{Curve, Stage, Work};
use lab::store::StageId;
use models::optim::Policy;
use serde::Serialize;

use super::network::{Network, NetworkKey};
use super::pretrain::{OnText, PretrainResult, Pretraining};
use super::tokens::TokenData;
use super::training::Training;

/// A checkpoint that is trained on.
#[derive(Debug, Clone)]
pub struct Continuation {
    /// What it is, for people.
    pub name: String,
    /// The stage that keeps the checkpoint.
    pub checkpoint: StageId,
    /// Its shape.
    pub network: Network,
    /// Which weights are trained with which rule.
    pub policy: Policy,
    /// The loop, with a schedule of its own.
    pub training: Training,
    /// As of a [`Pretraining`].
    pub curve_points: u64,
    /// As of a [`Pretraining`].
    pub held_out_windows: usize,
    /// It fixes the order of the text, another one than the pretraining's.
    pub seed: u64,
    /// The text.
    pub data: Arc<TokenData>,
}

/// What decides the result beside the checkpoint and the text.
#[derive(Debug, Serialize)]
pub struct ContinuationKey {
    network: NetworkKey,
    policy: Policy,
    training: Training,
    curve_points: u64,
    held_out_windows: usize,
    seed: u64,
}

impl Stage for Continuation {
    const KIND: &'static str = "continue";
    const SEMANTICS: u32 = 1;
    type Key = ContinuationKey;
    type Output = PretrainResult;

    fn key(&self) -> ContinuationKey {
        ContinuationKey {
            network: self.network.key(),
            policy: self.policy.clone(),
            training: self.training,
            curve_points: self.curve_points,
            held_out_windows: self.held_out_windows,
            seed: self.seed,
        }
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.checkpoint.clone(), self.data.id.clone()]
    }

    fn label(&self) -> String {
        format!("continue {} seed {}", self.name, self.seed)
    }

    fn cost(&self) -> u64 {
        self.training.tokens(self.network.context())
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<PretrainResult, Failure> {
        let network = self.network.load(&work.input(&self.checkpoint)?)?;
        let on_text = OnText {
            policy: &self.policy,
            training: &self.training,
            curve_points: self.curve_points,
            held_out_windows: self.held_out_windows,
            order: lab::seeds::stream(self.seed, "continuation order"),
            data: &self.data,
        };
        on_text.train(network, work)
    }

    fn summary(output: &PretrainResult) -> String {
        Pretraining::summary(output)
    }

    fn check(output: &PretrainResult) -> Result<(), String> {
        Pretraining::check(output)
    }

    fn leads_on(output: &PretrainResult) -> bool {
        Pretraining::leads_on(output)
    }

    fn curves(output: &PretrainResult) -> Vec<Curve> {
        Pretraining::curves(output)
    }
}
