//! Where a checkpoint comes from: a pretraining here, or elsewhere.

use std::path::PathBuf;

use models::optim::{Policy, RuleName, Scope};
use serde::{Deserialize, Serialize};

use super::PretrainPreset;
use super::checks::{at_least, positive, steps};
use crate::error::{ExperimentError, Result};

/// A checkpoint of a preset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct CheckpointPreset {
    /// Its name in results; the compared pair is named in `pair`.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// How many of the preset's seeds it is used with, from the first on. All if left out.
    pub seeds: Option<u64>,
}

/// Where a checkpoint comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// It is pretrained here, anew for every seed.
    Pretrained(Recipe),
    /// It was made elsewhere and is the same for every seed, which then draws data and orders alone.
    Imported {
        /// A folder in Hugging Face's layout, or a .gguf file.
        from: PathBuf,
        /// The optimizer that made it, where that is known: the method of its name is then the matched one.
        optimizer: Option<RuleName>,
    },
}

/// How one pretraining differs from the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Optimizer of the hidden matrices; the matched method bears its name.
    pub optimizer: RuleName,
    /// Learning rate of the hidden matrices.
    pub hidden_rate: f64,
    /// Learning rate of embeddings, gains and biases.
    pub embedding_rate: f64,
    /// Steps.
    pub steps: u64,
}

/// A checkpoint as a preset's file has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Table {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    optimizer: Option<RuleName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hidden_rate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    embedding_rate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    steps: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seeds: Option<u64>,
}

impl TryFrom<Table> for CheckpointPreset {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let Table { name, from, optimizer, hidden_rate, embedding_rate, steps, seeds } = table;
        let missing =
            |field: &str| format!("checkpoint {name}: missing field `{field}`, or `from` of one made elsewhere");
        let origin = match from {
            None => Origin::Pretrained(Recipe {
                optimizer: optimizer.ok_or_else(|| missing("optimizer"))?,
                hidden_rate: hidden_rate.ok_or_else(|| missing("hidden-rate"))?,
                embedding_rate: embedding_rate.ok_or_else(|| missing("embedding-rate"))?,
                steps: steps.ok_or_else(|| missing("steps"))?,
            }),
            Some(_) if hidden_rate.is_some() || embedding_rate.is_some() || steps.is_some() => {
                let expected = "none of hidden-rate, embedding-rate and steps: it is not pretrained here";
                return Err(format!("checkpoint {name}: found `from`, expected {expected}"));
            }
            Some(from) => Origin::Imported { from, optimizer },
        };
        Ok(Self { name, origin, seeds })
    }
}

impl From<CheckpointPreset> for Table {
    fn from(CheckpointPreset { name, origin, seeds }: CheckpointPreset) -> Self {
        let none =
            Self { name, from: None, optimizer: None, hidden_rate: None, embedding_rate: None, steps: None, seeds };
        match origin {
            Origin::Pretrained(Recipe { optimizer, hidden_rate, embedding_rate, steps }) => Self {
                optimizer: Some(optimizer),
                hidden_rate: Some(hidden_rate),
                embedding_rate: Some(embedding_rate),
                steps: Some(steps),
                ..none
            },
            Origin::Imported { from, optimizer } => Self { from: Some(from), optimizer, ..none },
        }
    }
}

impl CheckpointPreset {
    /// The optimizer that made it, as far as it is known.
    pub fn optimizer(&self) -> Option<RuleName> {
        match &self.origin {
            Origin::Pretrained(recipe) => Some(recipe.optimizer),
            Origin::Imported { optimizer, .. } => *optimizer,
        }
    }

    /// How it is pretrained.
    ///
    /// # Errors
    /// If it is made elsewhere.
    pub fn recipe(&self) -> Result<&Recipe> {
        match &self.origin {
            Origin::Pretrained(recipe) => Ok(recipe),
            Origin::Imported { from, .. } => {
                let found = format!("{} from {}", self.name, from.display());
                Err(ExperimentError::value("checkpoints", found, "checkpoints that are pretrained here"))
            }
        }
    }

    /// A field as `--set` calls it.
    fn field(&self, name: &str) -> String {
        format!("checkpoints.{}.{name}", self.name)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<()> {
        if let Origin::Pretrained(recipe) = &self.origin {
            positive(&self.field("hidden-rate"), recipe.hidden_rate)?;
            positive(&self.field("embedding-rate"), recipe.embedding_rate)?;
            steps(&self.field("steps"), recipe.steps)?;
        }
        at_least(&self.field("seeds"), self.seeds.unwrap_or(1), 1)
    }
}

impl Recipe {
    /// Which weights pretraining trains with which rule.
    pub fn policy(&self, pretrain: &PretrainPreset) -> Policy {
        let (rules, decay) = (&pretrain.optimizers, pretrain.weight_decay);
        Policy::hidden_and_rest(
            Scope::All,
            rules.rule(self.optimizer, decay),
            self.hidden_rate,
            rules.rest(self.optimizer, decay),
            self.embedding_rate,
            self.embedding_rate,
        )
    }
}
