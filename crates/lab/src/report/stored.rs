//! Published results, beside which a run's own stand; and the file in which a run leaves its own.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::statistics::{Readings, ScorecardRow, Verdict};
use crate::table::{self, TableError};

/// A row of a scorecard as a line of a CSV file: what a report leaves behind, and what can be published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScorecardLine {
    /// `claim`, or `control` for a row that is no verdict on a claim.
    pub kind: String,
    /// [`ScorecardRow::claim`].
    pub claim: String,
    /// [`ScorecardRow::statement`].
    pub statement: String,
    /// [`ScorecardRow::task`].
    pub task: String,
    /// [`ScorecardRow::effect`].
    pub effect: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// [`ScorecardRow::unit`].
    pub unit: String,
    /// Number of seeds.
    pub seeds: usize,
    /// [`ScorecardRow::p`].
    pub p: Option<f64>,
    /// [`ScorecardRow::corrected`].
    pub corrected: Option<f64>,
    /// [`ScorecardRow::readings`].
    pub readings: Option<Readings>,
    /// [`ScorecardRow::verdict`]; of a control it is the sign.
    pub verdict: Verdict,
    /// [`ScorecardRow::note`].
    pub note: String,
}

/// The kind of a [`ScorecardLine`] that is a verdict on a claim.
pub const CLAIM: &str = "claim";
/// The kind of one that is not.
pub const CONTROL: &str = "control";

impl ScorecardLine {
    /// The columns, in order.
    pub const COLUMNS: [&'static str; 14] = [
        "kind",
        "claim",
        "statement",
        "task",
        "effect",
        "low",
        "high",
        "unit",
        "seeds",
        "p",
        "corrected",
        "readings",
        "verdict",
        "note",
    ];

    /// The line of a row.
    pub fn new(kind: &str, row: &ScorecardRow) -> Self {
        Self {
            kind: kind.into(),
            claim: row.claim.clone(),
            statement: row.statement.clone(),
            task: row.task.clone(),
            effect: row.effect,
            low: row.interval.map(|(low, _)| low),
            high: row.interval.map(|(_, high)| high),
            unit: row.unit.clone(),
            seeds: row.n,
            p: row.p,
            corrected: row.corrected,
            readings: row.readings,
            verdict: row.verdict,
            note: row.note.clone(),
        }
    }

    /// The row of a line.
    pub fn row(&self) -> ScorecardRow {
        ScorecardRow {
            claim: self.claim.clone(),
            statement: self.statement.clone(),
            task: self.task.clone(),
            effect: self.effect,
            unit: self.unit.clone(),
            interval: self.low.zip(self.high),
            n: self.seeds,
            p: self.p,
            corrected: self.corrected,
            readings: self.readings,
            verdict: self.verdict,
            note: self.note.clone(),
        }
    }
}

/// A published row, and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// [`ScorecardRow::claim`], and so on.
    pub claim: String,
    /// One sentence.
    pub statement: String,
    /// Task or setting.
    pub task: String,
    /// Mean over seeds, positive where the statement holds.
    pub effect: Option<f64>,
    /// Lower end of the 95 % interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Unit of the effect.
    pub unit: String,
    /// Number of seeds.
    pub seeds: usize,
    /// Whether it holds for other readings too.
    pub readings: Option<Readings>,
    /// The verdict.
    pub verdict: Verdict,
    /// The preset, and how large its networks are.
    pub scale: String,
    /// The protocol by which it was read.
    pub protocol: u32,
    /// The commit that computes it.
    pub commit: String,
    /// The file with its rows, below the folder of results.
    pub file: String,
}

impl Stored {
    /// The columns, in order.
    pub const COLUMNS: [&'static str; 14] = [
        "claim",
        "statement",
        "task",
        "effect",
        "low",
        "high",
        "unit",
        "seeds",
        "readings",
        "verdict",
        "scale",
        "protocol",
        "commit",
        "file",
    ];

    /// The rows of a CSV file's text.
    ///
    /// # Errors
    /// A line that is no such row.
    pub fn parse(text: &str) -> Result<Vec<Self>, TableError> {
        let rows = table::parse(text, Path::new("evidence.csv"), &Self::COLUMNS)?;
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// As [`ScorecardRow::subject`].
    pub fn subject(&self) -> [&str; 3] {
        [&self.claim, &self.statement, &self.task]
    }

    /// The row of a scorecard.
    pub fn row(&self) -> ScorecardRow {
        ScorecardRow {
            claim: self.claim.clone(),
            statement: self.statement.clone(),
            task: self.task.clone(),
            effect: self.effect,
            unit: self.unit.clone(),
            interval: self.low.zip(self.high),
            n: self.seeds,
            p: None,
            corrected: None,
            readings: self.readings,
            verdict: self.verdict,
            note: String::new(),
        }
    }

    /// The preset alone: "standard" of "standard (networks of .9 M weights)".
    pub fn preset(&self) -> &str {
        self.scale.split(" (").next().unwrap_or(&self.scale)
    }

    /// Where it comes from, in words: "5 seeds, protocol 1, commit c8e438f".
    pub fn origin(&self) -> String {
        let seeds = if self.seeds == 1 { "seed" } else { "seeds" };
        format!("{} {seeds}, protocol {}, commit {}", self.seeds, self.protocol, self.commit)
    }

    /// Whether this is what a run found, to the last digits that a sum in another order changes.
    pub(super) fn is(&self, row: &ScorecardRow) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs().max(b.abs());
        let numbers = |row: &ScorecardRow| row.effect.zip(row.interval);
        self.says(row)
            && self.seeds == row.n
            && self.unit == row.unit
            && match (numbers(&self.row()), numbers(row)) {
                (Some((a, (b, c))), Some((d, (e, f)))) => near(a, d) && near(b, e) && near(c, f),
                _ => false,
            }
    }

    /// Whether a run's row is about the same.
    pub(super) fn says(&self, row: &ScorecardRow) -> bool {
        self.subject() == row.subject()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> ScorecardRow {
        let row = ScorecardRow::from_samples("C1a", "a, b", "code", "nats", &[1.0, 1.1, 0.9, 1.0, 1.2], "n");
        ScorecardRow { readings: Some(Readings::NotRobust), corrected: Some(0.01), ..row }
    }

    #[test]
    fn a_row_comes_back_from_its_line() {
        for row in [row(), ScorecardRow::from_samples("C2", "s", "t", "u", &[], "")] {
            let text = table::write_with(&ScorecardLine::COLUMNS, [ScorecardLine::new(CLAIM, &row)]).unwrap();
            let back: Vec<(u64, ScorecardLine)> =
                table::parse(&text, Path::new("a.csv"), &ScorecardLine::COLUMNS).unwrap();
            assert_eq!(back[0].1.row(), row);
        }
    }

    #[test]
    fn a_published_row_is_known_again_by_its_numbers() {
        let row = row();
        let (low, high) = row.interval.unwrap();
        let stored = Stored {
            claim: row.claim.clone(),
            statement: row.statement.clone(),
            task: row.task.clone(),
            effect: row.effect,
            low: Some(low),
            high: Some(high),
            unit: row.unit.clone(),
            seeds: 5,
            readings: None,
            verdict: row.verdict,
            scale: "standard (.9 M weights)".into(),
            protocol: 1,
            commit: "abc".into(),
            file: "a.csv".into(),
        };
        assert!(stored.is(&row));
        assert!(!stored.is(&ScorecardRow { effect: Some(1.0), ..row.clone() }));
        assert!(!stored.is(&ScorecardRow { task: "math".into(), ..row }));
        let text = table::write_with(&Stored::COLUMNS, [&stored]).unwrap();
        assert_eq!(Stored::parse(&text).unwrap(), [stored]);
    }
}
