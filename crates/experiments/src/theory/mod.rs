//! The figures of the theory crate: presets, runs, drawings, and their section of the report.
//!
//! Data and findings come from [`theory::figures`]; here they are drawn, written as CSV and turned into lines of the
//! scorecard (claims C2 and C3, the theory side).

mod drawing;
mod preset;
mod section;
mod simulation;

use clap::Args;
use lab::error::Failure;
use lab::experiment::{Experiment, Flags};
use lab::grid::{Grid, Job, Outcomes};
use lab::preset::Change;
use lab::report::{ReportFolder, Section};
use theory::figures::FigureData;

pub use preset::{FigureName, FigurePreset, TheoryPreset};
pub use simulation::Simulation;

/// The flags of `theory` beside those of all programs.
#[derive(Debug, Clone, Args)]
pub struct TheoryFlags {
    /// The figures to make [default: all]
    #[arg(value_enum)]
    figures: Vec<FigureName>,
}

impl Flags for TheoryFlags {
    fn changes(&self) -> Vec<Change> {
        let names = self.figures.iter().map(|figure| toml::Value::String(figure.to_string()));
        let names: Vec<toml::Value> = names.collect();
        (!names.is_empty()).then(|| Change::new("figures", names)).into_iter().collect()
    }
}

/// The experiment.
pub struct Theory;

impl Experiment for Theory {
    const NAME: &'static str = "theory";
    const TITLE: &'static str = "Theory: linear and diagonal models";
    const ABOUT: &'static str = "Simulate linear and diagonal models of pretraining and finetuning, and add their figures to the report\n\nEnds with its path.";
    type Preset = TheoryPreset;
    type Flags = TheoryFlags;
    type Plan = Vec<(FigureName, Job<FigureData>)>;

    fn plan(preset: &TheoryPreset, grid: &mut Grid) -> Result<Self::Plan, Failure> {
        let add = |&name: &FigureName| Ok((name, grid.stage(Simulation(preset.figure(name)), &[])?));
        preset.figures.iter().map(add).collect()
    }

    fn section(
        _: &TheoryPreset,
        plan: Self::Plan,
        done: &Outcomes,
        report: &ReportFolder,
    ) -> Result<Section, Failure> {
        let figures = plan.into_iter().filter_map(|(name, job)| Some((name, done.get(job)?)));
        section::section(figures, report)
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
