//! The program of the experiment `consistency-matrix`.

use std::process::ExitCode;

use experiments::registry::REGISTRY;

fn main() -> ExitCode {
    REGISTRY.main("consistency-matrix")
}
