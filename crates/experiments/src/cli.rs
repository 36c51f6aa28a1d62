//! The flags that binaries share, and how they end.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use models::{Hardware, Precision};

use crate::error::{ExperimentError, Result};
use crate::grid::Display;
use crate::preset::{FinetuneScope, InitialState, Preset};
use crate::tokens::TextSource;
use crate::tradeoff::Options;

/// What full finetuning trains.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ScopeFlag {
    /// All weights.
    All,
    /// The blocks' matrices only.
    HiddenMatrices,
}

/// The optimizer's state when finetuning starts.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StateFlag {
    /// Zero.
    Fresh,
    /// Pretraining's, where the optimizer is the same.
    Carried,
}

/// In which numbers products of matrices are computed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum PrecisionFlag {
    /// Factors and sums in f32.
    F32,
    /// Factors rounded to TF32 on a GPU; f32 on a CPU.
    Tf32,
    /// Factors rounded to bf16, sums in f32: faster on a processor with AVX512-BF16, slower on one without.
    Bf16,
}

impl From<PrecisionFlag> for Precision {
    fn from(flag: PrecisionFlag) -> Self {
        match flag {
            PrecisionFlag::F32 => Self::F32,
            PrecisionFlag::Tf32 => Self::Tf32,
            PrecisionFlag::Bf16 => Self::Bf16,
        }
    }
}

/// Where networks are trained.
#[derive(Debug, Clone, Copy, Args)]
pub struct DeviceFlag {
    /// Where networks are trained: auto (a GPU if this build can use one and there is one), cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: Hardware,
}

impl DeviceFlag {
    /// The device, after a look whether it is there.
    ///
    /// # Errors
    /// If this build has no GPU support, or there is no such GPU.
    pub fn checked(self) -> Result<Hardware> {
        self.device.open()?;
        Ok(self.device)
    }

    /// Runs at a time: what was asked for, else one on a GPU, else the number of cores.
    pub fn jobs(self, jobs: Option<NonZeroUsize>) -> NonZeroUsize {
        match self.device {
            Hardware::Cpu => jobs_or_cores(jobs),
            Hardware::Cuda(_) => jobs.unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// Which experiment to run, on which text, and where to put it.
#[derive(Debug, Clone, Args)]
pub struct RunFlags {
    /// smoke (a test of the machinery), quick, standard, paper (GPT-2 small, for a GPU), or the path of a .toml file
    #[arg(long, default_value = "quick", value_name = "NAME|FILE")]
    pub preset: String,
    /// Tasks to finetune on, comma-separated: code, math, strings; parameters as in `math:max_steps=3`
    #[arg(long, value_name = "TASKS", value_delimiter = ';')]
    pub tasks: Vec<String>,
    /// Finetuning methods to keep, comma-separated
    #[arg(long, value_name = "METHODS", value_delimiter = ',')]
    pub methods: Vec<String>,
    /// Number of pretraining seeds; verdicts need at least 5
    #[arg(long, value_name = "N")]
    pub seeds: Option<u64>,
    /// Where networks are trained.
    #[command(flatten)]
    pub device: DeviceFlag,
    /// Runs at a time, each on one thread; results do not depend on it [default: the number of cores, 1 on a GPU]
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// Seconds between the snapshots of a run in progress; they decide what a kill costs, and no result
    #[arg(long, default_value_t = 15.0, value_name = "SECONDS")]
    pub snapshot_every: f64,
    /// Folder for the run store and the report; run again with the same folder to go on where a run stopped
    #[arg(long, default_value = "out", value_name = "DIR")]
    pub out: PathBuf,
    /// The finished.csv of an earlier report: what is in it is taken over, not computed again
    #[arg(long, value_name = "FILE")]
    pub finished: Option<PathBuf>,
    /// Pretraining text: .txt, .jsonl with a field `text`, or nanoGPT's .bin (with --tokenizer) [default: the documentation of the packages in Cargo.lock]
    #[arg(long, value_name = "FILE")]
    pub corpus: Option<PathBuf>,
    /// A tokenizer.json in place of a BPE trained on the text
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// What full finetuning trains [default: the preset's]
    #[arg(long, value_enum)]
    pub scope: Option<ScopeFlag>,
    /// The optimizer's state when finetuning starts [default: the preset's]
    #[arg(long, value_enum)]
    pub state: Option<StateFlag>,
    /// Weight decay of finetuning [default: the preset's]
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    pub weight_decay: Option<f64>,
    /// In which numbers products of matrices are computed [default: the preset's, f32 where it says nothing]
    #[arg(long, value_enum)]
    pub precision: Option<PrecisionFlag>,
    /// Print the preset with all changes as TOML, and run nothing
    #[arg(long)]
    pub print_config: bool,
    /// Print nothing but the report's path
    #[arg(long)]
    pub quiet: bool,
}

impl RunFlags {
    /// The preset with the flags' changes, checked.
    ///
    /// # Errors
    /// One line that names the preset's file and line, or the field.
    pub fn resolved_preset(&self) -> Result<Preset> {
        let mut preset = Preset::find(&self.preset)?;
        if !self.tasks.is_empty() {
            preset.set_tasks(&split_tasks(&self.tasks))?;
        }
        if !self.methods.is_empty() {
            preset.keep_methods(&self.methods)?;
        }
        if let Some(seeds) = self.seeds {
            preset.seeds = seeds;
        }
        if let Some(scope) = self.scope {
            preset.finetune.scope = match scope {
                ScopeFlag::All => FinetuneScope::All,
                ScopeFlag::HiddenMatrices => FinetuneScope::HiddenMatrices,
            };
        }
        if let Some(state) = self.state {
            preset.finetune.state = match state {
                StateFlag::Fresh => InitialState::Fresh,
                StateFlag::Carried => InitialState::Carried,
            };
        }
        if let Some(decay) = self.weight_decay {
            preset.finetune.weight_decay = decay;
        }
        if let Some(precision) = self.precision {
            preset.precision = precision.into();
        }
        preset.validate()?;
        Ok(preset)
    }

    /// Everything that a run needs.
    ///
    /// # Errors
    /// As [`resolved_preset`](Self::resolved_preset).
    pub fn options(&self) -> Result<Options> {
        let mut preset = self.resolved_preset()?;
        preset.device = self.device.checked()?;
        Ok(Options {
            preset,
            text: TextSource { corpus: self.corpus.clone(), tokenizer: self.tokenizer.clone() },
            out: self.out.clone(),
            finished: self.finished.clone(),
            jobs: self.device.jobs(self.jobs),
            snapshot_every: snapshot_interval(self.snapshot_every)?,
            display: display(self.quiet),
            command: command_line(),
        })
    }
}

/// Splits `code,math:max_steps=3,largest=50` at the commas that begin a task: those not followed by a parameter `key=value`.
fn split_tasks(given: &[String]) -> Vec<String> {
    let mut tasks: Vec<String> = Vec::new();
    for piece in given.iter().flat_map(|text| text.split(',')) {
        match tasks.last_mut() {
            Some(last) if last.contains(':') && piece.contains('=') && !piece.contains(':') => {
                last.push(',');
                last.push_str(piece);
            }
            _ => tasks.push(piece.trim().to_string()),
        }
    }
    tasks
}

/// The number of jobs that was asked for, else the number of cores.
pub fn jobs_or_cores(jobs: Option<NonZeroUsize>) -> NonZeroUsize {
    jobs.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
}

/// The time of `--snapshot-every`.
///
/// # Errors
/// If it is negative or no number.
pub fn snapshot_interval(seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| ExperimentError::value("snapshot-every", seconds, "seconds, not negative"))
}

/// Where progress is shown, by `--quiet`.
pub fn display(quiet: bool) -> Display {
    if quiet { Display::Quiet } else { Display::Auto }
}

/// The command as it was typed, with the program's name alone.
pub fn command_line() -> String {
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    let name = PathBuf::from(program).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
}

/// Prints the preset if that is what was asked for, else runs `experiment` and prints the report's path.
///
/// # Errors
/// Those of the flags and of the experiment.
pub fn run(flags: &RunFlags, experiment: impl FnOnce(&Options) -> Result<PathBuf>) -> Result<()> {
    if flags.print_config {
        print!("{}", flags.resolved_preset()?.to_toml());
    } else {
        println!("{}", experiment(&flags.options()?)?.display());
    }
    Ok(())
}

/// The flags of a binary. A mistake in them is one line and exit code 2, as every other; `--help` and `--version` print and end.
pub fn parse<F: clap::Parser>() -> F {
    F::try_parse().unwrap_or_else(|error| {
        if error.use_stderr() {
            let text = error.to_string();
            crate::console::say(text.lines().next().unwrap_or_default());
            std::process::exit(2)
        }
        error.exit()
    })
}

/// Ends a binary: an error is one line on standard error and exit code 2.
pub fn finish(result: Result<(), ExperimentError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::console::say(&format!("error: {}", error.to_string().replace('\n', " ")));
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split_tasks;

    #[test]
    fn commas_divide_tasks_but_not_a_tasks_parameters() {
        let split = |text: &str| split_tasks(&[text.to_string()]);
        assert_eq!(split("code,math"), ["code", "math"]);
        assert_eq!(split("math:max_steps=3,largest=50,code"), ["math:max_steps=3,largest=50", "code"]);
        assert_eq!(split("math:max_steps=3,strings:max_length=4"), ["math:max_steps=3", "strings:max_length=4"]);
    }
}
