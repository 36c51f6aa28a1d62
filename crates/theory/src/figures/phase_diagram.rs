//! Where Adam's update forgets less than Muon's and where more (the theory side of C3).

use serde::{Deserialize, Serialize};

use super::table::{FigureData, Finding, Table, Value, with_interval};
use super::{Size, grids};
use crate::error::Result;
use crate::optimizers::Rule;
use crate::statistics::Estimate;
use crate::structured::{CellResult, FinetuneParams, PhaseCell, PhaseParams, Teacher, tie, tie_line};

/// What the figure runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseDiagramPreset {
    /// The grid and its runs.
    pub grid: PhaseParams,
}

impl PhaseDiagramPreset {
    /// Number of runs, each reported when it is done.
    pub fn runs(&self) -> usize {
        let g = &self.grid;
        g.teachers.len() * g.anisotropies.len() * g.samples.len() * g.rotations.len() * g.seeds
    }

    /// Checks every parameter.
    ///
    /// # Errors
    /// The first that is out of range, by name.
    pub fn check(&self) -> Result<()> {
        self.grid.clone().check().map(drop).map_err(|error| error.within("grid"))
    }

    /// The preset of that size.
    pub fn new(size: Size) -> Self {
        let quick = size == Size::Quick;
        let rules: &[Rule] = if quick {
            &[Rule::Sgd, Rule::Adam, Rule::Muon]
        } else {
            &[Rule::Sgd, Rule::Sign, Rule::Adam, Rule::Lion, Rule::Muon, Rule::NaturalGradient]
        };
        let width = if quick { 24 } else { 32 };
        Self {
            grid: PhaseParams {
                inputs: width,
                outputs: width,
                anisotropies: vec![0.0, 0.5, 1.0],
                rotations: if quick { vec![0.0, 0.2, 0.5, 1.0] } else { vec![0.0, 0.1, 0.2, 0.5, 1.0] },
                samples: vec![4, 32, 128],
                teachers: if quick {
                    vec![Teacher::Linear]
                } else {
                    vec![Teacher::Linear, Teacher::LowRank { rank: 1 }, Teacher::RandomLabels]
                },
                seeds: if quick { 5 } else { 10 },
                finetune: FinetuneParams {
                    steps: 150,
                    momentum: 0.9,
                    second_moment_decay: 0.95,
                    share: 0.1,
                    rates: grids(rules, 8),
                },
            },
        }
    }
}

fn teacher_name(teacher: Teacher) -> String {
    match teacher {
        Teacher::Linear => "linear".into(),
        Teacher::LowRank { rank } => format!("rank {rank}"),
        Teacher::RandomLabels => "random labels".into(),
    }
}

/// The table of ties.
pub const TIES: &str = "phase-diagram-ties";

/// Runs the figure; `done` is called once for each finished cell of a seed.
///
/// # Errors
/// If a parameter is out of range, or a decomposition does not converge.
pub fn run(preset: &PhaseDiagramPreset, done: impl Fn() + Sync) -> Result<FigureData> {
    let results = preset.grid.clone().check()?.run(done)?;
    Ok(FigureData {
        name: "phase-diagram".into(),
        tables: vec![ratio_table(&results), forgetting_table(&results), tie_table(&preset.grid, &results)],
        findings: findings(&results),
    })
}

fn cell_values(cell: &PhaseCell) -> Vec<Value> {
    vec![teacher_name(cell.teacher).into(), cell.anisotropy.into(), cell.samples.into(), cell.rotation.into()]
}

fn ratio_table(results: &[CellResult]) -> Table {
    let mut table = Table::new(
        "phase-diagram",
        &["teacher", "anisotropy", "samples", "rotation", "off_diagonal_mass", "adam_over_muon", "low", "high", "n"],
    );
    for result in results {
        let ratio = result.ratio(Rule::Adam, Rule::Muon);
        let mut row = cell_values(&result.cell);
        row.push(Estimate::of(&result.off_diagonal_mass).mean.into());
        row.extend(with_interval(ratio));
        row.push(ratio.n.into());
        table.push(row);
    }
    table
}

/// Forgetting of every optimizer, over the oracle's.
fn forgetting_table(results: &[CellResult]) -> Table {
    let mut table = Table::new(
        "phase-diagram-forgetting",
        &[
            "teacher",
            "anisotropy",
            "samples",
            "rotation",
            "optimizer",
            "forgetting",
            "over_oracle",
            "low",
            "high",
            "learned",
        ],
    );
    for result in results {
        for (rule, values) in &result.forgetting {
            let learned: Vec<(f64, f64)> =
                values.iter().zip(&result.oracle).filter(|(v, _)| v.is_finite()).map(|(&v, &o)| (v, v / o)).collect();
            let forgetting: Vec<f64> = learned.iter().map(|x| x.0).collect();
            let over: Vec<f64> = learned.iter().map(|x| x.1).collect();
            let mut row = cell_values(&result.cell);
            row.push(rule.name().into());
            row.push(Estimate::geometric(&forgetting).mean.into());
            row.extend(with_interval(Estimate::geometric(&over)));
            row.push(learned.len().into());
            table.push(row);
        }
    }
    table
}

fn tie_table(grid: &PhaseParams, results: &[CellResult]) -> Table {
    let mut table = Table::new(TIES, &["teacher", "anisotropy", "samples", "rotation_of_tie"]);
    for row in results.chunks(grid.rotations.len()) {
        let mut row: Vec<&CellResult> = row.iter().collect();
        row.sort_by(|a, b| a.cell.rotation.total_cmp(&b.cell.rotation));
        let tie = tie_line(&row, Rule::Adam, Rule::Muon).unwrap_or(f64::NAN);
        let mut values = cell_values(&row[0].cell);
        values[3] = tie.into();
        table.push(values);
    }
    table
}

/// Every rotation at which Adam's and Muon's forgetting tie, from the table `phase-diagram`: a row for each, and one
/// without a rotation where there is none. The table of ties that a run keeps has only the first of each.
///
/// # Panics
/// If the table lacks a column.
pub fn all_ties(ratios: &Table) -> Table {
    let mut table = Table::new(TIES, &["teacher", "anisotropy", "samples", "rotation_of_tie"]);
    let columns = ["teacher", "anisotropy", "samples", "rotation", "adam_over_muon"];
    let rows: Vec<[&Value; 5]> = ratios.select(columns).collect();
    for row in rows.chunk_by(|a, b| a[..3] == b[..3]) {
        let mut points: Vec<(f64, f64)> = row.iter().map(|r| (r[3].number(), r[4].number().ln())).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut ties: Vec<f64> = points.windows(2).filter_map(|pair| tie(pair[0], pair[1])).collect();
        // A tie at a cell itself ends one interval and begins the next.
        ties.dedup();
        if ties.is_empty() {
            ties.push(f64::NAN);
        }
        for tie in ties {
            table.push(row[0][..3].iter().map(|&value| value.clone()).chain([tie.into()]).collect());
        }
    }
    table
}

/// Statements about the most anisotropic activations with the fewest samples, for each teacher.
fn findings(results: &[CellResult]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let most = results.iter().map(|r| r.cell.anisotropy).fold(0.0, f64::max);
    let fewest = results.iter().map(|r| r.cell.samples).min().unwrap_or(0);
    let mut teachers: Vec<Teacher> = Vec::new();
    for result in results {
        if !teachers.contains(&result.cell.teacher) {
            teachers.push(result.cell.teacher);
        }
    }
    for teacher in teachers {
        let at = |rotation: f64| {
            results.iter().find(|r| {
                r.cell.teacher == teacher
                    && r.cell.anisotropy == most
                    && r.cell.samples == fewest
                    && r.cell.rotation == rotation
            })
        };
        let (Some(aligned), Some(rotated)) = (at(0.0), at(1.0)) else {
            continue;
        };
        let (aligned, rotated) =
            (aligned.log_ratios(Rule::Adam, Rule::Muon), rotated.log_ratios(Rule::Adam, Rule::Muon));
        let turned: Vec<f64> = aligned.iter().zip(&rotated).filter_map(|(a, r)| Some((*r)? - (*a)?)).collect();
        let adam: Vec<f64> = aligned.iter().flatten().map(|x| -x).collect();
        let muon: Vec<f64> = rotated.iter().flatten().copied().collect();
        for (statement, samples) in [
            ("Turning the activations' axes away from the coordinates favours Muon's update", turned),
            ("With axis-aligned activations Adam's update forgets less than Muon's", adam),
            ("With randomly turned activations Muon's update forgets less than Adam's", muon),
        ] {
            findings.push(Finding {
                claim: "C3".into(),
                statement: statement.into(),
                setting: format!(
                    "linear model, anisotropy {most}, {fewest} samples, {} teacher",
                    teacher_name(teacher)
                ),
                unit: "log ratio of forgetting".into(),
                samples,
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> PhaseDiagramPreset {
        let mut preset = PhaseDiagramPreset::new(Size::Quick);
        preset.grid.inputs = 8;
        preset.grid.outputs = 8;
        preset.grid.rotations = vec![0.0, 1.0];
        preset.grid.samples = vec![4];
        preset.grid.seeds = 3;
        preset
    }

    #[test]
    fn tables_cover_the_grid_and_findings_name_their_setting() {
        let data = run(&tiny(), || ()).unwrap();
        assert_eq!(data.table("phase-diagram").unwrap().rows.len(), 6);
        assert_eq!(data.table("phase-diagram-forgetting").unwrap().rows.len(), 18);
        assert_eq!(data.table("phase-diagram-ties").unwrap().rows.len(), 3);
        assert_eq!(data.findings.len(), 3);
        assert!(data.findings[0].setting.contains("anisotropy 1, 4 samples, linear"));
    }

    #[test]
    fn a_curve_that_turns_back_ties_more_than_once() {
        let mut ratios = Table::new(
            "phase-diagram",
            &[
                "teacher",
                "anisotropy",
                "samples",
                "rotation",
                "off_diagonal_mass",
                "adam_over_muon",
                "low",
                "high",
                "n",
            ],
        );
        let mut push = |samples: usize, rotation: f64, ratio: f64| {
            let numbers = [rotation, 0.0, ratio, 0.0, 0.0].map(Value::from);
            ratios.push(
                ["linear".into(), 1.0.into(), samples.into()].into_iter().chain(numbers).chain([3.into()]).collect(),
            );
        };
        for (rotation, ratio) in [(0.0, 0.5), (0.5, 2.0), (1.0, 0.5)] {
            push(4, rotation, ratio);
        }
        for (rotation, ratio) in [(0.0, 0.5), (0.5, 1.0), (1.0, 2.0)] {
            push(32, rotation, ratio);
        }
        push(128, 0.0, 2.0);
        let ties = all_ties(&ratios);
        let found: Vec<(f64, f64)> =
            ties.select(["samples", "rotation_of_tie"]).map(|[n, tie]| (n.number(), tie.number())).collect();
        assert_eq!(found[..3], [(4.0, 0.25), (4.0, 0.75), (32.0, 0.5)]);
        assert!(found.len() == 4 && found[3].0 == 128.0 && found[3].1.is_nan());
    }

    #[test]
    fn presets_survive_a_file_and_refuse_unknown_keys() {
        for size in [Size::Quick, Size::Standard] {
            let preset = PhaseDiagramPreset::new(size);
            let mut value = serde_json::to_value(&preset).unwrap();
            assert_eq!(serde_json::from_value::<PhaseDiagramPreset>(value.clone()).unwrap(), preset);
            value["grid"]["finetune"]["step"] = 3.into();
            assert!(serde_json::from_value::<PhaseDiagramPreset>(value).is_err());
        }
    }
}
