//! The sign of life of the claims that this process holds: one thread for all of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::durable;
use super::error::{IoContext, StoreError};
use super::holder::Record;

/// A claim file that is kept alive.
#[derive(Debug)]
pub(super) struct Beating {
    pub(super) path: PathBuf,
    pub(super) nonce: String,
    pub(super) every: Duration,
}

impl Beating {
    /// Raises the counter in the file by one beat, if the file is still this claim's.
    fn beat(&self) {
        // What fails may go well at the next beat; a claim that is lost is noticed by who works on the stage.
        let _ = durable::update(&self.path, |content| {
            let record = Record::parse(content).filter(|record| record.nonce == self.nonce)?;
            Some(record.after_a_beat().to_bytes())
        });
    }
}

#[derive(Debug, Default)]
struct Registry {
    /// Nonces of all claims that this process holds, or is just making or giving back.
    held: BTreeSet<String>,
    /// Claims and when they are due.
    beating: Vec<(Arc<Beating>, Instant)>,
    running: bool,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { held: BTreeSet::new(), beating: Vec::new(), running: false });
static CHANGED: Condvar = Condvar::new();

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes that this process is about to make a claim.
pub(super) fn hold(nonce: &str) {
    registry().held.insert(nonce.to_string());
}

/// Whether a claim of this process is held, made or given back just now: if not, it was left behind.
pub(super) fn holds(nonce: &str) -> bool {
    registry().held.contains(nonce)
}

/// Keeps a claim alive from now on, until [`stop`].
pub(super) fn start(claim: &Arc<Beating>) -> Result<(), StoreError> {
    let mut registry = registry();
    if !registry.running {
        let thread = std::thread::Builder::new().name("heartbeat".into());
        thread.spawn(run).context("start the heartbeat of", &claim.path)?;
        registry.running = true;
    }
    registry.beating.push((claim.clone(), Instant::now() + claim.every));
    CHANGED.notify_all();
    Ok(())
}

/// Forgets a claim that was given back.
pub(super) fn stop(nonce: &str) {
    let mut registry = registry();
    registry.beating.retain(|(claim, _)| claim.nonce != nonce);
    registry.held.remove(nonce);
    CHANGED.notify_all();
}

/// Ends when nothing is held.
fn run() {
    let mut registry = registry();
    while let Some(next) = registry.beating.iter().map(|(_, due)| *due).min() {
        let now = Instant::now();
        if next > now {
            registry = CHANGED.wait_timeout(registry, next - now).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        let mut due_now = Vec::new();
        for (claim, due) in &mut registry.beating {
            if *due <= now {
                *due = now + claim.every;
                due_now.push(claim.clone());
            }
        }
        // A disk that hangs must not hold up who takes on or gives back another claim.
        drop(registry);
        due_now.iter().for_each(|claim| claim.beat());
        registry = self::registry();
    }
    registry.running = false;
}

/// Whether the thread runs.
#[cfg(test)]
pub(super) fn is_running() -> bool {
    registry().running
}
