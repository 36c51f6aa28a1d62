//! What the page opens with: one answer to each claim, with the rows behind it as a forest plot.

use std::fmt::Write as _;

use super::text::{escape, signed, style_of};
use crate::statistics::{MIN_SEEDS, ScorecardRow, Verdict};

/// A claim, in words that need no other page.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// What the claims of scorecard rows begin with: `C1` for `C1a` and `C1 (matrix)`.
    pub id: &'static str,
    /// The claim as a question.
    pub question: &'static str,
}

impl Claim {
    /// Whether a row is about this claim: `C1` is not what `C10` is about.
    fn has(&self, row: &ScorecardRow) -> bool {
        row.claim.strip_prefix(self.id).is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
    }
}

/// What all rows about a claim say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Every row is reproduced.
    Yes,
    /// Some are, and none is contradicted.
    InPart,
    /// Some are reproduced, and some contradicted.
    Mixed,
    /// Some are contradicted, and none is reproduced.
    No,
    /// No row has a verdict.
    Open,
}

impl Answer {
    fn of(rows: &[&ScorecardRow]) -> Self {
        let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
        match (count(Verdict::Reproduced), count(Verdict::Contradicted)) {
            (0, 0) => Self::Open,
            (0, _) => Self::No,
            (all, 0) if all == rows.len() => Self::Yes,
            (_, 0) => Self::InPart,
            (_, _) => Self::Mixed,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Yes => "reproduced",
            Self::InPart => "reproduced in part",
            Self::Mixed => "mixed",
            Self::No => "contradicted",
            Self::Open => "no verdict here",
        }
    }

    /// The badge's style.
    fn class(self) -> &'static str {
        style_of(match self {
            Self::Yes | Self::InPart => Verdict::Reproduced,
            Self::No => Verdict::Contradicted,
            Self::Mixed | Self::Open => Verdict::Inconclusive,
        })
    }
}

/// Adds an answer for each claim that has rows. Nothing without any.
pub(super) fn answers(body: &mut String, claims: &[Claim], rows: &[&ScorecardRow]) {
    for claim in claims {
        let own: Vec<&ScorecardRow> = rows.iter().copied().filter(|row| claim.has(row)).collect();
        if own.is_empty() {
            continue;
        }
        let answer = Answer::of(&own);
        let _ = writeln!(
            body,
            "<article class=\"answer\" id=\"{id}\">\n<h3>{id}. {question} <span class=\"badge {class}\">{label}</span></h3>\n<p>{why}</p>",
            id = escape(claim.id),
            question = escape(claim.question),
            class = answer.class(),
            label = answer.label(),
            why = escape(&counts(&own)),
        );
        body.push_str("<div class=\"forest\">\n");
        own.iter().for_each(|row| forest_row(body, row, reach(&own, &row.unit)));
        body.push_str("</div>\n</article>\n");
    }
}

/// "Of 5 statements 2 are reproduced, 1 contradicted, 2 open (1 has fewer than 5 seeds)."
fn counts(rows: &[&ScorecardRow]) -> String {
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let (reproduced, contradicted) = (count(Verdict::Reproduced), count(Verdict::Contradicted));
    let open = rows.len() - reproduced - contradicted;
    let few = rows.iter().filter(|row| row.verdict == Verdict::Inconclusive && row.n < MIN_SEEDS).count();
    let mut parts = Vec::new();
    for (number, what) in [(reproduced, "reproduced"), (contradicted, "contradicted"), (open, "open")] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    let few = match few {
        0 => String::new(),
        few if few == open => format!(", for want of seeds (a verdict needs {MIN_SEEDS})"),
        few => format!(", {few} of these for want of seeds (a verdict needs {MIN_SEEDS})"),
    };
    let noun = if rows.len() == 1 { "statement" } else { "statements" };
    format!("Of {} {noun}: {}{few}.", rows.len(), parts.join(", "))
}

/// The largest absolute number that rows of one unit show: what their plots reach to on either side.
fn reach(rows: &[&ScorecardRow], unit: &str) -> f64 {
    let of_unit = rows.iter().filter(|row| row.unit == unit);
    let numbers =
        of_unit.flat_map(|row| row.effect.into_iter().chain(row.interval.into_iter().flat_map(|(a, b)| [a, b])));
    numbers.filter(|number| number.is_finite()).fold(0.0, |most, number| f64::max(most, number.abs()))
}

/// Half the width of a plot, and its height, in its own units.
const HALF: f64 = 100.0;
const HEIGHT: f64 = 18.0;

/// One statement, its effect on a line around zero, and the verdict.
fn forest_row(body: &mut String, row: &ScorecardRow, reach: f64) {
    let class = style_of(row.verdict);
    let numbers = match (row.effect, row.interval) {
        (Some(effect), Some((low, high))) => format!("{} [{}, {}]", signed(effect), signed(low), signed(high)),
        (Some(effect), None) => signed(effect),
        (None, _) => "not measured".to_owned(),
    };
    let _ = writeln!(
        body,
        "<div class=\"line {class}\"><span class=\"says\">{statement}<span class=\"note\">{task}</span></span>{plot}\
         <span class=\"numbers\">{numbers}<span class=\"note\">{unit}</span></span><span class=\"badge {class}\">{label}</span></div>",
        statement = escape(&row.statement),
        task = escape(&row.task),
        plot = plot(row, reach, &numbers),
        unit = escape(&row.unit),
        label = escape(&row.verdict_label()),
    );
}

/// The effect and its interval on a line; positive, and so on the claim's side, is to the right.
fn plot(row: &ScorecardRow, reach: f64, numbers: &str) -> String {
    let x = |number: f64| {
        let share = if reach > 0.0 && number.is_finite() { (number / reach).clamp(-1.0, 1.0) } else { 0.0 };
        HALF + 0.96 * HALF * share
    };
    let (width, middle) = (2.0 * HALF, HEIGHT / 2.0);
    let label = escape(&format!("effect {numbers} {}; right of the middle supports the statement", row.unit));
    let mut svg = format!(
        "<svg class=\"plot\" role=\"img\" aria-label=\"{label}\" viewBox=\"0 0 {width} {HEIGHT}\">\
         <line class=\"axis\" x1=\"0\" x2=\"{width}\" y1=\"{middle}\" y2=\"{middle}\"/>\
         <line class=\"zero\" x1=\"{HALF}\" x2=\"{HALF}\" y1=\"0\" y2=\"{HEIGHT}\"/>"
    );
    if let Some((low, high)) = row.interval {
        let _ = write!(
            svg,
            "<line class=\"interval\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>",
            x(low),
            x(high)
        );
    }
    if let Some(effect) = row.effect {
        let _ = write!(svg, "<circle class=\"effect\" cx=\"{:.1}\" cy=\"{middle}\" r=\"4\"/>", x(effect));
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIMS: [Claim; 2] =
        [Claim { id: "C1", question: "Does it forget less?" }, Claim { id: "C2", question: "Does it regularise?" }];

    fn row(claim: &str, samples: &[f64]) -> ScorecardRow {
        ScorecardRow::from_samples(claim, "a statement", "code", "nats", samples, "")
    }

    const UP: [f64; 5] = [1.0, 1.1, 0.9, 1.0, 1.2];
    const DOWN: [f64; 5] = [-2.0, -2.1, -1.9, -2.0, -2.2];

    fn shown(rows: &[ScorecardRow]) -> String {
        let mut body = String::new();
        answers(&mut body, &CLAIMS, &rows.iter().collect::<Vec<_>>());
        body
    }

    #[test]
    fn a_claim_is_answered_from_its_own_rows() {
        let body = shown(&[row("C1a", &UP), row("C1 (matrix)", &UP), row("C10", &DOWN), row("theory", &DOWN)]);
        assert_eq!(body.matches("<article").count(), 1);
        assert_eq!(body.matches("class=\"line ").count(), 2);
        assert!(body.contains("badge reproduced\">reproduced</span></h3>"), "{body}");
        assert!(body.contains("Of 2 statements: 2 reproduced."), "{body}");
    }

    #[test]
    fn every_mixture_of_verdicts_has_its_answer() {
        let answer = |rows: &[ScorecardRow]| Answer::of(&rows.iter().collect::<Vec<_>>());
        let open = || row("C1", &[1.0]);
        assert_eq!(answer(&[row("C1", &UP)]), Answer::Yes);
        assert_eq!(answer(&[row("C1", &UP), open()]), Answer::InPart);
        assert_eq!(answer(&[row("C1", &UP), row("C1", &DOWN)]), Answer::Mixed);
        assert_eq!(answer(&[row("C1", &DOWN), open()]), Answer::No);
        assert_eq!(answer(&[open()]), Answer::Open);
        let body = shown(&[row("C2", &UP), open(), row("C2", &[1.0])]);
        assert!(
            body.contains("Of 2 statements: 1 reproduced, 1 open, for want of seeds (a verdict needs 5)."),
            "{body}"
        );
    }

    #[test]
    fn plots_of_one_unit_share_a_scale_and_hold_what_they_show() {
        let body = shown(&[row("C1a", &UP), row("C1b", &DOWN)]);
        let centres: Vec<f64> =
            body.split("cx=\"").skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect();
        // Means +1.04 and -2.04 around 100: the second is almost twice as far from the middle.
        assert!(((centres[1] - 100.0) / (centres[0] - 100.0) + 2.04 / 1.04).abs() < 0.02, "{centres:?}");
        assert!(centres.iter().all(|x| (0.0..=200.0).contains(x)));
        let nothing = shown(&[row("C1a", &[])]);
        assert!(nothing.contains("not measured") && !nothing.contains("<circle"), "{nothing}");
    }
}
