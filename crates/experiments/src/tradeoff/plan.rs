//! The stages of a preset, and what they left.

use std::collections::BTreeSet;
use std::sync::Arc;

use lab::error::Failure;
use lab::grid::{Grid, Job, Outcomes};
use lab::stage;
use models::Transformer;
use models::optim::{Optimizer, Policy};

use super::compared;
use super::preset::{InitialState, MethodPreset, TradeoffPreset};
use super::statistics::contrast::Compared;
use super::statistics::refine::{Rule, rates};
use crate::error::Result;
use crate::parts::CheckpointPreset;
use crate::stages::{
    Baselines, CODE, CodeTokens, EndPoint, FinetuneResult, Finetuning, Losses, Measurement, Network, PretrainResult,
    Pretraining, Results, Start, Task, TaskData, TokenData, WeightScale, Weights, memory_line, shown, training_speed,
};

/// The jobs of a preset.
pub struct Planned {
    baselines: Job<Vec<(String, f64)>>,
    pretrained: Vec<Pretrained>,
    /// Every checkpoint with a task, from which finetunings start.
    starts: Vec<Started>,
    finetuned: Vec<(Finetuning, Job<Losses>, Job<FinetuneResult>)>,
    /// Which parameters went to which optimizer, for each checkpoint and method.
    policies: Vec<(String, Vec<String>)>,
    /// In which numbers and where networks are trained, in words.
    arithmetic: String,
    /// What the text is.
    text: String,
}

/// The jobs of one checkpoint of one seed.
struct Pretrained {
    checkpoint: String,
    seed: u64,
    training: Job<PretrainResult>,
    weights: Job<WeightScale>,
}

/// A checkpoint of one seed, measured on a task.
struct Started {
    /// In the seed's first order.
    start: Start,
    /// Where the checkpoint stands in the preset.
    checkpoint: usize,
    training: Job<PretrainResult>,
    before: Job<Losses>,
}

/// What the stages of a preset left.
#[derive(Debug, Default)]
pub struct Finished {
    /// Names and losses of n-gram models, nats per token.
    pub baselines: Vec<(String, f64)>,
    /// Every pretraining: checkpoint, seed, result.
    pub pretrained: Vec<(String, u64, PretrainResult)>,
    /// The scale of the weights of every checkpoint that did not diverge: checkpoint, seed, probe.
    pub weights: Vec<(String, u64, WeightScale)>,
    /// Every finetuning with its end point.
    pub finetuned: Vec<(EndPoint, FinetuneResult)>,
    /// How it was made: label and value.
    pub provenance: Vec<(String, String)>,
}

impl Planned {
    /// What the jobs left.
    pub fn read(&self, done: &Outcomes) -> Finished {
        let pretrained = self.pretrained.iter().filter_map(|of| {
            let result = done.get(of.training)?;
            Some((of.checkpoint.clone(), of.seed, result.clone()))
        });
        let weights = self.pretrained.iter().filter_map(|of| {
            let scale = done.get(of.weights)?;
            Some((of.checkpoint.clone(), of.seed, *scale))
        });
        let finetuned = self.finetuned.iter().filter_map(|(run, before, job)| {
            let result = done.get(*job)?;
            Some((run.end_point(done.get(*before)?, result), result.clone()))
        });
        let mut provenance = vec![("arithmetic".into(), self.arithmetic.clone()), ("text".into(), self.text.clone())];
        provenance.extend(self.policies.iter().map(|(label, lines)| (label.clone(), lines.join("; "))));
        Finished {
            baselines: done.get(self.baselines).cloned().unwrap_or_default(),
            pretrained: pretrained.collect(),
            weights: weights.collect(),
            finetuned: finetuned.collect(),
            provenance,
        }
    }
}

/// Adds every stage of a preset to the grid.
///
/// # Errors
/// If the text or a task cannot be had, or does not fit the network.
pub fn plan(preset: &TradeoffPreset, grid: &mut Grid) -> Result<Planned, Failure> {
    let mut planned = plan_all(std::slice::from_ref(preset), grid)?;
    Ok(planned.remove(0))
}

/// Adds every stage of several presets that have the text and the network of the first.
///
/// # Errors
/// As [`plan`].
pub fn plan_all(presets: &[TradeoffPreset], grid: &mut Grid) -> Result<Vec<Planned>, Failure> {
    let Some(first) = presets.first() else { return Ok(Vec::new()) };
    // Before anything that takes time: a file that cannot be read is named first.
    let mut tasks: Vec<Vec<Task>> = Vec::new();
    for preset in presets {
        tasks.push(preset.open_tasks(&preset.tasks, &tasks.concat())?);
    }
    let descriptions: BTreeSet<String> = tasks.iter().flatten().filter_map(Task::description).collect();
    descriptions.iter().for_each(|line| grid.say(line));
    let with_code = tasks.iter().flatten().any(|task| task.name() == CODE);
    let (text, code) = TokenData::prepare(grid, &first.text(), with_code)?;
    let network = Network {
        config: first.model.config(&text.tokenizer),
        precision: first.precision,
        device: first.device.hardware(),
    };
    let loops = [first.pretrain.training(1), first.finetune.training()];
    if let Some(line) = memory_line(&network, &loops)? {
        grid.say(&line);
    }
    let mut planned = Vec::new();
    for (preset, tasks) in presets.iter().zip(&tasks) {
        planned.push(plan_one(preset, tasks, &network, &text, code.as_ref(), grid)?);
    }
    if grid.look()?.iter().any(|stage| !stage.done) {
        let policy = first.checkpoints[0].policy(&first.pretrain);
        grid.set_speed(training_speed(&network, &policy, &loops[0])?);
    }
    Ok(planned)
}

fn plan_one(
    preset: &TradeoffPreset,
    all: &[Task],
    network: &Network,
    text: &Arc<TokenData>,
    code: Option<&CodeTokens>,
    grid: &mut Grid,
) -> Result<Planned, Failure> {
    let sizes = preset.task_sizes();
    let policies = describe_policies(preset, network, grid)?;
    let planner = Planner { preset, network, text };
    let windows = preset.evaluation.pretrain_windows;
    grid.set_round(0);
    let baselines = Baselines { data: text.clone(), context: preset.model.context, windows };
    let mut planned = Planned {
        baselines: grid.stage(baselines, &[])?,
        pretrained: Vec::new(),
        starts: Vec::new(),
        finetuned: Vec::new(),
        policies,
        arithmetic: network.arithmetic(),
        text: text.description.clone(),
    };
    for seed in preset.seeds().all() {
        // A run that is stopped then has whole seeds to show.
        grid.set_round(seed);
        let mut tasks = Vec::new();
        for task in all {
            let task = TaskData::prepare(task, &sizes, &text.tokenizer, code, seed)?;
            task.remarks().iter().for_each(|remark| grid.say(remark));
            tasks.push(Arc::new(task));
        }
        for (place, checkpoint) in preset.checkpoints.iter().enumerate() {
            if preset.seeds().has(checkpoint.seeds, seed) {
                planner.add(place, seed, &tasks, grid, &mut planned)?;
            }
        }
    }
    Ok(planned)
}

/// The training example number `number` of every task as the first seed draws it, see
/// [`shown`](crate::stages::shown).
///
/// # Errors
/// As [`plan`], or if there is no such example.
pub fn show_example(preset: &TradeoffPreset, number: usize, grid: &mut Grid) -> Result<String, Failure> {
    let tasks = preset.open_tasks(&preset.tasks, &[])?;
    let with_code = tasks.iter().any(|task| task.name() == CODE);
    let (text, code) = TokenData::prepare(grid, &preset.text(), with_code)?;
    let mut lines = String::new();
    for task in &tasks {
        let data = TaskData::prepare(task, &preset.task_sizes(), &text.tokenizer, code.as_ref(), preset.first_seed)?;
        data.remarks().iter().for_each(|remark| grid.say(remark));
        lines.push_str(&shown(&data, &text.tokenizer, number)?);
    }
    Ok(lines)
}

/// Adds the finetunings whose rates lie where the finished ones leave a gap around a level, as the preset's `refine`
/// says. Returns whether there were any.
///
/// # Errors
/// If finished results contradict each other, or a key cannot be serialised.
pub fn refine(preset: &TradeoffPreset, planned: &mut Planned, grid: &mut Grid) -> Result<bool, Failure> {
    let Some(refine) = &preset.refine else { return Ok(false) };
    let finished = planned.read(grid.outcomes());
    let results = Results::from_rows(finished.finetuned.into_iter().map(|(row, _)| row).collect())?;
    let rule = Rule { levels: &refine.levels, gap: refine.gap };
    let comparisons = compared::all(preset);
    let mut added = Vec::new();
    for started in &planned.starts {
        let Start { checkpoint_name, task, seed, .. } = &started.start;
        let contrasts = comparisons.iter().flat_map(|(_, comparison)| comparison.contrasts(checkpoint_name));
        for (matched, other) in contrasts {
            for order in results.orders(*seed) {
                let of = Compared { task: task.name(), checkpoint: checkpoint_name, methods: [matched, other] };
                let rates = rates(&results, of, (*seed, order), &rule);
                for (name, rates) in of.methods.into_iter().zip(rates) {
                    let Some(method) = preset.methods.iter().find(|method| method.name == name) else { continue };
                    let ran = |row: &&EndPoint| row.method == name && (row.seed, row.order) == (*seed, order);
                    // Fewer than the grid where the method has not run with this seed.
                    let more =
                        results.of(of.task, of.checkpoint).filter(ran).count().saturating_sub(method.rates.len());
                    let left = refine.most.saturating_sub(more);
                    added.extend(rates.into_iter().take(left).map(|rate| (started, method, order, rate)));
                }
            }
        }
    }
    let mut runs = Vec::new();
    for (started, method, order, rate) in added {
        let start = Start { order, ..started.start.clone() };
        grid.set_round(start.seed);
        let run = finetuning(preset, &start, &preset.checkpoints[started.checkpoint], method, rate);
        let job = grid.stage(run.clone(), &[started.training.any(), started.before.any()])?;
        // Two comparisons may ask for the same run.
        if !runs.iter().any(|(_, _, other)| *other == job) {
            runs.push((run, started.before, job));
        }
    }
    let any = !runs.is_empty();
    planned.finetuned.append(&mut runs);
    Ok(any)
}

/// What all stages of a preset share.
struct Planner<'a> {
    preset: &'a TradeoffPreset,
    network: &'a Network,
    text: &'a Arc<TokenData>,
}

impl Planner<'_> {
    /// A pretraining and everything that starts from it.
    fn add(
        &self,
        place: usize,
        seed: u64,
        tasks: &[Arc<TaskData>],
        grid: &mut Grid,
        planned: &mut Planned,
    ) -> Result<(), Failure> {
        let preset = self.preset;
        let checkpoint = &preset.checkpoints[place];
        let pretraining = pretraining(preset, self.network, self.text, checkpoint, seed);
        let id = stage::id_of(&pretraining)?;
        let training = grid.stage(pretraining, &[])?;
        let probe = Weights {
            name: format!("{} seed {seed}", checkpoint.name),
            checkpoint: id.clone(),
            network: self.network.clone(),
        };
        let weights = grid.stage(probe, &[training.any()])?;
        planned.pretrained.push(Pretrained { checkpoint: checkpoint.name.clone(), seed, training, weights });
        for task in tasks {
            let start = Start {
                checkpoint_name: checkpoint.name.clone(),
                checkpoint: id.clone(),
                network: self.network.clone(),
                text: self.text.clone(),
                text_windows: preset.evaluation.pretrain_windows,
                task: task.clone(),
                seed,
                order: 0,
            };
            let before = grid.stage(Measurement(start.clone()), &[training.any()])?;
            for method in preset.methods_from(&checkpoint.name) {
                if !preset.seeds().has(method.seeds, seed) {
                    continue;
                }
                for order in preset.orders(method, seed) {
                    for &rate in &method.rates {
                        let start = Start { order, ..start.clone() };
                        let run = finetuning(preset, &start, checkpoint, method, rate);
                        let job = grid.stage(run.clone(), &[training.any(), before.any()])?;
                        planned.finetuned.push((run, before, job));
                    }
                }
            }
            planned.starts.push(Started { start, checkpoint: place, training, before });
        }
        Ok(())
    }
}

/// The pretraining of a checkpoint of a preset: the same stage in every experiment that has it.
pub fn pretraining(
    preset: &TradeoffPreset,
    network: &Network,
    text: &Arc<TokenData>,
    checkpoint: &CheckpointPreset,
    seed: u64,
) -> Pretraining {
    Pretraining {
        name: checkpoint.name.clone(),
        network: network.clone(),
        policy: checkpoint.policy(&preset.pretrain),
        training: preset.pretrain.training(checkpoint.steps),
        curve_points: preset.pretrain.curve_points,
        held_out_windows: preset.evaluation.pretrain_windows,
        seed,
        data: text.clone(),
    }
}

/// A finetuning as a preset has it, from a checkpoint that `checkpoint` describes.
pub fn finetuning(
    preset: &TradeoffPreset,
    start: &Start,
    checkpoint: &CheckpointPreset,
    method: &MethodPreset,
    rate: f64,
) -> Finetuning {
    let finetune = &preset.finetune;
    let same = method.lora_rank.is_none() && method.optimizer == checkpoint.optimizer;
    Finetuning {
        start: start.clone(),
        method: method.name.clone(),
        rate,
        policy: method.policy(rate, finetune),
        lora: method.lora(),
        carries_state: same && method.state.unwrap_or(finetune.state) == InitialState::Carried,
        training: method.training(finetune),
        along: finetune.along,
        keep_weights: finetune.keep_weights,
    }
}

/// Says, for every checkpoint and method, which parameters go to which optimizer; returns the same by what it is about.
fn describe_policies(preset: &TradeoffPreset, network: &Network, grid: &Grid) -> Result<Vec<(String, Vec<String>)>> {
    let mut policies = Vec::new();
    let network = network.build(0)?;
    let (count, tensors) = (network.parameters().count(false), network.parameters().len());
    grid.say(&format!("network: {count} parameters in {tensors} tensors"));
    let mut show = |title: String, mut network: Transformer, policy: Policy| -> Result<()> {
        let optimizer = Optimizer::new(network.parameters_mut(), &policy)?;
        let lines = optimizer.describe(network.parameters());
        grid.say(&title);
        lines.iter().for_each(|line| grid.say(&format!("  {line}")));
        policies.push((title, lines));
        Ok(())
    };
    for checkpoint in &preset.checkpoints {
        show(format!("pretraining {}", checkpoint.name), network.clone(), checkpoint.policy(&preset.pretrain))?;
    }
    for method in &preset.methods {
        let mut network = network.clone();
        if let Some(lora) = method.lora() {
            network.add_lora(&lora, 0)?;
        }
        let policy = method.policy(method.rates[0], &preset.finetune);
        let others = method.rates.len() - 1;
        show(format!("finetuning {} (and {others} other learning rates)", method.name), network, policy)?;
    }
    Ok(policies)
}
