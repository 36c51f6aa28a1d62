//! The form in which all text tasks hand over their instances.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One instance of a text task.
///
/// The text of a training sequence is `prompt` followed at once by `completion`; the loss counts the completion only.
/// A decoded continuation of `prompt` is scored by comparing what it answers with `answer`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Example {
    /// What the model is shown. ASCII, ends in a newline.
    pub prompt: String,
    /// What the model is trained to continue with. ASCII, ends in a newline.
    pub completion: String,
    /// The answer that exact match compares, without decoration.
    pub answer: String,
}

/// Exact match on `test` of a model that always gives the most frequent answer of `train` (of equally frequent ones,
/// the first in alphabetical order): what exact match has to be read against. 0 if either is empty.
pub fn constant_baseline(train: &[Example], test: &[Example]) -> f64 {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for example in train {
        *counts.entry(&example.answer).or_default() += 1;
    }
    let most_frequent = counts.iter().rev().max_by_key(|(_, count)| **count).map(|(answer, _)| *answer);
    let right = test.iter().filter(|example| Some(example.answer.as_str()) == most_frequent).count();
    right as f64 / test.len().max(1) as f64
}

/// Training and test examples of a task; no instance is in both, and none is in either twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Examples to train on. A larger request with the same seed begins with these very examples.
    pub train: Vec<Example>,
    /// Examples to test on. Disjoint from the training examples of every seed.
    pub test: Vec<Example>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constant_answer_is_the_most_frequent_one_of_the_training_examples() {
        let examples = |answers: &[&str]| -> Vec<Example> {
            let example = |answer: &&str| Example { answer: answer.to_string(), ..Example::default() };
            answers.iter().map(example).collect()
        };
        let baseline = |train: &[&str], test: &[&str]| constant_baseline(&examples(train), &examples(test));
        assert_eq!(baseline(&["1", "2", "2", "3"], &["2", "1", "1", "1"]), 0.25);
        assert_eq!(baseline(&["2", "1"], &["1", "2", "2"]), 1.0 / 3.0);
        assert_eq!(baseline(&[], &["1"]), 0.0);
        assert_eq!(baseline(&["1"], &[]), 0.0);
    }
}
