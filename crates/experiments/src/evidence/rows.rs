//! The rows of every published file.

use std::path::{Path, PathBuf};

use lab::error::Result;
use lab::report::{CLAIM, ScorecardLine};
use lab::statistics::ScorecardRow;
use lab::table;

use super::protocol_1;
use super::published::{Published, Reader, Source};

/// The rows of a file: those about claims, those that a later protocol reads again, and those that are no verdict.
pub(super) struct Rows {
    pub(super) source: Source,
    pub(super) claims: Vec<ScorecardRow>,
    pub(super) superseded: Vec<ScorecardRow>,
    pub(super) controls: Vec<ScorecardRow>,
}

/// The rows of every source of a folder of results, in the order of its list. A statement that sources of two protocols
/// have counts by the later one alone.
pub(super) fn rows(results: &Path, published: &Published) -> Result<Vec<Rows>> {
    let of = |source: &Source| -> Result<Rows> {
        let path: PathBuf = results.join(&source.file);
        let (claims, controls) = match source.reader {
            Reader::Scorecard => scorecard(&path)?,
            Reader::Contrasts => (protocol_1::contrasts(&path)?, Vec::new()),
            Reader::Pairs => (protocol_1::pairs(&path)?, Vec::new()),
            Reader::Memorization => (protocol_1::memorization(&path)?, Vec::new()),
        };
        Ok(Rows { source: source.clone(), claims, superseded: Vec::new(), controls })
    };
    let mut all: Vec<Rows> = published.sources.iter().map(of).collect::<Result<_>>()?;
    let statements: Vec<(u32, [String; 3])> = all
        .iter()
        .flat_map(|of| of.claims.iter().map(|row| (of.source.protocol, row.subject().map(String::from))))
        .collect();
    for of in &mut all {
        let again = |row: &ScorecardRow| {
            statements.iter().any(|(protocol, subject)| *protocol > of.source.protocol && *subject == row.subject())
        };
        (of.superseded, of.claims) = std::mem::take(&mut of.claims).into_iter().partition(again);
    }
    Ok(all)
}

/// The claims and controls of a report's scorecard.
fn scorecard(path: &Path) -> Result<(Vec<ScorecardRow>, Vec<ScorecardRow>)> {
    let lines: Vec<(u64, ScorecardLine)> = table::read(path, &ScorecardLine::COLUMNS)?;
    let (claims, controls): (Vec<_>, Vec<_>) = lines.into_iter().map(|(_, line)| line).partition(|l| l.kind == CLAIM);
    let rows = |lines: Vec<ScorecardLine>| lines.iter().map(ScorecardLine::row).collect();
    Ok((rows(claims), rows(controls)))
}
