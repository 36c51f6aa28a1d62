//! The shape of a transformer.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How a token's place in the sequence reaches the network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Positions {
    /// A learned vector for each position, added to the token's embedding (GPT-2).
    Learned,
    /// Rotation of queries and keys with base `theta` (Llama).
    Rotary {
        /// The base of the wavelengths, 10000 in the first Llama.
        theta: f64,
    },
}

/// The normalisation before attention, before the MLP and before the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// LayerNorm with gain and, if the model has biases, bias (GPT-2).
    Layer,
    /// RMSNorm with gain (Llama).
    Rms,
}

/// The MLP's nonlinearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// down(gelu(up(x))) (GPT-2).
    Gelu,
    /// down(silu(gate(x)) * up(x)) (Llama).
    SwiGlu,
}

/// The shape of a decoder-only transformer; GPT-2 and Llama are two of its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ModelConfig {
    /// Entries of the vocabulary.
    pub vocabulary: usize,
    /// The longest sequence, in tokens.
    pub context: usize,
    /// Transformer blocks.
    pub layers: usize,
    /// Features of the residual stream; a multiple of `heads`.
    pub width: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads` (equal: multi-head, 1: multi-query attention).
    pub kv_heads: usize,
    /// Features inside the MLP.
    pub mlp_width: usize,
    /// Positions.
    pub positions: Positions,
    /// Normalisation.
    pub norm: NormKind,
    /// Added to the variance in every norm.
    pub norm_eps: f64,
    /// The MLP's nonlinearity.
    pub activation: Activation,
    /// Whether linear maps and LayerNorms have biases.
    pub bias: bool,
    /// Whether the head's weight is the token embedding.
    pub tied: bool,
}

impl ModelConfig {
    /// GPT-2's architecture: learned positions, LayerNorm, GELU, biases, tied head, MLP of 4 `width`.
    pub fn gpt2(vocabulary: usize, context: usize, layers: usize, width: usize, heads: usize) -> Self {
        Self {
            vocabulary,
            context,
            layers,
            width,
            heads,
            kv_heads: heads,
            mlp_width: 4 * width,
            positions: Positions::Learned,
            norm: NormKind::Layer,
            norm_eps: 1e-5,
            activation: Activation::Gelu,
            bias: true,
            tied: true,
        }
    }

    /// Llama's architecture: rotary positions, RMSNorm, SwiGLU, no biases, untied head, MLP of about 8/3 `width` (a
    /// multiple of 8).
    pub fn llama(
        vocabulary: usize,
        context: usize,
        layers: usize,
        width: usize,
        heads: usize,
        kv_heads: usize,
    ) -> Self {
        Self {
            vocabulary,
            context,
            layers,
            width,
            heads,
            kv_heads,
            mlp_width: (8 * width).div_ceil(24) * 8,
            positions: Positions::Rotary { theta: 10_000.0 },
            norm: NormKind::Rms,
            norm_eps: 1e-5,
            activation: Activation::SwiGlu,
            bias: false,
            tied: false,
        }
    }

    /// Features of one head.
    pub fn head_width(&self) -> usize {
        self.width / self.heads
    }

    /// Features of all key heads, or of all value heads.
    pub fn kv_width(&self) -> usize {
        self.head_width() * self.kv_heads
    }

    /// Checks that the fields fit each other.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that does not.
    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("vocabulary", self.vocabulary),
            ("context", self.context),
            ("layers", self.layers),
            ("width", self.width),
            ("heads", self.heads),
            ("kv-heads", self.kv_heads),
            ("mlp-width", self.mlp_width),
        ];
        for (field, value) in positive {
            if value == 0 {
                return Err(Error::config(field, value, "at least 1"));
            }
        }
        if self.vocabulary >= u32::MAX as usize {
            return Err(Error::config("vocabulary", self.vocabulary, "less than 2^32 - 1"));
        }
        if !self.width.is_multiple_of(self.heads) {
            return Err(Error::config("width", self.width, format!("a multiple of heads = {}", self.heads)));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(Error::config("kv-heads", self.kv_heads, format!("a divisor of heads = {}", self.heads)));
        }
        if !(self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            return Err(Error::config("norm-eps", self.norm_eps, "a number between 0 and 1"));
        }
        if let Positions::Rotary { theta } = self.positions {
            if !self.head_width().is_multiple_of(2) {
                return Err(Error::config(
                    "width",
                    self.width,
                    "an even number of features a head for rotary positions",
                ));
            }
            if !(theta.is_finite() && theta > 1.0) {
                return Err(Error::config("theta", theta, "a finite number above 1"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_that_does_not_fit_is_refused_with_the_field() {
        let good = ModelConfig::gpt2(64, 16, 2, 24, 3);
        assert!(good.validate().is_ok());
        type Spoil = fn(&mut ModelConfig);
        let cases: [(&str, Spoil); 5] = [
            ("vocabulary", |c| c.vocabulary = 0),
            ("width", |c| c.width = 25),
            ("kv-heads", |c| c.kv_heads = 2),
            ("norm-eps", |c| c.norm_eps = f64::NAN),
            ("theta", |c| {
                c.width = 24;
                c.positions = Positions::Rotary { theta: f64::INFINITY };
            }),
        ];
        for (field, spoil) in cases {
            let mut config = good.clone();
            spoil(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("{field}:")), "{message}");
        }
    }
}
