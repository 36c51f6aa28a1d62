//! A page for each claim, in Markdown, from the published rows: nothing in it is typed by hand.

use std::fmt::Write as _;
use std::path::Path;

use lab::error::Result;
use lab::program::Registry;
use lab::report::{Answer, Claim, deciding};
use lab::statistics::{ScorecardRow, Verdict};

use super::published::Published;
use super::rows::{Rows, rows};

/// A page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Its file, below the folder of results.
    pub file: String,
    /// The text.
    pub text: String,
}

/// The rows of one source about a claim.
struct Part<'a> {
    of: &'a Rows,
    claims: Vec<&'a ScorecardRow>,
    controls: Vec<&'a ScorecardRow>,
}

/// The pages of all claims, from a folder of results.
///
/// # Errors
/// If one of its files cannot be read, naming it.
pub fn pages(results: &Path, registry: &Registry) -> Result<Vec<Page>> {
    let published = Published::read(results)?;
    let rows = rows(results, &published)?;
    Ok(registry.front.claims.iter().map(|claim| page(claim, &published, &rows)).collect())
}

fn page(claim: &Claim, published: &Published, rows: &[Rows]) -> Page {
    let about =
        |rows: &'_ [ScorecardRow]| -> Vec<usize> { (0..rows.len()).filter(|&i| claim.has(&rows[i].claim)).collect() };
    let parts: Vec<Part<'_>> = rows
        .iter()
        .map(|of| Part {
            of,
            claims: about(&of.claims).into_iter().map(|place| &of.claims[place]).collect(),
            controls: about(&of.controls).into_iter().map(|place| &of.controls[place]).collect(),
        })
        .filter(|part| !part.claims.is_empty())
        .collect();
    let all: Vec<&ScorecardRow> = parts.iter().flat_map(|part| part.claims.iter().copied()).collect();
    let mut text = format!("# {}. {}\n\n", claim.id, claim.question);
    text.push_str(
        "<!-- Written by `experiment evidence docs/results` from the rows that it links to; a test compares. -->\n\n",
    );
    let verdicts: Vec<Verdict> = all.iter().map(|row| row.verdict).collect();
    let count = |wanted: Verdict| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    if all.is_empty() {
        text.push_str("Nothing is published on this claim yet.\n\n");
    } else {
        let (decide, prefix) = deciding(all.iter().map(|row| (row.claim.as_str(), row.verdict)));
        let nothing = if prefix.is_empty() { "" } else { " On networks nothing is published yet." };
        let _ = writeln!(
            text,
            "**Here: {prefix}{}.**{nothing} Of {} published statements {} are reproduced, {} contradicted and {} open.\nAn effect is \
             a mean over seeds with its 95 % t interval, positive where the statement holds; the [protocol](../protocol.md) says how\n\
             it is read.\n",
            Answer::of(&decide).label(),
            all.len(),
            count(Verdict::Reproduced),
            count(Verdict::Contradicted),
            count(Verdict::Inconclusive)
        );
    }
    for figure in published.figures.iter().filter(|figure| figure.claim == claim.id) {
        let _ = writeln!(text, "![{}]({})\n", figure.shows, figure.file);
    }
    for part in &parts {
        source(&mut text, part);
    }
    did_not_show(&mut text, &all);
    text.push_str("## Read on\n\n[All results](../results.md), [how verdicts are reached](../protocol.md), [what was tried and failed](../log.md).\n");
    Page { file: format!("{}.md", claim.id.to_lowercase()), text }
}

/// One file of rows: where it comes from, and its tables.
fn source(text: &mut String, part: &Part<'_>) {
    let source = &part.of.source;
    let _ = writeln!(
        text,
        "## {}\n\nProtocol {}, commit {}; the rows: [{file}]({file}). They were written by\n\n```text\n{}\n```\n",
        source.scale,
        source.protocol,
        source.commit,
        source.command,
        file = source.file,
    );
    if !source.note.is_empty() {
        let _ = writeln!(text, "{}\n", source.note);
    }
    table(text, &part.claims, ScorecardRow::verdict_label, "verdict");
    if !part.controls.is_empty() {
        text.push_str("Controls, which are no verdicts on the claim:\n\n");
        table(text, &part.controls, ScorecardRow::sign_label, "sign");
    }
}

fn table(text: &mut String, rows: &[&ScorecardRow], label: impl Fn(&ScorecardRow) -> String, title: &str) {
    let _ = writeln!(
        text,
        "| statement | setting | effect | 95 % interval | unit | seeds | {title} |\n|---|---|---|---|---|---|---|"
    );
    for row in rows {
        let effect = row.effect.map_or_else(|| "none".into(), |effect| format!("{effect:+.3}"));
        let interval = row.interval.map_or_else(|| "none".into(), |(low, high)| format!("[{low:+.3}, {high:+.3}]"));
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let _ = writeln!(
            text,
            "| {} | {} | {effect} | {interval} | {} | {} | {} |",
            cell(&row.statement),
            cell(&row.task),
            cell(&row.unit),
            row.n,
            label(row)
        );
    }
    text.push('\n');
}

/// What was tried and came out otherwise, or not at all.
fn did_not_show(text: &mut String, rows: &[&ScorecardRow]) {
    let lists = [
        (Verdict::Contradicted, "Came out the other way round"),
        (Verdict::Inconclusive, "Did not show: the interval holds zero, or does after correction for many rows"),
    ];
    for (verdict, title) in lists {
        let of: Vec<_> = rows.iter().filter(|row| row.verdict == verdict).collect();
        if of.is_empty() {
            continue;
        }
        let _ = writeln!(text, "## {title}\n");
        for row in of {
            let _ = writeln!(text, "- {} ({})", row.statement, row.task);
        }
        text.push('\n');
    }
}
