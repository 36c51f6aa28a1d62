//! The program of the experiment `prediction`.

use std::process::ExitCode;

use experiments::registry::REGISTRY;

fn main() -> ExitCode {
    REGISTRY.main("prediction")
}
