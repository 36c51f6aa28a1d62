//! The learning-forgetting tradeoff of finetuning methods from checkpoints of different optimizers (claim C1).

use std::process::ExitCode;

use clap::Parser;
use experiments::cli::{RunFlags, finish};
use experiments::error::Result;

/// Pretrain with several optimizers, finetune each checkpoint with several methods at several learning rates, and compare forgetting at matched
/// learning. Ends with the path of the report.
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    run: RunFlags,
}

fn run(flags: &RunFlags) -> Result<()> {
    if flags.print_config {
        print!("{}", flags.resolved_preset()?.to_toml());
        return Ok(());
    }
    println!("{}", experiments::tradeoff::run(&flags.options()?)?.display());
    Ok(())
}

fn main() -> ExitCode {
    experiments::memory::keep_freed_memory();
    finish(run(&Flags::parse().run))
}
