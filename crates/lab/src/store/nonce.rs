//! Names that nobody else has.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// Hexadecimal digits in a [`nonce`].
pub(super) const DIGITS: usize = 32;

/// 32 hexadecimal digits that nobody else has: processes in two containers may have the same number, and two machines
/// the same clock.
pub(super) fn nonce() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    // The standard library's hasher is seeded by the system.
    let digits = || RandomState::new().hash_one((count, std::process::id(), SystemTime::now()));
    format!("{:016x}{:016x}", digits(), digits())
}
