//! An experiment: from a preset to a section of the report, by way of stages that the grid runs.
//!
//! ```text
//! preset --plan--> stages --grid--> outcomes --section--> figures, tables, scorecard
//!                     ^                |
//!                     +---- refine ----+     more stages, as a function of finished results alone
//! ```
//!
//! The engine does the rest: it finds and checks the preset, shows what there is to do, runs the stages, keeps what
//! finishes, adds where the numbers come from, and builds the page.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::{Failure, LabError, Result};
use crate::grid::{self, Display, Grid, Outcomes, Record, Shard, State};
use crate::memory;
use crate::preset::{Change, Preset};
use crate::provenance;
use crate::report::{CLAIM, CONTROL, Front, Report, ReportFolder, ScorecardLine, Section, Table, TableRow};
use crate::store::{StageId, Store};

/// Flags that an experiment has beside those of all programs: each changes fields of the preset.
pub trait Flags: clap::Args + Send + Sync + 'static {
    /// The changes that the given flags stand for.
    fn changes(&self) -> Vec<Change>;
}

/// An experiment without flags of its own.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct NoFlags {}

impl Flags for NoFlags {
    fn changes(&self) -> Vec<Change> {
        Vec::new()
    }
}

/// What an experiment is to the engine.
pub trait Experiment: 'static {
    /// Its name: of the program, of its files in the report, of its section.
    const NAME: &'static str;
    /// The section's heading.
    const TITLE: &'static str;
    /// What it does, for `--help`: a sentence, and more after an empty line.
    const ABOUT: &'static str;
    /// What is given.
    type Preset: Preset;
    /// Flags of its own.
    type Flags: Flags;
    /// The jobs that the section is made of, and what else it needs.
    type Plan;

    /// Adds the stages to the grid.
    ///
    /// # Errors
    /// One line that says what was found and expected.
    fn plan(preset: &Self::Preset, grid: &mut Grid) -> Result<Self::Plan, Failure>;

    /// Adds stages that follow from finished results and from nothing else, so that a rerun adds the same. Returns
    /// whether it added any.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    fn refine(_preset: &Self::Preset, _plan: &mut Self::Plan, _grid: &mut Grid) -> Result<bool, Failure> {
        Ok(false)
    }

    /// What the experiment's own flags ask to see in place of a run, if they do.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    fn show(_flags: &Self::Flags, _preset: &Self::Preset, _options: &Options) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    /// The section of the report; figures and tables are written to `report`.
    ///
    /// # Errors
    /// If the outcomes contradict each other, or a file cannot be written.
    fn section(
        preset: &Self::Preset,
        plan: Self::Plan,
        done: &Outcomes,
        report: &ReportFolder,
    ) -> Result<Section, Failure>;
}

/// Where and how an experiment runs; nothing here decides a result.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder for the run store and the report.
    pub out: PathBuf,
    /// Files with what earlier runs finished.
    pub finished: Vec<PathBuf>,
    /// Stages at a time, each on one thread; [`Preset::default_jobs`] if `None`.
    pub jobs: Option<NonZeroUsize>,
    /// Time between the snapshots of a stage in progress.
    pub snapshot_every: Duration,
    /// Where progress is shown.
    pub display: Display,
    /// The command, for the report.
    pub command: String,
    /// Where to begin, of several processes that do the same.
    pub shard: Option<Shard>,
    /// Whether the stages are all that is wanted, and the report is left to another process.
    pub no_report: bool,
    /// Whether the report is all that is wanted, of what is finished.
    pub report_only: bool,
}

impl Options {
    /// Everything in this folder, and nothing shown.
    pub fn quiet(out: impl Into<PathBuf>) -> Self {
        Self {
            out: out.into(),
            finished: Vec::new(),
            jobs: None,
            snapshot_every: Duration::from_secs(15),
            display: Display::Quiet,
            command: String::new(),
            shard: None,
            no_report: false,
            report_only: false,
        }
    }

    /// An empty grid over the store in `out`.
    ///
    /// # Errors
    /// If the store cannot be opened or a file of finished stages cannot be read.
    pub fn grid(&self, preset: &impl Preset) -> Result<Grid> {
        let options = grid::Options {
            jobs: self.jobs.unwrap_or_else(|| preset.default_jobs()),
            snapshot_every: self.snapshot_every,
            display: self.display,
            finished: self.finished.clone(),
            shard: self.shard,
        };
        Grid::new(Store::open(&self.out)?, options)
    }

    /// The folder of the report.
    pub fn report(&self) -> PathBuf {
        self.out.join("report")
    }
}

/// The name under which one process at a time writes a report.
const REPORT: &str = "report";

/// Runs an experiment (or what is left of it), writes its section and builds the page; `place` orders the sections.
/// Returns the page's path, or nothing where the options leave the report to another process.
///
/// Section, tables, figures and page are written by one process at a time: of two that work on one folder the report is
/// all of one or all of the other's. With [`Options::report_only`] nothing is computed but what the plan itself needs,
/// and the report has what is finished.
///
/// # Errors
/// One line that says what was found and expected; what is finished stays in the run store, and in
/// `report/NAME-finished.csv`.
pub fn run<E: Experiment>(preset: &E::Preset, options: &Options, place: u32, front: &Front) -> Result<Option<PathBuf>> {
    let started = Instant::now();
    preset.validate().map_err(LabError::Experiment)?;
    let (bytes, fields) = preset.memory();
    memory::check(bytes, fields)?;
    let mut grid = options.grid(preset)?;
    // There before anything is computed: a place that cannot be written is named first.
    let report = ReportFolder::create(options.report())?;
    grid.keep_finished_in(report.path().join(format!("{}-finished.csv", E::NAME)))?;
    let mut plan = E::plan(preset, &mut grid).map_err(LabError::Experiment)?;
    if options.report_only {
        read_all::<E>(preset, &mut plan, &mut grid)?;
    } else {
        grid.announce(E::NAME)?;
        let outcome = run_all::<E>(preset, &mut plan, &mut grid);
        // What is done is kept whatever became of the rest.
        let kept = grid.keep();
        outcome.and(kept)?;
    }
    if options.no_report {
        return Ok(None);
    }
    let records = grid.records();
    let count = |state: State| records.iter().filter(|record| record.state == state).count();
    let missing = count(State::Missing);
    if options.report_only && count(State::Done) == 0 {
        return Err(LabError::NothingFinished { name: E::NAME, stages: records.len(), out: options.out.clone() });
    }
    if missing > 0 {
        grid.say(&format!("{}: {missing} of {} stages are missing in the report", E::NAME, records.len()));
    }
    let store = grid.store().clone();
    store.alone(REPORT, || {
        let mut section = E::section(preset, plan, grid.outcomes(), &report).map_err(LabError::Experiment)?;
        (section.name, section.title, section.order) = (E::NAME.into(), E::TITLE.into(), place);
        let seconds = started.elapsed().as_secs_f64();
        section.provenance.splice(0..0, provenance::lines(&options.command, seconds));
        let file = format!("{}-stages.csv", E::NAME);
        report.table_with(&file, &STAGES, &records)?;
        section.stages = stages(&records, file);
        section.missing = missing;
        section.write(report.path())?;
        report.table_with(&format!("{}-scorecard.csv", E::NAME), &ScorecardLine::COLUMNS, lines(&section))?;
        Ok(Some(Report::read(report.path())?.write(report.path(), front)?))
    })
}

/// Reads what is finished, as far as it tells what follows from it; computes nothing. Returns the ids of all stages that
/// are known then.
pub(crate) fn read_all<E: Experiment>(
    preset: &E::Preset,
    plan: &mut E::Plan,
    grid: &mut Grid,
) -> Result<BTreeSet<StageId>> {
    loop {
        let (ids, all) = grid.read_done().map_err(LabError::Experiment)?;
        if !all || !E::refine(preset, plan, grid).map_err(LabError::Experiment)? {
            return Ok(ids);
        }
    }
}

/// Columns of the file with every stage.
const STAGES: [&str; 5] = ["what", "state", "result", "tokens", "stage"];

/// Every stage as a table; `data` is the file with the same rows.
fn stages(records: &[Record], data: String) -> Table {
    let row = |record: &Record| {
        let state = match record.state {
            State::Done => "done",
            State::Missing => "missing",
            State::LeftOut => "left out",
        };
        let tokens = format!("{:.2}", record.tokens as f64 / 1e6);
        let cells = vec![record.what.clone(), state.into(), record.result.clone(), tokens, record.stage.clone()];
        TableRow { cells, strong: false }
    };
    Table {
        title: "Every stage".into(),
        caption: "In the order in which they were planned; the last column is the folder in runs/.".into(),
        header: ["What", "State", "Result", "Million tokens", "Stage"].map(String::from).to_vec(),
        rows: records.iter().map(row).collect(),
        data: Some(data),
    }
}

/// The section's rows as lines of a file.
fn lines(section: &Section) -> Vec<ScorecardLine> {
    let claims = section.scorecard.iter().map(|row| ScorecardLine::new(CLAIM, row));
    claims.chain(section.controls.iter().map(|row| ScorecardLine::new(CONTROL, row))).collect()
}

fn run_all<E: Experiment>(preset: &E::Preset, plan: &mut E::Plan, grid: &mut Grid) -> Result<()> {
    loop {
        grid.run()?;
        if !E::refine(preset, plan, grid).map_err(LabError::Experiment)? {
            return Ok(());
        }
        grid.announce(E::NAME)?;
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::grid::Job;
    use crate::stage::{Stage, Work};

    #[derive(Debug, Clone, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct RootPreset {
        square: f64,
    }

    impl Preset for RootPreset {
        const BUILT_IN: &'static [(&'static str, &'static str)] = &[("two", "square = 2.0")];
        fn validate(&self) -> Result<(), Failure> {
            Ok(())
        }
    }

    /// The square of a number.
    struct Square(f64);

    impl Stage for Square {
        const KIND: &'static str = "square";
        const SEMANTICS: u32 = 1;
        type Key = f64;
        type Output = f64;
        fn key(&self) -> f64 {
            self.0
        }
        fn label(&self) -> String {
            format!("square of {}", self.0)
        }
        fn cost(&self) -> u64 {
            1
        }
        fn compute(&self, _: &mut Work<'_>) -> Result<f64, Failure> {
            Ok(self.0 * self.0)
        }
        fn summary(output: &f64) -> String {
            output.to_string()
        }
    }

    /// Looks for a square root by halving, a round a step.
    struct Root;

    impl Experiment for Root {
        const NAME: &'static str = "root";
        const TITLE: &'static str = "A square root";
        const ABOUT: &'static str = "Look for a square root.";
        type Preset = RootPreset;
        type Flags = NoFlags;
        type Plan = Vec<(f64, Job<f64>)>;

        fn plan(preset: &RootPreset, grid: &mut Grid) -> Result<Self::Plan, Failure> {
            let add = |x: f64| Ok((x, grid.stage(Square(x), &[])?));
            [0.0, preset.square].map(add).into_iter().collect()
        }

        fn refine(preset: &RootPreset, plan: &mut Self::Plan, grid: &mut Grid) -> Result<bool, Failure> {
            plan.sort_by(|a, b| a.0.total_cmp(&b.0));
            let below = |(_, job): &(f64, Job<f64>)| grid.outcomes().get(*job).is_some_and(|y| *y <= preset.square);
            let place = plan.iter().rposition(below).ok_or("no number below")?;
            let (low, high) = (plan[place].0, plan[place + 1].0);
            if high - low < 0.01 {
                return Ok(false);
            }
            let middle = (low + high) / 2.0;
            plan.push((middle, grid.stage(Square(middle), &[])?));
            Ok(true)
        }

        fn section(_: &RootPreset, plan: Self::Plan, done: &Outcomes, _: &ReportFolder) -> Result<Section, Failure> {
            let tried = plan.iter().filter(|(_, job)| done.get(*job).is_some()).count();
            Ok(Section { introduction: vec![format!("{tried} numbers tried")], ..Section::default() })
        }
    }

    #[test]
    fn a_rerun_refines_to_the_same_stages() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::quiet(folder.path());
        let front = Front { title: "Roots", lead: "", claims: &[], evidence: "" };
        let preset = RootPreset::find("two", &[]).unwrap();
        for _ in 0..2 {
            run::<Root>(&preset, &options, 0, &front).unwrap();
            let section = std::fs::read_to_string(options.report().join("sections/root.json")).unwrap();
            // From an interval of 2 to one below 0.01 by halves, and both its ends.
            assert!(section.contains("10 numbers tried"), "{section}");
            assert_eq!(std::fs::read_dir(folder.path().join("runs")).unwrap().count(), 10);
        }
    }
}
