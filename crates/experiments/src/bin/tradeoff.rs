//! The learning-forgetting tradeoff of finetuning methods from checkpoints of different optimizers (claim C1).

use std::process::ExitCode;

use clap::Parser;
use experiments::cli::{RunFlags, finish, parse, run};

/// Pretrain with several optimizers, finetune each checkpoint with several methods at several learning rates, and compare forgetting at matched
/// learning. Ends with the path of the report.
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    run: RunFlags,
}

fn main() -> ExitCode {
    experiments::memory::keep_freed_memory();
    finish(run(&parse::<Flags>().run, experiments::tradeoff::run))
}
