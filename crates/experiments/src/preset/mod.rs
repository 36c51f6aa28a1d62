//! Presets: everything that decides a result, in one TOML file that a user can copy and edit.

mod optimizers;
mod validate;

use std::path::Path;

use models::lora::LoraConfig;
use models::optim::{Policy, Scope};
use models::schedule::Decay;
use models::{Hardware, ModelConfig, Precision, Tokenizer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};
pub use optimizers::OptimizersPreset;
use optimizers::is_default;
pub(crate) use validate::{at_least, positive};

/// The presets that come with the program: name and text.
pub const BUILT_IN: [(&str, &str); 4] = [
    ("smoke", include_str!("../../presets/smoke.toml")),
    ("quick", include_str!("../../presets/quick.toml")),
    ("standard", include_str!("../../presets/standard.toml")),
    ("paper", include_str!("../../presets/paper.toml")),
];

/// The built-in preset of that name, or the one in the file at that path; not checked yet.
pub(crate) fn find_toml<T: DeserializeOwned>(name: &str, built_in: &[(&str, &str)]) -> Result<T> {
    match built_in.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => parse_toml(text, &format!("preset {name}")),
        None if name.ends_with(".toml") => {
            let path = Path::new(name);
            let text = std::fs::read_to_string(path)
                .map_err(|source| ExperimentError::ReadPreset { path: path.into(), source })?;
            parse_toml(&text, name)
        }
        None => {
            let known: Vec<&str> = built_in.iter().map(|(name, _)| *name).collect();
            let expected = format!("{} or the path of a .toml file", known.join(", "));
            Err(ExperimentError::value("preset", name, expected))
        }
    }
}

/// A preset from TOML; an error names `origin` and the line.
pub(crate) fn parse_toml<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..start].matches('\n').count() + 1;
        let message = error.message().replace('\n', ", ");
        ExperimentError::ParsePreset { origin: origin.into(), line, message }
    })
}

/// An optimizer by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// AdamW.
    AdamW,
    /// Muon on the blocks' matrices, AdamW on the rest.
    Muon,
    /// SGD with momentum 0.9.
    Sgd,
}

impl OptimizerName {
    /// The name as it stands in presets and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AdamW => "adamw",
            Self::Muon => "muon",
            Self::Sgd => "sgd",
        }
    }
}

/// The network's family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Learned positions, LayerNorm, GELU, biases, tied head.
    Gpt2,
    /// Rotary positions, RMSNorm, SwiGLU, no biases; the head is tied here, since a small model's embeddings are most of it.
    Llama,
}

/// The network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ModelPreset {
    /// Family.
    pub architecture: Architecture,
    /// Entries of the BPE that is trained on the corpus; 257 means bytes.
    pub vocabulary: usize,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Blocks.
    pub layers: usize,
    /// Features of the residual stream.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
}

impl ModelPreset {
    /// The model's shape for a tokenizer.
    pub fn config(&self, tokenizer: &Tokenizer) -> ModelConfig {
        let vocabulary = tokenizer.vocabulary();
        match self.architecture {
            Architecture::Gpt2 => ModelConfig::gpt2(vocabulary, self.context, self.layers, self.width, self.heads),
            Architecture::Llama => ModelConfig {
                tied: true,
                ..ModelConfig::llama(vocabulary, self.context, self.layers, self.width, self.heads, self.heads)
            },
        }
    }
}

/// How much of the pinned packages' text is used: files drawn at random, the same for every run. A user's own corpus is used whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CorpusPreset {
    /// Bytes of prose, about; all where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prose_bytes: Option<usize>,
    /// Bytes of code, about; all where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_bytes: Option<usize>,
}

/// Pretraining, common to all checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PretrainPreset {
    /// Sequences of a step.
    pub sequences: usize,
    /// Sequences that go through the network at a time, where a step does not fit in memory; all where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Schedule after the warmup.
    pub decay: Decay,
    /// Share of the steps that warm up.
    pub warmup: f64,
    /// Bound on the gradient's norm.
    pub clip: f64,
    /// Decoupled weight decay of matrices and embeddings.
    pub weight_decay: f64,
    /// The optimizers' other hyperparameters.
    #[serde(default, skip_serializing_if = "is_default")]
    pub optimizers: OptimizersPreset,
    /// Points of the training curve at which the held-out loss is measured.
    pub curve_points: u64,
}

/// A checkpoint: how one pretraining differs from the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CheckpointPreset {
    /// Its name in results; the compared pair is named in `pair`.
    pub name: String,
    /// Optimizer of the hidden matrices; the matched method bears its name.
    pub optimizer: OptimizerName,
    /// Learning rate of the hidden matrices.
    pub hidden_rate: f64,
    /// Learning rate of embeddings, gains and biases.
    pub embedding_rate: f64,
    /// Steps.
    pub steps: u64,
}

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
    pub optimizers: OptimizersPreset,
    /// What full finetuning trains.
    pub scope: FinetuneScope,
    /// The optimizer's state at the start.
    pub state: InitialState,
    /// AdamW's learning rate on the weights that Muon does not take, as a share of Muon's.
    pub muon_rest: f64,
    /// Points along a run at which both losses are measured, for the figure only.
    pub along: u64,
    /// Whether the finetuned weights are kept in the run store.
    pub keep_weights: bool,
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
    pub optimizer: OptimizerName,
    /// The rank, for LoRA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora_rank: Option<usize>,
    /// LoRA's alpha: the adapters' output is multiplied by alpha / rank. Twice the rank where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora_alpha: Option<f64>,
    /// What this method trains, where it is not what the preset says: such a method is an ablation, left out of the verdicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<FinetuneScope>,
    /// Learning rates, one run each.
    pub rates: Vec<f64>,
}

impl MethodPreset {
    /// Whether the method is compared in an ablation and not in the verdicts.
    pub fn is_ablation(&self) -> bool {
        self.scope.is_some()
    }

    /// The adapters, for LoRA: on every linear map.
    pub fn lora(&self) -> Option<LoraConfig> {
        let config = LoraConfig::all(self.lora_rank?);
        Some(LoraConfig { alpha: self.lora_alpha.unwrap_or(config.alpha), ..config })
    }

    /// Which weights this method trains with which rule at a learning rate.
    pub fn policy(&self, rate: f64, finetune: &FinetunePreset) -> Policy {
        let decay = finetune.weight_decay;
        let rest_rate = if self.optimizer == OptimizerName::Muon { rate * finetune.muon_rest } else { rate };
        let scope = match (self.lora_rank, self.scope.unwrap_or(finetune.scope)) {
            (Some(_), _) => Scope::Adapters,
            (None, FinetuneScope::All) => Scope::All,
            (None, FinetuneScope::HiddenMatrices) => Scope::HiddenMatrices,
        };
        Policy {
            scope,
            hidden: finetune.optimizers.rule(self.optimizer, decay),
            hidden_rate: rate,
            rest: finetune.optimizers.rest(self.optimizer, decay),
            embedding_rate: rest_rate,
            vector_rate: rest_rate,
            split: None,
        }
    }
}

impl PretrainPreset {
    /// What every optimizer of the stage shares, for the key of one training: its policy has its own optimizer's hyperparameters, and those of the others decide nothing there.
    pub(crate) fn shared(&self) -> Self {
        Self { optimizers: OptimizersPreset::default(), ..self.clone() }
    }
}

impl FinetunePreset {
    /// As [`PretrainPreset::shared`].
    pub(crate) fn shared(&self) -> Self {
        Self { optimizers: OptimizersPreset::default(), ..self.clone() }
    }
}

impl CheckpointPreset {
    /// Which weights pretraining trains with which rule.
    pub fn policy(&self, pretrain: &PretrainPreset) -> Policy {
        Policy {
            scope: Scope::All,
            hidden: pretrain.optimizers.rule(self.optimizer, pretrain.weight_decay),
            hidden_rate: self.hidden_rate,
            rest: pretrain.optimizers.rest(self.optimizer, pretrain.weight_decay),
            embedding_rate: self.embedding_rate,
            vector_rate: self.embedding_rate,
            split: None,
        }
    }
}

/// How losses and answers are measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EvaluationPreset {
    /// Share of the text that is held out, by file.
    pub held_out: f64,
    /// Held-out windows of pretraining text, each as long as the context.
    pub pretrain_windows: usize,
    /// Held-out windows of a text task (code).
    pub task_windows: usize,
    /// Held-out examples of a generated task.
    pub task_examples: usize,
    /// Held-out examples that are decoded for exact match.
    pub decoded: usize,
    /// Training examples of a generated task; runs longer than an epoch see them again.
    pub train_examples: usize,
}

/// Everything that decides the results of `tradeoff`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Preset {
    /// The preset's name.
    pub name: String,
    /// Pretraining seeds: 0, 1, ... A verdict needs at least five.
    pub seeds: u64,
    /// Tasks: `code`, or a generated task with optional parameters (`math:max_steps=3`).
    pub tasks: Vec<String>,
    /// The two checkpoints that the verdicts compare.
    pub pair: [String; 2],
    /// Pairs of checkpoints that tell the optimizer from loss and weight scale.
    #[serde(default)]
    pub controls: Vec<[String; 2]>,
    /// The methods that are run from checkpoints outside `pair`; none named means all.
    #[serde(default)]
    pub control_methods: Vec<String>,
    /// How much text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub corpus: CorpusPreset,
    /// In which numbers products of matrices are computed, in both stages.
    #[serde(default, skip_serializing_if = "is_default")]
    pub precision: Precision,
    /// Where networks are trained and measured: the command line's choice, no part of the file.
    #[serde(skip)]
    pub device: Hardware,
    /// The network.
    pub model: ModelPreset,
    /// Pretraining.
    pub pretrain: PretrainPreset,
    /// Finetuning.
    pub finetune: FinetunePreset,
    /// Measurements.
    pub evaluation: EvaluationPreset,
    /// The pretrainings.
    pub checkpoints: Vec<CheckpointPreset>,
    /// The finetuning methods.
    pub methods: Vec<MethodPreset>,
}

impl Preset {
    /// The built-in preset of that name, or the file at that path; checked.
    ///
    /// # Errors
    /// One line with file, line or field if it cannot be read or is not a preset.
    pub fn find(name: &str) -> Result<Self> {
        let preset: Self = find_toml(name, &BUILT_IN)?;
        preset.validate()?;
        Ok(preset)
    }

    /// The preset as TOML, in a form that [`find`](Self::find) reads.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a preset has only types that TOML knows")
    }

    /// The checkpoint of that name.
    pub fn checkpoint(&self, name: &str) -> Option<&CheckpointPreset> {
        self.checkpoints.iter().find(|checkpoint| checkpoint.name == name)
    }

    /// The methods that are run from a checkpoint.
    pub fn methods_from<'a>(&'a self, checkpoint: &str) -> impl Iterator<Item = &'a MethodPreset> {
        let all = self.control_methods.is_empty() || self.pair.iter().any(|name| name == checkpoint);
        self.methods.iter().filter(move |method| all || self.control_methods.contains(&method.name))
    }

    /// Keeps the tasks that are named, in that order.
    ///
    /// # Errors
    /// [`ExperimentError::Value`] for an unknown task.
    pub fn set_tasks(&mut self, tasks: &[String]) -> Result<()> {
        self.tasks = tasks.to_vec();
        self.validate()
    }

    /// Keeps the methods that are named; those that match the compared pair must be among them.
    ///
    /// # Errors
    /// [`ExperimentError::Value`] for an unknown method.
    pub fn keep_methods(&mut self, names: &[String]) -> Result<()> {
        let known: Vec<String> = self.methods.iter().map(|m| m.name.clone()).collect();
        if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
            let expected = format!("a method of this preset: {}", known.join(", "));
            return Err(ExperimentError::value("methods", unknown, expected));
        }
        self.methods.retain(|method| names.contains(&method.name));
        self.control_methods.retain(|name| names.contains(name));
        self.validate()
    }
}
