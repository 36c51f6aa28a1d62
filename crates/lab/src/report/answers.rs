//! What the page opens with: one answer to each claim, from this run and from published rows, with the statements
//! behind it as a forest plot.

use std::fmt::Write as _;

use super::forest::{Line, Reaches, forest, plot};
use super::stored::Stored;
use super::text::{escape, interval_text, short_setting, style_of};
use crate::statistics::{MIN_SEEDS, ScorecardRow, Verdict};

/// A claim, in words that need no other page.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// What the claims of scorecard rows begin with: `C1` for `C1a` and `C1 (matrix)`.
    pub id: &'static str,
    /// The claim as a question.
    pub question: &'static str,
    /// What the rows that stand for it measure, in a sentence that needs no other page.
    pub measured: &'static str,
    /// The claims of the rows that stand for it where there is room for a few: the first of each and task.
    pub headline: &'static [&'static str],
}

impl Claim {
    /// Whether a row is about this claim: `C1` is not what `C10` is about.
    pub fn has(&self, claim: &str) -> bool {
        claim.strip_prefix(self.id).is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
    }
}

/// What all rows about a claim say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
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
    /// The answer of rows with these verdicts.
    pub fn of(verdicts: &[Verdict]) -> Self {
        let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
        match (count(Verdict::Reproduced), count(Verdict::Contradicted)) {
            (0, 0) => Self::Open,
            (0, _) => Self::No,
            (all, 0) if all == verdicts.len() => Self::Yes,
            (_, 0) => Self::InPart,
            (_, _) => Self::Mixed,
        }
    }

    /// In a word or three.
    pub fn label(self) -> &'static str {
        match self {
            Self::Yes => "reproduced",
            Self::InPart => "reproduced in part",
            Self::Mixed => "mixed",
            Self::No => "contradicted",
            Self::Open => "no verdict",
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

    fn badge(self, prefix: &str) -> String {
        format!("<span class=\"badge {}\">{prefix}{}</span>", self.class(), self.label())
    }
}

/// The verdicts of rows with their claims, and what stands before the answer: simulations do not decide beside
/// measurements, and where there is nothing else the answer says so. Nor does what a claim presupposes, marked
/// `(pretraining)`.
pub fn deciding<'a>(rows: impl Iterator<Item = (&'a str, Verdict)>) -> (Vec<Verdict>, &'static str) {
    let (simulated, measured): (Vec<_>, Vec<_>) =
        rows.filter(|(claim, _)| !claim.ends_with("(pretraining)")).partition(|(claim, _)| claim.ends_with("(theory)"));
    let verdicts = |rows: Vec<(&str, Verdict)>| rows.into_iter().map(|(_, verdict)| verdict).collect();
    if measured.is_empty() && !simulated.is_empty() {
        (verdicts(simulated), "linear models: ")
    } else {
        (verdicts(measured), "")
    }
}

/// The rows about one claim.
struct About<'a> {
    claim: &'a Claim,
    run: Vec<&'a ScorecardRow>,
    stored: Vec<&'a Stored>,
}

impl About<'_> {
    /// What this run says: a badge, and how many statements it rests on.
    fn of_run(&self) -> String {
        if self.run.is_empty() {
            return "<span class=\"none\">not measured in this run</span>".into();
        }
        let (verdicts, prefix) = deciding(self.run.iter().map(|row| (row.claim.as_str(), row.verdict)));
        let decides = |row: &&&ScorecardRow| {
            !row.claim.ends_with("(pretraining)") && prefix.is_empty() != row.claim.ends_with("(theory)")
        };
        let open = |row: &&&ScorecardRow| row.verdict == Verdict::Inconclusive && row.n < MIN_SEEDS;
        let few = self.run.iter().filter(decides).filter(open).count();
        let seeds = seeds(self.run.iter().map(|row| row.n));
        format!(
            "{}<span class=\"note\">{} {seeds}.</span>",
            Answer::of(&verdicts).badge(prefix),
            counts(&verdicts, few)
        )
    }

    /// What the published rows say.
    fn of_stored(&self) -> String {
        if self.stored.is_empty() {
            return "<span class=\"none\">none yet</span>".into();
        }
        let (verdicts, prefix) = deciding(self.stored.iter().map(|row| (row.claim.as_str(), row.verdict)));
        let mut scales: Vec<&str> = Vec::new();
        for row in &self.stored {
            if !scales.contains(&row.scale.as_str()) {
                scales.push(&row.scale);
            }
        }
        let seeds = seeds(self.stored.iter().map(|row| row.seeds));
        format!(
            "{}<span class=\"note\">{} {seeds}; {}.</span>",
            Answer::of(&verdicts).badge(prefix),
            counts(&verdicts, 0),
            escape(&scales.join("; "))
        )
    }

    /// The rows that stand for the claim: this run's and what is published about the same, and at the end what is
    /// published about else.
    fn headline(&self) -> Vec<[Option<ScorecardRow>; 2]> {
        let run = first_of_each(self.claim, self.run.iter().map(|row| (*row).clone()));
        let mut stored = first_of_each(self.claim, self.stored.iter().map(|stored| stored.row()));
        let mut pairs: Vec<[Option<ScorecardRow>; 2]> = Vec::new();
        for row in run {
            let same = stored.iter().position(|stored| stored.subject() == row.subject());
            let same = same.map(|place| stored.remove(place));
            pairs.push([Some(row), same]);
        }
        pairs.extend(stored.into_iter().map(|row| [None, Some(row)]));
        pairs
    }

    /// A row of this run, what is published about the same under it, and at the end what is published about else.
    fn lines(&self) -> Vec<Line<'_>> {
        let mut lines = Vec::new();
        for &row in &self.run {
            let same = self.stored.iter().copied().find(|stored| stored.is(row));
            lines.push(Line::Run(row, same));
            let beside = self.stored.iter().filter(|stored| stored.says(row) && !stored.is(row));
            lines.extend(beside.map(|stored| Line::Beside(stored)));
        }
        let else_ = self.stored.iter().filter(|stored| !self.run.iter().any(|row| stored.says(row)));
        lines.extend(else_.map(|stored| Line::Stored(stored)));
        lines
    }
}

/// Of the rows that stand for a claim, the first of each kind and task.
fn first_of_each(claim: &Claim, rows: impl Iterator<Item = ScorecardRow>) -> Vec<ScorecardRow> {
    let mut first: Vec<ScorecardRow> = Vec::new();
    for row in rows.filter(|row| claim.headline.contains(&row.claim.as_str())) {
        if !first.iter().any(|other| other.claim == row.claim && other.task == row.task) {
            first.push(row);
        }
    }
    first
}

/// The rows that stand for a claim, in the columns of the table of answers.
fn headline(body: &mut String, about: &About<'_>) {
    let pairs = about.headline();
    let reaches = Reaches::of(pairs.iter().flatten().flatten());
    let cell = |row: Option<&ScorecardRow>, kind: &str| {
        let Some(row) = row else { return "<span></span>".to_owned() };
        let numbers = interval_text(row.effect, row.interval);
        format!(
            "<span class=\"mark {kind}\">{}<span class=\"numbers\">{numbers}<span class=\"note\">{}</span></span></span>",
            plot(row, kind, reaches.reach(&row.unit), &numbers),
            escape(&row.verdict_label()),
        )
    };
    for [run, stored] in &pairs {
        let Some(says) = run.as_ref().or(stored.as_ref()) else { continue };
        let _ = writeln!(
            body,
            "<div role=\"row\" class=\"stands\"><span role=\"cell\">{}<span class=\"note\">{}</span></span>\
             <span role=\"cell\" data-title=\"This run\">{}</span><span role=\"cell\" data-title=\"Stored evidence\">{}</span></div>",
            escape(&says.statement),
            short_setting(&says.task),
            cell(run.as_ref(), "run"),
            cell(stored.as_ref(), "stored"),
        );
    }
}

/// Adds an answer for each claim, and then the rows behind them. Nothing where there is nothing at all.
pub(super) fn answers(body: &mut String, claims: &[Claim], rows: &[&ScorecardRow], stored: &[Stored]) {
    let about = |claim| About {
        claim,
        run: rows.iter().copied().filter(|row| Claim::has(claim, &row.claim)).collect(),
        stored: stored.iter().filter(|row| Claim::has(claim, &row.claim)).collect(),
    };
    let all: Vec<About<'_>> = claims.iter().map(about).collect();
    if all.iter().all(|about| about.run.is_empty() && about.stored.is_empty()) {
        return;
    }
    body.push_str("<div class=\"glance\" role=\"table\" aria-label=\"An answer to each claim\">\n");
    body.push_str("<div class=\"head\" role=\"row\"><span role=\"columnheader\">Claim</span>");
    body.push_str(
        "<span role=\"columnheader\">This run</span><span role=\"columnheader\">Stored evidence</span></div>\n",
    );
    for about in &all {
        let (id, question) = (escape(about.claim.id), escape(about.claim.question));
        let measured = escape(about.claim.measured);
        let known = !about.run.is_empty() || !about.stored.is_empty();
        let title = if known { format!("<a href=\"#{id}\">{id}</a>") } else { id };
        let _ = writeln!(
            body,
            "<div role=\"row\"><span role=\"cell\" class=\"question\">{title} {question}<span class=\"note\">{measured}</span></span><span role=\"cell\" data-title=\"This run\">\
             <span>{}</span></span><span role=\"cell\" data-title=\"Stored evidence\"><span>{}</span></span></div>",
            about.of_run(),
            about.of_stored()
        );
        headline(body, about);
    }
    body.push_str("</div>\n");
    body.push_str(HOW_TO_READ);
    for about in all.iter().filter(|about| !about.run.is_empty() || !about.stored.is_empty()) {
        let _ = writeln!(
            body,
            "<article class=\"answer\" id=\"{id}\">\n<h3>{id}. {question}</h3>",
            id = escape(about.claim.id),
            question = escape(about.claim.question),
        );
        forest(body, &about.lines());
        body.push_str("</article>\n");
    }
}

/// What the marks mean; the numbers in it are the statistics' own.
const HOW_TO_READ: &str = "<p class=\"reading\"><span class=\"key run\"></span> this run; <span class=\"key stored\"></span> stored evidence: rows \
     that were published with this program, from larger runs. In the plots a mark is the mean effect over seeds (of \
     pretraining), the bar its 95 % interval, and the line in the middle zero; <strong>right of it supports the \
     claim</strong>. Lines of one unit share a scale within a claim. All networks here are small: what holds in a large \
     model, these numbers do not say.</p>\n";

/// "5 seeds", "1 to 5 seeds".
fn seeds(of: impl Iterator<Item = usize> + Clone) -> String {
    match (of.clone().min().unwrap_or(0), of.max().unwrap_or(0)) {
        (1, 1) => "1 seed".into(),
        (least, most) if least == most => format!("{most} seeds"),
        (least, most) => format!("{least} to {most} seeds"),
    }
}

/// "Of 5 statements 2 reproduced, 1 contradicted, 2 open, for want of seeds (a verdict needs 5)."
fn counts(verdicts: &[Verdict], few: usize) -> String {
    let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    let (reproduced, contradicted) = (count(Verdict::Reproduced), count(Verdict::Contradicted));
    let open = verdicts.len() - reproduced - contradicted;
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
    let noun = if verdicts.len() == 1 { "statement" } else { "statements" };
    format!("Of {} {noun}: {}{few}.", verdicts.len(), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIMS: [Claim; 2] = [
        Claim { id: "C1", question: "Does it forget less?", measured: "Forgetting.", headline: &["C1b"] },
        Claim { id: "C2", question: "Does it regularise?", measured: "", headline: &[] },
    ];

    fn row(claim: &str, samples: &[f64]) -> ScorecardRow {
        ScorecardRow::from_samples(claim, "a statement", "code", "nats", samples, "")
    }

    fn stored(claim: &str, statement: &str, effect: f64) -> Stored {
        Stored {
            claim: claim.into(),
            statement: statement.into(),
            task: "code".into(),
            effect: Some(effect),
            low: Some(effect - 0.1),
            high: Some(effect + 0.1),
            unit: "nats".into(),
            seeds: 12,
            readings: None,
            verdict: Verdict::Contradicted,
            scale: "large".into(),
            protocol: 2,
            commit: "abc123".into(),
            file: "large/rows.csv".into(),
        }
    }

    const UP: [f64; 5] = [1.0, 1.1, 0.9, 1.0, 1.2];
    const DOWN: [f64; 5] = [-2.0, -2.1, -1.9, -2.0, -2.2];

    fn shown_with(rows: &[ScorecardRow], stored: &[Stored]) -> String {
        let mut body = String::new();
        answers(&mut body, &CLAIMS, &rows.iter().collect::<Vec<_>>(), stored);
        body
    }

    fn shown(rows: &[ScorecardRow]) -> String {
        shown_with(rows, &[])
    }

    #[test]
    fn a_claim_is_answered_from_its_own_rows() {
        let body = shown(&[row("C1a", &UP), row("C1 (matrix)", &UP), row("C10", &DOWN), row("theory", &DOWN)]);
        assert_eq!(body.matches("<article").count(), 1);
        assert_eq!(body.matches("class=\"line run").count(), 2);
        assert!(
            body.contains("badge reproduced\">reproduced</span><span class=\"note\">Of 2 statements: 2 reproduced.")
        );
        assert!(body.contains("not measured in this run"), "{body}");
    }

    #[test]
    fn the_rows_that_stand_for_a_claim_are_at_the_top_once_a_task_beside_what_is_published() {
        let other = ScorecardRow::from_samples("C1b", "another reading", "code", "nats", &DOWN, "");
        let elsewhere = Stored { task: "math".into(), ..stored("C1b", "a statement", 0.2) };
        let body = shown_with(
            &[row("C1a", &UP), row("C1b", &UP), other],
            &[stored("C1b", "a statement", -0.5), elsewhere, stored("C2", "more", 0.1)],
        );
        let top = &body[..body.find("<article").unwrap()];
        let lines: Vec<&str> = top.split("class=\"stands\"").skip(1).collect();
        assert_eq!(lines.len(), 2, "{top}");
        assert!(top.contains("Does it forget less?<span class=\"note\">Forgetting.</span>"), "{top}");
        assert!(lines[0].contains("a statement<span class=\"note\">code"), "{top}");
        assert!(lines[0].contains("mark run") && lines[0].contains("mark stored"), "{top}");
        assert!(lines[1].contains("math") && !lines[1].contains("mark run") && lines[1].contains("mark stored"));
        assert!(!top.contains("another reading") && !top.contains("more"), "{top}");
    }

    #[test]
    fn every_mixture_of_verdicts_has_its_answer() {
        let answer = |rows: &[ScorecardRow]| Answer::of(&rows.iter().map(|row| row.verdict).collect::<Vec<_>>());
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
    fn simulations_do_not_decide_beside_measurements() {
        let answer = |rows: &[ScorecardRow]| {
            let (verdicts, prefix) = deciding(rows.iter().map(|row| (row.claim.as_str(), row.verdict)));
            (Answer::of(&verdicts), prefix)
        };
        assert_eq!(answer(&[row("C1 (theory)", &UP)]), (Answer::Yes, "linear models: "));
        assert_eq!(answer(&[row("C1 (theory)", &UP), row("C1", &DOWN)]), (Answer::No, ""));
        assert_eq!(answer(&[row("C1 (pretraining)", &UP), row("C1", &DOWN)]), (Answer::No, ""));
        assert_eq!(answer(&[row("C1 (pretraining)", &UP)]), (Answer::Open, ""));
        assert!(shown(&[row("C1 (theory)", &UP)]).contains("linear models: reproduced</span>"));
    }

    #[test]
    fn plots_of_one_unit_share_a_scale_and_hold_what_they_show() {
        let body = shown(&[row("C1a", &UP), row("C1c", &DOWN)]);
        let centres: Vec<f64> =
            body.split("cx=\"").skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect();
        // Means +1.04 and -2.04 around 100: the second is almost twice as far from the middle.
        assert!(((centres[1] - 100.0) / (centres[0] - 100.0) + 2.04 / 1.04).abs() < 0.02, "{centres:?}");
        assert!(centres.iter().all(|x| (0.0..=200.0).contains(x)));
        let nothing = shown(&[row("C1a", &[])]);
        assert!(nothing.contains("not measured") && !nothing.contains("<circle"), "{nothing}");
    }

    #[test]
    fn published_rows_stand_under_the_rows_about_the_same_and_once() {
        let mine = row("C1a", &UP);
        let body =
            shown_with(std::slice::from_ref(&mine), &[stored("C1a", "a statement", -0.5), stored("C2", "other", 0.3)]);
        assert_eq!(body.matches("class=\"line stored contradicted\"").count(), 2);
        // Told apart by label and shape, with their origin, and without the statement where it stands above.
        assert!(body.contains("Stored evidence: large, 12 seeds, protocol 2, commit abc123"), "{body}");
        assert_eq!(body.matches("a statement<span").count(), 1);
        assert!(body.contains("<article class=\"answer\" id=\"C2\">") && body.contains("other<span"));
        assert!(
            body.contains("<div class=\"group\">Stored evidence: large; 12 seeds, protocol 2, commit abc123</div>")
        );
        // A run that is the published one is not shown beside itself.
        let (low, high) = mine.interval.unwrap();
        let same = Stored {
            effect: mine.effect,
            low: Some(low),
            high: Some(high),
            seeds: 5,
            verdict: mine.verdict,
            ..stored("C1a", "a statement", 0.0)
        };
        let body = shown_with(&[mine], &[same]);
        assert_eq!(body.matches("class=\"line ").count(), 1, "{body}");
        assert!(body.contains("Stored evidence: large, 5 seeds"), "{body}");
    }
}
