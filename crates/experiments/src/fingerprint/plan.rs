//! The stages of a preset, and what they left.

use lab::error::Failure;
use lab::grid::{Grid, Job, Outcomes};
use lab::stage;

use super::preset::FingerprintPreset;
use super::statistics::{Checkpoint, Setting};
use crate::parts::ModelPreset;
use crate::stages::{Inside, Network, PretrainResult, Pretraining, Probe, TokenData, training_speed};

/// The jobs of a preset.
pub struct Planned {
    checkpoints: Vec<Probed>,
    provenance: Vec<(String, String)>,
}

/// The jobs of one checkpoint.
struct Probed {
    optimizer: String,
    seed: u64,
    setting: Setting,
    training: Job<PretrainResult>,
    probe: Job<Inside>,
}

/// What the stages left.
pub(super) struct Finished {
    pub(super) checkpoints: Vec<Checkpoint>,
    /// Pretrainings that diverged.
    pub(super) diverged: usize,
    pub(super) provenance: Vec<(String, String)>,
}

impl Planned {
    /// What the jobs left.
    pub(super) fn read(self, done: &Outcomes) -> Finished {
        let (mut checkpoints, mut diverged) = (Vec::new(), 0);
        for of in &self.checkpoints {
            match done.get(of.training).map(|result| result.loss) {
                Some(Some(loss)) => checkpoints.extend(done.get(of.probe).map(|inside| Checkpoint {
                    optimizer: of.optimizer.clone(),
                    seed: of.seed,
                    setting: of.setting,
                    loss,
                    features: super::features::features(inside, loss),
                })),
                Some(None) => diverged += 1,
                None => {}
            }
        }
        Finished { checkpoints, diverged, provenance: self.provenance }
    }
}

/// Adds every stage of a preset to the grid.
pub(super) fn plan(preset: &FingerprintPreset, grid: &mut Grid) -> Result<Planned, Failure> {
    let (text, _) = TokenData::prepare(grid, &preset.text(), false)?;
    let network = |width: usize| Network {
        config: ModelPreset { width, ..preset.model.clone() }.config(&text.tokenizer),
        precision: preset.precision,
        device: preset.device.hardware(),
        sequence: None,
    };
    let training = preset.pretrain.training(preset.steps);
    let widest = network(preset.widths().into_iter().max().unwrap_or(preset.model.width));
    let provenance = vec![("arithmetic".into(), widest.arithmetic()), ("text".into(), text.description.clone())];
    let mut planned = Planned { checkpoints: Vec::new(), provenance };
    for seed in preset.seeds().all() {
        // A run that is stopped then has whole seeds to show.
        grid.set_round(seed);
        for width in preset.widths() {
            let network = network(width);
            for (&optimizer, rates) in &preset.rates {
                for (place, &rate) in rates.iter().enumerate() {
                    for &decay in &preset.decays {
                        let name = format!("{optimizer} at {rate} decay {decay} width {width}");
                        let pretraining = Pretraining {
                            name: name.clone(),
                            network: network.clone(),
                            policy: preset.policy(optimizer, rate, decay),
                            training,
                            curve_points: preset.pretrain.curve_points,
                            held_out_windows: preset.evaluation.pretrain_windows,
                            seed,
                            data: text.clone(),
                        };
                        let id = stage::id_of(&pretraining)?;
                        let training_job = grid.stage(pretraining, &[])?;
                        let probe = Probe {
                            name,
                            checkpoint: Some(id),
                            network: network.clone(),
                            text: text.clone(),
                            tokens: preset.evaluation.probe_tokens,
                            seed,
                        };
                        let probe = grid.stage(probe, &[training_job.any()])?;
                        planned.checkpoints.push(Probed {
                            optimizer: optimizer.as_str().into(),
                            seed,
                            setting: Setting { place, rate, decay, width },
                            training: training_job,
                            probe,
                        });
                    }
                }
            }
        }
    }
    if grid.look()?.iter().any(|stage| !stage.done)
        && let Some((&optimizer, rates)) = preset.rates.iter().next()
    {
        let policy = preset.policy(optimizer, rates[0], preset.decays[0]);
        grid.set_speed(training_speed(&widest, &policy, &training)?);
    }
    Ok(planned)
}
