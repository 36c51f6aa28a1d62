//! From probes to effects and the verdict on claim C2. What counts is fixed in docs/protocol.md.

use lab::statistics::ScorecardRow;

use super::preset::{ActivationsPreset, continued};
use crate::names::display;
use crate::stages::{Inside, Measured, VectorRow};

/// A network that was looked into.
#[derive(Debug, Clone)]
pub(super) struct Probed {
    pub(super) name: String,
    pub(super) seed: u64,
    /// Its held-out loss in nats per token; none if it was not trained.
    pub(super) loss: Option<f64>,
    pub(super) inside: Inside,
}

/// A number that is read off a network's activations: the mean over the inputs of the linear maps inside the blocks.
pub(super) struct Reading {
    /// In tables.
    pub(super) title: &'static str,
    /// What AdamW's activations are expected to be beside Muon's, as the end of a sentence.
    pub(super) claim: &'static str,
    /// 1 if AdamW's number is expected to be larger, -1 if smaller.
    pub(super) sign: f64,
    pub(super) unit: &'static str,
    read: fn(&VectorRow) -> f64,
}

/// The reading that decides.
pub(super) const ALIGNMENT: Reading = Reading {
    title: "ln a",
    claim: "carry their anisotropy more on the axes (layer mean of ln a)",
    sign: -1.0,
    unit: "ln a",
    read: |row| row.alignment.ln(),
};

/// Beside it.
pub(super) const OTHERS: [Reading; 5] = [
    Reading {
        title: "off-diagonal mass",
        claim: "have less off-diagonal mass",
        sign: -1.0,
        unit: "share",
        read: |row| row.off_diagonal_mass,
    },
    Reading {
        title: "ln participation ratio",
        claim: "use fewer directions (participation ratio of S)",
        sign: -1.0,
        unit: "ln",
        read: |row| row.participation_ratio.ln(),
    },
    Reading {
        title: "ln participation ratio of features",
        claim: "use fewer features (participation ratio of the diagonal of S)",
        sign: -1.0,
        unit: "ln",
        read: |row| row.participation_ratio_of_features.ln(),
    },
    Reading {
        title: "excess kurtosis of features",
        claim: "have heavier tails (excess kurtosis of features)",
        sign: 1.0,
        unit: "kurtosis",
        read: |row| row.kurtosis_of_features,
    },
    Reading {
        title: "ln max/RMS",
        claim: "have larger outliers (max over RMS)",
        sign: 1.0,
        unit: "ln",
        read: |row| row.max_over_rms.ln(),
    },
];

/// The rows that a reading averages: what linear maps inside the blocks read, each stream once.
pub(super) fn inputs(inside: &Inside) -> impl Iterator<Item = &VectorRow> {
    inside.vectors.iter().filter(|row| row.measured == Measured::Input && row.kind != "head-input")
}

impl Reading {
    /// Of one network.
    pub(super) fn of(&self, inside: &Inside) -> f64 {
        let (sum, count) = inputs(inside).fold((0.0, 0), |(sum, n), row| (sum + (self.read)(row), n + 1));
        sum / f64::from(count)
    }

    /// Of every seed of a network.
    pub(super) fn by_seed(&self, probed: &[Probed], name: &str) -> Vec<(u64, f64)> {
        probed.iter().filter(|one| one.name == name).map(|one| (one.seed, self.of(&one.inside))).collect()
    }

    /// The first's number less the second's within every seed that has both, oriented so that the claim is positive.
    fn differences(&self, probed: &[Probed], [first, second]: [&str; 2]) -> Vec<(u64, f64)> {
        let others = self.by_seed(probed, second);
        let of = |(seed, value): (u64, f64)| {
            let (_, other) = others.iter().find(|(other, _)| *other == seed)?;
            Some((seed, self.sign * (value - other)))
        };
        self.by_seed(probed, first).into_iter().filter_map(of).collect()
    }

    fn row(&self, claim: &str, statement: String, note: &str, samples: &[(u64, f64)]) -> ScorecardRow {
        let samples: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
        ScorecardRow::from_samples(claim, statement, "held-out text", self.unit, &samples, note)
    }

    fn pair_row(&self, claim: &str, probed: &[Probed], [first, second]: [&str; 2], note: &str) -> ScorecardRow {
        let statement =
            format!("The activations of {} {} than those of {}", display(first), self.claim, display(second));
        self.row(claim, statement, note, &self.differences(probed, [first, second]))
    }
}

/// Names of a pair.
fn names([first, second]: &[String; 2]) -> [&str; 2] {
    [first, second]
}

/// The verdict.
pub(super) fn scorecard(preset: &ActivationsPreset, probed: &[Probed]) -> Vec<ScorecardRow> {
    let note = "a below 1: the axes carry the anisotropy; the pair is matched in loss";
    vec![ALIGNMENT.pair_row("C2", probed, names(&preset.pair), note)]
}

/// What stands beside it: other readings, other pairs, the switch, and how well pairs match in loss.
pub(super) fn controls(preset: &ActivationsPreset, probed: &[Probed]) -> Vec<ScorecardRow> {
    let of_pair = |reading: &Reading| reading.pair_row("C2 (beside)", probed, names(&preset.pair), "");
    let mut rows: Vec<ScorecardRow> = OTHERS.iter().map(of_pair).collect();
    let of_control = |pair: &[String; 2]| ALIGNMENT.pair_row("C2 (control)", probed, names(pair), "");
    rows.extend(preset.controls.iter().map(of_control));
    rows.extend(switch_rows(preset, probed));
    rows.extend(std::iter::once(&preset.pair).chain(&preset.controls).map(|pair| loss_row(probed, names(pair))));
    rows
}

/// After the switch: from each checkpoint the first optimizer beside the second, and the mean over both checkpoints.
fn switch_rows(preset: &ActivationsPreset, probed: &[Probed]) -> Vec<ScorecardRow> {
    let Some(switch) = &preset.switch else { return Vec::new() };
    let [first, second] = names(&switch.checkpoints);
    let from = |checkpoint: &str| {
        ALIGNMENT.differences(probed, [&continued(checkpoint, first), &continued(checkpoint, second)])
    };
    let (of_first, of_second) = (from(first), from(second));
    let both: Vec<(u64, f64)> = of_first
        .iter()
        .filter_map(|(seed, a)| {
            let (_, b) = of_second.iter().find(|(other, _)| other == seed)?;
            Some((*seed, (a + b) / 2.0))
        })
        .collect();
    let row = |start: String, samples: &[(u64, f64)]| {
        let statement = format!(
            "Trained on from {start}, {} leaves activations that {} than {} does",
            display(first),
            ALIGNMENT.claim,
            display(second)
        );
        ALIGNMENT.row("C2 (switch)", statement, "the same weights, text and steps", samples)
    };
    let start = |name: &str| format!("the {} checkpoint", display(name));
    vec![row("either checkpoint".into(), &both), row(start(first), &of_first), row(start(second), &of_second)]
}

fn loss_row(probed: &[Probed], [first, second]: [&str; 2]) -> ScorecardRow {
    let loss = |name: &str, seed: u64| probed.iter().find(|one| one.name == name && one.seed == seed)?.loss;
    let seeds = probed.iter().filter(|one| one.name == first).map(|one| one.seed);
    let samples: Vec<f64> = seeds.filter_map(|seed| Some(loss(first, seed)? - loss(second, seed)?)).collect();
    let statement = format!("The {} checkpoint has a higher loss than {}", display(first), display(second));
    let note = "zero where a pair is matched in loss";
    ScorecardRow::from_samples("loss", statement, "pretraining text", "nats per token", &samples, note)
}

#[cfg(test)]
mod tests {
    use lab::preset::Preset as _;
    use lab::statistics::Verdict;

    use super::*;

    fn vectors(layer: usize, measured: Measured, kind: &str, alignment: f64) -> VectorRow {
        VectorRow {
            layer,
            measured,
            kind: kind.into(),
            features: 4,
            vectors: 8,
            rms: 1.0,
            l1_over_l2: 0.8,
            kurtosis_of_features: 0.0,
            largest_kurtosis_of_features: 0.0,
            kurtosis_of_norms: 0.0,
            max_over_rms: 3.0,
            largest_features: "0 1 2".into(),
            trace: 4.0,
            axis_roots: 4.0,
            trace_root: 4.0,
            participation_ratio: 2.0,
            participation_ratio_of_features: 2.0,
            effective_rank: 2.0,
            effective_rank_of_roots: 2.0,
            off_diagonal_mass: 0.1,
            alignment,
        }
    }

    fn probed(name: &str, seed: u64, alignment: f64) -> Probed {
        let inside = Inside {
            vectors: vec![
                vectors(0, Measured::Input, "attention-input", alignment * 2.0),
                vectors(0, Measured::Input, "mlp-hidden", alignment / 2.0),
                vectors(1, Measured::Input, "head-input", 7.0),
                vectors(0, Measured::Residual, "residual", 9.0),
                vectors(0, Measured::Gradient, "q_proj", 11.0),
            ],
            weights: Vec::new(),
        };
        Probed { name: name.into(), seed, loss: Some(3.0 + seed as f64), inside }
    }

    fn preset() -> ActivationsPreset {
        ActivationsPreset::find("smoke", &[]).unwrap()
    }

    #[test]
    fn the_reading_is_the_mean_over_inputs_inside_the_blocks_alone() {
        let found = ALIGNMENT.of(&probed("adamw", 0, 0.9).inside);
        assert!((found - 0.9f64.ln()).abs() < 1e-12, "{found}");
    }

    #[test]
    fn a_lower_alignment_of_adamw_supports_the_claim_seed_by_seed() {
        let preset = preset();
        let [first, second] = &preset.pair;
        let all: Vec<Probed> = (0..5)
            .flat_map(|seed| {
                let luck = 1.0 + 0.1 * seed as f64;
                [probed(first, seed, 0.8 * luck), probed(second, seed, (0.9 + 0.001 * seed as f64) * luck)]
            })
            .chain([probed(second, 7, 0.1)])
            .collect();
        let row = &scorecard(&preset, &all)[0];
        assert_eq!((row.n, row.verdict), (5, Verdict::Reproduced));
        assert!((row.effect.unwrap() - (0.902f64 / 0.8).ln()).abs() < 1e-3, "{row:?}");
        let losses = controls(&preset, &all).into_iter().find(|row| row.claim == "loss").unwrap();
        assert_eq!((losses.effect, losses.n), (Some(0.0), 5));
    }

    #[test]
    fn the_switch_compares_optimizers_from_the_same_checkpoint() {
        let preset = preset();
        let [first, second] = names(&preset.switch.as_ref().unwrap().checkpoints);
        let all: Vec<Probed> = [(first, 0.9, 0.95), (second, 0.8, 0.92)]
            .iter()
            .flat_map(|&(from, a, b)| [probed(&continued(from, first), 0, a), probed(&continued(from, second), 0, b)])
            .collect();
        let rows = switch_rows(&preset, &all);
        let expected = ((0.95f64 / 0.9).ln() + (0.92f64 / 0.8).ln()) / 2.0;
        assert!((rows[0].effect.unwrap() - expected).abs() < 1e-12);
        assert!((rows[2].effect.unwrap() - (0.92f64 / 0.8).ln()).abs() < 1e-12);
    }
}
