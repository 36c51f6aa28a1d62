//! The table: ours and PyTorch's, interleaved, with ratios, as Markdown and CSV.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use super::peer::Mode;
use super::step::{median, product_speed};
use super::{BenchOptimizer, Measurement, Peer, SHAPES, Shape};
use crate::error::{ExperimentError, Result};
use crate::{console, provenance};

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

/// Medians over rounds of one program at one shape.
struct Row {
    shape: Shape,
    optimizer: BenchOptimizer,
    program: String,
    step_ms: f64,
    rounds: usize,
    peak_bytes: Option<u64>,
    /// Median over rounds of this program's time over ours.
    ratio: Option<f64>,
    /// Share of the products' speed that the step's products reach; ours only.
    share: Option<f64>,
}

/// Measures and prints the table.
///
/// # Errors
/// If a shape is unknown, a process fails, or the CSV file cannot be written.
pub fn run(options: &BenchOptions) -> Result<()> {
    let shapes = chosen(&options.shapes)?;
    let mut rows = Vec::new();
    let mut versions = env!("RUSTC_VERSION").to_string();
    for shape in shapes {
        let peak = product_speed(shape.threads)?;
        console::say(&format!(
            "{}: {} threads, f32 product of 1024 x 1024 matrices {:.0} GFLOP/s",
            shape.name,
            shape.threads,
            peak / 1e9
        ));
        for &optimizer in &options.optimizers {
            let mut modes = Vec::new();
            if options.peer.is_some() {
                modes.push(Mode::Eager);
                if options.modes && optimizer == BenchOptimizer::Adamw {
                    modes.extend(Mode::ALL.into_iter().filter(|&mode| mode != Mode::Eager));
                }
            }
            let rounds = options.rounds.unwrap_or(shape.rounds);
            let mut ours: Vec<Measurement> = Vec::new();
            let mut theirs: BTreeMap<Mode, Vec<(Measurement, f64)>> = BTreeMap::new();
            for round in 0..rounds {
                let own = own_step(&shape, optimizer)?;
                let mut line =
                    format!("{} {} round {}: {:.1} ms", shape.name, optimizer.as_str(), round + 1, own.step_ms);
                for &mode in &modes {
                    // Compilation takes a minute each: these modes have half the rounds, one at the least.
                    if mode != Mode::Eager && round > rounds / 2 {
                        continue;
                    }
                    if let Some(peer) = &options.peer {
                        let (found, torch) = peer.measure(&shape, optimizer, mode)?;
                        let _ = write!(line, ", {} {:.1} ms", mode.name(), found.step_ms);
                        theirs.entry(mode).or_default().push((found, found.step_ms / own.step_ms));
                        versions = format!("{}, PyTorch {torch}", env!("RUSTC_VERSION"));
                    }
                }
                ours.push(own);
                console::say(&line);
            }
            rows.push(our_row(shape, optimizer, &ours, peak));
            rows.extend(theirs.into_iter().map(|(mode, found)| their_row(shape, optimizer, mode, &found)));
        }
    }
    println!("{}, {}, {versions}", provenance::date(), provenance::processor());
    print!("\n{}", markdown(&rows));
    if let Some(path) = &options.csv {
        crate::store::write_atomic(path, csv(&rows).as_bytes())?;
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<Shape>> {
    let find = |name: &String| Shape::find("shapes", name);
    if names.is_empty() { Ok(SHAPES.to_vec()) } else { names.iter().map(find).collect() }
}

/// Our step, in a process of its own.
fn own_step(shape: &Shape, optimizer: BenchOptimizer) -> Result<Measurement> {
    let wrong = |found: &str| ExperimentError::value("train-bench step", found, "a measurement as JSON");
    let program = std::env::current_exe().map_err(|error| wrong(&error.to_string()))?;
    let output = Command::new(program)
        .args(["step", shape.name, optimizer.as_str()])
        .output()
        .map_err(|error| wrong(&error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.trim()).map_err(|_| wrong(String::from_utf8_lossy(&output.stderr).trim()))
}

fn our_row(shape: Shape, optimizer: BenchOptimizer, found: &[Measurement], peak: f64) -> Row {
    let step_ms = median(&mut found.iter().map(|m| m.step_ms).collect::<Vec<_>>());
    let muon = if optimizer == BenchOptimizer::Muon { shape.newton_schulz_flops() } else { 0.0 };
    Row {
        shape,
        optimizer,
        program: "ours, f32".into(),
        step_ms,
        rounds: found.len(),
        peak_bytes: found.iter().filter_map(|m| m.peak_bytes).max(),
        ratio: None,
        share: Some((shape.flops() + muon) / (1e-3 * step_ms) / peak),
    }
}

fn their_row(shape: Shape, optimizer: BenchOptimizer, mode: Mode, found: &[(Measurement, f64)]) -> Row {
    Row {
        shape,
        optimizer,
        program: mode.name().into(),
        step_ms: median(&mut found.iter().map(|(m, _)| m.step_ms).collect::<Vec<_>>()),
        rounds: found.len(),
        peak_bytes: found.iter().filter_map(|(m, _)| m.peak_bytes).max(),
        ratio: Some(median(&mut found.iter().map(|(_, ratio)| *ratio).collect::<Vec<_>>())),
        share: None,
    }
}

impl Row {
    fn tokens_per_second(&self) -> f64 {
        self.shape.tokens() as f64 / (1e-3 * self.step_ms)
    }
}

fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| shape | optimizer | program | ms a step | tokens/s | its time over ours | share of product speed | peak memory, MB | rounds |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let ratio = row.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let share = row.share.map_or(String::new(), |share| format!("{:.0} %", 100.0 * share));
        let memory = row.peak_bytes.map_or(String::new(), |bytes| (bytes >> 20).to_string());
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.1} | {:.0} | {ratio} | {share} | {memory} | {} |",
            row.shape.name,
            row.optimizer.as_str(),
            row.program,
            row.step_ms,
            row.tokens_per_second(),
            row.rounds
        );
    }
    text
}

fn csv(rows: &[Row]) -> String {
    let mut text = String::from(
        "shape,threads,optimizer,program,step_ms,tokens_per_s,time_over_ours,product_share,peak_bytes,rounds\n",
    );
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.4}"));
    for row in rows {
        let _ = writeln!(
            text,
            "{},{},{},{},{:.3},{:.1},{},{},{},{}",
            row.shape.name,
            row.shape.threads,
            row.optimizer.as_str(),
            crate::stats::csv::quote(&row.program),
            row.step_ms,
            row.tokens_per_second(),
            number(row.ratio),
            number(row.share),
            row.peak_bytes.map_or(String::new(), |bytes| bytes.to_string()),
            row.rounds
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_shape_is_refused_with_those_there_are() {
        let error = chosen(&["huge".into()]).unwrap_err().to_string();
        assert_eq!(error, "shapes: found huge, expected tiny, small, gpt2-small");
    }

    #[test]
    fn a_ratio_is_the_median_of_ratios_of_pairs_and_not_the_ratio_of_medians() {
        let measured = |step_ms| Measurement { step_ms, peak_bytes: None };
        let pairs = [(measured(10.0), 1.0), (measured(40.0), 2.0), (measured(20.0), 4.0)];
        let row = their_row(SHAPES[0], BenchOptimizer::Adamw, Mode::Eager, &pairs);
        assert_eq!((row.step_ms, row.ratio), (20.0, Some(2.0)));
        assert!(markdown(&[row]).contains("| 20.0 | 102400 | 2.00 |"));
    }

    #[test]
    fn the_share_counts_each_product_once() {
        // GPT-2 small: 124 M weights less positions and vectors, 6 operations each, and attention.
        let flops = SHAPES[2].flops() / SHAPES[2].tokens() as f64;
        assert!((flops / 6.0 - 123.5e6 - 12.0 * 512.0 * 768.0).abs() < 1e6, "{flops:e}");
    }
}
