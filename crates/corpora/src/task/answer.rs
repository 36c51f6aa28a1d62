//! Answers that can be told from the text of a worked solution.

/// The answer that a solution ends with: what stands behind its last `####`, or in its last `\boxed{}`; none if it has
/// neither. Spaces, dollar signs, thousands separators and the final full stop are no part of it.
pub fn answer(solution: &str) -> Option<String> {
    let hashes = solution.rsplit_once("####").map(|(before, after)| {
        let line = after.trim_start_matches('#').lines().next().unwrap_or_default();
        (before.len(), line)
    });
    let boxed = boxed(solution);
    let latest = [hashes, boxed].into_iter().flatten().max_by_key(|(place, _)| *place)?;
    Some(plain(latest.1)).filter(|answer| !answer.is_empty())
}

/// Where the last `\boxed{...}` begins, and what stands in its braces.
fn boxed(text: &str) -> Option<(usize, &str)> {
    const OPENING: &str = "\\boxed{";
    let start = text.rfind(OPENING)?;
    let inner = &text[start + OPENING.len()..];
    let mut depth = 1;
    for (place, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((start, &inner[..place]));
        }
    }
    None
}

/// An answer as it is compared.
fn plain(answer: &str) -> String {
    let bare: String = answer.chars().filter(|c| !c.is_whitespace() && *c != '$').collect();
    let bare = bare.strip_suffix('.').unwrap_or(&bare).to_string();
    let is_number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
    let without_separators = bare.replace(',', "");
    if !is_number(&without_separators) {
        return bare;
    }
    // 18.0 and 18 are the same answer.
    match without_separators.trim_start_matches('+').split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|byte| byte == b'0') && is_number(whole) => whole.into(),
        _ => without_separators.trim_start_matches('+').into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_hashes_and_boxes() {
        for (solution, expected) in [
            ("2 + 2 = 4\n#### 4", Some("4")),
            ("so #### 1\nno, #### 1,234.00\nThe answer is: 1234", Some("1234")),
            ("####  $18 .\r\n", Some("18")),
            ("##### 5", Some("5")),
            ("it is $\\boxed{\\frac{1}{2}}$.", Some("\\frac{1}{2}")),
            ("\\boxed{1} or \\boxed{x + 1}", Some("x+1")),
            ("\\boxed{2} #### 3", Some("3")),
            ("#### 3 is \\boxed{2}", Some("2")),
            ("\\boxed{2", None),
            ("#### \nnone", None),
            ("no answer", None),
            ("#### +7", Some("7")),
            ("#### 1,2", Some("12")),
            ("#### (1, 2)", Some("(1,2)")),
        ] {
            assert_eq!(answer(solution).as_deref(), expected, "{solution}");
        }
    }
}
