//! Any experiment of the registry by its name; the list of them, the reference of their flags, and what published rows
//! say.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use experiments::evidence;
use experiments::registry::REGISTRY;
use lab::console;
use lab::error::{LabError, Result};
use lab::program;
use lab::store::write_atomic;

const USAGE: &str = "a name and its flags (experiment NAME --help), `list`, `reference` or `evidence FOLDER`";

const FOLDER: &str = "a folder of published rows with its evidence.toml, such as docs/results";

/// Writes what the published rows of a folder say: `evidence.csv`, and a page for each claim.
fn write_evidence(folder: &Path) -> Result<()> {
    let pages = evidence::pages(folder, &REGISTRY)?;
    let pages = pages.into_iter().map(|page| (page.file, page.text));
    for (file, text) in pages.chain([("evidence.csv".into(), evidence::csv(folder)?)]) {
        let path = folder.join(file);
        write_atomic(&path, text.as_bytes())?;
        console::print_line(&path.display().to_string());
    }
    Ok(())
}

fn execute(mut arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let name = arguments.next().map(|name| name.to_string_lossy().into_owned());
    match name.as_deref() {
        Some("list") => REGISTRY
            .experiments
            .iter()
            .for_each(|one| console::print_line(&format!("{:<16} {}", one.name(), one.title()))),
        Some("reference") => console::print(&REGISTRY.reference()),
        Some("evidence") => {
            let folder = arguments.next().ok_or_else(|| LabError::value("experiment evidence", "nothing", FOLDER))?;
            write_evidence(Path::new(&folder))?;
        }
        Some("--help" | "-h") => {
            console::print_line(&format!("experiment: {USAGE}; the experiments are {}", REGISTRY.names().join(", ")))
        }
        Some(name) => return REGISTRY.execute(name, arguments),
        None => return Err(LabError::value("experiment", "nothing", USAGE)),
    }
    Ok(())
}

fn main() -> ExitCode {
    program::main(|| execute(std::env::args_os().skip(1)))
}
