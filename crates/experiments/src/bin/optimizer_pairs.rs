//! The program of the experiment `optimizer-pairs`.

use std::process::ExitCode;

use experiments::registry::REGISTRY;

fn main() -> ExitCode {
    REGISTRY.main("optimizer-pairs")
}
