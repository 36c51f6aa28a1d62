//! Which functional each optimizer's noise descends (the theory side of C2).

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Size;
use super::table::{FigureData, Finding, Table, with_interval};
use crate::error::{Result, at_least, not_empty};
use crate::inputs::InputFamily;
use crate::optimizers::{OptimizerConfig, Rule};
use crate::random::{gaussian_array, stream};
use crate::regularization::{
    DiagonalParams, DiagonalReading, Functional, ResponseParams, Shape, Snapshot, Trajectory, TwoLayerFunctional,
    TwoLayerParams, closed_form_minimum, minimise_on_manifold, noise_response,
};
use crate::statistics::Estimate;

/// One optimizer's run on the two-layer network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The rule.
    pub rule: Rule,
    /// Its momentum.
    pub momentum: f64,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Steps.
    pub steps: usize,
}

/// One optimizer's run on the diagonal network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiagonalRun {
    /// The rule.
    pub rule: Rule,
    /// Which matrix u is to it.
    pub shape: Shape,
    /// Its learning rate.
    pub learning_rate: f64,
}

/// A shape of layer whose noise response is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponseCell {
    /// Outputs.
    pub outputs: usize,
    /// Inputs.
    pub inputs: usize,
    /// Momentum.
    pub momentum: f64,
}

/// What the figure runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegularizationPreset {
    /// Seeds, from 0: each fixes target, start and data.
    pub seeds: usize,
    /// Inputs of the two-layer network (isotropic).
    pub inputs: usize,
    /// Its hidden units.
    pub hidden: usize,
    /// Its outputs.
    pub outputs: usize,
    /// Samples a step.
    pub batch: usize,
    /// Standard deviation of the label noise.
    pub label_noise: f64,
    /// Snapshots along each run.
    pub records: usize,
    /// The optimizers.
    pub runs: Vec<Run>,
    /// Inputs of the network that separates the candidates for Muon: many more than its outputs.
    pub separation_inputs: usize,
    /// Its hidden units.
    pub separation_hidden: usize,
    /// Its outputs.
    pub separation_outputs: usize,
    /// Its optimizers.
    pub separation_runs: Vec<Run>,
    /// Layers whose noise response is measured.
    pub responses: Vec<ResponseCell>,
    /// Steps of each measurement.
    pub response_steps: usize,
    /// Features of the diagonal network, at least 12; a third as many samples, a tenth as many non-zero coefficients.
    pub diagonal_features: usize,
    /// Its steps.
    pub diagonal_steps: usize,
    /// Its optimizers.
    pub diagonal_runs: Vec<DiagonalRun>,
}

impl RegularizationPreset {
    /// Number of runs, each reported when it is done.
    pub fn runs(&self) -> usize {
        (self.runs.len() + self.separation_runs.len() + self.diagonal_runs.len()) * self.seeds
    }

    /// The preset of that size.
    pub fn new(size: Size) -> Self {
        let quick = size == Size::Quick;
        // Half the steps: the second half of a long run only fluctuates about its end.
        let run = |rule, momentum, learning_rate, steps| {
            let steps = if quick { steps / 2 } else { steps };
            Run { rule, momentum, learning_rate, steps }
        };
        let diagonal = |rule, shape, learning_rate| DiagonalRun { rule, shape, learning_rate };
        let mut responses = Vec::new();
        for (outputs, inputs) in [(4, 4), (4, 16), (4, 64), (16, 4), (16, 16)] {
            for momentum in [0.0, 0.9] {
                responses.push(ResponseCell { outputs, inputs, momentum });
            }
        }
        Self {
            seeds: if quick { 5 } else { 10 },
            inputs: 8,
            hidden: 24,
            outputs: 4,
            batch: 4,
            label_noise: 1.0,
            records: 12,
            runs: vec![
                run(Rule::Sgd, 0.0, 0.01, 300_000),
                run(Rule::Adam, 0.9, 0.002, 300_000),
                run(Rule::Muon, 0.9, 0.004, 200_000),
                run(Rule::Adam, 0.0, 0.002, 200_000),
                run(Rule::Sign, 0.0, 0.0005, 200_000),
                run(Rule::Muon, 0.0, 0.004, 200_000),
            ],
            separation_inputs: 32,
            separation_hidden: 12,
            separation_outputs: 4,
            separation_runs: vec![run(Rule::Sgd, 0.0, 0.005, 150_000), run(Rule::Muon, 0.9, 0.002, 150_000)],
            responses,
            response_steps: if quick { 30_000 } else { 600_000 },
            diagonal_features: 40,
            diagonal_steps: if quick { 50_000 } else { 300_000 },
            diagonal_runs: vec![
                diagonal(Rule::Sgd, Shape::Row, 0.1),
                diagonal(Rule::Adam, Shape::Row, 0.006),
                diagonal(Rule::Muon, Shape::Row, 0.01),
                diagonal(Rule::Muon, Shape::Diagonal, 0.002),
            ],
        }
    }

    /// Checks every parameter.
    ///
    /// # Errors
    /// The first that is out of range, by name.
    pub fn check(&self) -> Result<()> {
        at_least("seeds", self.seeds, 1)?;
        not_empty("runs", &self.runs)?;
        at_least("diagonal_features", self.diagonal_features, 12)?;
        at_least("response_steps", self.response_steps, 600)?;
        Ok(())
    }

    fn table_params(&self, run: &Run) -> TwoLayerParams {
        TwoLayerParams {
            inputs: isotropic(self.inputs),
            hidden: self.hidden,
            outputs: self.outputs,
            batch: self.batch,
            label_noise: self.label_noise,
            target_ratio: None,
            start: None,
            optimizer: OptimizerConfig::new(run.rule).with_momentum(run.momentum),
            learning_rate: run.learning_rate,
            steps: run.steps,
            cooldown: 0.0,
            records: self.records,
        }
    }

    fn separation_params(&self, run: &Run) -> TwoLayerParams {
        TwoLayerParams {
            inputs: isotropic(self.separation_inputs),
            hidden: self.separation_hidden,
            outputs: self.separation_outputs,
            batch: 8,
            target_ratio: Some(0.5),
            start: Some(Functional::FullWhitening),
            cooldown: 0.3,
            ..self.table_params(run)
        }
    }
}

fn isotropic(size: usize) -> InputFamily {
    InputFamily { size, anisotropy: 0.0, rotation: 0.0 }
}

/// Runs the figure; `done` is called once for each finished run of a seed.
///
/// # Errors
/// If a parameter is out of range, or a decomposition does not converge.
pub fn run(preset: &RegularizationPreset, done: impl Fn() + Sync) -> Result<FigureData> {
    preset.check()?;
    let table_runs = simulate(&preset.runs, preset.seeds, |r| preset.table_params(r), &done)?;
    let separation = simulate(&preset.separation_runs, preset.seeds, |r| preset.separation_params(r), &done)?;
    let predicted = predicted_layer_ratios(preset)?;
    let mut findings = concentration_findings(&preset.runs, &table_runs);
    findings.extend(separation_findings(&preset.separation_runs, &separation));
    Ok(FigureData {
        name: "regularization".into(),
        tables: vec![
            functional_table("regularization", &preset.runs, &table_runs),
            trajectory_table(&preset.runs, &table_runs),
            separation_table(&preset.separation_runs, &separation, &predicted),
            response_table(preset)?,
            diagonal_table(preset, &done)?,
        ],
        findings,
    })
}

/// All runs over all seeds: one list of trajectories (by seed) a run.
fn simulate(
    runs: &[Run],
    seeds: usize,
    params: impl Fn(&Run) -> TwoLayerParams,
    done: &(impl Fn() + Sync),
) -> Result<Vec<Vec<Trajectory>>> {
    let simulations = runs.iter().map(|r| params(r).check()).collect::<Result<Vec<_>>>()?;
    let flat = (0..runs.len() * seeds)
        .into_par_iter()
        .map(|index| {
            let trajectory = simulations[index / seeds].run((index % seeds) as u64)?;
            done();
            Ok(trajectory)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(flat.chunks(seeds).map(<[Trajectory]>::to_vec).collect())
}

/// Mean over the later half of a run's snapshots, in which it fluctuates about its end.
fn settled(trajectory: &Trajectory, reading: impl Fn(&Snapshot) -> f64) -> f64 {
    let half = &trajectory.snapshots[trajectory.snapshots.len().div_ceil(2)..];
    let half = if half.is_empty() { &trajectory.snapshots[..] } else { half };
    half.iter().map(reading).sum::<f64>() / half.len() as f64
}

/// What is read from a snapshot, with its name or the statement that it bears on.
type Reading = (&'static str, fn(&Snapshot) -> f64);

const READINGS: [Reading; 10] = [
    ("sgd", |s| s.sgd),
    ("adam", |s| s.adam),
    ("full_whitening", |s| s.full_whitening),
    ("dual_norm", |s| s.dual_norm),
    ("participation_ratio", |s| s.participation_ratio),
    ("off_diagonal_mass", |s| s.off_diagonal_mass),
    ("l1_over_l2", |s| s.l1_over_l2),
    ("nuclear_over_frobenius", |s| s.nuclear_over_frobenius),
    ("layer_ratio", |s| s.layer_ratio),
    ("error", |s| s.error),
];

fn functional_table(name: &str, runs: &[Run], trajectories: &[Vec<Trajectory>]) -> Table {
    let mut table =
        Table::new(name, &["optimizer", "momentum", "reading", "start", "end", "low", "high", "least", "n"]);
    for (run, seeds) in runs.iter().zip(trajectories) {
        for (name, reading) in READINGS {
            let start = Estimate::of(&each(seeds, |t| reading(&t.snapshots[0])));
            let end = Estimate::of(&each(seeds, |t| settled(t, reading)));
            let least = match name {
                "sgd" => mean(seeds, |t| t.minimum_sgd),
                "adam" => mean(seeds, |t| t.minimum_adam),
                "full_whitening" => mean(seeds, |t| t.minimum_full_whitening),
                _ => f64::NAN,
            };
            let [end, low, high] = with_interval(end);
            table.push(vec![
                run.rule.name().into(),
                run.momentum.into(),
                name.into(),
                start.mean.into(),
                end,
                low,
                high,
                least.into(),
                seeds.len().into(),
            ]);
        }
    }
    table
}

fn each(seeds: &[Trajectory], reading: impl Fn(&Trajectory) -> f64) -> Vec<f64> {
    seeds.iter().map(reading).collect()
}

fn mean(seeds: &[Trajectory], reading: impl Fn(&Trajectory) -> f64) -> f64 {
    Estimate::of(&each(seeds, reading)).mean
}

fn trajectory_table(runs: &[Run], trajectories: &[Vec<Trajectory>]) -> Table {
    let mut columns = vec!["optimizer", "momentum", "step"];
    columns.extend(READINGS.iter().map(|(name, _)| *name));
    let mut table = Table::new("regularization-trajectories", &columns);
    for (run, seeds) in runs.iter().zip(trajectories) {
        // A diverged run stops early: only what all seeds have is averaged.
        let length = seeds.iter().map(|t| t.snapshots.len()).min().unwrap_or(0);
        for index in 0..length {
            let mut row = vec![run.rule.name().into(), run.momentum.into(), seeds[0].snapshots[index].step.into()];
            row.extend(READINGS.iter().map(|(_, reading)| mean(seeds, |t| reading(&t.snapshots[index])).into()));
            table.push(row);
        }
    }
    table
}

/// |W1|_F / |W2|_F at the minimisers of each functional for the separating network: the mean over the targets of the
/// first three seeds.
fn predicted_layer_ratios(preset: &RegularizationPreset) -> Result<Vec<(Functional, f64)>> {
    /// The dual norm's minimum is found by descent; its layer ratio hardly depends on the target.
    const TARGETS: u64 = 3;
    let Some(first) = preset.separation_runs.first() else {
        return Ok(Vec::new());
    };
    let simulation = preset.separation_params(first).check()?;
    let mut ratios = Vec::new();
    for which in [Functional::Sgd, Functional::FullWhitening, Functional::DualNorm] {
        let values = (0..TARGETS)
            .map(|seed| {
                let (inputs, target) = simulation.target(seed)?;
                if let Some(minimum) = closed_form_minimum(which, &inputs, &target)? {
                    return Ok(minimum.layer_ratio);
                }
                // Any factorisation is a start: the thin SVD's factors in a random frame with some extra width.
                let (m, n) = target.dim();
                let svd = crate::linalg::svd(&target)?;
                let frame = gaussian_array(m + 2, m, &mut stream(seed, "minimisation"));
                let frame = crate::linalg::polar_factor(&frame)?;
                let w1 = (&frame * &svd.s.mapv(f64::sqrt)).dot(&svd.vt) * (n as f64 / m as f64).powf(0.25);
                let w2 = (&svd.u * &svd.s.mapv(f64::sqrt)).dot(&frame.t()) / (n as f64 / m as f64).powf(0.25);
                let functional = TwoLayerFunctional::new(which, &inputs, m);
                let (_, w1, w2) = minimise_on_manifold(&functional, &w1, &w2, 300)?;
                let norm = |w: &ndarray::Array2<f64>| w.iter().map(|x| x * x).sum::<f64>().sqrt();
                Ok(norm(&w1) / norm(&w2))
            })
            .collect::<Result<Vec<f64>>>()?;
        ratios.push((which, Estimate::of(&values).mean));
    }
    Ok(ratios)
}

fn separation_table(runs: &[Run], trajectories: &[Vec<Trajectory>], predicted: &[(Functional, f64)]) -> Table {
    let mut table = Table::new("regularization-separation", &["source", "reading", "start", "end", "low", "high", "n"]);
    for (which, ratio) in predicted {
        table.push(vec![
            format!("minimiser of {}", which.name()).into(),
            "layer_ratio".into(),
            f64::NAN.into(),
            (*ratio).into(),
            f64::NAN.into(),
            f64::NAN.into(),
            3usize.into(),
        ]);
    }
    for (run, seeds) in runs.iter().zip(trajectories) {
        for (name, reading) in READINGS {
            let end = Estimate::of(&each(seeds, |t| reading(t.last())));
            let [end, low, high] = with_interval(end);
            table.push(vec![
                run.rule.name().into(),
                name.into(),
                mean(seeds, |t| reading(&t.snapshots[0])).into(),
                end,
                low,
                high,
                seeds.len().into(),
            ]);
        }
    }
    table
}

fn response_table(preset: &RegularizationPreset) -> Result<Table> {
    let mut table = Table::new(
        "regularization-response",
        &[
            "outputs",
            "inputs",
            "momentum",
            "output_exponent",
            "input_exponent",
            "departure_from_dual_norm",
            "departure_from_full_whitening",
        ],
    );
    // Eigenvalues over one decade and a half on either side.
    let spectrum =
        |n: usize| -> Vec<f64> { (0..n).map(|k| 10f64.powf(-1.5 * k as f64 / (n.max(2) - 1) as f64)).collect() };
    let rows = preset
        .responses
        .par_iter()
        .map(|cell| {
            let block_steps = if cell.momentum > 0.0 { 60 } else { 1 };
            noise_response(
                &ResponseParams {
                    output: spectrum(cell.outputs),
                    input: spectrum(cell.inputs),
                    rule: Rule::Muon,
                    momentum: cell.momentum,
                    blocks: preset.response_steps / block_steps,
                    block_steps,
                },
                0,
            )
        })
        .collect::<Result<Vec<_>>>()?;
    for (cell, response) in preset.responses.iter().zip(rows) {
        table.push(vec![
            cell.outputs.into(),
            cell.inputs.into(),
            cell.momentum.into(),
            response.output_exponent.into(),
            response.input_exponent.into(),
            response.departure_from_dual_norm.into(),
            response.departure_from_full_whitening.into(),
        ]);
    }
    Ok(table)
}

fn diagonal_table(preset: &RegularizationPreset, done: &(impl Fn() + Sync)) -> Result<Table> {
    type Of = (&'static str, fn(&DiagonalReading) -> f64);
    const OF: [Of; 7] = [
        ("sgd", |r| r.sgd),
        ("adam", |r| r.adam),
        ("l1", |r| r.l1),
        ("half_norm", |r| r.half_norm),
        ("participation_ratio", |r| r.participation_ratio),
        ("recovery_error", |r| r.recovery_error),
        ("training_error", |r| r.training_error),
    ];
    let mut table =
        Table::new("regularization-diagonal", &["optimizer", "shape", "reading", "mean", "low", "high", "n"]);
    for run in &preset.diagonal_runs {
        let simulation = DiagonalParams {
            features: preset.diagonal_features,
            samples: preset.diagonal_features / 3,
            sparsity: (preset.diagonal_features / 10).max(1),
            label_noise: 0.5,
            start: 0.5,
            batch: 4,
            optimizer: OptimizerConfig::new(run.rule),
            shape: run.shape,
            learning_rate: run.learning_rate,
            steps: preset.diagonal_steps,
        }
        .check()?;
        let readings = (0..preset.seeds as u64)
            .into_par_iter()
            .map(|seed| {
                let reading = simulation.run(seed)?;
                done();
                Ok(reading)
            })
            .collect::<Result<Vec<_>>>()?;
        for (name, of) in OF {
            let values: Vec<f64> = readings.iter().map(of).collect();
            let [mean, low, high] = with_interval(Estimate::of(&values));
            table.push(vec![
                run.rule.name().into(),
                match run.shape {
                    Shape::Row => "row",
                    Shape::Diagonal => "diagonal",
                }
                .into(),
                name.into(),
                mean,
                low,
                high,
                values.len().into(),
            ]);
        }
    }
    Ok(table)
}

/// Log ratio of a settled reading between two runs, one a seed.
fn log_ratios(numerator: &[Trajectory], denominator: &[Trajectory], reading: fn(&Snapshot) -> f64) -> Vec<f64> {
    numerator.iter().zip(denominator).map(|(a, b)| (settled(a, reading) / settled(b, reading)).ln()).collect()
}

fn concentration_findings(runs: &[Run], trajectories: &[Vec<Trajectory>]) -> Vec<Finding> {
    let find = |rule| {
        runs.iter().position(|r| r.rule == rule && (r.momentum > 0.0 || rule == Rule::Sgd)).map(|i| &trajectories[i])
    };
    let (Some(adam), Some(muon)) = (find(Rule::Adam), find(Rule::Muon)) else {
        return Vec::new();
    };
    let statements: [Reading; 3] = [
        ("Adam's noise leaves fewer active hidden units than Muon's", |s| s.participation_ratio),
        ("Adam's noise lowers the basis-dependent functional further than Muon's", |s| s.adam),
        ("Adam's hidden second moment is nearer to diagonal than Muon's", |s| s.off_diagonal_mass),
    ];
    statements
        .into_iter()
        .map(|(statement, reading)| Finding {
            claim: "C2".into(),
            statement: statement.into(),
            setting: "two-layer linear network, isotropic inputs".into(),
            unit: "log ratio".into(),
            samples: log_ratios(muon, adam, reading),
        })
        .collect()
}

fn separation_findings(runs: &[Run], trajectories: &[Vec<Trajectory>]) -> Vec<Finding> {
    let Some(index) = runs.iter().position(|r| r.rule == Rule::Muon) else {
        return Vec::new();
    };
    let muon = &trajectories[index];
    let change = |reading: fn(&Snapshot) -> f64| -> Vec<f64> {
        each(muon, |t| (reading(t.last()) / reading(&t.snapshots[0])).ln())
    };
    let falls = change(|s| s.dual_norm).into_iter().map(|x| -x).collect();
    [
        (
            "From the full-whitening functional's minimum Muon's noise raises that functional",
            change(|s| s.full_whitening),
        ),
        ("From the full-whitening functional's minimum Muon's noise lowers the expected dual norm", falls),
    ]
    .into_iter()
    .map(|(statement, samples)| Finding {
        claim: "C2".into(),
        statement: statement.into(),
        setting: "two-layer linear network with many more inputs than outputs".into(),
        unit: "log ratio".into(),
        samples,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> RegularizationPreset {
        let mut preset = RegularizationPreset::new(Size::Quick);
        preset.seeds = 2;
        preset.records = 3;
        preset.response_steps = 1200;
        preset.diagonal_steps = 300;
        preset.responses.truncate(2);
        for run in preset.runs.iter_mut().chain(&mut preset.separation_runs) {
            run.steps = 400;
        }
        preset
    }

    #[test]
    fn every_table_has_its_rows_and_the_same_preset_gives_the_same_data() {
        let data = run(&tiny(), || ()).unwrap();
        for (name, rows) in [
            ("regularization", 60),
            ("regularization-trajectories", 24),
            ("regularization-separation", 23),
            ("regularization-response", 2),
            ("regularization-diagonal", 28),
        ] {
            assert_eq!(data.table(name).unwrap().rows.len(), rows, "{name}");
        }
        assert_eq!(data.findings.len(), 5);
        assert!(data.findings.iter().all(|f| f.samples.len() == 2));
        let again = run(&tiny(), || ()).unwrap();
        let csv = |d: &FigureData| d.tables.iter().map(Table::to_csv).collect::<String>();
        assert_eq!(csv(&data), csv(&again));
    }

    #[test]
    fn presets_survive_a_file_and_refuse_unknown_keys() {
        let preset = RegularizationPreset::new(Size::Standard);
        let mut value = serde_json::to_value(&preset).unwrap();
        assert_eq!(serde_json::from_value::<RegularizationPreset>(value.clone()).unwrap(), preset);
        value["sedes"] = 3.into();
        let message = serde_json::from_value::<RegularizationPreset>(value).unwrap_err().to_string();
        assert!(message.contains("sedes"), "{message}");
    }

    #[test]
    fn bad_presets_are_refused() {
        let mut preset = tiny();
        preset.seeds = 0;
        assert!(run(&preset, || ()).is_err());
        let mut preset = tiny();
        preset.hidden = 0;
        assert!(run(&preset, || ()).is_err());
    }
}
