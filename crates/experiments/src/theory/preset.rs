//! The presets of the theory's figures.

use lab::error::{Failure, LabError};
use lab::preset::Preset;
use serde::{Deserialize, Serialize};
use theory::figures::{FigureData, Size, consistency_matrix, geometry, phase_diagram, regularization};

/// The largest whole number of a field but for steps: a matrix of so many rows and columns still fits in memory.
const MOST: i64 = 10_000;
/// The most steps of a simulation.
const MOST_STEPS: i64 = 100_000_000;

/// A figure by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum FigureName {
    /// What updates of equal gain do to a layer's outputs.
    Geometry,
    /// Which functional each optimizer's noise descends.
    Regularization,
    /// Where Adam's update forgets less than Muon's.
    PhaseDiagram,
    /// Every optimizer's checkpoint finetuned with every optimizer.
    ConsistencyMatrix,
}

impl FigureName {
    /// All figures, in the order of the argument.
    pub const ALL: [Self; 4] = [Self::Geometry, Self::Regularization, Self::PhaseDiagram, Self::ConsistencyMatrix];

    /// Heading in the report.
    pub fn title(self) -> &'static str {
        match self {
            Self::Geometry => "Theory: the geometry of updates",
            Self::Regularization => "Theory: what the noise of each optimizer does to the activations",
            Self::PhaseDiagram => "Theory: the phase diagram of structured updates",
            Self::ConsistencyMatrix => "Theory: the consistency matrix of linear networks",
        }
    }

    /// What the reader must know.
    pub(super) fn introduction(self) -> &'static str {
        match self {
            Self::Geometry => {
                "Updates of one linear layer, all with the same first-order gain on the task: how far they can move the layer's \
                 outputs. Each optimizer's update is best in the worst case of its own norm (proved in docs/theory/geometry.md)."
            }
            Self::Regularization => {
                "Two-layer linear networks trained with label noise from one interpolating start: the functionals of the weights \
                 that the noise of each optimizer is predicted to lower, and what happens to them (docs/theory/regularization.md)."
            }
            Self::PhaseDiagram => {
                "Finetuning of one linear layer on a few samples: forgetting at 90 % of the task learned, each optimizer at its best \
                 learning rate, over the anisotropy of the activations and the turn of their axes (docs/theory/structured-updates.md)."
            }
            Self::ConsistencyMatrix => {
                "Linear networks pretrained with label noise under each optimizer and finetuned with each (docs/theory/closed-loop.md)."
            }
        }
    }
}

impl std::fmt::Display for FigureName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Geometry => "geometry",
            Self::Regularization => "regularization",
            Self::PhaseDiagram => "phase-diagram",
            Self::ConsistencyMatrix => "consistency-matrix",
        })
    }
}

/// The figures to make, and what decides the numbers of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TheoryPreset {
    /// The figures to make.
    pub figures: Vec<FigureName>,
    /// Of `geometry`; that of `quick` if left out, as for the others.
    #[serde(default = "quick_geometry")]
    pub geometry: geometry::GeometryPreset,
    /// Of `regularization`.
    #[serde(default = "quick_regularization")]
    pub regularization: regularization::RegularizationPreset,
    /// Of `phase-diagram`.
    #[serde(default = "quick_phase_diagram")]
    pub phase_diagram: phase_diagram::PhaseDiagramPreset,
    /// Of `consistency-matrix`.
    #[serde(default = "quick_consistency_matrix")]
    pub consistency_matrix: consistency_matrix::ConsistencyMatrixPreset,
}

fn quick_geometry() -> geometry::GeometryPreset {
    geometry::GeometryPreset::new(Size::Quick)
}

fn quick_regularization() -> regularization::RegularizationPreset {
    regularization::RegularizationPreset::new(Size::Quick)
}

fn quick_phase_diagram() -> phase_diagram::PhaseDiagramPreset {
    phase_diagram::PhaseDiagramPreset::new(Size::Quick)
}

fn quick_consistency_matrix() -> consistency_matrix::ConsistencyMatrixPreset {
    consistency_matrix::ConsistencyMatrixPreset::new(Size::Quick)
}

impl TheoryPreset {
    /// All figures in a size.
    pub fn new(size: Size) -> Self {
        Self {
            figures: FigureName::ALL.to_vec(),
            geometry: geometry::GeometryPreset::new(size),
            regularization: regularization::RegularizationPreset::new(size),
            phase_diagram: phase_diagram::PhaseDiagramPreset::new(size),
            consistency_matrix: consistency_matrix::ConsistencyMatrixPreset::new(size),
        }
    }

    /// One of its figures.
    pub fn figure(&self, name: FigureName) -> FigurePreset {
        match name {
            FigureName::Geometry => FigurePreset::Geometry(self.geometry.clone()),
            FigureName::Regularization => FigurePreset::Regularization(self.regularization.clone()),
            FigureName::PhaseDiagram => FigurePreset::PhaseDiagram(self.phase_diagram.clone()),
            FigureName::ConsistencyMatrix => FigurePreset::ConsistencyMatrix(self.consistency_matrix.clone()),
        }
    }
}

impl Preset for TheoryPreset {
    /// Their texts are made from the sizes that the theory has.
    const BUILT_IN: &'static [(&'static str, &'static str)] = &[("quick", ""), ("standard", "")];

    fn read(name: &str) -> Result<Self, LabError> {
        match name {
            "quick" => Ok(Self::new(Size::Quick)),
            "standard" => Ok(Self::new(Size::Standard)),
            other => lab::preset::read(other, Self::BUILT_IN),
        }
    }

    fn validate(&self) -> Result<(), Failure> {
        crate::parts::checks::distinct("figures", &self.figures)?;
        // Sizes of matrices and numbers of runs; steps, which take time and no memory, may be more.
        lab::preset::bounded(self, &|field| if field.ends_with("steps") { MOST_STEPS } else { MOST })?;
        self.figures.iter().try_for_each(|&name| self.figure(name).check())?;
        Ok(())
    }
}

/// A figure with everything that decides its numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "a handful exist at a time")]
pub enum FigurePreset {
    /// Of `geometry`.
    Geometry(geometry::GeometryPreset),
    /// Of `regularization`.
    Regularization(regularization::RegularizationPreset),
    /// Of `phase-diagram`.
    PhaseDiagram(phase_diagram::PhaseDiagramPreset),
    /// Of `consistency-matrix`.
    ConsistencyMatrix(consistency_matrix::ConsistencyMatrixPreset),
}

impl FigurePreset {
    /// Which figure this is of.
    pub fn name(&self) -> FigureName {
        match self {
            Self::Geometry(_) => FigureName::Geometry,
            Self::Regularization(_) => FigureName::Regularization,
            Self::PhaseDiagram(_) => FigureName::PhaseDiagram,
            Self::ConsistencyMatrix(_) => FigureName::ConsistencyMatrix,
        }
    }

    /// Checks every parameter, before anything runs.
    ///
    /// # Errors
    /// The first that is out of range, by name.
    pub fn check(&self) -> crate::error::Result<()> {
        let checked = match self {
            Self::Geometry(p) => p.check(),
            Self::Regularization(p) => p.check(),
            Self::PhaseDiagram(p) => p.check(),
            Self::ConsistencyMatrix(p) => p.check(),
        };
        Ok(checked.map_err(|error| error.within(&self.name().to_string()))?)
    }

    /// Number of runs.
    pub fn runs(&self) -> usize {
        match self {
            Self::Geometry(p) => p.runs(),
            Self::Regularization(p) => p.runs(),
            Self::PhaseDiagram(p) => p.runs(),
            Self::ConsistencyMatrix(p) => p.runs(),
        }
    }

    /// Runs the figure on the current pool of threads; `done` is called after each run.
    ///
    /// # Errors
    /// A parameter out of range, by name.
    pub fn run(&self, done: impl Fn() + Sync) -> crate::error::Result<FigureData> {
        Ok(match self {
            Self::Geometry(p) => geometry::run(p, done),
            Self::Regularization(p) => regularization::run(p, done),
            Self::PhaseDiagram(p) => phase_diagram::run(p, done),
            Self::ConsistencyMatrix(p) => consistency_matrix::run(p, done),
        }?)
    }
}

#[cfg(test)]
mod tests {
    use lab::preset::{Change, parse};

    use super::*;

    fn with(settings: &[&str]) -> Result<TheoryPreset, LabError> {
        let changes = settings.iter().map(|text| Change::parse(text)).collect::<Result<Vec<_>, _>>()?;
        TheoryPreset::find("quick", &changes)
    }

    #[test]
    fn presets_survive_toml() {
        for &(size, _) in TheoryPreset::BUILT_IN {
            let preset = TheoryPreset::find(size, &[]).unwrap();
            assert_eq!(parse::<TheoryPreset>(&preset.to_toml(), "test").unwrap(), preset);
        }
    }

    #[test]
    fn settings_change_one_value_each() {
        let p = with(&[
            "phase-diagram.grid.seeds=9",
            "phase-diagram.grid.anisotropies=[0.5, 2.0]",
            "phase-diagram.grid.finetune.share=0.2",
        ])
        .unwrap()
        .phase_diagram;
        assert_eq!((p.grid.seeds, p.grid.anisotropies, p.grid.finetune.share), (9, vec![0.5, 2.0], 0.2));
        let p = with(&[
            "regularization.runs.1.steps=77",
            "regularization.runs.1.rule=lion",
            "regularization.label_noise=2",
        ])
        .unwrap()
        .regularization;
        assert_eq!((p.runs[1].steps, p.runs[1].rule.name(), p.label_noise), (77, "lion", 2.0));
    }

    #[test]
    fn bad_settings_are_refused_in_one_line() {
        for (setting, expected) in [
            ("seeds", "expected KEY=VALUE"),
            ("geometry.sedes=3", "sedes"),
            ("geometry.seeds=-1", "geometry.seeds: found -1"),
            ("geometry.seeds=many", "geometry.seeds: found \"many\""),
            ("regularization.runs.99.steps=1", "regularization.runs.99.steps"),
            ("figures=[]", "figures: found none"),
            ("figures=[\"geometry\", \"geometry\"]", "figures: found Geometry twice"),
            ("geometry.seeds=20000", "geometry.seeds: found 20000, expected at most 10000"),
            ("geometry.active=[20000]", "geometry.active.0: found 20000, expected at most 10000"),
            ("regularization.runs.1.steps=4294967296", "regularization.runs.1.steps: found 4294967296"),
        ] {
            let message = with(&[setting]).unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains('\n'), "{message}");
        }
        assert!(TheoryPreset::find("large", &[]).is_err());
    }
}
