//! Any experiment of the registry by its name; the list of them, and the reference of their flags.

use std::ffi::OsString;
use std::process::ExitCode;

use experiments::registry::REGISTRY;
use lab::console;
use lab::error::{LabError, Result};
use lab::program;

const USAGE: &str = "a name and its flags (experiment NAME --help), `list` or `reference`";

fn execute(mut arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let name = arguments.next().map(|name| name.to_string_lossy().into_owned());
    match name.as_deref() {
        Some("list") => REGISTRY
            .experiments
            .iter()
            .for_each(|one| console::print_line(&format!("{:<16} {}", one.name(), one.title()))),
        Some("reference") => console::print(&REGISTRY.reference()),
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
