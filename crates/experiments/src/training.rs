//! The loop that pretraining and finetuning share: steps, metrics, snapshots, divergence.

use std::time::{Duration, Instant};

use models::data::BatchSource;
use models::optim::Optimizer;
use models::schedule::Schedule;
use models::{Transformer, checkpoint, train_step};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::store::{ActiveStage, Snapshot};

/// The state of the optimizer in a stage's folder.
pub const OPTIMIZER: &str = "optimizer.safetensors";
const PROGRESS: &str = "progress.json";

/// How to train.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Sequences of a step.
    pub sequences: usize,
    /// Sequences that go through the network at a time; all if none is given.
    pub micro_batch: Option<usize>,
    /// Steps and learning rates.
    pub schedule: Schedule,
    /// Bound on the gradient's norm.
    pub clip: f64,
    /// Time between snapshots. It decides what a kill costs and nothing else.
    pub snapshot_every: Duration,
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

    /// Puts back the state that a snapshot holds.
    ///
    /// # Errors
    /// If a file of the snapshot is damaged.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        let files = &snapshot.files;
        checkpoint::load_weights(&mut self.model, &files.path(checkpoint::WEIGHTS)?)?;
        self.optimizer.load(self.model.parameters(), &files.path(OPTIMIZER)?)?;
        self.points = files.read_json(PROGRESS)?;
        self.steps = snapshot.step;
        Ok(())
    }

    /// Trains to the end of the schedule or to divergence.
    ///
    /// `observe` is called before the first step and after every step with the number of steps done, and may give a point to keep;
    /// `advance` is called with the tokens of every step.
    ///
    /// # Errors
    /// If a batch cannot be made, the model cannot run on it, or the store cannot be written.
    pub fn train(
        &mut self,
        stage: &mut ActiveStage,
        source: &mut dyn BatchSource,
        plan: Plan,
        mut observe: impl FnMut(u64, &Transformer) -> Result<Option<P>>,
        mut advance: impl FnMut(u64),
    ) -> Result<()> {
        let bound = loss_bound(self.model.config().vocabulary);
        let mut last_snapshot = Instant::now();
        if self.steps == 0 {
            self.points.extend(observe(0, &self.model)?);
        }
        while self.steps < plan.schedule.steps && !self.diverged {
            let batch = source.batch(self.steps, plan.sequences)?;
            let tokens = batch.ids().len() as u64;
            let parts = batch.split(plan.micro_batch.unwrap_or(plan.sequences));
            let multiplier = plan.schedule.multiplier(self.steps);
            let report = train_step(&mut self.model, &mut self.optimizer, &parts, Some(plan.clip), multiplier)?;
            self.steps += 1;
            self.diverged = !report.is_finite() || report.loss > bound;
            let (loss, gradient_norm) = (report.loss, report.gradient_norm);
            stage.append_metrics(&StepMetrics { step: self.steps, loss, gradient_norm, multiplier })?;
            advance(tokens);
            if self.diverged {
                break;
            }
            self.points.extend(observe(self.steps, &self.model)?);
            if last_snapshot.elapsed() >= plan.snapshot_every && self.steps < plan.schedule.steps {
                self.snapshot(stage)?;
                last_snapshot = Instant::now();
            }
        }
        Ok(())
    }

    fn snapshot(&self, stage: &mut ActiveStage) -> Result<()> {
        stage.save_snapshot(self.steps, |files| {
            files.write_with(checkpoint::WEIGHTS, |path| checkpoint::save_weights(&self.model, path))?;
            files.write_with(OPTIMIZER, |path| self.optimizer.save(self.model.parameters(), path))?;
            files.write_json(PROGRESS, &self.points)
        })?;
        Ok(())
    }
}
