//! From the language to training batches and questions.

use std::ops::Range;

use lab::seeds;
use models::data::BatchSource;
use models::ops::IGNORE;
use models::{Batch, Transformer};
use rand::RngExt;
use rand::seq::SliceRandom;
use synthetic_lm::language::{Group, Language, LanguageConfig, Nonces, Opening, Probe, Told};
use synthetic_lm::random;

use crate::error::Result;
use crate::stages::{Asked, answers};

/// The component of the facts.
const FACTS: usize = 0;

/// The language of a seed.
///
/// # Errors
/// If the configuration is none.
pub(super) fn language_of(config: &LanguageConfig, seed: u64) -> Result<Language> {
    Ok(Language::new(config, seeds::stream(seed, "language"))?)
}

/// The component of the new rule, the last.
fn new_rule(language: &Language) -> usize {
    language.component_names().len() - 1
}

/// Rows of pretraining text, each beginning with a document: facts, and rules with one opening or the other. Nothing
/// of the new rule. Loss is on answers.
pub(super) struct PretrainingRows<'a> {
    pub(super) language: &'a Language,
    pub(super) context: usize,
    /// Share of the rules' documents that open with the token that asks.
    pub(super) asked: f64,
    pub(super) seed: u64,
}

impl BatchSource for PretrainingRows<'_> {
    /// Every row is a random stream of its own, so that a batch is a function of its step.
    fn batch(&mut self, step: u64, sequences: usize) -> models::Result<Batch> {
        let new = new_rule(self.language);
        let (mut ids, mut targets) = (Vec::new(), Vec::new());
        for row in 0..sequences as u64 {
            let seed = seeds::stream(self.seed, &format!("row {}", step * sequences as u64 + row));
            let (mut stream, mut openings) = (self.language.stream(seed), random::stream(seed, "openings"));
            let (mut tokens, mut is_answer, mut document) = (Vec::new(), Vec::new(), Vec::new());
            while tokens.len() <= self.context {
                document.clear();
                let Some(told) = stream.next_document(&mut document) else { break };
                if told.component == new {
                    continue;
                }
                if told.component != FACTS && openings.random_bool(self.asked) {
                    tokens.push(Nonces::asking(self.language.vocabulary()));
                    is_answer.push(false);
                }
                tokens.extend_from_slice(&document);
                is_answer.extend((0..document.len()).map(|place| told.answer.contains(&place)));
            }
            ids.extend(tokens[..self.context].iter().map(|&token| u32::from(token)));
            targets.extend((1..=self.context).map(|i| if is_answer[i] { tokens[i].into() } else { IGNORE }));
        }
        Batch::new(ids, targets, self.context)
    }
}

/// The examples of a finetuning, in a new order every epoch, one document a row. Loss is on answers and nonces.
pub(super) struct Epochs<'a> {
    pub(super) examples: &'a [Told],
    pub(super) seed: u64,
}

impl BatchSource for Epochs<'_> {
    fn batch(&mut self, step: u64, sequences: usize) -> models::Result<Batch> {
        let steps = self.examples.len().div_ceil(sequences) as u64;
        let mut order: Vec<usize> = (0..self.examples.len()).collect();
        order.shuffle(&mut random::stream(self.seed, &format!("epoch {}", step / steps)));
        let (mut ids, mut targets) = (Vec::new(), Vec::new());
        let chunk = order.chunks(sequences).nth((step % steps) as usize).unwrap_or_default();
        for &example in chunk {
            let Told { tokens, answer, .. } = &self.examples[example];
            ids.extend(tokens[..tokens.len() - 1].iter().map(|&token| u32::from(token)));
            let target = |place: usize| if place >= answer.start { tokens[place].into() } else { IGNORE };
            targets.extend((1..tokens.len()).map(target));
        }
        Batch::new(ids, targets, self.examples[0].tokens.len() - 1)
    }
}

/// What a network is asked for about a language: the same for every optimizer and number of nonces.
pub(super) struct Questions {
    facts: Vec<Told>,
    /// Instances of the pretraining's rules, held out there.
    rules: Vec<Vec<Told>>,
    /// The new rule's examples, with their nonces.
    pub(super) examples: Vec<Told>,
    validation: Vec<Told>,
    test: Vec<Told>,
    /// The test's instances behind the token that asks.
    test_asked: Vec<Told>,
}

/// Right answers and losses on a part of documents.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Score {
    /// Share of the documents with all tokens of the part right.
    pub(super) right: f64,
    /// Share of the tokens that are right.
    pub(super) tokens: f64,
    /// Mean loss of a document's part in nats.
    pub(super) loss: f64,
}

impl Questions {
    /// At most `most` questions of a kind, all examples.
    pub(super) fn draw(language: &Language, examples: usize, nonces: Nonces, most: usize, seed: u64) -> Result<Self> {
        let (questions, new) = (seeds::stream(seed, "questions"), new_rule(language));
        let probes = |component: usize, group: Group, n: usize| -> Result<Vec<Probe>> {
            let n = n.min(language.available(component, group) as usize);
            Ok(language.probes(component, group, n, questions)?)
        };
        let tell = |probes: &[Probe], nonces: Nonces, opening, name: &str| -> Vec<Told> {
            let mut rng = random::stream(seed, name);
            probes.iter().map(|probe| nonces.tell(probe, opening, language.vocabulary(), &mut rng)).collect()
        };
        let plain = |probes: &[Probe]| tell(probes, Nonces { count: 0, ..nonces }, Opening::Plain, "none");
        let test = probes(new, Group::Test, most)?;
        Ok(Self {
            facts: plain(&probes(FACTS, Group::Fact, most)?),
            rules: (FACTS + 1..new).map(|rule| Ok(plain(&probes(rule, Group::Test, most)?))).collect::<Result<_>>()?,
            examples: tell(&probes(new, Group::Seen, examples)?, nonces, Opening::Plain, "nonces"),
            validation: plain(&probes(new, Group::Validation, most)?),
            test_asked: tell(&test, Nonces { count: 0, ..nonces }, Opening::Asked, "none"),
            test: tell(&test, nonces, Opening::Plain, "held-out nonces"),
        })
    }

    /// On the pretraining's facts.
    pub(super) fn facts(&self, network: &Transformer) -> Result<Score> {
        on_answers(network, &self.facts)
    }

    /// On held-out instances of the pretraining's rules, as the mean over them; 1 without any.
    pub(super) fn rules(&self, network: &Transformer) -> Result<f64> {
        let right: Vec<f64> =
            self.rules.iter().map(|rule| Ok(on_answers(network, rule)?.right)).collect::<Result<_>>()?;
        Ok(if right.is_empty() { 1.0 } else { right.iter().sum::<f64>() / right.len() as f64 })
    }

    /// On the answers of the examples.
    pub(super) fn seen(&self, network: &Transformer) -> Result<Score> {
        on_answers(network, &self.examples)
    }

    /// On the nonces of the examples; none where they have none.
    pub(super) fn recalled(&self, network: &Transformer) -> Result<Option<Score>> {
        on_nonces(network, &self.examples)
    }

    /// On validation instances.
    pub(super) fn validation(&self, network: &Transformer) -> Result<Score> {
        on_answers(network, &self.validation)
    }

    /// On test instances.
    pub(super) fn test(&self, network: &Transformer) -> Result<Score> {
        on_answers(network, &self.test)
    }

    /// On test instances with the other opening.
    pub(super) fn test_asked(&self, network: &Transformer) -> Result<Score> {
        on_answers(network, &self.test_asked)
    }

    /// On nonces behind test instances, which nothing tells; none where there are none.
    pub(super) fn blind(&self, network: &Transformer) -> Result<Option<Score>> {
        on_nonces(network, &self.test)
    }
}

fn on_answers(network: &Transformer, documents: &[Told]) -> Result<Score> {
    score(network, documents, |told| told.answer.clone())
}

fn on_nonces(network: &Transformer, documents: &[Told]) -> Result<Option<Score>> {
    let none = documents.first().is_none_or(|told| told.nonces.is_empty());
    (!none).then(|| score(network, documents, |told| told.nonces.clone())).transpose()
}

fn score(network: &Transformer, documents: &[Told], part: impl Fn(&Told) -> Range<usize>) -> Result<Score> {
    let asked: Vec<Asked<'_>> = documents.iter().map(|told| Asked { tokens: &told.tokens, part: part(told) }).collect();
    let (mut score, n) = (Score { right: 0.0, tokens: 0.0, loss: 0.0 }, documents.len() as f64);
    for (asked, found) in asked.iter().zip(answers(network, &asked)?) {
        let expected = &asked.tokens[asked.part.clone()];
        let right = found.iter().zip(expected).filter(|((token, _), expected)| token == *expected).count();
        score.right += if right == expected.len() { 1.0 / n } else { 0.0 };
        score.tokens += right as f64 / expected.len() as f64 / n;
        score.loss += found.iter().map(|(_, loss)| loss).sum::<f64>() / n;
    }
    // Sums of shares may pass 1 by a rounding.
    Ok(Score { right: score.right.min(1.0), tokens: score.tokens.min(1.0), loss: score.loss })
}

#[cfg(test)]
mod tests {
    use lab::preset::Preset as _;

    use super::super::preset::NoncesPreset;
    use super::*;

    fn language() -> (NoncesPreset, Language) {
        let preset = NoncesPreset::find("smoke", &[]).unwrap();
        let language = language_of(&preset.language(), 3).unwrap();
        (preset, language)
    }

    #[test]
    fn pretraining_tells_nothing_of_the_new_rule_and_depends_on_the_step_alone() {
        let (_, language) = language();
        let mut rows = PretrainingRows { language: &language, context: 24, asked: 0.5, seed: 5 };
        let later = rows.batch(7, 3).unwrap();
        rows.batch(0, 3).unwrap();
        assert_eq!(rows.batch(7, 3).unwrap(), later);
        let new = u32::from(language.probes(new_rule(&language), Group::Test, 1, 0).unwrap()[0].tokens[0]);
        let asking = u32::from(Nonces::asking(language.vocabulary()));
        let mut asked = 0;
        for step in 0..200 {
            let batch = rows.batch(step, 8).unwrap();
            assert!(batch.ids().iter().all(|&token| token != new && token <= asking));
            asked += batch.ids().iter().filter(|&&token| token == asking).count();
        }
        // 1600 rows of 24 tokens begin three documents or four each; .6 of them are of rules, half of these are asked.
        assert!((800..2400).contains(&asked), "{asked}");
    }

    #[test]
    fn every_epoch_tells_every_example_once_with_loss_on_answers_and_nonces() {
        let (preset, language) = language();
        let draw = |nonces| Questions::draw(&language, 11, preset.nonces_of(nonces), 50, 9).unwrap();
        let questions = draw(2);
        let mut epochs = Epochs { examples: &questions.examples, seed: 1 };
        let steps = 11_u64.div_ceil(4);
        let mut orders = Vec::new();
        for epoch in 0..2 {
            let mut rows: Vec<Vec<u32>> = Vec::new();
            for step in 0..steps {
                let batch = epochs.batch(epoch * steps + step, 4).unwrap();
                rows.extend(batch.ids().chunks(batch.time()).map(<[u32]>::to_vec));
                let answer = questions.examples[0].answer.len();
                assert_eq!(batch.target_count(), batch.sequences() * (answer + 2));
            }
            orders.push(rows.clone());
            rows.sort();
            rows.dedup();
            assert_eq!(rows.len(), 11);
        }
        assert_ne!(orders[0], orders[1]);
        // The instances are the same whatever number of nonces stands behind them, and more nonces go on with others.
        for (with, without) in questions.examples.iter().zip(&draw(0).examples) {
            assert_eq!(with.tokens[..with.answer.end], without.tokens[..]);
        }
    }

    #[test]
    fn no_test_or_validation_instance_is_an_example() {
        let (preset, language) = language();
        let questions = Questions::draw(&language, 40, preset.nonces_of(2), 1000, 9).unwrap();
        let prompt = |told: &Told| told.tokens[..told.answer.start].to_vec();
        let examples: Vec<_> = questions.examples.iter().map(prompt).collect();
        let held_out = questions.validation.iter().chain(&questions.test);
        assert!(held_out.clone().count() > 10);
        assert!(held_out.map(prompt).all(|prompt| !examples.contains(&prompt)));
        // Behind the token that asks stand the same instances.
        for (plain, asked) in questions.test.iter().zip(&questions.test_asked) {
            assert_eq!(plain.tokens[..plain.answer.end], asked.tokens[1..]);
        }
    }
}
