//! Lines for the person who waits.

use std::io::Write;

/// Writes a line to standard error. A terminal that went away or a full disk behind it is no reason to stop training,
/// so that a failure is ignored, where `eprintln!` would panic.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
