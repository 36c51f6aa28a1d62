//! What a model has memorised and what it has understood: plain functions of its answers to [`Probe`]s.
//!
//! A model is asked for the answer of each probe; its [`Response`] holds the greedily decoded answer and the loss on
//! the right one. The functions take probes and responses side by side and panic if their numbers differ.

use crate::language::{Probe, Token};

/// A model's answer to a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The most probable answer, decoded greedily token by token.
    pub predicted: Vec<Token>,
    /// -ln P of the probe's right answer given its prompt, in nats, summed over the tokens of the answer.
    pub loss: f64,
}

fn pairs<'a>(probes: &'a [Probe], responses: &'a [Response]) -> impl Iterator<Item = (&'a Probe, &'a Response)> {
    assert_eq!(probes.len(), responses.len(), "one response for each probe");
    probes.iter().zip(responses)
}

/// The share of probes that are answered rightly; 0 without probes. On held-out instances this is generalisation, on
/// facts memorisation.
pub fn accuracy(probes: &[Probe], responses: &[Response]) -> f64 {
    let right = pairs(probes, responses).filter(|(probe, response)| response.predicted == probe.label()).count();
    right as f64 / probes.len().max(1) as f64
}

/// The mean loss on the right answers, in nats per answer; 0 without responses.
pub fn mean_loss(responses: &[Response]) -> f64 {
    responses.iter().map(|response| response.loss).sum::<f64>() / responses.len().max(1) as f64
}

/// How much of a set of facts a model holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Memorisation {
    /// The share of facts that are answered rightly.
    pub accuracy: f64,
    /// Information about the values that the model holds, in bits: the sum over facts of (blind loss - loss) / ln 2, a
    /// lower bound in the manner of Allen-Zhu and Li (arXiv 2404.05405), and not below 0.
    pub bits: f64,
    /// The same for each of the model's parameters.
    pub bits_per_parameter: f64,
}

/// Memorisation of facts. `blind` is the answer's loss without knowledge of the fact, in nats
/// ([`Learner::Blind`](crate::language::Learner::Blind)); `parameters` the number of the model's parameters, at least
/// 1.
pub fn memorisation(facts: &[Probe], responses: &[Response], blind: f64, parameters: u64) -> Memorisation {
    let nats: f64 = responses.iter().map(|response| blind - response.loss).sum();
    let bits = nats.max(0.0) / std::f64::consts::LN_2;
    Memorisation { accuracy: accuracy(facts, responses), bits, bits_per_parameter: bits / parameters.max(1) as f64 }
}

/// Memorisation of facts of similar frequency.
#[derive(Debug, Clone, PartialEq)]
pub struct FrequencyBin {
    /// Frequency of the rarest fact in the bin, as a share of the documents.
    pub least_frequency: f64,
    /// Frequency of the most frequent fact in the bin.
    pub most_frequency: f64,
    /// The number of facts in the bin.
    pub facts: usize,
    /// The share of them that are answered rightly.
    pub accuracy: f64,
    /// Their mean loss in nats.
    pub mean_loss: f64,
}

/// Memorisation by frequency: the facts, most frequent first, in at most `bins` groups whose sizes differ by at most
/// one.
pub fn by_frequency(facts: &[Probe], responses: &[Response], bins: usize) -> Vec<FrequencyBin> {
    let mut sorted: Vec<(&Probe, &Response)> = pairs(facts, responses).collect();
    sorted.sort_by(|(a, _), (b, _)| b.frequency.total_cmp(&a.frequency).then(a.instance.cmp(&b.instance)));
    let bins = bins.min(sorted.len());
    let bin = |k: usize| {
        let members = &sorted[k * sorted.len() / bins..(k + 1) * sorted.len() / bins];
        let n = members.len() as f64;
        let right = members.iter().filter(|(probe, response)| response.predicted == probe.label()).count();
        FrequencyBin {
            least_frequency: members[members.len() - 1].0.frequency,
            most_frequency: members[0].0.frequency,
            facts: members.len(),
            accuracy: right as f64 / n,
            mean_loss: members.iter().map(|(_, response)| response.loss).sum::<f64>() / n,
        }
    };
    (0..bins).map(bin).collect()
}

/// What a model says on exceptions, where memory and rule disagree; the three shares sum to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conflict {
    /// The label of the training text: memory.
    pub label: f64,
    /// What the rule would say.
    pub rule: f64,
    /// Something else.
    pub other: f64,
}

/// How a model resolves the conflict on exceptions, or none without any.
pub fn conflict(exceptions: &[Probe], responses: &[Response]) -> Option<Conflict> {
    let says = |answer: fn(&Probe) -> Option<&[Token]>| {
        pairs(exceptions, responses).filter(|(probe, response)| answer(probe) == Some(&response.predicted)).count()
            as f64
            / exceptions.len() as f64
    };
    if exceptions.is_empty() {
        return None;
    }
    let label = says(|probe| Some(probe.label()));
    let rule = says(|probe| probe.rule_answer.as_deref());
    Some(Conflict { label, rule, other: 1.0 - label - rule })
}

/// The part of a loss that knowledge explains: 1 where the model loses as little as the learner who has it
/// (`informed`), 0 where it loses as much as the one who lacks it (`blind`), below 0 where it is worse than that. All
/// in nats on the same documents. Read on facts, with the memoriser informed, it says what memory explains; on held-out
/// instances, with the rule-follower informed, what the rule explains. None if the knowledge is worth nothing.
pub fn explained(loss: f64, blind: f64, informed: f64) -> Option<f64> {
    (blind > informed).then(|| (blind - loss) / (blind - informed))
}

/// A point of a training curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    /// Optimizer steps so far.
    pub step: f64,
    /// Training loss there.
    pub loss: f64,
    /// The measured quantity there.
    pub value: f64,
}

/// The step at which the value first reaches `level` from below, interpolated linearly between points in order of step;
/// none if it never does.
pub fn time_to_reach(curve: &[CurvePoint], level: f64) -> Option<f64> {
    let first = curve.first()?;
    if first.value >= level {
        return Some(first.step);
    }
    crossing(curve, |point| point.value - level)
        .map(|(before, after, share)| before.step + share * (after.step - before.step))
}

/// The value where the training loss first falls to `loss`, interpolated linearly between points in order of step; none
/// if it starts below (so that the value there is unknown) or never falls as far.
pub fn value_at_loss(curve: &[CurvePoint], loss: f64) -> Option<f64> {
    let first = curve.first()?;
    if first.loss <= loss {
        return (first.loss == loss).then_some(first.value);
    }
    crossing(curve, |point| loss - point.loss)
        .map(|(before, after, share)| before.value + share * (after.value - before.value))
}

/// The first neighbours between which a quantity rises from below 0 to 0 or more, and where between them it is 0.
fn crossing(curve: &[CurvePoint], quantity: impl Fn(&CurvePoint) -> f64) -> Option<(CurvePoint, CurvePoint, f64)> {
    curve.windows(2).find_map(|pair| {
        let (before, after) = (quantity(&pair[0]), quantity(&pair[1]));
        (before < 0.0 && after >= 0.0).then(|| (pair[0], pair[1], before / (before - after)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::language::{Content, Frequency, Group, Language, LanguageConfig, Learner};

    fn language(exceptions: f64) -> Language {
        let mut config = LanguageConfig::memorization(100, 50);
        for component in &mut config.components {
            match &mut component.content {
                Content::Facts(facts) => facts.frequency = Frequency::Zipf(1.0),
                Content::Pattern(pattern) => pattern.exceptions = exceptions,
                _ => {}
            }
        }
        Language::new(&config, 0).unwrap()
    }

    /// Responses that give the label where `knows` and nothing elsewhere, with the loss of either case.
    fn responses(probes: &[Probe], blind: f64, knows: impl Fn(&Probe) -> bool) -> Vec<Response> {
        let respond = |probe: &Probe| match knows(probe) {
            true => Response { predicted: probe.label().to_vec(), loss: 0.0 },
            false => Response { predicted: vec![0], loss: blind },
        };
        probes.iter().map(respond).collect()
    }

    #[test]
    fn knowing_half_the_facts_is_half_the_bits() {
        let language = language(0.0);
        let facts = language.probes(0, Group::Fact, 100, 0).unwrap();
        let blind = language.loss(0, Group::Fact, Learner::Blind).unwrap().answer;
        let known = responses(&facts, blind, |fact| fact.instance < 50);
        let found = memorisation(&facts, &known, blind, 10);
        // 64 values: 6 bits a fact.
        assert_eq!(found.accuracy, 0.5);
        assert!((found.bits - 300.0).abs() < 1e-9 && (found.bits_per_parameter - 30.0).abs() < 1e-9);
        let worse: Vec<Response> = known.iter().map(|r| Response { loss: r.loss + 9.0, ..r.clone() }).collect();
        assert_eq!(memorisation(&facts, &worse, blind, 10).bits, 0.0);
    }

    #[test]
    fn bins_follow_frequency() {
        let language = language(0.0);
        let facts = language.probes(0, Group::Fact, 100, 5).unwrap();
        let bins = by_frequency(&facts, &responses(&facts, 4.0, |fact| fact.instance < 25), 3);
        assert_eq!(bins.iter().map(|bin| bin.facts).collect::<Vec<_>>(), [33, 33, 34]);
        assert_eq!(bins.iter().map(|bin| bin.accuracy).collect::<Vec<_>>(), [25.0 / 33.0, 0.0, 0.0]);
        assert!(bins.windows(2).all(|pair| pair[0].least_frequency > pair[1].most_frequency));
        assert!((bins[0].mean_loss - 4.0 * 8.0 / 33.0).abs() < 1e-12);
        assert_eq!(by_frequency(&facts[..2], &responses(&facts[..2], 4.0, |_| true), 9).len(), 2);
        assert_eq!(by_frequency(&[], &[], 3), []);
    }

    #[test]
    fn conflicts_are_told_apart() {
        let language = language(0.4);
        let exceptions = language.probes(1, Group::Exception, 20, 0).unwrap();
        let say = |k: usize, probe: &Probe| match k {
            0..5 => probe.label().to_vec(),
            5..15 => probe.rule_answer.clone().unwrap(),
            _ => vec![0],
        };
        let responses: Vec<Response> =
            exceptions.iter().enumerate().map(|(k, probe)| Response { predicted: say(k, probe), loss: 1.0 }).collect();
        assert_eq!(conflict(&exceptions, &responses), Some(Conflict { label: 0.25, rule: 0.5, other: 0.25 }));
        assert_eq!(accuracy(&exceptions, &responses), 0.25);
        assert_eq!(conflict(&[], &[]), None);
    }

    #[test]
    fn explained_part_is_one_for_the_informed_and_none_for_the_blind() {
        assert_eq!(explained(0.5, 4.0, 0.5), Some(1.0));
        assert_eq!(explained(4.0, 4.0, 0.5), Some(0.0));
        assert_eq!(explained(7.5, 4.0, 0.5), Some(-1.0));
        assert_eq!(explained(1.0, 4.0, 4.0), None);
    }

    fn curve(points: &[(f64, f64, f64)]) -> Vec<CurvePoint> {
        points.iter().map(|&(step, loss, value)| CurvePoint { step, loss, value }).collect()
    }

    #[test]
    fn the_first_crossing_counts() {
        let curve = curve(&[(0.0, 4.0, 0.0), (10.0, 2.0, 0.5), (20.0, 3.0, 0.4), (30.0, 1.0, 0.9)]);
        assert_eq!(time_to_reach(&curve, 0.25), Some(5.0));
        assert_eq!(time_to_reach(&curve, 0.5), Some(10.0));
        assert_eq!(time_to_reach(&curve, 0.65), Some(25.0));
        assert_eq!(time_to_reach(&curve, 0.0), Some(0.0));
        assert_eq!(time_to_reach(&curve, 0.95), None);
        assert_eq!(time_to_reach(&[], 0.5), None);
        assert_eq!(value_at_loss(&curve, 3.0), Some(0.25));
        assert_eq!(value_at_loss(&curve, 1.5), Some(0.775));
        assert_eq!(value_at_loss(&curve, 0.5), None);
        assert_eq!(value_at_loss(&curve, 5.0), None);
    }

    proptest! {
        /// On a rising line the crossing is where the line says.
        #[test]
        fn crossings_lie_on_the_line(slope in 0.1f64..5.0, level in 0.0f64..1.0, steps in 2usize..30) {
            let curve: Vec<CurvePoint> = (0..steps)
                .map(|k| k as f64 / (steps - 1) as f64)
                .map(|t| CurvePoint { step: t, loss: 1.0 - t, value: slope * t })
                .collect();
            match time_to_reach(&curve, level) {
                Some(step) => prop_assert!((step * slope - level).abs() < 1e-9),
                None => prop_assert!(level > slope - 1e-12),
            }
            let value = value_at_loss(&curve, 1.0 - level).unwrap();
            prop_assert!((value - slope * level).abs() < 1e-9);
        }
    }
}
