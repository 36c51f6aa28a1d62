//! Bytes of prose and of code by package: what to look at before a package is pinned.
//!
//! ```console
//! $ cargo run --release -p corpora --example yield             # of the pinned packages
//! $ cargo run --release -p corpora --example yield -- FOLDER   # of those of another Cargo.toml and Cargo.lock
//! $ cargo run --release -p corpora --example yield -- FOLDER NAME > text   # the prose of one of them, to read
//! ```
//!
//! `alone` is what a package would give by itself, `kept` what is left of it in the corpus: without text that a package
//! before it has too, and cut to the largest share of one package.

use std::path::Path;
use std::process::ExitCode;

use corpora::{Corpus, CorpusError, Document, Package, packages_of, pinned_packages};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), CorpusError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tell = |fetching| eprintln!("{fetching}");
    let packages = match arguments.first() {
        Some(folder) => packages_of(Path::new(folder), tell)?,
        None => pinned_packages(tell)?,
    };
    if let Some(name) = arguments.get(1) {
        let named: Vec<Package> = packages.into_iter().filter(|package| package.name == *name).collect();
        for document in Corpus::of_packages(&named)?.prose {
            println!("=== {} {}\n{}", document.package, document.path, document.text);
        }
        return Ok(());
    }
    let start = std::time::Instant::now();
    let corpus = Corpus::of_packages(&packages)?;
    let seconds = start.elapsed().as_secs_f64();
    let mut rows = Vec::new();
    for package in &packages {
        let alone = Corpus::of_packages(std::slice::from_ref(package))?;
        let name = format!("{} {}", package.name, package.version);
        let kept = |documents: &[Document]| {
            documents.iter().filter(|document| document.package == name).map(|document| document.text.len()).sum()
        };
        let sizes: [usize; 4] =
            [corpora::bytes(&alone.prose), kept(&corpus.prose), corpora::bytes(&alone.code), kept(&corpus.code)];
        rows.push((sizes, name));
    }
    rows.sort();
    println!("{:>12} {:>12} {:>12} {:>12}  package", "prose alone", "prose kept", "code alone", "code kept");
    for ([prose_alone, prose, code_alone, code], name) in rows.iter().rev() {
        println!("{prose_alone:>12} {prose:>12} {code_alone:>12} {code:>12}  {name}");
    }
    println!("{}, read in {seconds:.1} s", corpus.summary());
    Ok(())
}
