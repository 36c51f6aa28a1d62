//! From finetuning runs to verdicts on claim C4: Muon in both stages against AdamW in both.
//!
//! The primary reading is the task loss at the rate that each seed's validation set chooses among those that forget no
//! more than the regime allows, at the largest amount of finetuning, as the mean over the reasoning tasks. Beside it
//! stand the task losses at equal forgetting, which say whether the verdict is robust.

use std::collections::{BTreeMap, BTreeSet};

use lab::statistics::{MIN_SEEDS, MeanInterval, Readings, ScorecardRow, correct_for_many};

use super::chosen::{Chosen, EQUAL, Run, Setting, choose};
use super::preset::{Amount, PairsPreset};
use crate::error::Result;
use crate::ground::pair;
use crate::names::display;
use crate::parts::CheckpointPreset;

/// Everything that the report shows.
pub(super) struct Statistics {
    pub(super) settings: BTreeMap<Setting, Vec<Chosen>>,
    pub(super) scorecard: Vec<ScorecardRow>,
    pub(super) controls: Vec<ScorecardRow>,
}

/// A checkpoint's name and the method that finetunes it.
#[derive(Clone)]
struct Trained {
    checkpoint: String,
    method: String,
}

impl Trained {
    /// A checkpoint with the method of its own optimizer.
    fn matched(checkpoint: &CheckpointPreset) -> Self {
        let method = checkpoint.optimizer().map_or(String::new(), |rule| rule.as_str().into());
        Self { checkpoint: checkpoint.name.clone(), method }
    }

    fn label(&self) -> String {
        format!("{} -> {}", display(&self.checkpoint), display(&self.method))
    }
}

/// Which number of a seed is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reading {
    /// Task loss at the chosen rate.
    Loss,
    /// Share of wrong answers there.
    Wrong,
    /// Task loss at one of [`EQUAL`], by its place.
    EqualForgetting(usize),
}

impl Reading {
    pub(super) fn of(self, chosen: &Chosen) -> Option<f64> {
        match self {
            Self::Loss => chosen.best.map(|best| best.loss),
            Self::Wrong => chosen.best.and_then(|best| best.exact_match).map(|share| 1.0 - share),
            Self::EqualForgetting(place) => chosen.at_forgetting[place],
        }
    }
}

impl Statistics {
    pub(super) fn compute(preset: &PairsPreset, runs: &[Run]) -> Result<Self> {
        let (base, whole) = preset.base()?;
        let [first, second] = pair(&base)?.map(Trained::matched);
        let settings = choose(runs, preset.regime);
        let rows = Rows { settings: &settings };
        let largest = preset.largest();
        let reasoning = &preset.reasoning;
        let mut scorecard = rows.about(reasoning, largest, &first, &second, "reasoning");
        correct_for_many(&mut scorecard.iter_mut().collect::<Vec<_>>());
        let mut controls = Vec::new();
        if let Some(checkpoint) = whole.clone() {
            let whole = Trained { checkpoint, method: second.method.clone() };
            controls.extend(rows.about(reasoning, largest, &first, &whole, "reasoning"));
        }
        // One optimizer changed at a time: whether it is pretraining or finetuning that decides.
        for (start, finetuner) in [(&first, &second), (&second, &first)] {
            let mixed = Trained { checkpoint: start.checkpoint.clone(), method: finetuner.method.clone() };
            controls.extend(rows.about(reasoning, largest, &first, &mixed, "reasoning"));
        }
        for task in reasoning.iter().chain(&preset.others) {
            controls.extend(rows.about(std::slice::from_ref(task), largest, &first, &second, task));
        }
        for amount in preset.amounts().into_iter().filter(|amount| *amount != largest) {
            controls.extend(rows.about(reasoning, amount, &first, &second, "reasoning"));
        }
        for row in &mut controls {
            row.claim = "C4 (control)".into();
        }
        let [a, b] = [first.checkpoint.as_str(), second.checkpoint.as_str()];
        controls.push(lower_pretraining_loss(runs, [a, b], "C4 (matched in loss)"));
        let b = whole.as_deref().unwrap_or(b);
        scorecard.insert(0, lower_pretraining_loss(runs, [a, b], "C4 (pretraining)"));
        Ok(Self { settings, scorecard, controls })
    }
}

/// The row about pretraining, before any finetuning.
fn lower_pretraining_loss(runs: &[Run], [first, second]: [&str; 2], claim: &str) -> ScorecardRow {
    let mut losses: BTreeMap<u64, BTreeMap<&str, f64>> = BTreeMap::new();
    for Run { end, .. } in runs {
        losses.entry(end.seed).or_default().insert(&end.checkpoint, end.pretrain_loss_before);
    }
    let samples: Vec<f64> = losses.values().filter_map(|of| Some(of.get(first)? - of.get(second)?)).collect();
    let statement = format!("{} pretrains to a lower loss than {}", display(second), display(first));
    ScorecardRow::from_samples(claim, statement, "pretraining text", "nats per token", &samples, "")
}

struct Rows<'a> {
    settings: &'a BTreeMap<Setting, Vec<Chosen>>,
}

impl Rows<'_> {
    /// Whether `second` is worse than `first`, as the mean over tasks within a seed.
    fn about(
        &self,
        tasks: &[String],
        amount: Amount,
        first: &Trained,
        second: &Trained,
        what: &str,
    ) -> Vec<ScorecardRow> {
        let Amount { examples, epochs } = amount;
        let seen = format!("{examples} examples, {epochs} epochs");
        let of_tasks =
            if tasks.len() == 1 { String::new() } else { format!("; mean over tasks: {}", tasks.join(", ")) };
        let (a, b) = (first.label(), second.label());
        let losses = self.samples(tasks, amount, [first, second], Reading::Loss);
        let forgetting = [first, second].map(|trained| self.forgetting(tasks, amount, trained));
        let note = format!(
            "{seen}{of_tasks}; forgetting at the chosen rates {}, {}",
            forgetting[0].as_deref().unwrap_or("none"),
            forgetting[1].as_deref().unwrap_or("none")
        );
        let statement = format!("Finetuned on {what}, {b} ends at a higher loss than {a}");
        let mut row = ScorecardRow::from_samples("C4", statement, what, "nats per token", &losses, note.clone());
        let others = (0..EQUAL.len()).filter_map(|place| {
            let samples = self.samples(tasks, amount, [first, second], Reading::EqualForgetting(place));
            (samples.len() >= MIN_SEEDS).then(|| MeanInterval::arithmetic(&samples))?
        });
        row.readings = Readings::about(row.verdict, &others.collect::<Vec<_>>());
        let mut rows = vec![row];
        let answers = self.samples(tasks, amount, [first, second], Reading::Wrong);
        if !answers.is_empty() {
            let statement = format!("Finetuned on {what}, {b} gives fewer right answers than {a}");
            rows.push(ScorecardRow::from_samples("C4", statement, what, "share of answers", &answers, note));
        }
        rows
    }

    fn of(&self, task: &str, amount: Amount, trained: &Trained) -> impl Iterator<Item = &Chosen> {
        let setting = Setting {
            checkpoint: trained.checkpoint.clone(),
            method: trained.method.clone(),
            task: task.into(),
            amount,
        };
        self.settings.get(&setting).into_iter().flatten()
    }

    /// For each seed that has all tasks from both: the mean over tasks of the second's number less the first's.
    fn samples(&self, tasks: &[String], amount: Amount, [a, b]: [&Trained; 2], reading: Reading) -> Vec<f64> {
        let of = |trained: &Trained, task: &String| -> BTreeMap<u64, f64> {
            let chosen = self.of(task, amount, trained);
            chosen.filter_map(|chosen| Some((chosen.seed, reading.of(chosen)?))).collect()
        };
        let pairs: Vec<_> = tasks.iter().map(|task| (of(a, task), of(b, task))).collect();
        let seeds: BTreeSet<u64> = pairs.iter().flat_map(|(a, _)| a.keys().copied()).collect();
        let sample = |seed: &u64| {
            let differences: Option<Vec<f64>> = pairs.iter().map(|(a, b)| Some(b.get(seed)? - a.get(seed)?)).collect();
            differences.map(|all| all.iter().sum::<f64>() / all.len() as f64)
        };
        seeds.iter().filter_map(sample).collect()
    }

    /// Mean forgetting at the chosen rates, in words; `None` without one.
    fn forgetting(&self, tasks: &[String], amount: Amount, trained: &Trained) -> Option<String> {
        let all: Vec<f64> = tasks
            .iter()
            .flat_map(|task| self.of(task, amount, trained).filter_map(|chosen| Some(chosen.best?.forgetting)))
            .collect();
        Some(format!("{:.2}", MeanInterval::arithmetic(&all)?.mean))
    }
}

#[cfg(test)]
mod tests {
    use lab::preset::Preset as _;
    use lab::statistics::Verdict;

    use super::super::testing::end;
    use super::*;
    use crate::stages::EndPoint;

    /// Five seeds in which the second optimizer in both stages is .5 worse everywhere, and the mixed pair .125.
    fn runs(preset: &PairsPreset) -> Vec<Run> {
        let (base, _) = preset.base().unwrap();
        let [a, b] = base.pair.unwrap();
        let mut runs = Vec::new();
        for seed in 0..5 {
            for (checkpoint, method, loss, share) in
                [(&a, "adamw", 1.0, 0.5), (&b, "muon", 1.5, 0.25), (&a, "muon", 1.125, 0.5), (&b, "adamw", 1.0, 0.5)]
            {
                for (rate, more, forgetting) in [(1e-3, 1.0, 0.05), (2e-3, 0.0, 0.45), (4e-3, -0.5, 0.9)] {
                    let ends = EndPoint {
                        checkpoint: checkpoint.clone(),
                        method: method.into(),
                        task: preset.reasoning[0].clone(),
                        exact_match: Some(share),
                        ..end(seed, rate, loss + more + 0.01 * seed as f64, forgetting)
                    };
                    runs.push(Run { amount: preset.largest(), end: ends });
                }
            }
        }
        runs
    }

    #[test]
    fn effects_are_positive_where_the_second_optimizer_is_worse() {
        let preset = PairsPreset::find("smoke", &[]).unwrap();
        let found = Statistics::compute(&preset, &runs(&preset)).unwrap();
        let effects: Vec<f64> =
            found.scorecard.iter().skip(1).map(|row| (row.effect.unwrap() * 1e6).round() / 1e6).collect();
        assert_eq!(effects, [0.5, 0.25]);
        assert!(
            found.scorecard.iter().skip(1).all(|row| row.verdict == Verdict::Reproduced && row.corrected.is_some())
        );
        assert_eq!(found.scorecard[1].readings, Some(Readings::Robust));
        assert!(
            found.scorecard[1].note.contains("forgetting at the chosen rates 0.45, 0.45"),
            "{}",
            found.scorecard[1].note
        );
        let changed = |row: &&ScorecardRow| row.statement.contains("AdamW -> Muon ends at a higher loss");
        assert!((found.controls.iter().find(changed).unwrap().effect.unwrap() - 0.125).abs() < 1e-9);
    }

    #[test]
    fn a_verdict_that_equal_forgetting_turns_is_not_robust() {
        let preset = PairsPreset::find("smoke", &[]).unwrap();
        let mut runs = runs(&preset);
        // The second optimizer forgets a third on its way to the same losses.
        for Run { end, .. } in runs.iter_mut().filter(|run| run.end.method == "muon") {
            end.pretrain_loss_after = 3.0 + 0.3 * (end.pretrain_loss_after - 3.0);
            end.validation_loss_after = if end.learning_rate == 2e-3 { 0.0 } else { 9.0 };
        }
        let found = Statistics::compute(&preset, &runs).unwrap();
        assert_eq!(found.scorecard[1].verdict, Verdict::Reproduced);
        assert_eq!(found.scorecard[1].readings, Some(Readings::NotRobust));
    }
}
