//! The speed of GPT-2 small on a GPU: tokens a second, the share of the GPU's peak, memory, and PyTorch beside it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use lab::error::LabError;
use lab::store::write_atomic;
use models::{Hardware, Precision};

use serde::Serialize;

use super::peer::Mode;
use super::{BenchOptimizer, Checked, Measurement, Peer, Shape};
use crate::error::{ExperimentError, Result};

/// A row of the CSV file.
#[derive(Serialize)]
struct FileRow {
    program: String,
    optimizer: &'static str,
    step_ms: f64,
    tokens_per_s: f64,
    mfu: f64,
    peak_bytes: Option<u64>,
    loss: f64,
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct GpuOptions {
    /// The GPU.
    pub device: Hardware,
    /// Sequences of 1024 tokens in a step.
    pub batch: usize,
    /// How many of them go through the network at a time; PyTorch is measured only if all do.
    pub micro_batch: usize,
    /// The optimizers.
    pub optimizers: Vec<BenchOptimizer>,
    /// The precisions of our products.
    pub precisions: Vec<Precision>,
    /// The GPU's peak in 10^12 operations a second of dense bf16 products, of which the share is taken.
    pub peak_tflops: f64,
    /// PyTorch, if it is to be measured too.
    pub peer: Option<Peer>,
    /// Where the measurements go as CSV.
    pub csv: Option<PathBuf>,
}

/// Measures everything, each in a process of its own. A measurement that fails is a row that says so; the others are in
/// the table and in the CSV all the same.
///
/// # Errors
/// If the CSV cannot be written; nothing has been measured by then.
pub fn gpu(options: &GpuOptions) -> Result<Checked> {
    if let Some(path) = &options.csv {
        write_atomic(path, b"")?;
    }
    let shape = Shape { batch: options.batch, ..Shape::find("shape", "gpt2-small-1024")? };
    let mut rows = Vec::new();
    for &optimizer in &options.optimizers {
        for &precision in &options.precisions {
            let name = format!("ours, {}", precision.as_str());
            rows.push((name, optimizer, own(&shape, optimizer, precision, options)));
        }
        if let Some(peer) = options.peer.as_ref().filter(|_| options.micro_batch >= options.batch) {
            for mode in [Mode::Bf16, Mode::CompiledBf16] {
                rows.push(match peer.measure(&shape, optimizer, mode, options.device) {
                    Ok((measured, version)) => (format!("{} ({version})", mode.name()), optimizer, Ok(measured)),
                    Err(error) => (mode.name().into(), optimizer, Err(error)),
                });
            }
        }
    }
    let mut table = String::from(
        "| program | optimizer | step, ms | tokens/s | MFU (of the bf16 peak) | peak memory, GB | loss |\n|---|---|---|---|---|---|---|\n",
    );
    let mut measurements = Vec::new();
    let mut failures = Vec::new();
    for (name, optimizer, measured) in rows {
        let Measurement { step_ms, peak_bytes, loss } = match measured {
            Ok(measured) => measured,
            Err(error) => {
                failures.push(format!("{name}, {}: {error}", optimizer.as_str()));
                let _ = writeln!(table, "| {name} | {} | failed | | | | |", optimizer.as_str());
                continue;
            }
        };
        let seconds = step_ms / 1e3;
        let tokens = shape.tokens() as f64 / seconds;
        let mfu = shape.flops() / seconds / (options.peak_tflops * 1e12);
        let memory = peak_bytes.map_or(String::new(), |bytes| format!("{:.1}", bytes as f64 / 1e9));
        let optimizer = optimizer.as_str();
        let _ = writeln!(
            table,
            "| {name} | {optimizer} | {step_ms:.1} | {tokens:.0} | {:.1} % | {memory} | {loss:.3} |",
            100.0 * mfu
        );
        let program = name;
        measurements.push(FileRow { program, optimizer, step_ms, tokens_per_s: tokens, mfu, peak_bytes, loss });
    }
    if let Some(path) = &options.csv {
        write_atomic(path, lab::table::write(measurements).map_err(LabError::from)?.as_bytes())?;
    }
    Ok(Checked { table, failures })
}

/// One measurement of ours, by this program in a process of its own.
fn own(shape: &Shape, optimizer: BenchOptimizer, precision: Precision, options: &GpuOptions) -> Result<Measurement> {
    let program =
        std::env::current_exe().map_err(|source| LabError::ReadFile { path: "train-bench".into(), source })?;
    let mut command = Command::new(&program);
    command.args(["step", shape.name, optimizer.as_str(), precision.as_str()]);
    command.args(["--device", &options.device.to_string(), "--batch", &shape.batch.to_string()]);
    command.args(["--micro-batch", &options.micro_batch.to_string()]);
    let output = command.output().map_err(|source| LabError::ReadFile { path: program, source })?;
    let (errors, text) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let failed = || errors.lines().last().unwrap_or("another output").to_string();
    serde_json::from_str(text.trim()).map_err(|_| ExperimentError::value("train-bench step", failed(), "a measurement"))
}
