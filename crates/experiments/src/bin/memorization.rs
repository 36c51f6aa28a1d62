//! Rote memorisation against a pattern with few examples (claim C5).

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use experiments::cli::{DeviceFlag, command_line, display, finish, parse};
use experiments::error::Result;
use experiments::memorization::{Options, Preset, run};

/// Train small networks with each optimizer on a synthetic language of facts and a pattern, and compare what they memorise with what they
/// generalise. Ends with the path of the report.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// smoke (a test of the machinery), quick, standard, settings (what changes the effect), or the path of a .toml file
    #[arg(long, default_value = "quick", value_name = "NAME|FILE")]
    preset: String,
    /// Number of reported seeds; verdicts need at least 5 [default: the preset's]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    #[command(flatten)]
    device: DeviceFlag,
    /// Runs at a time, each on one thread; results do not depend on it [default: the number of cores, 1 on a GPU]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Folder for the run store and the report; run again with the same folder to go on where a run stopped
    #[arg(long, default_value = "out", value_name = "DIR")]
    out: PathBuf,
    /// Print the preset with all changes as TOML, and run nothing
    #[arg(long)]
    print_config: bool,
    /// Print nothing but the report's path
    #[arg(long)]
    quiet: bool,
}

/// Seconds between the snapshots of a run in progress.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(15);

fn execute(flags: Flags) -> Result<()> {
    let mut preset = Preset::find(&flags.preset)?;
    preset.seeds = flags.seeds.unwrap_or(preset.seeds);
    preset.validate()?;
    if flags.print_config {
        print!("{}", preset.to_toml());
        return Ok(());
    }
    preset.device = flags.device.checked()?;
    let options = Options {
        preset,
        out: flags.out,
        jobs: flags.device.jobs(flags.jobs),
        snapshot_every: SNAPSHOT_EVERY,
        display: display(flags.quiet),
        command: command_line(),
    };
    println!("{}", run(&options)?.display());
    Ok(())
}

fn main() -> ExitCode {
    experiments::memory::keep_freed_memory();
    finish(execute(parse()))
}
