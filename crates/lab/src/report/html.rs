//! Rendering the page.

use std::fmt::Write as _;

use super::answers::{Claim, answers};
use super::error::ReportError;
use super::section::{FIGURES, FigureEntry, Section, Table};
use super::stored::Stored;
use super::text::{escape, short_setting, signed, style_of};
use crate::figures::file_stem;
use crate::hash::sha256_base64;
use crate::statistics::{MIN_SEEDS, ScorecardRow, Verdict};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// What the page opens with.
#[derive(Clone, Copy, Debug)]
pub struct Front {
    /// The title.
    pub title: &'static str,
    /// A paragraph under it, in HTML.
    pub lead: &'static str,
    /// The claims that are answered first, in order.
    pub claims: &'static [Claim],
    /// Published rows, which stand beside this run's: a CSV file of [`Stored`], or nothing.
    pub evidence: &'static str,
}

/// The target of a link to a file of the report: a path below its folder, and nothing else. A section may have been
/// written by anything, and a link can run code.
fn link(path: &str) -> Option<String> {
    let inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !inside || path.contains(['\\', ':']) {
        return None;
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=,".contains(&byte);
    Some(
        path.bytes()
            .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect(),
    )
}

/// A link to the file with the numbers, after a space; nothing without one.
fn data_link(data: Option<&String>) -> String {
    data.and_then(|data| link(data)).map_or(String::new(), |data| format!(" <a href=\"{data}\">CSV</a>"))
}

/// The whole page; `svg` returns the text of the figure of a given name.
pub(super) fn page(
    sections: &[Section],
    front: &Front,
    svg: &impl Fn(&str) -> Result<String, ReportError>,
) -> Result<String, ReportError> {
    let title = escape(front.title);
    let stored = if front.evidence.is_empty() { Vec::new() } else { Stored::parse(front.evidence)? };
    let mut body = String::new();
    let _ = writeln!(body, "<header>\n<h1>{title}</h1>");
    let _ = writeln!(body, "<p>{}</p>", front.lead);
    body.push_str("</header>\n<nav aria-label=\"Contents\"><a href=\"#scorecard\">What came out</a> ");
    for section in sections {
        let _ = write!(body, "<a href=\"#{}\">{}</a> ", escape(&section.name), escape(&section.title));
    }
    body.push_str("</nav>\n<main>\n");
    let rows: Vec<&ScorecardRow> = sections.iter().flat_map(|section| &section.scorecard).collect();
    body.push_str("<section id=\"scorecard\">\n<h2>What came out</h2>\n");
    made_by(&mut body, sections);
    answers(&mut body, front.claims, &rows, &stored);
    if rows.is_empty() {
        body.push_str("<p>No claim has been measured yet.</p>\n");
    } else {
        folded(&mut body, "All statements of this run, with notes and p-values", |body| {
            let _ = writeln!(
                body,
                "<p>Effects are means over seeds (of pretraining; of simulations in the rows marked theory), oriented so \
                 that a positive one supports the claim, with paired t intervals at 95 %. <em>Reproduced</em>: the \
                 interval lies on the claimed side of zero; <em>contradicted</em>: on the other; else \
                 <em>inconclusive</em>. A verdict needs at least {MIN_SEEDS} seeds. <em>Robust</em>: every other way of \
                 reading the same runs has the verdict's sign, and all intervals but one exclude zero.</p>"
            );
            scorecard(body, &rows, Kind::Claims);
        });
    }
    body.push_str("</section>\n");
    for part in sections {
        section(&mut body, part, svg)?;
    }
    body.push_str("</main>\n");
    // Nothing but what stands in the page may run, and nothing at all may be loaded.
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        sha256_base64(SCRIPT.as_bytes())
    );
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}<script>{SCRIPT}</script>\n</body>\n</html>\n"
    ))
}

/// What this run is: the commands that made the sections, each once.
fn made_by(body: &mut String, sections: &[Section]) {
    let lines = sections.iter().flat_map(|section| &section.provenance);
    let mut commands: Vec<&str> = Vec::new();
    for (_, command) in lines.filter(|(label, command)| label == "command" && !command.is_empty()) {
        if !commands.contains(&command.as_str()) {
            commands.push(command);
        }
    }
    if !commands.is_empty() {
        let commands: Vec<String> =
            commands.iter().map(|command| format!("<code>{}</code>", escape(command))).collect();
        let _ = writeln!(body, "<p class=\"reading\">This run: {}.</p>", commands.join(", "));
    }
    let unfinished: Vec<String> = sections.iter().filter_map(missing).collect();
    if !unfinished.is_empty() {
        let _ = writeln!(body, "<p class=\"reading\"><strong>Unfinished</strong>: {}.</p>", unfinished.join("; "));
    }
}

/// How much of a section was not finished when it was made, if anything.
fn missing(section: &Section) -> Option<String> {
    let (missing, stages) = (section.missing, section.stages.rows.len());
    (missing > 0).then(|| format!("{} lacks {missing} of {stages} stages", escape(&section.title)))
}

fn section(
    body: &mut String,
    section: &Section,
    svg: &impl Fn(&str) -> Result<String, ReportError>,
) -> Result<(), ReportError> {
    let _ = writeln!(body, "<section id=\"{}\">\n<h2>{}</h2>", escape(&section.name), escape(&section.title));
    if let Some(missing) = missing(section) {
        let _ = writeln!(body, "<p><strong>Unfinished</strong>: {missing}; what follows is made of the others.</p>");
    }
    for paragraph in &section.introduction {
        let _ = writeln!(body, "<p>{}</p>", escape(paragraph));
    }
    for entry in &section.figures {
        figure(body, entry, &svg(&entry.name)?);
    }
    if !section.tables.is_empty() {
        let titles: Vec<&str> = section.tables.iter().map(|table| table.title.as_str()).collect();
        folded(body, &format!("Tables: {}", titles.join("; ")), |body| {
            section.tables.iter().for_each(|part| table(body, part));
        });
    }
    if !section.controls.is_empty() {
        folded(body, &format!("Controls: {} rows that are no verdicts on a claim", section.controls.len()), |body| {
            body.push_str(
                "<p>Baselines, and the same statistics in other settings: other pairs of checkpoints, or cells of which the claim \
             says nothing. They tell what the optimizer does from what else differs; they are no verdicts on a claim.</p>\n",
        );
            scorecard(body, &section.controls.iter().collect::<Vec<_>>(), Kind::Controls);
        });
    }
    if !section.stages.rows.is_empty() {
        folded(body, &format!("Every stage: {}", section.stages.rows.len()), |body| table(body, &section.stages));
    }
    if !section.provenance.is_empty() {
        folded(body, "How this was made", |body| {
            body.push_str("<dl>\n");
            for (label, value) in &section.provenance {
                let _ = writeln!(body, "<dt>{}</dt><dd>{}</dd>", escape(label), escape(value));
            }
            body.push_str("</dl>\n");
        });
    }
    body.push_str("</section>\n");
    Ok(())
}

/// What only some readers want: a line that opens.
fn folded(body: &mut String, title: &str, inside: impl FnOnce(&mut String)) {
    let _ = writeln!(body, "<details>\n<summary>{}</summary>", escape(title));
    inside(body);
    body.push_str("</details>\n");
}

/// The figure inline, its caption, and links to its files.
fn figure(body: &mut String, entry: &FigureEntry, svg: &str) {
    let name = file_stem(&entry.name);
    let caption = escape(&entry.caption);
    // An XML declaration may stand alone in an SVG file, not in a page.
    let svg = svg.find("<svg").map_or(svg, |start| &svg[start..]).trim_end();
    let svg = svg.replacen("<svg", &format!("<svg role=\"img\" aria-label=\"{caption}\""), 1);
    let _ = writeln!(body, "<figure id=\"figure-{name}\">\n<div class=\"sheet\">{svg}</div>");
    let _ = write!(
        body,
        "<figcaption>{caption} <span class=\"files\"><a href=\"{FIGURES}/{name}.svg\">SVG</a> \
         <a href=\"{FIGURES}/{name}.png\">PNG</a>"
    );
    body.push_str(&data_link(entry.data.as_ref()));
    body.push_str("</span></figcaption>\n</figure>\n");
}

fn table(body: &mut String, table: &Table) {
    let _ = writeln!(body, "<h3>{}</h3>\n<div class=\"scroll\"><table>\n<thead><tr>", escape(&table.title));
    for title in &table.header {
        let _ = write!(body, "<th scope=\"col\">{}</th>", escape(title));
    }
    body.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        body.push_str(if row.strong { "<tr class=\"strong\">" } else { "<tr>" });
        for cell in &row.cells {
            let _ = write!(body, "<td>{}</td>", escape(cell));
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</tbody></table></div>\n");
    if !table.caption.is_empty() || table.data.is_some() {
        let _ = write!(body, "<p class=\"caption\">{}", escape(&table.caption));
        let data = data_link(table.data.as_ref());
        if !data.is_empty() {
            let _ = write!(body, " <span class=\"files\">{}</span>", data.trim_start());
        }
        body.push_str("</p>\n");
    }
}

/// Titles of the scorecard's columns; narrow screens show them beside each cell instead.
const SCORECARD: [&str; 7] = ["Claim", "Statement", "Task", "Verdict", "Effect", "95 % interval", "Seeds"];

/// What the rows of a scorecard are about.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Claims, with verdicts.
    Claims,
    /// Controls, with the sign of the effect.
    Controls,
}

/// Verdict, effect, interval and seeds of each row.
fn scorecard(body: &mut String, rows: &[&ScorecardRow], kind: Kind) {
    let title = |column: &'static str| match (column, kind) {
        ("Claim", Kind::Controls) => "As in",
        ("Verdict", Kind::Controls) => "Sign",
        _ => column,
    };
    body.push_str("<div class=\"scroll\"><table class=\"scorecard\">\n<thead><tr>");
    for column in SCORECARD {
        let _ = write!(body, "<th scope=\"col\">{}</th>", title(column));
    }
    body.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        let class = style_of(if kind == Kind::Claims { row.verdict } else { Verdict::Inconclusive });
        let label = if kind == Kind::Claims { row.verdict_label() } else { row.sign_label() };
        let note = |text: &str| match text {
            "" => String::new(),
            text => format!("<span class=\"note\">{}</span>", escape(text)),
        };
        let effect = row.effect.map_or_else(|| "none".to_owned(), |effect| signed(effect) + &note(&row.unit));
        let interval = row
            .interval
            .map_or_else(|| "none".to_owned(), |(low, high)| format!("{} to {}", signed(low), signed(high)));
        let interval = interval + &note(&p_values(row));
        let cells = [
            escape(&row.claim),
            escape(&row.statement) + &note(&row.note),
            short_setting(&row.task),
            format!("<span class=\"badge {class}\">{}</span>", escape(&label)),
            effect,
            interval,
            row.n.to_string(),
        ];
        body.push_str("<tr>");
        for (column, cell) in SCORECARD.into_iter().zip(cells) {
            let _ = write!(body, "<td data-title=\"{}\"><div>{cell}</div></td>", title(column));
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</tbody></table></div>\n");
}

/// "p = .003, corrected .012", or nothing.
fn p_values(row: &ScorecardRow) -> String {
    let short = |p: f64| if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") };
    match (row.p, row.corrected) {
        (Some(p), Some(corrected)) => format!("p {}, corrected {}", short(p), short(corrected)),
        (Some(p), None) => format!("p {}", short(p)),
        (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_once_by_which_command_it_was_made() {
        let section = |name: &str, command: &str| Section {
            provenance: vec![("command".into(), command.into()), ("date".into(), "2026".into())],
            ..Section::new(name, name)
        };
        let sections = [section("a", "reproduce <x>"), section("b", "reproduce <x>"), section("c", "theory")];
        let front = Front { title: "t", lead: "", claims: &[], evidence: "" };
        let text = page(&sections, &front, &|_| Ok(String::new())).unwrap();
        let line = "<p class=\"reading\">This run: <code>reproduce &lt;x&gt;</code>, <code>theory</code>.</p>";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn links_lead_to_files_of_the_report_and_nowhere_else() {
        assert_eq!(link("theory/a=1.csv").as_deref(), Some("theory/a=1.csv"));
        assert_eq!(link("a b\"'é.csv").as_deref(), Some("a%20b%22%27%C3%A9.csv"));
        for bad in
            ["javascript:alert(1)", "JavaScript:x", "https://a.b/c", "/etc/passwd", "../a", "a/../../b", "", "a\\b"]
        {
            assert_eq!(link(bad), None, "{bad}");
        }
        assert_eq!(data_link(Some(&"javascript:alert(1)".to_string())), "");
    }
}
