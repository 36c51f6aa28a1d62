//! Lines for the person who waits, and for what reads the program's output.

use std::io::Write;

/// Writes a line to standard error. A failure is ignored, where `eprintln!` would panic: a terminal that went away or a
/// full disk is no reason to stop training.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes text to standard output. A reader that went away, as `head` does, ends the program without a word, where
/// `println!` would panic; whatever else keeps the text from being written ends it with an error.
pub fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            say(&format!("error: standard output: {error}"));
            std::process::exit(2)
        }
    }
}

/// As [`print`](print()), with the end of the line.
pub fn print_line(line: &str) {
    print(&format!("{line}\n"));
}
