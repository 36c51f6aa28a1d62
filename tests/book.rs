//! The documentation as a book: every page has its place in it, every link leads somewhere, and statements of theory
//! name tests that there are. Needs no mdbook.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All pages of `docs/`, with their paths below it.
fn pages() -> BTreeSet<String> {
    let docs = root().join("docs");
    let all = super::common::paths(&docs).into_iter().filter(|path| path.extension().is_some_and(|end| end == "md"));
    all.map(|path| path.strip_prefix(&docs).unwrap().to_string_lossy().replace('\\', "/")).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The targets of a page's links and images, each with its line; none from code.
fn links(page: &str) -> Vec<(usize, String)> {
    let (mut found, mut fenced) = (Vec::new(), false);
    for (index, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // What stands between backticks is no link, unless they stand within its text.
        for (place, _) in line.match_indices("](") {
            let code = line[..place].matches('`').count() % 2 == 1;
            let target = line[place + 2..].split(')').next().unwrap_or_default();
            if !code && !target.is_empty() {
                found.push((index + 1, target.to_string()));
            }
        }
    }
    found
}

/// The code's documentation lies beside the book: `doc/CRATE/module/index.html` beside `book/chapter.html`.
#[test]
fn every_link_from_the_code_leads_to_a_chapter() {
    let mut found = 0;
    for path in super::common::paths(&root().join("crates"))
        .iter()
        .filter(|path| path.ends_with("lib.rs") || path.ends_with("mod.rs"))
    {
        for (line, words) in text(path).lines().enumerate().filter(|(_, words)| words.starts_with("//!")) {
            for target in words.split("](../").skip(1).filter_map(|rest| rest.split(')').next()) {
                let Some((up, chapter)) = target.split_once("book/") else { continue };
                let place = format!("{}, line {}: {target}", path.display(), line + 1);
                // One level for the crate, and one for each module below it.
                let modules = path.strip_prefix(root().join("crates")).unwrap().components().count() - 3;
                assert_eq!(up.matches("../").count(), 1 + modules, "{place}");
                let page =
                    chapter.split('#').next().unwrap().replace("index.html", "README.md").replace(".html", ".md");
                assert!(root().join("docs").join(&page).is_file(), "{place}: no docs/{page}");
                found += 1;
            }
        }
    }
    assert!(found >= 8, "{found}");
}

/// The anchor of a heading, as GitHub and mdbook make it.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

/// The anchors of a page's headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut found = BTreeSet::new();
    for line in page.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if let Some(heading) = line.strip_prefix('#').filter(|_| !fenced) {
            found.insert(slug(heading.trim_start_matches('#')));
        }
    }
    found
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts
}

#[test]
fn every_page_has_its_place_in_the_book_and_every_chapter_its_page() {
    let summary = text(&root().join("docs/SUMMARY.md"));
    let chapters: Vec<String> = links(&summary).into_iter().map(|(_, target)| target).collect();
    let unique: BTreeSet<String> = chapters.iter().cloned().collect();
    assert_eq!(unique.len(), chapters.len(), "a page stands twice in docs/SUMMARY.md");
    let mut pages = pages();
    pages.remove("SUMMARY.md");
    assert_eq!(unique, pages, "the chapters of docs/SUMMARY.md (left) are not the pages of docs/ (right)");
}

#[test]
fn every_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let docs = root().join("docs");
    let mut broken = Vec::new();
    let all = pages().into_iter().map(|page| docs.join(page)).chain([root().join("README.md")]);
    let mut count = 0;
    for page in all {
        let here = text(&page);
        for (line, target) in links(&here) {
            if target.starts_with("http://") || target.starts_with("https://") {
                continue;
            }
            count += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() { page.clone() } else { plain(&page.parent().unwrap().join(path)) };
            let wrong = if !file.exists() {
                Some("no such file")
            } else if !anchor.is_empty() && !anchors(&text(&file)).contains(anchor) {
                Some("no such heading")
            } else {
                None
            };
            broken.extend(wrong.map(|why| format!("{}, line {line}: {target}: {why}", page.display())));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(count > 100, "only {count} links were found");
}

/// A row of the table has the statement, its status, the file that computes it and the tests that check it, each as
/// `name` in [file](path).
#[test]
fn every_statement_of_theory_names_functions_and_tests_that_there_are() {
    let page = root().join("docs/theory/README.md");
    let text_of_page = text(&page);
    let rows: Vec<&str> = text_of_page
        .lines()
        .skip_while(|line| !line.starts_with("| statement"))
        .skip(2)
        .take_while(|l| l.starts_with('|'))
        .collect();
    assert!(rows.len() > 8, "{} rows", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 4, "{row}");
        for (cell, what) in [(cells[2], "function"), (cells[3], "test")] {
            let parts: Vec<(&str, &str)> = cell
                .split("](")
                .zip(cell.split("](").skip(1))
                .map(|(before, after)| (before, after.split(')').next().unwrap()))
                .collect();
            assert!(!parts.is_empty(), "no {what} is named: {row}");
            for (before, path) in parts {
                let name = before.rsplit('`').nth(1).unwrap_or_else(|| panic!("no name before {path}: {row}"));
                let source = text(&plain(&page.parent().unwrap().join(path)));
                assert!(source.contains(&format!("fn {name}")), "{path} has no `fn {name}`: {row}");
            }
        }
    }
}

#[test]
fn links_are_read_from_text_and_not_from_code() {
    let page = "a [b](c.md#d) and `[x](y)`\n```text\n[no](no.md)\n```\n![f](g.svg) [`h`](i.rs)\n";
    let found: Vec<String> = links(page).into_iter().map(|(_, target)| target).collect();
    assert_eq!(found, ["c.md#d", "g.svg", "i.rs"]);
    assert_eq!(slug(" Claims C2, C3 on linear models, `quick`"), "claims-c2-c3-on-linear-models-quick");
    assert!(anchors("# A b\n```\n# no\n```\n").into_iter().eq(["a-b".to_string()]));
}
