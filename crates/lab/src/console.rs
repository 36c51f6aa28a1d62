//! Lines for the person who waits.

use std::io::Write;

/// Writes a line to standard error. A failure is ignored, where `eprintln!` would panic: a terminal that went away or a
/// full disk is no reason to stop training.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
