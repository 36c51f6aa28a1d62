//! Everything there is, in one command: each experiment's quick preset and one report.

use std::process::ExitCode;

use clap::Parser;
use experiments::cli::{RunFlags, finish};
use experiments::error::Result;

/// Reproduce the results: run every experiment and write one report. Ends with the report's path.
///
/// Run again with the same --out to go on where a run stopped; finished runs are never repeated.
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
