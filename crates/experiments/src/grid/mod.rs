//! The grid runner: many jobs that depend on one another, on a few worker threads.
//!
//! A job's cost is a number of tokens, which orders the work and drives the progress bar. What the
//! jobs compute depends on nothing here: results come back in the order in which the jobs were added,
//! whatever the number of workers.
//!
//! ```
//! use std::num::NonZeroUsize;
//! use experiments::grid::{Display, Grid, Outcome};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut grid = Grid::new();
//! let base = grid.add("pretrain", 1000, &[], |job| {
//!     job.add_tokens(400); // progress within the job
//!     Ok(Outcome { summary: "loss 3.1".into(), value: 3.1 })
//! });
//! for rate in [0.1, 0.2] {
//!     grid.add(format!("finetune at {rate}"), 500, &[base], move |job| {
//!         let loss = job.output(base) - rate;
//!         Ok(Outcome { summary: format!("loss {loss:.2}"), value: loss })
//!     });
//! }
//! let outcomes = grid.run(NonZeroUsize::new(2).unwrap(), Display::Quiet)?;
//! assert_eq!(outcomes[2].summary, "loss 2.90");
//! # Ok(())
//! # }
//! ```

mod progress;
mod schedule;

use std::num::NonZeroUsize;
use std::sync::OnceLock;

use progress::Progress;

/// What a job's closure may fail with.
pub type JobError = Box<dyn std::error::Error + Send + Sync>;

/// What a job leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<T> {
    /// One line for the person who waits.
    pub summary: String,
    /// What later jobs and the caller read.
    pub value: T,
}

/// Names a job of the grid that returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobId(usize);

impl JobId {
    /// The job's place among the outcomes of [`Grid::run`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// Where progress is shown. All of it goes to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Display {
    /// A bar and a line for each finished job on a terminal, else the lines alone.
    #[default]
    Auto,
    /// A line for each finished job.
    Lines,
    /// Nothing.
    Quiet,
}

/// Why a grid stopped.
#[derive(Debug, thiserror::Error)]
pub enum GridError {
    /// A job returned an error.
    #[error("{label}: {source}")]
    Failed {
        /// The job's label.
        label: String,
        /// What it returned.
        source: JobError,
    },
    /// A job panicked: a mistake in the program.
    #[error("{label}: internal error: {message}")]
    Panicked {
        /// The job's label.
        label: String,
        /// The first line of the panic's message.
        message: String,
    },
}

type Work<'a, T> = Box<dyn FnOnce(&JobContext<'_, T>) -> Result<Outcome<T>, JobError> + Send + 'a>;

struct Job<'a, T> {
    label: String,
    round: usize,
    tokens: u64,
    after: Vec<usize>,
    work: Work<'a, T>,
}

/// Jobs to be run, each after those that it depends on.
pub struct Grid<'a, T> {
    jobs: Vec<Job<'a, T>>,
    round: usize,
}

impl<T> Default for Grid<'_, T> {
    fn default() -> Self {
        Self { jobs: Vec::new(), round: 0 }
    }
}

impl<'a, T: Send + Sync> Grid<'a, T> {
    /// A grid without jobs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the jobs added from now on behind all added before: a worker takes one of them only when none of the earlier rounds can start.
    ///
    /// So that a grid that is stopped has done some seeds to their end, and not the first half of every one.
    pub fn next_round(&mut self) {
        self.round += 1;
    }

    /// Adds a job.
    ///
    /// - `label`: names it in lines and errors.
    /// - `tokens`: its cost; of one round, jobs at the head of the longest chains of work are started first.
    /// - `after`: jobs that must be done before. Only jobs added earlier can be named, so that there
    ///   is always an order in which all can run.
    /// - `work`: runs once, on one of the workers.
    ///
    /// # Panics
    /// If `after` names a job of another grid that this one does not have.
    pub fn add(
        &mut self,
        label: impl Into<String>,
        tokens: u64,
        after: &[JobId],
        work: impl FnOnce(&JobContext<'_, T>) -> Result<Outcome<T>, JobError> + Send + 'a,
    ) -> JobId {
        let id = JobId(self.jobs.len());
        assert!(after.iter().all(|other| other.0 < id.0), "a dependency of another grid");
        self.jobs.push(Job {
            label: label.into(),
            round: self.round,
            tokens,
            after: after.iter().map(|other| other.0).collect(),
            work: Box::new(work),
        });
        id
    }

    /// Number of jobs.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there are no jobs.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Cost of all jobs together, in tokens.
    pub fn tokens(&self) -> u64 {
        self.jobs.iter().map(|job| job.tokens).sum()
    }

    /// Runs all jobs on `workers` threads; outcomes come in the order in which the jobs were added.
    ///
    /// # Errors
    /// The error of a job that failed. Jobs that run at that moment are waited for, no other is
    /// started; of several that fail, the one added first is reported.
    pub fn run(self, workers: NonZeroUsize, display: Display) -> Result<Vec<Outcome<T>>, GridError> {
        let progress = Progress::new(display, self.len(), self.tokens());
        let result = schedule::run(self.jobs, workers, &progress);
        progress.close();
        result
    }
}

/// What a running job sees of the grid.
pub struct JobContext<'g, T> {
    tokens: &'g progress::JobTokens<'g>,
    /// The jobs named in `after`.
    after: &'g [usize],
    outcomes: &'g [OnceLock<Outcome<T>>],
}

impl<T> JobContext<'_, T> {
    /// Reports work done now, in tokens; the rest of the job's cost is added when it ends.
    pub fn add_tokens(&self, tokens: u64) {
        self.tokens.work(tokens);
    }

    /// Reports work that an earlier run of the program did: it moves the bar, and does not count as
    /// speed in the estimate of the time left.
    pub fn skip_tokens(&self, tokens: u64) {
        self.tokens.skip(tokens);
    }

    /// What a job that this one depends on left.
    ///
    /// # Panics
    /// If `id` was not named in this job's `after`.
    pub fn output(&self, id: JobId) -> &T {
        assert!(self.after.contains(&id.0), "the job asked for was not declared as a dependency");
        let outcome = self.outcomes[id.0].get().expect("a dependency is done before this job");
        &outcome.value
    }
}

#[cfg(test)]
mod tests;
