//! Everything there is, in one command: each experiment's quick preset and one report.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use experiments::cli::{RunFlags, finish, run};
use experiments::error::Result;
use experiments::theory_figures::{self, FigureName, TheoryOptions, TheoryPreset};
use experiments::tradeoff::{self, Options};

/// Reproduce the results: run every experiment and write one report. Ends with the report's path.
///
/// The networks' part goes by the preset; the theory's figures belong to `quick` and `standard`. Run again with the same --out to go on where a run stopped; finished runs are never repeated.
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    run: RunFlags,
}

/// Every experiment in turn; each adds its section to the one report.
fn everything(options: &Options) -> Result<PathBuf> {
    let page = tradeoff::run(options)?;
    // The simulations have presets of their own, by the same names; a user's preset is about networks alone.
    let presets = FigureName::ALL.iter().map(|&figure| TheoryPreset::find(figure, &options.preset.name));
    let Ok(presets) = presets.collect::<Result<Vec<_>>>() else { return Ok(page) };
    theory_figures::run(&TheoryOptions {
        presets,
        out: options.out.clone(),
        jobs: options.jobs,
        display: options.display,
        command: options.command.clone(),
    })
}

fn main() -> ExitCode {
    experiments::memory::keep_freed_memory();
    finish(run(&Flags::parse().run, everything))
}
