//! Everything there is, in one command: each experiment's quick preset and one report.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use experiments::cli::{RunFlags, finish, jobs_or_cores, parse, run};
use experiments::error::Result;
use experiments::memorization;
use experiments::optimizer_pairs::{self, PairsPreset};
use experiments::theory_figures::{self, FigureName, TheoryOptions, TheoryPreset};
use experiments::tradeoff::{self, Options};
use models::Hardware;

/// Reproduce the results: run every experiment and write one report. Ends with the report's path.
///
/// Run again with the same --out to go on where a run stopped: finished trainings are never repeated. The theory's simulations belong to the presets `quick` and `standard`; they take
/// some minutes and run anew each time.
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    run: RunFlags,
}

/// Every experiment in turn; each adds its section to the one report.
fn everything(options: &Options) -> Result<PathBuf> {
    let page = tradeoff::run(options)?;
    // The other experiments have presets of their own, by the same names; a user's preset is about the tradeoff alone.
    let name = options.preset.name.as_str();
    if !PairsPreset::names().contains(&name) {
        return Ok(page);
    }
    let device = options.preset.device;
    let pairs = PairsPreset { seeds: Some(options.preset.seeds), device, ..PairsPreset::find(name)? };
    optimizer_pairs::run(&options.with_preset(pairs))?;
    let page = memorization::run(&memorization::Options {
        preset: memorization::Preset { device, ..memorization::Preset::find(name)? },
        out: options.out.clone(),
        jobs: options.jobs,
        snapshot_every: options.snapshot_every,
        display: options.display,
        command: options.command.clone(),
    })?;
    // Simulations have no smaller form than `quick`.
    if name == "smoke" {
        return Ok(page);
    }
    let presets = FigureName::ALL.iter().map(|&figure| TheoryPreset::find(figure, name)).collect::<Result<_>>()?;
    theory_figures::run(&TheoryOptions {
        presets,
        out: options.out.clone(),
        // Simulations run on the processor, whatever the networks run on.
        jobs: if device == Hardware::Cpu { options.jobs } else { jobs_or_cores(None) },
        display: options.display,
        command: options.command.clone(),
    })
}

fn main() -> ExitCode {
    experiments::memory::keep_freed_memory();
    finish(run(&parse::<Flags>().run, everything))
}
