//! The closed loop: every optimizer's checkpoint finetuned with every optimizer (the theory side of C3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::table::{FigureData, Finding, Table, with_interval};
use super::{Size, grids};
use crate::closed_loop::{ClosedLoopParams, ClosedLoopResult, ClosedLoopSimulation, Phase};
use crate::error::{Result, not_empty};
use crate::optimizers::Rule;
use crate::structured::FinetuneParams;

/// Which network a setting uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The preset's `two_layer`.
    TwoLayer,
    /// The preset's `deep`.
    Deep,
}

/// One setting of the figure: what differs from its network's base.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// The network.
    pub network: Network,
    /// Anisotropy of the inputs.
    pub anisotropy: f64,
    /// Samples of a finetuning task.
    pub samples: usize,
    /// First layer that is finetuned.
    pub first_tuned_layer: usize,
    /// Standard deviation of the label noise in pretraining.
    pub label_noise: f64,
}

/// What the figure runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyMatrixPreset {
    /// The two-layer network's base.
    pub two_layer: ClosedLoopParams,
    /// The deep network's base.
    pub deep: ClosedLoopParams,
    /// The settings.
    pub settings: Vec<Setting>,
}

impl ConsistencyMatrixPreset {
    /// Checks every parameter.
    ///
    /// # Errors
    /// The first that is out of range, by name.
    pub fn check(&self) -> Result<()> {
        self.simulations().map(drop)
    }

    fn simulations(&self) -> Result<Vec<ClosedLoopSimulation>> {
        not_empty("settings", &self.settings)?;
        let checked = |setting: &Setting| {
            let network = match setting.network {
                Network::TwoLayer => "two_layer",
                Network::Deep => "deep",
            };
            self.closed_loop(setting).check().map_err(|error| error.within(network))
        };
        self.settings.iter().map(checked).collect()
    }

    /// Number of runs, each reported when it is done.
    pub fn runs(&self) -> usize {
        self.settings
            .iter()
            .map(|setting| self.closed_loop(setting))
            .map(|closed_loop| closed_loop.pretraining.len() * closed_loop.seeds)
            .sum()
    }

    /// The preset of that size.
    pub fn new(size: Size) -> Self {
        let quick = size == Size::Quick;
        // Half as long a pretraining gives the index the same sign.
        let phase = |learning_rate, steps| Phase { learning_rate, steps: if quick { steps / 2 } else { steps } };
        let rules = [Rule::Sgd, Rule::Adam, Rule::Muon];
        let finetune = FinetuneParams {
            steps: 300,
            momentum: 0.9,
            second_moment_decay: 0.95,
            share: 0.1,
            rates: grids(&rules, 8),
        };
        let two_layer = ClosedLoopParams {
            anisotropy: 1.0,
            widths: vec![16, 24, 16],
            batch: 8,
            label_noise: 1.0,
            warm_start_rule: Rule::Sgd,
            warm_start: Phase { learning_rate: 0.01, steps: 3000 },
            pretraining: BTreeMap::from([
                (Rule::Sgd, phase(0.005, 60_000)),
                (Rule::Adam, phase(0.002, 120_000)),
                (Rule::Muon, phase(0.003, 40_000)),
            ]),
            cooldown: 0.25,
            first_tuned_layer: 1,
            samples: 4,
            task_scale: 0.7,
            tasks: 3,
            seeds: if quick { 5 } else { 10 },
            finetune,
        };
        let deep = ClosedLoopParams {
            widths: vec![12, 16, 16, 16, 12],
            warm_start_rule: Rule::Adam,
            warm_start: Phase { learning_rate: 0.003, steps: 2500 },
            pretraining: BTreeMap::from([
                (Rule::Sgd, phase(0.004, 40_000)),
                (Rule::Adam, phase(0.002, 60_000)),
                (Rule::Muon, phase(0.002, 25_000)),
            ]),
            ..two_layer.clone()
        };
        let setting = |network, anisotropy, samples, first_tuned_layer| Setting {
            network,
            anisotropy,
            samples,
            first_tuned_layer,
            label_noise: 1.0,
        };
        use Network::{Deep, TwoLayer};
        let settings = if quick {
            vec![setting(TwoLayer, 1.0, 4, 1), setting(TwoLayer, 0.0, 4, 1), setting(Deep, 1.0, 4, 1)]
        } else {
            let mut settings = Vec::new();
            for anisotropy in [0.0, 0.5, 1.0] {
                for samples in [4, 32] {
                    settings.push(setting(TwoLayer, anisotropy, samples, 1));
                }
            }
            settings.push(setting(TwoLayer, 1.0, 4, 0));
            settings.push(Setting { label_noise: 0.3, ..setting(TwoLayer, 1.0, 4, 1) });
            for (anisotropy, samples) in [(0.5, 4), (1.0, 4), (1.0, 16), (1.5, 16), (1.0, 48)] {
                settings.push(setting(Deep, anisotropy, samples, 1));
            }
            settings.push(setting(Deep, 1.0, 4, 0));
            settings
        };
        Self { two_layer, deep, settings }
    }

    /// The loop of one setting.
    pub fn closed_loop(&self, setting: &Setting) -> ClosedLoopParams {
        let base = match setting.network {
            Network::TwoLayer => &self.two_layer,
            Network::Deep => &self.deep,
        };
        ClosedLoopParams {
            anisotropy: setting.anisotropy,
            samples: setting.samples,
            first_tuned_layer: setting.first_tuned_layer,
            label_noise: setting.label_noise,
            ..base.clone()
        }
    }
}

impl Setting {
    /// The setting in words.
    fn describe(&self) -> String {
        let network = match self.network {
            Network::TwoLayer => "two-layer",
            Network::Deep => "deep",
        };
        let layers = match self.first_tuned_layer {
            0 => "all layers tuned".to_owned(),
            first => format!("layers from {} on tuned", first + 1),
        };
        format!(
            "{network} linear network, anisotropy {}, {} samples, label noise {}, {layers}",
            self.anisotropy, self.samples, self.label_noise
        )
    }
}

/// Runs the figure; `done` is called once for each finished pretraining of a seed with its finetunings.
///
/// # Errors
/// If a parameter is out of range, or a decomposition does not converge.
pub fn run(preset: &ConsistencyMatrixPreset, done: impl Fn() + Sync) -> Result<FigureData> {
    let simulations = preset.simulations()?;
    let results = simulations.iter().map(|simulation| simulation.run(&done)).collect::<Result<Vec<_>>>()?;
    let mut matrix =
        Table::new("consistency-matrix", &["setting", "pretrained", "finetuned", "forgetting", "low", "high", "n"]);
    let mut checkpoints = Table::new(
        "consistency-matrix-checkpoints",
        &[
            "setting",
            "pretrained",
            "error",
            "participation_ratio",
            "off_diagonal_mass",
            "low",
            "high",
            "adam_over_muon",
            "ratio_low",
            "ratio_high",
            "n",
        ],
    );
    let mut index = Table::new("consistency-matrix-index", &["setting", "index", "low", "high", "n"]);
    let mut findings = Vec::new();
    for ((setting, simulation), result) in preset.settings.iter().zip(&simulations).zip(&results) {
        let name = setting.describe();
        let params = simulation.params();
        for &pretrained in params.pretraining.keys() {
            for &finetuned in params.finetune.rates.keys() {
                let forgetting = result.forgetting(pretrained, finetuned);
                let mut row = vec![name.as_str().into(), pretrained.name().into(), finetuned.name().into()];
                row.extend(with_interval(forgetting));
                row.push(forgetting.n.into());
                matrix.push(row);
            }
            checkpoints.push(checkpoint_row(&name, pretrained, result));
        }
        let consistency = result.consistency(Rule::Adam, Rule::Muon);
        let mut row = vec![name.as_str().into()];
        row.extend(with_interval(consistency));
        row.push(consistency.n.into());
        index.push(row);
        findings.push(Finding {
            claim: "C3".into(),
            statement: "Matching Adam and Muon in pretraining and finetuning lowers forgetting (interaction)".into(),
            setting: name.clone(),
            unit: "log ratio of forgetting".into(),
            samples: result.log_consistency(Rule::Adam, Rule::Muon),
        });
        for (checkpoint, other, statement) in [
            (Rule::Adam, Rule::Muon, "From Adam's checkpoint Adam forgets less than Muon"),
            (Rule::Muon, Rule::Adam, "From Muon's checkpoint Muon forgets less than Adam"),
        ] {
            findings.push(Finding {
                claim: "C3".into(),
                statement: statement.into(),
                setting: name.clone(),
                unit: "log ratio of forgetting".into(),
                samples: result.log_ratios(checkpoint, other, checkpoint),
            });
        }
    }
    Ok(FigureData { name: "consistency-matrix".into(), tables: vec![matrix, checkpoints, index], findings })
}

fn checkpoint_row(name: &str, rule: Rule, result: &ClosedLoopResult) -> Vec<super::Value> {
    let ratio = result.ratio(rule, Rule::Adam, Rule::Muon);
    let mut row = vec![
        name.into(),
        rule.name().into(),
        result.pretraining_error(rule).mean.into(),
        result.participation_ratio(rule).mean.into(),
    ];
    row.extend(with_interval(result.off_diagonal_mass(rule)));
    row.extend(with_interval(ratio));
    row.push(ratio.n.into());
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> ConsistencyMatrixPreset {
        let mut preset = ConsistencyMatrixPreset::new(Size::Quick);
        for base in [&mut preset.two_layer, &mut preset.deep] {
            base.seeds = 2;
            base.tasks = 1;
            base.warm_start.steps = 400;
            base.pretraining.values_mut().for_each(|p| p.steps = 200);
            base.finetune.steps = 60;
        }
        preset.settings.truncate(2);
        preset
    }

    #[test]
    fn every_setting_has_its_matrix_and_its_findings() {
        let data = run(&tiny(), || ()).unwrap();
        assert_eq!(data.table("consistency-matrix").unwrap().rows.len(), 18);
        assert_eq!(data.table("consistency-matrix-checkpoints").unwrap().rows.len(), 6);
        assert_eq!(data.table("consistency-matrix-index").unwrap().rows.len(), 2);
        assert_eq!(data.findings.len(), 6);
    }

    #[test]
    fn presets_survive_a_file_and_bad_ones_are_refused() {
        for size in [Size::Quick, Size::Standard] {
            let preset = ConsistencyMatrixPreset::new(size);
            let value = serde_json::to_value(&preset).unwrap();
            assert_eq!(serde_json::from_value::<ConsistencyMatrixPreset>(value).unwrap(), preset);
            for setting in &preset.settings {
                preset.closed_loop(setting).check().unwrap();
            }
        }
        let mut preset = tiny();
        preset.settings.clear();
        assert!(run(&preset, || ()).is_err());
    }
}
