//! The experiment behind claim C1: pretraining optimizer x finetuning method x learning rate x seed.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use models::optim::Optimizer;
use models::{Batch, Hardware, Transformer, train_step};

use crate::error::Result;
use crate::finetune::{FinetuneResult, Finetuning, Losses, Start};
use crate::finished::{FINISHED, Finished};
use crate::grid::{Display, Grid, JobContext, JobError, JobId, Outcome};
use crate::ngram::NGram;
use crate::preset::{MethodPreset, OptimizerName, Preset};
use crate::pretrain::{PretrainResult, Pretraining, held_out};
use crate::provenance;
use crate::stats::{Comparison, EndPoint, Pair, Results, TradeoffStatistics, csv};
use crate::store::{StageKey, StageState, Store, create_dir_all, write_atomic};
use crate::tasks::TaskData;
use crate::tokens::{TextSource, TokenData};
use crate::tradeoff_report;

/// Raised when a fix changes the n-gram baselines.
const BASELINE_SEMANTICS: u32 = 1;

/// What to run and where.
#[derive(Debug, Clone)]
pub struct Options<P = Preset> {
    /// The preset, with the command line's changes.
    pub preset: P,
    /// Text other than the pinned packages'.
    pub text: TextSource,
    /// The folder for the run store and the report.
    pub out: PathBuf,
    /// What an earlier run finished, as CSV.
    pub finished: Option<PathBuf>,
    /// Runs at a time, each on one thread.
    pub jobs: NonZeroUsize,
    /// Time between the snapshots of a run in progress.
    pub snapshot_every: Duration,
    /// Where progress is shown.
    pub display: Display,
    /// The command, for the report.
    pub command: String,
}

impl<P> Options<P> {
    /// The same run of another preset.
    pub fn with_preset<Q>(&self, preset: Q) -> Options<Q> {
        Options {
            preset,
            text: self.text.clone(),
            out: self.out.clone(),
            finished: self.finished.clone(),
            jobs: self.jobs,
            snapshot_every: self.snapshot_every,
            display: self.display,
            command: self.command.clone(),
        }
    }
}

/// What the stages of a grid led to.
#[derive(Default)]
pub(crate) struct Runs {
    /// Every pretraining: checkpoint, seed, result.
    pub(crate) pretrained: Vec<(String, u64, PretrainResult)>,
    pub(crate) baselines: Vec<(String, f64)>,
    /// Every finetuning with its end point.
    pub(crate) finetuned: Vec<(EndPoint, FinetuneResult)>,
    /// All of it, to be taken over by a later run.
    pub(crate) finished: Finished,
    /// Which parameters went to which optimizer, for each checkpoint and method.
    pub(crate) policies: Vec<(String, Vec<String>)>,
    /// In which numbers and where networks were trained, in words.
    pub(crate) arithmetic: String,
    pub(crate) corpus: String,
}

/// Everything that was measured.
pub(crate) struct Measured {
    pub(crate) results: Results,
    pub(crate) statistics: TradeoffStatistics,
    /// The statistics of the ablation, if the preset has one.
    pub(crate) ablation: Option<TradeoffStatistics>,
    /// The statistics of the control pairs, if the preset has some.
    pub(crate) controls: Option<TradeoffStatistics>,
    pub(crate) runs: Runs,
    pub(crate) seconds: f64,
}

/// What a job of the grid leaves.
enum Output {
    Baselines(Vec<(String, f64)>),
    Pretrained(PretrainResult),
    /// `None` where the checkpoint diverged.
    Measured(Option<Losses>),
    Finetuned(Option<(EndPoint, FinetuneResult)>),
}

/// A job of the grid by what it computes: a checkpoint's name and seed or a label, and the stage's key.
enum Kind {
    Baselines,
    Pretraining(String, u64, StageKey),
    Measurement(String, StageKey),
    Finetuning(String, StageKey),
}

/// Runs the experiment (or what is left of it), writes `report/`, and returns the path of its page.
///
/// # Errors
/// One line that says what was found and expected; what is finished stays in the run store.
pub fn run(options: &Options) -> Result<PathBuf> {
    let started = Instant::now();
    let preset = &options.preset;
    let store = Store::open(&options.out)?;
    let report = report_folder(&store)?;
    let runs = run_stages(options, &store)?;
    write_atomic(&report.join(FINISHED), runs.finished.write().as_bytes())?;
    let results = Results::from_rows(runs.finetuned.iter().map(|(row, _)| row.clone()).collect())?;
    let statistics = TradeoffStatistics::compute(&results, &comparison(preset));
    let also = |comparison: Option<Comparison>| comparison.map(|c| TradeoffStatistics::compute(&results, &c));
    let (ablation, controls) = (also(ablation(preset)), also(controls(preset)));
    let readings: Vec<(&str, &TradeoffStatistics)> =
        [("verdicts", Some(&statistics)), ("controls", controls.as_ref()), ("hidden matrices only", ablation.as_ref())]
            .into_iter()
            .filter_map(|(name, of)| Some((name, of?)))
            .collect();
    for (name, text) in [
        (tradeoff_report::RESULTS, csv::write(&results)),
        (tradeoff_report::MATCHED, csv::write_matched(&readings)),
        (tradeoff_report::EFFECTS, csv::write_effects(&readings)),
    ] {
        write_atomic(&report.join(name), text.as_bytes())?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let measured = Measured { results, statistics, ablation, controls, runs, seconds };
    tradeoff_report::write(options, &measured, &report)
}

/// Every stage of a preset's grid, done or read from the store.
///
/// # Errors
/// One line that says what was found and expected; what is finished stays in the run store.
pub(crate) fn run_stages(options: &Options, store: &Store) -> Result<Runs> {
    let preset = &options.preset;
    preset.validate()?;
    let say = |line: &str| {
        if options.display != Display::Quiet {
            crate::console::say(line);
        }
    };
    let data = TokenData::prepare(store, &options.text, preset)?;
    say(&data.description);
    let code = data.code.as_ref().map_or(String::new(), |code| format!(", {} of code", code.train.len()));
    let (prose, vocabulary) = (data.prose_train.len(), data.tokenizer.vocabulary());
    say(&format!("tokens: {prose} of pretraining text{code}, vocabulary {vocabulary}"));
    let tasks: Vec<TaskData> =
        preset.tasks.iter().map(|task| TaskData::prepare(task, preset, &data)).collect::<Result<_>>()?;
    for task in tasks.iter().filter(|task| task.left_out() > 0) {
        say(&format!("{}: {} examples are longer than the context and left out", task.name(), task.left_out()));
    }
    let policies = describe_policies(preset, &data, &say)?;

    let earlier = options.finished.as_deref().map(Finished::read).transpose()?.unwrap_or_default();
    let Jobs { grid, kinds, taken, .. } = build_grid(options, &data, &tasks, store, &earlier)?;
    if let Some(path) = &options.finished {
        say(&format!("{}: {taken} of its {} stages are taken over", path.display(), earlier.len()));
    }
    if let Some(line) = memory_line(preset, &data)? {
        say(&line);
    }
    let speed = single_thread(|| measure_speed(preset, &data))??;
    let budget = grid.tokens();
    let seconds = budget as f64 / speed / options.jobs.get() as f64;
    say(&format!(
        "budget: {:.1} M tokens in {} jobs, at {speed:.0} tokens/s a job and {} at a time about {:.0} min if nothing is done yet",
        budget as f64 / 1e6,
        grid.len(),
        options.jobs,
        (seconds / 60.0).max(1.0)
    ));
    let outcomes = grid.run(options.jobs, options.display)?;

    let arithmetic = provenance::arithmetic(preset.precision, preset.device);
    let mut runs = Runs { policies, arithmetic, corpus: data.description.clone(), ..Runs::default() };
    for (kind, outcome) in kinds.into_iter().zip(outcomes) {
        match (kind, outcome.value) {
            (Kind::Pretraining(name, seed, key), Output::Pretrained(result)) => {
                runs.finished.add(&key, format!("pretrain {name} seed {seed}"), &result)?;
                runs.pretrained.push((name, seed, result));
            }
            (Kind::Measurement(label, key), Output::Measured(Some(losses))) => {
                runs.finished.add(&key, label, &losses)?;
            }
            (Kind::Finetuning(label, key), Output::Finetuned(Some((end, result)))) => {
                runs.finished.add(&key, label, &result)?;
                runs.finetuned.push((end, result));
            }
            (_, Output::Baselines(found)) => runs.baselines = found,
            _ => {}
        }
    }
    Ok(runs)
}

/// Makes the report's folders beside the run store, which is there first: a place that cannot be written is named before anything is computed.
pub(crate) fn report_folder(store: &Store) -> Result<PathBuf> {
    let report = store.root().join("report");
    create_dir_all(&report.join(crate::report::FIGURES))?;
    Ok(report)
}

/// Runs `work` on a thread pool of its own with one thread, so that its result and its speed do not depend on the other jobs.
pub(crate) fn single_thread<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    Ok(pool.install(work))
}

/// The comparison that a preset's verdicts are about.
pub fn comparison(preset: &Preset) -> Comparison {
    let methods: Vec<&MethodPreset> = preset.methods.iter().filter(|method| !method.is_ablation()).collect();
    compare(preset, &methods, Vec::new(), |optimizer| optimizer.as_str().into())
}

/// The comparison of the control pairs, and of the pair itself beside them, by the methods that are run from every checkpoint: levels are set by the
/// compared methods, so that only with the same methods a control is read at the same depth as the pair.
pub fn controls(preset: &Preset) -> Option<Comparison> {
    let common = |method: &&MethodPreset| {
        !method.is_ablation() && (preset.control_methods.is_empty() || preset.control_methods.contains(&method.name))
    };
    let methods: Vec<&MethodPreset> = preset.methods.iter().filter(common).collect();
    let controls: Vec<&[String; 2]> = preset.controls.iter().collect();
    (!controls.is_empty()).then(|| compare(preset, &methods, controls, |optimizer| optimizer.as_str().into()))
}

/// The comparison of the methods that train less than the preset's, if each matched optimizer has one.
pub fn ablation(preset: &Preset) -> Option<Comparison> {
    let methods: Vec<&MethodPreset> = preset.methods.iter().filter(|method| method.is_ablation()).collect();
    let name = |optimizer| methods.iter().find(|m| m.optimizer == optimizer).map(|m| m.name.clone());
    let matched = preset
        .pair
        .iter()
        .all(|checkpoint| preset.checkpoint(checkpoint).is_some_and(|checkpoint| name(checkpoint.optimizer).is_some()));
    matched.then(|| compare(preset, &methods, Vec::new(), |optimizer| name(optimizer).unwrap_or_default()))
}

fn compare(
    preset: &Preset,
    methods: &[&MethodPreset],
    controls: Vec<&[String; 2]>,
    matched: impl Fn(OptimizerName) -> String,
) -> Comparison {
    let of = |checkpoint: &str| preset.checkpoint(checkpoint).map_or(String::new(), |c| matched(c.optimizer));
    let pair = |[a, b]: &[String; 2]| Pair::new((a, &of(a)), (b, &of(b)));
    let named = |wanted: fn(&MethodPreset) -> bool| {
        methods.iter().filter(|method| wanted(method)).map(|method| method.name.clone()).collect()
    };
    Comparison {
        methods: methods.iter().map(|method| method.name.clone()).collect(),
        pair: pair(&preset.pair),
        controls: controls.into_iter().map(pair).collect(),
        lora: named(|method| method.lora_rank.is_some()),
        sgd: named(|method| method.optimizer == OptimizerName::Sgd),
    }
}

/// Says, for every checkpoint and method, which parameters go to which optimizer; returns the same by what it is about.
fn describe_policies(preset: &Preset, data: &TokenData, say: &impl Fn(&str)) -> Result<Vec<(String, Vec<String>)>> {
    let mut policies = Vec::new();
    let network = crate::pretrain::network(preset, data, 0)?;
    say(&format!(
        "network: {} parameters in {} tensors",
        network.parameters().count(false),
        network.parameters().len()
    ));
    let mut show = |title: String, network: &Transformer, policy| -> Result<()> {
        let mut network = network.clone();
        let optimizer = Optimizer::new(network.parameters_mut(), &policy)?;
        let lines = optimizer.describe(network.parameters());
        say(&title);
        lines.iter().for_each(|line| say(&format!("  {line}")));
        policies.push((title, lines));
        Ok(())
    };
    for checkpoint in &preset.checkpoints {
        show(format!("pretraining {}", checkpoint.name), &network, checkpoint.policy(&preset.pretrain))?;
    }
    for method in &preset.methods {
        let mut network = network.clone();
        if let Some(lora) = method.lora() {
            network.add_lora(&lora, 0)?;
        }
        let policy = method.policy(method.rates[0], &preset.finetune);
        let others = method.rates.len() - 1;
        show(format!("finetuning {} (and {others} other learning rates)", method.name), &network, policy)?;
    }
    Ok(policies)
}

/// What a step takes of a GPU's memory, by count, beside what there is; nothing for the processor.
fn memory_line(preset: &Preset, data: &TokenData) -> Result<Option<String>> {
    let Some(memory) = models::gpu_memory(&preset.device.open()?)? else { return Ok(None) };
    let step = |sequences: usize, micro_batch: Option<usize>| {
        let tokens = micro_batch.unwrap_or(sequences).min(sequences) * preset.model.context;
        preset.model.config(&data.tokenizer).step_bytes(tokens, preset.precision)
    };
    let (pretrain, finetune) = (&preset.pretrain, &preset.finetune);
    let needed =
        step(pretrain.sequences, pretrain.micro_batch).max(step(finetune.sequences, finetune.micro_batch)) as f64 / 1e9;
    let available = memory.available as f64 / 1e9;
    let advice = if needed > available { ": set a smaller `micro-batch`" } else { "" };
    Ok(Some(format!("memory: about {needed:.1} GB a job, {available:.1} GB free on {}{advice}", preset.device)))
}

/// Tokens of a step at the most with which the processor's speed is measured: a step of half a million would take an hour.
const MEASURED_TOKENS: usize = 4096;

/// Training tokens per second of one job, from a few steps on made-up tokens.
fn measure_speed(preset: &Preset, data: &TokenData) -> Result<f64> {
    let mut network = crate::pretrain::network(preset, data, 0)?;
    let policy = preset.checkpoints[0].policy(&preset.pretrain);
    let mut optimizer = Optimizer::new(network.parameters_mut(), &policy)?;
    let context = preset.model.context;
    let sequences = match preset.device {
        Hardware::Cpu => preset.pretrain.sequences.min((MEASURED_TOKENS / context).max(1)),
        Hardware::Cuda(_) => preset.pretrain.sequences,
    };
    let vocabulary = data.tokenizer.vocabulary();
    let ids: Vec<u32> = (0..sequences * context).map(|i| (i % vocabulary) as u32).collect();
    let targets = ids.iter().map(|id| (id + 1) % vocabulary as u32).collect();
    let batch = Batch::new(ids, targets, context)?.split(preset.pretrain.micro_batch.unwrap_or(sequences));
    train_step(&mut network, &mut optimizer, &batch, Some(1.0), 1.0)?;
    let start = Instant::now();
    let steps = 3;
    for _ in 0..steps {
        train_step(&mut network, &mut optimizer, &batch, Some(1.0), 1.0)?;
    }
    Ok((steps * sequences * context) as f64 / start.elapsed().as_secs_f64())
}

/// The jobs of an experiment, in the order of the grid.
struct Jobs<'a> {
    grid: Grid<'a, Output>,
    kinds: Vec<Kind>,
    /// What an earlier run finished.
    earlier: &'a Finished,
    /// Stages that are taken over from it.
    taken: usize,
}

/// Jobs for the baselines, every pretraining, every measurement of a checkpoint and every finetuning.
fn build_grid<'a>(
    options: &'a Options,
    data: &'a TokenData,
    tasks: &'a [TaskData],
    store: &'a Store,
    earlier: &'a Finished,
) -> Result<Jobs<'a>> {
    let Options { preset, snapshot_every, .. } = options;
    let mut jobs = Jobs { grid: Grid::new(), kinds: Vec::new(), earlier, taken: 0 };
    jobs.grid.add("n-gram baselines", data.prose_train.len() as u64 / 50, &[], move |_| {
        let found = baselines(preset, data, store)?;
        let summary = found.iter().map(|(name, loss)| format!("{name} {loss:.3}")).collect::<Vec<_>>().join(", ");
        Ok(Outcome { summary, value: Output::Baselines(found) })
    });
    jobs.kinds.push(Kind::Baselines);
    for seed in 0..preset.seeds {
        for checkpoint in &preset.checkpoints {
            let pretraining = Pretraining { preset, checkpoint, seed, data, snapshot_every: *snapshot_every };
            jobs.add_pretraining(pretraining, tasks, store)?;
        }
        // A run that is stopped then has whole seeds to show.
        jobs.grid.next_round();
    }
    Ok(jobs)
}

impl<'a> Jobs<'a> {
    /// The result of a stage, if an earlier run finished it.
    fn take<T: serde::de::DeserializeOwned>(&mut self, key: &StageKey) -> Option<T> {
        let result = self.earlier.get(key);
        self.taken += usize::from(result.is_some());
        result
    }

    /// A pretraining and everything that starts from it.
    fn add_pretraining(&mut self, pretraining: Pretraining<'a>, tasks: &'a [TaskData], store: &'a Store) -> Result<()> {
        let starts: Vec<Start<'a>> = tasks.iter().map(|task| Start { pretraining, task }).collect();
        let mut runs = Vec::new();
        let mut complete = true;
        for &start in &starts {
            complete &= self.earlier.contains(&start.key()?);
            for method in pretraining.preset.methods_from(&pretraining.checkpoint.name) {
                for &rate in &method.rates {
                    let run = Finetuning { start, method, rate };
                    let key = run.key()?;
                    complete &= self.earlier.contains(&key);
                    runs.push((run, key));
                }
            }
        }
        let key = pretraining.key()?;
        // The CSV holds no weights: whatever has still to start from this checkpoint needs it trained.
        let known: Option<PretrainResult> = if complete { self.take(&key) } else { None };
        let tokens = if known.is_some() { 0 } else { pretraining.tokens() };
        let pretrained = self.grid.add(pretraining.label(), tokens, &[], move |job| {
            let (advance, skip) = (|n| job.add_tokens(n), |n| job.skip_tokens(n));
            let result = match known {
                Some(result) => result,
                None => single_thread(|| pretraining.run(store, advance, skip))??,
            };
            let summary = match result.end {
                None => "diverged".into(),
                Some(end) => format!("held-out loss {:.3}", end.loss),
            };
            Ok(Outcome { summary, value: Output::Pretrained(result) })
        });
        self.kinds.push(Kind::Pretraining(pretraining.checkpoint.name.clone(), pretraining.seed, key));
        for start in starts {
            let of_this = runs.iter().filter(|(run, _)| std::ptr::eq(run.start.task, start.task)).cloned().collect();
            self.add_task(start, of_this, pretrained, store)?;
        }
        Ok(())
    }

    /// The measurement of a checkpoint on a task, and the finetunings after it.
    fn add_task(
        &mut self,
        start: Start<'a>,
        runs: Vec<(Finetuning<'a>, StageKey)>,
        pretrained: JobId,
        store: &'a Store,
    ) -> Result<()> {
        let diverged = move |job: &JobContext<'_, Output>| match job.output(pretrained) {
            Output::Pretrained(result) => result.end.is_none(),
            _ => true,
        };
        let key = start.key()?;
        let known: Option<Losses> = self.take(&key);
        let tokens = if known.is_some() { 0 } else { start.tokens() };
        let measured = self.grid.add(start.label(), tokens, &[pretrained], move |job| -> Result<_, JobError> {
            if diverged(job) {
                return Ok(Outcome { summary: "no checkpoint".into(), value: Output::Measured(None) });
            }
            let losses = match known {
                Some(losses) => losses,
                None => single_thread(|| start.losses(store))??,
            };
            let summary = format!("pretraining loss {:.3}, task loss {:.3}", losses.pretrain, losses.task);
            Ok(Outcome { summary, value: Output::Measured(Some(losses)) })
        });
        self.kinds.push(Kind::Measurement(start.label(), key));
        for (run, key) in runs {
            let known: Option<FinetuneResult> = self.take(&key);
            let tokens = if known.is_some() { 0 } else { run.tokens() };
            self.grid.add(run.label(), tokens, &[measured], move |job| -> Result<_, JobError> {
                let Output::Measured(Some(before)) = job.output(measured) else {
                    return Ok(Outcome { summary: "no checkpoint".into(), value: Output::Finetuned(None) });
                };
                let (advance, skip) = (|n| job.add_tokens(n), |n| job.skip_tokens(n));
                let result = match known {
                    Some(result) => result,
                    None => single_thread(|| run.run(store, advance, skip))??,
                };
                let end = run.end_point(before, &result);
                let summary = match end.diverged {
                    true => "diverged".into(),
                    false => format!("learning {:.3}, forgetting {:.3}", end.learning(), end.forgetting()),
                };
                Ok(Outcome { summary, value: Output::Finetuned(Some((end, result))) })
            });
            self.kinds.push(Kind::Finetuning(run.label(), key));
        }
        Ok(())
    }
}

/// Losses of smoothed 2- and 3-gram models of the training tokens on the held-out text that L_pre is measured on.
fn baselines(preset: &Preset, data: &TokenData, store: &Store) -> Result<Vec<(String, f64)>> {
    let windows: Vec<Vec<u32>> = held_out(preset, data)?.iter().flat_map(windows_of).collect();
    let config = (windows.len(), preset.model.context);
    let key = StageKey::new("baselines", BASELINE_SEMANTICS, &config, std::slice::from_ref(&data.id))?;
    let mut stage = match store.enter(&key)? {
        StageState::Done(stage) => return Ok(stage.files().read_json("result.json")?),
        StageState::Fresh(stage) | StageState::Started(stage, _) => stage,
    };
    let vocabulary = data.tokenizer.vocabulary();
    let loss = |order| {
        let model = NGram::train(&data.prose_train, vocabulary, order);
        (format!("{order}-gram"), model.loss(windows.iter().map(Vec::as_slice)))
    };
    let found: Vec<(String, f64)> = [2, 3].map(loss).to_vec();
    stage.files().write_json("result.json", &found)?;
    stage.finish()?;
    Ok(found)
}

/// The rows of a batch, each with its last target.
fn windows_of(batch: &Batch) -> Vec<Vec<u32>> {
    let rows = batch.ids().chunks(batch.time()).zip(batch.targets().chunks(batch.time()));
    rows.map(|(ids, targets)| ids.iter().chain(targets.last()).copied().collect()).collect()
}
