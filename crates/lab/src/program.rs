//! The programs of the experiments: one set of flags for all of them, and a registry that the rest follows from.
//!
//! A registered experiment has a program of its own, a place in `reproduce` and in the report, and an entry in the
//! reference.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches, Parser};

use crate::error::{LabError, Result};
use crate::experiment::{self, Experiment, Flags, Options};
use crate::grid::{Display, Shard};
use crate::preset::{self, Change, Preset};
use crate::report::Front;
use crate::slurm::SlurmFlags;
use crate::store::StageId;
use crate::{console, interrupt, memory};

/// More stages at a time than any machine has cores for.
const MOST_JOBS: usize = 4096;
/// A longer time between two snapshots means none, and no system counts further.
const LONGEST_PAUSE: f64 = 1e9;

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
    #[command(flatten)]
    slurm: SlurmFlags,
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
    /// Which of N processes this is that do the same on one store: each begins at another place of the work, and goes
    /// on until all is done [default: the task of a Slurm job array]
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Leave the report to another process: compute the stages alone
    #[arg(long)]
    no_report: bool,
    /// Draw the report of what is finished, also while another process is at work: train nothing
    #[arg(long, conflicts_with_all = ["no_report", "shard", "slurm", "plan", "print_config"])]
    report_only: bool,
    /// Print nothing but the report's path
    #[arg(long)]
    quiet: bool,
}

impl PlaceFlags {
    fn options(&self) -> Result<Options> {
        let seconds = self.snapshot_every;
        if !(0.0..=LONGEST_PAUSE).contains(&seconds) {
            let expected = format!("seconds, not negative and at most {LONGEST_PAUSE}");
            return Err(LabError::value("snapshot-every", seconds, expected));
        }
        if let Some(jobs) = self.jobs.filter(|jobs| jobs.get() > MOST_JOBS) {
            return Err(LabError::value("jobs", jobs, format!("at most {MOST_JOBS}")));
        }
        Ok(Options {
            out: self.out.clone(),
            finished: self.finished.clone(),
            jobs: self.jobs,
            snapshot_every: Duration::from_secs_f64(seconds),
            shard: self.shard.or_else(|| Shard::of_array(|name| std::env::var(name).ok())),
            no_report: self.no_report,
            report_only: self.report_only,
            display: if self.quiet { Display::Quiet } else { Display::Auto },
            command: command_line(),
        })
    }
}

impl RunFlags {
    /// Whether a cluster's jobs are to be written, and nothing shown or run here.
    fn is_for_slurm(&self) -> bool {
        self.slurm.is_asked() && !self.print_config && !self.plan
    }

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
    /// Does what the flags say. Returns the path of the report's page, if there is one now.
    ///
    /// # Errors
    /// One line that says what was found and expected.
    fn execute(&self, given: &ArgMatches, place: u32, front: &Front) -> Result<Option<PathBuf>>;
    /// Whether a preset of this experiment has the field that a change is about.
    ///
    /// # Errors
    /// If there is no such preset.
    fn has_field(&self, preset: &str, change: &Change) -> Result<bool>;
    /// Whether there is such a preset and all its fields are in range, with these changes.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    fn check(&self, changes: &[Change], flags: &RunFlags) -> Result<()>;
    /// Does what the flags say with their preset and these changes. Returns the path of the report's page, if there is
    /// one now.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    fn run(&self, changes: &[Change], flags: &RunFlags, place: u32, front: &Front) -> Result<Option<PathBuf>>;
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

    fn execute(&self, given: &ArgMatches, place: u32, front: &Front) -> Result<Option<PathBuf>> {
        let Given { run, own } = Given::<E::Flags>::from_arg_matches(given).map_err(|error| refused(&error))?;
        let changes = run.changes(own.changes())?;
        if run.is_for_slurm() {
            self.check(&changes, &run)?;
            run.slurm.prepare(E::NAME, &run.place.out)?;
            return Ok(None);
        }
        let preset = E::Preset::find(&run.preset, &changes)?;
        if !run.print_config
            && let Some(text) = E::show(&own, &preset, &run.place.options()?).map_err(LabError::Experiment)?
        {
            console::print(&text);
            return Ok(None);
        }
        run_preset::<E>(&preset, &run, place, front)
    }

    fn check(&self, changes: &[Change], flags: &RunFlags) -> Result<()> {
        flags.place.options()?;
        E::Preset::find(&flags.preset, changes).map(drop)
    }

    fn run(&self, changes: &[Change], flags: &RunFlags, place: u32, front: &Front) -> Result<Option<PathBuf>> {
        run_preset::<E>(&E::Preset::find(&flags.preset, changes)?, flags, place, front)
    }

    fn has_field(&self, preset: &str, change: &Change) -> Result<bool> {
        Ok(preset::has_field(&E::Preset::read(preset)?, change))
    }

    fn needed(&self, preset: &str, options: &Options) -> Result<BTreeSet<StageId>> {
        let preset = E::Preset::find(preset, &[])?;
        let mut grid = options.grid(&preset)?;
        let mut plan = E::plan(&preset, &mut grid).map_err(LabError::Experiment)?;
        experiment::read_all::<E>(&preset, &mut plan, &mut grid)
    }
}

/// Prints a preset or its plan, or runs it, as the flags say.
fn run_preset<E: Experiment>(
    preset: &E::Preset,
    flags: &RunFlags,
    place: u32,
    front: &Front,
) -> Result<Option<PathBuf>> {
    if flags.print_config {
        console::print(&preset.to_toml());
        return Ok(None);
    }
    let options = flags.place.options()?;
    if flags.plan {
        show_plan::<E>(preset, &options)?;
        return Ok(None);
    }
    experiment::run::<E>(preset, &options, place, front)
}

/// Prints a line for each stage of a preset.
fn show_plan<E: Experiment>(preset: &E::Preset, options: &Options) -> Result<()> {
    let mut grid = options.grid(preset)?;
    grid.plan_only();
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
    pub fn execute(&self, name: &str, arguments: impl IntoIterator<Item = OsString>) -> Result<()> {
        let (place, experiment) = self.find(name)?;
        let given = matches(experiment.command(), std::iter::once(name.into()).chain(arguments));
        if let Some(page) = experiment.execute(&given, place, &self.front)? {
            console::print_line(&format!("{}", page.display()));
        }
        Ok(())
    }

    /// The program of one experiment, from the process's arguments to its exit code.
    pub fn main(&self, name: &str) -> ExitCode {
        main(|| self.execute(name, std::env::args_os().skip(1)))
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
        if flags.is_for_slurm() {
            of_each.iter().try_for_each(|(_, experiment, changes)| experiment.check(changes, flags))?;
            flags.slurm.prepare("reproduce", &flags.place.out)?;
            return Ok(None);
        }
        let (mut page, mut nothing) = (None, None);
        for (place, experiment, changes) in of_each {
            if flags.print_config || flags.plan {
                console::print_line(&format!("# {}", experiment.name()));
            }
            // With a page after each, so that what is done can be read while the next one runs.
            match experiment.run(&changes, flags, place as u32, &self.front) {
                // The others may have something.
                Err(error @ LabError::NothingFinished { .. }) => nothing = nothing.or(Some(error)),
                made => page = made?.or(page),
            }
        }
        match nothing {
            Some(nothing) if page.is_none() => Err(nothing),
            _ => Ok(page),
        }
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
fn matches(command: Command, arguments: impl Iterator<Item = OsString>) -> ArgMatches {
    command.try_get_matches_from(arguments).unwrap_or_else(|error| refuse(&error))
}

fn refuse(error: &clap::Error) -> ! {
    // Without a command there is nothing to say but what there is.
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit()
    }
    console::say(&console::one_line(&what_is_wrong(&error.to_string())));
    std::process::exit(2)
}

/// What is wrong, which values there are and what may have been meant, as one line: all of the message but the usage.
fn what_is_wrong(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let wanted = lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    wanted.collect::<Vec<_>>().join(" ")
}

/// The flags of a program that is no experiment; mistakes as in every other.
pub fn parse<F: Parser>() -> F {
    F::try_parse().unwrap_or_else(|error| refuse(&error))
}

/// A path that is to stand in a preset, which is text: one that is not UTF-8 is refused. For a flag's `value_parser`.
///
/// # Errors
/// What was found and expected.
pub fn path_in_preset(path: OsString) -> Result<String, String> {
    if path.is_empty() {
        return Err("found nothing, expected a path".into());
    }
    path.into_string().map_err(|path| {
        let found = path.to_string_lossy().into_owned();
        format!("found {found}, expected a path in UTF-8, since it stands in a preset: rename it or make a link to it")
    })
}

/// The command as it was typed, with the program's name alone.
pub fn command_line() -> String {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let name = PathBuf::from(program).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let words = words.map(|word| word.to_string_lossy().into_owned());
    std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
}

/// A whole program, from what it does to its exit code: 0; 2 after an error, which is one line on standard error; 75
/// if it was asked to stop ([`interrupt`]). A panic, which is a mistake in the program or a system without any more
/// threads, is one line too.
pub fn main<E: std::fmt::Display>(execute: impl FnOnce() -> Result<(), E>) -> ExitCode {
    memory::keep_freed_memory();
    interrupt::listen();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or(String::new(), |place| format!(" ({}:{})", place.file(), place.line()));
        let what = console::panic_message(panic.payload());
        console::say(&console::one_line(&format!("error: internal: {what}{place}")));
    }));
    // Some libraries use threads that belong to nobody, and panic where there are none.
    if let Err(error) = rayon::ThreadPoolBuilder::new().build_global() {
        return finish(Err(LabError::from(error)));
    }
    catch_unwind(AssertUnwindSafe(|| finish(execute()))).unwrap_or(ExitCode::from(2))
}

/// Ends a program: an error is one line on standard error and exit code 2.
fn finish<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::say(&console::one_line(&format!("error: {error}")));
            ExitCode::from(if interrupt::has_stopped() { interrupt::EXIT_CODE } else { 2 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_all_that_clap_says_but_the_usage() {
        let text = "error: invalid value 'foo' for '--scope <SCOPE>'\n  [possible values: all, hidden-matrices]\n\n  tip: a \
                    similar value exists: 'all'\n\nUsage: tradeoff [OPTIONS]\n\nFor more information, try '--help'.\n";
        let expected = "error: invalid value 'foo' for '--scope <SCOPE>' [possible values: all, hidden-matrices] tip: a \
                        similar value exists: 'all'";
        assert_eq!(what_is_wrong(text), expected);
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf_8_is_refused_where_it_would_stand_in_a_preset() {
        use std::os::unix::ffi::OsStringExt as _;
        let error = path_in_preset(OsString::from_vec(b"caf\xe9.txt".to_vec())).unwrap_err();
        assert!(error.starts_with("found caf\u{fffd}.txt, expected a path in UTF-8"), "{error}");
        assert_eq!(path_in_preset("caf\u{e9}.txt".into()).unwrap(), "caf\u{e9}.txt");
    }
}
