//! Which stage runs when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::progress::{JobTokens, Progress};
use super::{Attempt, Grid, Runner};
use crate::console::panic_message;
use crate::error::{Failure, LabError, Result};
use crate::interrupt;

/// Pause before a stage that another process works on is tried again: at first, and at most.
const PATIENCE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// Time between two writings of what has finished.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// Earliest round first, then the longest chain, then the stage added first.
type Priority = (Reverse<u64>, u64, Reverse<usize>);

struct State {
    /// Dependencies that are not done yet, by job.
    waits_for: Vec<usize>,
    /// Jobs that may start, the first of them on top.
    ready: BinaryHeap<(Priority, usize)>,
    /// Jobs that another process works on: when to try again, and how long to wait after that.
    elsewhere: Vec<(Instant, Duration, usize)>,
    unfinished: usize,
    kept: Instant,
    /// Job and error; of several the job added first.
    failure: Option<(usize, LabError)>,
}

/// The jobs by what decides their order.
struct Order {
    /// Rounds of the grid.
    rounds: u64,
    /// Jobs that wait for each.
    before: Vec<Vec<usize>>,
    /// Cost of the most expensive chain of jobs that starts with each.
    chain: Vec<u64>,
}

impl Order {
    fn of(grid: &Grid) -> Self {
        let count = grid.entries.len();
        let rounds = grid.entries.iter().map(|entry| entry.round + 1).max().unwrap_or(0);
        let mut order = Self { rounds, before: vec![Vec::new(); count], chain: vec![0; count] };
        // Dependencies come earlier in the list, so that one pass from its end sees every chain whole.
        for (index, entry) in grid.entries.iter().enumerate().rev() {
            order.chain[index] = order.chain[index].saturating_add(entry.cost);
            for &other in &entry.after {
                order.before[other].push(index);
                order.chain[other] = order.chain[other].max(order.chain[index]);
            }
        }
        order
    }

    fn priority(&self, grid: &Grid, index: usize) -> Priority {
        let (mut round, mut place) = (grid.entries[index].round, index);
        if let Some(shard) = grid.options.shard {
            round = shard.turned(round, self.rounds);
            place = shard.turned(place as u64, grid.entries.len() as u64) as usize;
        }
        (Reverse(round), self.chain[index], Reverse(place))
    }
}

/// What the workers share.
struct Shared<'a> {
    grid: &'a Grid,
    order: Order,
    /// Jobs whose files are needed, whatever an earlier run finished.
    todo: &'a [bool],
    together: &'a rayon::ThreadPool,
    progress: &'a Progress,
    state: Mutex<State>,
    changed: Condvar,
}

/// Runs the jobs that have no outcome yet, one at a time on each of the pools `alone`.
pub(super) fn run(
    grid: &Grid,
    todo: &[bool],
    alone: &[rayon::ThreadPool],
    together: &rayon::ThreadPool,
    progress: &Progress,
) -> Result<()> {
    let order = Order::of(grid);
    let is_open = |index: usize| grid.outcomes.slots[index].get().is_none();
    let waits_for: Vec<usize> =
        grid.entries.iter().map(|entry| entry.after.iter().filter(|&&other| is_open(other)).count()).collect();
    let open = (0..grid.entries.len()).filter(|&index| is_open(index));
    let unfinished = open.clone().count();
    let ready = open.filter(|&index| waits_for[index] == 0).map(|index| (order.priority(grid, index), index)).collect();
    let elsewhere = Vec::new();
    let state = State { waits_for, ready, elsewhere, unfinished, kept: Instant::now(), failure: None };
    let shared = Shared { grid, order, todo, together, progress, state: Mutex::new(state), changed: Condvar::new() };
    let started: std::io::Result<()> = std::thread::scope(|scope| {
        for (place, pool) in alone.iter().enumerate() {
            let worker = std::thread::Builder::new().spawn_scoped(scope, || shared.worker(pool));
            // With fewer workers it takes longer; without one there is nobody to go on.
            if let Err(error) = worker
                && place == 0
            {
                return Err(error);
            }
        }
        Ok(())
    });
    started.map_err(LabError::Worker)?;
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.failure {
        Some((_, error)) => Err(error),
        None if state.unfinished > 0 => {
            interrupt::stopped();
            Err(LabError::Interrupted)
        }
        None => Ok(()),
    }
}

impl Shared<'_> {
    fn worker(&self, alone: &rayon::ThreadPool) {
        while let Some((index, patience)) = self.next_job() {
            let entry = &self.grid.entries[index];
            let tokens = JobTokens::new(self.progress, entry.cost);
            let start = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| self.attempt(index, alone, &tokens)));
            let error = match result {
                Ok(Ok(Some(Attempt::Elsewhere))) => {
                    let mut state = self.lock();
                    state.elsewhere.push((Instant::now() + patience, (2 * patience).min(PATIENCE[1]), index));
                    drop(state);
                    self.changed.notify_all();
                    continue;
                }
                Ok(Ok(Some(Attempt::Stopped))) => {
                    self.changed.notify_all();
                    return;
                }
                Ok(Ok(Some(Attempt::Made(made)))) => {
                    tokens.finish();
                    self.progress.job_done(&entry.label, &made.summary, start.elapsed());
                    // Set once: a job runs once.
                    let _ = self.grid.outcomes.slots[index].set(Some(made));
                    None
                }
                Ok(Ok(None)) => {
                    tokens.finish();
                    self.progress.job_done(&entry.label, "left out: it has nothing to start from", start.elapsed());
                    let _ = self.grid.outcomes.slots[index].set(None);
                    None
                }
                Ok(Err(source)) => Some(LabError::Stage { label: entry.label.clone(), source }),
                Err(panic) => {
                    let message = panic_message(panic.as_ref()).to_string();
                    Some(LabError::Panicked { label: entry.label.clone(), message })
                }
            };
            self.conclude(index, error);
        }
    }

    /// Tries a job; `None` if it is left out because one that it starts from leads nowhere.
    fn attempt(
        &self,
        index: usize,
        alone: &rayon::ThreadPool,
        tokens: &JobTokens<'_>,
    ) -> Result<Option<Attempt>, Failure> {
        let entry = &self.grid.entries[index];
        let outcomes = &self.grid.outcomes;
        if entry.after.iter().any(|&other| !outcomes.made(other).is_some_and(|made| made.leads_on)) {
            return Ok(None);
        }
        let runner = Runner {
            store: &self.grid.store,
            snapshot_every: self.grid.options.snapshot_every,
            alone,
            together: self.together,
            earlier: &self.grid.earlier,
            needs_files: self.todo[index] && entry.key.is_some(),
            outcomes,
            look: None,
        };
        (entry.task)(&runner, tokens).map(Some)
    }

    /// Notes that a job has ended, and lets those start that waited for it alone.
    fn conclude(&self, index: usize, error: Option<LabError>) {
        let mut state = self.lock();
        state.unfinished -= 1;
        match error {
            None => {
                for &next in &self.order.before[index] {
                    state.waits_for[next] -= 1;
                    if state.waits_for[next] == 0 {
                        state.ready.push((self.order.priority(self.grid, next), next));
                    }
                }
            }
            Some(error) => {
                if state.failure.as_ref().is_none_or(|(other, _)| index < *other) {
                    state.failure = Some((index, error));
                }
            }
        }
        let is_time = state.kept.elapsed() >= KEEP_EVERY;
        if is_time {
            state.kept = Instant::now();
        }
        drop(state);
        self.changed.notify_all();
        if is_time {
            self.grid.keep_meanwhile();
        }
    }

    /// Waits for a job that may start; `None` when all are done, one has failed, or the program is asked to stop. With
    /// it comes the pause before the next try, should another process work on it.
    fn next_job(&self) -> Option<(usize, Duration)> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() || state.unfinished == 0 || interrupt::asked() {
                return None;
            }
            let now = Instant::now();
            if let Some((_, index)) = state.ready.pop() {
                return Some((index, PATIENCE[0]));
            }
            if let Some(place) = state.elsewhere.iter().position(|(when, ..)| *when <= now) {
                let (_, patience, index) = state.elsewhere.swap_remove(place);
                return Some((index, patience));
            }
            let first = state.elsewhere.iter().map(|(when, ..)| *when).min();
            state = match first {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(when) => {
                    let pause = when.saturating_duration_since(now);
                    self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Jobs run outside the lock, and nothing under it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
