//! Whose names and layout a network's files have.

use crate::config::{Activation, AttentionBias, ModelConfig, NormKind, Positions};

/// The families that Transformers has a class for, and what is none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Gpt2,
    Llama,
    Qwen2,
    Qwen3,
    /// This crate's own names: Llama's, plus `model.embed_positions.weight` and biases.
    Own,
}

impl Family {
    pub(super) fn of(config: &ModelConfig) -> Self {
        use AttentionBias as Bias;
        let plain = config.attention_bias == Bias::None && !config.head_norms && config.head_features.is_none();
        let gpt2 = plain
            && config.positions == Positions::Learned
            && config.norm == NormKind::Layer
            && config.activation == Activation::Gelu
            && config.bias
            && config.heads == config.kv_heads;
        let like_llama = matches!(config.positions, Positions::Rotary { .. })
            && config.norm == NormKind::Rms
            && config.activation == Activation::SwiGlu;
        match (config.bias, config.attention_bias, config.head_norms) {
            _ if gpt2 => Self::Gpt2,
            _ if !like_llama => Self::Own,
            (true, _, false) | (false, Bias::None | Bias::All, false) => Self::Llama,
            (false, Bias::Inputs, false) => Self::Qwen2,
            (false, Bias::None | Bias::All, true) => Self::Qwen3,
            _ => Self::Own,
        }
    }
}
