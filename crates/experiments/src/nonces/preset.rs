//! Presets of `nonces`.

use std::num::NonZeroUsize;

use lab::error::Failure;
use models::optim::{Hyperparameters, Policy, RuleName, Scope};
use models::schedule::Decay;
use models::{ModelConfig, Precision};
use serde::{Deserialize, Serialize};
use synthetic_lm::language::{
    ComponentConfig, Content, Facts, Frequency, Group, Language, LanguageConfig, Nonces, Pattern, PatternRule,
};

use crate::error::{ExperimentError, Result};
use crate::memorization::{FIRST_TUNING_SEED, NetworkPreset};
use crate::parts::checks::{
    MOST_DRAWN, MOST_SEEDS, distinct, not_negative, positive, rates, sequences, share, steps, within,
};
use crate::parts::{
    MOST_CONTEXT, MOST_LAYERS, MOST_WIDTH, Machine, PretrainPreset, Seeds, hyperparameters, is_default, step_memory,
};
use crate::stages::{Network, Training};

/// The optimizers that pretrain, and that the verdict compares as finetuners.
pub const COMPARED: [RuleName; 2] = [RuleName::AdamW, RuleName::Muon];

/// The share of the new rule in the language that it has to be a part of; its documents are left out in pretraining.
const HARDLY: f64 = 1e-6;

/// The language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LanguagePreset {
    /// Facts of the pretraining.
    pub facts: usize,
    /// Alphabet of their keys.
    pub key_symbols: usize,
    /// Tokens in a key.
    pub key_length: usize,
    /// Values to draw from.
    pub values: usize,
    /// Share of the pretraining documents that are facts; the others tell the rules, equally often.
    pub fact_share: f64,
    /// Share of the rules' pretraining documents that open with the token that asks.
    pub asked_share: f64,
    /// Rules of the pretraining.
    pub rules: Vec<PatternRule>,
    /// The new rule.
    pub new_rule: PatternRule,
    /// The nonces' alphabet.
    pub nonce_symbols: usize,
}

/// How networks are finetuned: one run at a constant rate, measured along the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FinetunePreset {
    /// Times that a run sees every example. The first is the warmup.
    pub epochs: u64,
    /// Epochs after which is measured, ascending; the last is the end.
    pub measured: Vec<u64>,
    /// Examples of a step.
    pub sequences: usize,
    /// Bound on the gradient's norm.
    pub clip: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Learning rate of AdamW on embeddings, gains and biases, beside every optimizer.
    pub rest_rate: f64,
    /// The optimizers' other hyperparameters.
    #[serde(default, skip_serializing_if = "is_default")]
    pub optimizers: Hyperparameters,
}

/// The runs whose updates are taken apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlacementPreset {
    /// Examples, one of the preset's numbers.
    pub examples: usize,
    /// Nonces, one of the preset's numbers and not 0.
    pub nonces: usize,
    /// Ranks to which every matrix's update is cut, ascending.
    pub ranks: Vec<usize>,
    /// Singular directions whose overlap is read.
    pub directions: usize,
}

/// An optimizer that pretrains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PretrainerPreset {
    /// The optimizer of the hidden matrices.
    pub name: RuleName,
    /// Its learning rate.
    pub rate: f64,
    /// Learning rate of AdamW on embeddings, gains and biases.
    pub rest_rate: f64,
}

/// An optimizer that finetunes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FinetunerPreset {
    /// The optimizer of the hidden matrices.
    pub name: RuleName,
    /// Learning rates to choose from, ascending.
    pub rates: Vec<f64>,
}

/// Everything that decides the results of `nonces`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NoncesPreset {
    /// The preset's name.
    pub name: String,
    /// Reported seeds. A verdict needs at least five.
    pub seeds: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub first_seed: u64,
    /// Reported seeds of finetuners beside AdamW and Muon. As many as `seeds` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_seeds: Option<u64>,
    /// Seeds on which learning rates are chosen, none of them reported.
    pub tuning_seeds: u64,
    /// Numbers of examples.
    pub examples: Vec<usize>,
    /// Numbers of nonces behind an answer, ascending from 0 on.
    pub nonces: Vec<usize>,
    /// Steps of the pretraining.
    pub steps: u64,
    /// Most facts, most held-out instances of a kind that are asked for.
    pub probes: usize,
    /// The language.
    pub language: LanguagePreset,
    /// Where networks are trained.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device: Machine,
    /// The network.
    pub network: NetworkPreset,
    /// Pretraining.
    pub pretrain: PretrainPreset,
    /// Finetuning.
    pub finetune: FinetunePreset,
    /// The runs whose updates are taken apart.
    pub placement: PlacementPreset,
    /// AdamW and Muon, as they pretrain.
    pub pretrainers: Vec<PretrainerPreset>,
    /// The finetuners, AdamW and Muon among them.
    pub finetuners: Vec<FinetunerPreset>,
}

/// What is compared within a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell {
    /// The optimizer that pretrained.
    pub pretraining: RuleName,
    /// Examples of the new rule.
    pub examples: usize,
    /// Nonces behind an answer.
    pub nonces: usize,
}

impl lab::preset::Preset for NoncesPreset {
    const BUILT_IN: &'static [(&'static str, &'static str)] = &[
        ("smoke", include_str!("../../presets/nonces/smoke.toml")),
        ("quick", include_str!("../../presets/nonces/quick.toml")),
        ("standard", include_str!("../../presets/nonces/standard.toml")),
    ];

    fn validate(&self) -> Result<(), Failure> {
        Ok(self.check()?)
    }

    fn memory(&self) -> (u64, &'static str) {
        // The language has few tokens.
        step_memory(&self.model(1), self.pretrain.sequences, Precision::F32, self.device)
    }

    fn default_jobs(&self) -> NonZeroUsize {
        self.device.default_jobs()
    }
}

impl NoncesPreset {
    /// The reported seeds.
    pub fn seeds(&self) -> Seeds {
        Seeds { first: self.first_seed, count: self.seeds }
    }

    /// The seeds that choose rates.
    pub fn tuning(&self) -> std::ops::Range<u64> {
        FIRST_TUNING_SEED..FIRST_TUNING_SEED + self.tuning_seeds
    }

    /// Whether a reported seed has runs of a finetuner.
    pub fn has(&self, finetuner: RuleName, seed: u64) -> bool {
        self.seeds().has(self.control_seeds.filter(|_| !COMPARED.contains(&finetuner)), seed)
    }

    /// Every cell of a pretraining.
    pub fn cells(&self, pretraining: RuleName) -> impl Iterator<Item = Cell> {
        let of = move |&examples: &usize| self.nonces.iter().map(move |&nonces| Cell { pretraining, examples, nonces });
        self.examples.iter().flat_map(of)
    }

    /// The language: facts, the rules of the pretraining, and last the new rule.
    pub fn language(&self) -> LanguageConfig {
        let LanguagePreset { facts, key_symbols, key_length, values, fact_share, ref rules, ref new_rule, .. } =
            self.language;
        let pattern = |rule: &PatternRule, weight| ComponentConfig {
            weight,
            content: Content::Pattern(Pattern { rule: rule.clone(), examples: None, exceptions: 0.0 }),
        };
        let facts = Facts { count: facts, key_symbols, key_length, values, frequency: Frequency::Uniform };
        let each = (1.0 - fact_share) / rules.len().max(1) as f64;
        let mut components = vec![ComponentConfig { weight: fact_share, content: Content::Facts(facts) }];
        components.extend(rules.iter().map(|rule| pattern(rule, each)));
        components.push(pattern(new_rule, HARDLY));
        LanguageConfig { vocabulary: 1 << 15, components }
    }

    /// So many nonces of the preset's alphabet.
    pub fn nonces_of(&self, count: usize) -> Nonces {
        Nonces { count, alphabet: self.language.nonce_symbols }
    }

    /// The network's shape for a vocabulary.
    fn model(&self, vocabulary: usize) -> ModelConfig {
        let NetworkPreset { context, layers, width, heads } = self.network;
        ModelConfig::gpt2(vocabulary, context, layers, width, heads)
    }

    /// The network; its vocabulary holds the nonces from the start.
    ///
    /// # Errors
    /// If the language refuses its configuration.
    pub fn network(&self) -> Result<Network> {
        let language = Language::new(&self.language(), 0)?;
        let vocabulary = self.nonces_of(0).vocabulary_size(language.vocabulary());
        Ok(Network {
            config: self.model(vocabulary),
            precision: Precision::F32,
            device: self.device.hardware(),
            sequence: None,
        })
    }

    /// Which weights a pretraining trains with which rule.
    pub fn pretraining_policy(&self, pretrainer: &PretrainerPreset) -> Policy {
        let (rules, decay) = (&self.pretrain.optimizers, self.pretrain.weight_decay);
        policy(rules, decay, pretrainer.name, pretrainer.rate, pretrainer.rest_rate)
    }

    /// Which weights a finetuning trains with which rule.
    pub fn finetuning_policy(&self, finetuner: RuleName, rate: f64) -> Policy {
        let FinetunePreset { ref optimizers, weight_decay, rest_rate, .. } = self.finetune;
        policy(optimizers, weight_decay, finetuner, rate, rest_rate)
    }

    /// The loop of a finetuning: the first epoch warms up, then the rate is constant, so that a point along the run is
    /// what a run that ended there would have come to.
    pub fn training(&self, examples: usize) -> Training {
        let FinetunePreset { epochs, sequences, clip, .. } = self.finetune;
        let steps = epochs * examples.div_ceil(sequences) as u64;
        let warmup = 1.0 / epochs as f64;
        Training { steps, sequences, micro_batch: None, decay: Decay::Constant, warmup, clip }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of range, or the language's own complaint.
    pub fn check(&self) -> Result<()> {
        self.seeds().check()?;
        within("control-seeds", self.control_seeds.unwrap_or(1), 1..=MOST_SEEDS)?;
        within("tuning-seeds", self.tuning_seeds, 1..=MOST_SEEDS)?;
        if self.first_seed + self.seeds > FIRST_TUNING_SEED {
            let expected = format!("seeds below {FIRST_TUNING_SEED}, where those begin that choose rates");
            return Err(ExperimentError::value("first-seed", self.first_seed, expected));
        }
        steps("steps", self.steps)?;
        for (field, value, most) in [
            ("probes", self.probes as u64, MOST_DRAWN),
            ("network.context", self.network.context as u64, MOST_CONTEXT),
            ("network.layers", self.network.layers as u64, MOST_LAYERS),
            ("network.width", self.network.width as u64, MOST_WIDTH),
            ("network.heads", self.network.heads as u64, MOST_WIDTH),
            ("finetune.epochs", self.finetune.epochs, 1 << 20),
            ("language.facts", self.language.facts as u64, MOST_DRAWN),
            ("placement.directions", self.placement.directions as u64, self.network.width as u64),
        ] {
            within(field, value, 1..=most)?;
        }
        self.device.check()?;
        self.pretrain.validate("pretrain")?;
        self.model(1).validate()?;
        share("language.fact-share", self.language.fact_share, false)?;
        share("language.asked-share", self.language.asked_share, true)?;
        self.check_finetuning()?;
        self.check_lists()?;
        self.check_language()
    }

    fn check_finetuning(&self) -> Result<()> {
        let FinetunePreset { epochs, ref measured, clip, weight_decay, rest_rate, ref optimizers, .. } = self.finetune;
        sequences("finetune.sequences", self.finetune.sequences)?;
        positive("finetune.clip", clip)?;
        not_negative("finetune.weight-decay", weight_decay)?;
        positive("finetune.rest-rate", rest_rate)?;
        hyperparameters("finetune", optimizers)?;
        let ascending = measured.is_sorted_by(|a, b| a < b) && measured.first().is_some_and(|&first| first > 0);
        if !ascending || measured.last() != Some(&epochs) {
            let expected = format!("ascending epochs from 1 on that end with the last, {epochs}");
            return Err(ExperimentError::value("finetune.measured", format!("{measured:?}"), expected));
        }
        Ok(())
    }

    fn check_lists(&self) -> Result<()> {
        distinct("examples", &self.examples)?;
        self.examples.iter().try_for_each(|&n| within("examples", n as u64, 1..=MOST_DRAWN))?;
        if self.nonces.first() != Some(&0) || !self.nonces.is_sorted_by(|a, b| a < b) || self.nonces.len() < 2 {
            let expected = "ascending numbers, of which the first is 0 and others follow";
            return Err(ExperimentError::value("nonces", format!("{:?}", self.nonces), expected));
        }
        let PlacementPreset { examples, nonces, ref ranks, .. } = self.placement;
        if !self.examples.contains(&examples) {
            return Err(ExperimentError::value("placement.examples", examples, format!("one of {:?}", self.examples)));
        }
        if nonces == 0 || !self.nonces.contains(&nonces) {
            let expected = format!("one of {:?} above 0", self.nonces);
            return Err(ExperimentError::value("placement.nonces", nonces, expected));
        }
        distinct("placement.ranks", ranks)?;
        for &rank in ranks {
            within("placement.ranks", rank as u64, 0..=self.network.width as u64)?;
        }
        let pretrainers: Vec<RuleName> = self.pretrainers.iter().map(|one| one.name).collect();
        if pretrainers != COMPARED {
            let found = pretrainers.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(ExperimentError::value("pretrainers", found, "adamw, muon"));
        }
        for pretrainer in &self.pretrainers {
            positive(&format!("pretrainers.{}.rate", pretrainer.name), pretrainer.rate)?;
            positive(&format!("pretrainers.{}.rest-rate", pretrainer.name), pretrainer.rest_rate)?;
        }
        distinct("finetuners", &self.finetuners.iter().map(|one| one.name.as_str()).collect::<Vec<_>>())?;
        for needed in COMPARED {
            if !self.finetuners.iter().any(|one| one.name == needed) {
                return Err(ExperimentError::value(
                    format!("finetuners, {needed}"),
                    "none",
                    "it: the verdict compares it",
                ));
            }
        }
        for FinetunerPreset { name, rates: of } in &self.finetuners {
            rates(&format!("finetuners.{name}.rates"), of)?;
            if !of.is_sorted() {
                let field = format!("finetuners.{name}.rates");
                return Err(ExperimentError::value(field, format!("{of:?}"), "ascending learning rates"));
            }
        }
        Ok(())
    }

    fn check_language(&self) -> Result<()> {
        let language = Language::new(&self.language(), 0)?;
        let most = self.nonces.last().copied().unwrap_or(0);
        self.nonces_of(most).validate()?;
        let new = self.language.rules.len() + 1;
        // Without its end, with the token that asks.
        let longest = (0..=new).map(|component| language.document_length(component)).fold(0.0, f64::max) as usize + 1;
        let longest = longest.max(language.document_length(new) as usize + most);
        if longest > self.network.context {
            let expected = format!("at least {longest}, the tokens of the longest document");
            return Err(ExperimentError::value("network.context", self.network.context, expected));
        }
        let available = language.available(new, Group::Seen);
        match self.examples.iter().find(|&&n| n as u64 > available) {
            Some(n) => Err(ExperimentError::value("examples", n, format!("at most {available}, all there are"))),
            None => Ok(()),
        }
    }
}

/// One optimizer for the hidden matrices, AdamW for all other weights.
fn policy(rules: &Hyperparameters, decay: f64, name: RuleName, rate: f64, rest_rate: f64) -> Policy {
    let (hidden, rest) = (rules.rule(name, decay), rules.rule(RuleName::AdamW, decay));
    Policy::hidden_and_rest(Scope::All, hidden, rate, rest, rest_rate, rest_rate)
}

#[cfg(test)]
mod tests {
    use lab::preset::{Preset as _, parse};

    use super::*;

    fn smoke() -> NoncesPreset {
        NoncesPreset::find("smoke", &[]).unwrap()
    }

    #[test]
    fn built_in_presets_are_valid_and_survive_toml() {
        for &(name, _) in NoncesPreset::BUILT_IN {
            let preset = NoncesPreset::find(name, &[]).unwrap();
            assert_eq!(preset.name, name);
            assert_eq!(parse::<NoncesPreset>(&preset.to_toml(), "test").unwrap(), preset);
        }
    }

    #[test]
    fn fields_out_of_range_are_refused_in_one_line() {
        type Spoil = fn(&mut NoncesPreset);
        let cases: [(&str, Spoil); 21] = [
            ("seeds: found 0", |p| p.seeds = 0),
            ("first-seed: found 1000", |p| p.first_seed = 1000),
            ("tuning-seeds: found 0", |p| p.tuning_seeds = 0),
            ("steps: found 0", |p| p.steps = 0),
            ("examples: found none", |p| p.examples.clear()),
            ("at most", |p| p.examples[0] = 1_000_000),
            ("nonces: found [1]", |p| p.nonces = vec![1]),
            ("nonces: found [0]", |p| p.nonces = vec![0]),
            ("count is 65", |p| (p.nonces, p.placement.nonces) = (vec![0, 65], 65)),
            ("alphabet is 1", |p| p.language.nonce_symbols = 1),
            ("language.fact-share: found 1", |p| p.language.fact_share = 1.0),
            ("network.context: found 6", |p| p.network.context = 6),
            ("finetune.measured: found [1]", |p| p.finetune.measured = vec![1]),
            ("finetune.epochs: found 0", |p| p.finetune.epochs = 0),
            ("finetune.sequences: found 0", |p| p.finetune.sequences = 0),
            ("finetune.rest-rate: found 0", |p| p.finetune.rest_rate = 0.0),
            ("placement.examples: found 5", |p| p.placement.examples = 5),
            ("placement.nonces: found 0", |p| p.placement.nonces = 0),
            ("placement.ranks: found 4096", |p| p.placement.ranks = vec![4096]),
            ("pretrainers: found muon, expected adamw, muon", |p| {
                p.pretrainers.retain(|one| one.name == RuleName::Muon)
            }),
            ("finetuners, muon: found none", |p| p.finetuners.retain(|one| one.name != RuleName::Muon)),
        ];
        for (expected, spoil) in cases {
            let mut preset = smoke();
            spoil(&mut preset);
            let message = preset.check().unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains('\n'), "{expected}: {message}");
        }
    }

    #[test]
    fn rates_are_constant_after_the_first_epoch_so_that_no_point_waits_for_a_decay() {
        let preset = smoke();
        let training = preset.training(24);
        let each = 24_u64.div_ceil(preset.finetune.sequences as u64);
        assert_eq!(training.steps, each * preset.finetune.epochs);
        let schedule = training.schedule();
        assert!(schedule.multiplier(0) < 1.0 || each == 1);
        assert!((each..training.steps).all(|step| schedule.multiplier(step) == 1.0));
    }

    #[test]
    fn finetuners_beside_the_compared_ones_have_their_own_number_of_seeds() {
        let preset = NoncesPreset { seeds: 6, first_seed: 10, control_seeds: Some(2), ..smoke() };
        let of = |name| (10..16).filter(|&seed| preset.has(name, seed)).count();
        assert_eq!([of(RuleName::AdamW), of(RuleName::Muon), of(RuleName::Sgd)], [6, 6, 2]);
    }
}
