//! One optimizer in both stages, or two: what the task itself gains (claim C4).

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use experiments::cli::{DeviceFlag, command_line, display, finish, parse, snapshot_interval};
use experiments::error::Result;
use experiments::optimizer_pairs::{self, PairsOptions, PairsPreset};
use experiments::tokens::TextSource;

/// Finetune checkpoints of AdamW and Muon with both on word problems of rising difficulty, string instructions and code, with sets of several sizes, and compare
/// task loss and right answers. Ends with the path of the report.
///
/// With the --out of a `tradeoff` run of the same preset its checkpoints are used.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// smoke (a test of the machinery), quick, standard, or the path of a .toml file
    #[arg(long, default_value = "quick", value_name = "NAME|FILE")]
    preset: String,
    /// Number of pretraining seeds; verdicts need at least 5
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    #[command(flatten)]
    device: DeviceFlag,
    /// Runs at a time, each on one thread; results do not depend on it [default: the number of cores, 1 on a GPU]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Seconds between the snapshots of a run in progress; they decide what a kill costs, and no result
    #[arg(long, default_value_t = 15.0, value_name = "SECONDS")]
    snapshot_every: f64,
    /// Folder for the run store and the report; run again with the same folder to go on where a run stopped
    #[arg(long, default_value = "out", value_name = "DIR")]
    out: PathBuf,
    /// The optimizer-pairs-finished.csv of an earlier report: what is in it is taken over, not computed again
    #[arg(long, value_name = "FILE")]
    finished: Option<PathBuf>,
    /// Pretraining text: .txt, .jsonl with a field `text`, or nanoGPT's .bin (with --tokenizer) [default: the documentation of the packages in Cargo.lock]
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// A tokenizer.json in place of a BPE trained on the text
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Print the preset with all changes as TOML, and run nothing
    #[arg(long)]
    print_config: bool,
    /// Print nothing but the report's path
    #[arg(long)]
    quiet: bool,
}

fn pairs(flags: Flags) -> Result<()> {
    let mut preset = PairsPreset::find(&flags.preset)?;
    if flags.seeds.is_some() {
        preset.seeds = flags.seeds;
        preset.validate()?;
    }
    if flags.print_config {
        print!("{}", preset.to_toml());
        return Ok(());
    }
    preset.device = flags.device.checked()?;
    let page = optimizer_pairs::run(&PairsOptions {
        preset,
        text: TextSource { corpus: flags.corpus, tokenizer: flags.tokenizer },
        out: flags.out,
        finished: flags.finished,
        jobs: flags.device.jobs(flags.jobs),
        snapshot_every: snapshot_interval(flags.snapshot_every)?,
        display: display(flags.quiet),
        command: command_line(),
    })?;
    println!("{}", page.display());
    Ok(())
}

fn main() -> ExitCode {
    experiments::memory::keep_freed_memory();
    finish(pairs(parse::<Flags>()))
}
