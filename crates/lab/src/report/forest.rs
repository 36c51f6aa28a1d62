//! Statements with their effects on lines around a common zero: a run's own, and published ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::stored::Stored;
use super::text::{escape, interval_text, short_setting, style_of};
use crate::statistics::ScorecardRow;

/// Half the width of a plot, and its height, in its own units.
const HALF: f64 = 100.0;
const HEIGHT: f64 = 18.0;

/// A line of a forest plot.
#[derive(Clone, Copy)]
pub(super) enum Line<'a> {
    /// A row of this run, with the published row that it is, if it is one.
    Run(&'a ScorecardRow, Option<&'a Stored>),
    /// A published row under the run's row about the same.
    Beside(&'a Stored),
    /// A published row about what this run says nothing about.
    Stored(&'a Stored),
}

impl Line<'_> {
    fn row(self) -> ScorecardRow {
        match self {
            Self::Run(row, _) => row.clone(),
            Self::Beside(stored) | Self::Stored(stored) => stored.row(),
        }
    }
}

/// How far the numbers of each unit go from zero: plots of one unit share a scale.
pub(super) struct Reaches(BTreeMap<String, f64>);

impl Reaches {
    /// Of these rows.
    pub(super) fn of<'a>(rows: impl Iterator<Item = &'a ScorecardRow>) -> Self {
        let mut reaches: BTreeMap<String, f64> = BTreeMap::new();
        for row in rows {
            let numbers = row.effect.into_iter().chain(row.interval.into_iter().flat_map(|(low, high)| [low, high]));
            let most =
                numbers.filter(|number| number.is_finite()).fold(0.0, |most, number| f64::max(most, number.abs()));
            let reach = reaches.entry(row.unit.clone()).or_default();
            *reach = reach.max(most);
        }
        Self(reaches)
    }

    /// Of a unit; 0 of one without numbers.
    pub(super) fn reach(&self, unit: &str) -> f64 {
        self.0.get(unit).copied().unwrap_or_default()
    }
}

/// Adds the lines; those of one unit share a scale.
pub(super) fn forest(body: &mut String, lines: &[Line<'_>]) {
    let rows: Vec<ScorecardRow> = lines.iter().map(|line| line.row()).collect();
    let reaches = Reaches::of(rows.iter());
    body.push_str("<div class=\"forest\">\n");
    let mut group = String::new();
    for (line, row) in lines.iter().zip(&rows) {
        // Published rows about other things come by where they are from, which is said once.
        if let Line::Stored(stored) = line {
            let from = format!("Stored evidence: {}; {}", stored.scale, stored.origin());
            if from != group {
                let _ = writeln!(body, "<div class=\"group\">{}</div>", escape(&from));
                group = from;
            }
        }
        line_of(body, *line, row, reaches.reach(&row.unit));
    }
    body.push_str("</div>\n");
}

/// One statement, its effect, and the verdict.
fn line_of(body: &mut String, line: Line<'_>, row: &ScorecardRow, reach: f64) {
    let verdict = style_of(row.verdict);
    let numbers = interval_text(row.effect, row.interval);
    let statement = format!("{}<span class=\"note\">{}</span>", escape(&row.statement), short_setting(&row.task));
    let origin = |stored: &Stored| {
        let text = format!("Stored evidence: {}, {}", stored.preset(), stored.origin());
        format!("<span class=\"origin\" title=\"{}\">{}</span>", escape(&stored.scale), escape(&text))
    };
    let (kind, says) = match line {
        Line::Run(row, None) => ("run", format!("{statement}{}", seeds(row.n))),
        Line::Run(_, Some(stored)) => ("run", format!("{statement}{}", origin(stored))),
        Line::Beside(stored) => ("stored", origin(stored)),
        Line::Stored(_) => ("stored", statement),
    };
    let _ = writeln!(
        body,
        "<div class=\"line {kind} {verdict}\"><span class=\"says\">{says}</span>{plot}\
         <span class=\"numbers\">{numbers}<span class=\"note\">{unit}</span></span><span class=\"badge {verdict}\">{label}</span></div>",
        plot = plot(row, kind, reach, &numbers),
        unit = escape(&row.unit),
        label = escape(&row.verdict_label()),
    );
}

fn seeds(n: usize) -> String {
    let plural = if n == 1 { "seed" } else { "seeds" };
    format!("<span class=\"origin\">This run: {n} {plural}</span>")
}

/// The effect and its interval on a line; positive, and so on the claim's side, is to the right. A disc is this run's,
/// a diamond is published.
pub(super) fn plot(row: &ScorecardRow, kind: &str, reach: f64, numbers: &str) -> String {
    let x = |number: f64| {
        let share = if reach > 0.0 && number.is_finite() { (number / reach).clamp(-1.0, 1.0) } else { 0.0 };
        HALF + 0.96 * HALF * share
    };
    let (width, middle) = (2.0 * HALF, HEIGHT / 2.0);
    let whose = if kind == "run" { "this run" } else { "stored evidence" };
    let label = escape(&format!("{whose}: effect {numbers} {}; right of the middle supports the statement", row.unit));
    let mut svg = format!(
        "<svg class=\"plot\" role=\"img\" aria-label=\"{label}\" viewBox=\"0 0 {width} {HEIGHT}\"><title>{label}</title>\
         <line class=\"axis\" x1=\"0\" x2=\"{width}\" y1=\"{middle}\" y2=\"{middle}\"/>\
         <line class=\"zero\" x1=\"{HALF}\" x2=\"{HALF}\" y1=\"0\" y2=\"{HEIGHT}\"/>"
    );
    if let Some((low, high)) = row.interval {
        let (low, high) = (x(low), x(high));
        let _ =
            write!(svg, "<line class=\"interval\" x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>");
    }
    if let Some(effect) = row.effect {
        let at = x(effect);
        let _ = match kind {
            "run" => write!(svg, "<circle class=\"effect\" cx=\"{at:.1}\" cy=\"{middle}\" r=\"4\"/>"),
            _ => write!(svg, "<path class=\"effect\" d=\"M{at:.1} {}l5 5l-5 5l-5 -5z\"/>", middle - 5.0),
        };
    }
    svg.push_str("</svg>");
    svg
}
