//! From finetuning runs to the effect of a turn on the consistency index.
//!
//! For every task, checkpoint and seed, the common learning is the way to the lowest task loss that both optimizers
//! reach from the folded network and from every turned one. So all are read at one task loss, and their forgetting
//! there is [`forgetting_at`]. With F(P, M) that of method M from checkpoint P, the index is I = 1/2 [ln F(A, b)/F(A,
//! a) + ln F(B, a)/F(B, b)]; the effect is the index folded less the mean index turned.

use std::collections::BTreeMap;

use lab::statistics::ScorecardRow;
use serde::Serialize;

use super::plan::FOLDED;
use crate::names::display;
use crate::stages::Results;
use crate::tradeoff::statistics::matched::{Point, forgetting_at, target_loss};

/// The share of the common learning at which the verdict is read.
pub(super) const PRIMARY_LEVEL: f64 = 0.90;

/// All shares of the common learning that are read.
pub(super) const LEVELS: [f64; 2] = [0.75, PRIMARY_LEVEL];

/// What is compared.
#[derive(Debug, Clone)]
pub(super) struct Comparison {
    /// Each checkpoint with the method that matches it.
    pub(super) pair: [(String, String); 2],
    /// The turned networks by the names behind their checkpoints'.
    pub(super) turned: Vec<String>,
}

/// Forgetting at one level of the common learning, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Cell {
    pub(super) task: String,
    pub(super) checkpoint: String,
    /// `folded` or `turned-N`.
    pub(super) turn: String,
    pub(super) method: String,
    pub(super) level: f64,
    pub(super) seed: u64,
    /// Nats per token.
    pub(super) forgetting: Option<f64>,
    pub(super) missing: Option<String>,
}

/// In what an effect is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Scale {
    /// Logarithms of ratios of forgetting; a seed with a forgetting that is not positive is left out.
    LogRatio,
    /// Differences in nats per token.
    Nats,
}

impl Scale {
    fn of(self, forgetting: f64) -> Option<f64> {
        match self {
            Self::LogRatio => (forgetting > 0.0).then(|| forgetting.ln()),
            Self::Nats => Some(forgetting),
        }
    }

    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::LogRatio => "log ratio",
            Self::Nats => "nats per token",
        }
    }
}

/// A number of every seed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Effect {
    /// What it is, in a few words.
    pub(super) label: String,
    /// What it says where it is positive.
    pub(super) statement: String,
    pub(super) task: String,
    pub(super) level: f64,
    pub(super) scale: Scale,
    /// Seed and effect.
    pub(super) samples: Vec<(u64, f64)>,
    /// Seeds without one.
    pub(super) left_out: usize,
}

impl Effect {
    pub(super) fn values(&self) -> Vec<f64> {
        self.samples.iter().map(|&(_, value)| value).collect()
    }

    /// Whether it is the one that the verdict is read from.
    fn is_primary(&self) -> bool {
        self.label == PRIMARY && self.level == PRIMARY_LEVEL && self.scale == Scale::LogRatio
    }
}

/// The label of the effect that the claim is about.
pub(super) const PRIMARY: &str = "index folded less turned";

/// Everything that the report shows.
pub(super) struct Statistics {
    pub(super) cells: Vec<Cell>,
    pub(super) effects: Vec<Effect>,
    pub(super) scorecard: Vec<ScorecardRow>,
    pub(super) controls: Vec<ScorecardRow>,
}

/// Forgetting by checkpoint, turn and method.
type BySetting<'a> = BTreeMap<(&'a str, &'a str, &'a str), f64>;

impl Statistics {
    pub(super) fn compute(results: &Results, tasks: &[String], comparison: &Comparison) -> Self {
        let seeds = results.seeds();
        let (mut cells, mut effects) = (Vec::new(), Vec::new());
        for task in tasks {
            for level in LEVELS {
                let of_level: Vec<Cell> =
                    seeds.iter().flat_map(|&seed| cells_of(results, comparison, task, seed, level)).collect();
                for scale in [Scale::LogRatio, Scale::Nats] {
                    effects.extend(effects_of(&of_level, comparison, task, level, scale, &seeds));
                }
                cells.extend(of_level);
            }
        }
        let row = |effect: &Effect| {
            let claim = if effect.is_primary() { "C2 (rotation)" } else { "C2 (rotation, control)" };
            let level = format!("at {:.0} % of the common learning", 100.0 * effect.level);
            let note = match effect.left_out {
                0 => level,
                left_out => format!("{level}; {left_out} seeds without a value left out"),
            };
            let (statement, unit) = (effect.statement.clone(), effect.scale.unit());
            ScorecardRow::from_samples(claim, statement, effect.task.clone(), unit, &effect.values(), note)
        };
        let (primary, others): (Vec<&Effect>, Vec<&Effect>) = effects.iter().partition(|effect| effect.is_primary());
        let scorecard = primary.into_iter().map(row).collect();
        let controls = others.into_iter().map(row).collect();
        Self { cells, effects, scorecard, controls }
    }
}

/// The cells of one task, seed and level.
fn cells_of(results: &Results, comparison: &Comparison, task: &str, seed: u64, level: f64) -> Vec<Cell> {
    let methods = || comparison.pair.iter().map(|(_, method)| method);
    let mut cells = Vec::new();
    for (checkpoint, _) in &comparison.pair {
        // The usable runs of every network and method, with the network's own loss before.
        let mut runs: Vec<(&str, &String, f64, Vec<Point>)> = Vec::new();
        for turn in std::iter::once(FOLDED).chain(comparison.turned.iter().map(String::as_str)) {
            let name = format!("{checkpoint}-{turn}");
            for method in methods() {
                let rows = results.of(task, &name);
                let rows: Vec<_> =
                    rows.filter(|row| row.method == *method && row.seed == seed && row.is_usable()).collect();
                let point = |row: &&crate::stages::EndPoint| Point {
                    learning_rate: row.learning_rate,
                    task_loss: row.task_loss_after,
                    forgetting: row.forgetting(),
                };
                let before = rows.first().map_or(f64::NAN, |row| row.task_loss_before);
                runs.push((turn, method, before, rows.iter().map(point).collect()));
            }
        }
        let lowest = |points: &[Point]| points.iter().map(|point| point.task_loss).fold(f64::INFINITY, f64::min);
        // Infinite where a method has no run: then there is no common learning.
        let common = runs.iter().map(|(.., points)| lowest(points)).fold(f64::NEG_INFINITY, f64::max);
        for (turn, method, before, points) in runs {
            let found = match common < before {
                true => forgetting_at(&points, target_loss(before, common, level)).map_err(|why| why.to_string()),
                false => Err("no common learning".to_owned()),
            };
            cells.push(Cell {
                task: task.into(),
                checkpoint: checkpoint.clone(),
                turn: turn.into(),
                method: method.clone(),
                level,
                seed,
                forgetting: found.as_ref().ok().copied(),
                missing: found.err(),
            });
        }
    }
    cells
}

fn effects_of(
    cells: &[Cell],
    comparison: &Comparison,
    task: &str,
    level: f64,
    scale: Scale,
    seeds: &[u64],
) -> Vec<Effect> {
    let [(a, of_a), (b, of_b)] = &comparison.pair;
    let turned = &comparison.turned;
    let effect = |label: String, statement: String, number: &dyn Fn(&BySetting<'_>) -> Option<f64>| {
        let sample = |&seed: &u64| {
            let of_seed = cells.iter().filter(|cell| cell.seed == seed);
            let scaled = of_seed.filter_map(|cell| {
                let key = (cell.checkpoint.as_str(), cell.turn.as_str(), cell.method.as_str());
                Some((key, scale.of(cell.forgetting?)?))
            });
            Some((seed, number(&scaled.collect())?))
        };
        let samples: Vec<(u64, f64)> = seeds.iter().filter_map(sample).collect();
        let left_out = seeds.len() - samples.len();
        Effect { label, statement, task: task.into(), level, scale, samples, left_out }
    };
    let index = |of: &BySetting<'_>, turn: &str| {
        let at = |checkpoint: &str, method: &str| of.get(&(checkpoint, turn, method)).copied();
        Some(0.5 * (at(a, of_b)? - at(a, of_a)? + at(b, of_a)? - at(b, of_b)?))
    };
    let mean_over_turns = |number: &dyn Fn(&str) -> Option<f64>| {
        let numbers: Option<Vec<f64>> = turned.iter().map(|turn| number(turn)).collect();
        numbers.map(|numbers| numbers.iter().sum::<f64>() / numbers.len() as f64)
    };
    let mut effects = vec![
        effect(PRIMARY.into(), "The consistency index falls when the residual stream is turned".into(), &|of| {
            Some(index(of, FOLDED)? - mean_over_turns(&|turn| index(of, turn))?)
        }),
        effect(
            "index folded".into(),
            "Finetuning hidden matrices, gains folded: the consistency index is positive".into(),
            &|of| index(of, FOLDED),
        ),
        effect(
            "index turned".into(),
            "Finetuning hidden matrices, stream turned: the consistency index is positive".into(),
            &|of| mean_over_turns(&|turn| index(of, turn)),
        ),
    ];
    for (checkpoint, _) in &comparison.pair {
        for (_, method) in &comparison.pair {
            let (from, with) = (display(checkpoint), display(method));
            effects.push(effect(
                format!("{with} from {from}, turned less folded"),
                format!("{with} forgets more from the turned {from} checkpoint than from the plain one"),
                &|of| {
                    let at = |turn: &str| of.get(&(checkpoint.as_str(), turn, method.as_str())).copied();
                    Some(mean_over_turns(&at)? - at(FOLDED)?)
                },
            ));
        }
    }
    effects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::EndPoint;

    fn comparison() -> Comparison {
        let own = |name: &str| (name.to_owned(), name.to_owned());
        Comparison { pair: [own("adamw"), own("muon")], turned: vec!["turned-1".into(), "turned-2".into()] }
    }

    /// Share of a network's forgetting at the end that its gentlest run has.
    const GENTLE: f64 = 0.05;

    /// Runs that reach task loss 2 from 4; ln F goes straight from the gentlest run to what `end` gives.
    fn results(seeds: u64, end: impl Fn(&str, &str, &str, u64) -> f64) -> Results {
        let mut rows = Vec::new();
        for seed in 0..seeds {
            for checkpoint in ["adamw", "muon"] {
                for turn in ["folded", "turned-1", "turned-2"] {
                    for method in ["adamw", "muon"] {
                        for (learning_rate, task_loss_after, share) in [(1e-4, 4.0, GENTLE), (1e-3, 2.0, 1.0)] {
                            rows.push(EndPoint {
                                task: "code".into(),
                                checkpoint: format!("{checkpoint}-{turn}"),
                                method: method.into(),
                                learning_rate,
                                seed,
                                order: 0,
                                pretrain_loss_before: 3.0,
                                pretrain_loss_after: 3.0 + share * end(checkpoint, turn, method, seed),
                                task_loss_before: 4.0,
                                task_loss_after,
                                validation_loss_before: 4.0,
                                validation_loss_after: task_loss_after,
                                exact_match: None,
                                diverged: false,
                            });
                        }
                    }
                }
            }
        }
        Results::from_rows(rows).unwrap()
    }

    /// As claimed: the matched optimizer forgets half as much; a turn takes that from AdamW alone.
    fn as_claimed(checkpoint: &str, turn: &str, method: &str, seed: u64) -> f64 {
        let protected = method == checkpoint && (method == "muon" || turn == "folded");
        (if protected { 0.4 } else { 0.8 }) * (1.0 + 0.1 * seed as f64)
    }

    fn mean(statistics: &Statistics, label: &str, scale: Scale, level: f64) -> f64 {
        let found = |effect: &&Effect| effect.label == label && effect.scale == scale && effect.level == level;
        let values = statistics.effects.iter().find(found).unwrap().values();
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn the_index_falls_by_half_of_what_a_turn_takes_from_adamw() {
        let statistics = Statistics::compute(&results(5, as_claimed), &["code".into()], &comparison());
        let log = |label: &str| mean(&statistics, label, Scale::LogRatio, PRIMARY_LEVEL);
        let two = 2f64.ln();
        assert!((log("index folded") - two).abs() < 1e-9);
        assert!((log("index turned") - two / 2.0).abs() < 1e-9);
        assert!((log(PRIMARY) - two / 2.0).abs() < 1e-9);
        assert!((log("AdamW from AdamW, turned less folded") - two).abs() < 1e-9);
        assert!(log("Muon from AdamW, turned less folded").abs() < 1e-12);
        // In nats at 75 %: half of .4 times the mean of the seeds' factors, 1.2, and what is reached of it there.
        let nats = mean(&statistics, PRIMARY, Scale::Nats, 0.75);
        assert!((nats - 0.5 * 0.4 * 1.2 * GENTLE.powf(0.25)).abs() < 1e-9, "{nats}");
        assert_eq!(statistics.scorecard.len(), 1);
        assert_eq!(statistics.scorecard[0].verdict, lab::statistics::Verdict::Reproduced);
        assert_eq!(statistics.cells.len(), 5 * 2 * 2 * 3 * 2);
    }

    #[test]
    fn every_network_is_read_at_one_task_loss() {
        // From the first turned network nothing gets below 3.
        let mut rows = results(1, as_claimed).rows().to_vec();
        let short = |row: &&mut EndPoint| row.checkpoint == "adamw-turned-1" && row.task_loss_after == 2.0;
        rows.iter_mut().filter(short).for_each(|row| row.task_loss_after = 3.0);
        let statistics = Statistics::compute(&Results::from_rows(rows).unwrap(), &["code".into()], &comparison());
        let folded = statistics.cells.iter().find(|cell| cell.level == PRIMARY_LEVEL && cell.turn == FOLDED).unwrap();
        // 90 % of the way from 4 to 3 is 45 % of the way to 2.
        assert!((folded.forgetting.unwrap() - 0.4 * GENTLE.powf(0.55)).abs() < 1e-9, "{folded:?}");
    }

    #[test]
    fn a_seed_without_a_run_or_without_forgetting_is_left_out_and_counted() {
        let negative = |checkpoint: &str, turn: &str, method: &str, seed: u64| {
            if seed == 1 { -0.1 } else { as_claimed(checkpoint, turn, method, seed) }
        };
        let statistics = Statistics::compute(&results(3, negative), &["code".into()], &comparison());
        assert!(statistics.scorecard[0].note.ends_with("1 seeds without a value left out"));
        assert_eq!(statistics.scorecard[0].n, 2);
        let mut rows = results(3, as_claimed).rows().to_vec();
        rows.retain(|row| !(row.seed == 0 && row.checkpoint == "muon-turned-2" && row.method == "muon"));
        let statistics = Statistics::compute(&Results::from_rows(rows).unwrap(), &["code".into()], &comparison());
        assert_eq!(statistics.scorecard[0].n, 2);
        assert!(statistics.cells.iter().any(|cell| cell.missing.as_deref() == Some("no common learning")));
    }
}
