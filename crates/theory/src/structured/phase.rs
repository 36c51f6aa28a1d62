//! The phase diagram: anisotropy x rotation x samples x teacher.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::finetune::{FinetuneParams, Finetuner};
use super::oracle::oracle_forgetting;
use super::task::{TaskFamily, Teacher};
use crate::error::{Result, at_least, not_empty};
use crate::inputs::{InputFamily, off_diagonal_mass};
use crate::optimizers::Rule;
use crate::random::stream;
use crate::statistics::Estimate;

/// The grid of cells and how each is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseParams {
    /// Inputs d.
    pub inputs: usize,
    /// Outputs m.
    pub outputs: usize,
    /// Anisotropies of the activations.
    pub anisotropies: Vec<f64>,
    /// Turns of their axes.
    pub rotations: Vec<f64>,
    /// Numbers of samples.
    pub samples: Vec<usize>,
    /// Teachers.
    pub teachers: Vec<Teacher>,
    /// Seeds, from 0.
    pub seeds: usize,
    /// The runs.
    pub finetune: FinetuneParams,
}

/// Checked parameters.
#[derive(Debug, Clone)]
pub struct PhaseSimulation {
    params: PhaseParams,
}

/// One cell of the diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PhaseCell {
    /// Where the targets come from.
    pub teacher: Teacher,
    /// Anisotropy of the activations.
    pub anisotropy: f64,
    /// Samples.
    pub samples: usize,
    /// Turn of the axes.
    pub rotation: f64,
}

/// What a cell gives, seed by seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellResult {
    /// The cell.
    pub cell: PhaseCell,
    /// Off-diagonal mass of the activations' second moment, one a seed.
    pub off_diagonal_mass: Vec<f64>,
    /// The oracle's forgetting, one a seed.
    pub oracle: Vec<f64>,
    /// Every optimizer's least forgetting (infinite if it did not learn), one a seed.
    pub forgetting: Vec<(Rule, Vec<f64>)>,
}

impl CellResult {
    /// Forgetting of `rule`, one a seed; empty if it took no part.
    pub fn of(&self, rule: Rule) -> &[f64] {
        self.forgetting.iter().find(|(r, _)| *r == rule).map_or(&[], |(_, values)| values)
    }

    /// Logarithm of the ratio of two optimizers' forgetting, one a seed; nothing for a seed in which one did not learn.
    pub fn log_ratios(&self, numerator: Rule, denominator: Rule) -> Vec<Option<f64>> {
        self.of(numerator)
            .iter()
            .zip(self.of(denominator))
            .map(|(a, b)| (a.is_finite() && b.is_finite()).then(|| (a / b).ln()))
            .collect()
    }

    /// Geometric mean of the ratio of two optimizers' forgetting, paired by seed, over seeds in which both learned.
    pub fn ratio(&self, numerator: Rule, denominator: Rule) -> Estimate {
        let logs: Vec<f64> = self.log_ratios(numerator, denominator).into_iter().flatten().collect();
        Estimate::of(&logs).exp()
    }
}

impl PhaseParams {
    /// Checks every parameter.
    ///
    /// # Errors
    /// Names the first parameter that is out of range.
    pub fn check(self) -> Result<PhaseSimulation> {
        at_least("seeds", self.seeds, 1)?;
        not_empty("anisotropies", &self.anisotropies)?;
        not_empty("rotations", &self.rotations)?;
        not_empty("samples", &self.samples)?;
        not_empty("teachers", &self.teachers)?;
        self.finetune.check()?;
        let simulation = PhaseSimulation { params: self };
        for cell in simulation.cells() {
            simulation.family(&cell).check()?;
        }
        Ok(simulation)
    }
}

impl PhaseSimulation {
    /// The parameters.
    pub fn params(&self) -> &PhaseParams {
        &self.params
    }

    /// Every cell, teachers outermost, rotations innermost.
    pub fn cells(&self) -> Vec<PhaseCell> {
        let p = &self.params;
        let mut cells = Vec::new();
        for &teacher in &p.teachers {
            for &anisotropy in &p.anisotropies {
                for &samples in &p.samples {
                    for &rotation in &p.rotations {
                        cells.push(PhaseCell { teacher, anisotropy, samples, rotation });
                    }
                }
            }
        }
        cells
    }

    fn family(&self, cell: &PhaseCell) -> TaskFamily {
        TaskFamily {
            inputs: InputFamily { size: self.params.inputs, anisotropy: cell.anisotropy, rotation: cell.rotation },
            outputs: self.params.outputs,
            samples: cell.samples,
            teacher: cell.teacher,
        }
    }

    /// Runs all cells and seeds in parallel; `done` is called once for each finished (cell, seed).
    ///
    /// The same seed draws the same inputs, samples and teacher in cells that differ in rotation or anisotropy only.
    ///
    /// # Errors
    /// If a decomposition does not converge.
    pub fn run(&self, done: impl Fn() + Sync) -> Result<Vec<CellResult>> {
        let cells = self.cells();
        let seeds = self.params.seeds;
        let rules: Vec<Rule> = self.params.finetune.rates.keys().copied().collect();
        let runs: Vec<(f64, f64, Vec<f64>)> = (0..cells.len() * seeds)
            .into_par_iter()
            .map(|index| {
                let task =
                    self.family(&cells[index / seeds]).draw(&mut stream((index % seeds) as u64, "phase diagram"))?;
                let (oracle, _) = oracle_forgetting(&task, self.params.finetune.share)?;
                let mut finetuner = Finetuner::new(&self.params.finetune, &task)?;
                let forgetting =
                    rules.iter().map(|&rule| finetuner.least_forgetting(rule)).collect::<Result<Vec<f64>>>()?;
                done();
                Ok((off_diagonal_mass(&task.inputs.covariance), oracle, forgetting))
            })
            .collect::<Result<_>>()?;
        Ok(cells
            .into_iter()
            .zip(runs.chunks(seeds))
            .map(|(cell, runs)| CellResult {
                cell,
                off_diagonal_mass: runs.iter().map(|r| r.0).collect(),
                oracle: runs.iter().map(|r| r.1).collect(),
                forgetting: rules
                    .iter()
                    .enumerate()
                    .map(|(i, &rule)| (rule, runs.iter().map(|r| r.2[i]).collect()))
                    .collect(),
            })
            .collect())
    }
}

/// The rotation at which the ratio crosses 1, by linear interpolation of its logarithm between the cells of one
/// teacher, anisotropy and number of samples, given in ascending rotation; nothing if it stays on one side.
pub fn tie_line(cells: &[&CellResult], numerator: Rule, denominator: Rule) -> Option<f64> {
    let points: Vec<(f64, f64)> =
        cells.iter().map(|c| (c.cell.rotation, c.ratio(numerator, denominator).mean.ln())).collect();
    points.windows(2).find_map(|pair| tie(pair[0], pair[1]))
}

/// Where a line through two points (x, y) is zero, if that is between them.
pub fn tie((x0, y0): (f64, f64), (x1, y1): (f64, f64)) -> Option<f64> {
    (y0 * y1 <= 0.0 && y0 != y1).then(|| x0 - y0 * (x1 - x0) / (y1 - y0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::on_threads;
    use crate::structured::RateGrid;
    use std::collections::BTreeMap;

    fn params() -> PhaseParams {
        let grid = |low, high| RateGrid { low, high, count: 6 };
        PhaseParams {
            inputs: 16,
            outputs: 16,
            anisotropies: vec![1.0],
            rotations: vec![0.0, 1.0],
            samples: vec![4],
            teachers: vec![Teacher::Linear],
            seeds: 5,
            finetune: FinetuneParams {
                steps: 120,
                momentum: 0.9,
                second_moment_decay: 0.95,
                share: 0.1,
                rates: BTreeMap::from([(Rule::Adam, grid(0.003, 0.3)), (Rule::Muon, grid(0.01, 1.0))]),
            },
        }
    }

    #[test]
    fn turning_the_axes_moves_the_advantage_from_adam_to_muon() {
        let results = params().check().unwrap().run(|| ()).unwrap();
        let ratio = |i: usize| results[i].ratio(Rule::Adam, Rule::Muon);
        assert!(ratio(0).below(1.0), "aligned: {:?}", ratio(0));
        assert!(ratio(1).mean > 1.3 * ratio(0).mean, "rotated: {:?}", ratio(1));
        let line = tie_line(&results.iter().collect::<Vec<_>>(), Rule::Adam, Rule::Muon);
        assert!(line.is_some_and(|t| (0.0..=1.0).contains(&t)), "{line:?}");
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let simulation = params().check().unwrap();
        let with = |threads| on_threads(threads, || simulation.run(|| ()).unwrap());
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn bad_grids_are_refused() {
        assert!(PhaseParams { seeds: 0, ..params() }.check().is_err());
        assert!(PhaseParams { rotations: vec![2.0], ..params() }.check().is_err());
        assert!(PhaseParams { samples: vec![], ..params() }.check().is_err());
        let rank = PhaseParams { teachers: vec![Teacher::LowRank { rank: 17 }], ..params() };
        let message = rank.check().unwrap_err().to_string();
        assert_eq!(message, "teacher.rank: found 17, expected from 1 to 16");
    }
}
