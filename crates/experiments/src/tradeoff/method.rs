//! How checkpoints are finetuned: what all methods share, and what each has of its own.

use models::lora::LoraConfig;
use models::optim::{Hyperparameters, Policy, RuleName, Scope};
use models::schedule::Decay;
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};
use crate::parts::checks::{
    MOST_DRAWN, at_least, cooldown, not_negative, positive, rates, sequences, share, steps, within,
};
use crate::parts::{hyperparameters, is_default};
use crate::stages::Training;

/// Finetuning, common to all methods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FinetunePreset {
    /// Steps.
    pub steps: u64,
    /// Sequences of a step.
    pub sequences: usize,
    /// As in pretraining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Schedule after the warmup; to zero, so that end points can be compared.
    pub decay: Decay,
    /// Share of the steps that warm up.
    pub warmup: f64,
    /// Bound on the gradient's norm.
    pub clip: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// As in pretraining, and apart from it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub optimizers: Hyperparameters,
    /// What full finetuning trains.
    pub scope: FinetuneScope,
    /// The optimizer's state at the start.
    pub state: InitialState,
    /// The learning rate of the weights that a rule for matrices leaves to AdamW, as a share of its own.
    pub rest_share: f64,
    /// Points along a run at which both losses are measured, for the figure only.
    pub along: u64,
    /// Whether the finetuned weights are kept in the run store.
    pub keep_weights: bool,
    /// Whether the adapters of LoRA are kept, as the PEFT library opens them, in place of weights that they are merged
    /// into.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keep_adapters: bool,
}

/// What full finetuning trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinetuneScope {
    /// All weights.
    All,
    /// The blocks' matrices only (an ablation).
    HiddenMatrices,
}

/// The optimizer's state at the start of finetuning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitialState {
    /// Zero.
    Fresh,
    /// Pretraining's, where the optimizer is the same; zero elsewhere.
    Carried,
}

/// A finetuning method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MethodPreset {
    /// Its name in results: an optimizer's, or `lora-RANK`.
    pub name: String,
    /// The optimizer.
    pub optimizer: RuleName,
    /// The rank, for LoRA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora_rank: Option<usize>,
    /// LoRA's alpha: the adapters' output is multiplied by alpha / rank. Twice the rank if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora_alpha: Option<f64>,
    /// The learning rate of the weights that a rule for matrices leaves to AdamW, as a share of its own.
    /// `finetune.rest-share` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_share: Option<f64>,
    /// The variant that this method belongs to: a way to finetune that differs from the preset's in one of the four
    /// fields below. Methods of a variant are compared with one another and take no part in the verdicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What a method of a variant trains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<FinetuneScope>,
    /// Sequences of a step, in a variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequences: Option<usize>,
    /// The optimizer's state at the start, in a variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<InitialState>,
    /// One learning rate of the weights outside the hidden matrices for all rates of these, in a variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_rate: Option<f64>,
    /// How many of the preset's seeds it is run with, from the first on. All if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u64>,
    /// Learning rates, one run each; `refine` adds others.
    pub rates: Vec<f64>,
}

impl MethodPreset {
    /// The method that is named like its optimizer.
    pub fn of(optimizer: RuleName, rates: &[f64]) -> Self {
        Self {
            name: optimizer.as_str().into(),
            optimizer,
            lora_rank: None,
            lora_alpha: None,
            rest_share: None,
            variant: None,
            scope: None,
            sequences: None,
            state: None,
            rest_rate: None,
            seeds: None,
            rates: rates.to_vec(),
        }
    }

    /// The adapters, for LoRA: on every linear map.
    pub fn lora(&self) -> Option<LoraConfig> {
        let config = LoraConfig::all(self.lora_rank?);
        Some(LoraConfig { alpha: self.lora_alpha.unwrap_or(config.alpha), ..config })
    }

    /// Which weights this method trains with which rule at a learning rate.
    pub fn policy(&self, rate: f64, finetune: &FinetunePreset) -> Policy {
        let (rules, decay) = (&finetune.optimizers, finetune.weight_decay);
        let share = self.rest_share.unwrap_or(finetune.rest_share);
        let in_step = if self.optimizer.matrices_only() { rate * share } else { rate };
        let rest_rate = self.rest_rate.unwrap_or(in_step);
        let scope = match (self.lora_rank, self.scope.unwrap_or(finetune.scope)) {
            (Some(_), _) => Scope::Adapters,
            (None, FinetuneScope::All) => Scope::All,
            (None, FinetuneScope::HiddenMatrices) => Scope::HiddenMatrices,
        };
        let (hidden, rest) = (rules.rule(self.optimizer, decay), rules.rest(self.optimizer, decay));
        Policy::hidden_and_rest(scope, hidden, rate, rest, rest_rate, rest_rate)
    }

    /// The training loop.
    pub fn training(&self, finetune: &FinetunePreset) -> Training {
        let training = finetune.training();
        Training { sequences: self.sequences.unwrap_or(training.sequences), ..training }
    }

    /// Checks every field for a network of so many features.
    pub(super) fn validate(&self, width: usize) -> Result<()> {
        rates(&format!("rates of method {}", self.name), &self.rates)?;
        at_least("methods.seeds", self.seeds.unwrap_or(1), 1)?;
        sequences("methods.sequences", self.sequences.unwrap_or(1))?;
        positive("methods.rest-rate", self.rest_rate.unwrap_or(1.0))?;
        let differs =
            self.scope.is_some() || self.sequences.is_some() || self.state.is_some() || self.rest_rate.is_some();
        match &self.variant {
            None if differs => {
                let expected = format!("the name of a variant, since method {} is finetuned in its own way", self.name);
                return Err(ExperimentError::value("methods.variant", "none", expected));
            }
            Some(variant) if !differs => {
                let expected = "with scope, sequences, state or rest-rate, or no variant";
                return Err(ExperimentError::value("methods.variant", variant, expected));
            }
            _ => {}
        }
        if let Some(share) = self.rest_share {
            positive("methods.rest-share", share)?;
            if !self.optimizer.matrices_only() {
                let expected = format!("none for {}, which takes all weights", self.optimizer);
                return Err(ExperimentError::value("methods.rest-share", share, expected));
            }
        }
        let Some(rank) = self.lora_rank else {
            return match self.lora_alpha {
                Some(alpha) => {
                    Err(ExperimentError::value("methods.lora-alpha", alpha, "none where there is no lora-rank"))
                }
                None => Ok(()),
            };
        };
        if rank == 0 || rank > width {
            return Err(ExperimentError::value("methods.lora-rank", rank, format!("1 to the width, {width}")));
        }
        positive("methods.lora-alpha", self.lora_alpha.unwrap_or(1.0))?;
        if self.optimizer.matrices_only() {
            let expected = "an optimizer that takes all weights, for LoRA";
            return Err(ExperimentError::value("methods.optimizer", self.optimizer, expected));
        }
        Ok(())
    }
}

impl FinetunePreset {
    /// The training loop.
    pub fn training(&self) -> Training {
        Training {
            steps: self.steps,
            sequences: self.sequences,
            micro_batch: self.micro_batch,
            decay: self.decay,
            warmup: self.warmup,
            clip: self.clip,
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        steps("finetune.steps", self.steps)?;
        sequences("finetune.sequences", self.sequences)?;
        sequences("finetune.micro-batch", self.micro_batch.unwrap_or(1))?;
        within("finetune.along", self.along, 0..=MOST_DRAWN)?;
        positive("finetune.clip", self.clip)?;
        positive("finetune.rest-share", self.rest_share)?;
        share("finetune.warmup", self.warmup, true)?;
        not_negative("finetune.weight-decay", self.weight_decay)?;
        hyperparameters("finetune", &self.optimizers)?;
        cooldown("finetune", self.decay)
    }
}
