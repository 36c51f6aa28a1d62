//! Presets of the theory's figures: built-in sizes, files, and single values changed.

use std::path::Path;

use theory::figures::{FigureData, Size, consistency_matrix, geometry, phase_diagram, regularization};
use toml::{Table, Value};

use crate::error::{ExperimentError, Result};
use crate::preset::parse_toml;

/// A figure by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
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

/// A figure with everything that decides its numbers.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a handful exist at a time")]
pub enum TheoryPreset {
    /// Of `geometry`.
    Geometry(geometry::Preset),
    /// Of `regularization`.
    Regularization(regularization::Preset),
    /// Of `phase-diagram`.
    PhaseDiagram(phase_diagram::Preset),
    /// Of `consistency-matrix`.
    ConsistencyMatrix(consistency_matrix::Preset),
}

impl TheoryPreset {
    /// The built-in preset `quick` or `standard` of a figure, or one from a `.toml` file.
    ///
    /// # Errors
    /// One line that names the file and line, or the flag.
    pub fn find(name: FigureName, preset: &str) -> Result<Self> {
        let size = match preset {
            "quick" => Size::Quick,
            "standard" => Size::Standard,
            file if file.ends_with(".toml") => {
                let text = std::fs::read_to_string(file)
                    .map_err(|source| ExperimentError::ReadPreset { path: Path::new(file).into(), source })?;
                return Self::parse(name, &text, file);
            }
            other => {
                return Err(ExperimentError::value("preset", other, "quick, standard or the path of a .toml file"));
            }
        };
        Ok(match name {
            FigureName::Geometry => Self::Geometry(geometry::Preset::new(size)),
            FigureName::Regularization => Self::Regularization(regularization::Preset::new(size)),
            FigureName::PhaseDiagram => Self::PhaseDiagram(phase_diagram::Preset::new(size)),
            FigureName::ConsistencyMatrix => Self::ConsistencyMatrix(consistency_matrix::Preset::new(size)),
        })
    }

    fn parse(name: FigureName, text: &str, origin: &str) -> Result<Self> {
        Ok(match name {
            FigureName::Geometry => Self::Geometry(parse_toml(text, origin)?),
            FigureName::Regularization => Self::Regularization(parse_toml(text, origin)?),
            FigureName::PhaseDiagram => Self::PhaseDiagram(parse_toml(text, origin)?),
            FigureName::ConsistencyMatrix => Self::ConsistencyMatrix(parse_toml(text, origin)?),
        })
    }

    /// The preset with values changed: each `key=value`, the key a path such as `grid.finetune.steps` or `runs.0.steps`, the
    /// value in TOML.
    ///
    /// # Errors
    /// If a setting has no `=`, its key does not exist, or its value does not fit.
    pub fn with(&self, settings: &[String]) -> Result<Self> {
        let mut table: Table = toml::from_str(&self.to_toml())
            .map_err(|error| ExperimentError::value("set", error.message(), "a preset that TOML can hold"))?;
        for setting in settings {
            let Some((key, value)) = setting.split_once('=') else {
                return Err(ExperimentError::value("set", setting, "key=value"));
            };
            let parsed = toml::from_str::<Table>(&format!("value = {value}"))
                .ok()
                .and_then(|mut t| t.remove("value"))
                .unwrap_or_else(|| Value::String(value.to_owned()));
            let slot = slot(&mut table, key).ok_or_else(|| {
                ExperimentError::value("set", key, "a key of this figure's preset (see --print-config)")
            })?;
            // A whole number is a fine value for a field of fractions.
            *slot = match (&*slot, parsed) {
                (Value::Float(_), Value::Integer(x)) => Value::Float(x as f64),
                (_, parsed) => parsed,
            };
        }
        let text = toml::to_string(&table)
            .map_err(|error| ExperimentError::value("set", error, "values that TOML can hold"))?;
        Self::parse(self.name(), &text, "preset with --set")
    }

    /// The preset as TOML, in a form that a file may have.
    pub fn to_toml(&self) -> String {
        let text = match self {
            Self::Geometry(p) => toml::to_string(p),
            Self::Regularization(p) => toml::to_string(p),
            Self::PhaseDiagram(p) => toml::to_string(p),
            Self::ConsistencyMatrix(p) => toml::to_string(p),
        };
        text.expect("a preset has only types that TOML knows")
    }

    /// Which figure this is of.
    pub fn name(&self) -> FigureName {
        match self {
            Self::Geometry(_) => FigureName::Geometry,
            Self::Regularization(_) => FigureName::Regularization,
            Self::PhaseDiagram(_) => FigureName::PhaseDiagram,
            Self::ConsistencyMatrix(_) => FigureName::ConsistencyMatrix,
        }
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

    /// Runs the figure; `done` is called after each run.
    ///
    /// # Errors
    /// A parameter out of range, by name.
    pub fn run(&self, done: impl Fn() + Sync) -> Result<FigureData> {
        Ok(match self {
            Self::Geometry(p) => geometry::run(p, done),
            Self::Regularization(p) => regularization::run(p, done),
            Self::PhaseDiagram(p) => phase_diagram::run(p, done),
            Self::ConsistencyMatrix(p) => consistency_matrix::run(p, done),
        }?)
    }
}

/// The place of a dotted key; numbers index lists.
fn slot<'a>(table: &'a mut Table, key: &str) -> Option<&'a mut Value> {
    let mut parts = key.trim().split('.');
    let mut value = table.get_mut(parts.next()?)?;
    for part in parts {
        value = match value {
            Value::Table(table) => table.get_mut(part)?,
            Value::Array(list) => list.get_mut(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: FigureName, settings: &[&str]) -> Result<TheoryPreset> {
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        TheoryPreset::find(name, "quick")?.with(&settings)
    }

    #[test]
    fn presets_survive_toml() {
        for name in FigureName::ALL {
            for size in ["quick", "standard"] {
                let preset = TheoryPreset::find(name, size).unwrap();
                assert_eq!(TheoryPreset::parse(name, &preset.to_toml(), "test").unwrap(), preset);
            }
        }
    }

    #[test]
    fn settings_change_one_value_each() {
        let changed = with(
            FigureName::PhaseDiagram,
            &["grid.seeds=9", "grid.anisotropies=[0.5, 2.0]", "grid.finetune.share=0.2"],
        );
        let TheoryPreset::PhaseDiagram(p) = changed.unwrap() else { panic!("another figure") };
        assert_eq!((p.grid.seeds, p.grid.anisotropies, p.grid.finetune.share), (9, vec![0.5, 2.0], 0.2));
        let TheoryPreset::Regularization(p) =
            with(FigureName::Regularization, &["runs.1.steps=77", "runs.1.rule=lion", "label_noise=2"]).unwrap()
        else {
            panic!("another figure")
        };
        assert_eq!((p.runs[1].steps, p.runs[1].rule.name(), p.label_noise), (77, "lion", 2.0));
    }

    #[test]
    fn bad_settings_are_refused_in_one_line() {
        for (setting, expected) in [
            ("seeds", "expected key=value"),
            ("sedes=3", "sedes"),
            ("seeds=-1", "preset with --set"),
            ("seeds=many", "preset with --set"),
            ("runs.99.steps=1", "runs.99.steps"),
        ] {
            let message = with(FigureName::Regularization, &[setting]).unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains('\n'), "{message}");
        }
        assert!(TheoryPreset::find(FigureName::Geometry, "large").is_err());
    }
}
