//! Which job runs when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::progress::{JobTokens, Progress};
use super::{GridError, Job, JobContext, Outcome, Work};

/// A job without its closure.
struct Plan {
    label: String,
    round: usize,
    tokens: u64,
    after: Vec<usize>,
    /// Jobs that wait for this one.
    before: Vec<usize>,
    /// Cost of the most expensive chain of jobs that starts with this one.
    chain: u64,
}

/// Earliest round first, then the longest chain, then the job added first.
type Priority = (Reverse<usize>, u64, Reverse<usize>);

impl Plan {
    fn priority(&self, index: usize) -> Priority {
        (Reverse(self.round), self.chain, Reverse(index))
    }
}

struct State<'a, T> {
    work: Vec<Option<Work<'a, T>>>,
    /// Dependencies that are not done yet.
    waits_for: Vec<usize>,
    /// Jobs that may start, the first of them on top.
    ready: BinaryHeap<(Priority, usize)>,
    unfinished: usize,
    /// Job and error; of several the job added first.
    failure: Option<(usize, GridError)>,
}

/// Runs the jobs; see [`super::Grid::run`].
pub(super) fn run<T: Send + Sync>(
    jobs: Vec<Job<'_, T>>,
    workers: NonZeroUsize,
    progress: &Progress,
) -> Result<Vec<Outcome<T>>, GridError> {
    let (plans, work) = plan(jobs);
    let outcomes: Vec<OnceLock<Outcome<T>>> = plans.iter().map(|_| OnceLock::new()).collect();
    let waits_for: Vec<usize> = plans.iter().map(|plan| plan.after.len()).collect();
    let mut ready = BinaryHeap::new();
    for (index, plan) in plans.iter().enumerate() {
        if plan.after.is_empty() {
            ready.push((plan.priority(index), index));
        }
    }
    let unfinished = plans.len();
    let state = Mutex::new(State { work, waits_for, ready, unfinished, failure: None });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..workers.get().min(plans.len()) {
            scope.spawn(|| worker(&plans, &outcomes, &state, &changed, progress));
        }
    });
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.failure {
        Some((_, error)) => Err(error),
        None => Ok(outcomes.into_iter().filter_map(OnceLock::into_inner).collect()),
    }
}

fn plan<T>(jobs: Vec<Job<'_, T>>) -> (Vec<Plan>, Vec<Option<Work<'_, T>>>) {
    let mut plans = Vec::with_capacity(jobs.len());
    let mut work = Vec::with_capacity(jobs.len());
    for job in jobs {
        let Job { label, round, tokens, mut after, work: closure } = job;
        after.sort_unstable();
        after.dedup();
        plans.push(Plan { label, round, tokens, after, before: Vec::new(), chain: tokens });
        work.push(Some(closure));
    }
    // Dependencies come earlier in the list, so that one pass from its end sees every chain whole.
    for index in (0..plans.len()).rev() {
        let chain = plans[index].chain;
        for other in plans[index].after.clone() {
            plans[other].before.push(index);
            plans[other].chain = plans[other].chain.max(plans[other].tokens + chain);
        }
    }
    (plans, work)
}

fn worker<T: Send + Sync>(
    plans: &[Plan],
    outcomes: &[OnceLock<Outcome<T>>],
    state: &Mutex<State<'_, T>>,
    changed: &Condvar,
    progress: &Progress,
) {
    while let Some((index, work)) = next_job(state, changed) {
        let plan = &plans[index];
        let tokens = JobTokens::new(progress, plan.tokens);
        let context = JobContext { tokens: &tokens, after: &plan.after, outcomes };
        let start = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| work(&context)));
        let error = match result {
            Ok(Ok(outcome)) => {
                tokens.finish();
                progress.job_done(&plan.label, &outcome.summary, start.elapsed());
                // Set once: a job runs once.
                let _ = outcomes[index].set(outcome);
                None
            }
            Ok(Err(source)) => Some(GridError::Failed { label: plan.label.clone(), source }),
            Err(panic) => {
                let message = panic_message(panic.as_ref());
                Some(GridError::Panicked { label: plan.label.clone(), message })
            }
        };
        let mut state = lock(state);
        state.unfinished -= 1;
        match error {
            None => {
                for &next in &plan.before {
                    state.waits_for[next] -= 1;
                    if state.waits_for[next] == 0 {
                        state.ready.push((plans[next].priority(next), next));
                    }
                }
            }
            Some(error) => {
                if state.failure.as_ref().is_none_or(|(other, _)| index < *other) {
                    state.failure = Some((index, error));
                }
            }
        }
        drop(state);
        changed.notify_all();
    }
}

/// Waits for a job that may start; none when all are done or one has failed.
fn next_job<'a, T>(state: &Mutex<State<'a, T>>, changed: &Condvar) -> Option<(usize, Work<'a, T>)> {
    let mut state = lock(state);
    loop {
        if state.failure.is_some() || state.unfinished == 0 {
            return None;
        }
        if let Some((_, index)) = state.ready.pop() {
            let work = state.work[index].take()?;
            return Some((index, work));
        }
        state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

fn lock<'s, 'a, T>(state: &'s Mutex<State<'a, T>>) -> MutexGuard<'s, State<'a, T>> {
    // Jobs run outside the lock, and nothing under it panics.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.and_then(|text| text.lines().next()).unwrap_or("unknown").to_string()
}
