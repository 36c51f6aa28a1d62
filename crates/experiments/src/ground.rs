//! A preset of `tradeoff` as the ground of another experiment: the same text, network, pretrainings and tasks, so that
//! experiments on checkpoints find in one store what `tradeoff` has trained.

use std::sync::Arc;

use lab::error::Failure;
use lab::grid::Grid;
use lab::preset::Preset as _;
use lab::store::StageId;
use models::Precision;

use crate::error::{ExperimentError, Result};
use crate::parts::{CheckpointPreset, Machine, OwnText};
use crate::stages::{CODE, CodeTokens, Network, Pretraining, Start, Task, TaskData, TokenData, training_speed};
use crate::tradeoff::{TradeoffPreset, pretraining};

/// What every experiment on a ground may say otherwise than the preset of `tradeoff` does.
#[derive(Debug, Clone, Copy)]
pub struct Changes<'a> {
    /// Pretraining seeds.
    pub seeds: Option<u64>,
    /// Where networks are trained.
    pub device: Machine,
    /// In which numbers products of matrices are computed.
    pub precision: Option<Precision>,
    /// The text.
    pub corpus: &'a OwnText,
}

impl Changes<'_> {
    /// The preset of `tradeoff` of that name, or the file at that path, with the changes.
    ///
    /// # Errors
    /// If it cannot be read or is none.
    pub fn of(self, base: &str) -> Result<TradeoffPreset> {
        let mut preset = TradeoffPreset::find(base, &[])?;
        preset.seeds = self.seeds.unwrap_or(preset.seeds);
        preset.device = self.device;
        preset.precision = self.precision.unwrap_or(preset.precision);
        preset.corpus.take(self.corpus);
        preset.checkpoints.iter().try_for_each(|checkpoint| checkpoint.recipe().map(drop))?;
        Ok(preset)
    }
}

/// The two checkpoints that a preset of `tradeoff` compares.
///
/// # Errors
/// If it has no checkpoint of such a name.
pub fn pair(preset: &TradeoffPreset) -> Result<[&CheckpointPreset; 2]> {
    let of = |name: &String| {
        preset.checkpoint(name).ok_or_else(|| ExperimentError::value("pair", name, "the names of two checkpoints"))
    };
    match &preset.pair {
        Some([a, b]) => Ok([of(a)?, of(b)?]),
        None => Err(ExperimentError::value("pair", "none", "the names of two checkpoints")),
    }
}

/// Text, network and tasks, ready for stages.
pub struct Ground {
    /// The preset.
    pub preset: TradeoffPreset,
    /// Its text in tokens.
    pub text: Arc<TokenData>,
    /// Its network.
    pub network: Network,
    /// The tasks, in the order in which they were asked for.
    tasks: Vec<Task>,
    /// What the task of code is drawn from, if it is one of them.
    code: Option<CodeTokens>,
    /// Told what is not as one would think.
    tell: fn(&str),
}

impl Ground {
    /// Prepares the text, for tasks that are not those of the preset.
    ///
    /// # Errors
    /// If the text cannot be had, or does not fit the network.
    pub fn prepare(preset: TradeoffPreset, tasks: &[String], grid: &mut Grid) -> Result<Self, Failure> {
        let tasks = preset.open_tasks(tasks, &[])?;
        tasks.iter().filter_map(Task::description).for_each(|line| grid.say(&line));
        let with_code = tasks.iter().any(|task| task.name() == CODE);
        let (text, code) = TokenData::prepare(grid, &preset.text(), with_code)?;
        let config = preset.model.config(&text.tokenizer);
        let network = Network { config, precision: preset.precision, device: preset.device.hardware(), sequence: None };
        Ok(Self { preset, text, network, tasks, code, tell: grid.teller() })
    }

    /// The data of all tasks, as a seed draws them.
    ///
    /// # Errors
    /// If a task cannot be had, or does not fit the network.
    pub fn tasks(&self, seed: u64) -> Result<Vec<Arc<TaskData>>> {
        let (sizes, tokenizer, code) = (self.preset.task_sizes(), &self.text.tokenizer, self.code.as_ref());
        let prepared = self.tasks.iter().map(|task| {
            let task = TaskData::prepare(task, &sizes, tokenizer, code, seed)?;
            task.remarks().iter().for_each(|remark| (self.tell)(remark));
            Ok(Arc::new(task))
        });
        prepared.collect()
    }

    /// The pretraining of a checkpoint: the stage that `tradeoff` has too.
    ///
    /// # Errors
    /// If the checkpoint is made elsewhere.
    pub fn pretraining(&self, checkpoint: &CheckpointPreset, seed: u64) -> Result<Pretraining> {
        pretraining(&self.preset, &self.network, &self.text, checkpoint, seed)
    }

    /// What is measured and finetuned from the weights that a stage keeps, a network of shape `network`.
    pub fn start(&self, name: &str, weights: (StageId, &Network), task: &Arc<TaskData>, seed: u64) -> Start {
        let (checkpoint, network) = weights;
        Start {
            checkpoint_name: name.into(),
            checkpoint,
            network: network.clone(),
            text: self.text.clone(),
            text_windows: self.preset.evaluation.pretrain_windows,
            task: task.clone(),
            seed,
            order: 0,
        }
    }

    /// Where the numbers come from, beside what the engine says.
    pub fn provenance(&self) -> Vec<(String, String)> {
        vec![("arithmetic".into(), self.network.arithmetic()), ("text".into(), self.text.description.clone())]
    }

    /// Tells the grid how fast it will be, if anything is left to do.
    ///
    /// # Errors
    /// If the network cannot be trained.
    pub fn estimate(&self, grid: &mut Grid) -> Result<(), Failure> {
        if grid.look()?.iter().any(|stage| !stage.done) {
            let pretrain = &self.preset.pretrain;
            let policy = self.preset.checkpoints[0].recipe()?.policy(pretrain);
            grid.set_speed(training_speed(&self.network, &policy, &pretrain.training(1))?);
        }
        Ok(())
    }
}
