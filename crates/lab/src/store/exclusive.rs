//! One process at a time at something other than a stage: what is written as a whole, of parts that belong together.

use std::sync::Arc;

use super::claims::{Acquired, Held};
use super::error::StoreError;
use super::key::StageKey;
use super::{Store, interrupted};

impl Store {
    /// Does `work` while no other process or thread does what is called by the same name, and waits until then. The
    /// name is a claim like a stage's: lower-case letters, digits and `-`.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::InvalidName`], [`StoreError::Interrupted`], [`StoreError::Io`].
    pub fn alone<T, E: From<StoreError>>(&self, name: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let mut pause = Self::FIRST_PAUSE;
        loop {
            if let Some(claim) = self.claim_of(name)? {
                return done_under(&claim, work);
            }
            interrupted()?;
            std::thread::sleep(pause);
            pause = (2 * pause).min(Self::LONGEST_PAUSE);
        }
    }

    /// As [`alone`](Self::alone), but does nothing if another one is at it just now.
    ///
    /// # Errors
    /// As [`alone`](Self::alone).
    pub fn alone_now<T, E: From<StoreError>>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        self.claim_of(name)?.map(|claim| done_under(&claim, work)).transpose()
    }

    fn claim_of(&self, name: &str) -> Result<Option<Arc<Held>>, StoreError> {
        let key = StageKey::new(name, 0, &(), &[])?;
        Ok(match self.claims.acquire(key.id())? {
            Acquired::Mine(claim) => Some(claim),
            Acquired::Other(_) => None,
        })
    }
}

fn done_under<T, E: From<StoreError>>(claim: &Held, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let done = work();
    let released = claim.release();
    let done = done?;
    released?;
    Ok(done)
}
