//! Stored evidence: what the published rows in `docs/results` say on each claim, computed from them.
//!
//! `evidence.toml` in that folder lists the files, and with each how it is read, how large the networks are, by which
//! protocol and commit. From it follow
//!
//! - [`EVIDENCE`], `evidence.csv`: a [`Stored`] row for each statement, which reports show beside a run's own;
//! - [`pages`](pages()): a page for each claim in Markdown.
//!
//! Both are committed, and compared by tests with what the rows give. New rows need no code: a run leaves
//! `NAME-scorecard.csv` in its report, which is published as it is and listed with the reader `scorecard`. The other
//! readers are for rows of protocol 1, which left no such file.

mod pages;
mod protocol_1;

use std::path::{Path, PathBuf};

use lab::error::{LabError, Result};
use lab::report::{CLAIM, ScorecardLine, Stored};
use lab::statistics::ScorecardRow;
use lab::{input, table};
use serde::Deserialize;

pub use pages::{Page, pages};

/// The published rows, as a CSV file.
pub const EVIDENCE: &str = include_str!("../../../../docs/results/evidence.csv");

/// What is published, and how it is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Files with rows.
    pub sources: Vec<Source>,
    /// Figures for the pages of claims.
    #[serde(default)]
    pub figures: Vec<PublishedFigure>,
}

/// A file with rows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The file, below the folder of results.
    pub file: String,
    /// How it is read.
    pub reader: Reader,
    /// The preset, and how large its networks are.
    pub scale: String,
    /// The protocol.
    pub protocol: u32,
    /// The commit that computes it.
    pub commit: String,
    /// The command that wrote it.
    pub command: String,
    /// What a reader must know beside the rows, in Markdown; may be empty.
    #[serde(default)]
    pub note: String,
}

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reader {
    /// `NAME-scorecard.csv` of a report.
    Scorecard,
    /// `effects.csv` of protocol 1: claim C1.
    Contrasts,
    /// `optimizer-pairs.csv` of protocol 1: claim C4.
    Pairs,
    /// `memorization-differences.csv` of protocol 1 with `memorization.csv` beside it: claim C5.
    Memorization,
}

/// A figure of a claim's page.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedFigure {
    /// The claim's id.
    pub claim: String,
    /// The file, below the folder of results.
    pub file: String,
    /// What it shows, in words that stand for it.
    pub shows: String,
}

impl Published {
    /// Reads `evidence.toml` of a folder of results.
    ///
    /// # Errors
    /// If it cannot be read, naming file and line.
    pub fn read(results: &Path) -> Result<Self> {
        let path = results.join("evidence.toml");
        let text = read(&path)?;
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
            let field = format!("{}, line {line}", path.display());
            LabError::value(field, error.message().replace('\n', " "), "sources and figures")
        })
    }
}

fn read(path: &Path) -> Result<String> {
    input::read_text(path).map_err(|source| LabError::ReadFile { path: path.to_path_buf(), source })
}

/// A published row, and those that are no verdict on a claim.
pub(crate) struct Rows {
    pub(crate) source: Source,
    pub(crate) claims: Vec<ScorecardRow>,
    pub(crate) controls: Vec<ScorecardRow>,
}

/// The rows of every source of a folder of results, in the order of its list.
pub(crate) fn rows(results: &Path, published: &Published) -> Result<Vec<Rows>> {
    let of = |source: &Source| -> Result<Rows> {
        let path: PathBuf = results.join(&source.file);
        let (claims, controls) = match source.reader {
            Reader::Scorecard => scorecard(&path)?,
            Reader::Contrasts => (protocol_1::contrasts(&path)?, Vec::new()),
            Reader::Pairs => (protocol_1::pairs(&path)?, Vec::new()),
            Reader::Memorization => (protocol_1::memorization(&path)?, Vec::new()),
        };
        Ok(Rows { source: source.clone(), claims, controls })
    };
    published.sources.iter().map(of).collect()
}

/// The claims and controls of a report's scorecard.
fn scorecard(path: &Path) -> Result<(Vec<ScorecardRow>, Vec<ScorecardRow>)> {
    let lines: Vec<(u64, ScorecardLine)> = table::read(path, &ScorecardLine::COLUMNS)?;
    let (claims, controls): (Vec<_>, Vec<_>) = lines.into_iter().map(|(_, line)| line).partition(|l| l.kind == CLAIM);
    let rows = |lines: Vec<ScorecardLine>| lines.iter().map(ScorecardLine::row).collect();
    Ok((rows(claims), rows(controls)))
}

/// The text of `evidence.csv` for a folder of results.
///
/// # Errors
/// If one of its files cannot be read, naming it.
pub fn csv(results: &Path) -> Result<String> {
    let published = Published::read(results)?;
    let mut stored = Vec::new();
    for Rows { source, claims, .. } in rows(results, &published)? {
        stored.extend(claims.into_iter().map(|row| Stored {
            claim: row.claim,
            statement: row.statement,
            task: row.task,
            effect: row.effect,
            low: row.interval.map(|(low, _)| low),
            high: row.interval.map(|(_, high)| high),
            unit: row.unit,
            seeds: row.n,
            readings: row.readings,
            verdict: row.verdict,
            scale: source.scale.clone(),
            protocol: source.protocol,
            commit: source.commit.clone(),
            file: source.file.clone(),
        }));
    }
    Ok(table::write_with(&Stored::COLUMNS, &stored)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/results")
    }

    #[test]
    fn the_evidence_that_reports_show_is_what_the_published_rows_give() {
        let expected = csv(&results()).unwrap();
        assert!(
            expected == EVIDENCE,
            "docs/results/evidence.csv is not what its rows give: `experiment evidence docs/results` writes it"
        );
        assert!(!Stored::parse(EVIDENCE).unwrap().is_empty());
    }

    #[test]
    fn the_pages_of_claims_are_what_the_published_rows_give() {
        for page in pages(&results(), &crate::registry::REGISTRY).unwrap() {
            let path = results().join(&page.file);
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                committed == page.text,
                "{} is not what its rows give: `experiment evidence docs/results` writes it",
                path.display()
            );
        }
    }

    /// As the reports of the time printed them, to three digits.
    #[test]
    fn rows_of_protocol_1_give_the_numbers_that_were_published() {
        let stored = Stored::parse(&csv(&results()).unwrap()).unwrap();
        let found = |claim: &str, statement: &str, task: &str| {
            let mut of = stored.iter().filter(|row| row.protocol == 1 && row.claim == claim && row.task == task);
            let row = of.find(|row| row.statement.contains(statement)).unwrap_or_else(|| panic!("{statement}"));
            format!(
                "{:+.3} [{:+.3}, {:+.3}] {} {}",
                row.effect.unwrap(),
                row.low.unwrap(),
                row.high.unwrap(),
                row.seeds,
                row.verdict
            )
        };
        let from = |optimizer: &str| format!("From the {optimizer} checkpoint");
        assert_eq!(found("C1a", &from("AdamW"), "code"), "+0.051 [+0.038, +0.064] 5 reproduced");
        assert_eq!(found("C1a", &from("Muon"), "code"), "-0.040 [-0.044, -0.035] 5 contradicted");
        assert_eq!(found("C1a", &from("Muon"), "math"), "+0.016 [+0.003, +0.029] 5 reproduced");
        assert_eq!(found("C1b", "AdamW / Muon", "code"), "+0.006 [-0.002, +0.014] 5 inconclusive");
        assert_eq!(found("C1b", "AdamW / Muon", "math"), "+0.036 [+0.026, +0.045] 5 reproduced");
        assert_eq!(found("C1c", "LoRA", "code"), "-0.032 [-0.036, -0.028] 5 contradicted");
        assert_eq!(found("C1c", "LoRA", "math"), "+0.122 [+0.085, +0.158] 5 reproduced");
        assert_eq!(found("C1d", "SGD", "code"), "-0.043 [-0.048, -0.038] 5 contradicted");
        assert_eq!(found("C1d", "SGD", "math"), "+0.073 [+0.054, +0.093] 5 reproduced");
        assert_eq!(found("C4 (pretraining)", "lower loss", "pretraining text"), "+0.070 [+0.050, +0.090] 5 reproduced");
        assert_eq!(found("C4", "higher loss", "reasoning"), "-0.099 [-0.126, -0.073] 5 contradicted");
        assert_eq!(found("C4", "right answers", "reasoning"), "-0.241 [-0.289, -0.192] 5 contradicted");
        let few = "60 facts x 16, 32 examples; 120 facts x 16, 32 examples";
        assert_eq!(found("C5a", "at the end", few), "-0.201 [-0.244, -0.157] 10 contradicted");
        assert_eq!(found("C5a", "at matched training loss", few), "-0.185 [-0.227, -0.143] 10 contradicted");
        let all = "60 facts x 16, 32, 600 examples; 120 facts x 16, 32, 600 examples";
        assert_eq!(found("C5b", "fewer steps", all), "+0.864 [+0.764, +0.963] 10 reproduced");
    }
}
