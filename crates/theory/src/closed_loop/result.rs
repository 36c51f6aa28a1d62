//! What a closed loop gives, and the numbers that are read from it.

use serde::{Deserialize, Serialize};

use crate::optimizers::Rule;
use crate::statistics::Estimate;

/// One pretrained network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The optimizer that pretrained it.
    pub rule: Rule,
    /// Population loss left, relative to that of the zero network.
    pub error: f64,
    /// Off-diagonal mass of the hidden second moments, mean over the hidden layers.
    pub off_diagonal_mass: f64,
    /// Participation ratio of the hidden units' mean squares, mean over the hidden layers.
    pub participation_ratio: f64,
    /// For every finetuning optimizer its forgetting, one a task; infinite where it did not learn.
    pub forgetting: Vec<(Rule, Vec<f64>)>,
}

/// All checkpoints of one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedResult {
    /// The seed.
    pub seed: u64,
    /// One a pretraining optimizer.
    pub checkpoints: Vec<Checkpoint>,
}

/// All seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClosedLoopResult {
    /// One entry a seed.
    pub seeds: Vec<SeedResult>,
}

impl SeedResult {
    /// Log of the geometric mean over tasks of the forgetting; tasks that some optimizer of `among` did not learn from
    /// some checkpoint are left out for all. Nothing if no task remains.
    fn log_forgetting(&self, pretrained: Rule, finetuned: Rule, among: &[Rule]) -> Option<f64> {
        let values = |p: Rule, f: Rule| {
            let checkpoint = self.checkpoints.iter().find(|c| c.rule == p)?;
            checkpoint.forgetting.iter().find(|(r, _)| *r == f).map(|(_, v)| v)
        };
        let own = values(pretrained, finetuned)?;
        let logs: Vec<f64> = (0..own.len())
            .filter(|&task| {
                self.checkpoints.iter().all(|c| {
                    among.iter().all(|&f| values(c.rule, f).is_none_or(|v| v[task].is_finite() && v[task] > 0.0))
                })
            })
            .map(|task| own[task].ln())
            .collect();
        (!logs.is_empty()).then(|| logs.iter().sum::<f64>() / logs.len() as f64)
    }
}

impl ClosedLoopResult {
    fn samples(&self, of_seed: impl Fn(&SeedResult) -> Option<f64>) -> Vec<f64> {
        self.seeds.iter().filter_map(of_seed).collect()
    }

    /// Forgetting of one pair: geometric mean over tasks, then over seeds with its interval.
    pub fn forgetting(&self, pretrained: Rule, finetuned: Rule) -> Estimate {
        Estimate::of(&self.samples(|s| s.log_forgetting(pretrained, finetuned, &[finetuned]))).exp()
    }

    /// Logarithm of the ratio of the forgetting of two finetuning optimizers from one checkpoint, paired by task, one a
    /// seed.
    pub fn log_ratios(&self, pretrained: Rule, numerator: Rule, denominator: Rule) -> Vec<f64> {
        let among = [numerator, denominator];
        self.samples(|s| {
            Some(s.log_forgetting(pretrained, numerator, &among)? - s.log_forgetting(pretrained, denominator, &among)?)
        })
    }

    /// The geometric mean of that ratio with its interval over seeds.
    pub fn ratio(&self, pretrained: Rule, numerator: Rule, denominator: Rule) -> Estimate {
        Estimate::of(&self.log_ratios(pretrained, numerator, denominator)).exp()
    }

    /// The consistency index of two optimizers on the logarithms, one a seed: half the sum over the two checkpoints of
    /// log(mismatched forgetting / matched forgetting). Above 0, matching helps.
    pub fn log_consistency(&self, a: Rule, b: Rule) -> Vec<f64> {
        let among = [a, b];
        self.samples(|s| {
            let log = |p, f| s.log_forgetting(p, f, &among);
            Some(0.5 * (log(a, b)? - log(a, a)? + log(b, a)? - log(b, b)?))
        })
    }

    /// The consistency index as a factor, with its interval over seeds.
    pub fn consistency(&self, a: Rule, b: Rule) -> Estimate {
        Estimate::of(&self.log_consistency(a, b)).exp()
    }

    /// Off-diagonal mass of the hidden second moments of the checkpoints of `rule`.
    pub fn off_diagonal_mass(&self, rule: Rule) -> Estimate {
        self.checkpoints(rule, |c| c.off_diagonal_mass)
    }

    /// Participation ratio of the hidden units of the checkpoints of `rule`.
    pub fn participation_ratio(&self, rule: Rule) -> Estimate {
        self.checkpoints(rule, |c| c.participation_ratio)
    }

    /// Population loss left at the checkpoints of `rule`, relative to the zero network's.
    pub fn pretraining_error(&self, rule: Rule) -> Estimate {
        self.checkpoints(rule, |c| c.error)
    }

    fn checkpoints(&self, rule: Rule, reading: impl Fn(&Checkpoint) -> f64) -> Estimate {
        let values: Vec<f64> =
            self.seeds.iter().flat_map(|s| s.checkpoints.iter().filter(|c| c.rule == rule).map(&reading)).collect();
        Estimate::of(&values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(rule: Rule, adam: [f64; 2], muon: [f64; 2]) -> Checkpoint {
        Checkpoint {
            rule,
            error: 0.0,
            off_diagonal_mass: 0.5,
            participation_ratio: 3.0,
            forgetting: vec![(Rule::Adam, adam.to_vec()), (Rule::Muon, muon.to_vec())],
        }
    }

    fn result() -> ClosedLoopResult {
        ClosedLoopResult {
            seeds: (0..3)
                .map(|seed| SeedResult {
                    seed,
                    checkpoints: vec![
                        checkpoint(Rule::Adam, [1.0, 1.0], [2.0, 2.0]),
                        checkpoint(Rule::Muon, [8.0, 2.0], [1.0, 1.0]),
                    ],
                })
                .collect(),
        }
    }

    #[test]
    fn ratios_and_the_index_are_the_hand_computed_ones() {
        let result = result();
        assert!((result.ratio(Rule::Adam, Rule::Adam, Rule::Muon).mean - 0.5).abs() < 1e-12);
        assert!((result.ratio(Rule::Muon, Rule::Adam, Rule::Muon).mean - 4.0).abs() < 1e-12);
        // sqrt(2 * 4)
        assert!((result.consistency(Rule::Adam, Rule::Muon).mean - 8f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_task_that_one_optimizer_did_not_learn_is_left_out_of_every_comparison() {
        let mut result = result();
        for seed in &mut result.seeds {
            seed.checkpoints[1].forgetting[1].1[0] = f64::INFINITY;
        }
        // Only the second task remains, at both checkpoints.
        assert!((result.ratio(Rule::Muon, Rule::Adam, Rule::Muon).mean - 2.0).abs() < 1e-12);
        assert!((result.consistency(Rule::Adam, Rule::Muon).mean - 2.0).abs() < 1e-12);
    }
}
