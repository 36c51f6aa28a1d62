//! What to use: of all methods and learning rates that were tried from a checkpoint, the one that has learned enough
//! and forgets least.
//!
//! Enough is [`ENOUGH`] of the most that any of them has learned. Choices are made by the validation losses, means over
//! the seeds; learning is reported by the test, which chose nothing.

use std::collections::BTreeMap;

use lab::statistics::describe;

use super::statistics::VERDICT_LEVEL;
use crate::names::display;
use crate::stages::{EndPoint, Results};

/// The share of the largest learning that counts as enough: the level at which methods are compared too.
const ENOUGH: f64 = VERDICT_LEVEL;

/// The runs of one method at one learning rate from one checkpoint on one task.
struct Tried<'a> {
    method: &'a str,
    rate: f64,
    runs: Vec<&'a EndPoint>,
    /// Usable in every seed and order that any run has.
    complete: bool,
}

impl Tried<'_> {
    fn mean(&self, of: impl Fn(&EndPoint) -> f64) -> f64 {
        self.runs.iter().map(|run| of(run)).sum::<f64>() / self.runs.len() as f64
    }

    /// How much it has learned, by the validation set.
    fn learned(&self) -> f64 {
        self.mean(|run| run.validation_loss_before - run.validation_loss_after)
    }
}

/// A line for each task and checkpoint.
pub(super) fn lines(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for task in results.tasks() {
        for checkpoint in results.checkpoints() {
            lines.extend(line(results, &task, &checkpoint));
        }
    }
    lines
}

fn line(results: &Results, task: &str, checkpoint: &str) -> Option<String> {
    let mut tried: BTreeMap<(&str, u64), Tried<'_>> = BTreeMap::new();
    for run in results.of(task, checkpoint) {
        // Positive numbers are ordered as their bits.
        let of = tried.entry((run.method.as_str(), run.learning_rate.to_bits())).or_insert_with(|| Tried {
            method: &run.method,
            rate: run.learning_rate,
            runs: Vec::new(),
            complete: true,
        });
        of.complete &= run.is_usable();
        of.runs.push(run);
    }
    let tried: Vec<Tried<'_>> = tried.into_values().filter(|of| of.complete).collect();
    let most = tried.iter().map(Tried::learned).max_by(f64::total_cmp)?;
    let from = format!("What to use from {} on {task}", display(checkpoint));
    if most <= 0.0 {
        return Some(format!("{from}: nothing that was tried learned anything; try other rates or more steps"));
    }
    let enough = tried.iter().filter(|of| of.learned() >= ENOUGH * most);
    let best = enough.min_by(|a, b| a.mean(EndPoint::forgetting).total_cmp(&b.mean(EndPoint::forgetting)))?;
    let of = |number: fn(&EndPoint) -> f64| describe(&best.runs.iter().map(|run| number(run)).collect::<Vec<_>>(), 3);
    Some(format!(
        "{from}: {} at {}. Expected learning {} and forgetting {} nats per token; least forgetting of what learned at \
         least {:.0} % of the most ({most:.3} by validation).",
        display(best.method),
        best.rate,
        of(EndPoint::learning),
        of(EndPoint::forgetting),
        100.0 * ENOUGH,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(method: &str, rate: f64, seed: u64, learned: f64, forgot: f64) -> EndPoint {
        EndPoint {
            task: "math".into(),
            checkpoint: "mine".into(),
            method: method.into(),
            learning_rate: rate,
            seed,
            order: 0,
            pretrain_loss_before: 3.0,
            pretrain_loss_after: 3.0 + forgot,
            task_loss_before: 5.0,
            task_loss_after: 5.0 - learned,
            validation_loss_before: 5.0,
            validation_loss_after: 5.0 - learned,
            exact_match: None,
            diverged: false,
        }
    }

    fn advice(rows: Vec<EndPoint>) -> Vec<String> {
        lines(&Results::from_rows(rows).unwrap())
    }

    #[test]
    fn of_what_learned_enough_the_run_that_forgets_least_is_named() {
        let mut rows = Vec::new();
        for seed in 0..2 {
            rows.push(run("adamw", 1e-3, seed, 2.0, 0.5));
            rows.push(run("adamw", 3e-4, seed, 1.9, 0.3));
            rows.push(run("muon", 1e-2, seed, 1.85, 0.1));
            rows.push(run("sgd", 1e-1, seed, 1.0, 0.01));
        }
        let lines = advice(rows.clone());
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with("What to use from mine on math: Muon at 0.01. Expected learning 1.85"),
            "{lines:?}"
        );
        // One diverged seed is enough to leave a rate out.
        let bad = rows.iter_mut().find(|row| row.method == "muon").unwrap();
        (bad.diverged, bad.task_loss_after, bad.validation_loss_after) = (true, f64::NAN, f64::NAN);
        assert!(advice(rows)[0].contains("AdamW at 0.0003"));
    }

    #[test]
    fn runs_that_learn_nothing_give_no_advice_to_use_them() {
        let lines = advice(vec![run("adamw", 1e-3, 0, -0.1, 0.5), run("muon", 1e-3, 0, 0.0, 0.0)]);
        assert!(lines[0].contains("nothing that was tried learned anything"), "{lines:?}");
    }
}
