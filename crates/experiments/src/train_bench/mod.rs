//! The speed of a training step, beside PyTorch's.
//!
//! Every measurement is a process of its own: ours is this binary again with the command `step`, PyTorch's a script
//! that prints one JSON line. Rounds alternate between them, so that a machine that slows down slows down both; what is
//! compared is the median over rounds.

mod gpu;
mod orthogonalizers;
mod parity;
mod peer;
mod step;
mod table;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};

pub use gpu::{GpuOptions, gpu};
pub use orthogonalizers::orthogonalizers;
pub use parity::parity;
pub use step::{measure, product_speed};
pub use table::{BenchOptions, run};

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timed {
    /// A training step.
    Step,
    /// The loss of a batch alone.
    Evaluation,
}

/// A network and a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Its name in the table.
    pub name: &'static str,
    /// Blocks.
    pub layers: usize,
    /// Features of the residual stream.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Tokens of a sequence.
    pub context: usize,
    /// Sequences of a step.
    pub batch: usize,
    /// Vocabulary.
    pub vocabulary: usize,
    /// Threads of both programs.
    pub threads: usize,
    /// Steps to measure, after `warmup` others.
    pub steps: usize,
    /// Steps that are not measured.
    pub warmup: usize,
    /// Rounds: pairs of measurements.
    pub rounds: usize,
    /// What a "step" is.
    pub timed: Timed,
}

/// GPT-2 small at its own context, for a GPU.
const GPU_SHAPE: Shape = Shape {
    name: "gpt2-small-1024",
    layers: 12,
    width: 768,
    heads: 12,
    context: 1024,
    batch: 32,
    vocabulary: 50257,
    threads: 2,
    steps: 20,
    warmup: 5,
    rounds: 1,
    timed: Timed::Step,
};

/// A tiny network, as in the presets.
const TINY: Shape = Shape {
    name: "tiny",
    layers: 4,
    width: 128,
    heads: 4,
    context: 128,
    batch: 16,
    vocabulary: 1024,
    threads: 1,
    steps: 15,
    warmup: 3,
    rounds: 5,
    timed: Timed::Step,
};

/// The shapes of the table: a tiny network's pretraining, finetuning and evaluation in the batches of the presets, a
/// small network, and GPT-2 small.
pub const SHAPES: [Shape; 5] = [
    TINY,
    Shape { name: "finetune", batch: 8, steps: 30, ..TINY },
    Shape { name: "evaluate", steps: 30, timed: Timed::Evaluation, ..TINY },
    Shape {
        name: "small",
        layers: 6,
        width: 256,
        heads: 8,
        context: 256,
        batch: 8,
        vocabulary: 4096,
        threads: 2,
        steps: 7,
        warmup: 2,
        rounds: 5,
        timed: Timed::Step,
    },
    Shape {
        name: "gpt2-small",
        layers: 12,
        width: 768,
        heads: 12,
        context: 512,
        batch: 2,
        vocabulary: 50257,
        threads: 2,
        steps: 2,
        warmup: 1,
        rounds: 3,
        timed: Timed::Step,
    },
];

impl Shape {
    /// The shape of that name; `field` is where it was asked for.
    ///
    /// # Errors
    /// [`LabError::Value`](lab::error::LabError::Value) with the names there are.
    pub fn find(field: &str, name: &str) -> Result<Self> {
        let found = SHAPES.iter().chain([&GPU_SHAPE]).find(|shape| shape.name == name).copied();
        found.ok_or_else(|| ExperimentError::value(field, name, SHAPES.map(|shape| shape.name).join(", ")))
    }

    /// Tokens of a step.
    pub fn tokens(&self) -> usize {
        self.batch * self.context
    }

    /// Floating-point operations of the matrix products of one forward and backward: 6 for each weight of a product and
    /// token, and 6 T d for a token's causal attention in each layer (scores and values, each T d forward over the
    /// causal half and twice that backward). What is computed twice counts once. An evaluation is a third of that.
    pub fn flops(&self) -> f64 {
        let (layers, width, context) = (self.layers as f64, self.width as f64, self.context as f64);
        let weights = 12.0 * layers * width * width + self.vocabulary as f64 * width;
        let passes = if self.timed == Timed::Step { 3.0 } else { 1.0 };
        self.tokens() as f64 * passes * (2.0 * weights + 2.0 * layers * context * width)
    }
}

/// The optimizer of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum BenchOptimizer {
    /// AdamW on everything.
    Adamw,
    /// Muon on the blocks' matrices, AdamW on the rest.
    Muon,
}

impl BenchOptimizer {
    /// The name that the peer script takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adamw => "adamw",
            Self::Muon => "muon",
        }
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Measurement {
    /// Median time of a step in milliseconds.
    pub step_ms: f64,
    /// Largest resident memory of the process in bytes, where the system tells it; of a GPU, the most that tensors took
    /// there.
    pub peak_bytes: Option<u64>,
    /// Training loss before the last step, in nats: after the same steps from the same weights, so that two precisions
    /// can be compared. PyTorch's starts from other weights.
    pub loss: f64,
}

/// A Markdown table, and a line for each thing in it that is not as it should be.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// The table.
    pub table: String,
    /// What failed.
    pub failures: Vec<String>,
}

/// How PyTorch is run.
#[derive(Debug, Clone)]
pub struct Peer {
    /// A Python with torch.
    pub python: PathBuf,
    /// The script.
    pub script: PathBuf,
}
