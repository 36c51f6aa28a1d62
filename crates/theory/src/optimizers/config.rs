//! Which optimizer, with which constants.

use serde::{Deserialize, Serialize};

use crate::error::{Result, in_range};

/// How a gradient becomes a direction. M is the bias-corrected exponential average of the gradients G with decay
/// `momentum` (M = G for momentum 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// D = M.
    Sgd,
    /// D = M / |M|_F: steepest descent under the Frobenius norm.
    NormalisedSgd,
    /// D = sign(M): steepest descent under the largest entry.
    Sign,
    /// D = M / sqrt(average of G^2), both bias-corrected (Kingma and Ba 2015), with a vanishing epsilon.
    Adam,
    /// D = sign(momentum M + (1 - momentum) G), M averaged with `second_moment_decay` (Lion; Chen et al. 2023).
    Lion,
    /// D = polar factor of M, exact: steepest descent under the spectral norm (Muon; Jordan et al. 2024).
    Muon,
    /// Muon as it is run: five Newton-Schulz steps with Keller Jordan's coefficients.
    MuonNewtonSchulz,
    /// D = L^(-1/2) M on the shorter side, L the average of G G^T with `second_moment_decay` (Shampoo; Gupta et al.
    /// 2018).
    ShampooOneSidedHalf,
    /// D = L^(-1/4) M on the shorter side.
    ShampooOneSidedQuarter,
    /// D = L^(-1/4) M R^(-1/4), R the average of G^T G.
    ShampooQuarter,
    /// D = L^(-1/2) M R^(-1/2).
    ShampooHalf,
    /// D = M C^(-1), C the true second moment of the inputs, given with `MatrixOptimizer::with_metric`.
    NaturalGradient,
}

impl Rule {
    /// Every rule, in the order of this documentation.
    pub const ALL: [Self; 12] = [
        Self::Sgd,
        Self::NormalisedSgd,
        Self::Sign,
        Self::Adam,
        Self::Lion,
        Self::Muon,
        Self::MuonNewtonSchulz,
        Self::ShampooOneSidedHalf,
        Self::ShampooOneSidedQuarter,
        Self::ShampooQuarter,
        Self::ShampooHalf,
        Self::NaturalGradient,
    ];

    /// The name that presets and tables use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::NormalisedSgd => "normalised-sgd",
            Self::Sign => "sign",
            Self::Adam => "adam",
            Self::Lion => "lion",
            Self::Muon => "muon",
            Self::MuonNewtonSchulz => "muon-newton-schulz",
            Self::ShampooOneSidedHalf => "shampoo-one-sided-half",
            Self::ShampooOneSidedQuarter => "shampoo-one-sided-quarter",
            Self::ShampooQuarter => "shampoo-quarter",
            Self::ShampooHalf => "shampoo-half",
            Self::NaturalGradient => "natural-gradient",
        }
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// An optimizer with its decay rates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// How a gradient becomes a direction.
    pub rule: Rule,
    /// Decay of the gradient average, in [0, 1).
    pub momentum: f64,
    /// Decay of Adam's and Shampoo's second moments and of Lion's momentum, in [0, 1).
    pub second_moment_decay: f64,
}

impl OptimizerConfig {
    /// `rule` with momentum 0.9 and second-moment decay 0.99.
    pub fn new(rule: Rule) -> Self {
        Self { rule, momentum: 0.9, second_moment_decay: 0.99 }
    }

    /// The same with another momentum.
    pub fn with_momentum(self, momentum: f64) -> Self {
        Self { momentum, ..self }
    }

    /// Checks both decay rates.
    ///
    /// # Errors
    /// If one lies outside [0, 1).
    pub fn check(&self) -> Result<()> {
        in_range("momentum", self.momentum, 0.0, 1.0)?;
        in_range("second_moment_decay", self.second_moment_decay, 0.0, 1.0)
    }
}
