//! Worked examples of generated tasks among the text that networks are pretrained on.
//!
//! A finetuning on such a task then elicits what pretraining has taught, as where a language model that has read
//! arithmetic is finetuned on word problems, instead of teaching something new.

use corpora::Document;
use lab::{hash, seeds};
use serde::{Deserialize, Serialize};
use synthetic_lm::Example;
use synthetic_lm::export::Text;

use crate::error::{ExperimentError, Result};

/// Seed of the examples: one for all pretrainings, as the rest of the text is one for all.
const SEED: u64 = 2;

/// Examples of a task that tell how long they are, and whether the generator still makes the same ones.
const SAMPLE: usize = 256;

/// Which examples, and how much of the text they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mixture {
    /// Generated tasks, which get equal parts. Only problems of a task's training side are read, so that its held-out
    /// ones stay unseen; another `held_out` or `largest` parts its problems in another way.
    pub tasks: Vec<String>,
    /// The examples' share of the bytes to train on, between 0 and 1. The held-out text has none.
    pub share: f64,
}

/// What decides the examples.
#[derive(Debug, Clone, Serialize)]
pub struct MixtureKey {
    share: f64,
    seed: u64,
    /// Of every task, the SHA-256 of its parameters and first examples.
    tasks: Vec<String>,
}

impl Mixture {
    /// Checks every field.
    ///
    /// # Errors
    /// The field with what was found and expected.
    pub fn check(&self) -> Result<()> {
        if self.tasks.is_empty() {
            return Err(ExperimentError::value("corpus.examples.tasks", "none", "at least one"));
        }
        if !(self.share > 0.0 && self.share < 1.0) {
            return Err(ExperimentError::value("corpus.examples.share", self.share, "a number between 0 and 1"));
        }
        self.tasks.iter().try_for_each(|task| examples(task, 1).map(drop))
    }

    /// What decides the examples.
    ///
    /// # Errors
    /// If a task is unknown.
    pub fn key(&self) -> Result<MixtureKey> {
        let of_task = |task: &String| -> Result<String> {
            let mut told = synthetic_lm::task(task)?.parameters().to_string();
            for example in examples(task, SAMPLE)? {
                told.push('\0');
                told.push_str(&Text::from(&example).text);
            }
            Ok(hash::sha256_hex(told.as_bytes()))
        };
        Ok(MixtureKey { share: self.share, seed: SEED, tasks: self.tasks.iter().map(of_task).collect::<Result<_>>()? })
    }

    /// The examples that are their share beside so many bytes of other text, each a document, task by task.
    ///
    /// # Errors
    /// If a task is unknown, or has fewer problems than are needed.
    pub fn documents(&self, bytes: usize) -> Result<Vec<Document>> {
        let wanted = self.share / (1.0 - self.share) * bytes as f64 / self.tasks.len() as f64;
        let mut documents = Vec::new();
        for task in &self.tasks {
            let sample = examples(task, SAMPLE)?;
            let mean =
                sample.iter().map(|example| Text::from(example).text.len()).sum::<usize>() as f64 / SAMPLE as f64;
            // A little more than should be needed; what is too much is left out.
            let drawn = examples(task, (1.1 * wanted / mean) as usize + SAMPLE)?;
            let mut missing = wanted;
            for example in &drawn {
                if missing <= 0.0 {
                    break;
                }
                let Text { text } = example.into();
                missing -= text.len() as f64;
                documents.push(Document { package: String::new(), path: task.clone(), text });
            }
        }
        Ok(documents)
    }
}

fn examples(task: &str, count: usize) -> Result<Vec<Example>> {
    Ok(synthetic_lm::task(task)?.generate(seeds::stream(SEED, &format!("examples of {task}")), count, 0)?.train)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const TASK: &str = "math:min_steps=1,max_steps=1,largest=100,held_out=chain";

    fn mixture(share: f64) -> Mixture {
        Mixture { tasks: vec![TASK.into(), "strings".into()], share }
    }

    #[test]
    fn examples_are_their_share_of_the_bytes_and_every_task_has_as_much() {
        for share in [0.1, 0.5] {
            let documents = mixture(share).documents(200_000).unwrap();
            let bytes = |task: &str| {
                let of_task = documents.iter().filter(|document| document.path == task);
                of_task.map(|document| document.text.len()).sum::<usize>() as f64
            };
            let (math, strings) = (bytes(TASK), bytes("strings"));
            let found = (math + strings) / (math + strings + 200_000.0);
            assert!((found - share).abs() < 0.002, "{found}");
            assert!((math - strings).abs() < 500.0, "{math} and {strings}");
        }
    }

    #[test]
    fn no_chain_of_the_test_is_among_them() {
        let chain = |text: &str| -> Vec<String> {
            let words = text.split([' ', '.', '\n']).filter(|word| word.contains('='));
            words.map(str::to_string).collect()
        };
        let documents = Mixture { tasks: vec![TASK.into()], share: 0.5 }.documents(300_000).unwrap();
        let read: BTreeSet<_> = documents.iter().map(|document| chain(&document.text)).collect();
        assert!(read.len() > 500 && read.iter().all(|chain| chain.len() == 1), "{}", read.len());
        for seed in 0..3 {
            let test = synthetic_lm::task(TASK).unwrap().generate(seed, 0, 200).unwrap().test;
            assert!(test.iter().all(|example| !read.contains(&chain(&example.completion))));
        }
    }

    #[test]
    fn what_cannot_be_mixed_in_is_refused_by_its_field() {
        let refusal = |mixture: Mixture| mixture.check().unwrap_err().to_string();
        assert!(mixture(0.1).check().is_ok());
        assert!(refusal(mixture(0.0)).starts_with("corpus.examples.share: found 0"));
        assert!(refusal(mixture(f64::NAN)).starts_with("corpus.examples.share: found NaN"));
        assert!(refusal(Mixture { tasks: vec![], share: 0.1 }).starts_with("corpus.examples.tasks: found none"));
        assert!(refusal(Mixture { tasks: vec!["poems".into()], share: 0.1 }).contains("poems"));
        let few = Mixture { tasks: vec!["math:largest=10".into()], share: 0.9 };
        assert!(few.documents(100_000_000_000).unwrap_err().to_string().contains("distinct ones exist"));
    }

    #[test]
    fn the_key_follows_tasks_and_share() {
        let key = |mixture: &Mixture| serde_json::to_string(&mixture.key().unwrap()).unwrap();
        let known = key(&mixture(0.1));
        assert_eq!(known, key(&mixture(0.1)));
        assert_ne!(known, key(&mixture(0.2)));
        assert_ne!(known, key(&Mixture { tasks: vec![TASK.into()], share: 0.1 }));
    }
}
