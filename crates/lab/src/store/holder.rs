//! Who works on a stage, and the content of a claim file.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::process::Process;

/// Who works on a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Name of the machine, `unknown` if the claim cannot be read (it may be written just now).
    pub host: String,
    /// Number of the process on that machine, 0 if the claim cannot be read.
    pub pid: u32,
    /// Since when, by that machine's clock; the time of asking if the claim cannot be read.
    pub since: SystemTime,
}

impl Claim {
    pub(super) fn unknown() -> Self {
        Self { host: "unknown".into(), pid: 0, since: SystemTime::now() }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// Content of a claim file: always as long as when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) process: Process,
    pub(super) nonce: String,
    since_ms: u64,
    pub(super) heartbeat_ms: u64,
    /// Of 20 digits.
    beat: String,
}

impl Record {
    pub(super) fn new(process: &Process, nonce: String, heartbeat: Duration) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (since_ms, heartbeat_ms) = (milliseconds(since), milliseconds(heartbeat));
        Self { process: process.clone(), nonce, since_ms, heartbeat_ms, beat: format!("{:020}", 0) }
    }

    pub(super) fn parse(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Text and numbers can always be serialised.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn after_a_beat(self) -> Self {
        let beats: u64 = self.beat.parse().unwrap_or_default();
        Self { beat: format!("{:020}", beats.wrapping_add(1)), ..self }
    }

    pub(super) fn holder(&self) -> Claim {
        Claim {
            host: self.process.host.clone(),
            pid: self.process.pid,
            since: UNIX_EPOCH.checked_add(Duration::from_millis(self.since_ms)).unwrap_or(UNIX_EPOCH),
        }
    }
}
