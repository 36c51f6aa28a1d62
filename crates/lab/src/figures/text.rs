//! Text that others wrote, such as names of tasks, in figures and in the names of their files.

use crate::hash::sha256_hex;

/// A name of a file has at most so many characters before its ending.
const LONGEST: usize = 100;

/// A character that a figure or a page can hold: in place of a control character its picture, or the replacement
/// character where there is none. XML, and so SVG, allows none but the tab and the ends of lines.
pub(crate) fn visible(c: char) -> char {
    match c {
        '\n' | '\t' => c,
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        // These turn the direction of what follows.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        _ => c,
    }
}

/// Text between the tags of an SVG.
pub(super) fn xml(text: &str) -> String {
    let visible: String = text.chars().map(visible).collect();
    visible.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A number in four significant digits, as a reader who points at it wants it.
pub fn brief(value: f64) -> String {
    let digits = if value == 0.0 || !value.is_finite() { 0 } else { value.abs().log10().floor() as i32 };
    if (-4..7).contains(&digits) {
        let text = format!("{value:.*}", (3 - digits).max(0) as usize);
        return if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text };
    }
    format!("{value:.3e}")
}

/// The name of a figure's files, without their ending: the figure's own name, where that is one on every system. In
/// place of any other character stands `-`, and then some digits at the end tell two such names apart.
pub fn file_stem(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | ',');
    if name.len() <= LONGEST && name.chars().all(plain) && name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return name.to_string();
    }
    let stem: String = name.chars().take(LONGEST - 9).map(|c| if plain(c) { c } else { '-' }).collect();
    format!("{}-{}", stem.trim_start_matches(['-', '.', '_', '=', ',']), &sha256_hex(name.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_pointed_at_has_four_digits() {
        let texts = [0.0, 0.3, 12.3456, -0.000123456, 123456.7, 3e-9, f64::NAN].map(brief);
        assert_eq!(texts, ["0", "0.3", "12.35", "-0.0001235", "123457", "3.000e-9", "NaN"]);
    }

    #[test]
    fn a_plain_name_stays_and_any_other_is_a_file_below_the_folder() {
        for name in ["tradeoff-code", "memorization-curves", "tradeoff-strings.a=1,b=2"] {
            assert_eq!(file_stem(name), name);
        }
        for name in [
            "tradeoff-math:max_steps=3",
            "../../etc/passwd",
            "..",
            "",
            "a/b",
            "a\\b",
            "caf\u{e9}",
            "a\nb",
            &"x".repeat(300),
        ] {
            let stem = file_stem(name);
            assert!(stem.len() < 150 && !stem.contains(['/', '\\', ':', '\n']) && !stem.starts_with('.'), "{stem}");
        }
        assert_ne!(file_stem("a:b"), file_stem("a;b"));
        let long = file_stem(&"x".repeat(300));
        assert_eq!(file_stem(&long), long);
    }
}
