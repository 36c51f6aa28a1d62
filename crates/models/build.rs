//! Compiles the CUDA kernels of `src/ops/cuda/kernels` where a feature asks for them; a plain build does nothing here.
//!
//! - `cuda`: `nvcc` makes PTX of every file, which the driver translates for the GPU at hand.
//! - `cuda-emulation`: a C++ compiler makes a library of the same files that runs on the processor.

use std::path::{Path, PathBuf};
use std::process::Command;

const KERNELS: &str = "src/ops/cuda/kernels";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(kernels)");
    println!("cargo::rerun-if-changed=build.rs");
    let feature = |name: &str| std::env::var_os(format!("CARGO_FEATURE_{name}")).is_some();
    let result = match (feature("CUDA"), feature("CUDA_EMULATION")) {
        (false, false) => return,
        (_, true) => emulation(),
        (true, false) => ptx(),
    };
    println!("cargo::rustc-cfg=kernels");
    println!("cargo::rerun-if-changed={KERNELS}");
    if let Err(problem) = result {
        println!("cargo::error={problem}");
    }
}

fn out_folder() -> PathBuf {
    std::env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default()
}

/// The `.cu` files, sorted.
fn sources() -> Result<Vec<PathBuf>, String> {
    let files = std::fs::read_dir(KERNELS).map_err(|e| format!("{KERNELS}: {e}"))?;
    let mut sources: Vec<PathBuf> = files
        .filter_map(|file| file.ok().map(|file| file.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "cu"))
        .collect();
    sources.sort();
    Ok(sources)
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{program}: {e} (docs/gpu.md says what a build needs)"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).replace('\n', " "))),
    }
}

/// A variable that the result depends on.
fn variable(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn nvcc() -> PathBuf {
    if let Some(nvcc) = variable("NVCC") {
        return nvcc.into();
    }
    let mut homes =
        ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(variable).map(|home| Path::new(&home).join("bin/nvcc"));
    homes.find(|nvcc| nvcc.is_file()).unwrap_or_else(|| "nvcc".into())
}

/// The compute capability to compile for, as two or three digits: that of `CUDA_COMPUTE_CAP`, of this machine's GPU, or
/// 80, the first with bf16.
fn compute_capability() -> String {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    if let Some(given) = variable("CUDA_COMPUTE_CAP") {
        return digits(&given);
    }
    let query = Command::new("nvidia-smi").args(["--query-gpu=compute_cap", "--format=csv,noheader"]).output();
    let found = query.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let found = found.as_deref().and_then(|text| text.lines().next()).map(digits);
    found.filter(|digits| !digits.is_empty()).unwrap_or_else(|| "80".into())
}

fn ptx() -> Result<(), String> {
    let capability = compute_capability();
    if capability.parse::<u32>().is_ok_and(|number| number < 80) {
        return Err(format!("CUDA_COMPUTE_CAP: found {capability}, expected at least 80, the first with bf16"));
    }
    let architecture = format!("-arch=compute_{capability}");
    for source in sources()? {
        let target = out_folder().join(source.file_name().unwrap_or_default()).with_extension("ptx");
        let options = ["--ptx", "-O3", "-std=c++17", &architecture];
        run(Command::new(nvcc()).args(options).arg("-o").arg(target).arg(source))?;
    }
    Ok(())
}

fn emulation() -> Result<(), String> {
    let compiler = variable("CXX").unwrap_or_else(|| "c++".into());
    let mut sources = sources()?;
    sources.push(Path::new(KERNELS).join("emulation.cpp"));
    let mut objects = Vec::new();
    for source in sources {
        let object = out_folder().join(source.file_name().unwrap_or_default()).with_extension("o");
        let options = ["-c", "-x", "c++", "-std=c++17", "-O2", "-fPIC", "-DEMULATION", "-Wall", "-Wno-unknown-pragmas"];
        run(Command::new(&compiler).args(options).arg("-o").arg(&object).arg(source))?;
        objects.push(object);
    }
    let library = out_folder().join("libkernels.a");
    let _ = std::fs::remove_file(&library);
    run(Command::new("ar").arg("crs").arg(&library).args(objects))?;
    println!("cargo::rustc-link-search=native={}", out_folder().display());
    // Kernels are found by name: nothing refers to their object files.
    println!("cargo::rustc-link-lib=static:+whole-archive=kernels");
    println!("cargo::rustc-link-lib=dylib=stdc++");
    Ok(())
}
