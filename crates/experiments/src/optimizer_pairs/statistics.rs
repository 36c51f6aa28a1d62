//! From finetuning runs to one number a seed for each pair of optimizers, task and size of the finetuning set.
//!
//! The learning rate is chosen for each seed by the mean held-out loss of the *other* seeds, so that a seed's own luck
//! does not choose its rate. A single seed chooses its own.

use std::collections::{BTreeMap, BTreeSet};

use lab::statistics::ScorecardRow;
use serde::Serialize;

use super::preset::PairsPreset;
use crate::error::Result;
use crate::ground::pair;
use crate::names::display;
use crate::parts::CheckpointPreset;
use crate::stages::EndPoint;

/// One finetuning.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// Size of the finetuning set.
    pub(super) examples: usize,
    pub(super) end: EndPoint,
}

/// A checkpoint, the optimizer it was finetuned with, the task, and the size of the finetuning set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Setting {
    pub(super) checkpoint: String,
    pub(super) method: String,
    pub(super) task: String,
    pub(super) examples: usize,
}

/// A seed's run at its chosen rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Chosen {
    pub(super) seed: u64,
    pub(super) rate: f64,
    /// Whether the rate is the lowest or highest of the grid: a better one may lie outside.
    pub(super) at_edge: bool,
    /// Held-out loss of the solutions, nats per token.
    pub(super) loss: f64,
    /// Share of right answers, for a task with answers.
    pub(super) exact_match: Option<f64>,
    /// Rise of the loss on pretraining text.
    pub(super) forgetting: f64,
}

/// Everything that the report shows.
pub(super) struct Statistics {
    pub(super) settings: BTreeMap<Setting, Vec<Chosen>>,
    pub(super) scorecard: Vec<ScorecardRow>,
    pub(super) controls: Vec<ScorecardRow>,
}

/// A checkpoint's name and the method that finetunes it.
struct Trained {
    checkpoint: String,
    method: String,
}

impl Statistics {
    pub(super) fn compute(preset: &PairsPreset, runs: &[Run]) -> Result<Self> {
        let experiments = preset.experiments()?;
        let base = &experiments[experiments.len() - 1];
        let matched = |name: &String| Trained {
            checkpoint: name.clone(),
            method: base
                .checkpoint(name)
                .and_then(CheckpointPreset::optimizer)
                .map_or(String::new(), |rule| rule.as_str().into()),
        };
        let [first, second] = pair(base)?;
        let (first, second) = (matched(&first.name), matched(&second.name));
        let settings = choose(runs);
        let rows = Rows { preset, settings: &settings };
        let mut scorecard = rows.about(&preset.reasoning, &first, &second, "reasoning");
        let mut controls = Vec::new();
        if let Some(control) = &preset.control {
            controls.extend(rows.about(&preset.reasoning, &first, &matched(control), "reasoning"));
        }
        // One optimizer changed at a time: whether it is pretraining or finetuning that decides.
        for (start, finetuner) in [(&first, &second), (&second, &first)] {
            let mixed = Trained { checkpoint: start.checkpoint.clone(), method: finetuner.method.clone() };
            controls.extend(rows.about(&preset.reasoning, &first, &mixed, "reasoning"));
        }
        for task in preset.reasoning.iter().chain(&preset.others) {
            controls.extend(rows.about(std::slice::from_ref(task), &first, &second, task));
        }
        for row in &mut controls {
            row.claim = "C4 (control)".into();
        }
        scorecard.insert(0, lower_pretraining_loss(runs, &first.checkpoint, &second.checkpoint));
        Ok(Self { settings, scorecard, controls })
    }
}

/// The row about pretraining, before any finetuning.
fn lower_pretraining_loss(runs: &[Run], first: &str, second: &str) -> ScorecardRow {
    let mut losses: BTreeMap<u64, BTreeMap<&str, f64>> = BTreeMap::new();
    for Run { end, .. } in runs {
        losses.entry(end.seed).or_default().insert(&end.checkpoint, end.pretrain_loss_before);
    }
    let samples: Vec<f64> = losses.values().filter_map(|of| Some(of.get(first)? - of.get(second)?)).collect();
    let statement = format!("{} pretrains to a lower loss than {}", display(second), display(first));
    ScorecardRow::from_samples("C4 (pretraining)", statement, "pretraining text", "nats per token", &samples, "")
}

struct Rows<'a> {
    preset: &'a PairsPreset,
    settings: &'a BTreeMap<Setting, Vec<Chosen>>,
}

impl Rows<'_> {
    /// Whether `second` is worse than `first`, at the largest finetuning set, as the mean over tasks within a seed.
    fn about(&self, tasks: &[String], first: &Trained, second: &Trained, what: &str) -> Vec<ScorecardRow> {
        let examples = self.preset.largest();
        let note = format!("finetuned on {examples} examples; mean over tasks: {}", tasks.join(", "));
        let name = |trained: &Trained| format!("{} -> {}", display(&trained.checkpoint), display(&trained.method));
        let (a, b) = (name(first), name(second));
        let mut rows = vec![ScorecardRow::from_samples(
            "C4",
            format!("Finetuned on {what}, {b} ends at a higher loss than {a}"),
            what,
            "nats per token",
            &self.samples(tasks, first, second, |chosen| Some(chosen.loss)),
            note.clone(),
        )];
        let answers = self.samples(tasks, second, first, |chosen| chosen.exact_match);
        if !answers.is_empty() {
            let statement = format!("Finetuned on {what}, {b} gives fewer right answers than {a}");
            rows.push(ScorecardRow::from_samples("C4", statement, what, "share of answers", &answers, note));
        }
        rows
    }

    /// For each seed that has all tasks from both: the mean over tasks of b's number less a's.
    fn samples(&self, tasks: &[String], a: &Trained, b: &Trained, number: impl Fn(&Chosen) -> Option<f64>) -> Vec<f64> {
        let of = |trained: &Trained, task: &String| -> BTreeMap<u64, f64> {
            let setting = Setting {
                checkpoint: trained.checkpoint.clone(),
                method: trained.method.clone(),
                task: task.clone(),
                examples: self.preset.largest(),
            };
            let chosen = self.settings.get(&setting).into_iter().flatten();
            chosen.filter_map(|chosen| Some((chosen.seed, number(chosen)?))).collect()
        };
        let pairs: Vec<_> = tasks.iter().map(|task| (of(a, task), of(b, task))).collect();
        let seeds: BTreeSet<u64> = pairs.iter().flat_map(|(a, _)| a.keys().copied()).collect();
        let sample = |seed: &u64| {
            let differences: Option<Vec<f64>> = pairs.iter().map(|(a, b)| Some(b.get(seed)? - a.get(seed)?)).collect();
            differences.map(|all| all.iter().sum::<f64>() / all.len() as f64)
        };
        seeds.iter().filter_map(sample).collect()
    }
}

/// Every setting's runs at the rates that the other seeds choose.
fn choose(runs: &[Run]) -> BTreeMap<Setting, Vec<Chosen>> {
    let mut grouped: BTreeMap<Setting, Vec<&EndPoint>> = BTreeMap::new();
    for Run { examples, end } in runs {
        let setting = Setting {
            checkpoint: end.checkpoint.clone(),
            method: end.method.clone(),
            task: end.task.clone(),
            examples: *examples,
        };
        grouped.entry(setting).or_default().push(end);
    }
    grouped.into_iter().map(|(setting, ends)| (setting, choose_rates(&ends))).collect()
}

fn choose_rates(ends: &[&EndPoint]) -> Vec<Chosen> {
    let mut rates: Vec<f64> = ends.iter().map(|end| end.learning_rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    let seeds: BTreeSet<u64> = ends.iter().map(|end| end.seed).collect();
    let chosen = |&seed: &u64| -> Option<Chosen> {
        // A rate at which any run diverged is no choice.
        let mean = |rate: f64| -> Option<f64> {
            let of = |end: &&&EndPoint| end.learning_rate == rate && (end.seed != seed || seeds.len() == 1);
            let losses: Vec<f64> = ends.iter().filter(of).map(|end| end.task_loss_after).collect();
            let mean = losses.iter().sum::<f64>() / losses.len() as f64;
            mean.is_finite().then_some(mean)
        };
        let best = rates.iter().filter_map(|&rate| Some((mean(rate)?, rate))).min_by(|a, b| a.0.total_cmp(&b.0))?;
        let end = ends.iter().find(|end| end.seed == seed && end.learning_rate == best.1 && !end.diverged)?;
        Some(Chosen {
            seed,
            rate: best.1,
            at_edge: rates.first() == Some(&best.1) || rates.last() == Some(&best.1),
            loss: end.task_loss_after,
            exact_match: end.exact_match,
            forgetting: end.forgetting(),
        })
    };
    seeds.iter().filter_map(chosen).collect()
}

/// A row of the file: a finetuning, with the size of its finetuning set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RunRow<'a> {
    examples: usize,
    task: &'a str,
    checkpoint: &'a str,
    method: &'a str,
    learning_rate: f64,
    seed: u64,
    pretrain_loss_before: f64,
    pretrain_loss_after: Option<f64>,
    task_loss_before: f64,
    task_loss_after: Option<f64>,
    exact_match: Option<f64>,
    diverged: bool,
}

/// A row for each finetuning, sorted.
pub(super) fn rows(runs: &[Run]) -> Vec<RunRow<'_>> {
    let mut sorted: Vec<&Run> = runs.iter().collect();
    sorted.sort_by(|a, b| {
        let key = |run: &Run| (run.end.task.clone(), run.end.checkpoint.clone(), run.end.method.clone(), run.examples);
        key(a).cmp(&key(b)).then(a.end.learning_rate.total_cmp(&b.end.learning_rate)).then(a.end.seed.cmp(&b.end.seed))
    });
    let finite = |loss: f64| loss.is_finite().then_some(loss);
    let row = |run| {
        let Run { examples, end }: &Run = run;
        RunRow {
            examples: *examples,
            task: &end.task,
            checkpoint: &end.checkpoint,
            method: &end.method,
            learning_rate: end.learning_rate,
            seed: end.seed,
            pretrain_loss_before: end.pretrain_loss_before,
            pretrain_loss_after: finite(end.pretrain_loss_after),
            task_loss_before: end.task_loss_before,
            task_loss_after: finite(end.task_loss_after),
            exact_match: end.exact_match,
            diverged: end.diverged,
        }
    };
    sorted.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use lab::preset::Preset as _;

    use super::*;

    fn end(seed: u64, rate: f64, loss: f64) -> EndPoint {
        EndPoint {
            checkpoint: "adamw".into(),
            task: "math".into(),
            method: "adamw".into(),
            learning_rate: rate,
            seed,
            order: 0,
            pretrain_loss_before: 3.0,
            pretrain_loss_after: 3.5,
            task_loss_before: 4.0,
            task_loss_after: loss,
            validation_loss_before: 4.0,
            validation_loss_after: loss,
            exact_match: Some(0.25),
            diverged: !loss.is_finite(),
        }
    }

    fn choices(ends: &[EndPoint]) -> Vec<Chosen> {
        choose_rates(&ends.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_seed_takes_the_rate_that_is_best_for_the_others() {
        // Seed 0 is lucky at 2e-3, which is worse for the others: it must not profit.
        let ends = [end(0, 1e-3, 1.0), end(0, 2e-3, 0.1), end(1, 1e-3, 1.0), end(1, 2e-3, 2.0)];
        let found = choices(&ends);
        assert_eq!((found[0].rate, found[0].loss), (1e-3, 1.0));
        assert_eq!((found[1].rate, found[1].loss), (2e-3, 2.0));
        assert!(found[0].at_edge);
    }

    #[test]
    fn a_single_seed_chooses_its_own_rate_and_a_diverged_rate_is_never_chosen() {
        let found = choices(&[end(0, 1e-3, 1.0), end(0, 2e-3, 0.5), end(0, 4e-3, f64::NAN)]);
        assert_eq!((found.len(), found[0].rate, found[0].at_edge), (1, 2e-3, false));
    }

    #[test]
    fn effects_are_positive_where_the_second_optimizer_is_worse() {
        let preset = PairsPreset::find("smoke", &[]).unwrap();
        let task = preset.reasoning[0].clone();
        let run = |checkpoint: &str, method: &str, seed, loss, share| Run {
            examples: preset.largest(),
            end: EndPoint {
                checkpoint: checkpoint.into(),
                method: method.into(),
                task: task.clone(),
                exact_match: Some(share),
                pretrain_loss_before: if checkpoint == "muon" { 2.75 } else { 3.0 },
                ..end(seed, 1e-3, loss)
            },
        };
        let runs: Vec<Run> = (0..5)
            .flat_map(|seed| {
                let shift = 0.01 * seed as f64;
                [
                    run("adamw", "adamw", seed, 1.0 + shift, 0.5),
                    run("muon", "muon", seed, 1.5 + shift, 0.25),
                    run("adamw", "muon", seed, 1.125 + shift, 0.5),
                ]
            })
            .collect();
        let found = Statistics::compute(&preset, &runs).unwrap();
        let effects: Vec<f64> = found.scorecard.iter().map(|row| (row.effect.unwrap() * 1e6).round() / 1e6).collect();
        assert_eq!(effects, [0.25, 0.5, 0.25]);
        let changed =
            |row: &&ScorecardRow| row.statement.contains("AdamW -> Muon ends at a higher loss than AdamW -> AdamW");
        assert!((found.controls.iter().find(changed).unwrap().effect.unwrap() - 0.125).abs() < 1e-9);
        assert!(found.scorecard.iter().all(|row| row.verdict == lab::statistics::Verdict::Reproduced));
    }
}
