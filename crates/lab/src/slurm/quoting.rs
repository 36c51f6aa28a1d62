//! Words as a shell reads them, and sbatch in its scripts.

use std::ffi::OsStr;

/// A value of an option of sbatch.
pub(super) fn quoted(value: &str) -> String {
    String::from_utf8(shell(OsStr::new(value))).unwrap_or_default()
}

/// A word as a shell reads it, and sbatch in its script.
pub(super) fn shell(word: &OsStr) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_=+:,./@%".contains(byte);
    let word = bytes(word);
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_vec();
    }
    let mut text = vec![b'\''];
    for &byte in word {
        match byte {
            b'\'' => text.extend(b"'\\''"),
            other => text.push(other),
        }
    }
    text.push(b'\'');
    text
}

pub(super) fn bytes(word: &OsStr) -> &[u8] {
    word.as_encoded_bytes()
}
