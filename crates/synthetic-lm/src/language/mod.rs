//! A synthetic language in which what memory explains and what a rule explains are known exactly.
//!
//! A language is a mixture of components, each with a weight, its share of the documents:
//! - **facts** ([`Facts`]): keys with random values; only rote memory helps;
//! - **patterns** ([`Pattern`]): prompts whose answer a rule determines, with a training pool of a chosen size,
//!   instances held out for validation and test, and, if wanted, **exceptions**: training instances with a random
//!   label, on which memory and rule disagree;
//! - **processes** ([`Markov`], [`Dyck`], [`Grammar`]): random documents with known conditional probabilities.
//!
//! [`Language::stream`] gives training text, [`Language::probes`] the questions to ask a model,
//! [`Language::loss`] what a perfect memoriser, a perfect rule-follower, both or neither would lose.
//!
//! ```
//! use synthetic_lm::language::{LanguageConfig, Group, Language, Learner};
//!
//! let language = Language::new(&LanguageConfig::memorization(1000, 300), 0)?;
//! let (mut tokens, mut is_answer) = (Vec::new(), Vec::new());
//! language.stream(1).fill(4096, &mut tokens, &mut is_answer);
//! let held_out = language.probes(1, Group::Test, 100, 0)?;
//! assert_eq!(held_out.len(), 100);
//! assert!(language.training_loss(Learner::Both) < language.training_loss(Learner::Rule));
//! # Ok::<(), synthetic_lm::Error>(())
//! ```

mod discrete;
mod dyck;
mod facts;
mod grammar;
mod induction;
mod last_letter;
mod markov;
mod modular;
mod nonces;
mod oracle;
mod pattern;
mod permuted_copy;
mod pool;
pub mod presets;
mod probe;
mod process;
mod rule;
mod rules;
mod stream;
mod vocabulary;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use dyck::Dyck;
pub use facts::{Facts, Frequency};
pub use grammar::Grammar;
pub use induction::Induction;
pub use last_letter::LastLetter;
pub use markov::Markov;
pub use modular::{Modular, ModularOperation};
pub use nonces::{Nonces, Opening, Told};
pub use oracle::{Learner, Loss};
pub use pattern::Pattern;
pub use permuted_copy::PermutedCopy;
pub use probe::Probe;
pub use rules::PatternRule;
pub use stream::{Document, Stream};
pub use vocabulary::{Role, Token, Vocabulary};

use crate::error::{check_range, out_of_range};
use crate::{Error, random};
use discrete::{Discrete, apportion};
use facts::FactBook;
use pattern::PatternBook;
use process::Process;

const NAME: &str = "language";

/// What it takes to predict the answer of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Rote memory: the value of a fact.
    Fact,
    /// Memory or the rule: a training instance that follows its rule.
    Seen,
    /// Memory against the rule: a training instance with a random label.
    Exception,
    /// The rule: an instance held out for choosing among models.
    Validation,
    /// The rule: an instance held out for the result.
    Test,
    /// The statistics of a process; its documents have no answer.
    Process,
}

impl Group {
    /// All groups.
    pub const ALL: [Self; 6] = [Self::Fact, Self::Seen, Self::Exception, Self::Validation, Self::Test, Self::Process];

    /// The group's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fact => "fact",
            Self::Seen => "seen",
            Self::Exception => "exception",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::Process => "process",
        }
    }
}

/// What a language consists of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageConfig {
    /// The size of the model's vocabulary, at most 65536: the language must fit into it.
    pub vocabulary: usize,
    /// The components, at least one.
    pub components: Vec<ComponentConfig>,
}

/// A component and its share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentConfig {
    /// The share of documents, relative to the other components'; positive, in `1e-6..=1e6`.
    pub weight: f64,
    /// What the documents are.
    pub content: Content,
}

/// The kinds of components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Keys with random values.
    Facts(Facts),
    /// Prompts with answers by a rule.
    Pattern(Pattern),
    /// A k-gram grammar.
    Markov(Markov),
    /// Balanced brackets.
    Dyck(Dyck),
    /// A probabilistic context-free grammar.
    Grammar(Grammar),
}

impl LanguageConfig {
    /// The setting of the memorisation question: `facts` facts (component 0) and `examples` examples of addition modulo
    /// 59 (component 1), told equally often, in a vocabulary of 256.
    pub fn memorization(facts: usize, examples: usize) -> Self {
        let facts = Facts { count: facts, key_symbols: 64, key_length: 3, values: 64, frequency: Frequency::Uniform };
        let rule = PatternRule::Modular(Modular { modulus: 59, operation: ModularOperation::Add });
        let pattern = Pattern { rule, examples: Some(examples), exceptions: 0.0 };
        let component = |content| ComponentConfig { weight: 1.0, content };
        Self {
            vocabulary: 256,
            components: vec![component(Content::Facts(facts)), component(Content::Pattern(pattern))],
        }
    }
}

/// A language with everything random about it drawn from a seed.
#[derive(Debug)]
pub struct Language {
    vocabulary: Vocabulary,
    mixture: Discrete,
    components: Vec<Component>,
}

#[derive(Debug)]
struct Component {
    marker: Token,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Facts(FactBook),
    Pattern(PatternBook),
    Process(Box<dyn Process>),
}

impl Body {
    fn name(&self) -> &'static str {
        match self {
            Self::Facts(_) => facts::NAME,
            Self::Pattern(book) => book.name,
            Self::Process(process) => process.name(),
        }
    }
}

/// A component whose parameters have been checked, before the vocabulary is known.
enum Checked<'a> {
    Facts(&'a Facts),
    Pattern(&'a Pattern, Box<dyn rule::Rule>),
    Process(Box<dyn Process>),
}

impl Content {
    fn check(&self, seed: u64) -> Result<Checked<'_>, Error> {
        let mut rng = random::stream(seed, "process");
        Ok(match self {
            Self::Facts(config) => {
                config.validate()?;
                Checked::Facts(config)
            }
            Self::Pattern(config) => Checked::Pattern(config, config.build_rule(seed)?),
            Self::Markov(config) => Checked::Process(Box::new(config.build(&mut rng)?)),
            Self::Dyck(config) => Checked::Process(Box::new(config.build()?)),
            Self::Grammar(config) => Checked::Process(Box::new(config.build(&mut rng)?)),
        })
    }
}

impl Language {
    /// The language that `config` describes and `seed` draws. Each component has random numbers of its own: changing
    /// one component leaves the others as they are, apart from the numbers of their tokens.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] or [`Error::TooFewInstances`] for parameters that cannot be met.
    pub fn new(config: &LanguageConfig, seed: u64) -> Result<Self, Error> {
        if config.components.is_empty() {
            return Err(out_of_range(NAME, "components", "an empty list", "at least one component"));
        }
        check_range(NAME, "vocabulary", config.vocabulary, 1..=1 << 16)?;
        let seed_of = |component: usize| random::derive(seed, &format!("component {component}"));
        let mut checked = Vec::with_capacity(config.components.len());
        for (component, ComponentConfig { weight, content }) in config.components.iter().enumerate() {
            check_range(NAME, "weight", *weight, 1e-6..=1e6)?;
            checked.push(content.check(seed_of(component))?);
        }
        let vocabulary = vocabulary_of(&checked, config.vocabulary)?;
        let build = |(component, checked)| {
            let marker = vocabulary.marker(component);
            let body = match checked {
                Checked::Facts(facts) => Body::Facts(facts.build(marker, &vocabulary, seed_of(component))),
                Checked::Pattern(pattern, rule) => {
                    Body::Pattern(pattern.build(rule, marker, &vocabulary, seed_of(component)))
                }
                Checked::Process(process) => Body::Process(process),
            };
            Component { marker, body }
        };
        let components = checked.into_iter().enumerate().map(build).collect();
        let mixture = Discrete::new(config.components.iter().map(|component| component.weight));
        Ok(Self { vocabulary, mixture, components })
    }

    /// The tokens and their roles.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The names of the components' generators, in order.
    pub fn component_names(&self) -> Vec<&'static str> {
        self.components.iter().map(|component| component.body.name()).collect()
    }

    /// The share of a component in the documents.
    pub fn share(&self, component: usize) -> f64 {
        self.mixture.probability(component)
    }

    /// How often each document of a component's pool (each fact; each training instance, exceptions first) occurs in an
    /// exact stream of `documents` documents: its expected number rounded to a whole one, so that all sums are right.
    /// None for a component without a pool.
    pub fn exposures(&self, component: usize, documents: u32) -> Option<Vec<u64>> {
        let total = self.apportioned(documents.into())[component];
        let frequencies: Vec<f64> = match &self.components[component].body {
            Body::Facts(book) => (0..book.config.count).map(|fact| book.frequency(fact)).collect(),
            Body::Pattern(PatternBook { pool: Some((_, examples)), .. }) => vec![1.0 / *examples as f64; *examples],
            Body::Pattern(_) | Body::Process(_) => return None,
        };
        Some(apportion(&frequencies, total))
    }

    /// Documents of each component among `documents`.
    fn apportioned(&self, documents: u64) -> Vec<u64> {
        let shares: Vec<f64> = (0..self.components.len()).map(|component| self.share(component)).collect();
        apportion(&shares, documents)
    }

    fn write_process(&self, component: usize, process: &dyn Process, rng: &mut ChaCha8Rng, tokens: &mut Vec<Token>) {
        tokens.push(self.components[component].marker);
        process.write(rng, self.vocabulary.first_symbol(), tokens);
        tokens.push(Vocabulary::END);
    }
}

/// The smallest vocabulary for these components, if it fits into `limit` tokens.
fn vocabulary_of(components: &[Checked<'_>], limit: usize) -> Result<Vocabulary, Error> {
    let (mut keys, mut values, mut symbols) = (0, 0, 0);
    for component in components {
        match component {
            Checked::Facts(facts) => (keys, values) = (keys.max(facts.key_symbols), values.max(facts.values)),
            Checked::Pattern(_, rule) => symbols = symbols.max(rule.symbols()),
            Checked::Process(process) => symbols = symbols.max(process.symbols()),
        }
    }
    let vocabulary = Vocabulary::new(components.len(), keys, values, symbols);
    if vocabulary.size() > limit {
        let expected = format!("at least {} for these components", vocabulary.size());
        return Err(out_of_range(NAME, "vocabulary", limit, expected));
    }
    Ok(vocabulary)
}
