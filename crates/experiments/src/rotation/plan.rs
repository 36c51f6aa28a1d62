//! The stages of a preset, and what they left.

use lab::error::Failure;
use lab::grid::{Grid, Job, Outcomes};
use lab::{seeds, stage};

use super::preset::RotationPreset;
use crate::ground::{Ground, pair};
use crate::stages::{EndPoint, FinetuneResult, Finetuning, Losses, Measurement, SameFunction, Turned};
use crate::tradeoff::finetuning;

/// The name of a network that is folded and not turned, behind its checkpoint's.
pub(super) const FOLDED: &str = "folded";

/// The name of a turned network, the first being 1, behind its checkpoint's.
pub(super) fn turned(rotation: u64) -> String {
    format!("turned-{rotation}")
}

/// The jobs of a preset.
pub struct Planned {
    networks: Vec<(String, Job<SameFunction>)>,
    finetuned: Vec<(Finetuning, Job<Losses>, Job<FinetuneResult>)>,
    provenance: Vec<(String, String)>,
}

/// What the stages of a preset left.
pub(super) struct Finished {
    /// Every network by its checkpoint and turn, once a seed, and how far its function is from the checkpoint's.
    pub(super) networks: Vec<(String, SameFunction)>,
    /// The end of every finetuning.
    pub(super) ends: Vec<EndPoint>,
    /// How it was made: label and value.
    pub(super) provenance: Vec<(String, String)>,
}

impl Planned {
    /// What the jobs left.
    pub(super) fn read(self, done: &Outcomes) -> Finished {
        let ends = self.finetuned.iter().filter_map(|(run, before, job)| {
            let result = done.get(*job)?;
            Some(run.end_point(done.get(*before)?, result))
        });
        let networks = self.networks.iter().filter_map(|(name, job)| Some((name.clone(), *done.get(*job)?)));
        Finished { ends: ends.collect(), networks: networks.collect(), provenance: self.provenance }
    }
}

/// Adds every stage of a preset to the grid.
///
/// # Errors
/// If the text or a task cannot be had, or does not fit the network.
pub(super) fn plan(preset: &RotationPreset, grid: &mut Grid) -> Result<Planned, Failure> {
    let ground = Ground::prepare(preset.base()?, &preset.tasks, grid)?;
    let mut planned = Planned { networks: Vec::new(), finetuned: Vec::new(), provenance: ground.provenance() };
    for seed in ground.preset.seeds().all() {
        // A run that is stopped then has whole seeds to show.
        grid.set_round(seed);
        let tasks = ground.tasks(seed)?;
        for checkpoint in pair(&ground.preset)? {
            let pretraining = ground.pretraining(checkpoint, seed)?;
            let id = stage::id_of(&pretraining)?;
            let pretrained = grid.stage(pretraining, &[])?;
            let turns = (1..=preset.rotations)
                .map(|rotation| (turned(rotation), Some(seeds::stream(seed, &format!("rotation {rotation}")))));
            for (turn, rotation) in std::iter::once((FOLDED.into(), None)).chain(turns) {
                let name = format!("{}-{turn}", checkpoint.name);
                let turned = Turned {
                    name: format!("{} seed {seed}", checkpoint.name),
                    checkpoint: id.clone(),
                    network: ground.network.clone(),
                    rotation,
                };
                let (kept, network) = (stage::id_of(&turned)?, turned.turned_network()?);
                let job = grid.stage(turned, &[pretrained.any()])?;
                planned.networks.push((name.clone(), job));
                for task in &tasks {
                    let start = ground.start(&name, (kept.clone(), &network), task, seed);
                    let before = grid.stage(Measurement(start.clone()), &[job.any()])?;
                    for method in preset.methods() {
                        for &rate in &method.rates {
                            let run = finetuning(&ground.preset, &start, checkpoint, &method, rate);
                            let run = Finetuning {
                                carries_state: false,
                                along: 0,
                                keep_weights: false,
                                keep_adapter: false,
                                ..run
                            };
                            let after = grid.stage(run.clone(), &[job.any(), before.any()])?;
                            planned.finetuned.push((run, before, after));
                        }
                    }
                }
            }
        }
    }
    ground.estimate(grid)?;
    Ok(planned)
}
