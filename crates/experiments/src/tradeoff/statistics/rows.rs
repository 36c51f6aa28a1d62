//! The files with what the statistics are made of: rows of `matched.csv` and `effects.csv`.

use serde::Serialize;

use super::comparison::TradeoffStatistics;

/// Forgetting at matched learning of one seed, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MatchedRow<'a> {
    /// A comparison of some of the runs, by its name.
    pub reading: &'a str,
    /// The task.
    pub task: &'a str,
    /// The checkpoint.
    pub checkpoint: &'a str,
    /// Share of the common learning, in `0..=1`.
    pub level: f64,
    /// The method.
    pub method: &'a str,
    /// The seed.
    pub seed: u64,
    /// Nats per token.
    pub forgetting: Option<f64>,
    /// The reason why it is missing.
    pub missing: Option<String>,
}

impl MatchedRow<'_> {
    /// The columns of `matched.csv`.
    pub const COLUMNS: [&'static str; 8] =
        ["reading", "task", "checkpoint", "level", "method", "seed", "forgetting", "missing"];
}

/// The rows of every cell of several readings, each with its name.
pub fn matched<'a>(readings: &[(&'a str, &'a TradeoffStatistics)]) -> Vec<MatchedRow<'a>> {
    let mut rows = Vec::new();
    for &(reading, statistics) in readings {
        for cell in &statistics.table.cells {
            let (task, checkpoint, level, method) = (&cell.task, &cell.checkpoint, cell.level, &cell.method);
            let row = |seed, forgetting, missing| MatchedRow {
                reading,
                task,
                checkpoint,
                level,
                method,
                seed,
                forgetting,
                missing,
            };
            let values = cell.values.iter().map(|&(seed, value)| row(seed, Some(value), None));
            let missing = cell.missing.iter().map(|(seed, reason)| row(*seed, None, Some(reason.to_string())));
            let mut of_cell: Vec<MatchedRow<'_>> = values.chain(missing).collect();
            of_cell.sort_by_key(|row| row.seed);
            rows.extend(of_cell);
        }
    }
    rows
}

/// An effect of one seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectRow<'a> {
    /// A comparison of some of the runs, by its name.
    pub reading: &'a str,
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
    /// Share of the common learning, in `0..=1`.
    pub level: f64,
    /// The seed.
    pub seed: u64,
    /// Nats per token, positive when the claim holds.
    pub effect: f64,
}

impl EffectRow<'_> {
    /// The columns of `effects.csv`.
    pub const COLUMNS: [&'static str; 9] =
        ["reading", "part", "task", "pair", "control", "comparison", "level", "seed", "effect"];
}

/// The effects behind the verdicts and controls of several readings, each with its name.
pub fn effects<'a>(readings: &[(&'a str, &'a TradeoffStatistics)]) -> Vec<EffectRow<'a>> {
    let effects = readings.iter().flat_map(|&(reading, s)| s.effects.iter().map(move |effect| (reading, effect)));
    let rows = effects.flat_map(|(reading, of)| {
        of.samples.iter().map(move |&(seed, effect)| EffectRow {
            reading,
            part: &of.part,
            task: &of.task,
            pair: &of.pair,
            control: of.control,
            comparison: &of.label,
            level: of.level,
            seed,
            effect,
        })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::super::comparison::{Comparison, Pair};
    use super::super::testing::grid;
    use super::*;
    use crate::stages::Results;

    #[test]
    fn files_hold_every_seed_with_its_value_or_reason() {
        let mut rows = Vec::new();
        for checkpoint in ["adamw", "muon"] {
            for method in ["adamw", "muon"] {
                let end = if checkpoint == method { 0.5 } else { 1.0 };
                rows.extend(grid(checkpoint, method, 7, 4.0, &[(1e-4, 4.0, 0.0), (1e-3, 2.0, end)]));
            }
        }
        rows.extend(grid("adamw", "adamw", 8, 4.0, &[(1e-3, 2.0, 0.5)]));
        let comparison = Comparison {
            methods: vec!["adamw".into(), "muon".into()],
            pair: Pair::new(("adamw", "adamw"), ("muon", "muon")),
            controls: Vec::new(),
            lora: Vec::new(),
            sgd: Vec::new(),
        };
        let statistics = TradeoffStatistics::compute(&Results::from_rows(rows).unwrap(), &comparison);
        let readings = [("verdicts", &statistics)];
        let text = lab::table::write_with(&MatchedRow::COLUMNS, matched(&readings)).unwrap();
        // Two checkpoints, three levels, two methods, two seeds, and the header.
        assert_eq!(text.lines().count(), 2 * 3 * 2 * 2 + 1);
        assert!(text.starts_with("reading,task,checkpoint,level,method,seed,forgetting,missing\n"), "{text}");
        assert!(text.contains("\nverdicts,code,adamw,0.5,adamw,7,0.25,\n"), "{text}");
        assert!(text.contains("\nverdicts,code,adamw,0.5,adamw,8,,needs a lower learning rate\n"), "{text}");
        let text = lab::table::write_with(&EffectRow::COLUMNS, effects(&readings)).unwrap();
        assert!(text.contains("\nverdicts,a,code,AdamW / Muon,false,Muon from AdamW,0.5,7,0.25\n"), "{text}");
        assert_eq!(text.lines().count(), 3 * 3 + 1);
    }
}
