//! The section of `memorization` in the report: scorecard, figures, tables, and the files with the numbers.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use models::Precision;

use super::drawing;
use super::preset::{Cell, Preset};
use super::statistics::{MEMORISED, Reading, Statistics, steps_to};
use super::tuning::LEARNED;
use super::{Options, Reported, Setting, settings};
use crate::error::Result;
use crate::figures::{Figure, save};
use crate::preset::OptimizerName;
use crate::provenance;
use crate::report::{FIGURES, FigureEntry, Report, Section, Table, TableRow};
use crate::stats::MeanInterval;
use crate::stats::names::display;
use crate::store::write_atomic;

/// One row a reported run of any setting.
const RUNS: &str = "memorization.csv";
/// One row a measurement along a reported run.
const CURVES: &str = "memorization-curves.csv";
/// One row a seed, cell and reading.
const DIFFERENCES: &str = "memorization-differences.csv";
/// One row a learning rate of a setting's cell.
const RATES: &str = "memorization-rates.csv";

/// Writes figures, tables, section and page into `folder`; returns the page's path.
pub(super) fn write(options: &Options, all: &[Setting], seconds: f64, folder: &Path) -> Result<PathBuf> {
    let (Setting { preset, reported, statistics }, varied) = (&all[0], &all[1..]);
    for (name, text) in [
        (RUNS, runs_csv(all)),
        (CURVES, curves_csv(reported)),
        (DIFFERENCES, differences_csv(statistics)),
        (RATES, rates_csv(all)),
    ] {
        write_atomic(&folder.join(name), text.as_bytes())?;
    }
    let mut section = Section::new("memorization", "Rote memorisation and a pattern with few examples");
    section.order = 40;
    section.introduction = introduction(preset, statistics);
    section.scorecard = statistics.scorecard.clone();
    section.controls = statistics.controls.clone();
    let mut add = |figure: &dyn Fn(&Path) -> Result<String>, caption: String, data: &str| -> Result<()> {
        let name = figure(&folder.join(FIGURES))?;
        section.figures.push(FigureEntry { name, caption, data: Some(data.into()) });
        Ok(())
    };
    let seeds = seeds(preset);
    let caption = format!(
        "Muon's accuracy on held-out instances less AdamW's in every cell: mean over {seeds} with its paired 95 % t interval, bold \
         where the interval does not hold zero."
    );
    add(&|to| saved(&drawing::map(preset, statistics), to), caption, DIFFERENCES)?;
    let caption = format!(
        "Accuracy on held-out instances at the end, each optimizer at its chosen learning rate: means over {seeds} with 95 % t \
         intervals."
    );
    add(&|to| saved(&drawing::generalisation(preset, reported), to), caption, RUNS)?;
    let shown = shown_cells(preset.cells(), statistics);
    if let Some(&cell) = shown.first() {
        let caption =
            format!("Along the runs of one cell: means over {seeds}, each optimizer at its chosen learning rate.");
        add(&|to| saved(&drawing::curves(preset, reported, cell), to), caption, CURVES)?;
    }
    let caption = format!(
        "Singular values of the matrices inside the blocks at the end, each matrix's divided by its largest: means over matrices and \
         {seeds}."
    );
    add(&|to| saved(&drawing::spectra(preset, reported, &shown), to), caption, RUNS)?;
    if !varied.is_empty() {
        for (figure, caption) in [
            (
                settings::accuracies(varied),
                "AdamW's accuracy on held-out instances less Muon's in the cells of the verdict",
            ),
            (settings::speeds(varied), "How much sooner Muon knows 90 % of the facts"),
        ] {
            let caption = format!("{caption}, in every setting: means over seeds with paired 95 % t intervals.");
            add(&|to| saved(&figure, to), caption, settings::EFFECTS)?;
        }
    }
    section.tables = vec![cells_table(preset, reported), differences_table(statistics), rates_table(preset, reported)];
    if !varied.is_empty() {
        write_atomic(&folder.join(settings::EFFECTS), settings::csv(varied).as_bytes())?;
        section.tables.insert(0, settings::table(varied));
    }
    let arithmetic = provenance::arithmetic(Precision::F32, preset.device);
    section.provenance = provenance::lines(&options.command, seconds, arithmetic);
    for optimizer in &preset.optimizers {
        if let Some(run) = reported.iter().find(|run| run.optimizer == optimizer.name) {
            section.provenance.push((display(optimizer.name.as_str()), run.result.policy.join("; ")));
        }
    }
    section.write(folder)?;
    Ok(Report::read(folder)?.write(folder)?)
}

fn saved(figure: &impl Figure, folder: &Path) -> Result<String> {
    save(figure, folder)?;
    Ok(figure.name())
}

/// The number of seeds in words.
fn seeds(preset: &Preset) -> String {
    match preset.control_seeds {
        Some(controls) if controls < preset.seeds => {
            format!("{} seeds ({controls} without facts, and of other optimizers than AdamW and Muon)", preset.seeds)
        }
        _ => format!("{} seeds", preset.seeds),
    }
}

/// The cells whose curves and spectra are drawn: of those with few examples the one with the most facts and examples, that one without
/// facts, and the one with the most examples.
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

fn introduction(preset: &Preset, statistics: &Statistics) -> Vec<String> {
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
            100.0 * LEARNED,
            preset.tuning_seeds
        ),
    ]
}

fn interval(numbers: &[f64], digits: usize) -> String {
    match MeanInterval::arithmetic(numbers) {
        Some(MeanInterval { mean, bounds: Some((low, high)), .. }) => {
            format!("{mean:.digits$} [{low:.digits$}, {high:.digits$}]")
        }
        Some(MeanInterval { mean, .. }) => format!("{mean:.digits$}"),
        None => "none".into(),
    }
}

/// What came out in every cell for every optimizer.
fn cells_table(preset: &Preset, reported: &[Reported]) -> Table {
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
                with_facts(interval(&times, 0) + &remark)
            };
            let diverged = runs.len() - ended.len();
            rows.push(TableRow {
                cells: vec![
                    cell.facts.to_string(),
                    cell.examples.to_string(),
                    display(optimizer.name.as_str()),
                    with_facts(interval(&ends(|run| run.result.end()?.facts), 2)),
                    with_facts(interval(&ends(|run| run.result.end().map(|end| end.bits)), 2)),
                    time(0.5),
                    time(MEMORISED),
                    interval(&ends(|run| run.result.end().map(|end| end.seen)), 2),
                    interval(&ends(|run| run.result.end().map(|end| end.test)), 3),
                    interval(&ends(|run| run.result.end().map(|end| end.training_loss)), 4),
                    interval(&ends(|run| run.result.spectrum.as_ref().map(|spectrum| spectrum.effective_rank)), 2),
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
                interval(&of(|pair| pair.1), 3),
                interval(&of(|pair| pair.2), 3),
                interval(&of(|pair| pair.2 - pair.1), 3),
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
fn rates_table(preset: &Preset, reported: &[Reported]) -> Table {
    let mut rows = Vec::new();
    for cell in preset.cells() {
        for optimizer in &preset.optimizers {
            let Some(run) = reported.iter().find(|run| run.cell == cell && run.optimizer == optimizer.name) else {
                continue;
            };
            let score = &run.scores[run.chosen];
            let mut remarks = Vec::new();
            remarks.extend(edge(run));
            if score.training < LEARNED {
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

pub(super) fn edge(run: &Reported) -> Option<&'static str> {
    match run.chosen {
        _ if run.scores.len() == 1 => Some("the only rate"),
        0 => Some("lowest of its grid"),
        place if place + 1 == run.scores.len() => Some("highest of its grid"),
        _ => None,
    }
}

/// A number that reads back to the same bits, or nothing.
pub(super) fn field(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| format!("{value:?}"))
}

fn names(cell: Cell, optimizer: OptimizerName) -> String {
    format!("{},{},{}", cell.facts, cell.examples, optimizer.as_str())
}

/// Every reported run with the name of its setting.
fn runs(all: &[Setting]) -> impl Iterator<Item = (&str, &Reported)> {
    all.iter().flat_map(|setting| setting.reported.iter().map(|run| (setting.preset.name.as_str(), run)))
}

fn runs_csv(all: &[Setting]) -> String {
    let mut text = String::from(
        "setting,facts,examples,optimizer,seed,learning_rate,diverged,fact_accuracy,bits_per_fact,bits_per_parameter,steps_to_50,steps_to_90,seen,\
         exceptions,validation,test,training_loss,test_loss,effective_rank\n",
    );
    for (setting, run) in runs(all) {
        let (end, curve) = (run.result.end(), &run.result.curve);
        let with_facts = run.cell.facts > 0;
        let bits = end.map(|end| end.bits).filter(|_| with_facts);
        let numbers = [
            end.and_then(|end| end.facts),
            bits,
            bits.map(|bits| bits * run.cell.facts as f64 / run.result.parameters as f64),
            steps_to(curve, 0.5).filter(|_| with_facts),
            steps_to(curve, MEMORISED).filter(|_| with_facts),
            end.map(|end| end.seen),
            end.and_then(|end| end.exceptions),
            end.map(|end| end.validation),
            end.map(|end| end.test),
            end.map(|end| end.training_loss),
            end.map(|end| end.test_loss),
            run.result.spectrum.as_ref().map(|spectrum| spectrum.effective_rank),
        ];
        let (names, rate) = (names(run.cell, run.optimizer), run.scores[run.chosen].rate);
        let _ = writeln!(
            text,
            "{setting},{names},{},{rate:?},{},{}",
            run.seed,
            end.is_none(),
            numbers.map(field).join(",")
        );
    }
    text
}

fn curves_csv(reported: &[Reported]) -> String {
    let mut text =
        String::from("facts,examples,optimizer,seed,step,training_loss,fact_accuracy,seen,validation,test,test_loss\n");
    for run in reported {
        for point in &run.result.curve {
            let numbers = [
                Some(point.training_loss),
                point.facts,
                Some(point.seen),
                Some(point.validation),
                Some(point.test),
                Some(point.test_loss),
            ];
            let names = names(run.cell, run.optimizer);
            let _ = writeln!(text, "{names},{},{},{}", run.seed, point.step, numbers.map(field).join(","));
        }
    }
    text
}

fn differences_csv(statistics: &Statistics) -> String {
    let mut text = String::from("facts,examples,read,seed,adamw,muon\n");
    for difference in &statistics.differences {
        let Cell { facts, examples } = difference.cell;
        for (seed, adamw, muon) in &difference.pairs {
            let _ = writeln!(text, "{facts},{examples},{},{seed},{adamw:?},{muon:?}", difference.reading.name());
        }
    }
    text
}

fn rates_csv(all: &[Setting]) -> String {
    let mut text = String::from(
        "setting,facts,examples,optimizer,learning_rate,training_accuracy,validation,training_loss,chosen\n",
    );
    let mut last = None;
    for (setting, run) in runs(all) {
        // All seeds of a setting, cell and optimizer have the same scores.
        let of = (setting, run.cell, run.optimizer);
        if last.replace(of) == Some(of) {
            continue;
        }
        for (place, score) in run.scores.iter().enumerate() {
            let _ = writeln!(
                text,
                "{setting},{},{:?},{:?},{:?},{:?},{}",
                names(run.cell, run.optimizer),
                score.rate,
                score.training,
                score.validation,
                score.loss,
                place == run.chosen
            );
        }
    }
    text
}
