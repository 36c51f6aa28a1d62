//! Lines for the person who waits, and for what reads the program's output.

use std::io::Write;

/// A line that people read has at most so many characters.
const LONGEST_LINE: usize = 1000;
/// Of a longer one so many are left at its end, where it says what was expected.
const KEPT_END: usize = 300;

/// A text as one line without control characters: what was found in a file may hold anything, and be of any length. Of
/// a long text the middle is left out.
pub fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let count = line.chars().count();
    if count <= LONGEST_LINE {
        return line;
    }
    let start: String = line.chars().take(LONGEST_LINE - KEPT_END).collect();
    let end: String = line.chars().skip(count - KEPT_END).collect();
    format!("{start} [{} more characters] {end}", count - LONGEST_LINE)
}

/// The first line of what a panic says.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.and_then(|text| text.lines().next()).unwrap_or("unknown")
}

/// Writes a line to standard error. A failure is ignored, where `eprintln!` would panic: a terminal that went away or a
/// full disk is no reason to stop training.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes text to standard output. A reader that went away, as `head` does, ends the program without a word, where
/// `println!` would panic; whatever else keeps the text from being written ends it with an error.
pub fn print(text: &str) {
    print_bytes(text.as_bytes());
}

/// As [`print`](print()), for what may not be UTF-8.
pub fn print_bytes(bytes: &[u8]) {
    let mut output = std::io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_was_found() {
        assert_eq!(one_line("a\nb\u{1b}[31mc"), "a b [31mc");
        let long = one_line(&format!("file, line 3: found {}, expected a number", "\u{e9}".repeat(1 << 20)));
        assert!(long.starts_with("file, line 3: found ") && long.ends_with(", expected a number"), "{long}");
        assert!(long.chars().count() < 1100);
    }
}
