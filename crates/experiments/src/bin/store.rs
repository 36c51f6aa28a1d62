//! Housekeeping of run stores.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Parser, Subcommand};
use experiments::registry::REGISTRY;
use lab::console;
use lab::error::{LabError, Result};
use lab::experiment::Options;
use lab::program::{self, parse};
use lab::store::{StageId, StageProgress, Store};

/// List the stages of a run store, or remove those that nothing needs any more.
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// A line for each stage: state, size, age, id
    List(Place),
    /// Remove every stage that none of the given presets needs
    Prune {
        #[command(flatten)]
        place: Place,
        /// What is kept: EXPERIMENT:PRESET, with a preset's name or file; may be repeated. Stages that follow from
        /// results (memorization's reported runs) are kept too
        #[arg(long, value_name = "EXPERIMENT:PRESET", required = true)]
        keep: Vec<String>,
        /// Remove; without it only what would be removed is shown
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
struct Place {
    /// Folder of the run store: the --out of an experiment
    #[arg(long, default_value = "out", value_name = "DIR")]
    out: PathBuf,
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Minutes, hours or days.
fn age(modified: SystemTime) -> String {
    let minutes = modified.elapsed().unwrap_or(Duration::ZERO).as_secs() / 60;
    match minutes {
        0..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1440),
    }
}

fn list(place: &Place) -> Result<()> {
    let stages = Store::open_existing(&place.out)?.list()?;
    for stage in &stages {
        let state = match (&stage.state, &stage.claimed) {
            (StageProgress::Done, _) => "done".to_string(),
            (StageProgress::Unfinished, None) => "unfinished".to_string(),
            (StageProgress::Unfinished, Some(holder)) => format!("in work by {holder}"),
        };
        console::print_line(&format!(
            "{state:<12} {:>10} {:>8}  {}",
            megabytes(stage.bytes),
            age(stage.modified),
            stage.id
        ));
    }
    let total: u64 = stages.iter().map(|stage| stage.bytes).sum();
    console::print_line(&format!("{} stages, {}", stages.len(), megabytes(total)));
    Ok(())
}

fn prune(place: &Place, keep: &[String], yes: bool) -> Result<()> {
    let options = Options::quiet(&place.out);
    let parts = keep.iter().map(|text| match text.split_once(':') {
        Some((name, preset)) => Ok((REGISTRY.find(name)?.1, preset)),
        None => Err(LabError::value("keep", text, "EXPERIMENT:PRESET")),
    });
    let kept = parts.collect::<Result<Vec<_>>>()?;
    let store = Store::open_existing(&place.out)?;
    let mut needed: BTreeSet<StageId> = BTreeSet::new();
    for (experiment, preset) in kept {
        needed.extend(experiment.needed(preset, &options)?);
    }
    let mut freed = 0;
    for stage in store.list()?.into_iter().filter(|stage| !needed.contains(&stage.id)) {
        if stage.claimed.is_some() {
            console::print_line(&format!("in work, kept   {}", stage.id));
            continue;
        }
        freed += if yes { store.remove(&stage.id)? } else { stage.bytes };
        console::print_line(&format!(
            "{} {:>10}  {}",
            if yes { "removed" } else { "would go" },
            megabytes(stage.bytes),
            stage.id
        ));
    }
    console::print_line(&format!(
        "{} {}",
        megabytes(freed),
        if yes { "freed" } else { "would be freed; --yes removes them" }
    ));
    Ok(())
}

fn main() -> ExitCode {
    program::main(|| match parse::<Flags>().task {
        Task::List(place) => list(&place),
        Task::Prune { place, keep, yes } => prune(&place, &keep, yes),
    })
}
