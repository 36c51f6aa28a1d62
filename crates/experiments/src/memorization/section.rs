//! The section of `memorization` in the report: scorecard, figures, tables, and the files with the numbers.

use lab::error::Failure;
use lab::report::{ReportFolder, Section, Table, TableRow};
use lab::statistics::describe;
use models::optim::RuleName;
use serde::Serialize;

use super::drawing;
use super::measure::{MEMORISED, steps_to};
use super::plan::Reported;
use super::preset::{Cell, MemorizationPreset};
use super::setting::Setting;
use super::settings;
use super::statistics::{Reading, Statistics};
use super::tuning::edge;
use crate::names::display;

/// One row a reported run of any setting.
const RUNS: &str = "memorization.csv";
/// One row a measurement along a reported run.
const CURVES: &str = "memorization-curves.csv";
/// One row a seed, cell and reading.
const DIFFERENCES: &str = "memorization-differences.csv";
/// One row a learning rate of a setting's cell.
const RATES: &str = "memorization-rates.csv";

/// Writes tables and figures to `report`; returns the section. `all` begins with the preset itself, then come its
/// variations.
pub(super) fn section(all: &[Setting], report: &ReportFolder) -> Result<Section, Failure> {
    let (Setting { preset, reported, statistics }, varied) = (&all[0], &all[1..]);
    report.table(RUNS, run_rows(all))?;
    report.table(CURVES, curve_rows(reported))?;
    report.table(DIFFERENCES, difference_rows(statistics))?;
    report.table(RATES, rate_rows(all))?;
    let mut section = Section {
        introduction: introduction(preset, statistics),
        scorecard: statistics.scorecard.clone(),
        controls: statistics.controls.clone(),
        tables: vec![cells_table(preset, reported), differences_table(statistics), rates_table(preset, reported)],
        provenance: provenance(preset, reported),
        ..Section::default()
    };
    let seeds = seeds(preset);
    let caption = format!(
        "Muon's accuracy on held-out instances less AdamW's in every cell: mean over {seeds} with its paired 95 % t interval, bold \
         where the interval does not hold zero."
    );
    section.figures.push(report.figure(&drawing::map(preset, statistics), caption, DIFFERENCES)?);
    let caption = format!(
        "Accuracy on held-out instances at the end, each optimizer at its chosen learning rate: means over {seeds} with 95 % t \
         intervals."
    );
    section.figures.push(report.figure(&drawing::generalisation(preset, reported), caption, RUNS)?);
    let shown = shown_cells(preset.cells(), statistics);
    if let Some(&cell) = shown.first() {
        let caption =
            format!("Along the runs of one cell: means over {seeds}, each optimizer at its chosen learning rate.");
        section.figures.push(report.figure(&drawing::curves(preset, reported, cell), caption, CURVES)?);
    }
    let caption = format!(
        "Singular values of the matrices inside the blocks at the end, each matrix's divided by its largest: means over matrices and \
         {seeds}."
    );
    section.figures.push(report.figure(&drawing::spectra(preset, reported, &shown), caption, RUNS)?);
    if !varied.is_empty() {
        report.table(settings::EFFECTS, settings::rows(varied))?;
        section.tables.insert(0, settings::table(varied));
        for (figure, caption) in [
            (
                settings::accuracies(varied),
                "AdamW's accuracy on held-out instances less Muon's in the cells of the verdict",
            ),
            (settings::speeds(varied), "How much sooner Muon knows 90 % of the facts"),
        ] {
            let caption = format!("{caption}, in every setting: means over seeds with paired 95 % t intervals.");
            section.figures.push(report.figure(&figure, caption, settings::EFFECTS)?);
        }
    }
    Ok(section)
}

/// In which numbers and where networks were trained, and which parameters went to which optimizer.
fn provenance(preset: &MemorizationPreset, reported: &[Reported]) -> Vec<(String, String)> {
    let arithmetic = format!("products of matrices in f32 on {}", preset.device.hardware());
    let mut lines = vec![("arithmetic".into(), arithmetic)];
    for optimizer in &preset.optimizers {
        if let Some(run) = reported.iter().find(|run| run.optimizer == optimizer.name) {
            lines.push((display(optimizer.name.as_str()), run.result.policy.join("; ")));
        }
    }
    lines
}

/// The number of seeds in words.
fn seeds(preset: &MemorizationPreset) -> String {
    match preset.control_seeds {
        Some(controls) if controls < preset.seeds => {
            format!("{} seeds ({controls} without facts, and of other optimizers than AdamW and Muon)", preset.seeds)
        }
        _ => format!("{} seeds", preset.seeds),
    }
}

/// The cells whose curves and spectra are drawn: of those with few examples the one with the most facts and examples,
/// that one without facts, and the one with the most examples.
fn shown_cells(mut cells: Vec<Cell>, statistics: &Statistics) -> Vec<Cell> {
    cells.sort_unstable();
    let few = |cell: &&Cell| statistics.is_few(**cell);
    let mut shown: Vec<Cell> = Vec::new();
    let decisive = cells.iter().rev().find(few).or(cells.last());
    let control = cells.iter().rev().filter(few).find(|cell| cell.facts == 0);
    for cell in decisive.into_iter().chain(control).chain(cells.last()) {
        if !shown.contains(cell) {
            shown.push(*cell);
        }
    }
    shown
}

fn introduction(preset: &MemorizationPreset, statistics: &Statistics) -> Vec<String> {
    let names: Vec<String> = preset.optimizers.iter().map(|optimizer| display(optimizer.name.as_str())).collect();
    vec![
        format!(
            "Preset {}: networks with {} layers of width {}, trained with {} on a language of facts, which only memory can hold, and of a \
             pattern with {} instances, of which a tenth is held out for choosing learning rates and a tenth for the result. A cell is a \
             number of facts and a number of pattern examples; a seed fixes the language, the initial weights and the data order.",
            preset.name,
            preset.network.layers,
            preset.network.width,
            names.join(", "),
            statistics.instances
        ),
        format!(
            "In every cell each optimizer has the learning rate with the best accuracy on validation instances among those that learned \
             {:.0} % of the training answers, on {} tuning seed(s) that are not reported. Muon is Muon on the matrices inside the blocks and AdamW on \
             the rest. The claim is the abstract's of arXiv 2605.06654; the measurement is this project's (docs/protocol.md).",
            100.0 * preset.choice.learned,
            preset.tuning_seeds
        ),
    ]
}

/// What came out in every cell for every optimizer.
fn cells_table(preset: &MemorizationPreset, reported: &[Reported]) -> Table {
    let mut rows = Vec::new();
    for cell in preset.cells() {
        for optimizer in &preset.optimizers {
            let runs: Vec<&Reported> =
                reported.iter().filter(|run| run.cell == cell && run.optimizer == optimizer.name).collect();
            let ended: Vec<&Reported> = runs.iter().copied().filter(|run| run.result.end().is_some()).collect();
            let ends =
                |read: fn(&Reported) -> Option<f64>| -> Vec<f64> { ended.iter().filter_map(|run| read(run)).collect() };
            let with_facts = |text: String| if cell.facts > 0 { text } else { String::new() };
            let time = |share| {
                let times: Vec<f64> = runs.iter().filter_map(|run| steps_to(&run.result.curve, share)).collect();
                let missing = runs.len() - times.len();
                let remark = if missing > 0 { format!("\n{missing} never") } else { String::new() };
                with_facts(describe(&times, 0) + &remark)
            };
            let diverged = runs.len() - ended.len();
            rows.push(TableRow {
                cells: vec![
                    cell.facts.to_string(),
                    cell.examples.to_string(),
                    display(optimizer.name.as_str()),
                    with_facts(describe(&ends(|run| run.result.end()?.facts), 2)),
                    with_facts(describe(&ends(|run| run.result.end().map(|end| end.bits)), 2)),
                    time(0.5),
                    time(MEMORISED),
                    describe(&ends(|run| run.result.end().map(|end| end.seen)), 2),
                    describe(&ends(|run| run.result.end().map(|end| end.test)), 3),
                    describe(&ends(|run| run.result.end().map(|end| end.training_loss)), 4),
                    describe(&ends(|run| run.result.spectrum.as_ref().map(|spectrum| spectrum.effective_rank)), 2),
                    if diverged > 0 { diverged.to_string() } else { String::new() },
                ],
                strong: false,
            });
        }
    }
    let header = [
        "Facts",
        "Examples",
        "Optimizer",
        "Facts known",
        "Bits a fact",
        "Steps to 50 %",
        "Steps to 90 %",
        "Seen",
        "Held out",
        "Training loss",
        "Effective rank",
        "Diverged",
    ];
    Table {
        title: "Memorisation and generalisation".into(),
        caption: "Means over seeds with 95 % t intervals. Facts known, seen and held out are shares of right answers at the end; steps are \
                  to a share of the facts; the training loss is in nats per answer; the effective rank of the hidden matrices is a share of \
                  the full one."
            .into(),
        header: header.map(String::from).to_vec(),
        rows,
        data: Some(RUNS.into()),
    }
}

/// The differences of the map, with both accuracies.
fn differences_table(statistics: &Statistics) -> Table {
    let rows = statistics.differences.iter().map(|difference| {
        let of = |read: fn(&(u64, f64, f64)) -> f64| -> Vec<f64> { difference.pairs.iter().map(read).collect() };
        TableRow {
            cells: vec![
                difference.cell.facts.to_string(),
                difference.cell.examples.to_string(),
                difference.reading.name().into(),
                describe(&of(|pair| pair.1), 3),
                describe(&of(|pair| pair.2), 3),
                describe(&of(|pair| pair.2 - pair.1), 3),
                difference.pairs.len().to_string(),
            ],
            strong: difference.reading == Reading::End,
        }
    });
    Table {
        title: "Held-out accuracy of AdamW and Muon".into(),
        caption: "Means over seeds with 95 % t intervals; that of the difference is paired.".into(),
        header: ["Facts", "Examples", "Read", "AdamW", "Muon", "Muon less AdamW", "Seeds"].map(String::from).to_vec(),
        rows: rows.collect(),
        data: Some(DIFFERENCES.into()),
    }
}

/// The chosen rates, and whether the grid would have to be wider.
fn rates_table(preset: &MemorizationPreset, reported: &[Reported]) -> Table {
    let mut rows = Vec::new();
    for cell in preset.cells() {
        for optimizer in &preset.optimizers {
            let Some(run) = reported.iter().find(|run| run.cell == cell && run.optimizer == optimizer.name) else {
                continue;
            };
            let score = &run.scores[run.chosen];
            let mut remarks = Vec::new();
            remarks.extend(edge(run.scores.len(), run.chosen));
            if score.training < preset.choice.learned {
                remarks.push("no rate learned the training answers");
            }
            rows.push(TableRow {
                cells: vec![
                    cell.facts.to_string(),
                    cell.examples.to_string(),
                    display(optimizer.name.as_str()),
                    score.rate.to_string(),
                    format!("{:.2}", score.training),
                    format!("{:.3}", score.validation),
                    remarks.join("; "),
                ],
                strong: false,
            });
        }
    }
    let header = ["Facts", "Examples", "Optimizer", "Rate", "Training answers", "Validation", "Remark"];
    Table {
        title: "Chosen learning rates".into(),
        caption: "Of the hidden matrices, with the accuracies on the tuning seeds that chose them. A rate at an edge of its grid may not be the best."
            .into(),
        header: header.map(String::from).to_vec(),
        rows,
        data: Some(RATES.into()),
    }
}

/// Every reported run with the name of its setting.
fn runs(all: &[Setting]) -> impl Iterator<Item = (&str, &Reported)> {
    all.iter().flat_map(|setting| setting.reported.iter().map(|run| (setting.preset.name.as_str(), run)))
}

/// A row of the file of runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct RunRow<'a> {
    setting: &'a str,
    facts: usize,
    examples: usize,
    optimizer: RuleName,
    seed: u64,
    learning_rate: f64,
    diverged: bool,
    fact_accuracy: Option<f64>,
    bits_per_fact: Option<f64>,
    bits_per_parameter: Option<f64>,
    steps_to_50: Option<f64>,
    steps_to_90: Option<f64>,
    seen: Option<f64>,
    exceptions: Option<f64>,
    validation: Option<f64>,
    test: Option<f64>,
    training_loss: Option<f64>,
    test_loss: Option<f64>,
    effective_rank: Option<f64>,
}

fn run_rows(all: &[Setting]) -> impl Iterator<Item = RunRow<'_>> {
    runs(all).map(|(setting, run)| {
        let (end, curve) = (run.result.end(), &run.result.curve);
        let with_facts = run.cell.facts > 0;
        let bits = end.map(|end| end.bits).filter(|_| with_facts);
        RunRow {
            setting,
            facts: run.cell.facts,
            examples: run.cell.examples,
            optimizer: run.optimizer,
            seed: run.seed,
            learning_rate: run.scores[run.chosen].rate,
            diverged: end.is_none(),
            fact_accuracy: end.and_then(|end| end.facts),
            bits_per_fact: bits,
            bits_per_parameter: bits.map(|bits| bits * run.cell.facts as f64 / run.result.parameters as f64),
            steps_to_50: steps_to(curve, 0.5).filter(|_| with_facts),
            steps_to_90: steps_to(curve, MEMORISED).filter(|_| with_facts),
            seen: end.map(|end| end.seen),
            exceptions: end.and_then(|end| end.exceptions),
            validation: end.map(|end| end.validation),
            test: end.map(|end| end.test),
            training_loss: end.map(|end| end.training_loss),
            test_loss: end.map(|end| end.test_loss),
            effective_rank: run.result.spectrum.as_ref().map(|spectrum| spectrum.effective_rank),
        }
    })
}

/// A row of the file of measurements along the runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct CurveRow {
    facts: usize,
    examples: usize,
    optimizer: RuleName,
    seed: u64,
    step: u64,
    training_loss: f64,
    fact_accuracy: Option<f64>,
    seen: f64,
    validation: f64,
    test: f64,
    test_loss: f64,
}

fn curve_rows(reported: &[Reported]) -> impl Iterator<Item = CurveRow> {
    reported.iter().flat_map(|run| {
        run.result.curve.iter().map(|point| CurveRow {
            facts: run.cell.facts,
            examples: run.cell.examples,
            optimizer: run.optimizer,
            seed: run.seed,
            step: point.step,
            training_loss: point.training_loss,
            fact_accuracy: point.facts,
            seen: point.seen,
            validation: point.validation,
            test: point.test,
            test_loss: point.test_loss,
        })
    })
}

/// A row of the file of differences.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct DifferenceRow {
    facts: usize,
    examples: usize,
    read: &'static str,
    seed: u64,
    adamw: f64,
    muon: f64,
}

fn difference_rows(statistics: &Statistics) -> impl Iterator<Item = DifferenceRow> {
    statistics.differences.iter().flat_map(|difference| {
        let Cell { facts, examples } = difference.cell;
        let read = difference.reading.name();
        difference.pairs.iter().map(move |&(seed, adamw, muon)| DifferenceRow {
            facts,
            examples,
            read,
            seed,
            adamw,
            muon,
        })
    })
}

/// A row of the file of learning rates.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct RateRow<'a> {
    setting: &'a str,
    facts: usize,
    examples: usize,
    optimizer: RuleName,
    learning_rate: f64,
    training_accuracy: f64,
    validation: f64,
    training_loss: f64,
    chosen: bool,
}

fn rate_rows(all: &[Setting]) -> Vec<RateRow<'_>> {
    let mut rows = Vec::new();
    let mut last = None;
    for (setting, run) in runs(all) {
        // All seeds of a setting, cell and optimizer have the same scores.
        let of = (setting, run.cell, run.optimizer);
        if last.replace(of) == Some(of) {
            continue;
        }
        rows.extend(run.scores.iter().enumerate().map(|(place, score)| RateRow {
            setting,
            facts: run.cell.facts,
            examples: run.cell.examples,
            optimizer: run.optimizer,
            learning_rate: score.rate,
            training_accuracy: score.training,
            validation: score.validation,
            training_loss: score.loss,
            chosen: place == run.chosen,
        }));
    }
    rows
}
