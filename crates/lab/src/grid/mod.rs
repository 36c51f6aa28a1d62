//! The grid: many stages that depend on one another, on a few workers.
//! [`Grid::stage`] adds a stage and returns a typed [`Job`]; once the grid has run, [`Outcomes::get`] has its output.
//! What a stage computes does not depend on the number of workers, nor on other processes that work on the same store
//! and take some of the stages.
//!
//! A stage that is added twice is run once. One that an earlier run has finished is taken over, and
//! computed only if another needs its files.

mod progress;
mod schedule;
mod shard;

use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::error::{Failure, Result};
use crate::finished::{Finished, Line};
use crate::stage::{self, Meter, Ran, Setting, Stage};
use crate::store::{DoneStage, StageId, StageKey, Store};

pub(crate) use progress::Progress;
pub use shard::Shard;

/// A stage of a grid, by the type of its output.
#[derive(Debug)]
pub struct Job<O> {
    index: usize,
    output: PhantomData<fn() -> O>,
}

impl<O> Clone for Job<O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Job<O> {}

impl<O> PartialEq for Job<O> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}

impl<O> Job<O> {
    /// The job without its type, to be waited for.
    pub fn any(self) -> AnyJob {
        AnyJob(self.index)
    }
}

/// A stage of a grid that another waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnyJob(usize);

/// The name under which one process at a time writes the file of finished stages.
const FINISHED: &str = "finished";

/// Where progress is shown. All of it goes to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Display {
    /// A bar and a line for each finished stage on a terminal, else the lines alone.
    #[default]
    Auto,
    /// Nothing.
    Quiet,
}

/// What a stage left, without its type.
pub(crate) struct Made {
    output: Box<dyn Any + Send + Sync>,
    /// The output as a line of `finished.csv`.
    line: Line,
    summary: String,
    leads_on: bool,
    /// Taken over from an earlier run's file: there is an output, and no folder.
    taken_over: bool,
}

/// A slot is empty until its stage is done, and holds `None` where the stage was left out.
type Slot = Arc<OnceLock<Option<Made>>>;

/// What came of an attempt at a job.
enum Attempt {
    Made(Made),
    /// Another process works on it: to be tried again.
    Elsewhere,
    /// The program was asked to stop; the stage has a snapshot.
    Stopped,
}

/// What the stages of a grid left.
#[derive(Clone, Default)]
pub struct Outcomes {
    slots: Vec<Slot>,
}

impl Outcomes {
    /// The output of a stage; `None` if it is not done yet, or was left out because one that it starts from leads
    /// nowhere.
    pub fn get<O: 'static>(&self, job: Job<O>) -> Option<&O> {
        self.slots.get(job.index)?.get()?.as_ref()?.output.downcast_ref()
    }

    /// The output of a stage that must be done.
    ///
    /// # Panics
    /// If it is not: a stage made of outcomes asks only for those that it waits for.
    fn made(&self, index: usize) -> Option<&Made> {
        self.slots[index].get().expect("a dependency is done before what waits for it").as_ref()
    }
}

type Task = Box<dyn Fn(&Runner<'_>, &dyn Meter) -> Result<Attempt, Failure> + Send + Sync>;

struct Entry {
    label: String,
    round: u64,
    cost: u64,
    /// Jobs that must be done before, sorted.
    after: Vec<usize>,
    /// Nothing for a stage that is made of outcomes.
    key: Option<StageKey>,
    /// Whether an earlier run finished it, with an output of the right form.
    finished: bool,
    task: Task,
}

/// What a job runs with.
struct Runner<'a> {
    store: &'a Store,
    snapshot_every: Duration,
    alone: &'a rayon::ThreadPool,
    together: &'a rayon::ThreadPool,
    earlier: &'a Finished,
    /// Whether to compute even what an earlier run finished.
    needs_files: bool,
    outcomes: &'a Outcomes,
    /// Whether to look only, which ids there are included.
    look: Option<&'a Mutex<BTreeSet<StageId>>>,
}

impl Runner<'_> {
    fn attempt<S: Stage>(&self, stage: &S, key: &StageKey, meter: &dyn Meter) -> Result<Attempt, Failure> {
        if let Some(ids) = self.look {
            ids.lock().unwrap_or_else(PoisonError::into_inner).insert(key.id().clone());
            if let Some(done) = self.store.find(key)? {
                return Ok(Attempt::Made(made::<S>(key, stage::output_of::<S>(&done)?, false)?));
            }
            return Ok(match self.earlier.get(key, S::check)? {
                Some(output) => Attempt::Made(made::<S>(key, output, true)?),
                None => Attempt::Elsewhere,
            });
        }
        if !self.needs_files
            && let Some(output) = self.earlier.get(key, S::check)?
            && self.store.find(key)?.is_none()
        {
            meter.skip(stage.cost());
            return Ok(Attempt::Made(made::<S>(key, output, true)?));
        }
        let pool = if stage.uses_all_threads() { self.together } else { self.alone };
        let setting = Setting { store: self.store, snapshot_every: self.snapshot_every, pool };
        match stage::run(stage, key, &setting, meter)? {
            Ran::Done(output) => Ok(Attempt::Made(made::<S>(key, output, false)?)),
            Ran::Elsewhere => Ok(Attempt::Elsewhere),
            Ran::Stopped => Ok(Attempt::Stopped),
        }
    }
}

fn made<S: Stage>(key: &StageKey, output: S::Output, taken_over: bool) -> Result<Made, Failure> {
    Ok(Made {
        line: Line::new(key, &output)?,
        summary: S::summary(&output),
        leads_on: S::leads_on(&output),
        taken_over,
        output: Box::new(output),
    })
}

/// How a grid runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Stages at a time, each on one thread.
    pub jobs: NonZeroUsize,
    /// Time between the snapshots of a stage in progress.
    pub snapshot_every: Duration,
    /// Where progress is shown.
    pub display: Display,
    /// Files with what earlier runs finished.
    pub finished: Vec<PathBuf>,
    /// Where to begin, of several processes that do the same.
    pub shard: Option<Shard>,
}

/// Stages to be run, each after those that it depends on.
pub struct Grid {
    store: Store,
    options: Options,
    earlier: Finished,
    entries: Vec<Entry>,
    outcomes: Outcomes,
    round: u64,
    /// The job of every stage whose key is known.
    jobs: HashMap<StageId, usize>,
    /// Stages that were needed to plan.
    prepared: Vec<StageId>,
    /// Tokens a second that one stage is expected to work through.
    speed: Option<f64>,
    /// Where finished lines are kept while the grid runs.
    keep: Option<PathBuf>,
    /// Whether the stages are only to be looked at.
    plans_only: bool,
}

impl Grid {
    /// A grid over a store, without stages.
    ///
    /// # Errors
    /// If a file of finished stages cannot be read.
    pub fn new(store: Store, options: Options) -> Result<Self> {
        let mut earlier = Finished::default();
        for path in &options.finished {
            earlier.extend(Finished::read(path)?);
        }
        let (entries, outcomes, jobs, prepared) = (Vec::new(), Outcomes::default(), HashMap::new(), Vec::new());
        let (speed, keep, plans_only) = (None, None, false);
        Ok(Self { store, options, earlier, entries, outcomes, round: 0, jobs, prepared, speed, keep, plans_only })
    }

    /// Says that stages are added to be looked at, and none will run: what only a run needs may then be missing.
    pub(crate) fn plan_only(&mut self) {
        self.plans_only = true;
    }

    /// Whether no stage that is added will run.
    pub fn plans_only(&self) -> bool {
        self.plans_only
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Writes a line for the person who waits.
    pub fn say(&self, line: &str) {
        self.teller()(line);
    }

    /// What writes lines for the person who waits, for a stage that has something to say on its way.
    pub fn teller(&self) -> fn(&str) {
        match self.options.display {
            Display::Quiet => |_| (),
            Display::Auto => crate::console::say,
        }
    }

    /// Sets how many tokens a second one stage works through, for an estimate of the time.
    pub fn set_speed(&mut self, tokens_per_second: f64) {
        self.speed = Some(tokens_per_second);
    }

    /// Keeps what finishes in this file while the grid runs, beside the lines that it holds; [`keep`](Self::keep) does
    /// so at its end.
    ///
    /// # Errors
    /// If the file is there and cannot be read: what it holds would be lost.
    pub(crate) fn keep_finished_in(&mut self, path: PathBuf) -> Result<()> {
        if path.exists() {
            Finished::read(&path)?;
        }
        self.keep = Some(path);
        Ok(())
    }

    /// Adds the lines of all stages that are done to the file of finished stages; another process may write to it too.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub(crate) fn keep(&self) -> Result<()> {
        let Some(path) = &self.keep else {
            return Ok(());
        };
        self.store.alone(FINISHED, || self.finished().add_to(path))
    }

    /// As [`keep`](Self::keep), while stages run: not if another process is at it, and a failure is no reason to stop.
    fn keep_meanwhile(&self) {
        if let Some(path) = &self.keep
            && let Err(error) = self.store.alone_now(FINISHED, || self.finished().add_to(path))
        {
            crate::console::say(&format!("warning: {}", crate::console::one_line(&error.to_string())));
        }
    }

    /// Puts the stages added from now on into a round, the first of which is 0. A worker takes a stage of it only when
    /// no stage of a lower round can start. A grid that is stopped has then done some seeds to their end, and not the
    /// first half of every one.
    pub fn set_round(&mut self, round: u64) {
        self.round = round;
    }

    /// Computes a stage that is needed to plan, at once and on all threads, unless it is done. Returns its output and
    /// files.
    ///
    /// # Errors
    /// What the stage fails with, and those of the store.
    pub fn now<S: Stage>(&mut self, stage: &S) -> Result<(S::Output, DoneStage), Failure> {
        let key = stage::key_of(stage)?;
        let pool = pool(self.options.jobs)?;
        self.prepared.push(key.id().clone());
        let setting = Setting { store: &self.store, snapshot_every: self.options.snapshot_every, pool: &pool };
        let mut said = false;
        let output = stage::run_or_wait(stage, &key, &setting, &Unmeasured, |holder| {
            if !std::mem::replace(&mut said, true) {
                self.say(&format!("{}: waiting for {holder}", stage.label()));
            }
        })?;
        Ok((output, self.store.open_done(key.id())?))
    }

    /// Adds a stage. It runs after those in `after`, and is left out if one of them leads nowhere. The same stage added
    /// twice is one job.
    ///
    /// # Errors
    /// If the key cannot be serialised, or an earlier run's file has a line of this stage that cannot be.
    ///
    /// # Panics
    /// If `after` names a job of another grid that this one does not have.
    pub fn stage<S: Stage>(&mut self, stage: S, after: &[AnyJob]) -> Result<Job<S::Output>> {
        let key = stage::key_of(&stage)?;
        if let Some(&index) = self.jobs.get(key.id()) {
            return Ok(Job { index, output: PhantomData });
        }
        self.jobs.insert(key.id().clone(), self.entries.len());
        let (label, cost, known) = (stage.label(), stage.cost(), key.clone());
        let finished = self.earlier.get(&key, S::check)?.is_some();
        let task: Task = Box::new(move |runner, meter| runner.attempt(&stage, &key, meter));
        let job = self.push(label, cost, after, Some(known), task);
        self.entries[job.index].finished = finished;
        Ok(job)
    }

    /// Adds a stage that is made of the outcomes of others, once those named in `after` are done.
    ///
    /// `label` and `cost` are for the plan: the stage itself is not known yet.
    ///
    /// # Panics
    /// If `after` names a job of another grid that this one does not have.
    pub fn stage_from<S: Stage>(
        &mut self,
        label: impl Into<String>,
        cost: u64,
        after: &[AnyJob],
        make: impl Fn(&Outcomes) -> Result<S, Failure> + Send + Sync + 'static,
    ) -> Job<S::Output> {
        let task: Task = Box::new(move |runner, meter| {
            let stage = make(runner.outcomes)?;
            runner.attempt(&stage, &stage::key_of(&stage)?, meter)
        });
        self.push(label.into(), cost, after, None, task)
    }

    fn push<O>(&mut self, label: String, cost: u64, after: &[AnyJob], key: Option<StageKey>, task: Task) -> Job<O> {
        let index = self.entries.len();
        let mut after: Vec<usize> = after.iter().map(|job| job.0).collect();
        after.sort_unstable();
        after.dedup();
        assert!(after.iter().all(|&other| other < index), "a dependency of another grid");
        self.entries.push(Entry { label, round: self.round, cost, after, key, finished: false, task });
        self.outcomes.slots.push(Slot::default());
        Job { index, output: PhantomData }
    }

    /// What the stages that are done left.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Number of stages.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no stages.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What there is to do: for each stage its label, its id if it is known, and whether it is done or taken over.
    ///
    /// # Errors
    /// If a stage in the store is damaged.
    pub fn look(&self) -> Result<Vec<Looked>> {
        let todo = self.to_compute()?;
        let looked = self.entries.iter().zip(todo).map(|(entry, todo)| Looked {
            label: entry.label.clone(),
            id: entry.key.as_ref().map(|key| key.id().clone()),
            cost: entry.cost,
            done: !todo,
        });
        Ok(looked.collect())
    }

    /// Reads what is done, here or in an earlier run, without computing anything. Returns the ids of all stages, those
    /// needed to plan included; of stages made of outcomes those whose outcomes are there. And whether everything is
    /// done.
    ///
    /// # Errors
    /// If a stage in the store is damaged.
    pub fn read_done(&self) -> Result<(BTreeSet<StageId>, bool), Failure> {
        let ids = Mutex::new(self.jobs.keys().chain(&self.prepared).cloned().collect());
        let alone = pool(NonZeroUsize::MIN)?;
        let runner = Runner {
            store: &self.store,
            snapshot_every: self.options.snapshot_every,
            alone: &alone,
            together: &alone,
            earlier: &self.earlier,
            needs_files: false,
            outcomes: &self.outcomes,
            look: Some(&ids),
        };
        let mut all = true;
        for (entry, slot) in self.entries.iter().zip(&self.outcomes.slots) {
            let before: Vec<Option<&Option<Made>>> =
                entry.after.iter().map(|&other| self.outcomes.slots[other].get()).collect();
            if slot.get().is_some() {
                continue;
            }
            let found = match before.iter().copied().collect::<Option<Vec<_>>>() {
                // It may be kept where what it was made from is not, unless that is what tells which stage it is.
                None if entry.key.is_none() => None,
                Some(before) if !before.iter().all(|made| made.as_ref().is_some_and(|made| made.leads_on)) => {
                    Some(None)
                }
                _ => match (entry.task)(&runner, &Unmeasured)? {
                    Attempt::Made(made) => Some(Some(made)),
                    Attempt::Elsewhere | Attempt::Stopped => None,
                },
            };
            all &= found.is_some();
            if let Some(found) = found {
                // Set once: it was empty.
                let _ = slot.set(found);
            }
        }
        Ok((ids.into_inner().unwrap_or_else(PoisonError::into_inner), all))
    }

    /// Every stage and what became of it, in the order in which they were added.
    pub fn records(&self) -> Vec<Record> {
        let record = |(entry, slot): (&Entry, &Slot)| {
            let (state, made) = match slot.get() {
                None => (State::Missing, None),
                Some(None) => (State::LeftOut, None),
                Some(Some(made)) => (State::Done, Some(made)),
            };
            let planned = entry.key.as_ref().map_or("", |key| key.id().as_str());
            Record {
                what: entry.label.clone(),
                state,
                result: made.map_or_else(String::new, |made| made.summary.clone()),
                tokens: entry.cost,
                stage: made.map_or(planned, |made| made.line.stage()).into(),
            }
        };
        self.entries.iter().zip(&self.outcomes.slots).map(record).collect()
    }

    /// The lines of all stages that are done, here or in an earlier run.
    fn finished(&self) -> Finished {
        let earlier = self.entries.iter().filter(|entry| entry.finished).filter_map(|entry| entry.key.as_ref());
        let earlier = earlier.filter_map(|key| self.earlier.line(key));
        let made = self.outcomes.slots.iter().filter_map(|slot| slot.get()?.as_ref());
        Finished::of(earlier.chain(made.map(|made| &made.line)).cloned())
    }

    /// Which stages are to be computed: those that are neither in the store nor taken over, and those taken over whose
    /// files another stage needs.
    fn to_compute(&self) -> Result<Vec<bool>> {
        let mut todo = vec![false; self.entries.len()];
        let mut files_needed: BTreeSet<StageId> = BTreeSet::new();
        for (index, entry) in self.entries.iter().enumerate().rev() {
            let Some(key) = &entry.key else {
                todo[index] = self.outcomes.slots[index].get().is_none();
                continue;
            };
            let needed = files_needed.contains(key.id());
            let stored = self.store.find(key)?.is_some();
            todo[index] = !stored && (needed || !entry.finished);
            if todo[index] {
                files_needed.extend(key.inputs().iter().cloned());
            }
        }
        Ok(todo)
    }

    /// Says what is to be done, and about how long it takes.
    ///
    /// # Errors
    /// If a stage in the store is damaged.
    pub fn announce(&self, name: &str) -> Result<()> {
        let looked = self.look()?;
        if !self.options.finished.is_empty() {
            let taken = self.entries.iter().zip(&looked).filter(|(entry, stage)| entry.finished && stage.done).count();
            let files: Vec<String> = self.options.finished.iter().map(|path| path.display().to_string()).collect();
            self.say(&format!("{}: {taken} of its {} stages are taken over", files.join(", "), self.earlier.len()));
        }
        let left: u64 = looked.iter().filter(|stage| !stage.done).map(|stage| stage.cost).sum();
        let done = looked.iter().filter(|stage| stage.done).count();
        let time = self.speed.filter(|_| left > 0).map_or(String::new(), |speed| {
            let seconds = left as f64 / speed / self.options.jobs.get() as f64;
            let minutes = (seconds / 60.0).max(1.0);
            format!(", at {speed:.0} tokens/s each and {} at a time about {minutes:.0} min", self.options.jobs)
        });
        let follow = looked.iter().filter(|stage| !stage.done && stage.id.is_none()).count();
        let mut remarks = Vec::new();
        remarks.extend((done > 0).then(|| format!("{done} done before")));
        remarks.extend((follow > 0).then(|| format!("{follow} follow from results")));
        let before = if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join(", ")) };
        let millions = left as f64 / 1e6;
        self.say(&format!("{name}: {millions:.1} M tokens in {} stages{before}{time}", looked.len()));
        Ok(())
    }

    /// Runs all stages that are not done yet.
    ///
    /// # Errors
    /// The error of a stage that failed. Stages that run at that moment go on to their end, and no other is started. Of
    /// several errors, that of the stage added first. [`LabError::Interrupted`](crate::error::LabError::Interrupted) if
    /// the program was asked to stop before all were done: those that run end with a snapshot.
    pub fn run(&mut self) -> Result<()> {
        let todo = self.to_compute()?;
        for (slot, &todo) in self.outcomes.slots.iter_mut().zip(&todo) {
            // Taken over without its files, which are needed now.
            if todo && matches!(slot.get(), Some(Some(made)) if made.taken_over) {
                *slot = Slot::default();
            }
        }
        let open: Vec<usize> = (0..self.entries.len()).filter(|&i| self.outcomes.slots[i].get().is_none()).collect();
        if open.is_empty() {
            return Ok(());
        }
        let total = open.iter().map(|&index| self.entries[index].cost).sum();
        let progress = Progress::new(self.options.display, open.len(), total);
        let result = self.run_open(&todo, &progress);
        progress.close();
        result
    }

    fn run_open(&self, todo: &[bool], progress: &Progress) -> Result<()> {
        let open = self.outcomes.slots.iter().filter(|slot| slot.get().is_none()).count();
        let workers = self.options.jobs.get().min(open);
        let alone: Vec<rayon::ThreadPool> = (0..workers).map(|_| pool(NonZeroUsize::MIN)).collect::<Result<_, _>>()?;
        let together = pool(self.options.jobs)?;
        schedule::run(self, todo, &alone, &together, progress)
    }
}

/// What became of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// There is an output.
    Done,
    /// There is none yet.
    Missing,
    /// There will be none: what it starts from leads nowhere.
    LeftOut,
}

/// A stage and what became of it, for people.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Record {
    /// Names it.
    pub what: String,
    /// What became of it.
    pub state: State,
    /// What came out, in a few words; empty where nothing did.
    pub result: String,
    /// What it costs, in tokens.
    pub tokens: u64,
    /// Its id, which is its folder's name in the store; empty for one that follows from results and is not done.
    pub stage: String,
}

/// A stage of a grid that was only looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Looked {
    /// Names it.
    pub label: String,
    /// Its id, unless the stage is made of the outcomes of others.
    pub id: Option<StageId>,
    /// What it costs, in tokens.
    pub cost: u64,
    /// Whether it is done, or taken over.
    pub done: bool,
}

struct Unmeasured;

impl Meter for Unmeasured {
    fn work(&self, _: u64) {}
    fn skip(&self, _: u64) {}
}

fn pool(threads: NonZeroUsize) -> Result<rayon::ThreadPool> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build()?)
}

#[cfg(test)]
mod tests;
