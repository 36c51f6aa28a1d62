//! Learners that count reach the oracles' losses within sampling error; so the oracles are neither too low nor too
//! high.

use std::collections::BTreeMap;

use synthetic_lm::language::{
    ComponentConfig, Content, Dyck, Facts, Frequency, Grammar, Group, Language, LanguageConfig, LastLetter, Learner,
    Markov, Modular, ModularOperation, Pattern, PatternRule, PermutedCopy, Token,
};

/// Mean and standard error.
fn estimate(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

fn language(components: Vec<(f64, Content)>) -> Language {
    let components = components.into_iter().map(|(weight, content)| ComponentConfig { weight, content }).collect();
    Language::new(&LanguageConfig { vocabulary: 512, components }, 7).unwrap()
}

fn facts(count: usize, frequency: Frequency) -> Content {
    Content::Facts(Facts { count, key_symbols: 10, key_length: 3, values: 12, frequency })
}

fn pattern(rule: PatternRule, examples: Option<usize>, exceptions: f64) -> Content {
    Content::Pattern(Pattern { rule, examples, exceptions })
}

fn addition(modulus: usize) -> PatternRule {
    PatternRule::Modular(Modular { modulus, operation: ModularOperation::Add })
}

/// Counts which token follows in each state, a state being whatever is made of the tokens so far.
#[derive(Default)]
struct Table<S: Ord> {
    counts: BTreeMap<S, BTreeMap<Token, f64>>,
}

impl<S: Ord> Table<S> {
    fn learn(&mut self, state: S, token: Token) {
        *self.counts.entry(state).or_default().entry(token).or_default() += 1.0;
    }

    /// -ln of the relative frequency; what was never seen counts as seen once.
    fn loss(&self, state: &S, token: Token) -> f64 {
        let counts = self.counts.get(state).expect("every state occurs in so much training text");
        -(counts.get(&token).copied().unwrap_or(1.0) / counts.values().sum::<f64>()).ln()
    }
}

/// A table of whole prefixes has the training pools by heart. Where all components have pools, memory is all there is.
#[test]
fn a_table_of_prefixes_reaches_the_memorisers_loss() {
    let language = language(vec![
        (2.0, facts(60, Frequency::Zipf(1.0))),
        (1.0, facts(30, Frequency::Uniform)),
        (1.0, pattern(addition(20), Some(80), 0.25)),
        (0.5, pattern(PatternRule::LastLetter(LastLetter { symbols: 4, words: 2, word_length: 3 }), Some(50), 0.0)),
    ]);
    let mut table: Table<Vec<Token>> = Table::default();
    let mut stream = language.stream(1);
    let mut document = Vec::new();
    for _ in 0..200_000 {
        document.clear();
        stream.next_document(&mut document).unwrap();
        for place in 0..document.len() {
            table.learn(document[..place].to_vec(), document[place]);
        }
    }
    let mut stream = language.stream(2);
    let (mut losses, mut tokens) = (Vec::new(), 0);
    for _ in 0..40_000 {
        document.clear();
        stream.next_document(&mut document).unwrap();
        tokens += document.len();
        losses.push((0..document.len()).map(|place| table.loss(&document[..place].to_vec(), document[place])).sum());
    }
    let (mean, error) = estimate(&losses);
    let length = tokens as f64 / losses.len() as f64;
    assert!((length - language.mean_document_length()).abs() < 0.02, "{length}");
    for learner in [Learner::Memory, Learner::Both] {
        let expected = language.training_loss(learner) * language.mean_document_length();
        // The table's own estimation error: about (number of documents - 1) / (2 * 200000) = 0.0006 nats.
        assert!((mean - expected).abs() < 4.0 * error + 0.001, "{learner:?}: {mean} +- {error}, expected {expected}");
    }
}

/// A table of (k+1)-grams knows all there is to know of a chain of order k.
#[test]
fn a_table_of_grams_reaches_the_entropy_of_a_markov_chain() {
    let order = 2;
    let language = language(vec![(1.0, Content::Markov(Markov { symbols: 8, order, successors: 3, length: 30 }))]);
    let mut table: Table<Vec<Token>> = Table::default();
    let (mut stream, mut document) = (language.stream(1), Vec::new());
    // The state: the last tokens of the document, of which the end needs no prediction.
    let state = |document: &[Token], place: usize| document[place.saturating_sub(order)..place].to_vec();
    for _ in 0..20_000 {
        document.clear();
        stream.next_document(&mut document).unwrap();
        (1..document.len() - 1).for_each(|place| table.learn(state(&document, place), document[place]));
    }
    let mut stream = language.stream(2);
    let mut losses = Vec::new();
    for _ in 0..10_000 {
        document.clear();
        stream.next_document(&mut document).unwrap();
        losses.push((1..document.len() - 1).map(|place| table.loss(&state(&document, place), document[place])).sum());
    }
    let (mean, error) = estimate(&losses);
    let expected = language.loss(0, Group::Process, Learner::Both).unwrap().prompt;
    // Estimation error: 64 contexts with 2 free numbers each, and 8 at the start, over 2 * 20000 documents.
    assert!((mean - expected).abs() < 4.0 * error + 0.006, "{mean} +- {error}, expected {expected}");
}

/// Place, depth and the bracket to close are all that matters in a Dyck language.
#[test]
fn a_table_of_stack_states_reaches_the_entropy_of_brackets() {
    let language =
        language(vec![(1.0, Content::Dyck(Dyck { kinds: 3, max_depth: 4, open_probability: 0.45, length: 16 }))]);
    let first = language.vocabulary().token(synthetic_lm::language::Role::Symbol(0)).unwrap();
    let states = |document: &[Token]| {
        let mut stack = Vec::new();
        let state = |&token: &Token| {
            let state = (stack.len(), stack.last().copied());
            if (token - first).is_multiple_of(2) {
                stack.push(token);
            } else {
                stack.pop();
            }
            state
        };
        document[1..document.len() - 1].iter().map(state).enumerate().collect::<Vec<_>>()
    };
    let mut table = Table::default();
    let (mut stream, mut document) = (language.stream(1), Vec::new());
    for _ in 0..30_000 {
        document.clear();
        stream.next_document(&mut document).unwrap();
        states(&document).into_iter().zip(&document[1..]).for_each(|(state, &token)| table.learn(state, token));
    }
    let mut stream = language.stream(2);
    let mut losses = Vec::new();
    for _ in 0..10_000 {
        document.clear();
        stream.next_document(&mut document).unwrap();
        losses.push(states(&document).iter().zip(&document[1..]).map(|(state, &token)| table.loss(state, token)).sum());
    }
    let (mean, error) = estimate(&losses);
    let expected = language.loss(0, Group::Process, Learner::Both).unwrap().prompt;
    assert!((mean - expected).abs() < 4.0 * error + 0.01, "{mean} +- {error}, expected {expected}");
}

/// The entropy of the relative frequencies of whole sentences, with the correction for its bias (Miller and Madow,
/// 1955).
#[test]
fn sentence_frequencies_have_the_entropy_of_the_grammar() {
    let grammar = Grammar { symbols: 8, nonterminals: 4, productions: 1, mean_children: 0.3 };
    let language = language(vec![(1.0, Content::Grammar(grammar))]);
    let mut counts: BTreeMap<Vec<Token>, f64> = BTreeMap::new();
    let mut stream = language.stream(1);
    let n = 200_000.0;
    for _ in 0..200_000 {
        let mut document = Vec::new();
        stream.next_document(&mut document).unwrap();
        *counts.entry(document).or_default() += 1.0;
    }
    let plug_in: f64 = counts.values().map(|count| -count / n * (count / n).ln()).sum();
    let corrected = plug_in + (counts.len() as f64 - 1.0) / (2.0 * n);
    let expected = language.loss(0, Group::Process, Learner::Both).unwrap().prompt;
    assert!((corrected - expected).abs() < 0.02, "{corrected}, expected {expected}");
}

/// Knows the rule, estimates the share of exceptions by counting, and spreads it over the other answers.
#[test]
fn a_learner_with_the_rule_reaches_the_rule_followers_loss() {
    let copy = PermutedCopy { symbols: 5, length: 3, substitute: true, reorder: true };
    for (rule, answers) in [(addition(8), 8.0), (PatternRule::PermutedCopy(copy), 125.0)] {
        let language = language(vec![(1.0, pattern(rule, Some(40), 0.2))]);
        let (mut stream, mut document) = (language.stream(1), Vec::new());
        let mut follows = |n: usize| -> Vec<bool> {
            let one = |_| {
                document.clear();
                let found = stream.next_document(&mut document).unwrap();
                let ruled = language.rule_answer(0, &document[1..found.answer.start - 1]).unwrap();
                let follows = document[found.answer.clone()] == ruled[..];
                assert_eq!(follows, found.group == Group::Seen);
                follows
            };
            (0..n).map(one).collect()
        };
        let learnt = follows(50_000);
        let e = learnt.iter().filter(|follows| !**follows).count() as f64 / 50_000.0;
        let loss = |follows: bool| {
            if follows { -(1.0 - e).ln() } else { -(e / (answers - 1.0)).ln() }
        };
        let losses: Vec<f64> = follows(50_000).into_iter().map(loss).collect();
        let (mean, error) = estimate(&losses);
        let expected = language.document_loss(0, Learner::Rule).answer;
        assert!((mean - expected).abs() < 4.0 * error, "{mean} +- {error}, expected {expected}");
        for (group, follows) in [(Group::Seen, true), (Group::Exception, false), (Group::Test, true)] {
            let expected = language.loss(0, group, Learner::Rule).unwrap().answer;
            assert!((loss(follows) - expected).abs() < 0.05, "{group:?}");
        }
    }
}

/// With an unlimited pool and one component, the prompts of an exhaustive count are uniform over the training side.
#[test]
fn an_unlimited_pool_has_the_entropy_of_its_training_side() {
    let language = language(vec![(1.0, pattern(addition(12), None, 0.0))]);
    let mut counts: BTreeMap<Vec<Token>, f64> = BTreeMap::new();
    let mut stream = language.stream(3);
    for _ in 0..100_000 {
        let mut document = Vec::new();
        stream.next_document(&mut document).unwrap();
        *counts.entry(document).or_default() += 1.0;
    }
    // 144 instances, 14 for validation, 14 for the test.
    assert_eq!(counts.len(), 116);
    let loss = language.loss(0, Group::Seen, Learner::Both).unwrap();
    assert!((loss.prompt - f64::ln(116.0)).abs() < 1e-12 && loss.answer == 0.0);
    assert!(counts.values().all(|&n| (n - 100_000.0 / 116.0).abs() < 6.0 * f64::sqrt(100_000.0 / 116.0)));
}

/// The four learners are in the order that their names imply, and the blind one's loss is the count of possibilities.
#[test]
fn knowing_more_never_costs() {
    let language = language(vec![
        (1.0, facts(50, Frequency::Uniform)),
        (1.0, pattern(addition(20), Some(40), 0.1)),
        (1.0, Content::Markov(Markov { symbols: 6, order: 1, successors: 2, length: 10 })),
    ]);
    let [blind, memory, rule, both] = Learner::ALL.map(|learner| language.training_loss(learner));
    assert!(both < memory && both < rule && memory < blind && rule < blind);
    let expected = f64::ln(3.0)
        + (3.0 * f64::ln(10.0) + f64::ln(12.0) + 2.0 * f64::ln(20.0) + f64::ln(20.0) + 10.0 * f64::ln(6.0)) / 3.0;
    assert!((blind * language.mean_document_length() - expected).abs() < 1e-9);
}
