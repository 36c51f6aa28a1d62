//! Languages by name: one for each generator, and the mixtures of the memorisation question.

use super::{
    ComponentConfig, Content, Dyck, Facts, Frequency, Grammar, Induction, LanguageConfig, LastLetter, Markov, Modular,
    ModularOperation, Pattern, PatternRule, PermutedCopy,
};
use crate::Error;

/// A language with a name.
#[derive(Clone, Copy)]
pub struct Preset {
    /// The name to ask for.
    pub name: &'static str,
    /// What it contains, in one line.
    pub summary: &'static str,
    /// Its configuration.
    pub config: fn() -> LanguageConfig,
}

/// All named languages.
pub const PRESETS: [Preset; 11] = [
    Preset {
        name: "memorization",
        summary: "1000 facts and 300 examples of addition modulo 59",
        config: || LanguageConfig::memorization(1000, 300),
    },
    Preset {
        name: "conflict",
        summary: "the same, with one example in ten labelled against the rule",
        config: || {
            let mut config = LanguageConfig::memorization(1000, 300);
            for component in &mut config.components {
                if let Content::Pattern(pattern) = &mut component.content {
                    pattern.exceptions = 0.1;
                }
            }
            config
        },
    },
    Preset {
        name: "everything",
        summary: "facts, every pattern and every process, equally often",
        config: || {
            mixture([
                facts(),
                modular(),
                permuted_copy(),
                copy(),
                last_letter(),
                induction(),
                markov(),
                dyck(),
                grammar(),
            ])
        },
    },
    Preset { name: "facts", summary: "10000 facts told by Zipf's law", config: || mixture([facts()]) },
    Preset { name: "modular", summary: "a^2 + a b + b^2 modulo 97", config: || mixture([modular()]) },
    Preset {
        name: "permuted-copy",
        summary: "strings of 8 over 16 symbols, copied as they are and under fixed permutations",
        config: || mixture([permuted_copy(), copy()]),
    },
    Preset {
        name: "last-letter",
        summary: "the last letters of 4 words of 3 letters",
        config: || mixture([last_letter()]),
    },
    Preset {
        name: "induction",
        summary: "5 pairs and a question about one of them",
        config: || mixture([induction()]),
    },
    Preset {
        name: "markov",
        summary: "3-grams: 16 symbols, 4 successors to each pair",
        config: || mixture([markov()]),
    },
    Preset { name: "dyck", summary: "brackets of 4 kinds, up to 8 deep", config: || mixture([dyck()]) },
    Preset { name: "grammar", summary: "a context-free grammar of 8 nonterminals", config: || mixture([grammar()]) },
];

/// The configuration of a named language.
///
/// # Errors
/// [`Error::Unknown`] if there is none of this name.
pub fn preset(name: &str) -> Result<LanguageConfig, Error> {
    let found = PRESETS.iter().find(|preset| preset.name == name);
    let names = || PRESETS.map(|preset| preset.name).join(", ");
    found.map(|preset| (preset.config)()).ok_or_else(|| Error::Unknown {
        what: "language",
        found: name.to_owned(),
        known: names(),
    })
}

fn mixture<const N: usize>(contents: [Content; N]) -> LanguageConfig {
    let components = contents.into_iter().map(|content| ComponentConfig { weight: 1.0, content }).collect();
    LanguageConfig { vocabulary: 512, components }
}

fn unlimited(rule: PatternRule) -> Content {
    Content::Pattern(Pattern { rule, examples: None, exceptions: 0.0 })
}

fn facts() -> Content {
    Content::Facts(Facts { count: 10_000, key_symbols: 64, key_length: 3, values: 64, frequency: Frequency::Zipf(1.0) })
}

fn modular() -> Content {
    unlimited(PatternRule::Modular(Modular { modulus: 97, operation: ModularOperation::Quadratic }))
}

fn permuted_copy() -> Content {
    unlimited(PatternRule::PermutedCopy(PermutedCopy { symbols: 16, length: 8, substitute: true, reorder: true }))
}

fn copy() -> Content {
    unlimited(PatternRule::PermutedCopy(PermutedCopy { symbols: 16, length: 8, substitute: false, reorder: false }))
}

fn last_letter() -> Content {
    unlimited(PatternRule::LastLetter(LastLetter { symbols: 26, words: 4, word_length: 3 }))
}

fn induction() -> Content {
    unlimited(PatternRule::Induction(Induction { symbols: 32, pairs: 5 }))
}

fn markov() -> Content {
    Content::Markov(Markov { symbols: 16, order: 2, successors: 4, length: 64 })
}

fn dyck() -> Content {
    Content::Dyck(Dyck { kinds: 4, max_depth: 8, open_probability: 0.5, length: 64 })
}

fn grammar() -> Content {
    Content::Grammar(Grammar { symbols: 24, nonterminals: 8, productions: 2, mean_children: 0.9 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    #[test]
    fn every_preset_makes_a_language() {
        for preset in PRESETS {
            let language = Language::new(&(preset.config)(), 0).unwrap();
            let (mut tokens, mut is_answer) = (Vec::new(), Vec::new());
            assert_eq!(language.stream(0).fill(1000, &mut tokens, &mut is_answer), 1000, "{}", preset.name);
        }
    }
}
