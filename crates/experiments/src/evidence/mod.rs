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
mod published;
mod rows;

use std::path::Path;

use lab::error::Result;
use lab::report::Stored;
use lab::table;

pub use pages::{Page, pages};
pub use published::{Published, PublishedFigure, Reader, Source};
use rows::Rows;

/// The published rows, as a CSV file.
pub const EVIDENCE: &str = include_str!("../../../../docs/results/evidence.csv");

/// The text of `evidence.csv` for a folder of results.
///
/// # Errors
/// If one of its files cannot be read, naming it.
pub fn csv(results: &Path) -> Result<String> {
    let published = Published::read(results)?;
    let mut stored = Vec::new();
    for Rows { source, claims, .. } in rows::rows(results, &published)? {
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
    use std::path::PathBuf;

    use lab::statistics::Verdict;

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

    #[test]
    fn a_statement_of_two_protocols_counts_once_by_the_later() {
        let stored = Stored::parse(EVIDENCE).unwrap();
        for row in &stored {
            let same = |other: &&Stored| other.subject() == row.subject();
            assert_eq!(stored.iter().filter(same).map(|other| other.protocol).min(), Some(row.protocol), "{row:?}");
        }
        let of = |protocol: u32| stored.iter().filter(|row| row.claim == "C1a" && row.protocol == protocol).count();
        assert_eq!((of(2), of(1)), (4, 0));
    }

    /// Sentences of pages that no program writes, each with a row that it rests on: where a verdict changes, the
    /// sentence has to.
    #[test]
    fn what_pages_say_in_words_is_what_the_rows_say() {
        use Verdict::{Contradicted, Inconclusive, Reproduced};
        let from = |optimizer: &str| format!("From the {optimizer} checkpoint");
        let (adamw, muon) = (from("AdamW"), from("Muon"));
        let gentler = "AdamW forgets less from its own checkpoint on both tasks, and on code from Muon's too";
        let lora_and_sgd = "LoRA and SGD forget more than the optimizer of pretraining on word problems";
        let said: [(&str, &str, &str, &str, &str, Verdict); 18] = [
            ("README.md", lora_and_sgd, "C1c", "LoRA", "math", Reproduced),
            ("README.md", lora_and_sgd, "C1d", "SGD", "math", Reproduced),
            (
                "docs/results/standard-2/README.md",
                "there SGD forgets less than Muon",
                "C1d",
                "SGD",
                "code",
                Contradicted,
            ),
            ("README.md", "**Yes on word problems, open on code", "C1b", "AdamW / Muon", "math", Reproduced),
            ("README.md", "**Yes on word problems, open on code", "C1b", "AdamW / Muon", "code", Inconclusive),
            ("README.md", gentler, "C1a", &adamw, "math", Reproduced),
            ("README.md", gentler, "C1a", &adamw, "code", Reproduced),
            ("README.md", gentler, "C1a", &muon, "code", Contradicted),
            (
                "README.md",
                "a matrix of six optimizers shows no consistency",
                "C1 (matrix)",
                "different",
                "math",
                Inconclusive,
            ),
            ("docs/results/standard-2/README.md", "the index is positive", "C1b", "AdamW / Muon", "math", Reproduced),
            ("docs/results/standard-2/README.md", "**Code: open.**", "C1b", "AdamW / Muon", "code", Inconclusive),
            (
                "docs/results/matrix-small/README.md",
                "no consistency shows",
                "C1 (matrix)",
                "share",
                "math",
                Inconclusive,
            ),
            (
                "docs/nonces.md",
                "neither half of the claim shows",
                "C5 (finetuning)",
                "highest recall",
                "",
                Inconclusive,
            ),
            ("docs/nonces.md", "neither half of the claim shows", "C5 (finetuning)", "grows", "", Inconclusive),
            (
                "docs/results/nonces/README.md",
                "**Neither half of the claim shows.**",
                "C5 (finetuning)",
                "grows",
                "",
                Inconclusive,
            ),
            ("docs/memorization.md", "Muon memorises faster", "C5b", "fewer steps", "", Reproduced),
            (
                "docs/memorization.md",
                "contradicted where facts have to be memorised",
                "C5a",
                "at the end",
                "",
                Contradicted,
            ),
            (
                "docs/memorization.md",
                "contradicted where facts have to be memorised",
                "C5a",
                "matched",
                "",
                Contradicted,
            ),
        ];
        let stored = Stored::parse(EVIDENCE).unwrap();
        for (page, sentence, claim, statement, task, verdict) in said {
            let path = results().join("../..").join(page);
            let text = std::fs::read_to_string(&path).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(sentence), "{page}: no `{sentence}`");
            let about =
                |row: &&Stored| row.claim == claim && row.statement.contains(statement) && row.task.contains(task);
            let rows: Vec<&Stored> = stored.iter().filter(about).collect();
            assert_eq!(rows.len(), 1, "{claim} {statement} {task}: {rows:?}");
            assert_eq!(rows[0].verdict, verdict, "{page}: `{sentence}` is not what the rows say");
        }
    }

    /// As the reports of the time printed them, to three digits.
    #[test]
    fn rows_of_protocol_1_give_the_numbers_that_were_published() {
        let published = Published::read(&results()).unwrap();
        let of_1 = rows::rows(&results(), &published).unwrap().into_iter().filter(|of| of.source.protocol == 1);
        let stored: Vec<_> = of_1.flat_map(|of| of.claims.into_iter().chain(of.superseded)).collect();
        let found = |claim: &str, statement: &str, task: &str| {
            let mut of = stored.iter().filter(|row| row.claim == claim && row.task == task);
            let row = of.find(|row| row.statement.contains(statement)).unwrap_or_else(|| panic!("{statement}"));
            let (low, high) = row.interval.unwrap();
            format!("{:+.3} [{low:+.3}, {high:+.3}] {} {}", row.effect.unwrap(), row.n, row.verdict)
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
