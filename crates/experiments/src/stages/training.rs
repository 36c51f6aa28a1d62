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
const JUDGE: &str = "judge.json";

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
    /// Whether loss or gradient stopped being finite, or the loss rose too far ([`Judge`]).
    pub diverged: bool,
    judge: Judge,
}

/// Whether a training diverges, by its losses.
///
/// A training that starts well below twice the loss of a uniform guess has diverged the first time that it is above.
/// One that starts near that bound or beyond it (a checkpoint of other text has not learned to guess evenly on this
/// one) is judged by its own start: it has diverged when the mean loss of four steps is above the start by half the
/// loss of a uniform guess.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    /// The loss before the first step; none before there is one.
    start: Option<f64>,
    /// The losses of the last steps, of a training that is judged by its start.
    recent: Vec<f64>,
}

/// Steps over which a training that starts high is judged.
const PATIENCE: usize = 4;
/// A start up to this many times the loss of a uniform guess is well below twice that loss.
const LOW_START: f64 = 1.5;

impl Judge {
    /// Before the first step.
    pub fn new() -> Self {
        Self { start: None, recent: Vec::new() }
    }

    /// Of a training that is known to have started low.
    fn of_low_start() -> Self {
        Self { start: Some(0.0), recent: Vec::new() }
    }

    /// Takes the training loss of one more step, of a network with so many entries in its vocabulary; whether the
    /// training has diverged.
    pub fn diverges(&mut self, loss: f64, vocabulary: usize) -> bool {
        let guess = (vocabulary as f64).ln();
        let start = *self.start.get_or_insert(loss);
        if !loss.is_finite() || start <= LOW_START * guess {
            return !loss.is_finite() || loss > 2.0 * guess;
        }
        self.recent.push(loss);
        let surplus = self.recent.len().saturating_sub(PATIENCE);
        self.recent.drain(..surplus);
        let mean = self.recent.iter().sum::<f64>() / PATIENCE as f64;
        self.recent.len() == PATIENCE && mean > start + 0.5 * guess
    }
}

impl Default for Judge {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Serialize + DeserializeOwned> Trained<P> {
    /// Before the first step.
    pub fn new(model: Transformer, optimizer: Optimizer) -> Self {
        Self { model, optimizer, points: Vec::new(), steps: 0, diverged: false, judge: Judge::new() }
    }

    /// Goes on where an earlier run was cut off, if it was; the steps that it did, of sequences of `context` tokens,
    /// are reported as such.
    ///
    /// # Errors
    /// If a file of the snapshot is damaged.
    pub fn resume(&mut self, work: &mut Work<'_>, training: &Training, context: usize) -> Result<()> {
        if let Some(snapshot) = work.take_snapshot() {
            self.restore(&snapshot)?;
            work.skip(self.steps * training.step_tokens(context));
        }
        Ok(())
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        let files = &snapshot.files;
        checkpoint::load_weights(&mut self.model, &files.path(checkpoint::WEIGHTS)?)?;
        self.optimizer.load(self.model.parameters(), &files.path(OPTIMIZER)?)?;
        self.points = files.read_json(PROGRESS)?;
        // A snapshot without it is of a training that the bound alone has judged.
        self.judge = if files.contains(JUDGE) { files.read_json(JUDGE)? } else { Judge::of_low_start() };
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
        let vocabulary = self.model.config().vocabulary;
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
            self.diverged = self.judge.diverges(report.loss, vocabulary) || !report.is_finite();
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
            files.write_json(PROGRESS, &self.points)?;
            files.write_json(JUDGE, &self.judge)
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The step at which a training with these losses has diverged.
    fn diverges(losses: &[f64]) -> Option<usize> {
        let mut judge = Judge::new();
        // ln 55 = 4.007
        losses.iter().position(|&loss| judge.diverges(loss, 55))
    }

    #[test]
    fn a_low_start_has_diverged_at_the_first_loss_above_twice_that_of_a_guess() {
        assert_eq!(diverges(&[4.0, 3.0, 8.0, 8.1, 1.0]), Some(3));
        assert_eq!(diverges(&[4.0, 8.0, 8.0]), None);
        assert_eq!(diverges(&[4.0, f64::NAN]), Some(1));
        assert_eq!(diverges(&[6.0, 9.0]), Some(1));
    }

    #[test]
    fn a_start_near_the_bound_or_above_it_is_judged_by_itself_over_several_steps() {
        // It learns, if slowly.
        assert_eq!(diverges(&[11.6, 11.5, 11.7, 11.4, 10.0, 9.0]), None);
        assert_eq!(diverges(&[7.9, 8.1, 8.2, 8.0, 7.9, 7.0]), None);
        // One bad step is none.
        assert_eq!(diverges(&[11.6, 14.5, 11.5, 11.4, 11.3, 11.0]), None);
        // It rises and stays.
        assert_eq!(diverges(&[11.6, 12.0, 14.0, 15.0, 16.0, 17.0, 18.0]), Some(4));
        assert_eq!(diverges(&[11.6, 11.0, f64::INFINITY]), Some(2));
    }

    #[test]
    fn a_judge_goes_on_from_what_a_snapshot_keeps_of_it() {
        let losses = [11.6, 12.0, 14.0, 15.0, 16.0, 17.0];
        let mut judge = Judge::new();
        for (step, &loss) in losses.iter().enumerate() {
            judge = serde_json::from_str(&serde_json::to_string(&judge).unwrap()).unwrap();
            assert_eq!(judge.diverges(loss, 55), step >= 4, "{step}");
        }
    }
}
