//! What the targets share.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A file of this process with these bytes, for parsers that read files.
///
/// # Panics
/// If it cannot be written.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a temporary folder");
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

/// The folder that [`file`] writes to.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| std::env::temp_dir().join(format!("fuzz-{}", std::process::id())))
}

/// Asserts that an error says something that a program prints as one line.
///
/// # Panics
/// If it does not.
pub fn one_line(error: &impl std::fmt::Display) {
    let line = lab::console::one_line(&error.to_string());
    assert!(!line.trim().is_empty() && !line.contains(|c: char| c.is_control()) && line.chars().count() < 1100);
}

/// A first line with settings, and what is behind it.
pub fn headed(bytes: &[u8]) -> (&str, &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    (std::str::from_utf8(&bytes[..end]).unwrap_or(""), bytes.get(end + 1..).unwrap_or_default())
}
