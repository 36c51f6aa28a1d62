//! Small text files that a user names: presets, tables, settings.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// No file that a person writes, and no table of results, is larger.
const LARGEST: u64 = 1 << 30;

/// The text of a regular file, without a byte-order mark at its beginning, as spreadsheets write one.
///
/// # Errors
/// The system's; in words where there is no regular file (one that never ends, or waits for a writer), where it is not
/// UTF-8, and where it is larger than 1 GiB.
pub fn read_text(path: &Path) -> io::Result<String> {
    let refused = |message: String| Err(io::Error::new(io::ErrorKind::InvalidData, message));
    let data = fs::metadata(path)?;
    if !data.is_file() {
        let found = if data.is_dir() { "a folder" } else { "a pipe or device" };
        return refused(format!("found {found}, expected a regular file"));
    }
    if data.len() > LARGEST {
        return refused(format!("found {} bytes, expected at most {LARGEST}", data.len()));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text)),
        Err(error) => {
            let place = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..place].iter().filter(|&&byte| byte == b'\n').count() + 1;
            refused(format!("found bytes that are no UTF-8 in line {line}, expected text in UTF-8"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        fs::write(&path, "\u{feff}a,b\n").unwrap();
        assert_eq!(read_text(&path).unwrap(), "a,b\n");
    }

    #[test]
    fn what_is_no_text_file_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| read_text(path).unwrap_err().to_string();
        assert_eq!(message(folder.path()), "found a folder, expected a regular file");
        if cfg!(unix) {
            assert_eq!(message(Path::new("/dev/zero")), "found a pipe or device, expected a regular file");
        }
        let latin = folder.path().join("latin.toml");
        fs::write(&latin, b"a = 1\nb = \"caf\xe9\"\n").unwrap();
        assert_eq!(message(&latin), "found bytes that are no UTF-8 in line 2, expected text in UTF-8");
        assert!(message(&folder.path().join("none")).contains("No such file"));
    }
}
