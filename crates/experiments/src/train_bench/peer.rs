//! The PyTorch peer: a script that times the same step and prints one JSON line.

use std::process::Command;

use models::Hardware;
use serde::Deserialize;

use super::{BenchOptimizer, Measurement, Peer, Shape, Timed};
use lab::error::LabError;

use crate::error::{ExperimentError, Result};

/// How PyTorch runs the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    Eager,
    Compiled,
    Bf16,
    CompiledBf16,
}

impl Mode {
    pub(super) const ALL: [Self; 4] = [Self::Eager, Self::Compiled, Self::Bf16, Self::CompiledBf16];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Eager => "PyTorch eager",
            Self::Compiled => "PyTorch compiled",
            Self::Bf16 => "PyTorch bf16 autocast",
            Self::CompiledBf16 => "PyTorch compiled, bf16",
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Eager => &[],
            Self::Compiled => &["--compile"],
            Self::Bf16 => &["--dtype", "bf16"],
            Self::CompiledBf16 => &["--compile", "--dtype", "bf16"],
        }
    }
}

/// Runs the script as if called directly, then prints the largest resident set of the process in kilobytes.
const WRAPPER: &str = "import resource, runpy, sys\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n\
                       print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)";

/// What of the script's line is read.
#[derive(Deserialize)]
struct Line {
    torch: String,
    step_ms: f64,
    loss: f64,
    /// Peak of a GPU's memory, if the script tells it: `torch.cuda.max_memory_allocated()`.
    peak_bytes: Option<u64>,
}

impl Peer {
    /// One measurement, and PyTorch's version.
    ///
    /// # Errors
    /// If Python cannot be started, the script fails, or prints something else.
    pub(super) fn measure(
        &self,
        shape: &Shape,
        optimizer: BenchOptimizer,
        mode: Mode,
        device: Hardware,
    ) -> Result<(Measurement, String)> {
        let failed =
            |what: String| ExperimentError::value(self.script.display().to_string(), what, "a JSON line with step_ms");
        let mut command = Command::new(&self.python);
        command.arg("-c").arg(WRAPPER).arg(&self.script);
        let numbers = [
            ("--vocab", shape.vocabulary),
            ("--ctx", shape.context),
            ("--layers", shape.layers),
            ("--dim", shape.width),
            ("--heads", shape.heads),
            ("--batch", shape.batch),
            ("--steps", shape.steps),
            ("--warmup", shape.warmup),
            ("--threads", shape.threads),
        ];
        for (flag, number) in numbers {
            command.arg(flag).arg(number.to_string());
        }
        command.args(["--optimizer", optimizer.as_str()]).args(mode.flags());
        if shape.timed == Timed::Evaluation {
            command.arg("--evaluate");
        }
        if device != Hardware::Cpu {
            command.args(["--device", &device.to_string()]);
        }
        for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(variable, shape.threads.to_string());
        }
        let output = command.output().map_err(|source| LabError::ReadFile { path: self.python.clone(), source })?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(failed(errors.lines().last().unwrap_or("an error without a message").into()));
        }
        parse(&String::from_utf8_lossy(&output.stdout), device).ok_or_else(|| failed("other output".into()))
    }
}

/// The measurement in the script's output, and PyTorch's version. The memory is that of `device`.
fn parse(output: &str, device: Hardware) -> Option<(Measurement, String)> {
    let line: Line = output.lines().find_map(|line| serde_json::from_str(line).ok())?;
    let kilobytes: Option<u64> = output.lines().last().and_then(|line| line.trim().parse().ok());
    let peak_bytes = match device {
        Hardware::Cpu => kilobytes.map(|k| k << 10),
        Hardware::Cuda(_) => line.peak_bytes,
    };
    Some((Measurement { step_ms: line.step_ms, peak_bytes, loss: line.loss }, line.torch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_line_is_found_among_others() {
        let output = "a warning\n{\"torch\": \"2.15.0\", \"step_ms\": 195.3, \"loss\": 5.2}\n512000\n";
        let (found, version) = parse(output, Hardware::Cpu).unwrap();
        assert_eq!((found.step_ms, found.peak_bytes, version.as_str()), (195.3, Some(512_000 << 10), "2.15.0"));
        assert!(parse("no measurement\n", Hardware::Cpu).is_none());
    }

    #[test]
    fn the_memory_of_the_process_is_never_taken_for_a_gpus() {
        let peak = |output: &str| parse(output, Hardware::Cuda(0)).unwrap().0.peak_bytes;
        assert_eq!(peak("{\"torch\": \"2.15.0\", \"step_ms\": 1.0, \"loss\": 5.2}\n512000\n"), None);
        let told = "{\"torch\": \"2.15.0\", \"step_ms\": 1.0, \"loss\": 5.2, \"peak_bytes\": 77}\n512000\n";
        assert_eq!(peak(told), Some(77));
    }

    #[test]
    fn a_missing_python_is_one_line_that_names_it() {
        let peer = Peer { python: "/nowhere/python".into(), script: "peer.py".into() };
        let error =
            peer.measure(&super::super::SHAPES[0], BenchOptimizer::Adamw, Mode::Eager, Hardware::Cpu).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/python: "), "{error}");
    }
}
