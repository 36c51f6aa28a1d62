//! Metrics of a run store for TensorBoard.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lab::console;
use lab::error::Result;
use lab::program::{self, parse};
use lab::tensorboard::export;

/// Write the metrics of every training in a run store as files that TensorBoard opens: `tensorboard --logdir
/// OUT/tensorboard`. Ends with the folder.
/// Trainings under way are included as far as they are. Run it again to see more: what is new is added, and a
/// TensorBoard that is open shows it.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// Folder of the run store: the --out of an experiment
    #[arg(long, default_value = "out", value_name = "DIR")]
    out: PathBuf,
}

fn execute(flags: &Flags) -> Result<()> {
    let (folder, trainings) = export(&flags.out)?;
    console::say(&format!("{trainings} trainings"));
    console::print_line(&format!("{}", folder.display()));
    Ok(())
}

fn main() -> ExitCode {
    program::main(|| execute(&parse()))
}
