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

/// A setting in so many characters at most; what is longer opens.
const SETTING: usize = 42;

/// A setting in HTML: a long one as its first parts, with all of it on demand.
pub(super) fn short_setting(text: &str) -> String {
    if text.chars().count() <= SETTING {
        return escape(text);
    }
    let mut short = String::new();
    for part in text.split_inclusive([',', ';', ':']) {
        if !short.is_empty() && short.chars().count() + part.chars().count() > SETTING {
            break;
        }
        short.push_str(part);
    }
    let short: String = short.chars().take(SETTING).collect();
    let short = short.trim_end_matches([',', ';', ':', ' ']);
    format!("<details class=\"long\"><summary>{} \u{2026}</summary>{}</details>", escape(short), escape(text))
}

/// "+0.034 [+0.007, +0.061]" with as many digits as the interval supports; the effect alone without one.
pub(super) fn interval_text(effect: Option<f64>, interval: Option<(f64, f64)>) -> String {
    let Some(effect) = effect else { return "not measured".to_owned() };
    let Some((low, high)) = interval.filter(|(low, high)| high > low && (high - low).is_finite()) else {
        return signed(effect);
    };
    let half = (high - low) / 2.0;
    let digits = (1 - half.log10().floor() as i32).clamp(0, if half < 0.001 { 5 } else { 3 }) as usize;
    let number = |value: f64| format!("{value:+.digits$}").replace('-', "\u{2212}");
    format!("{} [{}, {}]", number(effect), number(low), number(high))
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
    fn a_long_setting_is_short_with_all_of_it_on_demand() {
        assert_eq!(short_setting("math"), "math");
        let long = "two-layer linear network, anisotropy 0, 4 samples, label noise 1 & more";
        let shown = short_setting(long);
        assert!(
            shown.starts_with(
                "<details class=\"long\"><summary>two-layer linear network, anisotropy 0 \u{2026}</summary>"
            )
        );
        assert!(shown.ends_with("label noise 1 &amp; more</details>"), "{shown}");
        assert!(short_setting(&"\u{e9}".repeat(100)).contains("\u{e9} \u{2026}</summary>"));
    }

    #[test]
    fn an_effect_has_the_digits_that_its_interval_supports() {
        assert_eq!(interval_text(Some(0.05512), Some((0.0021, 0.1081))), "+0.055 [+0.002, +0.108]");
        assert_eq!(interval_text(Some(-1.234), Some((-3.4, 0.9))), "\u{2212}1.2 [\u{2212}3.4, +0.9]");
        assert_eq!(
            interval_text(Some(-0.0396), Some((-0.0442, -0.0351))),
            "\u{2212}0.040 [\u{2212}0.044, \u{2212}0.035]"
        );
        assert_eq!(interval_text(Some(0.5), Some((0.5, 0.5))), "+0.5000");
        assert_eq!(interval_text(None, None), "not measured");
    }

    #[test]
    fn numbers_carry_their_sign() {
        assert_eq!(signed(0.01234), "+0.0123");
        assert_eq!(signed(-1.5), "\u{2212}1.500");
        assert_eq!(signed(0.0), "+0.000");
        assert_eq!(signed(12345.6), "+12346");
    }
}
