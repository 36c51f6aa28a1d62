//! What updates of equal first-order gain do to a layer's outputs (P1).

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Size;
use super::table::{FigureData, Finding, Table, with_interval};
use crate::error::{Result, at_least, not_empty};
use crate::geometry::{Norm, VectorNorm, inner, minimax_update, search_for_better};
use crate::random::{gaussian_array, stream};
use crate::statistics::Estimate;

/// What the figure runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeometryPreset {
    /// Seeds, from 0: each draws a gradient and activations.
    pub seeds: usize,
    /// Outputs of the layer.
    pub outputs: usize,
    /// Inputs of the layer.
    pub inputs: usize,
    /// Samples that the gradient sums over.
    pub samples: usize,
    /// Numbers of active coordinates of the activations at which the change is read, each from 1 to `inputs`.
    pub active: Vec<usize>,
    /// Steps of the search for a better update.
    pub search_steps: usize,
}

impl GeometryPreset {
    /// Number of runs, each reported when it is done.
    pub fn runs(&self) -> usize {
        self.seeds
    }

    /// The preset of that size.
    pub fn new(size: Size) -> Self {
        let quick = size == Size::Quick;
        Self {
            seeds: if quick { 10 } else { 40 },
            outputs: 24,
            inputs: 32,
            samples: 8,
            active: vec![1, 2, 4, 8, 16, 32],
            search_steps: if quick { 300 } else { 1500 },
        }
    }

    /// Checks every parameter.
    ///
    /// # Errors
    /// The first that is out of range, by name.
    pub fn check(&self) -> Result<()> {
        at_least("seeds", self.seeds, 1)?;
        at_least("outputs", self.outputs, 1)?;
        at_least("inputs", self.inputs, 1)?;
        at_least("samples", self.samples, 1)?;
        not_empty("active", &self.active)?;
        for &active in &self.active {
            if active == 0 || active > self.inputs {
                return Err(crate::error::parameter("active", active, format!("from 1 to the {} inputs", self.inputs)));
            }
        }
        Ok(())
    }
}

/// The optimizers compared, by the norm under which each is steepest descent.
const UPDATES: [(&str, Norm); 3] =
    [("normalised-sgd", Norm::Frobenius), ("sign", Norm::LargestEntry), ("muon", Norm::Spectral)];

/// The norms in which the worst case is taken.
const CASES: [(&str, Norm); 4] = [
    ("1 -> inf", Norm::LargestEntry),
    ("2 -> 2", Norm::Spectral),
    ("2 -> inf", Norm::LargestRowLength),
    ("inf -> inf", Norm::LargestRowSum),
];

/// One seed's readings.
struct Readings {
    /// By update and case: worst case over the least possible.
    worst: Vec<Vec<f64>>,
    /// By update and number of active coordinates: |D x|_2 for |x|_2 = 1.
    change: Vec<Vec<f64>>,
    /// By case: least norm that the search found over the least possible, minus 1.
    search: Vec<f64>,
}

/// Runs the figure; `done` is called once for each finished seed.
///
/// # Errors
/// If a parameter is out of range, or a decomposition does not converge.
pub fn run(preset: &GeometryPreset, done: impl Fn() + Sync) -> Result<FigureData> {
    preset.check()?;
    let seeds = (0..preset.seeds as u64)
        .into_par_iter()
        .map(|seed| {
            let readings = read(preset, seed)?;
            done();
            Ok(readings)
        })
        .collect::<Result<Vec<_>>>()?;
    let over = |reading: &dyn Fn(&Readings) -> f64| Estimate::of(&seeds.iter().map(reading).collect::<Vec<_>>());
    let mut worst = Table::new("geometry", &["optimizer", "worst_case", "over_least", "low", "high", "n"]);
    let mut change =
        Table::new("geometry-activations", &["optimizer", "active_coordinates", "output_change", "low", "high", "n"]);
    for (u, (update, _)) in UPDATES.iter().enumerate() {
        for (c, (case, _)) in CASES.iter().enumerate() {
            let mut row = vec![(*update).into(), (*case).into()];
            row.extend(with_interval(over(&|r| r.worst[u][c])));
            row.push(preset.seeds.into());
            worst.push(row);
        }
        for (a, &active) in preset.active.iter().enumerate() {
            let mut row = vec![(*update).into(), active.into()];
            row.extend(with_interval(over(&|r| r.change[u][a])));
            row.push(preset.seeds.into());
            change.push(row);
        }
    }
    let mut search = Table::new("geometry-search", &["worst_case", "excess_of_best_found", "low", "high", "n"]);
    for (c, (case, _)) in CASES.iter().enumerate() {
        let mut row = vec![(*case).into()];
        row.extend(with_interval(over(&|r| r.search[c])));
        row.push(preset.seeds.into());
        search.push(row);
    }
    let samples = |of: &dyn Fn(&Readings) -> f64| seeds.iter().map(of).collect::<Vec<_>>();
    let finding = |statement: &str, samples| Finding {
        claim: "C2".into(),
        statement: statement.into(),
        setting: "gradients of a linear layer, equal first-order gain".into(),
        unit: "log ratio of worst-case output change".into(),
        samples,
    };
    Ok(FigureData {
        name: "geometry".into(),
        findings: vec![
            finding(
                "Over activations bounded in l1 the sign update changes the largest output less than Muon's",
                samples(&|r| (r.worst[2][0] / r.worst[1][0]).ln()),
            ),
            finding(
                "Over activations bounded in l2 Muon's update changes the output less than the sign update",
                samples(&|r| (r.worst[1][1] / r.worst[2][1]).ln()),
            ),
        ],
        tables: vec![worst, change, search],
    })
}

fn read(preset: &GeometryPreset, seed: u64) -> Result<Readings> {
    let mut rng = stream(seed, "geometry figure");
    let errors = gaussian_array(preset.outputs, preset.samples, &mut rng);
    let activations = gaussian_array(preset.inputs, preset.samples, &mut rng);
    let gradient = errors.dot(&activations.t());
    let probes = gaussian_array(preset.inputs, 64, &mut rng);
    let mut readings = Readings { worst: Vec::new(), change: Vec::new(), search: Vec::new() };
    for (_, norm) in UPDATES {
        let update = minimax_update(norm, &gradient, 1.0)?.update;
        let worst = CASES
            .iter()
            .map(|(_, case)| Ok(case.value(&update)? * case.dual().value(&gradient)?))
            .collect::<Result<Vec<f64>>>()?;
        readings.worst.push(worst);
        let change = preset
            .active
            .iter()
            .map(|&active| {
                let mut sum = 0.0;
                for probe in probes.columns() {
                    let mut x = probe.to_owned();
                    x.slice_mut(ndarray::s![active..]).fill(0.0);
                    let length = VectorNorm::Two.value(x.view());
                    sum += VectorNorm::Two.value(update.dot(&x).view()) / length;
                }
                sum / probes.ncols() as f64
            })
            .collect();
        readings.change.push(change);
    }
    let random = gaussian_array(preset.outputs, preset.inputs, &mut rng);
    let missing = 1.0 - inner(&gradient, &random);
    let start = &random + &(&gradient * (missing / inner(&gradient, &gradient)));
    for (_, case) in CASES {
        let least = 1.0 / case.dual().value(&gradient)?;
        let found = search_for_better(case, &gradient, &start, preset.search_steps)?;
        readings.search.push(found.value / least - 1.0);
    }
    Ok(readings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Value;

    #[test]
    fn each_optimizer_is_best_in_its_own_worst_case_and_no_search_beats_it() {
        let preset = GeometryPreset { seeds: 3, search_steps: 100, ..GeometryPreset::new(Size::Quick) };
        let data = run(&preset, || ()).unwrap();
        let number = Value::number;
        for row in &data.table("geometry").unwrap().rows {
            let own = (row[0] == "sign".into() && row[1] == "1 -> inf".into())
                || (row[0] == "muon".into() && row[1] == "2 -> 2".into());
            let over = number(&row[2]);
            assert!(if own { (over - 1.0).abs() < 1e-9 } else { over > 1.0 + 1e-6 }, "{row:?}");
        }
        for row in &data.table("geometry-search").unwrap().rows {
            assert!(number(&row[1]) >= -1e-9);
        }
        assert!(data.findings.iter().all(|f| f.samples.iter().all(|&x| x > 0.0)));
    }

    #[test]
    fn bad_presets_are_refused() {
        let good = GeometryPreset::new(Size::Quick);
        assert!(run(&GeometryPreset { seeds: 0, ..good.clone() }, || ()).is_err());
        let message = run(&GeometryPreset { active: vec![33], ..good }, || ()).unwrap_err().to_string();
        assert_eq!(message, "active: found 33, expected from 1 to the 32 inputs");
    }
}
