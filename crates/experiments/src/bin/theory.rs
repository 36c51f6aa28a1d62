//! The program of the experiment `theory`.

use std::process::ExitCode;

use experiments::registry::REGISTRY;

fn main() -> ExitCode {
    REGISTRY.main("theory")
}
