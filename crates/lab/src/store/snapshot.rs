//! The record of a snapshot: what is in it, of which stage and step, under a checksum of its own.
//!
//! A snapshot is gone on from only by the stage that took it: its record names the stage, and the checksum covers the
//! name, the step, the metrics up to it and the checksums of all files. A folder that was renamed to another stage's
//! name, or a step that was edited, is then no snapshot at all, and the stage begins anew.

use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::done::CONFIG;
use super::error::{IoContext, StoreError};
use super::files::{FileRecord, Manifest};
use super::key::{StageId, StageKey};
use crate::hash::sha256_hex;

/// The record of a snapshot, written last into its folder.
pub(super) const SNAPSHOT: &str = "snapshot.json";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SnapshotRecord {
    /// The stage that took it. Earlier releases wrote neither this nor the fields below that may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stage: Option<StageId>,
    pub(super) step: u64,
    /// Length of the metrics file when the snapshot was taken.
    pub(super) metrics_bytes: u64,
    /// Checksum of the metrics up to there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metrics_sha256: Option<String>,
    pub(super) files: Manifest,
    /// Checksum of all other fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<String>,
}

impl SnapshotRecord {
    /// The record of a snapshot after `step` steps, when the metrics were as `metrics` says.
    pub(super) fn new(stage: StageId, step: u64, metrics: FileRecord, files: Manifest) -> Result<Self, StoreError> {
        let FileRecord { bytes, sha256 } = metrics;
        let (stage, metrics_sha256) = (Some(stage), Some(sha256));
        let mut record = Self { stage, step, metrics_bytes: bytes, metrics_sha256, files, seal: None };
        record.seal = Some(record.checksum()?);
        Ok(record)
    }

    /// The record in a snapshot's folder; nothing where there is none or it is damaged.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, StoreError> {
        let path = folder.join(SNAPSHOT);
        match std::fs::read(&path) {
            Ok(content) => Ok(serde_json::from_slice(&content).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("read", &path),
        }
    }

    /// Whether the snapshot is of this stage, and the record as it was written; `partial` is the folder that the
    /// snapshot's lies in.
    pub(super) fn is_of(&self, key: &StageKey, partial: &Path) -> bool {
        match (&self.stage, &self.metrics_sha256, &self.seal) {
            (Some(stage), Some(_), Some(seal)) => {
                stage == key.id() && self.checksum().is_ok_and(|checksum| &checksum == seal)
            }
            // Of an earlier release: the stage's configuration lies beside it.
            (None, None, None) => {
                std::fs::read_to_string(partial.join(CONFIG)).is_ok_and(|text| key.is_described_by(&text))
            }
            _ => false,
        }
    }

    /// Whether the beginning of a metrics file is what it was.
    pub(super) fn has_metrics(&self, beginning: &[u8]) -> bool {
        self.metrics_sha256.as_ref().is_none_or(|sum| *sum == sha256_hex(beginning))
    }

    fn checksum(&self) -> Result<String, StoreError> {
        let unsealed = Self { seal: None, ..self.clone() };
        let text = serde_json::to_string(&unsealed)
            .map_err(|error| StoreError::Serialise { what: SNAPSHOT.into(), message: error.to_string() })?;
        Ok(sha256_hex(text.as_bytes()))
    }
}
