//! From finetuning runs to the matrix of optimizers, and to what geometry has to do with it.
//!
//! For checkpoint P of optimizer p and method m, the matrix holds ln F(P, m) / F(P, p) where both have learned the
//! same; the index of two optimizers is the mean of their two entries. All readings are `tradeoff`'s, and its primary
//! one decides.

use std::collections::BTreeSet;

use lab::statistics::{MIN_SEEDS, MeanInterval, Readings, ScorecardRow, correct_for_many};

use super::preset::MatrixPreset;
use crate::error::Result;
use crate::names::display;
use crate::stages::Results;
use crate::tradeoff::compared::comparison;
use crate::tradeoff::statistics::reading::{OTHERS, Reading};
use crate::tradeoff::statistics::{Effect, PRIMARY, Term, TradeoffStatistics};

/// The claim that the rows of the scorecard are about.
const CLAIM: &str = "C1 (matrix)";

/// Everything that the report shows.
pub(super) struct MatrixStatistics {
    /// Every contrast and every index, by every reading.
    pub(super) pairs: TradeoffStatistics,
    /// What the mean over pairs says, corrected for the number of these rows.
    pub(super) scorecard: Vec<ScorecardRow>,
    /// The index of every pair, corrected for the number of pairs and tasks; then the places of the matched optimizers.
    pub(super) controls: Vec<ScorecardRow>,
}

/// The mean of the index over a set of pairs, in words.
struct Mean<'a> {
    statement: &'a str,
    /// Weights of the mean over pairs of different geometry and of the mean over pairs that share one.
    weights: [f64; 2],
}

/// What is said of the means over pairs.
const MEANS: [Mean<'static>; 3] = [
    Mean {
        statement: "Over all pairs of optimizers of different geometry, the mean consistency index is positive",
        weights: [1.0, 0.0],
    },
    Mean {
        statement: "Over all pairs of optimizers that share a geometry, the mean consistency index is positive",
        weights: [0.0, 1.0],
    },
    Mean { statement: "The consistency index is larger between geometries than within one", weights: [1.0, -1.0] },
];

impl MatrixStatistics {
    pub(super) fn compute(preset: &MatrixPreset, results: &Results) -> Result<Self> {
        let pairs = TradeoffStatistics::compute(results, &comparison(&preset.tradeoff()?));
        let seeds: BTreeSet<u64> = results.seeds().into_iter().collect();
        let mut statistics = Self { pairs, scorecard: Vec::new(), controls: Vec::new() };
        for task in statistics.pairs.tasks() {
            for mean in &MEANS {
                statistics.scorecard.extend(statistics.mean_row(preset, &task, &seeds, mean));
            }
        }
        correct_for_many(&mut statistics.scorecard.iter_mut().collect::<Vec<_>>());
        statistics.controls = statistics.pair_rows(preset);
        for task in statistics.pairs.tasks() {
            statistics.controls.extend(statistics.place_row(preset, &task, &seeds));
        }
        Ok(statistics)
    }

    /// The entry of the matrix: `method` against the matched one from a checkpoint.
    pub(super) fn entry(&self, task: &str, checkpoint: &str, method: &str) -> Option<&Effect> {
        self.pairs.effects.iter().find(|effect| {
            let is_it = |term: &Term| term.checkpoint == checkpoint && term.other == method;
            effect.part == "a"
                && effect.reading == PRIMARY
                && effect.task == task
                && effect.terms.first().is_some_and(is_it)
        })
    }

    /// The index of two optimizers.
    pub(super) fn index(&self, task: &str, [a, b]: [&str; 2], reading: Reading) -> Option<&Effect> {
        self.pairs.consistency().find(|effect| {
            let of = |name: &str| effect.terms.iter().any(|term| term.checkpoint == name);
            effect.task == task && effect.reading == reading && of(a) && of(b)
        })
    }

    /// The row about a mean; none where the preset has no pair of a group that it needs.
    fn mean_row(
        &self,
        preset: &MatrixPreset,
        task: &str,
        seeds: &BTreeSet<u64>,
        mean: &Mean<'_>,
    ) -> Option<ScorecardRow> {
        let primary = self.mean_samples(preset, task, seeds, mean, PRIMARY)?;
        let mut row =
            ScorecardRow::from_samples(CLAIM, mean.statement, task, PRIMARY.unit(), &primary.values, primary.note());
        let others = OTHERS.iter().filter_map(|reading| {
            let values = self.mean_samples(preset, task, seeds, mean, *reading)?.values;
            (values.len() >= MIN_SEEDS).then(|| MeanInterval::arithmetic(&values))?
        });
        row.readings = Readings::about(row.verdict, &others.collect::<Vec<_>>());
        Some(row)
    }

    fn mean_samples(
        &self,
        preset: &MatrixPreset,
        task: &str,
        seeds: &BTreeSet<u64>,
        mean: &Mean<'_>,
        reading: Reading,
    ) -> Option<OverPairs> {
        let mut found = OverPairs { values: vec![0.0; seeds.len()], used: 0, left_out: Vec::new() };
        for (weight, shares) in mean.weights.into_iter().zip([false, true]) {
            if weight == 0.0 {
                continue;
            }
            let group =
                preset.pairs().into_iter().filter(|[a, b]| (preset.geometry(a) == preset.geometry(b)) == shares);
            let (mut sum, mut count) = (vec![0.0; seeds.len()], 0);
            let mut group = group.peekable();
            // Without such a pair the preset does not ask.
            group.peek()?;
            for [a, b] in group {
                let effect = self.index(task, [&a, &b], reading);
                // A pair enters with all seeds or not at all: the mean is over the same pairs for every seed.
                match effect.filter(|effect| effect.samples.len() == seeds.len()) {
                    Some(effect) => {
                        sum.iter_mut().zip(&effect.samples).for_each(|(sum, (_, value))| *sum += value);
                        count += 1;
                    }
                    None => found.left_out.push(format!("{} / {}", display(&a), display(&b))),
                }
            }
            if count == 0 {
                found.values.clear();
                return Some(found);
            }
            found.used += count;
            found.values.iter_mut().zip(sum).for_each(|(value, sum)| *value += weight * sum / count as f64);
        }
        Some(found)
    }

    /// A row for the index of every pair.
    fn pair_rows(&self, preset: &MatrixPreset) -> Vec<ScorecardRow> {
        let tasks = self.pairs.tasks();
        let of_task = |task: &String| -> Vec<ScorecardRow> {
            let row = |[a, b]: [String; 2]| {
                let effect = self.index(task, [&a, &b], PRIMARY)?;
                let values: Vec<f64> = effect.samples.iter().map(|(_, value)| *value).collect();
                let same = if preset.geometry(&a) == preset.geometry(&b) { "same geometry" } else { "" };
                let mut notes = effect.left_out.clone();
                notes.extend((!same.is_empty()).then(|| same.to_owned()));
                let (statement, unit) = (effect.statement.clone(), PRIMARY.unit());
                Some(ScorecardRow::from_samples(CLAIM, statement, task, unit, &values, notes.join("; ")))
            };
            preset.pairs().into_iter().filter_map(row).collect()
        };
        let mut rows: Vec<ScorecardRow> = tasks.iter().flat_map(of_task).collect();
        correct_for_many(&mut rows.iter_mut().collect::<Vec<_>>());
        rows
    }

    /// Whether the matched optimizers stand higher than chance would have them: with n optimizers the mean place of one
    /// drawn at random is (n + 1) / 2.
    fn place_row(&self, preset: &MatrixPreset, task: &str, seeds: &BTreeSet<u64>) -> Option<ScorecardRow> {
        let names = preset.names();
        let mut places = vec![0.0; seeds.len()];
        let mut checkpoints = 0;
        for checkpoint in &names {
            let others: Option<Vec<&Effect>> = names
                .iter()
                .filter(|method| *method != checkpoint)
                .map(|method| self.entry(task, checkpoint, method).filter(|e| e.samples.len() == seeds.len()))
                .collect();
            let Some(others) = others else { continue };
            checkpoints += 1;
            for (seed, place) in places.iter_mut().enumerate() {
                *place += 1.0 + others.iter().filter(|effect| effect.samples[seed].1 < 0.0).count() as f64;
            }
        }
        if checkpoints == 0 {
            return None;
        }
        let chance = (names.len() as f64 + 1.0) / 2.0;
        let values: Vec<f64> = places.iter().map(|sum| chance - sum / f64::from(checkpoints)).collect();
        let statement = "The matched optimizer forgets less than one drawn at random: places ahead of the middle one";
        let note =
            format!("mean over {checkpoints} of {} checkpoints, those with every method on every seed", names.len());
        Some(ScorecardRow::from_samples(CLAIM, statement, task, "places", &values, note))
    }
}

/// A mean over pairs for every seed.
struct OverPairs {
    values: Vec<f64>,
    used: usize,
    left_out: Vec<String>,
}

impl OverPairs {
    fn note(&self) -> String {
        let pairs = format!("{} pairs", self.used);
        match self.left_out.len() {
            0 => pairs,
            _ => format!("{pairs}; without a value on every seed, and left out: {}", self.left_out.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use lab::preset::Preset as _;
    use lab::statistics::Verdict;

    use super::*;
    use crate::stages::EndPoint;
    use crate::tradeoff::statistics::testing::grid;

    /// Runs in which ln F(P, m) is `cost(P, m)` at every level: F doubles along the way.
    fn results(preset: &MatrixPreset, cost: impl Fn(&str, &str, u64) -> f64) -> Results {
        let mut rows: Vec<EndPoint> = Vec::new();
        for seed in 0..6 {
            for checkpoint in preset.names() {
                for method in preset.names() {
                    let factor = cost(&checkpoint, &method, seed).exp();
                    let runs = [(1e-4, 3.9, 0.1), (1e-3, 3.0, 0.4), (1e-2, 2.0, 0.8)];
                    let runs = runs.map(|(rate, loss, forgetting)| (rate, loss, factor * forgetting));
                    rows.extend(grid(&checkpoint, &method, seed, 4.0, &runs));
                }
            }
        }
        Results::from_rows(rows).unwrap()
    }

    fn row<'a>(statistics: &'a MatrixStatistics, part: &str) -> &'a ScorecardRow {
        statistics.scorecard.iter().find(|row| row.statement.contains(part)).unwrap()
    }

    #[test]
    fn what_geometry_costs_is_found_and_a_good_optimizer_for_all_is_none_of_it() {
        let preset = MatrixPreset::find("standard", &[]).unwrap();
        // A mismatch of geometry costs .3, one within a geometry .1; Lion forgets twice as much from everywhere.
        let found = MatrixStatistics::compute(
            &preset,
            &results(&preset, |checkpoint, method, seed| {
                let own = if method == "lion" { 2f64.ln() } else { 0.0 };
                let mismatch = match () {
                    () if checkpoint == method => 0.0,
                    () if preset.geometry(checkpoint) == preset.geometry(method) => 0.1,
                    () => 0.3,
                };
                own + mismatch + 0.001 * seed as f64 * mismatch
            }),
        )
        .unwrap();
        let near = |row: &ScorecardRow, expected: f64| (row.effect.unwrap() - expected).abs() < 2e-3;
        assert!(near(row(&found, "different geometry"), 0.3), "{:?}", row(&found, "different geometry"));
        assert!(near(row(&found, "share a geometry"), 0.1));
        assert!(near(row(&found, "between geometries"), 0.2));
        assert!(found.scorecard.iter().all(|row| row.verdict == Verdict::Reproduced && row.corrected.is_some()));
        let places = found.controls.last().unwrap();
        assert!(places.effect.unwrap() > 0.0, "{places:?}");
        let lion = found.entry("code", "muon", "lion").unwrap().interval.unwrap().mean;
        assert!((lion - (2f64.ln() + 0.3)).abs() < 2e-3, "{lion}");
    }

    #[test]
    fn a_pair_without_a_seed_is_left_out_of_all_seeds_and_named() {
        let preset = MatrixPreset::find("smoke", &[]).unwrap();
        let [a, b] = preset.pairs().remove(1);
        assert_ne!(preset.geometry(&a), preset.geometry(&b));
        let all = results(&preset, |checkpoint, method, _| if checkpoint == method { 0.0 } else { 0.2 });
        let rows = all.rows().iter().filter(|row| !(row.checkpoint == a && row.method == b && row.seed == 3));
        let fewer = Results::from_rows(rows.cloned().collect()).unwrap();
        let found = MatrixStatistics::compute(&preset, &fewer).unwrap();
        let named = format!("{} / {}", display(&a), display(&b));
        let about = found.scorecard.iter().find(|row| row.note.contains(&named));
        assert!(about.is_some_and(|row| row.n == 6), "{:?}", found.scorecard);
    }
}
