//! Word problems in the manner of grade-school mathematics, with worked solutions.
//!
//! A problem is a *chain* of one to six calculations, told as one of several stories about a subject and an item. Its
//! identity is (story, subject, item, chain); the choice among wordings is not part of it, so that rewording a training
//! problem never makes a test problem. Difficulty is the number of steps and the largest number.
//!
//! ```text
//! Tom has 12 books. He gives 3 to Ann. The number doubles. How many books are there now?
//! There are 12-3=9 books. Then 9*2=18.
//! #### 18
//! ```
//! The first line is the prompt, the rest the completion. All numbers lie between 2 and the largest; factors and
//! divisors are at most 10; divisions are exact.

mod chain;
mod parse;
mod render;
mod stories;

use serde::{Deserialize, Serialize};

pub use chain::{Chain, Operation, Step};
pub use parse::{parse, solve};

use crate::error::check_range;
use crate::split::{Drawn, Side, SplitSpace, draw};
use crate::{Error, Example, Split, random};
use chain::{ChainSpace, Completions};
use stories::STORIES;

/// The task's name in messages and in the registry.
pub(crate) const NAME: &str = "math";

/// What a test problem must not share with any training problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldOut {
    /// Story, subject, item and chain together: the numbers of a test problem may occur in another story.
    #[default]
    Problem,
    /// The chain: no test problem has the same calculations in the same order as any training problem.
    Chain,
}

/// Difficulty of the problems, before it is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WordProblemsConfig {
    /// Fewest steps, in `1..=6`. Numbers of steps from the fewest to the most are equally frequent.
    pub min_steps: usize,
    /// Most steps, in `1..=6`.
    pub max_steps: usize,
    /// Largest number that occurs, results included, in `10..=1000`.
    pub largest: u32,
    /// How test problems differ from training problems.
    pub held_out: HeldOut,
}

impl Default for WordProblemsConfig {
    /// Two steps, numbers up to 20.
    fn default() -> Self {
        Self { min_steps: 2, max_steps: 2, largest: 20, held_out: HeldOut::Problem }
    }
}

impl WordProblemsConfig {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] names the first parameter outside its range.
    pub fn validate(self) -> Result<ValidWordProblemsConfig, Error> {
        check_range(NAME, "max_steps", self.max_steps, 1..=6)?;
        check_range(NAME, "min_steps", self.min_steps, 1..=self.max_steps)?;
        check_range(NAME, "largest", self.largest, 10..=1000)?;
        Ok(ValidWordProblemsConfig(self))
    }
}

/// A configuration that has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValidWordProblemsConfig(WordProblemsConfig);

impl ValidWordProblemsConfig {
    /// The parameters.
    pub fn get(&self) -> &WordProblemsConfig {
        &self.0
    }
}

/// Generates `n_train` and `n_test` distinct problems. The test problems of every seed are disjoint from the training
/// problems of every seed with the same configuration. Within each number of steps, all feasible sequences of
/// operations and all stories are equally frequent, as long as their instances last.
///
/// # Errors
/// [`Error::TooFewInstances`] if more are asked for than exist.
pub fn generate(config: &ValidWordProblemsConfig, seed: u64, n_train: usize, n_test: usize) -> Result<Split, Error> {
    let space = ProblemSpace::new(config.get());
    Ok(Split { train: space.examples(Side::Train, seed, n_train)?, test: space.examples(Side::Test, seed, n_test)? })
}

/// The number of distinct problems on a side, in all.
pub fn available(config: &ValidWordProblemsConfig, side: Side) -> u128 {
    ProblemSpace::new(config.get()).splits.iter().flatten().map(|space| space.available(side)).sum()
}

/// The number after `####` in a text, or none if there is no such line or no number in it.
pub fn extract_answer(text: &str) -> Option<u64> {
    let after = text.split_once("####")?.1;
    after.lines().next()?.trim().parse().ok()
}

/// Whether a generated continuation of the prompt ends in the right answer. The working is not judged.
pub fn is_correct(generated: &str, example: &Example) -> bool {
    extract_answer(generated).is_some_and(|found| example.answer.parse() == Ok(found))
}

/// All problems of a configuration. A class is a number of steps; a space within it a sequence of operations (first)
/// and a story (second).
struct ProblemSpace {
    chains: Vec<Vec<ChainSpace>>,
    splits: Vec<Vec<SplitSpace>>,
}

impl ProblemSpace {
    fn new(config: &WordProblemsConfig) -> Self {
        let mut shared = Completions::new();
        let (mut chains, mut splits) = (Vec::new(), Vec::new());
        for steps in config.min_steps..=config.max_steps {
            let feasible: Vec<ChainSpace> = (0..4usize.pow(steps as u32))
                .map(|code| (0..steps).map(|k| Operation::ALL[code >> (2 * k) & 3]).collect::<Vec<_>>())
                .map(|operations| ChainSpace::new(&operations, config.largest, &mut shared))
                .filter(|space| space.size() > 0)
                .collect();
            splits.push(
                feasible
                    .iter()
                    .flat_map(|space| {
                        STORIES.iter().enumerate().map(move |(story, s)| (space, story, s.surfaces() as u128))
                    })
                    .map(|(space, story, surfaces)| match config.held_out {
                        HeldOut::Problem => SplitSpace::new(space.size() * surfaces, 1, &space.name(Some(story))),
                        // One name for all stories: they have to part their chains alike.
                        HeldOut::Chain => SplitSpace::new(space.size(), surfaces, &space.name(None)),
                    })
                    .collect(),
            );
            chains.push(feasible);
        }
        Self { chains, splits }
    }

    fn examples(&self, side: Side, seed: u64, n: usize) -> Result<Vec<Example>, Error> {
        let mut rng = random::stream(seed, &format!("{NAME} {side} wording"));
        let drawn = draw(NAME, &self.splits, side, seed, n)?;
        Ok(drawn.iter().map(|drawn| self.example(drawn, &mut rng)).collect())
    }

    fn example(&self, drawn: &Drawn, rng: &mut rand_chacha::ChaCha8Rng) -> Example {
        let chains = &self.chains[drawn.class][drawn.space / STORIES.len()];
        let story = &STORIES[drawn.space % STORIES.len()];
        let surfaces = story.surfaces() as u128;
        let chain = chains.chain(drawn.instance / surfaces);
        render::tell(story, (drawn.instance % surfaces) as usize, &chain, rng)
    }
}

impl ChainSpace {
    fn name(&self, story: Option<usize>) -> String {
        let signs: String = self.operations().iter().map(|operation| operation.sign()).collect();
        match story {
            Some(story) => format!("{NAME} {signs} story {story}"),
            None => format!("{NAME} {signs}"),
        }
    }
}

#[cfg(test)]
mod tests;
