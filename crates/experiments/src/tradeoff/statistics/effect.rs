//! Effects: weighted sums of forgetting at matched learning, one number for each seed.

use lab::statistics::{MeanInterval, Verdict};
use serde::{Deserialize, Serialize};

use super::table::{LEVELS, MatchedTable};
use crate::names::display;

/// An effect of one pair on one task at one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Part of the claim: `a`, `b`, `c` or `d`.
    pub part: String,
    /// What is compared, in words.
    pub statement: String,
    /// The same in a few words, for lists: "LoRA-4 from AdamW".
    pub label: String,
    /// Task.
    pub task: String,
    /// Label of the pair.
    pub pair: String,
    /// Whether the pair is a control.
    pub control: bool,
    /// Level, a share in `0..=1`.
    pub level: f64,
    /// Seed and effect in nats per token, by ascending seed.
    pub samples: Vec<(u64, f64)>,
    /// Mean and interval of the effect; `None` without samples.
    pub interval: Option<MeanInterval>,
    /// Geometric mean and interval of (other's forgetting) / (matched one's forgetting); `None` for
    /// part b and when a forgetting is not positive.
    pub ratio: Option<MeanInterval>,
    /// Why seeds are left out, one phrase for each method concerned.
    pub left_out: Vec<String>,
}

impl Effect {
    /// The verdict on this effect alone.
    pub fn verdict(&self) -> Verdict {
        Verdict::on_positive(self.interval.as_ref())
    }

    /// "+0.012 [+0.004, +0.020]", or "none" without samples.
    pub fn describe(&self) -> String {
        match self.interval {
            None => "none".to_owned(),
            Some(MeanInterval { mean, bounds: None, .. }) => format!("{mean:+.3}"),
            Some(MeanInterval { mean, bounds: Some((low, high)), .. }) => {
                format!("{mean:+.3} [{low:+.3}, {high:+.3}]")
            }
        }
    }
}

/// One weighted forgetting F(checkpoint, method) in an effect.
pub(super) struct Term {
    pub(super) weight: f64,
    pub(super) checkpoint: String,
    pub(super) method: String,
}

/// A weighted sum of forgetting, in words and in terms.
pub(super) struct Sum {
    pub(super) statement: String,
    pub(super) label: String,
    pub(super) terms: Vec<Term>,
}

impl Sum {
    /// F(checkpoint, other) - F(checkpoint, matched).
    pub(super) fn difference(checkpoint: &str, matched: &str, other: &str) -> Self {
        let term = |weight, method: &str| Term { weight, checkpoint: checkpoint.to_owned(), method: method.to_owned() };
        let (from, other_name) = (display(checkpoint), display(other));
        Self {
            statement: format!("From the {from} checkpoint, {} forgets less than {other_name}", display(matched)),
            label: format!("{other_name} from {from}"),
            terms: vec![term(1.0, other), term(-1.0, matched)],
        }
    }

    /// Half the sum of two differences: the consistency index of the pair called `pair`.
    pub(super) fn consistency_index(pair: &str, differences: [Self; 2]) -> Self {
        let terms = differences.into_iter().flat_map(|difference| difference.terms);
        Self {
            statement: format!("Consistency index of {pair} is positive"),
            label: pair.to_owned(),
            terms: terms.map(|term| Term { weight: 0.5 * term.weight, ..term }).collect(),
        }
    }
}

/// What the effects of one pair on one task share.
pub(super) struct Group<'a> {
    pub(super) task: &'a str,
    pub(super) pair: String,
    pub(super) control: bool,
}

/// The effect that a sum describes, at each of [`LEVELS`].
pub(super) fn effects_at_levels(table: &MatchedTable, group: &Group, part: &str, sum: &Sum) -> Vec<Effect> {
    LEVELS
        .iter()
        .map(|&level| {
            let samples = samples(table, group.task, level, &sum.terms);
            let values: Vec<f64> = samples.iter().map(|&(_, value)| value).collect();
            Effect {
                part: part.to_owned(),
                statement: sum.statement.clone(),
                label: sum.label.clone(),
                task: group.task.to_owned(),
                pair: group.pair.clone(),
                control: group.control,
                level,
                interval: MeanInterval::arithmetic(&values),
                ratio: ratio(table, group.task, level, &sum.terms, &samples),
                samples,
                left_out: left_out(table, group.task, level, &sum.terms),
            }
        })
        .collect()
}

/// One number for each seed for which all terms exist.
fn samples(table: &MatchedTable, task: &str, level: f64, terms: &[Term]) -> Vec<(u64, f64)> {
    let cells: Option<Vec<_>> = terms
        .iter()
        .map(|term| Some((term.weight, table.cell(task, &term.checkpoint, &term.method, level)?)))
        .collect();
    let Some(cells) = cells else {
        return Vec::new();
    };
    let Some((_, first)) = cells.first() else {
        return Vec::new();
    };
    first
        .values
        .iter()
        .filter_map(|&(seed, _)| {
            let terms: Option<Vec<f64>> = cells.iter().map(|(weight, cell)| Some(weight * cell.at(seed)?)).collect();
            Some((seed, terms?.iter().sum()))
        })
        .collect()
}

/// Geometric mean of F(other) / F(matched) over the seeds of `samples`, for a plain difference.
fn ratio(table: &MatchedTable, task: &str, level: f64, terms: &[Term], samples: &[(u64, f64)]) -> Option<MeanInterval> {
    let [other, matched] = terms else { return None };
    let other = table.cell(task, &other.checkpoint, &other.method, level)?;
    let matched = table.cell(task, &matched.checkpoint, &matched.method, level)?;
    // Both must be positive: the quotient of two negative numbers is no ratio of forgetting.
    let ratios: Option<Vec<f64>> = samples
        .iter()
        .map(|&(seed, _)| {
            let (other, matched) = (other.at(seed)?, matched.at(seed)?);
            (other > 0.0 && matched > 0.0).then(|| other / matched)
        })
        .collect();
    MeanInterval::geometric(&ratios?)
}

/// "Muon from AdamW: needs a lower learning rate (seeds 1, 2)", for each term and reason.
fn left_out(table: &MatchedTable, task: &str, level: f64, terms: &[Term]) -> Vec<String> {
    let mut phrases = Vec::new();
    for term in terms {
        let who = format!("{} from {}", display(&term.method), display(&term.checkpoint));
        let Some(cell) = table.cell(task, &term.checkpoint, &term.method, level) else {
            phrases.push(format!("{who}: not run"));
            continue;
        };
        let mut reasons: Vec<String> = Vec::new();
        for (_, reason) in &cell.missing {
            let reason = reason.to_string();
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        for reason in reasons {
            let seeds: Vec<String> = cell
                .missing
                .iter()
                .filter(|(_, other)| other.to_string() == reason)
                .map(|(seed, _)| seed.to_string())
                .collect();
            let plural = if seeds.len() == 1 { "seed" } else { "seeds" };
            phrases.push(format!("{who}: {reason} ({plural} {})", seeds.join(", ")));
        }
    }
    phrases
}
