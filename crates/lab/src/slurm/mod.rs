//! A run as jobs of a Slurm cluster: an array whose tasks work on one store, and a job after it that writes the report.
//!
//! There is no scheduler here. Every task runs the program as it was typed; the claims of the store divide the stages
//! among them, a stage whose task died is taken over, and the job after the array does whatever is left. Two scripts
//! are written to `OUT/slurm`, so that they can be read and changed, and submitted if that is asked for.

mod quoting;
mod script;
mod settings;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use clap::{Args, ValueEnum};

use crate::console;
use crate::error::{LabError, Result};
use crate::store::write_atomic;
use quoting::{bytes, shell};
use script::Job;
use settings::Settings;

/// What becomes of the scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Write and print them.
    Write,
    /// Submit them too.
    Submit,
}

/// Flags of every program that trains.
#[derive(Debug, Clone, Args)]
pub struct SlurmFlags {
    /// Run on a Slurm cluster: write a job array that works through the stages, and a job after it that writes the
    /// report, to OUT/slurm and print them; with --slurm=submit hand them to sbatch too (docs/cluster.md)
    #[arg(
        long,
        value_enum,
        value_name = "ACTION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "write"
    )]
    slurm: Option<Action>,
    /// A setting of the jobs; may be repeated: tasks, partition, account, time, memory, gpus, cpus, signal-before,
    /// options, setup
    ///
    /// For example partition=gpu or time=4:00:00. Settings of every run stand in the table [slurm] of the file
    /// optimizer-consistency/config.toml in $XDG_CONFIG_HOME or ~/.config
    #[arg(long, value_name = "KEY=VALUE", requires = "slurm")]
    slurm_set: Vec<String>,
}

impl SlurmFlags {
    /// Whether jobs are to be written.
    pub(crate) fn is_asked(&self) -> bool {
        self.slurm.is_some()
    }

    /// Writes the scripts for this program with its arguments to `out/slurm` and prints them; submits them if that is
    /// asked for. `name` is that of the jobs.
    ///
    /// # Errors
    /// One line that says what was found and expected, or what a program of the cluster said.
    pub(crate) fn prepare(&self, name: &str, out: &Path) -> Result<()> {
        let settings = Settings::read(&self.slurm_set)?;
        if let Some(most) = largest_array().filter(|&most| settings.tasks > most) {
            let expected = format!("at most {most}, MaxArraySize of this cluster");
            return Err(LabError::value("slurm.tasks", settings.tasks, expected));
        }
        let system = |error: std::io::Error| LabError::value("slurm", error, "a folder to run in and a program");
        let here = std::env::current_dir().map_err(system)?;
        let program = std::env::current_exe().map_err(system)?;
        let words: Vec<OsString> =
            std::iter::once(program.into_os_string()).chain(without_own(std::env::args_os().skip(1))).collect();
        let folder = here.join(out).join("slurm");
        let job = Job { name, here: &here, folder: &folder, words: &words, settings: &settings };
        let (stages, report) = (folder.join(format!("{name}-stages.sh")), folder.join(format!("{name}-report.sh")));
        for (path, script) in [(&stages, job.stages()), (&report, job.report())] {
            write_atomic(path, &script)?;
            console::print_bytes(&[b"# ", bytes(path.as_os_str()), b"\n", &script, b"\n"].concat());
        }
        match self.slurm {
            Some(Action::Submit) => {
                let array = submit(&[], &stages)?;
                let after = submit(&[format!("--dependency=afterany:{array}")], &report)?;
                let tasks = settings.tasks;
                console::print_line(&format!("# submitted: array {array} of {tasks} tasks, then job {after}"));
            }
            _ => {
                let (stages, report) = (shell(stages.as_os_str()), shell(report.as_os_str()));
                let line = [
                    b"# to submit: array=$(sbatch --parsable ",
                    &stages[..],
                    b") && sbatch --dependency=afterany:${array%;*} ",
                    &report,
                    b"\n",
                ];
                console::print_bytes(&line.concat());
            }
        }
        Ok(())
    }
}

/// The arguments without those of this file.
fn without_own(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == "--slurm-set" {
            arguments.next();
        } else if text != "--slurm" && !text.starts_with("--slurm=") && !text.starts_with("--slurm-set=") {
            kept.push(argument);
        }
    }
    kept
}

/// How many tasks an array may have, if a Slurm is there to ask.
fn largest_array() -> Option<u64> {
    let output = Command::new("scontrol").args(["show", "config"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("MaxArraySize"))?;
    line.trim_start_matches([' ', '=']).trim().parse().ok()
}

/// Hands a script to Slurm; the job's id.
fn submit(options: &[String], script: &Path) -> Result<String> {
    let failed = |message: String| LabError::Cluster { program: "sbatch".into(), message };
    let output = Command::new("sbatch").arg("--parsable").args(options).arg(script).output();
    let output = output.map_err(|error| match error.kind() {
        ErrorKind::NotFound => failed("found no such program, expected Slurm's: write the scripts with --slurm".into()),
        _ => failed(error.to_string()),
    })?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // On several clusters the id is followed by the cluster's name.
    match out.trim().split(';').next() {
        Some(id) if output.status.success() && !id.is_empty() => Ok(id.to_string()),
        _ => Err(failed(err.trim().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jobs_run_what_was_typed_without_the_flags_of_the_cluster() {
        let typed =
            ["--preset", "smoke", "--slurm=submit", "--slurm-set", "tasks=3", "--slurm-set=time=1", "--slurm", "x"];
        let kept = without_own(typed.iter().map(OsString::from));
        assert_eq!(kept, ["--preset", "smoke", "x"]);
    }
}
