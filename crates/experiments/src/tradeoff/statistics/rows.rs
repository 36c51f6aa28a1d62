//! The files with what the statistics are made of: rows of `matched.csv` and `effects.csv`.

use serde::Serialize;

use super::comparison::TradeoffStatistics;
use super::effect::Term;

/// Forgetting of two methods at matched learning with one seed and order, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MatchedRow<'a> {
    /// The runs that are compared: those of the verdicts, or of a variant, by its name.
    pub variant: &'a str,
    /// The task.
    pub task: &'a str,
    /// The checkpoint.
    pub checkpoint: &'a str,
    /// The method of the optimizer that pretrained it.
    pub matched: &'a str,
    /// The method it is compared with.
    pub other: &'a str,
    /// Share of the common learning of these two, in `0..=1`.
    pub level: f64,
    /// The seed.
    pub seed: u64,
    /// Which of its orders.
    pub order: u64,
    /// Forgetting of the matched method, nats per token.
    pub matched_forgetting: Option<f64>,
    /// Forgetting of the other.
    pub other_forgetting: Option<f64>,
    /// Error of leaving out a run of the matched method beside the level, in ln forgetting.
    pub matched_error: Option<f64>,
    /// The same for the other.
    pub other_error: Option<f64>,
    /// The reason why the values are missing.
    pub missing: Option<String>,
}

impl MatchedRow<'_> {
    /// The columns of `matched.csv`.
    pub const COLUMNS: [&'static str; 13] = [
        "variant",
        "task",
        "checkpoint",
        "matched",
        "other",
        "level",
        "seed",
        "order",
        "matched_forgetting",
        "other_forgetting",
        "matched_error",
        "other_error",
        "missing",
    ];
}

/// The rows of every cell of several variants, each with its name.
pub fn matched<'a>(variants: &[(&'a str, &'a TradeoffStatistics)]) -> Vec<MatchedRow<'a>> {
    let mut rows = Vec::new();
    for &(variant, statistics) in variants {
        for cell in &statistics.cells {
            let empty = MatchedRow {
                variant,
                task: &cell.task,
                checkpoint: &cell.checkpoint,
                matched: &cell.matched,
                other: &cell.other,
                level: cell.level,
                seed: 0,
                order: 0,
                matched_forgetting: None,
                other_forgetting: None,
                matched_error: None,
                other_error: None,
                missing: None,
            };
            let read = cell.values.iter().map(|read| MatchedRow {
                seed: read.seed,
                order: read.order,
                matched_forgetting: Some(read.forgetting[0]),
                other_forgetting: Some(read.forgetting[1]),
                matched_error: read.error[0],
                other_error: read.error[1],
                ..empty.clone()
            });
            let missing = cell.missing.iter().map(|(seed, order, method, why)| MatchedRow {
                seed: *seed,
                order: *order,
                missing: Some(format!("{method}: {why}")),
                ..empty.clone()
            });
            let mut of_cell: Vec<MatchedRow<'_>> = read.chain(missing).collect();
            of_cell.sort_by_key(|row| (row.seed, row.order));
            rows.extend(of_cell);
        }
    }
    rows
}

/// An effect of one seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectRow<'a> {
    /// The runs that are compared: those of the verdicts, or of a variant, by its name.
    pub variant: &'a str,
    /// Part of the claim.
    pub part: &'a str,
    /// The task.
    pub task: &'a str,
    /// The pair of checkpoints.
    pub pair: &'a str,
    /// Whether the pair is a control.
    pub control: bool,
    /// What is compared.
    pub comparison: &'a str,
    /// The same for programs: weight, checkpoint, matched method and other of every contrast, divided by "; ".
    pub terms: String,
    /// How runs become a number.
    pub reading: String,
    /// Unit of the effect.
    pub unit: &'static str,
    /// The seed.
    pub seed: u64,
    /// The effect, the mean over the seed's orders; positive when the claim holds.
    pub effect: f64,
}

impl EffectRow<'_> {
    /// The columns of `effects.csv`.
    pub const COLUMNS: [&'static str; 11] =
        ["variant", "part", "task", "pair", "control", "comparison", "terms", "reading", "unit", "seed", "effect"];
}

/// The effects behind the verdicts and controls of several variants, each with its name.
pub fn effects<'a>(variants: &[(&'a str, &'a TradeoffStatistics)]) -> Vec<EffectRow<'a>> {
    let effects = variants.iter().flat_map(|&(variant, s)| s.effects.iter().map(move |effect| (variant, effect)));
    let rows = effects.flat_map(|(variant, of)| {
        of.samples.iter().map(move |&(seed, effect)| EffectRow {
            variant,
            part: &of.part,
            task: &of.task,
            pair: &of.pair,
            control: of.control,
            comparison: &of.label,
            terms: terms(&of.terms),
            reading: of.reading.label(),
            unit: of.reading.unit(),
            seed,
            effect,
        })
    });
    rows.collect()
}

/// "0.5 adamw adamw muon; 0.5 muon muon adamw".
fn terms(of: &[Term]) -> String {
    let term = |term: &Term| format!("{} {} {} {}", term.weight, term.checkpoint, term.matched, term.other);
    of.iter().map(term).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::comparison::{Comparison, Pair};
    use super::super::reading;
    use super::super::testing::grid;
    use super::*;
    use crate::stages::Results;

    #[test]
    fn files_hold_every_seed_with_its_value_or_reason() {
        let mut rows = Vec::new();
        for checkpoint in ["adamw", "muon"] {
            for method in ["adamw", "muon"] {
                let end = if checkpoint == method { 0.4 } else { 0.9 };
                rows.extend(grid(checkpoint, method, 7, 4.0, &[(1e-4, 4.0, 0.1), (1e-3, 2.0, end)]));
            }
        }
        rows.extend(grid("adamw", "adamw", 8, 4.0, &[(1e-3, 2.0, 0.5)]));
        let comparison = Comparison {
            methods: vec!["adamw".into(), "muon".into()],
            pair: Some(Pair::new(("adamw", "adamw"), ("muon", "muon"))),
            alone: Vec::new(),
            controls: Vec::new(),
            lora: Vec::new(),
            sgd: Vec::new(),
        };
        let statistics = TradeoffStatistics::compute(&Results::from_rows(rows).unwrap(), &comparison);
        let variants = [("verdicts", &statistics)];
        let text = lab::table::write_with(&MatchedRow::COLUMNS, matched(&variants)).unwrap();
        // Two checkpoints, three levels, two seeds, and the header.
        assert_eq!(text.lines().count(), 2 * 3 * 2 + 1);
        assert!(text.starts_with(&(MatchedRow::COLUMNS.join(",") + "\n")), "{text}");
        // Half way from .1 to .4 and to .9 on a logarithmic scale.
        assert!(text.contains("\nverdicts,code,adamw,adamw,muon,0.5,7,0,0.2000"), "{text}");
        assert!(text.contains("\nverdicts,code,adamw,adamw,muon,0.5,8,0,,,,,muon: not run\n"), "{text}");
        let text = lab::table::write_with(&EffectRow::COLUMNS, effects(&variants)).unwrap();
        let row = "\nverdicts,a,code,AdamW / Muon,false,Muon from AdamW,1 adamw adamw muon,nats at 90 %,nats per token of forgetting,7,";
        assert!(text.contains(row), "{text}");
        // Two contrasts and an index, by every reading that finds its level: not where F is .05, .1 (where the runs
        // begin) or above .4.
        assert_eq!(text.lines().count(), 3 * (reading::all().count() - 3) + 1, "{text}");
    }
}
