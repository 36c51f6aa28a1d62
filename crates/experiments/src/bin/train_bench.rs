//! The speed of a training step, beside PyTorch's.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, value_parser};
use experiments::error::{ExperimentError, Result};
use experiments::parts::precision;
use experiments::train_bench::{
    BenchOptimizer, BenchOptions, Checked, GpuOptions, Peer, Shape, gpu, measure, orthogonalizers, parity, run,
};
use lab::console;
use lab::program::{self, parse};
use models::{Hardware, Precision};

/// More rounds than anybody waits for.
const MOST_ROUNDS: i64 = 1000;
/// More sequences than any memory holds.
const MOST_SEQUENCES: i64 = 1 << 20;
/// More steps than a comparison needs.
const MOST_STEPS: i64 = 1_000_000;

/// Time a whole training step (forward, backward, clipping, update) of three networks, and an evaluation, beside
/// PyTorch where a Python with torch and a peer script are given.
///
/// The script (scripts/torch_step.py is one) takes --layers --dim --heads --ctx --batch --vocab --threads --optimizer
/// --steps --warmup --dtype --compile --evaluate, on a GPU --device, and prints one JSON line with `torch` (a version),
/// `step_ms`, `loss` and, on a GPU, `peak_bytes`.
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(subcommand)]
    command: Option<Task>,
    /// What to measure, comma-separated: tiny, finetune, evaluate, small, gpt2-small [default: all]
    #[arg(long, value_delimiter = ',', value_name = "SHAPES")]
    shapes: Vec<String>,
    /// Optimizers, comma-separated
    #[arg(long, value_delimiter = ',', value_enum, default_values = ["adamw", "muon"])]
    optimizers: Vec<BenchOptimizer>,
    /// Rounds of alternating measurements [default: 5, of gpt2-small 3]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=MOST_ROUNDS))]
    rounds: Option<u32>,
    /// A Python that can import torch
    #[arg(long, value_name = "FILE", requires = "peer_script")]
    peer_python: Option<PathBuf>,
    /// The script that times PyTorch's step
    #[arg(long, value_name = "FILE", requires = "peer_python")]
    peer_script: Option<PathBuf>,
    /// Leave out compiled and bf16 PyTorch
    #[arg(long)]
    eager_only: bool,
    /// Write the table as CSV too
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Task {
    /// Time Muon's orthogonalisers against each other
    Orthogonalizers {
        /// In which numbers their products are computed
        #[arg(value_parser = precision, default_value = "f32")]
        precision: Precision,
    },
    /// One measurement of ours, as JSON
    Step {
        /// The network
        shape: String,
        /// The optimizer
        #[arg(value_enum)]
        optimizer: BenchOptimizer,
        /// In which numbers products are computed
        #[arg(value_parser = precision, default_value = "f32")]
        precision: Precision,
        /// Where: cpu, cuda or cuda:N
        #[arg(long, default_value = "cpu", value_name = "DEVICE")]
        device: Hardware,
        /// Sequences in place of the network's own number
        #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=MOST_SEQUENCES))]
        batch: Option<u32>,
        /// Sequences that go through the network at a time [default: all]
        #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=MOST_SEQUENCES))]
        micro_batch: Option<u32>,
    },
    /// Compare a GPU with the processor: logits, gradients, and losses of short trainings
    Parity {
        /// The GPU: cuda or cuda:N
        #[arg(long, default_value = "cuda", value_name = "DEVICE")]
        device: Hardware,
        /// Steps of a training
        #[arg(long, default_value = "50", value_name = "N", value_parser = value_parser!(u32).range(1..=MOST_STEPS))]
        steps: u32,
    },
    /// Time GPT-2 small at context 1024 on a GPU, beside PyTorch if --peer-python and --peer-script are given
    Gpu {
        /// The GPU: cuda or cuda:N
        #[arg(long, default_value = "cuda", value_name = "DEVICE")]
        device: Hardware,
        /// Sequences of a step
        #[arg(long, default_value = "32", value_name = "N", value_parser = value_parser!(u32).range(1..=MOST_SEQUENCES))]
        batch: u32,
        /// Sequences that go through the network at a time [default: all]; PyTorch is measured only where all do
        #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=MOST_SEQUENCES))]
        micro_batch: Option<u32>,
        /// In which numbers products are computed, comma-separated
        #[arg(long, value_delimiter = ',', value_parser = precision, default_values = ["bf16", "tf32"])]
        precisions: Vec<Precision>,
        /// The GPU's peak in 10^12 operations a second of dense bf16 products: 989 is an H100's (SXM)
        #[arg(long, default_value_t = 989.0, value_name = "TFLOPS")]
        peak_tflops: f64,
    },
}

/// Prints the table; what failed is the error.
fn show(Checked { table, failures }: Checked) -> Result<()> {
    console::print(&table);
    match failures.is_empty() {
        true => Ok(()),
        false => Err(ExperimentError::value("train-bench", failures.join("; "), "every row as it should be")),
    }
}

fn bench(flags: Flags) -> Result<()> {
    match flags.command {
        Some(Task::Orthogonalizers { precision }) => console::print(&orthogonalizers(precision)?),
        Some(Task::Step { shape, optimizer, precision, device, batch, micro_batch }) => {
            let shape = Shape::find("shape", &shape)?;
            let shape = Shape { batch: batch.map_or(shape.batch, |batch| batch as usize), ..shape };
            let micro_batch = micro_batch.map_or(shape.batch, |batch| batch as usize);
            let measured = measure(&shape, optimizer, precision, device, micro_batch)?;
            console::print_line(&serde_json::json!(measured).to_string());
        }
        Some(Task::Parity { device, steps }) => show(parity(device, steps.into())?)?,
        Some(Task::Gpu { device, batch, micro_batch, precisions, peak_tflops }) => {
            let peer = flags.peer_python.zip(flags.peer_script).map(|(python, script)| Peer { python, script });
            let options = GpuOptions {
                device,
                batch: batch as usize,
                micro_batch: micro_batch.unwrap_or(batch) as usize,
                optimizers: flags.optimizers,
                precisions,
                peak_tflops,
                peer,
                csv: flags.csv,
            };
            show(gpu(&options)?)?;
        }
        None => {
            let peer = flags.peer_python.zip(flags.peer_script).map(|(python, script)| Peer { python, script });
            run(&BenchOptions {
                shapes: flags.shapes,
                optimizers: flags.optimizers,
                rounds: flags.rounds.map(|rounds| rounds as usize),
                peer,
                modes: !flags.eager_only,
                csv: flags.csv,
            })?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    program::main(|| bench(parse::<Flags>()))
}
