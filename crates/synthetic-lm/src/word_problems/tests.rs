//! Word problems say what their label says, and test problems are new.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn config(min_steps: usize, max_steps: usize, largest: u32, held_out: HeldOut) -> ValidWordProblemsConfig {
    WordProblemsConfig { min_steps, max_steps, largest, held_out }.validate().unwrap()
}

/// What makes a problem the same whatever its wording: subject and item (named in the opening), chain, and whether it
/// is told as a comparison (the one story that shares subjects and items with another).
fn identity(example: &Example) -> (String, Chain, bool) {
    let opening = example.prompt.split_inclusive('.').next().unwrap();
    let items = STORIES.iter().flat_map(|story| story.items);
    let things = STORIES.iter().flat_map(|story| match story.cast {
        stories::Cast::Thing(things) => things,
        _ => &[],
    });
    let people = stories::PEOPLE.iter().map(|(name, _)| name);
    let mut known: Vec<&str> = items.chain(things).chain(people).copied().collect();
    known.retain(|word| opening.split([' ', '.']).any(|w| w == *word));
    known.sort_unstable();
    known.dedup();
    (
        known.join(" "),
        parse(&example.prompt).unwrap(),
        [" than ", " as many as "].iter().any(|words| example.prompt.contains(words)),
    )
}

/// The working of a completion, recalculated from its text; the last result.
fn check_working(completion: &str) -> u32 {
    let mut last = None;
    let equations = completion.split([' ', '\n']).filter_map(|word| word.trim_end_matches('.').split_once('='));
    for (left, result) in equations {
        let at = left.find(['+', '-', '*', '/']).unwrap();
        let [a, b, result] = [&left[..at], &left[at + 1..], result].map(|n| n.parse::<u32>().unwrap());
        let computed = match &left[at..=at] {
            "+" => a + b,
            "-" => a - b,
            "*" => a * b,
            _ => a / b,
        };
        assert_eq!(computed, result, "{completion}");
        assert!(last.is_none_or(|last| last == a), "{completion}");
        last = Some(result);
    }
    last.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn prompt_solution_and_answer_agree(
        steps in 1usize..=4, largest in 10u32..=300, chain_held_out: bool, seed: u64,
    ) {
        let held_out = if chain_held_out { HeldOut::Chain } else { HeldOut::Problem };
        let split = generate(&config(steps, steps, largest, held_out), seed, 40, 10).unwrap();
        for example in split.train.iter().chain(&split.test) {
            let chain = parse(&example.prompt).unwrap();
            prop_assert_eq!(chain.steps.len(), steps);
            prop_assert_eq!(solve(&example.prompt).unwrap().to_string(), &example.answer[..]);
            prop_assert_eq!(check_working(&example.completion).to_string(), &example.answer[..]);
            prop_assert!(is_correct(&example.completion, example));
            prop_assert!(example.prompt.is_ascii() && example.completion.is_ascii());
            prop_assert!(example.prompt.ends_with("?\n") && example.completion.ends_with('\n'));
            let unfilled = [&example.prompt, &example.completion].iter().any(|text| text.contains(['{', '}']));
            prop_assert!(!unfilled);
        }
    }

    #[test]
    fn no_test_problem_rewords_a_training_problem_of_any_seed(seeds: (u64, u64), steps in 1usize..=2) {
        let config = config(steps, steps, 10, HeldOut::Problem);
        let identities = |examples: &[Example]| examples.iter().map(identity).collect::<BTreeSet<_>>();
        let train = identities(&generate(&config, seeds.0, 3000, 0).unwrap().train);
        let test = identities(&generate(&config, seeds.1, 0, 1000).unwrap().test);
        prop_assert_eq!((train.len(), test.len()), (3000, 1000));
        prop_assert!(train.is_disjoint(&test));
    }

    #[test]
    fn held_out_chains_never_occur_in_training(seeds: (u64, u64)) {
        let config = config(1, 2, 12, HeldOut::Chain);
        let chains = |examples: &[Example]| examples.iter().map(|e| parse(&e.prompt).unwrap()).collect::<BTreeSet<_>>();
        let train = chains(&generate(&config, seeds.0, 3000, 0).unwrap().train);
        let test = chains(&generate(&config, seeds.1, 0, 1000).unwrap().test);
        prop_assert!(train.is_disjoint(&test));
    }
}

/// Read by a person: what each kind of sentence means, independent of the table of sentences.
#[test]
fn problems_read_by_hand_have_these_answers() {
    for (prompt, answer) in [
        ("Tom has 12 books. He gives 3 to Ann. The number doubles. How many books are there now?", 18),
        ("Ann has 5 keys. Bob has 3 fewer than Ann. Sue has 4 times as many as Bob. How many keys does Sue have?", 8),
        ("Ann has 12 keys. Ann has 3 times as many as Bob. How many keys does Bob have?", 4),
        ("Ann owns 6 cups. Ann has 4 fewer than Bob. How many cups does Bob have?", 10),
        ("A bus to Rome has 9 people. Then 5 of them get off. How many people get to Rome?", 4),
        ("A tank holds 30 liters of oil. Of 5 equal parts we keep one. How many liters are there now?", 6),
        ("Mary saved 8 dollars. Tom pays her 7 dollars. She spends 5 dollars. How much does Mary have now?", 10),
        ("Leo keeps 9 hens. He sells 3 to Kim. 4 more are born. How many does Leo keep now?", 10),
        ("In a game Nina has 8 stars. A bad move divides it by 4. How many stars at the end?", 2),
    ] {
        assert_eq!(solve(prompt), Ok(answer), "{prompt}");
    }
}

#[test]
fn text_that_the_grammar_cannot_have_written_is_refused() {
    for (prompt, sentence) in [
        ("", ""),
        ("The sky is blue.", "The sky is blue."),
        ("Tom has 12 books. He eats 3 of them. How many books are there now?", "He eats 3 of them."),
        // Somebody who has not been mentioned, and another item.
        ("Ann has 5 keys. Bob has 3 fewer than Tom. How many keys does Bob have?", "Bob has 3 fewer than Tom."),
        ("Tom has 12 books. He buys 3 more. How many keys are there now?", "How many keys are there now?"),
    ] {
        match parse(prompt) {
            Err(Error::Unreadable { found, .. }) => assert_eq!(found, sentence),
            other => panic!("{prompt}: {other:?}"),
        }
    }
}

#[test]
fn bad_parameters_are_named() {
    for (config, message) in [
        (WordProblemsConfig { max_steps: 7, ..WordProblemsConfig::default() }, "math: max_steps is 7, expected 1 to 6"),
        (WordProblemsConfig { min_steps: 3, ..WordProblemsConfig::default() }, "math: min_steps is 3, expected 1 to 2"),
        (WordProblemsConfig { largest: 9, ..WordProblemsConfig::default() }, "math: largest is 9, expected 10 to 1000"),
    ] {
        assert_eq!(config.validate().unwrap_err().to_string(), message);
    }
}

#[test]
fn asking_for_more_than_exists_is_refused_and_all_that_exists_can_be_had() {
    let config = config(1, 1, 10, HeldOut::Problem);
    let all = usize::try_from(available(&config, Side::Test)).unwrap();
    let split = generate(&config, 5, 0, all).unwrap();
    assert_eq!(split.test.len(), all);
    let error = generate(&config, 5, 0, all + 1).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "math: {} test examples asked for, but only {all} distinct ones exist with this configuration",
            all + 1
        )
    );
}

#[test]
fn there_are_millions_of_instances_and_all_operations_are_frequent() {
    let default = WordProblemsConfig::default().validate().unwrap();
    assert!(available(&default, Side::Train) > 5_000_000, "{}", available(&default, Side::Train));
    let split = generate(&config(1, 3, 100, HeldOut::Problem), 1, 4000, 0).unwrap();
    for operation in Operation::ALL {
        let with =
            split.train.iter().filter(|e| parse(&e.prompt).unwrap().steps.iter().any(|s| s.operation == operation));
        // A step is this operation with probability 1/4, in 1 to 3 steps: (1/4 + 7/16 + 37/64) / 3 = 0.42.
        let share = with.count() as f64 / 4000.0;
        assert!((share - 0.42).abs() < 0.05, "{operation:?}: {share}");
    }
}

#[test]
fn same_seed_same_examples_and_more_begin_with_fewer() {
    let config = config(2, 3, 50, HeldOut::Problem);
    let few = generate(&config, 9, 50, 10).unwrap();
    let more = generate(&config, 9, 200, 30).unwrap();
    assert_eq!(few.train, more.train[..50]);
    assert_eq!(few.test, more.test[..10]);
    assert_ne!(few.train, generate(&config, 10, 50, 0).unwrap().train);
}

#[test]
fn the_hardest_configuration_works() {
    let split = generate(&config(6, 6, 1000, HeldOut::Problem), 3, 50, 5).unwrap();
    for example in split.train.iter().chain(&split.test) {
        assert_eq!(solve(&example.prompt).unwrap().to_string(), example.answer);
    }
}

#[test]
fn answers_are_found_only_after_the_mark() {
    assert_eq!(extract_answer("There are 2+3=5.\n#### 5\n"), Some(5));
    assert_eq!(extract_answer("#### 14\nTom has 3"), Some(14));
    assert_eq!(extract_answer("#### 14"), Some(14));
    assert_eq!(extract_answer("14"), None);
    assert_eq!(extract_answer("#### many\n"), None);
    assert_eq!(extract_answer("####"), None);
}

/// At the two to three characters a token of a small tokenizer: 40 to 60 tokens of prompt, 30 to 40 of solution.
#[test]
fn two_step_problems_are_short() {
    let split = generate(&WordProblemsConfig::default().validate().unwrap(), 0, 2000, 0).unwrap();
    let mean = |text: fn(&Example) -> &str| split.train.iter().map(|e| text(e).len()).sum::<usize>() as f64 / 2000.0;
    let (prompt, completion) = (mean(|e| &e.prompt), mean(|e| &e.completion));
    assert!(prompt < 115.0 && completion < 50.0, "{prompt} {completion}");
}
