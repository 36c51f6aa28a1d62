//! The stages of a preset, and what they left.

use std::sync::Arc;

use lab::error::Failure;
use lab::grid::{AnyJob, Grid, Job, Outcomes};
use lab::stage;
use lab::store::StageId;
use models::optim::Optimizer;

use super::preset::{ActivationsPreset, ProbedPreset, SwitchPreset, continued};
use super::statistics::Probed;
use crate::stages::{
    Continuation, Inside, Network, PretrainResult, Pretraining, Probe, TokenData, memory, memory_line, training_speed,
};

/// The name of a network that is not trained.
pub(super) const UNTRAINED: &str = "untrained";

/// The jobs of a preset.
pub struct Planned {
    probes: Vec<ProbeJob>,
    provenance: Vec<(String, String)>,
}

/// A network that is looked into.
struct ProbeJob {
    name: String,
    seed: u64,
    /// Its training; none of one that is not trained.
    training: Option<Job<PretrainResult>>,
    probe: Job<Inside>,
}

/// What the stages left.
pub(super) struct Finished {
    pub(super) probed: Vec<Probed>,
    pub(super) provenance: Vec<(String, String)>,
}

impl Planned {
    /// What the jobs left.
    pub(super) fn read(&self, done: &Outcomes) -> Finished {
        let probed = self.probes.iter().filter_map(|job| {
            let loss = job.training.and_then(|training| done.get(training)?.loss);
            Some(Probed { name: job.name.clone(), seed: job.seed, loss, inside: done.get(job.probe)?.clone() })
        });
        Finished { probed: probed.collect(), provenance: self.provenance.clone() }
    }
}

/// What all stages of a preset share.
struct Planner<'a> {
    preset: &'a ActivationsPreset,
    network: Network,
    text: Arc<TokenData>,
}

/// Adds every stage of a preset to the grid.
pub(super) fn plan(preset: &ActivationsPreset, grid: &mut Grid) -> Result<Planned, Failure> {
    let (text, _) = TokenData::prepare(grid, &preset.text(), false)?;
    let network = Network {
        config: preset.model.config(&text.tokenizer),
        precision: preset.precision,
        device: preset.device.hardware(),
        sequence: None,
    };
    let training = preset.pretrain.training(1);
    if let Some(line) = memory_line(&network, &memory(&network, &[(String::new(), training, None)]), false)? {
        grid.say(&line);
    }
    let mut provenance = vec![("arithmetic".into(), network.arithmetic()), ("text".into(), text.description.clone())];
    let initial = network.build(0)?;
    for checkpoint in &preset.checkpoints {
        let mut network = initial.clone();
        let optimizer = Optimizer::new(network.parameters_mut(), &checkpoint.policy(&preset.pretrain))?;
        let lines = optimizer.describe(network.parameters());
        provenance.push((format!("pretraining {}", checkpoint.name), lines.join("; ")));
    }
    let planner = Planner { preset, network, text };
    let mut planned = Planned { probes: Vec::new(), provenance };
    for seed in preset.seeds().all() {
        // A run that is stopped then has whole seeds to show.
        grid.set_round(seed);
        planner.probe(UNTRAINED, None, seed, grid, &mut planned)?;
        let mut kept = Vec::new();
        for checkpoint in preset.checkpoints.iter().filter(|of| preset.seeds().has(of.seeds, seed)) {
            let pretraining = planner.pretraining(checkpoint, seed);
            let id = stage::id_of(&pretraining)?;
            let job = grid.stage(pretraining, &[])?;
            planner.probe(&checkpoint.name, Some((&id, job)), seed, grid, &mut planned)?;
            kept.push((checkpoint, id, job));
        }
        if let Some(switch) = preset.switch.as_ref().filter(|switch| preset.seeds().has(switch.seeds, seed)) {
            planner.switch(switch, &kept, seed, grid, &mut planned)?;
        }
    }
    if grid.look()?.iter().any(|stage| !stage.done) {
        let policy = preset.checkpoints[0].policy(&preset.pretrain);
        grid.set_speed(training_speed(&planner.network, &policy, &training)?);
    }
    Ok(planned)
}

impl Planner<'_> {
    /// A pretraining: of a checkpoint that `tradeoff` has too, the same stage.
    fn pretraining(&self, checkpoint: &ProbedPreset, seed: u64) -> Pretraining {
        let ActivationsPreset { pretrain, evaluation, .. } = self.preset;
        Pretraining {
            name: checkpoint.name.clone(),
            network: self.network.clone(),
            policy: checkpoint.policy(pretrain),
            training: pretrain.training(checkpoint.steps),
            curve_points: pretrain.curve_points,
            held_out_windows: evaluation.pretrain_windows,
            seed,
            data: self.text.clone(),
        }
    }

    fn probe(
        &self,
        name: &str,
        trained: Option<(&StageId, Job<PretrainResult>)>,
        seed: u64,
        grid: &mut Grid,
        planned: &mut Planned,
    ) -> Result<(), Failure> {
        let probe = Probe {
            name: name.into(),
            checkpoint: trained.map(|(id, _)| id.clone()),
            network: self.network.clone(),
            text: self.text.clone(),
            tokens: self.preset.evaluation.probe_tokens,
            seed,
        };
        let training = trained.map(|(_, job)| job);
        let after: Vec<AnyJob> = training.iter().map(|job| job.any()).collect();
        let probe = grid.stage(probe, &after)?;
        planned.probes.push(ProbeJob { name: name.into(), seed, training, probe });
        Ok(())
    }

    /// Each of two checkpoints trained on with the optimizers of both.
    fn switch(
        &self,
        switch: &SwitchPreset,
        kept: &[(&ProbedPreset, StageId, Job<PretrainResult>)],
        seed: u64,
        grid: &mut Grid,
        planned: &mut Planned,
    ) -> Result<(), Failure> {
        let ActivationsPreset { pretrain, evaluation, .. } = self.preset;
        let of = |name: &String| kept.iter().find(|(checkpoint, ..)| checkpoint.name == *name);
        let pairs = switch.checkpoints.iter().flat_map(|from| switch.checkpoints.iter().map(move |with| (from, with)));
        for (from, with) in pairs {
            let (Some((start, id, job)), Some(with)) = (of(from), self.preset.checkpoint(with)) else { continue };
            let name = continued(from, &with.name);
            let steps = ((start.steps as f64 * switch.share).round() as u64).max(1);
            let stage = Continuation {
                name: name.clone(),
                checkpoint: id.clone(),
                network: self.network.clone(),
                policy: with.policy(pretrain),
                training: pretrain.training(steps),
                curve_points: pretrain.curve_points,
                held_out_windows: evaluation.pretrain_windows,
                seed,
                data: self.text.clone(),
            };
            let id = stage::id_of(&stage)?;
            let continued = grid.stage(stage, &[job.any()])?;
            self.probe(&name, Some((&id, continued)), seed, grid, planned)?;
        }
        Ok(())
    }
}
