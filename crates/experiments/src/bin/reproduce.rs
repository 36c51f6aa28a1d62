//! All results in one go: every experiment of the registry, one report.

use std::process::ExitCode;

use clap::Parser;
use experiments::parts::TextFlags;
use experiments::registry::REGISTRY;
use lab::console;
use lab::error::Result;
use lab::experiment::Flags as _;
use lab::program::{self, RunFlags, parse};

/// Reproduce the results: run every experiment that has a preset of this name and write one report. Ends with the
/// report's path.
///
/// Run again with the same --out to go on where a run stopped: what is finished is never repeated. A field that is set
/// is set in every experiment whose presets have it, or in one: --set tradeoff:finetune.steps=100.
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    text: TextFlags,
    /// Experiments to run, comma-separated [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
}

fn execute(flags: &Flags) -> Result<()> {
    if let Some(page) = REGISTRY.reproduce(&flags.run, flags.text.changes(), &flags.only)? {
        console::print_line(&format!("{}", page.display()));
    }
    Ok(())
}

fn main() -> ExitCode {
    program::main(|| execute(&parse()))
}
