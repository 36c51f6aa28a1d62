//! Effects: how much better a method does than another from one checkpoint, or from two, by one reading: a number for
//! each seed.

use lab::statistics::{MeanInterval, Verdict};
use serde::{Deserialize, Serialize};

use super::contrast::{Compared, Contrast};
use super::matched::Missing;
use super::reading::{Quantity, Reading};
use crate::names::display;
use crate::stages::Results;

/// One weighted contrast in an effect: from `checkpoint`, `other` against `matched`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// Weight in the sum.
    pub weight: f64,
    /// The checkpoint.
    pub checkpoint: String,
    /// The method of the optimizer that pretrained it.
    pub matched: String,
    /// The method that it is compared with.
    pub other: String,
}

impl Term {
    /// What is to be read on a task.
    pub(super) fn compared<'a>(&'a self, task: &'a str) -> Compared<'a> {
        Compared { task, checkpoint: &self.checkpoint, methods: [&self.matched, &self.other] }
    }
}

/// An effect of one pair on one task by one reading.
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
    /// The contrasts that are summed.
    pub terms: Vec<Term>,
    /// How runs become numbers.
    pub reading: Reading,
    /// Seed and effect, the mean over its orders, by ascending seed.
    pub samples: Vec<(u64, f64)>,
    /// Seed, order and effect, where a seed has more than one order.
    pub orders: Vec<(u64, u64, f64)>,
    /// Mean and interval over seeds; `None` without samples.
    pub interval: Option<MeanInterval>,
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
        self.interval.map_or_else(|| "none".to_owned(), |interval| interval.describe_signed(3))
    }

    /// exp of mean and interval, for an effect that is a ln ratio of two methods' forgetting.
    pub fn ratio(&self) -> Option<MeanInterval> {
        if !matches!(self.reading.quantity, Quantity::LogRatio(_) | Quantity::MeanLogRatio) || self.terms.len() != 1 {
            return None;
        }
        let MeanInterval { mean, bounds, n } = self.interval?;
        Some(MeanInterval { mean: mean.exp(), bounds: bounds.map(|(low, high)| (low.exp(), high.exp())), n })
    }

    /// Standard deviations over seeds (of each seed's first order) and over the orders of one seed, from the seeds that
    /// have two; `None` with fewer than two such seeds.
    ///
    /// Within: sqrt of the mean over seeds of (first - second)^2 / 2, which is unbiased in its square.
    pub fn spread(&self) -> Option<(f64, f64)> {
        let of =
            |order: u64| self.orders.iter().filter(move |(_, o, _)| *o == order).map(|&(seed, _, value)| (seed, value));
        let pairs: Vec<(f64, f64)> =
            of(0).filter_map(|(seed, first)| Some((first, of(1).find(|(s, _)| *s == seed)?.1))).collect();
        if pairs.len() < 2 {
            return None;
        }
        let count = pairs.len() as f64;
        let mean = pairs.iter().map(|pair| pair.0).sum::<f64>() / count;
        let over_seeds = pairs.iter().map(|pair| (pair.0 - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let within = pairs.iter().map(|(first, second)| (first - second).powi(2) / 2.0).sum::<f64>() / count;
        Some((over_seeds.sqrt(), within.sqrt()))
    }
}

/// A sum of contrasts, in words and in terms.
#[derive(Clone)]
pub(super) struct Sum {
    pub(super) statement: String,
    pub(super) label: String,
    pub(super) terms: Vec<Term>,
}

impl Sum {
    /// From one checkpoint, `other` against `matched`.
    pub(super) fn difference(checkpoint: &str, matched: &str, other: &str) -> Self {
        let (from, other_name) = (display(checkpoint), display(other));
        let term = Term { weight: 1.0, checkpoint: checkpoint.into(), matched: matched.into(), other: other.into() };
        Self {
            statement: format!("From the {from} checkpoint, {} forgets less than {other_name}", display(matched)),
            label: format!("{other_name} from {from}"),
            terms: vec![term],
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

    /// How much larger one index is than another: zero where what the second pair changes has no part in it.
    pub(super) fn change(index: Self, other: Self) -> Self {
        let taken = other.terms.into_iter().map(|term| Term { weight: -term.weight, ..term });
        Self {
            statement: format!("The consistency index of {} is larger than that of {}", index.label, other.label),
            label: format!("{} less {}", index.label, other.label),
            terms: index.terms.into_iter().chain(taken).collect(),
        }
    }
}

/// What the effects of one pair on one task share.
pub(super) struct Group<'a> {
    pub(super) task: &'a str,
    pub(super) pair: String,
    pub(super) control: bool,
}

/// The effect that a sum describes, by one reading.
pub(super) fn effect(results: &Results, group: &Group<'_>, part: &str, sum: &Sum, reading: Reading) -> Effect {
    let mut samples = Vec::new();
    let mut orders = Vec::new();
    let mut missing: Vec<(String, Missing, u64)> = Vec::new();
    for seed in results.seeds() {
        let mut values = Vec::new();
        for order in results.orders(seed) {
            match value(results, group.task, &sum.terms, reading, (seed, order)) {
                Ok(value) => values.push((order, value)),
                // A second order is an extra: a seed is left out only if its first one is missing.
                Err((who, why)) if order == 0 => missing.push((who, why, seed)),
                Err(_) => {}
            }
        }
        if values.first().is_some_and(|(order, _)| *order == 0) {
            samples.push((seed, values.iter().map(|(_, value)| value).sum::<f64>() / values.len() as f64));
            if values.len() > 1 {
                orders.extend(values.iter().map(|&(order, value)| (seed, order, value)));
            }
        }
    }
    let values: Vec<f64> = samples.iter().map(|&(_, value)| value).collect();
    Effect {
        part: part.to_owned(),
        statement: sum.statement.clone(),
        label: sum.label.clone(),
        task: group.task.to_owned(),
        pair: group.pair.clone(),
        control: group.control,
        terms: sum.terms.clone(),
        reading,
        interval: MeanInterval::arithmetic(&values),
        samples,
        orders,
        left_out: phrases(missing),
    }
}

/// The sum for one seed and order, or whose runs are missing ("Muon from AdamW") and why.
fn value(
    results: &Results,
    task: &str,
    terms: &[Term],
    reading: Reading,
    run: (u64, u64),
) -> Result<f64, (String, Missing)> {
    let mut sum = 0.0;
    for term in terms {
        let found = Contrast::of(results, term.compared(task), run, reading.interpolation);
        sum += term.weight
            * found.and_then(|contrast| reading.value(&contrast)).map_err(|(method, why)| {
                let method = [&term.matched, &term.other][method];
                (format!("{} from {}", display(method), display(&term.checkpoint)), why)
            })?;
    }
    Ok(sum)
}

/// "Muon from AdamW: needs a lower learning rate (seeds 1, 2)", for each method and reason.
fn phrases(mut missing: Vec<(String, Missing, u64)>) -> Vec<String> {
    missing.sort();
    let same = |a: &(String, Missing, u64), b: &(String, Missing, u64)| (&a.0, a.1) == (&b.0, b.1);
    let phrase = |of: &[(String, Missing, u64)]| {
        let seeds: Vec<String> = of.iter().map(|(.., seed)| seed.to_string()).collect();
        let plural = if seeds.len() == 1 { "seed" } else { "seeds" };
        format!("{}: {} ({plural} {})", of[0].0, of[0].1, seeds.join(", "))
    };
    missing.chunk_by(same).map(phrase).collect()
}
