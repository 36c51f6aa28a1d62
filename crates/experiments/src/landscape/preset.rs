//! Presets of `landscape`: a preset of `tradeoff` for network and checkpoints, and which directions to look along.

use std::num::NonZeroUsize;

use lab::error::Failure;
use models::Precision;
use models::optim::RuleName;
use serde::{Deserialize, Serialize};

use super::compared::{Pair, REFERENCE_BATCHES, REFERENCE_GAIN, own_direction};
use crate::error::{ExperimentError, Result};
use crate::ground::{Changes, pair};
use crate::parts::checks::{distinct, drawn, positive, within};
use crate::parts::{CheckpointPreset, MOST_WIDTH, Machine, OwnText, is_default};
use crate::stages::Survey;
use crate::tradeoff::TradeoffPreset;

/// The most batches behind a gradient.
const MOST_BATCHES: u64 = 1_000_000;

/// Everything that decides the results of `landscape`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LandscapePreset {
    /// The preset's name.
    pub name: String,
    /// The preset of `tradeoff` whose network, checkpoints and finetuning batches are taken: its name or file.
    pub base: String,
    /// Pretraining seeds, where they are not the base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u64>,
    /// Tasks whose gradients are taken.
    pub tasks: Vec<String>,
    /// Checkpoints beside the compared pair; a pair of the base's controls is compared where both its members are here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<String>,
    /// Batches behind a gradient; 8, for the verdict, must be among them.
    pub batches: Vec<u64>,
    /// First-order gains as shares of the task's loss; 0.1, for the verdict, must be among them.
    pub gains: Vec<f64>,
    /// A step's length as a share of that of the weights it moves.
    pub relative: f64,
    /// A step's root mean square.
    pub absolute: f64,
    /// Rank of the low-rank part of a gradient.
    pub rank: usize,
    /// Optimizers whose own update is a direction.
    pub optimizers: Vec<RuleName>,
    /// Draws of every random direction.
    pub draws: u64,
    /// Held-out windows of pretraining text on which curvatures are measured.
    pub curvature_windows: usize,
    /// Where networks are trained.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device: Machine,
    /// In which numbers products of matrices are computed, where it is not as the base says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// The text, where it is not the base's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub corpus: OwnText,
}

impl lab::preset::Preset for LandscapePreset {
    const BUILT_IN: &'static [(&'static str, &'static str)] = &[
        ("smoke", include_str!("../../presets/landscape/smoke.toml")),
        ("quick", include_str!("../../presets/landscape/quick.toml")),
        ("standard", include_str!("../../presets/landscape/standard.toml")),
    ];

    fn validate(&self) -> Result<(), Failure> {
        Ok(self.check()?)
    }

    fn memory(&self) -> (u64, &'static str) {
        self.base().map_or((0, ""), |base| lab::preset::Preset::memory(&base))
    }

    fn default_jobs(&self) -> NonZeroUsize {
        self.device.default_jobs()
    }
}

impl LandscapePreset {
    /// Checks every field that the base does not check.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<()> {
        let base = self.base()?;
        base.check_tasks("tasks", &self.tasks)?;
        self.batches.iter().try_for_each(|&batches| within("batches", batches, 0..=MOST_BATCHES))?;
        if !self.batches.contains(&REFERENCE_BATCHES) || self.batches.contains(&0) {
            let expected = format!("numbers from 1 on, {REFERENCE_BATCHES} among them");
            return Err(ExperimentError::value("batches", format!("{:?}", self.batches), expected));
        }
        distinct("gains", &self.gains)?;
        self.gains.iter().try_for_each(|&gain| positive("gains", gain))?;
        if !self.gains.contains(&REFERENCE_GAIN) {
            let expected = format!("shares of the task's loss, {REFERENCE_GAIN} among them");
            return Err(ExperimentError::value("gains", format!("{:?}", self.gains), expected));
        }
        positive("relative", self.relative)?;
        positive("absolute", self.absolute)?;
        within("rank", self.rank as u64, 1..=MOST_WIDTH)?;
        within("draws", self.draws, 1..=1_000_000)?;
        drawn("curvature-windows", self.curvature_windows)?;
        base.check()?;
        self.pairs(&base).map(drop)
    }

    /// The preset of `tradeoff`, with its changes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn base(&self) -> Result<TradeoffPreset> {
        let Self { seeds, device, precision, ref corpus, .. } = *self;
        Changes { seeds, device, precision, corpus }.of(&self.base)
    }

    /// The compared pair, then the controls.
    ///
    /// # Errors
    /// If the base has no checkpoint of such a name, or a control is one of the pair.
    pub fn checkpoints<'a>(&self, base: &'a TradeoffPreset) -> Result<Vec<&'a CheckpointPreset>> {
        let mut found = pair(base)?.to_vec();
        for name in &self.controls {
            let known: Vec<&str> = base.checkpoints.iter().map(|checkpoint| checkpoint.name.as_str()).collect();
            let control = base.checkpoint(name).filter(|control| !found.contains(control));
            let expected = || format!("checkpoints of the base beside the pair, each once: {}", known.join(", "));
            found.push(control.ok_or_else(|| ExperimentError::value("controls", name, expected()))?);
        }
        Ok(found)
    }

    /// The compared pair, and the base's pairs of controls whose members are looked at.
    pub(super) fn pairs(&self, base: &TradeoffPreset) -> Result<Vec<Pair>> {
        let looked_at = self.checkpoints(base)?;
        let with_direction = |name: &String| {
            let optimizer = base.checkpoint(name).and_then(CheckpointPreset::optimizer);
            let direction = optimizer.and_then(own_direction).map(|direction| (name.clone(), direction));
            let expected = "checkpoints of optimizers whose step is a function of one gradient";
            direction.ok_or_else(|| ExperimentError::value("pair", name, expected))
        };
        let pair = |[a, b]: &[String; 2], control| -> Result<Pair> {
            let (a, b) = (with_direction(a)?, with_direction(b)?);
            match a.1 == b.1 {
                true => Err(ExperimentError::value("pair", format!("{}, {}", a.0, b.0), "two different directions")),
                false => Ok(Pair { a, b, control }),
            }
        };
        let compared = base.pair.as_ref().ok_or_else(|| ExperimentError::value("pair", "none", "two checkpoints"))?;
        let mut found = vec![pair(compared, false)?];
        for control in &base.controls {
            if control.iter().all(|name| looked_at.iter().any(|checkpoint| checkpoint.name == *name)) {
                found.push(pair(control, true)?);
            }
        }
        Ok(found)
    }

    /// What is looked at.
    pub fn survey(&self, base: &TradeoffPreset) -> Survey {
        Survey {
            batches: self.batches.clone(),
            sequences: base.finetune.sequences,
            gains: self.gains.clone(),
            relative: self.relative,
            absolute: self.absolute,
            rank: self.rank,
            rules: self.optimizers.iter().map(|&optimizer| base.finetune.optimizers.rule(optimizer, 0.0)).collect(),
            draws: self.draws,
            reference: REFERENCE_BATCHES,
            reference_gain: REFERENCE_GAIN,
            curvature_windows: self.curvature_windows,
        }
    }
}

#[cfg(test)]
mod tests {
    use lab::preset::{Preset as _, parse};

    use super::*;

    #[test]
    fn the_built_in_presets_are_valid_and_print_in_a_form_that_reads_back() {
        for (name, _) in LandscapePreset::BUILT_IN {
            let preset = LandscapePreset::find(name, &[]).unwrap();
            assert_eq!(parse::<LandscapePreset>(&preset.to_toml(), "printed").unwrap(), preset);
        }
    }

    #[test]
    fn what_cannot_be_met_is_refused_by_its_field() {
        let refusal = |change: fn(&mut LandscapePreset)| {
            let mut preset = LandscapePreset::find("smoke", &[]).unwrap();
            change(&mut preset);
            preset.check().unwrap_err().to_string()
        };
        assert!(refusal(|p| p.batches = vec![1]).starts_with("batches: found [1], expected"));
        assert!(refusal(|p| p.gains = vec![0.01]).starts_with("gains: found [0.01], expected"));
        assert!(refusal(|p| p.relative = 0.0).starts_with("relative: "));
        assert!(refusal(|p| p.rank = 0).starts_with("rank: found 0"));
        assert!(refusal(|p| p.controls = vec!["sgd".into()]).starts_with("controls: found sgd, expected"));
        assert!(refusal(|p| p.controls = vec!["muon".into()]).starts_with("controls: found muon"));
        assert!(refusal(|p| p.tasks = vec!["poems".into()]).starts_with("tasks: found poems"));
    }
}
