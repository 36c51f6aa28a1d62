//! Documents, probes and exposures of a language are what its configuration says.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use synthetic_lm::language::{
    ComponentConfig, Content, Dyck, Facts, Frequency, Grammar, Group, Induction, Language, LanguageConfig, LastLetter,
    Markov, Modular, ModularOperation, Pattern, PatternRule, PermutedCopy, Role, Token, Vocabulary,
};

fn addition(modulus: usize) -> PatternRule {
    PatternRule::Modular(Modular { modulus, operation: ModularOperation::Add })
}

fn rules() -> Vec<PatternRule> {
    vec![
        addition(17),
        PatternRule::Modular(Modular { modulus: 23, operation: ModularOperation::Multiply }),
        PatternRule::PermutedCopy(PermutedCopy { symbols: 6, length: 4, substitute: true, reorder: true }),
        PatternRule::LastLetter(LastLetter { symbols: 5, words: 3, word_length: 2 }),
        PatternRule::Induction(Induction { symbols: 9, pairs: 2 }),
    ]
}

/// Facts, every rule with a pool and exceptions, and every process.
fn everything(examples: Option<usize>, exceptions: f64) -> LanguageConfig {
    let facts = Facts { count: 40, key_symbols: 7, key_length: 3, values: 9, frequency: Frequency::Zipf(1.0) };
    let pattern = |rule| Content::Pattern(Pattern { rule, examples, exceptions });
    let mut contents = vec![Content::Facts(facts)];
    contents.extend(rules().into_iter().map(pattern));
    contents.push(Content::Markov(Markov { symbols: 5, order: 2, successors: 2, length: 9 }));
    contents.push(Content::Dyck(Dyck { kinds: 2, max_depth: 3, open_probability: 0.5, length: 8 }));
    contents.push(Content::Grammar(Grammar { symbols: 9, nonterminals: 3, productions: 2, mean_children: 0.8 }));
    let components = contents.into_iter().map(|content| ComponentConfig { weight: 1.0, content }).collect();
    LanguageConfig { vocabulary: 64, components }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Form, roles and labels of every document; held-out instances never occur.
    #[test]
    fn every_document_reads_back(unlimited: bool, seed: u64) {
        let config = if unlimited { everything(None, 0.0) } else { everything(Some(30), 0.2) };
        let language = Language::new(&config, seed).unwrap();
        let vocabulary = language.vocabulary();
        let held_out: BTreeSet<Vec<Token>> = (1..=5)
            .flat_map(|component| [Group::Validation, Group::Test].map(|group| (component, group)))
            .flat_map(|(component, group)| {
                let all = language.available(component, group) as usize;
                language.probes(component, group, all.min(1000), 0).unwrap()
            })
            .map(|probe| probe.prompt().to_vec())
            .collect();
        let mut labels: BTreeMap<Vec<Token>, Vec<Token>> = BTreeMap::new();
        let mut stream = language.stream(seed);
        for _ in 0..3000 {
            let mut tokens = vec![Vocabulary::END; 2];
            let document = stream.next_document(&mut tokens).unwrap();
            prop_assert_eq!(vocabulary.role(tokens[2]), Some(Role::Marker(document.component)));
            prop_assert_eq!(*tokens.last().unwrap(), Vocabulary::END);
            prop_assert!(!tokens[2..tokens.len() - 1].contains(&Vocabulary::END));
            if document.group == Group::Process {
                prop_assert!(document.answer.is_empty());
                prop_assert!(language.log_probabilities(document.component, &tokens[2..]).is_some());
                continue;
            }
            prop_assert_eq!(tokens[document.answer.start - 1], Vocabulary::ANSWER);
            prop_assert_eq!(document.answer.end, tokens.len() - 1);
            let prompt = tokens[2..document.answer.start].to_vec();
            let label = tokens[document.answer.clone()].to_vec();
            prop_assert!(!held_out.contains(&prompt));
            let ruled = language.rule_answer(document.component, &prompt[1..prompt.len() - 1]);
            match document.group {
                Group::Fact => prop_assert!(ruled.is_none() && matches!(vocabulary.role(label[0]), Some(Role::Value(_)))),
                Group::Seen => prop_assert_eq!(ruled.as_ref(), Some(&label)),
                _ => prop_assert!(ruled.is_some_and(|ruled| ruled != label)),
            }
            // A prompt has the same label every time.
            prop_assert_eq!(labels.entry(prompt).or_insert_with(|| label.clone()), &label);
        }
    }

    /// Every probe is a document of the training text with the stated frequency, or is held out.
    #[test]
    fn probes_are_what_training_text_says(seed: u64) {
        let language = Language::new(&everything(Some(30), 0.2), seed).unwrap();
        let mut counts: BTreeMap<Vec<Token>, f64> = BTreeMap::new();
        let mut stream = language.stream(seed);
        let n = 60_000;
        for _ in 0..n {
            let mut tokens = Vec::new();
            stream.next_document(&mut tokens).unwrap();
            *counts.entry(tokens).or_default() += 1.0;
        }
        for component in 0..=5 {
            for group in Group::ALL {
                let all = language.available(component, group).min(200) as usize;
                let probes = language.probes(component, group, all, 1).unwrap();
                prop_assert_eq!(probes.iter().map(|p| p.instance).collect::<BTreeSet<_>>().len(), all);
                prop_assert_eq!(&language.probes(component, group, all / 2, 1).unwrap()[..], &probes[..all / 2]);
                for probe in probes {
                    let count = counts.get(&probe.tokens).copied().unwrap_or(0.0);
                    let expected = probe.frequency * f64::from(n);
                    // Held-out documents must not occur at all.
                    let tolerance = if expected > 0.0 { 6.0 * expected.sqrt() + 4.0 } else { 0.0 };
                    prop_assert!((count - expected).abs() <= tolerance);
                    prop_assert_eq!(probe.group == Group::Exception, probe.rule_answer.as_ref().is_some_and(|r| r[..] != *probe.label()));
                }
            }
        }
    }

    #[test]
    fn packed_tokens_are_the_documents_one_after_another(seed: u64, sizes in proptest::collection::vec(1usize..300, 1..8)) {
        let language = Language::new(&everything(Some(30), 0.2), 1).unwrap();
        let (mut tokens, mut is_answer) = (Vec::new(), Vec::new());
        let mut stream = language.stream(seed);
        for &n in &sizes {
            let (mut part, mut part_is_answer) = (vec![9; 5], vec![true]);
            prop_assert_eq!(stream.fill(n, &mut part, &mut part_is_answer), n);
            tokens.extend(part);
            is_answer.extend(part_is_answer);
        }
        let (mut expected, mut answers) = (Vec::new(), Vec::new());
        let mut stream = language.stream(seed);
        while expected.len() < tokens.len() {
            let document = stream.next_document(&mut expected).unwrap();
            answers.extend(document.answer);
        }
        prop_assert_eq!(&tokens[..], &expected[..tokens.len()]);
        prop_assert_eq!(is_answer.len(), tokens.len());
        let marked: Vec<usize> = (0..tokens.len()).filter(|&i| is_answer[i]).collect();
        answers.retain(|&i| i < tokens.len());
        prop_assert_eq!(marked, answers);
    }

    #[test]
    fn an_exact_stream_tells_each_document_as_often_as_stated(documents in 1u32..3000, seed: u64) {
        let language = Language::new(&everything(Some(30), 0.2), 1).unwrap();
        let mut counts: BTreeMap<(usize, u64), u64> = BTreeMap::new();
        let (mut stream, mut tokens) = (language.exact_stream(documents, seed), Vec::new());
        while let Some(document) = stream.next_document(&mut tokens) {
            *counts.entry((document.component, document.instance)).or_default() += 1;
        }
        prop_assert_eq!(counts.values().sum::<u64>(), u64::from(documents));
        let facts = language.exposures(0, documents).unwrap();
        prop_assert!(facts.is_sorted_by(|a, b| a >= b));
        for (fact, &n) in facts.iter().enumerate() {
            prop_assert_eq!(counts.get(&(0, fact as u64)).copied().unwrap_or(0), n);
        }
        for component in 1..=5 {
            let exposures = language.exposures(component, documents).unwrap();
            prop_assert!(exposures.iter().max().unwrap() - exposures.iter().min().unwrap() <= 1);
            let told: u64 = counts.range((component, 0)..(component + 1, 0)).map(|(_, n)| n).sum();
            prop_assert_eq!(told, exposures.iter().sum::<u64>());
        }
        prop_assert_eq!(language.exposures(6, documents), None);
        prop_assert_eq!(stream.fill(10, &mut tokens, &mut Vec::new()), 0);
    }
}

/// Fewer examples are a part of more, and neither their number nor exceptions change what is held out.
#[test]
fn pools_are_nested_and_held_out_instances_stay() {
    let language = |examples, exceptions| Language::new(&everything(Some(examples), exceptions), 3).unwrap();
    let (few, more) = (language(10, 0.0), language(30, 0.3));
    for component in 1..=5 {
        let instances = |language: &Language, group, n| -> BTreeSet<u64> {
            language.probes(component, group, n, 0).unwrap().iter().map(|probe| probe.instance).collect()
        };
        let all = &instances(&more, Group::Seen, 21) | &instances(&more, Group::Exception, 9);
        assert!(instances(&few, Group::Seen, 10).is_subset(&all));
        assert_eq!(instances(&few, Group::Test, 20), instances(&more, Group::Test, 20));
        assert!(instances(&more, Group::Test, 20).is_disjoint(&instances(&more, Group::Validation, 20)));
    }
    let facts = |language: &Language| language.probes(0, Group::Fact, 40, 0).unwrap();
    assert_eq!(facts(&few), facts(&more));
}

#[test]
fn same_seed_same_language_and_text() {
    let text = |language_seed, stream_seed| {
        let language = Language::new(&everything(Some(30), 0.2), language_seed).unwrap();
        let mut tokens = Vec::new();
        language.stream(stream_seed).fill(2000, &mut tokens, &mut Vec::new());
        tokens
    };
    assert_eq!(text(1, 2), text(1, 2));
    assert_ne!(text(1, 2), text(1, 3));
    assert_ne!(text(1, 2), text(2, 2));
}

/// The components alternate as in a random order: with 300 documents of each of two, the number of neighbours from
/// different ones has mean 300 and standard deviation about 12.
#[test]
fn an_exact_stream_is_shuffled_by_its_seed() {
    let language = Language::new(&LanguageConfig::memorization(300, 300), 0).unwrap();
    let order = |seed| -> Vec<(usize, u64)> {
        let (mut stream, mut tokens) = (language.exact_stream(600, seed), Vec::new());
        std::iter::from_fn(|| stream.next_document(&mut tokens).map(|d| (d.component, d.instance))).collect()
    };
    let changes = order(0).windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
    assert!(changes.abs_diff(300) < 60, "{changes}");
    assert_eq!(order(0), order(0));
    assert_ne!(order(0), order(1));
}

#[test]
fn what_cannot_be_met_is_refused_in_one_line() {
    let with = |content| LanguageConfig { vocabulary: 64, components: vec![ComponentConfig { weight: 1.0, content }] };
    let pattern = |rule, examples, exceptions| with(Content::Pattern(Pattern { rule, examples, exceptions }));
    let facts = |count, key_length| {
        with(Content::Facts(Facts { count, key_symbols: 4, key_length, values: 8, frequency: Frequency::Uniform }))
    };
    let zero_weight = {
        let mut config = facts(4, 1);
        config.components[0].weight = 0.0;
        config
    };
    let brackets =
        |open_probability, length| with(Content::Dyck(Dyck { kinds: 1, max_depth: 2, open_probability, length }));
    for (config, message) in [
        (
            LanguageConfig { vocabulary: 64, components: vec![] },
            "language: components is an empty list, expected at least one component",
        ),
        (
            LanguageConfig { vocabulary: 63, ..LanguageConfig::memorization(100, 100) },
            "language: vocabulary is 63, expected at least 191 for these components",
        ),
        (
            LanguageConfig { vocabulary: 70_000, ..LanguageConfig::memorization(100, 100) },
            "language: vocabulary is 70000, expected 1 to 65536",
        ),
        (zero_weight, "language: weight is 0, expected 0.000001 to 1000000"),
        (facts(0, 1), "facts: count is 0, expected 1 to 1000000"),
        (facts(17, 2), "facts: key_length is 2, expected enough for 17 keys (key_symbols^key_length)"),
        (pattern(addition(4), None, 0.0), "modular: modulus is 4, expected 5 to 1024"),
        (pattern(addition(11), Some(0), 0.0), "modular: examples is 0, expected at least 1"),
        (
            pattern(addition(11), Some(98), 0.0),
            "modular: 98 train examples asked for, but only 97 distinct ones exist with this configuration",
        ),
        (
            pattern(addition(11), None, 0.1),
            "modular: exceptions is 0.1, expected 0 where the number of examples is not given",
        ),
        (pattern(addition(11), Some(10), 1.5), "modular: exceptions is 1.5, expected 0 to 1"),
        (pattern(addition(11), Some(10), f64::NAN), "modular: exceptions is NaN, expected 0 to 1"),
        (
            pattern(PatternRule::LastLetter(LastLetter { symbols: 3, words: 1, word_length: 1 }), None, 0.0),
            "last-letter: instances is 3, expected at least 10, so that some can be held out",
        ),
        (brackets(1.0, 4), "dyck: open_probability is 1, expected between 0 and 1, exclusive"),
        (brackets(0.5, 5), "dyck: length is 5, expected an even number"),
        (
            with(Content::Markov(Markov { symbols: 64, order: 4, successors: 2, length: 10 })),
            "markov: order is 4, expected at most 2^20 contexts (symbols^order)",
        ),
        (
            with(Content::Grammar(Grammar { symbols: 9, nonterminals: 3, productions: 2, mean_children: 1.0 })),
            "grammar: mean_children is 1, expected 0.1 to 0.95",
        ),
    ] {
        assert_eq!(Language::new(&config, 0).unwrap_err().to_string(), message);
    }
    let language = Language::new(&pattern(addition(11), Some(10), 0.0), 0).unwrap();
    assert_eq!(
        language.probes(0, Group::Test, 13, 0).unwrap_err().to_string(),
        "modular: 13 test examples asked for, but only 12 distinct ones exist with this configuration"
    );
}

#[test]
fn configurations_survive_json() {
    let config = everything(Some(30), 0.2);
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<LanguageConfig>(&json).unwrap(), config);
    let unknown = json.replace("\"open_probability\"", "\"open_chance\"");
    assert!(serde_json::from_str::<LanguageConfig>(&unknown).unwrap_err().to_string().contains("open_chance"));
}
