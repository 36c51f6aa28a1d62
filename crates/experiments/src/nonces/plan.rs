//! The stages of a preset, and what they left.

use lab::error::Failure;
use lab::grid::{AnyJob, Grid, Job, Outcomes};
use lab::stage;
use lab::store::StageId;
use models::optim::RuleName;

use super::finetune::{Finetuned, Finetuning};
use super::learner::Lesson;
use super::placement::{Placed, Placement};
use super::preset::{COMPARED, Cell, FinetunerPreset, NoncesPreset, PretrainerPreset};
use super::pretrain::{Pretrained, Pretraining};
use super::tuning::{RateScore, Tried, Tuning, choose, scores};
use crate::stages::Network;

/// The jobs of a preset.
pub struct Planned {
    pretrained: Vec<(RuleName, u64, Job<Pretrained>)>,
    finetuned: Vec<Reporting<Finetuned>>,
    placed: Vec<Reporting<Placed>>,
}

/// What a cell's tuning runs are, and the rates that they try.
#[derive(Clone)]
struct Choice {
    rates: Vec<f64>,
    tried: Vec<Job<Vec<Tried>>>,
}

/// A reported job, and those that choose its rate.
struct Reporting<O> {
    cell: Cell,
    finetuner: RuleName,
    seed: u64,
    choice: Choice,
    job: Job<O>,
}

/// A reported result of a cell, a finetuner and a seed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reported<O> {
    pub(super) cell: Cell,
    pub(super) finetuner: RuleName,
    pub(super) seed: u64,
    /// Scores of the rates it was chosen from.
    pub(super) scores: Vec<RateScore>,
    /// The place of its rate among them.
    pub(super) chosen: usize,
    pub(super) result: O,
}

/// What the stages of a preset left.
pub(super) struct Done {
    pub(super) pretrained: Vec<(RuleName, u64, Pretrained)>,
    pub(super) finetuned: Vec<Reported<Finetuned>>,
    pub(super) placed: Vec<Reported<Placed>>,
}

impl Choice {
    fn scores(&self, done: &Outcomes) -> Vec<RateScore> {
        scores(&self.rates, &self.tried.iter().filter_map(|job| done.get(*job)).collect::<Vec<_>>())
    }

    fn rate(&self, done: &Outcomes) -> f64 {
        self.rates[choose(&self.scores(done))]
    }

    fn jobs(&self) -> Vec<AnyJob> {
        self.tried.iter().map(|job| job.any()).collect()
    }
}

impl<O: Clone + 'static> Reporting<O> {
    fn read(&self, done: &Outcomes) -> Option<Reported<O>> {
        let scores = self.choice.scores(done);
        let chosen = choose(&scores);
        let result = done.get(self.job)?.clone();
        Some(Reported { cell: self.cell, finetuner: self.finetuner, seed: self.seed, scores, chosen, result })
    }
}

impl Planned {
    /// What the jobs left.
    pub(super) fn read(&self, done: &Outcomes) -> Done {
        let pretrained = self.pretrained.iter();
        Done {
            pretrained: pretrained
                .filter_map(|&(name, seed, job)| Some((name, seed, done.get(job)?.clone())))
                .collect(),
            finetuned: self.finetuned.iter().filter_map(|one| one.read(done)).collect(),
            placed: self.placed.iter().filter_map(|one| one.read(done)).collect(),
        }
    }
}

/// A checkpoint that stages start from.
#[derive(Clone)]
struct Checkpoint {
    seed: u64,
    id: StageId,
    job: AnyJob,
}

/// Adds every stage of a preset to the grid.
///
/// # Errors
/// If the language refuses its configuration.
pub(super) fn plan(preset: &NoncesPreset, grid: &mut Grid) -> Result<Planned, Failure> {
    let network = preset.network()?;
    let mut planned = Planned { pretrained: Vec::new(), finetuned: Vec::new(), placed: Vec::new() };
    let mut tuning: Vec<(PretrainerPreset, Vec<Checkpoint>)> = Vec::new();
    for pretrainer in &preset.pretrainers {
        let checkpoints: Result<Vec<_>, Failure> =
            preset.tuning().map(|seed| Ok(checkpoint(preset, pretrainer, seed, grid)?.0)).collect();
        tuning.push((pretrainer.clone(), checkpoints?));
    }
    let mut choices: Vec<(Cell, RuleName, Choice)> = Vec::new();
    for (pretrainer, checkpoints) in &tuning {
        for cell in preset.cells(pretrainer.name) {
            for finetuner in &preset.finetuners {
                let choice = add_tuning(preset, cell, finetuner, (&network, checkpoints), grid)?;
                choices.push((cell, finetuner.name, choice));
            }
        }
    }
    for seed in preset.seeds().all() {
        // A run that is stopped then has whole seeds to show.
        grid.set_round(1 + seed - preset.first_seed);
        for pretrainer in &preset.pretrainers {
            let (start, job) = checkpoint(preset, pretrainer, seed, grid)?;
            planned.pretrained.push((pretrainer.name, seed, job));
            let of = choices.iter().filter(|(cell, ..)| cell.pretraining == pretrainer.name);
            for (cell, finetuner, choice) in of.filter(|(_, finetuner, _)| preset.has(*finetuner, seed)) {
                let of = Of { preset, network: &network, start: &start, cell: *cell, finetuner: *finetuner, choice };
                planned.finetuned.push(of.finetuning(grid));
                let placement = &preset.placement;
                let placed = (cell.examples, cell.nonces) == (placement.examples, placement.nonces);
                if placed && COMPARED.contains(finetuner) {
                    planned.placed.push(of.placement(grid));
                }
            }
        }
    }
    Ok(planned)
}

fn checkpoint(
    preset: &NoncesPreset,
    pretrainer: &PretrainerPreset,
    seed: u64,
    grid: &mut Grid,
) -> Result<(Checkpoint, Job<Pretrained>), Failure> {
    let pretraining = Pretraining::new(preset, pretrainer, seed)?;
    let id = stage::id_of(&pretraining)?;
    let job = grid.stage(pretraining, &[])?;
    Ok((Checkpoint { seed, id, job: job.any() }, job))
}

/// The runs that choose a finetuner's rate in a cell.
fn add_tuning(
    preset: &NoncesPreset,
    cell: Cell,
    finetuner: &FinetunerPreset,
    (network, checkpoints): (&Network, &[Checkpoint]),
    grid: &mut Grid,
) -> Result<Choice, Failure> {
    let policies: Vec<_> =
        finetuner.rates.iter().map(|&rate| (rate, preset.finetuning_policy(finetuner.name, rate))).collect();
    let mut tried = Vec::new();
    for checkpoint in checkpoints {
        let stage = Tuning {
            names: [cell.pretraining.as_str(), finetuner.name.as_str()],
            checkpoint: checkpoint.id.clone(),
            network: network.clone(),
            lesson: Lesson::new(preset, cell, checkpoint.seed),
            policies: policies.clone(),
        };
        tried.push(grid.stage(stage, &[checkpoint.job])?);
    }
    Ok(Choice { rates: finetuner.rates.clone(), tried })
}

/// A reported run of a cell.
struct Of<'a> {
    preset: &'a NoncesPreset,
    network: &'a Network,
    start: &'a Checkpoint,
    cell: Cell,
    finetuner: RuleName,
    choice: &'a Choice,
}

impl Of<'_> {
    fn reporting<O>(&self, job: Job<O>) -> Reporting<O> {
        let Self { cell, finetuner, .. } = *self;
        Reporting { cell, finetuner, seed: self.start.seed, choice: self.choice.clone(), job }
    }

    fn after(&self) -> Vec<AnyJob> {
        self.choice.jobs().into_iter().chain([self.start.job]).collect()
    }

    fn names(&self) -> [&'static str; 2] {
        [self.cell.pretraining.as_str(), self.finetuner.as_str()]
    }

    /// The run at the chosen rate.
    fn finetuning(&self, grid: &mut Grid) -> Reporting<Finetuned> {
        let Self { finetuner, ref cell, .. } = *self;
        let (names, lesson) = (self.names(), Lesson::new(self.preset, *cell, self.start.seed));
        let ([from, with], seed) = (names, self.start.seed);
        let label = format!(
            "finetune {from} with {with} on {} examples with {} nonces seed {seed}",
            cell.examples, cell.nonces
        );
        let (preset, network, checkpoint) = (self.preset.clone(), self.network.clone(), self.start.id.clone());
        let (choice, cost) = (self.choice.clone(), lesson.cost());
        let job = grid.stage_from(label, cost, &self.after(), move |done| {
            let rate = choice.rate(done);
            Ok(Finetuning {
                names,
                rate,
                checkpoint: checkpoint.clone(),
                network: network.clone(),
                lesson: lesson.clone(),
                policy: preset.finetuning_policy(finetuner, rate),
            })
        });
        self.reporting(job)
    }

    /// The run taken apart, at the same rate.
    fn placement(&self, grid: &mut Grid) -> Reporting<Placed> {
        let Self { finetuner, ref cell, .. } = *self;
        let (names, lesson) = (self.names(), Lesson::new(self.preset, *cell, self.start.seed));
        let label = format!("place the nonces of {} with {} seed {}", names[0], names[1], self.start.seed);
        let (preset, network, checkpoint) = (self.preset.clone(), self.network.clone(), self.start.id.clone());
        let (choice, cost) = (self.choice.clone(), 2 * lesson.cost());
        let job = grid.stage_from(label, cost, &self.after(), move |done| {
            Ok(Placement {
                names,
                checkpoint: checkpoint.clone(),
                network: network.clone(),
                lesson: lesson.clone(),
                policy: preset.finetuning_policy(finetuner, choice.rate(done)),
                ranks: preset.placement.ranks.clone(),
                directions: preset.placement.directions,
            })
        });
        self.reporting(job)
    }
}
