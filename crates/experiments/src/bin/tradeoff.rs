//! The program of the experiment `tradeoff`.

use std::process::ExitCode;

use experiments::registry::REGISTRY;

fn main() -> ExitCode {
    REGISTRY.main("tradeoff")
}
