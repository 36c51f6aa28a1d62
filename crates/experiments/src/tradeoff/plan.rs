//! The stages of a preset, and what they left.

use std::collections::BTreeSet;
use std::sync::Arc;

use lab::error::Failure;
use lab::grid::{AnyJob, Grid, Job, Outcomes};
use lab::stage;
use lab::store::StageId;
use models::optim::Policy;
use models::{Hardware, Transformer};

use super::advice;
use super::brought::Brought;
use super::compared;
use super::method::{InitialState, MethodPreset};
use super::preset::{RefinePreset, TradeoffPreset};
use super::statistics::contrast::Compared;
use super::statistics::refine::{Rule, rates};
use crate::error::Result;
use crate::parts::{CheckpointPreset, Origin};
use crate::stages::{
    Baselines, CODE, CodeTokens, EndPoint, FinetuneResult, Finetuning, Import, Imported, Losses, Measurement, Network,
    PretrainResult, Pretraining, Rescaled, Results, SameFunction, Start, Task, TaskData, TaskSizes, TokenData,
    Training, WeightScale, Weights, memory, memory_line, shown, training_speed,
};

/// The jobs of a preset.
pub struct Planned {
    /// None beside checkpoints from elsewhere, which saw other text.
    baselines: Option<Job<Vec<(String, f64)>>>,
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
    /// Whether it was said what to use.
    advised: bool,
}

/// The stage that a checkpoint comes from.
#[derive(Clone, Copy)]
enum Made {
    Pretrained(Job<PretrainResult>),
    Imported(Job<Imported>),
    Rescaled(Job<SameFunction>),
}

impl Made {
    fn any(self) -> AnyJob {
        match self {
            Self::Pretrained(job) => job.any(),
            Self::Imported(job) => job.any(),
            Self::Rescaled(job) => job.any(),
        }
    }
}

/// The jobs of one checkpoint of one seed.
struct Pretrained {
    checkpoint: String,
    seed: u64,
    made: Made,
    weights: Job<WeightScale>,
}

/// A checkpoint of one seed that finetunings start from.
struct Kept<'a> {
    name: &'a str,
    seed: u64,
    /// The stage that keeps it.
    id: StageId,
    made: Made,
    network: &'a Network,
    /// The checkpoint of the preset that it is, or was made from.
    trained: &'a CheckpointPreset,
}

/// A checkpoint of one seed, measured on a task.
struct Started {
    /// In the seed's first order.
    start: Start,
    made: Made,
    before: Job<Losses>,
}

/// What the stages of a preset left.
#[derive(Debug, Default)]
pub struct Finished {
    /// Names and losses of n-gram models, nats per token.
    pub baselines: Vec<(String, f64)>,
    /// Every pretraining: checkpoint, seed, result. Of a checkpoint from elsewhere the result is its loss alone.
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
            let result = match of.made {
                Made::Pretrained(job) => done.get(job)?.clone(),
                Made::Imported(_) => {
                    let own = |started: &&Started| {
                        (&started.start.checkpoint_name, started.start.seed) == (&of.checkpoint, of.seed)
                    };
                    let before = done.get(self.starts.iter().find(own)?.before)?;
                    PretrainResult { loss: Some(before.pretrain), curve: Vec::new(), step_tokens: 0 }
                }
                Made::Rescaled(_) => return None,
            };
            Some((of.checkpoint.clone(), of.seed, result))
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
            baselines: self.baselines.and_then(|job| done.get(job)).cloned().unwrap_or_default(),
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
    let Read { brought, text, code, .. } = Read::of(first, tasks.iter().flatten(), grid)?;
    let networks = match &brought {
        Some(brought) => brought.networks(first),
        None => {
            let network = Network {
                config: first.model.config(&text.tokenizer),
                precision: first.precision,
                device: first.device.hardware(),
                sequence: None,
            };
            vec![network]
        }
    };
    let imports = match &brought {
        Some(brought) => brought.imports(&networks, &text, grid)?,
        None => Vec::new(),
    };
    let pretrain = imports.is_empty().then(|| ("pretraining".to_owned(), first.pretrain.training(1), None));
    let jobs: Vec<(String, Training, Option<usize>)> =
        pretrain.into_iter().chain(presets.iter().flat_map(of_methods)).collect();
    for network in &networks {
        let needed = memory(network, &jobs);
        if !imports.is_empty() && !grid.plans_only() && network.device == Hardware::Cpu {
            let largest = needed.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
            // The count is of a GPU's step and a little high for a processor's.
            lab::memory::check(largest / 4 * 3, "checkpoint, finetune.sequences, finetune.micro-batch or methods")?;
        }
        if let Some(line) = memory_line(network, &needed, !imports.is_empty())? {
            grid.say(&line);
        }
    }
    let shared = Shared { networks: &networks, imports: &imports, text: &text, code: code.as_ref() };
    let mut planned = Vec::new();
    for (preset, tasks) in presets.iter().zip(&tasks) {
        planned.push(plan_one(preset, tasks, shared, grid)?);
    }
    if grid.look()?.iter().any(|stage| !stage.done) {
        let policy = match &first.checkpoints[0].origin {
            Origin::Pretrained(recipe) => recipe.policy(&first.pretrain),
            Origin::Imported { .. } => first.methods[0].policy(first.methods[0].rates[0], &first.finetune),
        };
        grid.set_speed(training_speed(&networks[0], &policy, &jobs[0].1)?);
    }
    Ok(planned)
}

/// Every method's loop, with the rank of its adapters if it has such.
fn of_methods(preset: &TradeoffPreset) -> impl Iterator<Item = (String, Training, Option<usize>)> {
    preset.methods.iter().map(|method| (method.name.clone(), method.training(&preset.finetune), method.lora_rank))
}

/// The text in the tokens of the checkpoints.
struct Read {
    /// The checkpoints from elsewhere, if the preset has such.
    brought: Option<Brought>,
    text: Arc<TokenData>,
    /// Code, if it is a task.
    code: Option<CodeTokens>,
    /// Tokens of a sequence.
    context: usize,
}

impl Read {
    fn of<'a>(
        preset: &TradeoffPreset,
        mut tasks: impl Iterator<Item = &'a Task>,
        grid: &mut Grid,
    ) -> Result<Self, Failure> {
        let with_code = tasks.any(|task| task.name() == CODE);
        let brought = Brought::open(preset, grid)?;
        let (text, code) = match &brought {
            None => TokenData::prepare(grid, &preset.text(), with_code)?,
            Some(brought) => TokenData::prepare_in(grid, &preset.text(), Some(brought.tokenizer.clone()), with_code)?,
        };
        let context = brought.as_ref().map_or(preset.model.context, |brought| brought.sequence(preset));
        Ok(Self { brought, text, code, context })
    }
}

/// What all presets that are planned together share.
#[derive(Clone, Copy)]
struct Shared<'a> {
    /// One for all checkpoints that are pretrained here, or that of each from elsewhere.
    networks: &'a [Network],
    /// The checkpoints from elsewhere, by place.
    imports: &'a [Import],
    text: &'a Arc<TokenData>,
    code: Option<&'a CodeTokens>,
}

impl Shared<'_> {
    /// The network of the checkpoint at a place of the preset.
    fn network(&self, place: usize) -> &Network {
        &self.networks[if self.imports.is_empty() { 0 } else { place }]
    }
}

fn plan_one(preset: &TradeoffPreset, all: &[Task], shared: Shared<'_>, grid: &mut Grid) -> Result<Planned, Failure> {
    let Shared { text, code, .. } = shared;
    let context = shared.network(0).context();
    let sizes = TaskSizes { context, ..preset.task_sizes() };
    let policies = describe_policies(preset, shared, grid)?;
    let planner = Planner { preset, shared };
    let windows = preset.evaluation.pretrain_windows;
    grid.set_round(0);
    let baselines = match shared.imports.is_empty() {
        true => Some(grid.stage(Baselines { data: text.clone(), context, windows }, &[])?),
        false => None,
    };
    let mut planned = Planned {
        baselines,
        pretrained: Vec::new(),
        starts: Vec::new(),
        finetuned: Vec::new(),
        policies,
        arithmetic: shared.network(0).arithmetic(),
        text: text.description.clone(),
        advised: false,
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
        let mut trained: Vec<Kept<'_>> = Vec::new();
        for (place, checkpoint) in preset.checkpoints.iter().enumerate() {
            if preset.seeds().has(checkpoint.seeds, seed) {
                let kept = planner.take(place, seed, grid, &mut planned)?;
                planner.finetune(&kept, &tasks, grid, &mut planned)?;
                trained.push(kept);
            }
        }
        for made in &preset.rescaled {
            let find = |name: &String| trained.iter().find(|kept| kept.name == *name);
            // Without a checkpoint's pretraining with this seed there is nothing to rescale.
            let (Some(from), Some(like)) = (find(&made.checkpoint), find(&made.like)) else { continue };
            let kept = planner.rescale(&made.name, from, like, grid, &mut planned)?;
            planner.finetune(&kept, &tasks, grid, &mut planned)?;
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
    let Read { text, code, context, .. } = Read::of(preset, tasks.iter(), grid)?;
    let sizes = TaskSizes { context, ..preset.task_sizes() };
    let mut lines = String::new();
    for task in &tasks {
        let data = TaskData::prepare(task, &sizes, &text.tokenizer, code.as_ref(), preset.first_seed)?;
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
    let finished = planned.read(grid.outcomes());
    let results = Results::from_rows(finished.finetuned.into_iter().map(|(row, _)| row).collect())?;
    let any = match &preset.refine {
        Some(refine) => add_rates(preset, refine, planned, &results, grid)?,
        None => false,
    };
    // The last thing that a person sees who brought a checkpoint.
    if !any && preset.imports() && !std::mem::replace(&mut planned.advised, true) {
        advice::lines(&results).iter().for_each(|line| grid.say(line));
    }
    Ok(any)
}

fn add_rates(
    preset: &TradeoffPreset,
    refine: &RefinePreset,
    planned: &mut Planned,
    results: &Results,
    grid: &mut Grid,
) -> Result<bool, Failure> {
    let rule = Rule { levels: &refine.levels, gap: refine.gap };
    let comparisons = compared::all(preset);
    let mut added = Vec::new();
    for started in &planned.starts {
        let Start { checkpoint_name, task, seed, .. } = &started.start;
        let contrasts = comparisons.iter().flat_map(|(_, comparison)| comparison.contrasts(checkpoint_name));
        for (matched, other) in contrasts {
            for order in results.orders(*seed) {
                let of = Compared { task: task.name(), checkpoint: checkpoint_name, methods: [matched, other] };
                let rates = rates(results, of, (*seed, order), &rule);
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
        let Some(trained) = preset.checkpoint(&start.checkpoint_name) else { continue };
        grid.set_round(start.seed);
        let run = finetuning(preset, &start, trained, method, rate);
        let job = grid.stage(run.clone(), &[started.made.any(), started.before.any()])?;
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
    shared: Shared<'a>,
}

impl Planner<'_> {
    /// The stage that a checkpoint comes from, and its id.
    fn made(&self, place: usize, seed: u64, grid: &mut Grid) -> Result<(StageId, Made), Failure> {
        if let Some(import) = self.shared.imports.get(place) {
            let id = stage::id_of(import)?;
            return Ok((id, Made::Imported(grid.stage(import.clone(), &[])?)));
        }
        let checkpoint = &self.preset.checkpoints[place];
        let pretraining = pretraining(self.preset, self.shared.network(place), self.shared.text, checkpoint, seed)?;
        let id = stage::id_of(&pretraining)?;
        Ok((id, Made::Pretrained(grid.stage(pretraining, &[])?)))
    }

    /// A checkpoint of the preset, pretrained or brought.
    fn take(&self, place: usize, seed: u64, grid: &mut Grid, planned: &mut Planned) -> Result<Kept<'_>, Failure> {
        let checkpoint = &self.preset.checkpoints[place];
        let (id, made) = self.made(place, seed, grid)?;
        let network = self.shared.network(place);
        let kept = Kept { name: &checkpoint.name, seed, id, made, network, trained: checkpoint };
        self.keep(&kept, grid, planned)?;
        Ok(kept)
    }

    /// A checkpoint made from two of the preset.
    fn rescale<'a>(
        &'a self,
        name: &'a str,
        from: &Kept<'a>,
        like: &Kept<'_>,
        grid: &mut Grid,
        planned: &mut Planned,
    ) -> Result<Kept<'a>, Failure> {
        let &Kept { seed, network, trained, .. } = from;
        let rescaled = Rescaled {
            name: format!("{} seed {seed} to the scale of {}", from.name, like.name),
            checkpoint: from.id.clone(),
            like: like.id.clone(),
            network: network.clone(),
        };
        let id = stage::id_of(&rescaled)?;
        let made = Made::Rescaled(grid.stage(rescaled, &[from.made.any(), like.made.any()])?);
        let kept = Kept { name, seed, id, made, network, trained };
        self.keep(&kept, grid, planned)?;
        Ok(kept)
    }

    /// The probe of a checkpoint's weights, and the checkpoint among the planned ones.
    fn keep(&self, kept: &Kept<'_>, grid: &mut Grid, planned: &mut Planned) -> Result<(), Failure> {
        let probe = Weights {
            name: format!("{} seed {}", kept.name, kept.seed),
            checkpoint: kept.id.clone(),
            network: kept.network.clone(),
        };
        let weights = grid.stage(probe, &[kept.made.any()])?;
        let (checkpoint, seed, made) = (kept.name.into(), kept.seed, kept.made);
        planned.pretrained.push(Pretrained { checkpoint, seed, made, weights });
        Ok(())
    }

    /// Everything that starts from a checkpoint.
    fn finetune(
        &self,
        kept: &Kept<'_>,
        tasks: &[Arc<TaskData>],
        grid: &mut Grid,
        planned: &mut Planned,
    ) -> Result<(), Failure> {
        let (preset, seed) = (self.preset, kept.seed);
        for task in tasks {
            let start = Start {
                checkpoint_name: kept.name.into(),
                checkpoint: kept.id.clone(),
                network: kept.network.clone(),
                text: self.shared.text.clone(),
                text_windows: preset.evaluation.pretrain_windows,
                task: task.clone(),
                seed,
                order: 0,
            };
            let before = grid.stage(Measurement(start.clone()), &[kept.made.any()])?;
            for method in preset.methods_from(kept.name) {
                if !preset.seeds().has(method.seeds, seed) {
                    continue;
                }
                for order in preset.orders(method, seed) {
                    for &rate in &method.rates {
                        let start = Start { order, ..start.clone() };
                        let run = finetuning(preset, &start, kept.trained, method, rate);
                        let job = grid.stage(run.clone(), &[kept.made.any(), before.any()])?;
                        planned.finetuned.push((run, before, job));
                    }
                }
            }
            planned.starts.push(Started { start, made: kept.made, before });
        }
        Ok(())
    }
}

/// The pretraining of a checkpoint of a preset: the same stage in every experiment that has it.
///
/// # Errors
/// If the checkpoint is made elsewhere.
pub fn pretraining(
    preset: &TradeoffPreset,
    network: &Network,
    text: &Arc<TokenData>,
    checkpoint: &CheckpointPreset,
    seed: u64,
) -> Result<Pretraining> {
    let recipe = checkpoint.recipe()?;
    Ok(Pretraining {
        name: checkpoint.name.clone(),
        network: network.clone(),
        policy: recipe.policy(&preset.pretrain),
        training: preset.pretrain.training(recipe.steps),
        curve_points: preset.pretrain.curve_points,
        held_out_windows: preset.evaluation.pretrain_windows,
        seed,
        data: text.clone(),
    })
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
    // A checkpoint from elsewhere, or made from another, comes without its optimizer's state.
    let pretrained = start.checkpoint_name == checkpoint.name;
    let own = checkpoint.recipe().is_ok_and(|recipe| recipe.optimizer == method.optimizer);
    let same = pretrained && own && method.lora_rank.is_none();
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
        keep_adapter: finetune.keep_adapters,
    }
}

/// Says, for every checkpoint and method, which parameters go to which optimizer; returns the same by what it is about.
fn describe_policies(preset: &TradeoffPreset, shared: Shared<'_>, grid: &Grid) -> Result<Vec<(String, Vec<String>)>> {
    let mut policies = Vec::new();
    let network = Transformer::unfilled(&shared.network(0).config)?;
    let (count, tensors) = (network.parameters().count(false), network.parameters().len());
    grid.say(&format!("network: {count} parameters in {tensors} tensors"));
    let mut show = |title: String, network: Transformer, policy: Policy| -> Result<()> {
        let lines = policy.describe(network.parameters())?;
        grid.say(&title);
        lines.iter().for_each(|line| grid.say(&format!("  {line}")));
        policies.push((title, lines));
        Ok(())
    };
    for checkpoint in &preset.checkpoints {
        if let Origin::Pretrained(recipe) = &checkpoint.origin {
            show(format!("pretraining {}", checkpoint.name), network.clone(), recipe.policy(&preset.pretrain))?;
        }
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
