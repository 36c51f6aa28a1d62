//! The figures of the theory crate: presets, runs, drawings, and their section of the report.
//!
//! Data and findings come from [`theory::figures`]; here they are drawn, written as CSV and turned into lines of the
//! scorecard (claims C2 and C3, the theory side).

mod drawing;
mod preset;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use theory::figures::{FigureData, Finding};

use crate::error::Result;
use crate::figures::save;
use crate::grid::Display;
use crate::provenance;
use crate::report::{FIGURES, FigureEntry, Report, Section, Table, TableRow};
use crate::stats::ScorecardRow;
use crate::store::{create_dir_all, write_atomic};

pub use preset::{FigureName, TheoryPreset};

/// Folder of the tables as CSV, inside the report's folder.
const DATA: &str = "theory";

/// What to run and where to put it.
#[derive(Debug, Clone)]
pub struct TheoryOptions {
    /// The figures, in order.
    pub presets: Vec<TheoryPreset>,
    /// The folder in which `report/` lies.
    pub out: PathBuf,
    /// Threads; results do not depend on it.
    pub jobs: NonZeroUsize,
    /// What to show while it runs.
    pub display: Display,
    /// The command, for the report.
    pub command: String,
}

/// Runs the figures, writes a section of the report for each, and returns the path of the report's page.
///
/// # Errors
/// A parameter out of range by its name, or a file that cannot be written.
pub fn run(options: &TheoryOptions) -> Result<PathBuf> {
    let report = options.out.join("report");
    for folder in [report.join(FIGURES), report.join(DATA)] {
        create_dir_all(&folder)?;
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.jobs.get()).build()?;
    for preset in &options.presets {
        let clock = Instant::now();
        let bar = bar(preset, options.display);
        let data = pool.install(|| preset.run(|| bar.inc(1)))?;
        bar.finish_and_clear();
        write_section(preset, &data, options, clock.elapsed().as_secs_f64(), &report)?;
        if options.display != Display::Quiet {
            let seconds = clock.elapsed().as_secs_f64();
            crate::console::say(&format!("theory {}: {} runs in {seconds:.0} s", preset.name(), preset.runs()));
        }
    }
    Ok(Report::read(&report)?.write(&report)?)
}

fn bar(preset: &TheoryPreset, display: Display) -> ProgressBar {
    // A draw target that is no terminal shows nothing by itself.
    let target = if display == Display::Auto { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(preset.runs() as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len}, {eta} left") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(format!("theory {}", preset.name()));
    bar
}

fn write_section(
    preset: &TheoryPreset,
    data: &FigureData,
    options: &TheoryOptions,
    seconds: f64,
    report: &Path,
) -> Result<()> {
    let name = preset.name();
    let mut section = Section::new(format!("theory-{name}"), name.title());
    section.order = 60 + name as u32;
    section.introduction = vec![name.introduction().into()];
    for table in &data.tables {
        let path = report.join(DATA).join(format!("{}.csv", table.name));
        write_atomic(&path, table.to_csv().as_bytes())?;
    }
    let file = |table: &str| Some(format!("{DATA}/{table}.csv"));
    let drawings = drawing::drawings(name, data);
    for (figure, caption, table) in drawings.lines {
        save(&figure, &report.join(FIGURES))?;
        section.figures.push(FigureEntry { name: figure.name, caption, data: file(&table) });
    }
    for (figure, caption, table) in drawings.rows {
        save(&figure, &report.join(FIGURES))?;
        section.figures.push(FigureEntry { name: figure.name, caption, data: file(&table) });
    }
    for finding in &data.findings {
        section.scorecard.push(row(finding));
    }
    section.tables = data.tables.iter().filter(|t| t.rows.len() <= 70).map(|t| shown(t, file(&t.name))).collect();
    section.provenance = provenance::lines(&options.command, seconds, "f64 on cpu".into());
    Ok(section.write(report)?)
}

fn row(finding: &Finding) -> ScorecardRow {
    ScorecardRow::from_samples(
        format!("{} (theory)", finding.claim),
        finding.statement.clone(),
        finding.setting.clone(),
        finding.unit.clone(),
        &finding.samples,
        "linear model",
    )
}

/// A table as the report shows it: numbers to four digits.
fn shown(table: &theory::figures::Table, data: Option<String>) -> Table {
    let cell = |value: &theory::figures::Value| match value {
        theory::figures::Value::Number(x) if x.is_nan() => String::new(),
        theory::figures::Value::Number(x) if *x == 0.0 => "0".into(),
        theory::figures::Value::Number(x) if x.abs() < 1e-3 || x.abs() >= 1e5 => format!("{x:.2e}"),
        theory::figures::Value::Number(x) => {
            let digits = (3 - x.abs().log10().floor() as i32).clamp(0, 5) as usize;
            format!("{x:.digits$}")
        }
        other => other.text(),
    };
    Table {
        title: table.name.replace('-', " "),
        caption: String::new(),
        header: table.columns.iter().map(|column| column.replace('_', " ")).collect(),
        rows: table.rows.iter().map(|row| TableRow { cells: row.iter().map(cell).collect(), strong: false }).collect(),
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny(name: FigureName) -> TheoryPreset {
        let settings: &[&str] = match name {
            FigureName::Geometry => &["seeds=3", "search_steps=20"],
            FigureName::Regularization => {
                &["seeds=2", "records=2", "response_steps=600", "diagonal_steps=50", "inputs=4"]
            }
            FigureName::PhaseDiagram => &["grid.inputs=6", "grid.outputs=6", "grid.seeds=2", "grid.samples=[3]"],
            FigureName::ConsistencyMatrix => {
                &["two_layer.seeds=2", "deep.seeds=2", "two_layer.tasks=1", "deep.tasks=1"]
            }
        };
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        let mut preset = TheoryPreset::find(name, "quick").unwrap().with(&settings).unwrap();
        match &mut preset {
            TheoryPreset::Regularization(p) => {
                p.runs.iter_mut().chain(&mut p.separation_runs).for_each(|run| run.steps = 100);
            }
            TheoryPreset::ConsistencyMatrix(p) => {
                for base in [&mut p.two_layer, &mut p.deep] {
                    base.warm_start.steps = 100;
                    base.pretraining.values_mut().for_each(|phase| phase.steps = 50);
                    base.finetune.steps = 30;
                }
            }
            _ => {}
        }
        preset
    }

    #[test]
    fn every_figure_lands_in_the_report_with_its_tables_and_scorecard() {
        let folder = tempfile::tempdir().unwrap();
        let options = TheoryOptions {
            presets: FigureName::ALL.into_iter().map(tiny).collect(),
            out: folder.path().into(),
            jobs: NonZeroUsize::MIN,
            display: Display::Quiet,
            command: "theory".into(),
        };
        let page = std::fs::read_to_string(run(&options).unwrap()).unwrap();
        for name in FigureName::ALL {
            assert!(page.contains(name.title()), "{name}");
            assert!(folder.path().join(format!("report/theory/{name}.csv")).exists(), "{name}");
        }
        assert!(page.contains("C3 (theory)") && page.contains("inconclusive (n = 2)"));
    }
}
