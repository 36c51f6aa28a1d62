//! The program of the experiment `fingerprint`.

use std::process::ExitCode;

use experiments::registry::REGISTRY;

fn main() -> ExitCode {
    REGISTRY.main("fingerprint")
}
