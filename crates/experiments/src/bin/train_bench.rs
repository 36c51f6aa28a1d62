//! The speed of a training step, beside PyTorch's.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use experiments::cli::{PrecisionFlag, finish, parse};
use experiments::error::Result;
use experiments::train_bench::{BenchOptimizer, BenchOptions, Peer, Shape, measure, orthogonalizers, run};

/// Time a whole training step (forward, backward, clipping, update) of three networks, beside PyTorch where a Python with torch and a peer script are given.
///
/// The script takes --layers --dim --heads --ctx --batch --vocab --threads --optimizer --steps --warmup --dtype --compile, and prints one JSON line with `torch`
/// (a version) and `step_ms`.
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(subcommand)]
    command: Option<Task>,
    /// Networks to measure, comma-separated: tiny, small, gpt2-small [default: all]
    #[arg(long, value_delimiter = ',', value_name = "SHAPES")]
    shapes: Vec<String>,
    /// Optimizers, comma-separated
    #[arg(long, value_delimiter = ',', value_enum, default_values = ["adamw", "muon"])]
    optimizers: Vec<BenchOptimizer>,
    /// Rounds of alternating measurements [default: 5, of gpt2-small 3]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
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
        #[arg(value_enum, default_value_t = PrecisionFlag::F32)]
        precision: PrecisionFlag,
    },
    /// One measurement of ours, as JSON
    Step {
        /// The network
        shape: String,
        /// The optimizer
        #[arg(value_enum)]
        optimizer: BenchOptimizer,
        /// In which numbers products are computed
        #[arg(value_enum, default_value_t = PrecisionFlag::F32)]
        precision: PrecisionFlag,
    },
}

fn bench(flags: Flags) -> Result<()> {
    match flags.command {
        Some(Task::Orthogonalizers { precision }) => print!("{}", orthogonalizers(precision.into())?),
        Some(Task::Step { shape, optimizer, precision }) => {
            let measured = measure(&Shape::find("shape", &shape)?, optimizer, precision.into())?;
            println!("{}", serde_json::json!(measured));
        }
        None => {
            let peer = flags.peer_python.zip(flags.peer_script).map(|(python, script)| Peer { python, script });
            run(&BenchOptions {
                shapes: flags.shapes,
                optimizers: flags.optimizers,
                rounds: flags.rounds,
                peer,
                modes: !flags.eager_only,
                csv: flags.csv,
            })?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    experiments::memory::keep_freed_memory();
    finish(bench(parse::<Flags>()))
}
