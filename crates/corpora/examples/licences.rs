//! The licences of the pinned packages as Markdown, from the packages' own manifests: what docs/corpus.md ends with.
//!
//! ```console
//! $ cargo run -p corpora --example licences
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

use corpora::{Package, pinned_packages};
use serde::Deserialize;

#[derive(Deserialize)]
struct Manifest {
    package: Licence,
}

#[derive(Deserialize)]
struct Licence {
    license: Option<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let packages = pinned_packages(|fetching| eprintln!("{fetching}"))?;
    let licences = packages.iter().map(licence).collect::<Result<Vec<String>, _>>()?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for licence in &licences {
        *counts.entry(licence).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|&(licence, count)| (std::cmp::Reverse(count), licence));
    println!("| licence | packages |\n|---|---|");
    for (licence, count) in counts {
        println!("| {licence} | {count} |");
    }
    println!("\n| package | version | licence |\n|---|---|---|");
    for (package, licence) in packages.iter().zip(&licences) {
        println!("| {} | {} | {licence} |", package.name, package.version);
    }
    Ok(())
}

/// The SPDX expression of a package's manifest, with the sides of a plain choice in order.
fn licence(package: &Package) -> Result<String, Box<dyn Error>> {
    let path = package.folder.join("Cargo.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let manifest: Manifest =
        toml::from_str(&text).map_err(|error| format!("{}: {}", path.display(), error.message()))?;
    let expression = manifest.package.license.ok_or_else(|| format!("{}: found no licence", path.display()))?;
    // Older manifests write a choice with a slash.
    let expression = expression.replace('/', " OR ");
    if expression.contains('(') || expression.contains(" AND ") {
        return Ok(expression);
    }
    let mut sides: Vec<&str> = expression.split(" OR ").map(str::trim).collect();
    sides.sort_unstable();
    Ok(sides.join(" OR "))
}
