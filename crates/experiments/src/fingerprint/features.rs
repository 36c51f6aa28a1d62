//! A checkpoint as a row of numbers: statistics of its probe, each the mean over blocks for a kind of layer.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::stages::{Inside, Measured, VectorRow, WeightRow};

/// Numbers below this are taken as this before a logarithm: of what is zero in a network that has hardly moved.
const LEAST: f64 = 1e-12;

/// What a feature is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Source {
    /// The matrices inside the blocks.
    Weights,
    /// What they read, and the gradients of what they make.
    Activations,
    /// The loss on pretraining text alone: a control, since optimizers differ in how far they get.
    Loss,
}

/// A feature: where it is from, and what it is called.
pub(super) type Name = (Source, String);

fn ln(x: f64) -> f64 {
    x.max(LEAST).ln()
}

type OfWeights = (&'static str, fn(&WeightRow) -> f64);
type OfVectors = (&'static str, fn(&VectorRow) -> f64);

const WEIGHTS: [OfWeights; 6] = [
    ("ln rms", |row| ln(row.rms)),
    ("ln largest/rms", |row| ln(row.largest_entry / row.rms.max(LEAST))),
    ("ln stable rank", |row| ln(row.stable_rank / row.rows.min(row.columns) as f64)),
    ("ln effective rank", |row| ln(row.effective_rank / row.rows.min(row.columns) as f64)),
    ("ln effective rank of squares", |row| ln(row.effective_rank_of_squares / row.rows.min(row.columns) as f64)),
    ("ln distance", |row| ln(row.distance.unwrap_or(0.0))),
];

const VECTORS: [OfVectors; 8] = [
    ("ln rms", |row| ln(row.rms)),
    ("ln l1/l2", |row| ln(row.l1_over_l2)),
    ("asinh kurtosis of features", |row| row.kurtosis_of_features.asinh()),
    ("asinh kurtosis of norms", |row| row.kurtosis_of_norms.asinh()),
    ("ln largest/rms", |row| ln(row.max_over_rms)),
    ("ln participation ratio", |row| ln(row.participation_ratio / row.features as f64)),
    ("off-diagonal mass", |row| row.off_diagonal_mass),
    ("ln a", |row| ln(row.alignment)),
];

/// The features of a checkpoint, by name. The residual stream itself has none, since the maps read its norm.
pub(super) fn features(inside: &Inside, loss: f64) -> BTreeMap<Name, f64> {
    let mut sums: BTreeMap<Name, (f64, f64)> = BTreeMap::new();
    let mut add = |name: Name, value: f64| {
        let (sum, count) = sums.entry(name).or_default();
        *sum += value;
        *count += 1.0;
    };
    for row in &inside.weights {
        for (what, read) in WEIGHTS {
            add((Source::Weights, format!("{} {what}", row.kind)), read(row));
        }
    }
    for row in inside.vectors.iter().filter(|row| row.measured != Measured::Residual) {
        let kind = if row.measured == Measured::Gradient { format!("d {}", row.kind) } else { row.kind.clone() };
        for (what, read) in VECTORS {
            add((Source::Activations, format!("{kind} {what}")), read(row));
        }
    }
    add((Source::Loss, "loss".into()), loss);
    sums.into_iter().map(|(name, (sum, count))| (name, sum / count)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The statistics of two blocks of one matrix, whose stable rank is given.
    pub(in crate::fingerprint) fn inside(stable_ranks: [f64; 2], alignment: f64) -> Inside {
        let weight = |(layer, stable_rank)| WeightRow {
            layer,
            kind: "q_proj".into(),
            rows: 8,
            columns: 16,
            rms: 1.0,
            largest_entry: 2.0,
            spectral_norm: 1.0,
            stable_rank,
            effective_rank: 4.0,
            effective_rank_of_squares: 4.0,
            distance: Some(1.0),
        };
        let vector = |(layer, measured, kind): (usize, Measured, &str)| VectorRow {
            layer,
            measured,
            kind: kind.into(),
            features: 16,
            vectors: 100,
            rms: 1.0,
            l1_over_l2: 0.8,
            kurtosis_of_features: 0.0,
            largest_kurtosis_of_features: 0.0,
            kurtosis_of_norms: 0.0,
            max_over_rms: 4.0,
            largest_features: "0 1 2".into(),
            trace: 16.0,
            axis_roots: 16.0,
            trace_root: 16.0,
            participation_ratio: 8.0,
            participation_ratio_of_features: 8.0,
            effective_rank: 8.0,
            effective_rank_of_roots: 8.0,
            off_diagonal_mass: 0.5,
            alignment,
        };
        let streams = [
            (0, Measured::Residual, "residual"),
            (0, Measured::Input, "attention-input"),
            (0, Measured::Gradient, "q_proj"),
            (1, Measured::Input, "attention-input"),
        ];
        Inside {
            vectors: streams.map(vector).to_vec(),
            weights: stable_ranks.into_iter().enumerate().map(weight).collect(),
        }
    }

    #[test]
    fn features_are_means_over_blocks_by_kind_and_say_where_they_are_from() {
        let found = features(&inside([2.0, 8.0], 1.0), 3.5);
        assert_eq!(found.len(), WEIGHTS.len() + 2 * VECTORS.len() + 1);
        let of = |source, name: &str| found[&(source, name.to_owned())];
        assert!((of(Source::Weights, "q_proj ln stable rank") - 0.5 * 0.25f64.ln()).abs() < 1e-12);
        assert_eq!(of(Source::Activations, "d q_proj ln a"), 0.0);
        assert_eq!(of(Source::Loss, "loss"), 3.5);
        assert!(!found.keys().any(|(_, name)| name.starts_with("residual")));
    }
}
