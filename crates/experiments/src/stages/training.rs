//! The loop that pretraining and finetuning share: steps, metrics, snapshots, divergence.

use lab::stage::Work;
use lab::store::Snapshot;
use models::data::BatchSource;
use models::optim::Optimizer;
use models::schedule::{Decay, Schedule};
use models::{Transformer, checkpoint, train_step};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::OPTIMIZER;
use crate::error::Result;

const PROGRESS: &str = "progress.json";

/// How long and in which steps to train.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Training {
    /// Steps.
    pub steps: u64,
    /// Sequences of a step.
    pub sequences: usize,
    /// Sequences that go through the network at a time; all if none is given.
    pub micro_batch: Option<usize>,
    /// Schedule after the warmup.
    pub decay: Decay,
    /// Share of the steps that warm up, in [0, 1).
    pub warmup: f64,
    /// Bound on the gradient's norm.
    pub clip: f64,
}

impl Training {
    /// Learning rates by step.
    pub fn schedule(&self) -> Schedule {
        let warmup = (self.warmup * self.steps as f64).round() as u64;
        Schedule { steps: self.steps, warmup, decay: self.decay }
    }

    /// Tokens of all steps with sequences of `context` tokens.
    pub fn tokens(&self, context: usize) -> u64 {
        self.steps * self.step_tokens(context)
    }

    /// Tokens of one step.
    pub fn step_tokens(&self, context: usize) -> u64 {
        (self.sequences * context) as u64
    }
}

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct StepMetrics {
    step: u64,
    loss: f64,
    gradient_norm: f64,
    multiplier: f64,
}

/// What is trained, and the measurements made on the way.
#[derive(Debug)]
pub struct Trained<P> {
    /// The network.
    pub model: Transformer,
    /// Its optimizer.
    pub optimizer: Optimizer,
    /// What `observe` gathered.
    pub points: Vec<P>,
    /// Steps done.
    pub steps: u64,
    /// Whether loss or gradient stopped being finite, or the loss rose above [`loss_bound`].
    pub diverged: bool,
}

/// A training loss above this many nats is called divergence: twice the loss of a uniform guess.
pub fn loss_bound(vocabulary: usize) -> f64 {
    2.0 * (vocabulary as f64).ln()
}

impl<P: Serialize + DeserializeOwned> Trained<P> {
    /// Before the first step.
    pub fn new(model: Transformer, optimizer: Optimizer) -> Self {
        Self { model, optimizer, points: Vec::new(), steps: 0, diverged: false }
    }

    /// Goes on where an earlier run was cut off, if it was; the steps that it did are reported as such.
    ///
    /// # Errors
    /// If a file of the snapshot is damaged.
    pub fn resume(&mut self, work: &mut Work<'_>, training: &Training) -> Result<()> {
        if let Some(snapshot) = work.take_snapshot() {
            self.restore(&snapshot)?;
            work.skip(self.steps * training.step_tokens(self.model.config().context));
        }
        Ok(())
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        let files = &snapshot.files;
        checkpoint::load_weights(&mut self.model, &files.path(checkpoint::WEIGHTS)?)?;
        self.optimizer.load(self.model.parameters(), &files.path(OPTIMIZER)?)?;
        self.points = files.read_json(PROGRESS)?;
        self.steps = snapshot.step;
        Ok(())
    }

    /// Trains to the end of the schedule or to divergence.
    ///
    /// `observe` is called before the first step and after every step with the number of steps done, and may give a
    /// point to keep.
    ///
    /// # Errors
    /// If a batch cannot be made, the model cannot run on it, or the store cannot be written.
    pub fn train(
        &mut self,
        work: &mut Work<'_>,
        source: &mut dyn BatchSource,
        training: &Training,
        mut observe: impl FnMut(u64, &Transformer) -> Result<Option<P>>,
    ) -> Result<()> {
        let bound = loss_bound(self.model.config().vocabulary);
        let schedule = training.schedule();
        if self.steps == 0 {
            self.points.extend(observe(0, &self.model)?);
        }
        while self.steps < schedule.steps && !self.diverged {
            let batch = source.batch(self.steps, training.sequences)?;
            let tokens = batch.ids().len() as u64;
            let parts = batch.split(training.micro_batch.unwrap_or(training.sequences));
            let multiplier = schedule.multiplier(self.steps);
            let report = train_step(&mut self.model, &mut self.optimizer, &parts, Some(training.clip), multiplier)?;
            self.steps += 1;
            self.diverged = !report.is_finite() || report.loss > bound;
            let (loss, gradient_norm) = (report.loss, report.gradient_norm);
            work.append_metrics(&StepMetrics { step: self.steps, loss, gradient_norm, multiplier })?;
            work.advance(tokens);
            if self.diverged {
                break;
            }
            self.points.extend(observe(self.steps, &self.model)?);
            if work.snapshot_is_due() && self.steps < schedule.steps {
                self.snapshot(work)?;
            }
        }
        Ok(())
    }

    fn snapshot(&self, work: &mut Work<'_>) -> Result<()> {
        work.save_snapshot(self.steps, |files| {
            files.write_with(checkpoint::WEIGHTS, |path| checkpoint::save_weights(&self.model, path))?;
            files.write_with(OPTIMIZER, |path| self.optimizer.save(self.model.parameters(), path))?;
            files.write_json(PROGRESS, &self.points)
        })?;
        Ok(())
    }
}
