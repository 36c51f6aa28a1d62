//! From surveys to the landscape index and its controls.
//!
//! With F_P(D) the forgetting of checkpoint P along direction D, and the directions of two optimizers a and b, which
//! pretrained the checkpoints A and B: I = 1/2 [ln F_A(b)/F_A(a) + ln F_B(a)/F_B(b)]. It is positive where the loss on
//! pretraining text rises less along the direction of the checkpoint's own optimizer.

use lab::statistics::ScorecardRow;
use serde::Serialize;

use super::compared::{Pair, REFERENCE_BATCHES, REFERENCE_GAIN};
use super::plan::Found;
use crate::names::display;
use crate::stages::{ALL_PARTS, Length};

/// Where on the landscape something is read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    pub(super) part: String,
    pub(super) batches: u64,
    pub(super) length: Length,
    pub(super) amount: f64,
}

impl Place {
    fn is_reference(&self) -> bool {
        self.part == ALL_PARTS
            && self.batches == REFERENCE_BATCHES
            && self.length == Length::Gain
            && self.amount == REFERENCE_GAIN
    }

    /// "gain 3 %, 8 batches".
    pub(super) fn label(&self) -> String {
        let length = match self.length {
            Length::Gain => format!("gain {} %", 100.0 * self.amount),
            Length::Relative => format!("{} % of the weights", 100.0 * self.amount),
            Length::Absolute => format!("root mean square {}", self.amount),
        };
        let batches = match self.batches {
            0 => String::new(),
            1 => ", 1 batch".into(),
            several => format!(", {several} batches"),
        };
        let part = if self.part == ALL_PARTS { String::new() } else { format!(", {} alone", self.part) };
        format!("{length}{batches}{part}")
    }
}

/// A log ratio of every seed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Effect {
    pub(super) kind: Kind,
    pub(super) statement: String,
    pub(super) task: String,
    /// The pair or the checkpoint that it is about.
    pub(super) about: String,
    /// Whether it is about a control pair.
    pub(super) control: bool,
    /// None for curvatures, which need no step.
    pub(super) place: Option<Place>,
    /// Seed and value.
    pub(super) samples: Vec<(u64, f64)>,
    /// Seeds without one: a forgetting or a curvature was not positive.
    pub(super) left_out: usize,
}

/// What an effect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// The index.
    Index,
    /// Half of it: the log ratio of one checkpoint.
    Checkpoint,
    /// The index of curvatures over squared gains.
    Curvature,
    /// One random direction against another.
    Null,
}

impl Effect {
    pub(super) fn values(&self) -> Vec<f64> {
        self.samples.iter().map(|&(_, value)| value).collect()
    }

    fn is_primary(&self) -> bool {
        self.kind == Kind::Index && !self.control && self.place.as_ref().is_some_and(Place::is_reference)
    }

    /// Whether it is shown among the lines of the scorecard's form.
    fn is_shown(&self) -> bool {
        self.kind != Kind::Index
            || self.place.as_ref().is_some_and(|place| match self.control {
                true => place.is_reference(),
                false => place.part == ALL_PARTS && place.batches == REFERENCE_BATCHES,
            })
    }
}

/// Everything that the report shows.
pub(super) struct Statistics {
    pub(super) effects: Vec<Effect>,
    pub(super) scorecard: Vec<ScorecardRow>,
    pub(super) controls: Vec<ScorecardRow>,
}

impl Statistics {
    pub(super) fn compute(found: &[Found], tasks: &[String], pairs: &[Pair]) -> Self {
        let surveys = Surveys(found);
        let mut effects = Vec::new();
        for task in tasks {
            for pair in pairs {
                effects.extend(surveys.of_pair(task, pair));
            }
            effects.extend(surveys.nulls(task));
        }
        let row = |effect: &Effect| {
            let claim = if effect.is_primary() { "C2 (landscape)" } else { "C2 (landscape, control)" };
            let place = effect.place.as_ref().map_or_else(|| "curvature, no step".into(), Place::label);
            let note = match effect.left_out {
                0 => place,
                left_out => format!("{place}; {left_out} seeds without a positive value left out"),
            };
            let (statement, values) = (effect.statement.clone(), effect.values());
            ScorecardRow::from_samples(claim, statement, effect.task.clone(), "log ratio", &values, note)
        };
        let scorecard = effects.iter().filter(|effect| effect.is_primary()).map(row).collect();
        let controls = effects.iter().filter(|effect| effect.is_shown() && !effect.is_primary()).map(row).collect();
        Self { effects, scorecard, controls }
    }
}

/// The surveys of all checkpoints, tasks and seeds.
pub(super) struct Surveys<'a>(pub(super) &'a [Found]);

impl Surveys<'_> {
    fn seeds(&self, task: &str) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.0.iter().filter(|of| of.task == task).map(|of| of.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    fn of(&self, checkpoint: &str, task: &str, seed: u64) -> Option<&Found> {
        self.0.iter().find(|of| of.checkpoint == checkpoint && of.task == task && of.seed == seed)
    }

    /// Mean forgetting over the draws of a direction.
    pub(super) fn forgetting(
        &self,
        checkpoint: &str,
        (task, seed): (&str, u64),
        direction: &str,
        place: &Place,
    ) -> Option<f64> {
        let here = self.of(checkpoint, task, seed)?.surveyed.moved.iter().filter(|moved| {
            moved.direction == direction
                && moved.part == place.part
                && moved.batches == place.batches
                && moved.length == place.length
                && moved.amount == place.amount
        });
        mean(here.map(|moved| moved.forgetting))
    }

    /// Curvature over squared gain of a direction of the reference number of batches.
    fn curvature(&self, checkpoint: &str, (task, seed): (&str, u64), direction: &str) -> Option<f64> {
        let mut bends = self.of(checkpoint, task, seed)?.surveyed.bends.iter();
        let bend = bends.find(|bend| bend.direction == direction && bend.batches == REFERENCE_BATCHES)?;
        Some(bend.curvature / bend.gain?.powi(2))
    }

    /// The index and what belongs to it, of one pair.
    fn of_pair(&self, task: &str, pair: &Pair) -> Vec<Effect> {
        let Pair { a: (a, of_a), b: (b, of_b), control } = pair;
        let seeds = self.seeds(task);
        let effect =
            |kind, statement: String, about: String, place: Option<&Place>, sample: &dyn Fn(u64) -> Option<f64>| {
                let samples: Vec<(u64, f64)> = seeds.iter().filter_map(|&seed| Some((seed, sample(seed)?))).collect();
                let left_out = seeds.len() - samples.len();
                Effect {
                    kind,
                    statement,
                    task: task.into(),
                    about,
                    control: *control,
                    place: place.cloned(),
                    samples,
                    left_out,
                }
            };
        let ratio = |checkpoint: &str, other: &str, own: &str, seed: u64, place: &Place| {
            let log = |direction: &str| ln(self.forgetting(checkpoint, (task, seed), direction, place)?);
            Some(log(other)? - log(own)?)
        };
        let label = pair.label();
        let mut effects = Vec::new();
        for place in self.places(task) {
            let statement = format!("Landscape index of {label} is positive");
            effects.push(effect(Kind::Index, statement, label.clone(), Some(&place), &|seed| {
                Some(0.5 * (ratio(a, of_b, of_a, seed, &place)? + ratio(b, of_a, of_b, seed, &place)?))
            }));
            if !place.is_reference() {
                continue;
            }
            for (checkpoint, own, other) in [(a, of_a, of_b), (b, of_b, of_a)] {
                let name = display(checkpoint);
                let statement =
                    format!("From the {name} checkpoint, a step along `{own}` forgets less than one along `{other}`");
                effects.push(effect(Kind::Checkpoint, statement, name, Some(&place), &|seed| {
                    ratio(checkpoint, other, own, seed, &place)
                }));
            }
        }
        let statement = format!("Landscape index of {label} from curvatures over squared gains is positive");
        effects.push(effect(Kind::Curvature, statement, label, None, &|seed| {
            let log = |checkpoint: &str, direction: &str| ln(self.curvature(checkpoint, (task, seed), direction)?);
            Some(0.5 * (log(a, of_b)? - log(a, of_a)? + log(b, of_a)? - log(b, of_b)?))
        }));
        effects
    }

    /// Where directions of gradients were measured, each place once, in the order of the surveys.
    fn places(&self, task: &str) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        let moved = self.0.iter().filter(|of| of.task == task).flat_map(|of| &of.surveyed.moved);
        for moved in moved.filter(|moved| moved.direction == "sign") {
            let place =
                Place { part: moved.part.clone(), batches: moved.batches, length: moved.length, amount: moved.amount };
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    /// Random directions of equal length against Gaussian ones, for every checkpoint: theory has no difference.
    fn nulls(&self, task: &str) -> Vec<Effect> {
        let mut checkpoints: Vec<&String> = Vec::new();
        let mut places: Vec<Place> = Vec::new();
        for of in self.0.iter().filter(|of| of.task == task) {
            if !checkpoints.contains(&&of.checkpoint) {
                checkpoints.push(&of.checkpoint);
            }
            for moved in of.surveyed.moved.iter().filter(|m| m.direction == "gaussian" && m.length == Length::Relative)
            {
                let (part, length, amount) = (moved.part.clone(), moved.length, moved.amount);
                let place = Place { part, batches: 0, length, amount };
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        let seeds = self.seeds(task);
        let mut effects = Vec::new();
        for checkpoint in checkpoints {
            for (direction, place) in
                ["random-signs", "haar"].into_iter().flat_map(|d| places.iter().map(move |p| (d, p)))
            {
                let sample = |&seed: &u64| {
                    let log = |direction: &str| ln(self.forgetting(checkpoint, (task, seed), direction, place)?);
                    Some((seed, log(direction)? - log("gaussian")?))
                };
                let samples: Vec<(u64, f64)> = seeds.iter().filter_map(sample).collect();
                let name = display(checkpoint);
                effects.push(Effect {
                    kind: Kind::Null,
                    statement: format!(
                        "Null: from the {name} checkpoint, `{direction}` forgets more than `gaussian` of the same length"
                    ),
                    task: task.into(),
                    about: name,
                    control: false,
                    place: Some(place.clone()),
                    left_out: seeds.len() - samples.len(),
                    samples,
                });
            }
        }
        effects
    }
}

/// The mean of numbers that are all there.
pub(super) fn mean(numbers: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let numbers: Vec<f64> = numbers.collect::<Option<_>>()?;
    (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64)
}

/// The logarithm of a positive number.
fn ln(x: f64) -> Option<f64> {
    (x > 0.0).then(|| x.ln())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::{Bend, Moved, Surveyed};

    fn pair() -> Pair {
        Pair { a: ("adamw".into(), "sign"), b: ("muon".into(), "polar"), control: false }
    }

    /// A survey with these forgettings along `sign`, `polar` and the random directions.
    fn found(checkpoint: &str, seed: u64, [sign, polar]: [f64; 2], [gaussian, haar]: [f64; 2]) -> Found {
        let moved = |direction: &str, draw, length, amount, batches, forgetting| Moved {
            part: ALL_PARTS.into(),
            batches,
            direction: direction.into(),
            draw,
            length,
            amount,
            step: 1.0,
            forgetting: Some(forgetting),
            learned: None,
        };
        let bend = |direction: &str, curvature| Bend {
            batches: REFERENCE_BATCHES,
            direction: direction.into(),
            draw: 0,
            gain: Some(2.0),
            fall: 0.0,
            curvature,
        };
        let at_gain =
            |direction, forgetting| moved(direction, 0, Length::Gain, REFERENCE_GAIN, REFERENCE_BATCHES, forgetting);
        let random = |direction, draw, forgetting| moved(direction, draw, Length::Relative, 0.02, 0, forgetting);
        Found {
            checkpoint: checkpoint.into(),
            task: "code".into(),
            seed,
            surveyed: Surveyed {
                pretrain: 3.0,
                task: 4.0,
                moved: vec![
                    at_gain("sign", sign),
                    at_gain("polar", polar),
                    random("gaussian", 0, gaussian - 0.01),
                    random("gaussian", 1, gaussian + 0.01),
                    random("random-signs", 0, gaussian),
                    random("haar", 0, haar),
                ],
                bends: vec![bend("sign", 4.0 * sign), bend("polar", 4.0 * polar)],
            },
        }
    }

    #[test]
    fn the_index_is_positive_where_each_checkpoint_rises_less_along_its_own_direction() {
        let of_seed = |seed| {
            let size = 1.0 + 0.1 * seed as f64;
            [found("adamw", seed, [0.1 * size, 0.4 * size], [0.1, 0.1]), found("muon", seed, [0.2, 0.2], [0.1, 0.2])]
        };
        let surveys: Vec<Found> = (0..5).flat_map(of_seed).collect();
        let statistics = Statistics::compute(&surveys, &["code".into()], &[pair()]);
        // Half of ln 4, and nothing from Muon's checkpoint.
        let row = &statistics.scorecard[0];
        assert!((row.effect.unwrap() - 2f64.ln()).abs() < 1e-9, "{row:?}");
        assert_eq!((statistics.scorecard.len(), row.n), (1, 5));
        let of_kind = |kind| statistics.effects.iter().filter(move |effect| effect.kind == kind);
        let means = |kind| -> Vec<f64> {
            of_kind(kind).map(|effect| effect.values().iter().sum::<f64>() / effect.samples.len() as f64).collect()
        };
        let close = |found: Vec<f64>, expected: &[f64]| {
            assert_eq!(found.len(), expected.len());
            found.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-9, "{found:?}"));
        };
        close(means(Kind::Checkpoint), &[4f64.ln(), 0.0]);
        close(means(Kind::Curvature), &[2f64.ln()]);
        // Signs and Haar of both checkpoints; draws are averaged first.
        close(means(Kind::Null), &[0.0, 0.0, 0.0, 2f64.ln()]);
    }

    #[test]
    fn a_seed_whose_loss_falls_is_left_out_and_counted() {
        let surveys = [
            found("adamw", 0, [0.1, 0.2], [0.1, 0.1]),
            found("muon", 0, [0.2, 0.1], [0.1, 0.1]),
            found("adamw", 1, [-0.1, 0.2], [0.1, 0.1]),
            found("muon", 1, [0.2, 0.1], [0.1, 0.1]),
        ];
        let statistics = Statistics::compute(&surveys, &["code".into()], &[pair()]);
        let row = &statistics.scorecard[0];
        assert_eq!(row.n, 1);
        assert!(row.note.ends_with("1 seeds without a positive value left out"), "{}", row.note);
    }
}
