//! Passes what made the program on to it: the compiler's version and the commit. Both are written into reports.

use std::ffi::OsStr;
use std::process::Command;

/// What decides the results, seen from this package.
const SOURCES: [&str; 3] = ["../../crates", "../../Cargo.toml", "../../Cargo.lock"];

fn main() {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = output(compiler, &["--version"]).unwrap_or_default();
    println!("cargo::rustc-env=RUSTC_VERSION={version}");
    println!("cargo::rerun-if-changed=build.rs");
    // Whoever develops would build all programs anew after every commit.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        println!("cargo::rustc-env=COMMIT=, built for development");
        return;
    }
    println!("cargo::rustc-env=COMMIT={}", commit().unwrap_or_default());

    // A new commit is a line of this log; a commit of documentation alone builds this package again too, so that "with
    // changes" never stays behind.
    let log = output("git", &["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| std::path::Path::new(log).exists());
    for path in log.iter().map(String::as_str).chain(SOURCES) {
        println!("cargo::rerun-if-changed={path}");
    }
}

/// The last commit that changed the sources and whether they differ from it; nothing outside a repository.
fn commit() -> Option<String> {
    let about_sources = |arguments: &[&str]| output("git", &[arguments, &["--"], &SOURCES].concat());
    let commit = about_sources(&["log", "-1", "--format=%h"]).filter(|commit| !commit.is_empty())?;
    let changes = about_sources(&["status", "--porcelain"])?;
    Some(format!(", commit {commit}{}", if changes.is_empty() { "" } else { " with changes" }))
}

/// What a command prints, if it succeeds.
fn output(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
}
