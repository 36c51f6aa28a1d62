//! The shape of a transformer.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The longest sequence in tokens. Sizes have bounds, far above what makes sense, so that a mistake in a file is one
/// line and not all memory.
pub const MOST_CONTEXT: usize = 1 << 20;
/// The most blocks.
pub const MOST_LAYERS: usize = 1 << 12;
/// The most features of the residual stream.
pub const MOST_WIDTH: usize = 1 << 17;
/// The most angles in the table of rotations: the context times half the features of a head.
const MOST_ANGLES: usize = 1 << 27;

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
        /// How the wavelengths were stretched for a longer context.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scaling: Option<RotaryScaling>,
    },
}

/// A change of the rotation's frequencies, made after a first pretraining with a shorter context.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RotaryScaling {
    /// All frequencies are divided by `factor`.
    Linear {
        /// At least 1.
        factor: f64,
    },
    /// Llama 3.1's: long wavelengths are stretched by `factor`, short ones kept, those between interpolated.
    Llama3 {
        /// At least 1.
        factor: f64,
        /// Wavelengths above `original` / `low` are stretched.
        low: f64,
        /// Wavelengths below `original` / `high` are kept.
        high: f64,
        /// The context of the first pretraining.
        original: usize,
    },
}

impl RotaryScaling {
    /// What becomes of a frequency, in radians a token.
    pub fn frequency(self, frequency: f64) -> f64 {
        match self {
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low, high, original } => {
                let turns = original as f64 * frequency / std::f64::consts::TAU;
                // The share that is kept: 0 for long wavelengths, 1 for short ones.
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                frequency * (kept + (1.0 - kept) / factor)
            }
        }
    }

    fn validate(self) -> Result<()> {
        let (Self::Linear { factor } | Self::Llama3 { factor, .. }) = self;
        if !(factor.is_finite() && factor >= 1.0) {
            return Err(Error::config("scaling.factor", factor, "a finite number, at least 1"));
        }
        if let Self::Llama3 { low, high, original, .. } = self {
            if !(low > 0.0 && high > low && high.is_finite()) {
                return Err(Error::config("scaling.high", high, format!("a finite number above low = {low} > 0")));
            }
            if original == 0 {
                return Err(Error::config("scaling.original", original, "at least 1"));
            }
        }
        Ok(())
    }
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

/// Which of attention's maps have biases in a network whose other maps have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttentionBias {
    /// None of them.
    #[default]
    None,
    /// Those to queries, keys and values (Qwen2).
    Inputs,
    /// All four.
    All,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
    /// Features of the residual stream; a multiple of `heads`, unless `head_features` says how wide a head is.
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
    /// Biases of attention's maps alone, if `bias` is off.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attention_bias: AttentionBias,
    /// Whether every head's queries and keys go through an RMSNorm before they are rotated (Qwen3).
    #[serde(default, skip_serializing_if = "is_default")]
    pub head_norms: bool,
    /// Features of one head, where they are not `width` / `heads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_features: Option<usize>,
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
            mlp_width: width.saturating_mul(4),
            positions: Positions::Learned,
            norm: NormKind::Layer,
            norm_eps: 1e-5,
            activation: Activation::Gelu,
            bias: true,
            attention_bias: AttentionBias::None,
            head_norms: false,
            head_features: None,
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
            mlp_width: width.saturating_mul(8).div_ceil(24).saturating_mul(8),
            positions: Positions::Rotary { theta: 10_000.0, scaling: None },
            norm: NormKind::Rms,
            norm_eps: 1e-5,
            activation: Activation::SwiGlu,
            bias: false,
            attention_bias: AttentionBias::None,
            head_norms: false,
            head_features: None,
            tied: false,
        }
    }

    /// Features of one head.
    pub fn head_width(&self) -> usize {
        self.head_features.unwrap_or(self.width / self.heads)
    }

    /// Features of all query heads: what attention's output map reads.
    pub fn query_width(&self) -> usize {
        self.head_width() * self.heads
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
        let bounded = [
            ("vocabulary", self.vocabulary, u32::MAX as usize - 1),
            ("context", self.context, MOST_CONTEXT),
            ("layers", self.layers, MOST_LAYERS),
            ("width", self.width, MOST_WIDTH),
            ("heads", self.heads, MOST_WIDTH),
            ("kv-heads", self.kv_heads, MOST_WIDTH),
            ("mlp-width", self.mlp_width, 8 * MOST_WIDTH),
            ("head-features", self.head_features.unwrap_or(1), MOST_WIDTH),
        ];
        for (field, value, most) in bounded {
            if value == 0 {
                return Err(Error::config(field, value, "at least 1"));
            }
            if value > most {
                return Err(Error::config(field, value, format!("at most {most}")));
            }
        }
        if self.head_features.is_none() && !self.width.is_multiple_of(self.heads) {
            return Err(Error::config("width", self.width, format!("a multiple of heads = {}", self.heads)));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(Error::config("kv-heads", self.kv_heads, format!("a divisor of heads = {}", self.heads)));
        }
        if !(self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            return Err(Error::config("norm-eps", self.norm_eps, "a number between 0 and 1"));
        }
        if let Positions::Rotary { theta, scaling } = self.positions {
            if !self.head_width().is_multiple_of(2) {
                let expected = "an even number of features a head for rotary positions";
                return Err(Error::config("width", self.width, expected));
            }
            let most = MOST_ANGLES / (self.head_width() / 2).max(1);
            if self.context > most {
                let expected = format!("at most {most}, with heads of {} features", self.head_width());
                return Err(Error::config("context", self.context, expected));
            }
            if !(theta.is_finite() && theta > 1.0) {
                return Err(Error::config("theta", theta, "a finite number above 1"));
            }
            if let Some(scaling) = scaling {
                scaling.validate()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_its_default_is_in_no_key() {
        let text = serde_json::to_string(&ModelConfig::llama(64, 16, 2, 24, 3, 1)).unwrap();
        assert!(text.contains("theta"), "{text}");
        for field in ["scaling", "attention-bias", "head-norms", "head-features"] {
            assert!(!text.contains(field), "{text}");
        }
    }

    #[test]
    fn scaled_frequencies_are_kept_or_divided_and_never_rise() {
        let scaling = RotaryScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192 };
        let wave = |length: f64| std::f64::consts::TAU / length;
        assert_eq!(scaling.frequency(wave(2000.0)), wave(2000.0));
        assert_eq!(scaling.frequency(wave(9000.0)), wave(9000.0) / 8.0);
        let between: Vec<f64> = (20..82).map(|i| scaling.frequency(wave(100.0 * f64::from(i)))).collect();
        assert!(between.windows(2).all(|pair| pair[1] < pair[0]), "{between:?}");
    }

    /// Otherwise a network of so many blocks, or a table of so many angles, is built before its weights are looked for.
    #[test]
    fn sizes_beyond_all_networks_are_refused_with_the_most_that_there_may_be() {
        let llama = ModelConfig::llama(64, 16, 2, 24, 3, 1);
        let huge = usize::MAX / 2 + 1;
        let cases = [
            ("vocabulary", ModelConfig { vocabulary: huge, ..llama.clone() }),
            ("context", ModelConfig { context: huge, ..llama.clone() }),
            ("layers", ModelConfig { layers: 1 << 30, ..llama.clone() }),
            ("width", ModelConfig { width: 3 << 40, ..llama.clone() }),
            ("heads", ModelConfig { heads: huge, kv_heads: huge, head_features: Some(2), ..llama.clone() }),
            ("mlp-width", ModelConfig { mlp_width: huge, ..llama.clone() }),
            ("head-features", ModelConfig { head_features: Some(huge), ..llama.clone() }),
            ("context", ModelConfig { context: 1 << 20, head_features: Some(1 << 12), ..llama.clone() }),
        ];
        for (field, config) in cases {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("{field}:")) && message.contains("at most"), "{message}");
        }
        let long = ModelConfig { context: 1_010_000, head_features: Some(128), ..llama };
        assert!(long.validate().is_ok());
    }

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
                c.positions = Positions::Rotary { theta: f64::INFINITY, scaling: None };
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
