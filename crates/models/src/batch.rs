//! A batch of equally long token sequences with their targets.

use crate::ops::IGNORE;
use crate::{Error, Result};

/// `sequences` x `time` tokens, row-major, and for each the token that should follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    ids: Vec<u32>,
    targets: Vec<u32>,
    time: usize,
}

impl Batch {
    /// A batch of rows of `time` tokens; `targets` may hold [`IGNORE`].
    ///
    /// # Errors
    /// [`Error::Config`] if the lengths differ or are no multiple of `time`.
    pub fn new(ids: Vec<u32>, targets: Vec<u32>, time: usize) -> Result<Self> {
        if time == 0 || ids.is_empty() || !ids.len().is_multiple_of(time) {
            return Err(Error::config("batch", format!("{} tokens", ids.len()), format!("rows of {time} tokens")));
        }
        if ids.len() != targets.len() {
            return Err(Error::config("targets", targets.len(), format!("{}, one a token", ids.len())));
        }
        Ok(Self { ids, targets, time })
    }

    /// The batch in parts of at most `sequences` rows.
    pub fn split(self, sequences: usize) -> Vec<Self> {
        if sequences == 0 || sequences >= self.sequences() {
            return vec![self];
        }
        let size = sequences * self.time;
        let part =
            |(ids, targets): (&[u32], &[u32])| Self { ids: ids.into(), targets: targets.into(), time: self.time };
        self.ids.chunks(size).zip(self.targets.chunks(size)).map(part).collect()
    }

    /// Input tokens, row after row.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The target of each input token, or [`IGNORE`].
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// Tokens in a row.
    pub fn time(&self) -> usize {
        self.time
    }

    /// Rows.
    pub fn sequences(&self) -> usize {
        self.ids.len() / self.time
    }

    /// How many tokens have a target.
    pub fn target_count(&self) -> usize {
        self.targets.iter().filter(|&&t| t != IGNORE).count()
    }
}
