//! All rules by their names.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::induction::Induction;
use super::last_letter::LastLetter;
use super::modular::Modular;
use super::permuted_copy::PermutedCopy;
use super::rule::Rule;
use crate::Error;

/// Which rule, with its difficulty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatternRule {
    /// `a b` gives `a op b` modulo a number.
    Modular(Modular),
    /// A string gives its image under a fixed permutation of the alphabet, of the places, or both; or itself.
    PermutedCopy(PermutedCopy),
    /// Words give their last letters.
    LastLetter(LastLetter),
    /// Pairs and the first of one of them give its second.
    Induction(Induction),
}

impl PatternRule {
    /// The rule; what is random about it comes from `rng`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a difficulty outside its range.
    pub(super) fn build(&self, rng: &mut ChaCha8Rng) -> Result<Box<dyn Rule>, Error> {
        Ok(match self {
            Self::Modular(config) => Box::new(config.validate()?),
            Self::PermutedCopy(config) => Box::new(config.build(rng)?),
            Self::LastLetter(config) => Box::new(config.validate()?),
            Self::Induction(config) => Box::new(config.validate()?),
        })
    }

    /// The rule's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Modular(_) => super::modular::NAME,
            Self::PermutedCopy(_) => super::permuted_copy::NAME,
            Self::LastLetter(_) => super::last_letter::NAME,
            Self::Induction(_) => super::induction::NAME,
        }
    }
}
