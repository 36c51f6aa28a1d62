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
    superseded: Vec<&'a ScorecardRow>,
    controls: Vec<&'a ScorecardRow>,
}

/// The pages of all claims, from a folder of results.
///
/// # Errors
/// If one of its files cannot be read, naming it.
pub fn pages(results: &Path, registry: &Registry) -> Result<Vec<Page>> {
    let published = Published::read(results)?;
    let rows = rows(results, &published)?;
    let claims = registry.front.claims;
    let of_claims = claims.iter().map(|claim| page(claim, &published, &rows));
    Ok(std::iter::once(overview(claims, &rows)).chain(of_claims).collect())
}

/// All claims at a glance, and what is published.
fn overview(claims: &[Claim], rows: &[Rows]) -> Page {
    let mut text = String::from("# Results\n\n");
    text.push_str(NOTE);
    text.push_str(
        "What the published rows say on each claim. Its page has every statement with effect, interval, seeds and verdict, and what\n\
         did not show; a statement that two protocols speak of counts by the later one.\n\n\
         | | the question | here | reproduced | contradicted | open |\n|---|---|---|---|---|---|\n",
    );
    for claim in claims {
        let of: Vec<&ScorecardRow> = rows.iter().flat_map(|of| about(claim, &of.claims)).collect();
        let (here, _) = answer(&of);
        let [yes, no, open] = tally(&of);
        let (id, question) = (claim.id, claim.question);
        let page = claim.id.to_lowercase();
        let _ = writeln!(text, "| [{id}]({page}.md) | {question} | {here} | {yes} | {no} | {open} |");
    }
    text.push_str("\n| rows | of | protocol | commit |\n|---|---|---|---|\n");
    for Rows { source, .. } in rows {
        let (file, scale, command) = (&source.file, &source.scale, &source.command);
        let _ = writeln!(text, "| [{file}]({file}) | `{command}`, {scale} | {} | {} |", source.protocol, source.commit);
    }
    text.push_str(
        "\nWhat was found by protocol 1, in the words of the time: [a record](protocol-1.md). How verdicts are reached: the\n\
         [protocol](../protocol.md). What was tried and failed, and every plan: the [log](../log.md).\n",
    );
    Page { file: "README.md".into(), text }
}

/// What rows on a claim say together, in a word; and what else there is to say of it.
fn answer(rows: &[&ScorecardRow]) -> (String, &'static str) {
    if rows.is_empty() {
        return ("nothing published".into(), "");
    }
    let (decide, prefix) = deciding(rows.iter().map(|row| (row.claim.as_str(), row.verdict)));
    let nothing = if prefix.is_empty() { "" } else { " On networks nothing is published yet." };
    (format!("{prefix}{}", Answer::of(&decide).label()), nothing)
}

/// How many rows are reproduced, contradicted and open.
fn tally(rows: &[&ScorecardRow]) -> [usize; 3] {
    [Verdict::Reproduced, Verdict::Contradicted, Verdict::Inconclusive]
        .map(|wanted| rows.iter().filter(|row| row.verdict == wanted).count())
}

/// What a page says of itself.
const NOTE: &str =
    "<!-- Written by `experiment evidence docs/results` from the rows that it links to; a test compares. -->\n\n";

fn page(claim: &Claim, published: &Published, rows: &[Rows]) -> Page {
    let parts: Vec<Part<'_>> = rows
        .iter()
        .map(|of| Part {
            of,
            claims: about(claim, &of.claims),
            superseded: about(claim, &of.superseded),
            controls: about(claim, &of.controls),
        })
        .filter(|part| !part.claims.is_empty() || !part.superseded.is_empty())
        .collect();
    let all: Vec<&ScorecardRow> = parts.iter().flat_map(|part| part.claims.iter().copied()).collect();
    let mut text = format!("# {}. {}\n\n", claim.id, claim.question);
    text.push_str(NOTE);
    if all.is_empty() {
        text.push_str("Nothing is published on this claim yet.\n\n");
    } else {
        let (here, nothing) = answer(&all);
        let [yes, no, open] = tally(&all);
        let _ = writeln!(
            text,
            "**Here: {here}.**{nothing} Of {} published statements {yes} are reproduced, {no} contradicted and {open} open.\nAn effect is \
             a mean over seeds with its 95 % t interval, positive where the statement holds; the [protocol](../protocol.md) says how\n\
             it is read. {}\n",
            all.len(),
            claim.measured,
        );
    }
    for figure in published.figures.iter().filter(|figure| figure.claim == claim.id) {
        let _ = writeln!(text, "![{}]({})\n", figure.shows, figure.file);
    }
    for part in &parts {
        source(&mut text, part);
    }
    did_not_show(&mut text, &all);
    text.push_str("## Read on\n\n[All results](README.md), [how verdicts are reached](../protocol.md), [what was tried and failed](../log.md).\n");
    Page { file: format!("{}.md", claim.id.to_lowercase()), text }
}

/// The rows about a claim.
fn about<'a>(claim: &Claim, rows: &'a [ScorecardRow]) -> Vec<&'a ScorecardRow> {
    rows.iter().filter(|row| claim.has(&row.claim)).collect()
}

/// One file of rows: where it comes from, and its tables.
fn source(text: &mut String, part: &Part<'_>) {
    let source = &part.of.source;
    let _ = writeln!(
        text,
        "## {}, protocol {}\n\nCommit {}; the rows: [{file}]({file}). They were written by\n\n```text\n{}\n```\n",
        source.scale,
        source.protocol,
        source.commit,
        source.command,
        file = source.file,
    );
    if !source.note.is_empty() {
        let _ = writeln!(text, "{}\n", source.note);
    }
    if !part.claims.is_empty() {
        table(text, &part.claims, ScorecardRow::verdict_label, "verdict");
    }
    if !part.superseded.is_empty() {
        text.push_str("Read again by a later protocol, whose rows stand above and count in place of these:\n\n");
        table(text, &part.superseded, ScorecardRow::verdict_label, "verdict then");
    }
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
