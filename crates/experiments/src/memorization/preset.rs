//! Presets of the memorisation experiment.

use models::ModelConfig;
use models::optim::{Policy, RuleName, Scope, Split};
use serde::{Deserialize, Serialize};
use synthetic_lm::language::{ComponentConfig, Content, Group, Language, LanguageConfig, PatternRule};

use super::tuning::Choice;
use crate::error::{ExperimentError, Result};
use crate::parts::checks::{MOST_DRAWN, MOST_SEEDS, at_least, distinct, not_negative, positive, share, steps, within};
use crate::parts::{MOST_CONTEXT, MOST_LAYERS, MOST_WIDTH, Machine, PretrainPreset, is_default};

/// Tuning seeds are numbered from here on, above every reported seed.
pub const FIRST_TUNING_SEED: u64 = 1000;

/// The optimizers that the verdict compares.
const COMPARED: [RuleName; 2] = [RuleName::AdamW, RuleName::Muon];

/// The most symbols of an alphabet.
const MOST_SYMBOLS: u64 = 1 << 16;

/// The language but for the numbers of facts and examples, which the cells vary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LanguagePreset {
    /// Alphabet of the facts' keys.
    pub key_symbols: usize,
    /// Tokens in a key.
    pub key_length: usize,
    /// Values to draw from.
    pub values: usize,
    /// Share of the documents that are facts, where there are some.
    pub fact_share: f64,
    /// Share of the pattern's training instances with a random label.
    pub exceptions: f64,
    /// The pattern's rule.
    pub rule: PatternRule,
}

/// The network, of GPT-2's kind; its vocabulary is the language's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NetworkPreset {
    /// Longest sequence in tokens; a row of the training text.
    pub context: usize,
    /// Blocks.
    pub layers: usize,
    /// Features of the residual stream.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
}

/// Which tokens carry loss in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossTokens {
    /// All tokens: a language model.
    All,
    /// Answers only: prompts are random, and predicting them teaches nothing that is measured here.
    Answers,
}

/// What is asked along a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProbesPreset {
    /// Most facts that are asked for, and most seen instances.
    pub training: usize,
    /// Most validation instances, and most test instances.
    pub held_out: usize,
}

/// An optimizer and its grid of learning rates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OptimizerPreset {
    /// The optimizer of the hidden matrices.
    pub name: RuleName,
    /// Learning rate of AdamW on embeddings, gains and biases. If left out, they have the rate of the hidden matrices,
    /// and their optimizer too (AdamW beside Muon).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_rate: Option<f64>,
    /// Learning rates of the hidden matrices, ascending.
    pub rates: Vec<f64>,
    /// If the hidden matrices' weight decay is to shrink them as fast at every rate: decay times rate, in place of
    /// `training.weight-decay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_times_decay: Option<f64>,
    /// If it takes only some of the hidden matrices: which, and the learning rate of the others (by AdamW beside Muon).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrices: Option<Split>,
}

/// Everything that decides the results of `memorization`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MemorizationPreset {
    /// The preset's name.
    pub name: String,
    /// Reported seeds: 0, 1, ... A verdict needs at least five.
    pub seeds: u64,
    /// Reported seeds where no verdict is read: without facts, and of optimizers beside AdamW and Muon. As many as
    /// `seeds` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_seeds: Option<u64>,
    /// Seeds on which learning rates are chosen, none of them reported.
    pub tuning_seeds: u64,
    /// Numbers of facts; 0 is the control.
    pub facts: Vec<usize>,
    /// Numbers of the pattern's training instances.
    pub examples: Vec<usize>,
    /// Steps of a run.
    pub steps: u64,
    /// Which tokens carry loss.
    pub loss: LossTokens,
    /// The language.
    pub language: LanguagePreset,
    /// Where networks are trained.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device: Machine,
    /// The network.
    pub network: NetworkPreset,
    /// Training.
    pub training: PretrainPreset,
    /// Questions.
    pub probes: ProbesPreset,
    /// How learning rates are chosen.
    #[serde(default, skip_serializing_if = "is_default")]
    pub choice: Choice,
    /// The optimizers.
    pub optimizers: Vec<OptimizerPreset>,
    /// Other settings, each tried in the verdict's cells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variations: Vec<Variation>,
}

/// A number of facts and a number of pattern examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// Facts.
    pub facts: usize,
    /// The pattern's training instances.
    pub examples: usize,
}

/// A setting that differs from its preset in some fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variation {
    /// Its name in results.
    pub name: String,
    /// The fields that differ, as they stand in a preset. Of the optimizers, those that are named.
    #[serde(flatten)]
    pub changes: toml::Table,
}

impl MemorizationPreset {
    /// Every cell, facts outermost.
    pub fn cells(&self) -> Vec<Cell> {
        self.facts
            .iter()
            .flat_map(|&facts| self.examples.iter().map(move |&examples| Cell { facts, examples }))
            .collect()
    }

    /// How many seeds of an optimizer are reported in a cell.
    pub fn seeds_of(&self, cell: Cell, optimizer: RuleName) -> u64 {
        let decides = cell.facts > 0 && COMPARED.contains(&optimizer);
        self.control_seeds.filter(|_| !decides).map_or(self.seeds, |seeds| seeds.min(self.seeds))
    }

    /// The language of a cell: facts are component 0 where there are some, the pattern is the last component.
    pub fn language(&self, cell: Cell) -> LanguageConfig {
        let LanguagePreset { key_symbols, key_length, values, fact_share, exceptions, ref rule } = self.language;
        let mut config = LanguageConfig::memorization(cell.facts.max(1), cell.examples);
        for ComponentConfig { weight, content } in &mut config.components {
            match content {
                Content::Facts(facts) => {
                    (facts.key_symbols, facts.key_length, facts.values) = (key_symbols, key_length, values);
                    *weight = fact_share;
                }
                Content::Pattern(pattern) => {
                    (pattern.rule, pattern.exceptions) = (rule.clone(), exceptions);
                    *weight = 1.0 - fact_share;
                }
                Content::Markov(_) | Content::Dyck(_) | Content::Grammar(_) => {}
            }
        }
        if cell.facts == 0 {
            config.components.remove(0);
        }
        config.vocabulary = 1 << 16;
        config
    }

    /// The number of the pattern's instances, held out or not.
    ///
    /// # Errors
    /// If the language refuses the rule.
    pub fn instances(&self) -> Result<u64> {
        let mut config = self.language(Cell { facts: 0, examples: 1 });
        for component in &mut config.components {
            if let Content::Pattern(pattern) = &mut component.content {
                (pattern.examples, pattern.exceptions) = (None, 0.0);
            }
        }
        let language = Language::new(&config, 0)?;
        Ok([Group::Seen, Group::Validation, Group::Test].iter().map(|&group| language.available(0, group)).sum())
    }

    /// The network's shape for a vocabulary.
    pub fn model(&self, vocabulary: usize) -> ModelConfig {
        let NetworkPreset { context, layers, width, heads } = self.network;
        ModelConfig::gpt2(vocabulary, context, layers, width, heads)
    }

    /// Tokens of one training run.
    pub fn run_tokens(&self) -> u64 {
        self.steps * (self.training.sequences * self.network.context) as u64
    }

    /// Checks every field but the variations.
    ///
    /// # Errors
    /// The first field that is out of range, or the language's own complaint.
    pub fn check(&self) -> Result<()> {
        at_least("seeds", self.seeds, 1)?;
        steps("steps", self.steps)?;
        for (field, value, most) in [
            ("control-seeds", self.control_seeds.unwrap_or(1), MOST_SEEDS),
            ("tuning-seeds", self.tuning_seeds, MOST_SEEDS),
            ("network.context", self.network.context as u64, MOST_CONTEXT),
            ("network.layers", self.network.layers as u64, MOST_LAYERS),
            ("network.width", self.network.width as u64, MOST_WIDTH),
            ("network.heads", self.network.heads as u64, MOST_WIDTH),
            ("probes.training", self.probes.training as u64, MOST_DRAWN),
            ("probes.held-out", self.probes.held_out as u64, MOST_DRAWN),
            ("language.key-symbols", self.language.key_symbols as u64, MOST_SYMBOLS),
            ("language.key-length", self.language.key_length as u64, MOST_CONTEXT),
            ("language.values", self.language.values as u64, MOST_SYMBOLS),
        ] {
            within(field, value, 1..=most)?;
        }
        for (field, values) in [("facts", &self.facts), ("examples", &self.examples)] {
            values.iter().try_for_each(|&value| within(field, value as u64, 0..=MOST_DRAWN))?;
        }
        self.device.check()?;
        if self.seeds > FIRST_TUNING_SEED {
            return Err(ExperimentError::value("seeds", self.seeds, format!("at most {FIRST_TUNING_SEED}")));
        }
        at_least("training.curve-points", self.training.curve_points, 2)?;
        self.training.validate("training")?;
        self.model(1).validate()?;
        share("language.fact-share", self.language.fact_share, false)?;
        share("choice.learned", self.choice.learned, true)?;
        distinct("facts", &self.facts)?;
        distinct("examples", &self.examples)?;
        self.validate_optimizers()?;
        for cell in self.cells() {
            let language = Language::new(&self.language(cell), 0)?;
            let longest =
                (0..self.language(cell).components.len()).map(|c| language.document_length(c)).fold(0.0, f64::max);
            if longest > self.network.context as f64 {
                let expected = format!("at least {longest}, the tokens of the longest document");
                return Err(ExperimentError::value("network.context", self.network.context, expected));
            }
        }
        Ok(())
    }

    fn validate_optimizers(&self) -> Result<()> {
        for needed in COMPARED {
            if self.optimizers.iter().filter(|optimizer| optimizer.name == needed).count() != 1 {
                let (found, expected) = ("none or several", "it once: the verdict compares it");
                return Err(ExperimentError::value(format!("optimizers, {}", needed.as_str()), found, expected));
            }
        }
        distinct("optimizers", &self.optimizers.iter().map(|optimizer| optimizer.name.as_str()).collect::<Vec<_>>())?;
        for optimizer in &self.optimizers {
            let field = format!("rates of {}", optimizer.name.as_str());
            if optimizer.rates.is_empty() {
                return Err(ExperimentError::value(field, "none", "at least one learning rate"));
            }
            not_negative(
                &format!("rate-times-decay of {}", optimizer.name),
                optimizer.rate_times_decay.unwrap_or(0.0),
            )?;
            let other = optimizer.matrices.map(|split| split.other_rate);
            for &rate in optimizer.rates.iter().chain(&optimizer.rest_rate).chain(&other) {
                positive(&field, rate)?;
            }
            if !optimizer.rates.is_sorted_by(|a, b| a < b) {
                return Err(ExperimentError::value(
                    field,
                    format!("{:?}", optimizer.rates),
                    "ascending learning rates",
                ));
            }
        }
        Ok(())
    }
}

impl OptimizerPreset {
    /// Which weights are trained with which rule at a learning rate.
    pub fn policy(&self, rate: f64, training: &PretrainPreset) -> Policy {
        let (rules, decay) = (&training.optimizers, training.weight_decay);
        let hidden = rules.rule(self.name, self.rate_times_decay.map_or(decay, |product| product / rate));
        let (rest, rest_rate) = match self.rest_rate {
            Some(rest_rate) => (rules.rule(RuleName::AdamW, decay), rest_rate),
            None => (rules.rest(self.name, decay), rate),
        };
        match self.matrices {
            None => Policy::hidden_and_rest(Scope::All, hidden, rate, rest, rest_rate, rest_rate),
            Some(split) => Policy::with_split(Scope::All, hidden, rate, rest, rest_rate, rest_rate, split),
        }
    }
}

#[cfg(test)]
mod tests {
    use lab::preset::{Preset as _, parse};
    use models::Part;
    use models::optim::{AdamW, RuleConfig, Sgd};

    use super::*;

    fn changed(change: impl FnOnce(&mut MemorizationPreset)) -> Result<()> {
        let mut preset = MemorizationPreset::find("smoke", &[]).unwrap();
        change(&mut preset);
        preset.check()
    }

    #[test]
    fn built_in_presets_are_valid_and_survive_toml() {
        for &(name, _) in MemorizationPreset::BUILT_IN {
            let preset = MemorizationPreset::find(name, &[]).unwrap();
            assert_eq!(preset.name, name);
            assert_eq!(parse::<MemorizationPreset>(&preset.to_toml(), "test").unwrap(), preset);
        }
    }

    #[test]
    fn every_field_out_of_range_is_refused_in_one_line() {
        type Spoil = fn(&mut MemorizationPreset);
        let cases: [(&str, Spoil); 19] = [
            ("seeds: found 0", |p| p.seeds = 0),
            ("seeds: found 1001", |p| p.seeds = 1001),
            ("control-seeds: found 0", |p| p.control_seeds = Some(0)),
            ("tuning-seeds: found 0", |p| p.tuning_seeds = 0),
            ("steps: found 0", |p| p.steps = 0),
            ("facts: found none", |p| p.facts.clear()),
            ("examples: found none", |p| p.examples.clear()),
            ("examples is 0, expected at least 1", |p| p.examples = vec![0]),
            ("train examples asked for", |p| p.examples = vec![1_000_000]),
            ("facts: found 0 twice", |p| p.facts = vec![0, 0]),
            ("language.fact-share: found 1", |p| p.language.fact_share = 1.0),
            ("network.context: found 5", |p| p.network.context = 5),
            ("width", |p| p.network.heads = 3),
            ("training.clip: found NaN", |p| p.training.clip = f64::NAN),
            ("training.curve-points: found 1", |p| p.training.curve_points = 1),
            ("rates of adamw: found none", |p| p.optimizers[0].rates.clear()),
            ("rates of muon: found NaN", |p| {
                p.optimizers[1].matrices = Some(Split { only: Part::Mlp, other_rate: f64::NAN });
            }),
            ("expected ascending learning rates", |p| p.optimizers[0].rates = vec![0.1, 0.01]),
            ("optimizers, muon: found none or several", |p| p.optimizers.retain(|o| o.name != RuleName::Muon)),
        ];
        for (expected, spoil) in cases {
            let message = changed(spoil).unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains('\n'), "{expected}: {message}");
        }
    }

    #[test]
    fn controls_have_their_own_number_of_seeds() {
        let preset =
            MemorizationPreset { seeds: 6, control_seeds: Some(4), ..MemorizationPreset::find("smoke", &[]).unwrap() };
        let of = |facts, optimizer| preset.seeds_of(Cell { facts, examples: 20 }, optimizer);
        assert_eq!([of(20, RuleName::AdamW), of(20, RuleName::Muon)], [6, 6]);
        assert_eq!([of(20, RuleName::Sgd), of(0, RuleName::AdamW)], [4, 4]);
        let fewer = MemorizationPreset { seeds: 3, ..preset };
        assert_eq!(fewer.seeds_of(Cell { facts: 0, examples: 20 }, RuleName::Muon), 3);
    }

    #[test]
    fn every_optimizer_has_adamw_beside_it_where_a_rate_is_given() {
        let preset = MemorizationPreset::find("smoke", &[]).unwrap();
        let rest = |rest_rate, optimizer: &OptimizerPreset| {
            OptimizerPreset { rest_rate, ..optimizer.clone() }.policy(0.1, &preset.training).groups[1].rule
        };
        let weight_decay = preset.training.weight_decay;
        let adamw = RuleConfig::AdamW(AdamW { weight_decay, ..AdamW::default() });
        for optimizer in &preset.optimizers {
            assert_eq!(rest(Some(0.2), optimizer), adamw, "{optimizer:?}");
            let alone = match optimizer.name {
                RuleName::Sgd => RuleConfig::Sgd(Sgd { weight_decay, ..Sgd::default() }),
                _ => adamw,
            };
            assert_eq!(rest(None, optimizer), alone, "{optimizer:?}");
        }
    }

    #[test]
    fn weight_decay_may_shrink_the_hidden_matrices_as_fast_at_every_rate() {
        let preset = MemorizationPreset::find("smoke", &[]).unwrap();
        for rate in [0.1, 0.02] {
            let optimizer = OptimizerPreset { rate_times_decay: Some(1e-3), ..preset.optimizers[0].clone() };
            let [hidden, rest, ..] = &optimizer.policy(rate, &preset.training).groups[..] else { panic!("groups") };
            assert!((hidden.rule.weight_decay() * rate - 1e-3).abs() < 1e-15);
            assert_eq!(rest.rule.weight_decay(), preset.training.weight_decay);
        }
    }

    #[test]
    fn the_pattern_has_the_square_of_its_modulus_instances() {
        assert_eq!(MemorizationPreset::find("smoke", &[]).unwrap().instances().unwrap(), 121);
    }

    #[test]
    fn without_facts_only_the_pattern_is_left() {
        let preset = MemorizationPreset::find("smoke", &[]).unwrap();
        let names = |facts| Language::new(&preset.language(Cell { facts, examples: 10 }), 0).unwrap().component_names();
        assert_eq!(names(0), ["modular"]);
        assert_eq!(names(7), ["facts", "modular"]);
    }
}
