//! The table: ours and PyTorch's, interleaved, with ratios, as Markdown and CSV.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use lab::error::LabError;
use lab::store::write_atomic;
use lab::{console, provenance, table};
use models::Precision;
use serde::Serialize;

use super::peer::Mode;
use super::step::{median, product_speed};
use super::{BenchOptimizer, Measurement, Peer, SHAPES, Shape, Timed};
use crate::error::{ExperimentError, Result};

/// What to measure.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// Names of shapes; all where none is given.
    pub shapes: Vec<String>,
    /// The optimizers.
    pub optimizers: Vec<BenchOptimizer>,
    /// Rounds in place of each shape's own.
    pub rounds: Option<usize>,
    /// PyTorch, if it is to be measured too.
    pub peer: Option<Peer>,
    /// Whether compiled and bf16 PyTorch are measured (once a shape, AdamW).
    pub modes: bool,
    /// Where the measurements go as CSV.
    pub csv: Option<PathBuf>,
}

/// Something whose step is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Program {
    /// This one, with products in that precision.
    Ours(Products),
    /// PyTorch.
    Torch(Mode),
}

/// The precisions of our products that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Products {
    F32,
    Bf16,
}

impl Products {
    const ALL: [Self; 2] = [Self::F32, Self::Bf16];

    fn precision(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Ours(Products::F32) => "ours, f32",
            Self::Ours(Products::Bf16) => "ours, bf16",
            Self::Torch(mode) => mode.name(),
        }
    }

    /// Whether it is measured in half the rounds only, one at the least: compilation takes a minute each time.
    fn in_half_the_rounds(self) -> bool {
        matches!(self, Self::Torch(mode) if mode != Mode::Eager)
    }
}

/// What one round measured.
type Round = BTreeMap<Program, Measurement>;

/// Medians over rounds of one program at one shape.
struct Row {
    shape: Shape,
    optimizer: BenchOptimizer,
    program: Program,
    step_ms: f64,
    rounds: usize,
    peak_bytes: Option<u64>,
    /// Ours only, where two precisions start from the same weights.
    loss: Option<f64>,
    /// Medians over rounds of this program's time over ours in the same round, for each of [`Products::ALL`].
    ratios: [Option<f64>; 2],
    /// Share of the speed of a large product that the step's products reach; ours with AdamW only, since Muon's are not
    /// counted.
    share: Option<f64>,
}

/// Measures and prints the table.
///
/// # Errors
/// If a shape is unknown, a process fails, or the CSV file cannot be written.
pub fn run(options: &BenchOptions) -> Result<()> {
    let shapes = chosen(&options.shapes)?;
    let mut rows = Vec::new();
    let mut versions = provenance::COMPILER.to_string();
    for shape in shapes {
        let mut peaks = [0.0; 2];
        for (peak, products) in peaks.iter_mut().zip(Products::ALL) {
            *peak = product_speed(shape.threads, products.precision())?;
        }
        console::say(&format!(
            "{}: {} threads, product of 1024 x 1024 matrices {:.0} GFLOP/s in f32, {:.0} in bf16",
            shape.name,
            shape.threads,
            peaks[0] / 1e9,
            peaks[1] / 1e9
        ));
        // An evaluation knows no optimizer.
        let optimizers = match shape.timed {
            Timed::Step => &options.optimizers[..],
            Timed::Evaluation => &[BenchOptimizer::Adamw],
        };
        for &optimizer in optimizers {
            let programs = programs(options, optimizer);
            let count = options.rounds.unwrap_or(shape.rounds);
            let mut rounds: Vec<Round> = Vec::new();
            for number in 0..count {
                let mut round = Round::new();
                let mut line = format!("{} {} round {}:", shape.name, optimizer.as_str(), number + 1);
                for &program in &programs {
                    if program.in_half_the_rounds() && number > count / 2 {
                        continue;
                    }
                    let found = match (program, &options.peer) {
                        (Program::Ours(products), _) => own_step(&shape, optimizer, products.precision())?,
                        (Program::Torch(mode), Some(peer)) => {
                            let (found, torch) = peer.measure(&shape, optimizer, mode, models::Hardware::Cpu)?;
                            versions = format!("{}, PyTorch {torch}", provenance::COMPILER);
                            found
                        }
                        (Program::Torch(_), None) => continue,
                    };
                    let _ = write!(line, " {} {:.1} ms;", program.name(), found.step_ms);
                    round.insert(program, found);
                }
                console::say(line.trim_end_matches(';'));
                rounds.push(round);
            }
            rows.extend(programs.into_iter().map(|program| row(shape, optimizer, program, &rounds, peaks)));
        }
    }
    console::print_line(&format!("{}, {}, {versions}", provenance::date(), provenance::processor()));
    console::print(&format!("\n{}", markdown(&rows)));
    if let Some(path) = &options.csv {
        write_atomic(path, table::write(file_rows(&rows)).map_err(LabError::from)?.as_bytes())?;
    }
    Ok(())
}

/// What is measured with an optimizer: ours, PyTorch eager, and, with AdamW, its other ways.
fn programs(options: &BenchOptions, optimizer: BenchOptimizer) -> Vec<Program> {
    let mut programs: Vec<Program> = Products::ALL.map(Program::Ours).into();
    if options.peer.is_some() {
        let others = options.modes && optimizer == BenchOptimizer::Adamw;
        let modes = Mode::ALL.into_iter().filter(|&mode| others || mode == Mode::Eager);
        programs.extend(modes.map(Program::Torch));
    }
    programs
}

/// A program's medians over the rounds that measured it.
fn row(shape: Shape, optimizer: BenchOptimizer, program: Program, rounds: &[Round], peaks: [f64; 2]) -> Row {
    let found: Vec<&Round> = rounds.iter().filter(|round| round.contains_key(&program)).collect();
    let step_ms = median(&mut found.iter().map(|round| round[&program].step_ms).collect::<Vec<_>>());
    let ratio = |products: Products| {
        let base = Program::Ours(products);
        let of = |round: &&Round| round.get(&base).map(|ours| round[&program].step_ms / ours.step_ms);
        let mut ratios: Vec<f64> = found.iter().filter_map(of).collect();
        (program != base && !ratios.is_empty()).then(|| median(&mut ratios))
    };
    let share = match (program, optimizer) {
        (Program::Ours(products), BenchOptimizer::Adamw) => {
            Some(shape.flops() / (1e-3 * step_ms) / peaks[usize::from(products == Products::Bf16)])
        }
        _ => None,
    };
    Row {
        shape,
        optimizer,
        program,
        step_ms,
        rounds: found.len(),
        peak_bytes: found.iter().filter_map(|round| round[&program].peak_bytes).max(),
        loss: found.last().map(|round| round[&program].loss).filter(|_| matches!(program, Program::Ours(_))),
        ratios: Products::ALL.map(ratio),
        share,
    }
}

fn chosen(names: &[String]) -> Result<Vec<Shape>> {
    let find = |name: &String| Shape::find("shapes", name);
    if names.is_empty() { Ok(SHAPES.to_vec()) } else { names.iter().map(find).collect() }
}

/// Our step, in a process of its own.
fn own_step(shape: &Shape, optimizer: BenchOptimizer, precision: Precision) -> Result<Measurement> {
    let wrong = |found: &str| ExperimentError::value("train-bench step", found, "a measurement as JSON");
    let program = std::env::current_exe().map_err(|error| wrong(&error.to_string()))?;
    let output = Command::new(program)
        .args(["step", shape.name, optimizer.as_str(), precision.as_str()])
        .output()
        .map_err(|error| wrong(&error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.trim()).map_err(|_| wrong(String::from_utf8_lossy(&output.stderr).trim()))
}

impl Row {
    fn tokens_per_second(&self) -> f64 {
        self.shape.tokens() as f64 / (1e-3 * self.step_ms)
    }
}

fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| shape | optimizer | program | ms a step | tokens/s | its time over ours, f32 | over ours, bf16 | share of product speed | peak memory, MB | loss | rounds |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let [f32_ratio, bf16_ratio] =
            row.ratios.map(|ratio| ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")));
        let share = row.share.map_or(String::new(), |share| format!("{:.0} %", 100.0 * share));
        let loss = row.loss.map_or(String::new(), |loss| format!("{loss:.4}"));
        let memory = row.peak_bytes.map_or(String::new(), |bytes| (bytes >> 20).to_string());
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.1} | {:.0} | {f32_ratio} | {bf16_ratio} | {share} | {memory} | {loss} | {} |",
            row.shape.name,
            row.optimizer.as_str(),
            row.program.name(),
            row.step_ms,
            row.tokens_per_second(),
            row.rounds
        );
    }
    text
}

/// A row of the CSV file; numbers are rounded to what the clock can tell.
#[derive(Serialize)]
struct FileRow<'a> {
    shape: &'a str,
    threads: usize,
    optimizer: &'a str,
    program: &'a str,
    step_ms: f64,
    tokens_per_s: f64,
    time_over_ours: Option<f64>,
    time_over_ours_bf16: Option<f64>,
    product_share: Option<f64>,
    peak_bytes: Option<u64>,
    loss: Option<f64>,
    rounds: usize,
}

fn file_rows(rows: &[Row]) -> impl Iterator<Item = FileRow<'_>> {
    let rounded = |value: f64| (value * 1e4).round() / 1e4;
    rows.iter().map(move |row| FileRow {
        shape: row.shape.name,
        threads: row.shape.threads,
        optimizer: row.optimizer.as_str(),
        program: row.program.name(),
        step_ms: rounded(row.step_ms),
        tokens_per_s: rounded(row.tokens_per_second()),
        time_over_ours: row.ratios[0].map(rounded),
        time_over_ours_bf16: row.ratios[1].map(rounded),
        product_share: row.share.map(rounded),
        peak_bytes: row.peak_bytes,
        loss: row.loss.map(rounded),
        rounds: row.rounds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_shape_is_refused_with_those_there_are() {
        let error = chosen(&["huge".into()]).unwrap_err().to_string();
        assert_eq!(error, "shapes: found huge, expected tiny, finetune, evaluate, small, gpt2-small");
    }

    #[test]
    fn a_ratio_is_the_median_of_ratios_within_rounds_and_not_the_ratio_of_medians() {
        let (ours, eager) = (Program::Ours(Products::F32), Program::Torch(Mode::Eager));
        let round = |a: f64, b: f64| {
            [(ours, a), (eager, b)].map(|(p, step_ms)| (p, Measurement { step_ms, peak_bytes: None, loss: 1.0 })).into()
        };
        let rounds: [Round; 3] = [round(10.0, 10.0), round(20.0, 40.0), round(5.0, 20.0)];
        let row = row(SHAPES[0], BenchOptimizer::Adamw, eager, &rounds, [1e9; 2]);
        assert_eq!((row.step_ms, row.ratios), (20.0, [Some(2.0), None]));
        assert!(markdown(&[row]).contains("| 20.0 | 102400 | 2.00 |"));
    }

    #[test]
    fn the_share_counts_each_product_once() {
        // GPT-2 small: 124 M weights less positions and vectors, 6 operations each, and attention.
        let flops = SHAPES[4].flops() / SHAPES[4].tokens() as f64;
        assert!((flops / 6.0 - 123.5e6 - 12.0 * 512.0 * 768.0).abs() < 1e6, "{flops:e}");
    }
}
