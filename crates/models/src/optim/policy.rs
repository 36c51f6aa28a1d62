//! Which optimizer takes which parameters.

use serde::{Deserialize, Serialize};

use super::{Group, RuleConfig, in_range};
use crate::parameters::{Parameter, Parameters, Role};
use crate::{Error, Result};

/// Which of the model's own weights are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All weights.
    All,
    /// The matrices inside the blocks only.
    HiddenMatrices,
    /// The adapters that LoRA added only.
    Adapters,
}

/// Rules and learning rates by role. Weight decay applies to matrices and embeddings, never to gains and biases.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// What is trained.
    pub scope: Scope,
    /// The rule of the blocks' matrices, and of LoRA's factors.
    pub hidden: RuleConfig,
    /// Its learning rate.
    pub hidden_rate: f64,
    /// The rule of everything else.
    pub rest: RuleConfig,
    /// The learning rate of embeddings, positions and an untied head.
    pub embedding_rate: f64,
    /// The learning rate of gains and biases.
    pub vector_rate: f64,
}

/// The kinds of group that a policy makes.
const GROUPS: [&str; 4] = ["hidden matrices", "embeddings and head", "gains and biases", "LoRA factors"];

impl Policy {
    /// One rule and one learning rate for all weights.
    pub fn uniform(rule: RuleConfig, rate: f64) -> Self {
        Self { scope: Scope::All, hidden: rule, hidden_rate: rate, rest: rule, embedding_rate: rate, vector_rate: rate }
    }

    fn group_of(&self, parameter: &Parameter) -> Option<usize> {
        let group = match parameter.role {
            Role::HiddenMatrix => 0,
            Role::TokenEmbedding | Role::PositionEmbedding | Role::Head => 1,
            Role::Gain | Role::Bias => 2,
            Role::LoraA | Role::LoraB => 3,
        };
        let taken = match self.scope {
            Scope::All => group != 3,
            Scope::HiddenMatrices => group == 0,
            Scope::Adapters => group == 3,
        };
        taken.then_some(group)
    }

    pub(super) fn groups(&self, parameters: &Parameters) -> Result<Vec<Group>> {
        let settings = [
            (self.hidden, self.hidden_rate),
            (self.rest, self.embedding_rate),
            (self.rest.without_decay(), self.vector_rate),
            (self.hidden, self.hidden_rate),
        ];
        if matches!(self.rest, RuleConfig::Muon(_)) {
            return Err(Error::config("rest", "muon", "a rule for embeddings and vectors: adamw or sgd"));
        }
        let mut groups = Vec::new();
        for (i, (config, rate)) in settings.into_iter().enumerate() {
            in_range("learning-rate", rate, 0.0..f64::INFINITY)?;
            let members: Vec<_> =
                parameters.iter().filter(|(_, p)| self.group_of(p) == Some(i)).map(|(id, _)| id).collect();
            if !members.is_empty() {
                groups.push(Group { name: GROUPS[i], rule: config.rule()?, learning_rate: rate, members });
            }
        }
        if groups.is_empty() {
            return Err(Error::config("scope", format!("{:?}", self.scope), "one that trains something in this model"));
        }
        Ok(groups)
    }
}
