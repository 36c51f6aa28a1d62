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

    fn section(_: &TheoryPreset, plan: Self::Plan, done: &Outcomes, report: &ReportFolder) -> Result<Section, Failure> {
        let figures = plan.into_iter().filter_map(|(name, job)| Some((name, done.get(job)?)));
        section::section(figures, report)
    }
}

#[cfg(test)]
mod tests {
    use lab::experiment::{self, Options};
    use lab::preset::Preset as _;

    use super::*;

    /// All figures, each of a few runs.
    fn tiny() -> TheoryPreset {
        let settings = [
            "geometry.seeds=3",
            "geometry.search_steps=20",
            "regularization.seeds=2",
            "regularization.records=2",
            "regularization.response_steps=600",
            "regularization.diagonal_steps=50",
            "regularization.inputs=4",
            "phase-diagram.grid.inputs=6",
            "phase-diagram.grid.outputs=6",
            "phase-diagram.grid.seeds=2",
            "phase-diagram.grid.samples=[3]",
            "consistency-matrix.two_layer.seeds=2",
            "consistency-matrix.deep.seeds=2",
            "consistency-matrix.two_layer.tasks=1",
            "consistency-matrix.deep.tasks=1",
        ];
        let changes: Vec<Change> = settings.iter().map(|text| Change::parse(text).unwrap()).collect();
        let mut preset = TheoryPreset::find("quick", &changes).unwrap();
        let regularization = &mut preset.regularization;
        regularization.runs.iter_mut().chain(&mut regularization.separation_runs).for_each(|run| run.steps = 100);
        for base in [&mut preset.consistency_matrix.two_layer, &mut preset.consistency_matrix.deep] {
            base.warm_start.steps = 100;
            base.pretraining.values_mut().for_each(|phase| phase.steps = 50);
            base.finetune.steps = 30;
        }
        preset
    }

    #[test]
    fn every_figure_lands_in_the_report_with_its_tables_and_is_read_back_the_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::quiet(folder.path());
        let front = &crate::registry::REGISTRY.front;
        let mut pages = Vec::new();
        for _ in 0..2 {
            let page = experiment::run::<Theory>(&tiny(), &options, 3, front).unwrap();
            let page = std::fs::read_to_string(page.unwrap()).unwrap();
            // All but how long it took.
            pages.push(page.lines().filter(|line| !line.contains("<dt>time")).collect::<Vec<_>>().join("\n"));
        }
        assert!(pages[0] == pages[1], "the page of the second run differs");
        for name in FigureName::ALL {
            assert!(pages[0].contains(name.title()), "{name}");
            assert!(options.report().join(format!("theory/{name}.csv")).exists(), "{name}");
        }
        assert!(pages[0].contains("C3 (theory)") && pages[0].contains("inconclusive (n = 2)"));
    }
}
