//! The programs of the experiments: one set of flags for all of them, and a registry that the rest follows from.
//!
//! A registered experiment has a program of its own, a place in `reproduce` and in the report, and an entry in the
//! reference.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches, Parser};

use crate::console;
use crate::error::{LabError, Result};
use crate::experiment::{self, Experiment, Flags, Options};
use crate::grid::Display;
use crate::preset::{self, Change, Preset};
use crate::report::Front;
use crate::store::StageId;

/// The flags of every program that runs experiments.
#[derive(Debug, Clone, Args)]
pub struct RunFlags {
    /// A preset by its name, or the path of a .toml file
    #[arg(long, default_value = "quick", value_name = "NAME|FILE")]
    pub preset: String,
    /// Change a field of the preset (--print-config shows them); may be repeated
    ///
    /// For example seeds=3 or finetune.steps=300. A table of a list is found by its name or place:
    /// methods.muon.rates=[0.001,0.003]
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Number of seeds [default: the preset's]
    #[arg(long, value_name = "N")]
    pub seeds: Option<u64>,
    #[command(flatten)]
    place: PlaceFlags,
    /// Print the preset with all changes as TOML, and run nothing
    #[arg(long)]
    print_config: bool,
    /// List the stages with their state and cost, and run nothing
    #[arg(long)]
    plan: bool,
}

/// Where and how a program runs; nothing of it decides a result.
#[derive(Debug, Clone, Args)]
pub struct PlaceFlags {
    /// Stages at a time, each on one thread; results do not depend on it [default: the number of cores, 1 on a GPU]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Seconds between the snapshots of a stage in progress
    ///
    /// A stage that was cut off goes on from its newest snapshot. Results do not depend on it
    #[arg(long, default_value_t = 15.0, value_name = "SECONDS")]
    snapshot_every: f64,
    /// Folder for the run store and the report; run again with the same folder to go on where a run stopped
    ///
    /// Several processes may share it, on one machine or on several: they divide the stages among them
    #[arg(long, default_value = "out", value_name = "DIR")]
    out: PathBuf,
    /// A NAME-finished.csv of an earlier report, to take its results over and not compute them again; may be repeated
    #[arg(long, value_name = "FILE")]
    finished: Vec<PathBuf>,
    /// Print nothing but the report's path
    #[arg(long)]
    quiet: bool,
}

impl PlaceFlags {
    fn options(&self) -> Result<Options> {
        let seconds = self.snapshot_every;
        let snapshot_every = Duration::try_from_secs_f64(seconds)
            .map_err(|_| LabError::value("snapshot-every", seconds, "seconds, not negative"))?;
        Ok(Options {
            out: self.out.clone(),
            finished: self.finished.clone(),
            jobs: self.jobs,
            snapshot_every,
            display: if self.quiet { Display::Quiet } else { Display::Auto },
            command: command_line(),
        })
    }
}

impl RunFlags {
    fn changes(&self, own: Vec<Change>) -> Result<Vec<Change>> {
        let mut changes = own;
        changes.extend(self.seeds.map(|seeds| Change::new("seeds", i64::try_from(seeds).unwrap_or(i64::MAX))));
        for text in &self.set {
            changes.push(Change::parse(text)?);
        }
        Ok(changes)
    }
}

/// All flags of one experiment's program.
#[derive(Parser)]
struct Given<F: Args> {
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    own: F,
}

/// An experiment without its types.
pub trait Registered: Sync {
    /// [`Experiment::NAME`].
    fn name(&self) -> &'static str;
    /// [`Experiment::TITLE`].
    fn title(&self) -> &'static str;
    /// The names of the built-in presets.
    fn presets(&self) -> Vec<&'static str>;
    /// The program's flags and help.
    fn command(&self) -> Command;
    /// Does what the flags say, but for the page. Returns the report's folder if there is a page to build with
    /// [`experiment::build_page`].
    ///
    /// # Errors
    /// One line that says what was found and expected.
    fn execute(&self, given: &ArgMatches, place: u32) -> Result<Option<PathBuf>>;
    /// Whether a preset of this experiment has the field that a change is about.
    ///
    /// # Errors
    /// If there is no such preset.
    fn has_field(&self, preset: &str, change: &Change) -> Result<bool>;
    /// Does what the flags say with their preset and these changes. The report's folder, if there is a page to build.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    fn run(&self, changes: &[Change], flags: &RunFlags, place: u32) -> Result<Option<PathBuf>>;
    /// The stages that a preset needs, as far as they are known.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    fn needed(&self, preset: &str, options: &Options) -> Result<BTreeSet<StageId>>;
}

/// A line of the [`Registry`].
pub struct Entry<E>(PhantomData<fn() -> E>);

impl<E> Entry<E> {
    /// The entry of an experiment.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<E> Default for Entry<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Experiment> Registered for Entry<E> {
    fn name(&self) -> &'static str {
        E::NAME
    }

    fn title(&self) -> &'static str {
        E::TITLE
    }

    fn presets(&self) -> Vec<&'static str> {
        E::Preset::BUILT_IN.iter().map(|(name, _)| *name).collect()
    }

    fn command(&self) -> Command {
        let presets = self.presets().join(", ");
        let help = format!("A preset by its name ({presets}), or the path of a .toml file");
        <Given<E::Flags> as clap::CommandFactory>::command()
            .name(E::NAME)
            .bin_name(E::NAME)
            .version(provenance_version())
            .about(first_paragraph(E::ABOUT))
            .long_about(E::ABOUT)
            .mut_arg("preset", |argument| argument.help(help))
    }

    fn execute(&self, given: &ArgMatches, place: u32) -> Result<Option<PathBuf>> {
        let Given { run, own } = Given::<E::Flags>::from_arg_matches(given).map_err(|error| refused(&error))?;
        self.run(&run.changes(own.changes())?, &run, place)
    }

    fn run(&self, changes: &[Change], flags: &RunFlags, place: u32) -> Result<Option<PathBuf>> {
        let preset = E::Preset::find(&flags.preset, changes)?;
        if flags.print_config {
            console::print(&preset.to_toml());
            return Ok(None);
        }
        let options = flags.place.options()?;
        if flags.plan {
            show_plan::<E>(&preset, &options)?;
            return Ok(None);
        }
        experiment::run::<E>(&preset, &options, place)?;
        Ok(Some(options.report()))
    }

    fn has_field(&self, preset: &str, change: &Change) -> Result<bool> {
        Ok(preset::has_field(&E::Preset::read(preset)?, change))
    }

    fn needed(&self, preset: &str, options: &Options) -> Result<BTreeSet<StageId>> {
        let preset = E::Preset::find(preset, &[])?;
        let mut grid = options.grid(&preset)?;
        let mut plan = E::plan(&preset, &mut grid).map_err(LabError::Experiment)?;
        loop {
            let (ids, all) = grid.read_done().map_err(LabError::Experiment)?;
            if !all || !E::refine(&preset, &mut plan, &mut grid).map_err(LabError::Experiment)? {
                return Ok(ids);
            }
        }
    }
}

/// Prints a line for each stage of a preset.
fn show_plan<E: Experiment>(preset: &E::Preset, options: &Options) -> Result<()> {
    let mut grid = options.grid(preset)?;
    E::plan(preset, &mut grid).map_err(LabError::Experiment)?;
    for stage in grid.look()? {
        let state = if stage.done { "done" } else { "to do" };
        let id = stage.id.map_or_else(|| "follows from results".into(), |id| id.to_string());
        let tokens = stage.cost as f64 / 1e6;
        console::print_line(&format!("{state:5}  {tokens:>8.2} M tokens  {}  ({id})", stage.label));
    }
    grid.announce(E::NAME)
}

fn first_paragraph(text: &'static str) -> &'static str {
    text.split("\n\n").next().unwrap_or(text)
}

fn provenance_version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), env!("COMMIT"))
}

fn refused(error: &clap::Error) -> LabError {
    LabError::value("flags", error.to_string().replace('\n', " "), "those of --help")
}

/// The experiments, in the order in which they run and stand in the report.
pub struct Registry {
    /// What the report's page opens with.
    pub front: Front,
    /// One line an experiment.
    pub experiments: &'static [&'static dyn Registered],
}

impl Registry {
    /// The experiment of that name, with its place in the report.
    ///
    /// # Errors
    /// With the names that there are.
    pub fn find(&self, name: &str) -> Result<(u32, &'static dyn Registered)> {
        let place = self.experiments.iter().position(|experiment| experiment.name() == name);
        let place = place.ok_or_else(|| LabError::value("experiment", name, self.names().join(", ")))?;
        Ok((place as u32, self.experiments[place]))
    }

    /// The names of all experiments.
    pub fn names(&self) -> Vec<&'static str> {
        self.experiments.iter().map(|experiment| experiment.name()).collect()
    }

    /// Does what the flags of one experiment's program say, and prints the report's path.
    ///
    /// # Errors
    /// One line that says what was found and expected.
    pub fn execute(&self, name: &str, arguments: impl IntoIterator<Item = String>) -> Result<()> {
        let (place, experiment) = self.find(name)?;
        let given = matches(experiment.command(), std::iter::once(name.to_string()).chain(arguments));
        if let Some(report) = experiment.execute(&given, place)? {
            console::print_line(&format!("{}", experiment::build_page(&report, &self.front)?.display()));
        }
        Ok(())
    }

    /// The program of one experiment, from the process's arguments to its exit code.
    pub fn main(&self, name: &str) -> ExitCode {
        crate::memory::keep_freed_memory();
        finish(self.execute(name, std::env::args().skip(1)))
    }

    /// Runs every experiment that has a preset of this name, one after the other; each adds its section to the one
    /// report. Returns the path of its page.
    ///
    /// The preset may also be a file for the one experiment in `only` (the first of all where none is named), which is
    /// then the only one that runs.
    /// A change is made in every experiment whose presets have the field; one that begins with an experiment's name and
    /// a colon (`tradeoff:finetune.steps=3`) in that one.
    ///
    /// # Errors
    /// One line that says what was found and expected.
    pub fn reproduce(&self, flags: &RunFlags, own: Vec<Change>, only: &[String]) -> Result<Option<PathBuf>> {
        for name in only {
            self.find(name)?;
        }
        if flags.preset.ends_with(".toml") && only.len() > 1 {
            return Err(LabError::value("only", only.join(", "), "one experiment, whose preset the file is"));
        }
        let chosen = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
        let is_file = flags.preset.ends_with(".toml");
        let takes = |experiment: &dyn Registered| is_file || experiment.presets().contains(&flags.preset.as_str());
        let run: Vec<(usize, &&dyn Registered)> = self
            .experiments
            .iter()
            .enumerate()
            .filter(|(_, experiment)| chosen(experiment.name()) && takes(**experiment))
            .take(if is_file { 1 } else { usize::MAX })
            .collect();
        if run.is_empty() {
            let chosen = self.experiments.iter().filter(|experiment| chosen(experiment.name()));
            let known: BTreeSet<&str> = chosen.flat_map(|experiment| experiment.presets()).collect();
            let expected = format!("{} or the path of a .toml file", known.into_iter().collect::<Vec<_>>().join(", "));
            return Err(LabError::value("preset", &flags.preset, expected));
        }
        let changes = flags.changes(own)?;
        let mut used = vec![false; changes.len()];
        let mut of_each = Vec::new();
        for (place, experiment) in run {
            let mut of_this = Vec::new();
            for (change, used) in changes.iter().zip(&mut used) {
                let change = match change.path.split_once(':') {
                    Some((name, path)) if name == experiment.name() => Change { path: path.into(), ..change.clone() },
                    Some(_) => continue,
                    None if !experiment.has_field(&flags.preset, change)? => continue,
                    None => change.clone(),
                };
                *used = true;
                of_this.push(change);
            }
            of_each.push((place, experiment, of_this));
        }
        if let Some((unused, _)) = changes.iter().zip(used).find(|(_, used)| !used) {
            let expected = "a field of a preset of one of the experiments that run";
            return Err(LabError::value("set", &unused.path, expected));
        }
        let mut page = None;
        for (place, experiment, changes) in of_each {
            if flags.print_config || flags.plan {
                console::print_line(&format!("# {}", experiment.name()));
            }
            if let Some(report) = experiment.run(&changes, flags, place as u32)? {
                // After each, so that what is done can be read while the next one runs.
                page = Some(experiment::build_page(&report, &self.front)?);
            }
        }
        Ok(page)
    }

    /// The reference: every experiment with its presets and flags, in Markdown.
    pub fn reference(&self) -> String {
        let mut text = String::new();
        for experiment in self.experiments {
            let help = experiment.command().render_long_help().to_string();
            let _ = write!(
                text,
                "## {}\n\n{}. Presets: {}.\n\n```text\n{}\n```\n\n",
                experiment.name(),
                experiment.title(),
                experiment.presets().join(", "),
                help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end()
            );
        }
        text
    }
}

/// The flags of a program. A mistake in them is one line and exit code 2, as every other; `--help` and `--version`
/// print and end.
fn matches(command: Command, arguments: impl Iterator<Item = String>) -> ArgMatches {
    command.try_get_matches_from(arguments).unwrap_or_else(|error| refuse(&error))
}

fn refuse(error: &clap::Error) -> ! {
    // Without a command there is nothing to say but what there is.
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit()
    }
    console::say(&first_lines(&error.to_string()));
    std::process::exit(2)
}

/// What is wrong and which values there are, without usage and tips, as one line.
fn first_lines(text: &str) -> String {
    text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect::<Vec<_>>().join(" ")
}

/// The flags of a program that is no experiment; mistakes as in every other.
pub fn parse<F: Parser>() -> F {
    F::try_parse().unwrap_or_else(|error| refuse(&error))
}

/// The command as it was typed, with the program's name alone.
pub fn command_line() -> String {
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    let name = PathBuf::from(program).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
}

/// Ends a program: an error is one line on standard error and exit code 2.
pub fn finish<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::say(&format!("error: {}", error.to_string().replace('\n', " ")));
            ExitCode::from(2)
        }
    }
}
