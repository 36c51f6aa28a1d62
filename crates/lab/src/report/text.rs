//! Texts and numbers as they stand in the page.

use crate::figures::visible;
use crate::statistics::Verdict;

/// The class of the style sheet that shows a verdict.
pub(super) fn style_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reproduced => "reproduced",
        Verdict::Contradicted => "contradicted",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// Text with the characters that mean something in HTML replaced, and those that no page may hold; safe in text and in
/// quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().map(visible) {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// A number with its sign and four significant digits, the minus as a minus.
pub(super) fn signed(value: f64) -> String {
    let decimals = if value == 0.0 || !value.is_finite() {
        3
    } else {
        (3 - value.abs().log10().floor() as i32).clamp(0, 8) as usize
    };
    // Four digits say more than the interval supports where the number is not small.
    format!("{value:+.*}", decimals.min(4)).replace('-', "\u{2212}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_html_is_escaped() {
        assert_eq!(escape("<a href=\"x\">'&'</a>"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
        assert_eq!(escape("nats \u{b1} 0.1"), "nats \u{b1} 0.1");
    }

    #[test]
    fn no_control_character_reaches_the_page() {
        assert_eq!(escape("a\u{0}b\u{1b}[31m\u{85}\nc\td\u{ffff}"), "a\u{2400}b\u{241b}[31m\u{fffd}\nc\td\u{fffd}");
    }

    #[test]
    fn numbers_carry_their_sign() {
        assert_eq!(signed(0.01234), "+0.0123");
        assert_eq!(signed(-1.5), "\u{2212}1.500");
        assert_eq!(signed(0.0), "+0.000");
        assert_eq!(signed(12345.6), "+12346");
    }
}
