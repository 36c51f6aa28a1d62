//! Answers do what the instruction says, and test instances are new.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn valid(min_length: usize, max_length: usize) -> ValidStringInstructionsConfig {
    StringInstructionsConfig { min_length, max_length, ..StringInstructionsConfig::default() }.validate().unwrap()
}

/// Checks an answer by what must hold of it, without the functions that made it.
fn check(said: &str, input: &str, answer: &str) {
    let units: Vec<&str> = input.split(' ').collect();
    let answered: Vec<&str> = if answer == "none" { vec![] } else { answer.split(' ').collect() };
    let multiset = |items: &[String]| {
        let mut items = items.to_vec();
        items.sort();
        items
    };
    let strings = |items: &[&str]| items.iter().map(ToString::to_string).collect::<Vec<String>>();
    let letters = |text: &str| text.chars().map(String::from).collect::<Vec<String>>();
    let x = || said.split("letter ").nth(1).unwrap().chars().next().unwrap();
    let even = |n: &&&str| n.parse::<u32>().unwrap() % 2 == 0;
    if said.contains("backwards") || said.contains("from its end") || said == "Reverse the letters." {
        assert_eq!(answer.len(), input.len());
        assert!((0..input.len()).all(|i| answer.as_bytes()[i] == input.as_bytes()[input.len() - 1 - i]));
    } else if said.contains("last to first") || said.contains("order of the words") {
        assert!((0..units.len()).all(|i| answered[i] == units[units.len() - 1 - i]));
        assert_eq!(answered.len(), units.len());
    } else if said.contains("numbers in order") || said == "Sort the numbers." {
        let values: Vec<u32> = answered.iter().map(|n| n.parse().unwrap()).collect();
        assert!(values.is_sorted());
        assert_eq!(multiset(&strings(&answered)), multiset(&strings(&units)));
    } else if said.contains("words in order") || said == "Sort the words." {
        assert!(answered.is_sorted());
        assert_eq!(multiset(&strings(&answered)), multiset(&strings(&units)));
    } else if said.contains("letters in order") || said == "Sort the letters." {
        assert!(answer.as_bytes().is_sorted());
        assert_eq!(multiset(&letters(answer)), multiset(&letters(input)));
    } else if said.starts_with("Count the letter") || said.starts_with("How many times") {
        assert_eq!(answer.parse::<usize>().unwrap(), input.matches(x()).count());
    } else if said.contains("are even") || said.starts_with("Count the even") {
        assert_eq!(answer.parse::<usize>().unwrap(), units.iter().filter(even).count());
    } else if said.contains("even numbers") || said.contains("odd") {
        assert_eq!(answered, units.iter().filter(even).copied().collect::<Vec<_>>());
    } else if said.contains("each word") {
        assert_eq!(answer.to_lowercase(), input);
        assert!(answered.iter().all(|w| w.starts_with(|c: char| c.is_uppercase()) && w[1..] == w[1..].to_lowercase()));
    } else if said.contains("upper case") || said.contains("capital letters") {
        assert_eq!(answer.to_lowercase(), input);
        assert!(!answer.contains(|c: char| c.is_lowercase()));
    } else if said.contains("vowels") {
        let expected = input.replace(['a', 'e', 'i', 'o', 'u'], "");
        assert_eq!(if answer == "none" { "" } else { answer }, expected);
    } else if said.contains("words with") {
        assert_eq!(answered, units.iter().filter(|w| w.contains(x())).copied().collect::<Vec<_>>());
    } else {
        panic!("unknown instruction {said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn answers_do_what_the_prompt_says(length in 2usize..=12, seed: u64) {
        let split = generate(&valid(length, length), seed, 100, 20).unwrap();
        for example in split.train.iter().chain(&split.test) {
            let lines: Vec<&str> = example.prompt.lines().collect();
            check(lines[0].strip_prefix("Instruction: ").unwrap(), lines[1].strip_prefix("Input: ").unwrap(), &example.answer);
            prop_assert_eq!(&solve(&example.prompt).unwrap(), &example.answer);
            prop_assert!(is_correct(&example.completion, example));
            let longer = example.completion.replace('\n', "x\n");
            prop_assert!(!is_correct(&longer, example));
        }
    }

    /// Instances are compared by input and by the first wording of their instruction.
    #[test]
    fn no_test_instance_is_a_training_instance_of_any_seed(seeds: (u64, u64)) {
        let config = valid(2, 3);
        let identities = |examples: &[Example]| examples.iter().map(|example| {
            let lines: Vec<&str> = example.prompt.lines().collect();
            let instruction = INSTRUCTIONS.iter().find_map(|instruction| {
                let said = |x: u32| instruction.wordings.iter().any(|w| format!("Instruction: {}", w.replace("{x}", &letter(x).to_string())) == lines[0]);
                (0..instruction.letters).find(|&x| said(x)).map(|x| (instruction.wordings[0], x))
            });
            (instruction.unwrap(), lines[1].to_owned())
        }).collect::<BTreeSet<_>>();
        let train = identities(&generate(&config, seeds.0, 3000, 0).unwrap().train);
        let test = identities(&generate(&config, seeds.1, 0, 800).unwrap().test);
        prop_assert_eq!((train.len(), test.len()), (3000, 800));
        prop_assert!(train.is_disjoint(&test));
    }
}

#[test]
fn no_two_instructions_share_a_wording() {
    let all: Vec<&str> = INSTRUCTIONS.iter().flat_map(|instruction| instruction.wordings).copied().collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn only_the_wanted_families_occur() {
    let config =
        StringInstructionsConfig { kinds: "sort+case".parse().unwrap(), ..StringInstructionsConfig::default() }
            .validate()
            .unwrap();
    for example in generate(&config, 0, 200, 0).unwrap().train {
        let said = example.prompt.lines().next().unwrap();
        assert!(["Sort", "order", "upper", "capital"].iter().any(|word| said.contains(word)), "{said}");
    }
}

#[test]
fn bad_parameters_are_named() {
    let message = |config: StringInstructionsConfig| config.validate().unwrap_err().to_string();
    assert_eq!(
        message(StringInstructionsConfig { max_length: 13, ..StringInstructionsConfig::default() }),
        "strings: max_length is 13, expected 2 to 12"
    );
    assert_eq!(
        message(StringInstructionsConfig { min_length: 6, ..StringInstructionsConfig::default() }),
        "strings: min_length is 6, expected 2 to 5"
    );
    let none = StringInstructionsConfig { kinds: [].into_iter().collect(), ..StringInstructionsConfig::default() };
    assert_eq!(message(none), "strings: kinds is none, expected some of reverse+sort+count+case+filter");
    assert_eq!(
        "sort+rhyme".parse::<Kinds>().unwrap_err(),
        "kinds is \"rhyme\", expected some of reverse+sort+count+case+filter, joined by +"
    );
}

#[test]
fn prompts_of_another_form_are_refused() {
    for (prompt, found) in [
        ("Sort the words.\n", "Sort the words."),
        ("Instruction: Sort the words.\n", ""),
        ("Instruction: Eat the words.\nInput: a\nOutput:\n", "Eat the words."),
    ] {
        match solve(prompt) {
            Err(Error::Unreadable { found: refused, .. }) => assert_eq!(refused, found),
            other => panic!("{other:?}"),
        }
    }
}
