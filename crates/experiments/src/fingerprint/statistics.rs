//! From probed checkpoints to how well the optimizer is read off them.
//!
//! A way to hold out divides the checkpoints into parts, by the rank of their rate among those of their optimizer, by
//! decay, by width or by seed. Every part in turn is classified by what was fitted to all others. The balanced accuracy
//! of a seed is the mean over optimizers of the share of its checkpoints that are recognised.

use std::collections::BTreeMap;

use lab::statistics::{ScorecardRow, describe};
use ndarray::Array2;
use serde::Serialize;

use super::classifier::Classifier;
use super::features::{Name, Source};
use crate::error::Result;
use crate::names::display;

/// In which setting a network was pretrained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Setting {
    /// The rank of the rate among its optimizer's, from 0.
    pub(super) place: usize,
    pub(super) rate: f64,
    pub(super) decay: f64,
    pub(super) width: usize,
}

/// A checkpoint that was looked into.
#[derive(Debug, Clone)]
pub(super) struct Checkpoint {
    pub(super) optimizer: String,
    pub(super) seed: u64,
    pub(super) setting: Setting,
    pub(super) loss: f64,
    pub(super) features: BTreeMap<Name, f64>,
}

/// What is held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum HeldOut {
    /// All checkpoints with the lowest rate of their optimizer, then those with the next.
    Rate,
    /// All with one weight decay.
    Decay,
    /// All of one width.
    Width,
    /// All of one seed: the same settings were seen.
    Seed,
}

impl HeldOut {
    pub(super) const ALL: [Self; 4] = [Self::Rate, Self::Decay, Self::Width, Self::Seed];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rate => "learning rates",
            Self::Decay => "weight decays",
            Self::Width => "widths",
            Self::Seed => "seeds",
        }
    }

    /// The part that a checkpoint is in: equal for checkpoints of one part.
    fn part(self, of: &Checkpoint) -> u64 {
        match self {
            Self::Rate => of.setting.place as u64,
            Self::Decay => of.setting.decay.to_bits(),
            Self::Width => of.setting.width as u64,
            Self::Seed => of.seed,
        }
    }
}

/// Which features the classifier has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Known {
    Both,
    Weights,
    Activations,
    Loss,
}

impl Known {
    pub(super) const ALL: [Self; 4] = [Self::Both, Self::Weights, Self::Activations, Self::Loss];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Both => "weights and activations",
            Self::Weights => "weights",
            Self::Activations => "activations",
            Self::Loss => "loss alone",
        }
    }

    fn has(self, source: Source) -> bool {
        match self {
            Self::Both => source != Source::Loss,
            Self::Weights => source == Source::Weights,
            Self::Activations => source == Source::Activations,
            Self::Loss => source == Source::Loss,
        }
    }
}

/// What was taken for what.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) held_out: HeldOut,
    pub(super) known: Known,
    /// Seed and balanced accuracy.
    pub(super) accuracy: Vec<(u64, f64)>,
    /// How many checkpoints of each optimizer (rows) were taken for each (columns).
    pub(super) confusion: Vec<Vec<usize>>,
}

impl Read {
    pub(super) fn values(&self) -> Vec<f64> {
        self.accuracy.iter().map(|&(_, accuracy)| accuracy).collect()
    }
}

/// What gives an optimizer away: a feature, its weight, and its mean over the optimizer's checkpoints in standard
/// deviations from that of all.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Telltale {
    pub(super) optimizer: String,
    pub(super) feature: String,
    pub(super) weight: f64,
    pub(super) shift: f64,
}

/// Everything that the report shows.
pub(super) struct Statistics {
    pub(super) optimizers: Vec<String>,
    pub(super) reads: Vec<Read>,
    /// By optimizer, the heaviest first.
    pub(super) telltales: Vec<Telltale>,
    pub(super) scorecard: Vec<ScorecardRow>,
    pub(super) controls: Vec<ScorecardRow>,
}

impl Statistics {
    pub(super) fn compute(checkpoints: &[Checkpoint], ridge: f64) -> Result<Self> {
        let mut optimizers: Vec<String> = checkpoints.iter().map(|of| of.optimizer.clone()).collect();
        optimizers.sort();
        optimizers.dedup();
        let mut reads = Vec::new();
        for held_out in HeldOut::ALL {
            for known in Known::ALL {
                reads.extend(read(checkpoints, &optimizers, held_out, known, ridge)?);
            }
        }
        let chance = 1.0 / optimizers.len().max(1) as f64;
        let row = |of: &Read, claim: &str| {
            let statement = format!(
                "The optimizer is read off {} of a checkpoint, in {} that were held out, better than by chance",
                of.known.name(),
                of.held_out.name()
            );
            let values: Vec<f64> = of.values().iter().map(|accuracy| accuracy - chance).collect();
            let note = format!("balanced accuracy {}, chance {chance:.3}", describe(&of.values(), 3));
            ScorecardRow::from_samples(
                claim,
                statement,
                "pretraining text",
                "balanced accuracy less chance",
                &values,
                note,
            )
        };
        let primary = |of: &&Read| of.held_out == HeldOut::Rate && of.known == Known::Both;
        Ok(Self {
            scorecard: reads.iter().filter(primary).map(|of| row(of, "C2 (fingerprint)")).collect(),
            controls: reads.iter().filter(|of| !primary(of)).map(|of| row(of, "C2 (fingerprint, control)")).collect(),
            telltales: telltales(checkpoints, &optimizers, ridge)?,
            reads,
            optimizers,
        })
    }
}

/// The features of checkpoints that the classifier knows, a row each, with their classes.
fn samples(checkpoints: &[&Checkpoint], optimizers: &[String], known: Known) -> (Array2<f64>, Vec<usize>) {
    let row = |of: &&Checkpoint| -> Vec<f64> {
        of.features.iter().filter(|((source, _), _)| known.has(*source)).map(|(_, &value)| value).collect()
    };
    let rows: Vec<Vec<f64>> = checkpoints.iter().map(row).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let values = Array2::from_shape_fn((rows.len(), columns), |(i, j)| rows[i][j]);
    let class = |of: &&Checkpoint| optimizers.iter().position(|name| *name == of.optimizer).unwrap_or(0);
    (values, checkpoints.iter().map(class).collect())
}

/// None where there is only one part.
fn read(
    checkpoints: &[Checkpoint],
    optimizers: &[String],
    held_out: HeldOut,
    known: Known,
    ridge: f64,
) -> Result<Option<Read>> {
    let mut parts: Vec<u64> = checkpoints.iter().map(|of| held_out.part(of)).collect();
    parts.sort_unstable();
    parts.dedup();
    if parts.len() < 2 {
        return Ok(None);
    }
    let classes = optimizers.len();
    let mut confusion = vec![vec![0; classes]; classes];
    // By seed and optimizer: recognised, and all.
    let mut counts: BTreeMap<u64, Vec<[usize; 2]>> = BTreeMap::new();
    for part in parts {
        let (tested, fitted): (Vec<&Checkpoint>, Vec<&Checkpoint>) =
            checkpoints.iter().partition(|of| held_out.part(of) == part);
        let (values, of) = samples(&fitted, optimizers, known);
        let classifier = Classifier::fit(&values, &of, classes, ridge)?;
        let (values, of) = samples(&tested, optimizers, known);
        for ((&checkpoint, class), found) in tested.iter().zip(of).zip(classifier.classes(&values)) {
            confusion[class][found] += 1;
            let counts = &mut counts.entry(checkpoint.seed).or_insert_with(|| vec![[0; 2]; classes])[class];
            counts[0] += usize::from(class == found);
            counts[1] += 1;
        }
    }
    let balanced = |counts: &Vec<[usize; 2]>| {
        let shares: Vec<f64> = counts.iter().filter(|of| of[1] > 0).map(|of| of[0] as f64 / of[1] as f64).collect();
        shares.iter().sum::<f64>() / shares.len().max(1) as f64
    };
    let accuracy = counts.iter().map(|(&seed, counts)| (seed, balanced(counts))).collect();
    Ok(Some(Read { held_out, known, accuracy, confusion }))
}

/// Features of each optimizer that are shown.
const SHOWN: usize = 4;

fn telltales(checkpoints: &[Checkpoint], optimizers: &[String], ridge: f64) -> Result<Vec<Telltale>> {
    let all: Vec<&Checkpoint> = checkpoints.iter().collect();
    let Some(first) = all.first() else { return Ok(Vec::new()) };
    let (values, of) = samples(&all, optimizers, Known::Both);
    let classifier = Classifier::fit(&values, &of, optimizers.len(), ridge)?;
    let z = classifier.standardised(&values);
    let names: Vec<&String> =
        first.features.keys().filter(|(source, _)| Known::Both.has(*source)).map(|(_, name)| name).collect();
    let mut found = Vec::new();
    for (class, optimizer) in optimizers.iter().enumerate() {
        let rows: Vec<usize> = (0..of.len()).filter(|&row| of[row] == class).collect();
        let mut order: Vec<usize> = (0..names.len()).collect();
        let weight = |feature: usize| classifier.weights[[feature, class]];
        order.sort_by(|&a, &b| weight(b).abs().total_cmp(&weight(a).abs()));
        found.extend(order.into_iter().take(SHOWN).map(|feature| Telltale {
            optimizer: optimizer.clone(),
            feature: names[feature].clone(),
            weight: weight(feature),
            shift: rows.iter().map(|&row| z[[row, feature]]).sum::<f64>() / rows.len() as f64,
        }));
    }
    Ok(found)
}

impl Telltale {
    /// "q_proj ln stable rank (+1.3 sd)".
    pub(super) fn describe(&self) -> String {
        format!("{} ({:+.1} sd)", self.feature, self.shift)
    }
}

impl Statistics {
    /// What gives an optimizer away, in words, after its name.
    pub(super) fn of(&self, optimizer: &str) -> Vec<String> {
        let own = self.telltales.iter().filter(|of| of.optimizer == optimizer);
        std::iter::once(display(optimizer)).chain(own.map(Telltale::describe)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::features::features;
    use super::super::features::tests::inside;
    use super::*;

    /// Two optimizers at three rates, two decays and `seeds` seeds: Muon's stable ranks are higher at every rate, the
    /// alignment is the same, the loss is the rate's.
    fn checkpoints(seeds: u64) -> Vec<Checkpoint> {
        let mut found = Vec::new();
        for seed in 0..seeds {
            for (class, optimizer) in ["adamw", "muon"].into_iter().enumerate() {
                for place in 0..3 {
                    for decay in [0.0, 0.1] {
                        let noise = 0.1 * ((seed * 7 + place as u64 * 3) % 5) as f64;
                        let stable = 2.0 + 4.0 * class as f64 + noise;
                        let loss = 4.0 - place as f64;
                        found.push(Checkpoint {
                            optimizer: optimizer.into(),
                            seed,
                            setting: Setting { place, rate: 1e-3, decay, width: 32 },
                            loss,
                            features: features(&inside([stable, stable], 1.0 + noise), loss),
                        });
                    }
                }
            }
        }
        found
    }

    #[test]
    fn a_planted_mark_is_read_in_settings_that_were_held_out_and_named() {
        let statistics = Statistics::compute(&checkpoints(5), 0.01).unwrap();
        let of = |held_out, known| {
            let mut reads = statistics.reads.iter();
            reads.find(|read| read.held_out == held_out && read.known == known).unwrap().clone()
        };
        for held_out in [HeldOut::Rate, HeldOut::Decay, HeldOut::Seed] {
            assert_eq!(of(held_out, Known::Both).values(), [1.0; 5]);
            assert_eq!(of(held_out, Known::Weights).confusion, [[30, 0], [0, 30]]);
            // The loss and the activations say nothing of the optimizer.
            for blind in [Known::Loss, Known::Activations] {
                let accuracy = of(held_out, blind).values();
                assert!(accuracy.iter().all(|accuracy| (accuracy - 0.5).abs() < 1e-12), "{accuracy:?}");
            }
        }
        assert!(statistics.reads.iter().all(|read| read.held_out != HeldOut::Width), "there is one width");
        assert_eq!(statistics.of("muon")[..2], ["Muon", "q_proj ln stable rank (+1.0 sd)"]);
        assert!((statistics.scorecard[0].effect.unwrap() - 0.5).abs() < 1e-12);
        assert_eq!((statistics.scorecard.len(), statistics.controls.len()), (1, 11));
    }

    #[test]
    fn one_seed_is_not_held_out_and_no_checkpoint_is_no_statement() {
        let statistics = Statistics::compute(&checkpoints(1), 0.01).unwrap();
        assert!(statistics.reads.iter().all(|read| read.held_out != HeldOut::Seed));
        let nothing = Statistics::compute(&[], 0.01).unwrap();
        assert!(nothing.reads.is_empty() && nothing.scorecard.is_empty() && nothing.telltales.is_empty());
    }
}
