//! Which optimizer takes which parameters.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Group, RuleConfig, in_range};
use crate::parameters::{Parameter, Parameters, Part, Role};
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

/// Which of the blocks' matrices the `hidden` rule of a [`Policy`] takes, where it does not take all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Split {
    /// The part whose matrices it takes.
    pub only: Part,
    /// The learning rate of the other part's matrices, by the `rest` rule.
    pub other_rate: f64,
}

/// Rules and learning rates by role. Weight decay applies to matrices and embeddings, never to gains and biases.
#[derive(Clone, Copy, PartialEq)]
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
    /// Whether the `hidden` rule takes only some of the blocks' matrices.
    pub split: Option<Split>,
}

/// As derived, but without a split that is not there: ids of stages are made of this text.
impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, hidden, hidden_rate, rest, embedding_rate, vector_rate, split } = self;
        let mut text = f.debug_struct("Policy");
        text.field("scope", scope).field("hidden", hidden).field("hidden_rate", hidden_rate);
        text.field("rest", rest).field("embedding_rate", embedding_rate).field("vector_rate", vector_rate);
        if let Some(split) = split {
            text.field("split", split);
        }
        text.finish()
    }
}

/// The kinds of group that a policy makes.
const GROUPS: [&str; 5] =
    ["hidden matrices", "embeddings and head", "gains and biases", "LoRA factors", "other hidden matrices"];

impl Policy {
    /// One rule and one learning rate for all weights.
    pub fn uniform(rule: RuleConfig, rate: f64) -> Self {
        let (hidden, rest) = (rule, rule);
        let (hidden_rate, embedding_rate, vector_rate) = (rate, rate, rate);
        Self { scope: Scope::All, hidden, hidden_rate, rest, embedding_rate, vector_rate, split: None }
    }

    fn group_of(&self, parameter: &Parameter) -> Option<usize> {
        let group = match parameter.role {
            Role::HiddenMatrix(part) if self.split.is_some_and(|split| split.only != part) => 4,
            Role::HiddenMatrix(_) => 0,
            Role::TokenEmbedding | Role::PositionEmbedding | Role::Head => 1,
            Role::Gain | Role::Bias => 2,
            Role::LoraA | Role::LoraB => 3,
        };
        let taken = match self.scope {
            Scope::All => group != 3,
            Scope::HiddenMatrices => group == 0 || group == 4,
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
            (self.rest, self.split.map_or(0.0, |split| split.other_rate)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::Sgd;
    use crate::{ModelConfig, Transformer};

    #[test]
    fn a_split_stands_in_the_text_only_where_there_is_one() {
        let whole = Policy::uniform(RuleConfig::Sgd(Sgd::default()), 0.1);
        let rule = "Sgd(Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 })";
        let fields = format!(
            "Policy {{ scope: All, hidden: {rule}, hidden_rate: 0.1, rest: {rule}, embedding_rate: 0.1, vector_rate: 0.1"
        );
        assert_eq!(format!("{whole:?}"), format!("{fields} }}"));
        let split = Policy { split: Some(Split { only: Part::Mlp, other_rate: 0.2 }), ..whole };
        assert_eq!(format!("{split:?}"), format!("{fields}, split: Split {{ only: Mlp, other_rate: 0.2 }} }}"));
    }

    #[test]
    fn each_part_of_a_block_holds_its_own_matrices() {
        let gpt2 = ModelConfig::gpt2(10, 8, 2, 16, 2);
        let llama = ModelConfig::llama(10, 8, 2, 16, 2, 1);
        for (config, mlp) in [(gpt2, 2), (llama, 3)] {
            let model = Transformer::new(&config, 0).unwrap();
            let split = |only| Policy {
                split: Some(Split { only, other_rate: 0.2 }),
                scope: Scope::HiddenMatrices,
                ..Policy::uniform(RuleConfig::Sgd(Sgd::default()), 0.1)
            };
            let sizes = |only| -> Vec<(f64, usize)> {
                let groups = split(only).groups(model.parameters()).unwrap();
                groups.iter().map(|group| (group.learning_rate, group.members.len())).collect()
            };
            assert_eq!(sizes(Part::Attention), [(0.1, 2 * 4), (0.2, 2 * mlp)]);
            assert_eq!(sizes(Part::Mlp), [(0.1, 2 * mlp), (0.2, 2 * 4)]);
        }
    }
}
