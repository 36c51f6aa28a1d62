//! The figures of the theory: linear and diagonal models (claims C2 and C3).

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use experiments::cli::{display, finish, jobs_or_cores, parse};
use experiments::error::Result;
use experiments::theory_figures::{FigureName, TheoryOptions, TheoryPreset, run};

/// Simulate linear and diagonal models of pretraining and finetuning, and add their figures to the report. Ends with its path.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// The figures to make [default: all]
    #[arg(value_enum)]
    figures: Vec<FigureName>,
    /// quick, standard, or (for one figure) the path of a .toml file
    #[arg(long, default_value = "quick", value_name = "NAME|FILE")]
    preset: String,
    /// Change a value of the preset, such as seeds=20 or grid.finetune.steps=300 (for one figure); may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Threads; results do not depend on it [default: the number of cores]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Folder of the report
    #[arg(long, default_value = "out", value_name = "DIR")]
    out: PathBuf,
    /// Print the presets with all changes as TOML, and run nothing
    #[arg(long)]
    print_config: bool,
    /// Print nothing but the report's path
    #[arg(long)]
    quiet: bool,
}

fn execute(flags: Flags) -> Result<()> {
    let figures = if flags.figures.is_empty() { FigureName::ALL.to_vec() } else { flags.figures };
    let presets = figures
        .into_iter()
        .map(|figure| TheoryPreset::find(figure, &flags.preset)?.with(&flags.set))
        .collect::<Result<Vec<_>>>()?;
    if flags.print_config {
        for preset in &presets {
            println!("# theory {}\n{}", preset.name(), preset.to_toml());
        }
        return Ok(());
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = TheoryOptions {
        presets,
        out: flags.out,
        jobs: jobs_or_cores(flags.jobs),
        display: display(flags.quiet),
        command: format!("theory {}", words.join(" ")).trim().to_owned(),
    };
    println!("{}", run(&options)?.display());
    Ok(())
}

fn main() -> ExitCode {
    finish(execute(parse()))
}
