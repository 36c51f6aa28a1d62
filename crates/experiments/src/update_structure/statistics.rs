//! From rays to the interaction of surgery and checkpoint.
//!
//! With F_P(u) the forgetting of checkpoint P at the asked loss on the task along the update u: a surgery s costs
//! c_P(u, s) = ln F_P(s(u)) - ln F_P(u). Let a and b be the updates of the two optimizers that pretrained A and B, and
//! b the one whose spectrum is flat. The interaction is X = 1/4 [c_A(a, flat) - c_B(a, flat) + c_B(b, a's spectrum) -
//! c_A(b, a's spectrum)]: positive if the flat spectrum suits B and a's own spectrum A.

use lab::statistics::ScorecardRow;
use serde::Serialize;

use super::plan::Found;
use crate::names::display;
use crate::stages::Surgery;

/// What an effect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// The interaction X.
    Interaction,
    /// Half of it that is about one surgery.
    Half,
    /// The consistency index of the updates as they are.
    Index,
    /// What one surgery of one update costs at one checkpoint.
    Cost,
}

/// A number of every seed, in logarithms of ratios of forgetting.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Effect {
    pub(super) kind: Kind,
    pub(super) statement: String,
    pub(super) task: String,
    /// Of a cost: the checkpoint, the method and the surgery.
    pub(super) of: Option<(String, String, Surgery)>,
    /// Seed and value.
    pub(super) samples: Vec<(u64, f64)>,
    /// Seeds without one: a ray does not reach the asked loss, or a forgetting is not positive.
    pub(super) left_out: usize,
}

impl Effect {
    pub(super) fn values(&self) -> Vec<f64> {
        self.samples.iter().map(|&(_, value)| value).collect()
    }

    /// Whether it is a line of the scorecard's form; other costs are in a figure and a table.
    fn is_shown(&self) -> bool {
        self.of.as_ref().is_none_or(|(_, _, surgery)| *surgery == Surgery::OtherSeed)
    }
}

/// Everything that the report shows.
pub(super) struct Statistics {
    pub(super) effects: Vec<Effect>,
    pub(super) scorecard: Vec<ScorecardRow>,
    pub(super) controls: Vec<ScorecardRow>,
}

/// Each compared checkpoint with its method.
pub(super) type Pair = [(String, String); 2];

impl Statistics {
    pub(super) fn compute(found: &[Found], tasks: &[String], pair: &Pair) -> Self {
        let mut effects = Vec::new();
        for task in tasks {
            effects.extend(of_task(found, task, pair));
        }
        let row = |effect: &Effect| {
            let claim = if effect.kind == Kind::Interaction { "C3 (transplants)" } else { "C3 (transplants, control)" };
            let note = match effect.left_out {
                0 => String::new(),
                left_out => {
                    format!("{left_out} seeds left out: a ray misses the loss, or a forgetting is not positive")
                }
            };
            let (statement, values) = (effect.statement.clone(), effect.values());
            ScorecardRow::from_samples(claim, statement, effect.task.clone(), "log ratio", &values, note)
        };
        let primary = |effect: &&Effect| effect.kind == Kind::Interaction;
        let scorecard = effects.iter().filter(primary).map(row).collect();
        let controls = effects.iter().filter(|effect| !primary(effect) && effect.is_shown()).map(row).collect();
        Self { effects, scorecard, controls }
    }
}

/// ln F of a checkpoint, seed, method and surgery.
fn log(found: &[Found], task: &str, seed: u64, checkpoint: &str, method: &str, surgery: Surgery) -> Option<f64> {
    let of = found.iter().find(|of| of.checkpoint == checkpoint && of.task == task && of.seed == seed)?;
    let mut reached = of.transplanted.reached.iter();
    let forgetting = reached.find(|reached| reached.method == method && reached.surgery == surgery)?.forgetting?;
    (forgetting > 0.0).then(|| forgetting.ln())
}

fn of_task(found: &[Found], task: &str, pair: &Pair) -> Vec<Effect> {
    let [(a, of_a), (b, of_b)] = pair;
    let mut seeds: Vec<u64> = found.iter().filter(|of| of.task == task).map(|of| of.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let effect = |kind, statement: String, of, sample: &dyn Fn(u64) -> Option<f64>| {
        let samples: Vec<(u64, f64)> = seeds.iter().filter_map(|&seed| Some((seed, sample(seed)?))).collect();
        let left_out = seeds.len() - samples.len();
        Effect { kind, statement, task: task.into(), of, samples, left_out }
    };
    let at = |seed, checkpoint: &str, method: &str, surgery| log(found, task, seed, checkpoint, method, surgery);
    let cost = |seed, checkpoint: &str, method: &str, surgery| {
        Some(at(seed, checkpoint, method, surgery)? - at(seed, checkpoint, method, Surgery::Unchanged)?)
    };
    let flat = |seed| Some(0.5 * (cost(seed, a, of_a, Surgery::Flat)? - cost(seed, b, of_a, Surgery::Flat)?));
    let spectrum = |seed| {
        let surgery = Surgery::OtherSpectrum;
        Some(0.5 * (cost(seed, b, of_b, surgery)? - cost(seed, a, of_b, surgery)?))
    };
    let (from_a, from_b, with_a, with_b) = (display(a), display(b), display(of_a), display(of_b));
    let mut effects = vec![
        effect(
            Kind::Interaction,
            "Updates forget less with the spectrum that the checkpoint's own optimizer gives (surgery x checkpoint)"
                .into(),
            None,
            &|seed| Some(0.5 * (flat(seed)? + spectrum(seed)?)),
        ),
        effect(
            Kind::Half,
            format!("A flat spectrum costs {with_a}'s update more at the {from_a} checkpoint than at {from_b}'s"),
            None,
            &flat,
        ),
        effect(
            Kind::Half,
            format!("{with_a}'s spectrum costs {with_b}'s update more at the {from_b} checkpoint than at {from_a}'s"),
            None,
            &spectrum,
        ),
        effect(
            Kind::Index,
            "Updates as they are, at the same loss on the task: the consistency index is positive".into(),
            None,
            &|seed| {
                let whole = |checkpoint: &str, method: &str| at(seed, checkpoint, method, Surgery::Unchanged);
                Some(0.5 * (whole(a, of_b)? - whole(a, of_a)? + whole(b, of_a)? - whole(b, of_b)?))
            },
        ),
    ];
    for (checkpoint, _) in pair {
        for (_, method) in pair {
            for surgery in Surgery::ALL.into_iter().filter(|surgery| *surgery != Surgery::Unchanged) {
                let (from, with) = (display(checkpoint), display(method));
                let statement = format!("From the {from} checkpoint, {with}'s update forgets more: {}", surgery.name());
                let of = Some((checkpoint.clone(), method.clone(), surgery));
                effects.push(effect(Kind::Cost, statement, of, &|seed| cost(seed, checkpoint, method, surgery)));
            }
        }
    }
    effects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::{Reached, Transplanted};

    fn pair() -> Pair {
        [("adamw".into(), "adamw".into()), ("muon".into(), "muon".into())]
    }

    /// Everything forgets `size`, but for what `of` says of a method and surgery.
    fn found(checkpoint: &str, seed: u64, size: f64, of: impl Fn(&str, Surgery) -> f64) -> Found {
        let reached = ["adamw", "muon"].iter().flat_map(|method| {
            Surgery::ALL.map(|surgery| Reached {
                method: (*method).into(),
                surgery,
                factor: Some(1.0),
                task: Some(3.0),
                forgetting: Some(size * of(method, surgery)),
            })
        });
        let transplanted = Transplanted {
            pretrain: 3.0,
            task: 4.0,
            target: Some(3.0),
            structures: Vec::new(),
            reached: reached.collect(),
        };
        Found { checkpoint: checkpoint.into(), task: "code".into(), seed, transplanted }
    }

    fn mean(statistics: &Statistics, kind: Kind) -> Vec<f64> {
        let of_kind = statistics.effects.iter().filter(|effect| effect.kind == kind);
        of_kind.map(|effect| effect.values().iter().sum::<f64>() / effect.samples.len() as f64).collect()
    }

    #[test]
    fn the_interaction_is_what_a_spectrum_costs_at_the_other_checkpoint_more_than_at_its_own() {
        // At AdamW's checkpoint a flat spectrum doubles forgetting, at Muon's it halves it; AdamW's spectrum quarters
        // that of Muon's update at AdamW's checkpoint and changes nothing at Muon's.
        let adamw = |method: &str, surgery| match (method, surgery) {
            ("adamw", Surgery::Flat) => 2.0,
            ("muon", Surgery::OtherSpectrum) => 0.25,
            _ => 1.0,
        };
        let muon = |method: &str, surgery| if (method, surgery) == ("adamw", Surgery::Flat) { 0.5 } else { 1.0 };
        let of_seed = |seed| {
            let size = 0.1 * (1.0 + seed as f64);
            [found("adamw", seed, size, adamw), found("muon", seed, size, muon)]
        };
        let surveys: Vec<Found> = (0..5).flat_map(of_seed).collect();
        let statistics = Statistics::compute(&surveys, &["code".into()], &pair());
        let two = 2f64.ln();
        let close = |found: Vec<f64>, expected: &[f64]| {
            assert_eq!(found.len(), expected.len());
            found.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-9, "{found:?}"));
        };
        close(mean(&statistics, Kind::Half), &[two, two]);
        close(mean(&statistics, Kind::Interaction), &[two]);
        close(mean(&statistics, Kind::Index), &[0.0]);
        assert_eq!((statistics.scorecard.len(), statistics.scorecard[0].n), (1, 5));
        assert_eq!(mean(&statistics, Kind::Cost).len(), 2 * 2 * 6);
        // Halves, index, and the spectrum of another seed.
        assert_eq!(statistics.controls.len(), 3 + 4);
    }

    #[test]
    fn a_ray_that_misses_the_loss_leaves_its_seed_out() {
        let plain = |_: &str, _| 1.0;
        let mut surveys = vec![found("adamw", 0, 0.1, plain), found("muon", 0, 0.1, plain)];
        surveys.extend([found("adamw", 1, 0.1, plain), found("muon", 1, 0.1, plain)]);
        let missed =
            surveys[3].transplanted.reached.iter_mut().find(|r| r.method == "adamw" && r.surgery == Surgery::Flat);
        missed.unwrap().forgetting = None;
        let statistics = Statistics::compute(&surveys, &["code".into()], &pair());
        assert_eq!(statistics.scorecard[0].n, 1);
        assert!(statistics.scorecard[0].note.starts_with("1 seeds left out"));
    }
}
