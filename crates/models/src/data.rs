//! Token data: packed text for language modelling, and prompts with completions for supervised finetuning.
//!
//! Which examples a step sees is a pure function of (seed, step), so that a run resumes without saved state.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::batch::Batch;
use crate::ops::IGNORE;
use crate::{Error, Result};

/// Every item once an epoch, in an order drawn from the seed and the epoch.
#[derive(Debug, Clone)]
struct Shuffle {
    seed: u64,
    count: usize,
    epoch: Option<u64>,
    order: Vec<u32>,
}

impl Shuffle {
    fn new(count: usize, seed: u64) -> Self {
        Self { seed, count, epoch: None, order: Vec::new() }
    }

    /// The item at place `index` of the endless sequence of epochs.
    fn item(&mut self, index: u64) -> usize {
        let epoch = index / self.count as u64;
        if self.epoch != Some(epoch) {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream(epoch);
            self.order = (0..self.count as u32).collect();
            self.order.shuffle(&mut rng);
            self.epoch = Some(epoch);
        }
        self.order[(index % self.count as u64) as usize] as usize
    }
}

/// Tokens one after the other that may lie anywhere, on disk for instance.
pub trait TokenStream: std::fmt::Debug + Send + Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// Reads the tokens from place `start` on, as many as `into` holds.
    ///
    /// # Errors
    /// If they cannot be read.
    fn read(&self, start: usize, into: &mut [u32]) -> Result<()>;
}

/// A text in tokens: in memory, or a part of a stream.
#[derive(Debug, Clone)]
pub enum Tokens {
    /// In memory.
    Memory(Arc<[u32]>),
    /// Some of the tokens of a stream.
    Stream(Arc<dyn TokenStream>, Range<usize>),
}

impl From<Arc<[u32]>> for Tokens {
    fn from(tokens: Arc<[u32]>) -> Self {
        Self::Memory(tokens)
    }
}

impl Tokens {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(tokens) => tokens.len(),
            Self::Stream(_, range) => range.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tokens from place `start` on, `count` of them.
    ///
    /// # Errors
    /// If they cannot be read.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn window(&self, start: usize, count: usize) -> Result<Cow<'_, [u32]>> {
        match self {
            Self::Memory(tokens) => Ok(Cow::Borrowed(&tokens[start..start + count])),
            Self::Stream(stream, range) => {
                assert!(start + count <= range.len(), "{count} tokens from {start} on of {}", range.len());
                let mut read = vec![0; count];
                stream.read(range.start + start, &mut read)?;
                Ok(Cow::Owned(read))
            }
        }
    }
}

/// A source of training batches.
pub trait BatchSource {
    /// The `sequences` rows of step `step`, from 0.
    ///
    /// # Errors
    /// If the data does not make a batch.
    fn batch(&mut self, step: u64, sequences: usize) -> Result<Batch>;
}

/// One long stream of tokens cut into windows of `time` + 1 without padding.
#[derive(Debug, Clone)]
pub struct PackedText {
    tokens: Tokens,
    time: usize,
    shuffle: Shuffle,
}

impl PackedText {
    /// Windows of `time` inputs (each with the next token as its target) over `tokens`, shuffled by `seed`.
    ///
    /// The cut is shifted by a random offset below `time` that also follows from the seed.
    ///
    /// # Errors
    /// [`Error::TooFewTokens`] if there is not one window.
    pub fn new(tokens: impl Into<Tokens>, time: usize, seed: u64) -> Result<Self> {
        let tokens = tokens.into();
        if time == 0 || tokens.len() < 2 * time + 1 {
            return Err(Error::TooFewTokens { what: "packed text", found: tokens.len(), expected: 2 * time + 1 });
        }
        let windows = (tokens.len() - 1) / time - 1;
        Ok(Self { tokens, time, shuffle: Shuffle::new(windows, seed) })
    }

    /// Windows in an epoch.
    pub fn windows(&self) -> usize {
        self.shuffle.count
    }

    fn offset(&self) -> usize {
        let mut rng = ChaCha8Rng::seed_from_u64(self.shuffle.seed);
        rng.set_stream(u64::MAX);
        rng.random_range(0..self.time)
    }

    /// `count` windows spread evenly over the text (all of them if there are fewer), in batches of at most `sequences`:
    /// held-out text for an evaluation.
    ///
    /// # Errors
    /// As [`Batch::new`].
    pub fn spread(&self, count: usize, sequences: usize) -> Result<Vec<Batch>> {
        let count = count.min(self.windows());
        let starts: Vec<usize> = (0..count).map(|i| i * self.windows() / count * self.time).collect();
        starts.chunks(sequences).map(|starts| self.windows_at(starts)).collect()
    }

    /// Windows number `places` of the first epoch's order, in batches of at most `sequences`; places past the last
    /// window are left out. Ranges that do not overlap have no window in common: held-out text drawn anew for every
    /// seed.
    ///
    /// # Errors
    /// As [`Batch::new`].
    pub fn drawn(&mut self, places: Range<usize>, sequences: usize) -> Result<Vec<Batch>> {
        let last = places.end.min(self.windows());
        let starts: Vec<usize> =
            (places.start..last).map(|place| self.time * self.shuffle.item(place as u64)).collect();
        starts.chunks(sequences).map(|starts| self.windows_at(starts)).collect()
    }

    fn windows_at(&self, starts: &[usize]) -> Result<Batch> {
        let (mut ids, mut targets) = (Vec::new(), Vec::new());
        for &start in starts {
            let window = self.tokens.window(start, self.time + 1)?;
            ids.extend(&window[..self.time]);
            targets.extend(&window[1..]);
        }
        Batch::new(ids, targets, self.time)
    }
}

impl BatchSource for PackedText {
    fn batch(&mut self, step: u64, sequences: usize) -> Result<Batch> {
        let offset = self.offset();
        let first = step * sequences as u64;
        let starts: Vec<usize> =
            (0..sequences as u64).map(|i| offset + self.time * self.shuffle.item(first + i)).collect();
        self.windows_at(&starts)
    }
}

/// One supervised example in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// What the model reads; carries no loss.
    pub prompt: Vec<u32>,
    /// What it should answer, with the end of text.
    pub completion: Vec<u32>,
}

/// Supervised examples, one to a row, padded on the right; only completions carry loss.
#[derive(Debug, Clone)]
pub struct Instructions {
    examples: Arc<[Instruction]>,
    shuffle: Shuffle,
}

impl Instructions {
    /// Examples that all fit into `context` tokens, shuffled by `seed`.
    ///
    /// # Errors
    /// [`Error::TooFewTokens`] if there is no example or one with an empty prompt or completion, [`Error::Config`] if
    /// one is longer than the context.
    pub fn new(examples: Arc<[Instruction]>, context: usize, seed: u64) -> Result<Self> {
        if examples.is_empty() || examples.iter().any(|e| e.prompt.is_empty() || e.completion.is_empty()) {
            return Err(Error::TooFewTokens { what: "instructions", found: 0, expected: 1 });
        }
        let longest = examples.iter().map(|e| e.prompt.len() + e.completion.len() - 1).max().unwrap_or(0);
        if longest > context {
            return Err(Error::config(
                "context",
                context,
                format!("at least {longest}, the tokens of the longest example"),
            ));
        }
        let count = examples.len();
        Ok(Self { examples, shuffle: Shuffle::new(count, seed) })
    }

    /// The examples in their own order, in batches of at most `sequences`.
    ///
    /// # Errors
    /// As [`Batch::new`].
    pub fn in_order(&self, sequences: usize) -> Result<Vec<Batch>> {
        let all: Vec<usize> = (0..self.examples.len()).collect();
        all.chunks(sequences).map(|chunk| self.rows(chunk)).collect()
    }

    fn rows(&self, chosen: &[usize]) -> Result<Batch> {
        let chosen: Vec<&Instruction> = chosen.iter().map(|&i| &self.examples[i]).collect();
        let time = chosen.iter().map(|e| e.prompt.len() + e.completion.len() - 1).max().unwrap_or(0);
        let (mut ids, mut targets) = (Vec::new(), Vec::new());
        for example in chosen {
            let (prompt, completion) = (&example.prompt, &example.completion);
            let padding = time + 1 - prompt.len() - completion.len();
            ids.extend(prompt);
            ids.extend(&completion[..completion.len() - 1]);
            ids.extend(std::iter::repeat_n(0, padding));
            targets.extend(std::iter::repeat_n(IGNORE, prompt.len() - 1));
            targets.extend(completion);
            targets.extend(std::iter::repeat_n(IGNORE, padding));
        }
        Batch::new(ids, targets, time)
    }
}

impl BatchSource for Instructions {
    fn batch(&mut self, step: u64, sequences: usize) -> Result<Batch> {
        let first = step * sequences as u64;
        let chosen: Vec<usize> = (0..sequences as u64).map(|i| self.shuffle.item(first + i)).collect();
        self.rows(&chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_epoch_shows_every_window_once_and_a_batch_depends_on_its_step_alone() {
        let tokens: Arc<[u32]> = (0..101).collect();
        let mut text = PackedText::new(tokens, 10, 7).unwrap();
        assert_eq!(text.windows(), 9);
        let starts: BTreeSet<u32> = (0..9).map(|step| text.batch(step, 1).unwrap().ids()[0]).collect();
        assert_eq!(starts.len(), 9);
        let later = text.batch(25, 2).unwrap();
        text.batch(3, 2).unwrap();
        assert_eq!(text.batch(25, 2).unwrap(), later);
        assert_eq!(later.targets()[0], later.ids()[0] + 1);
    }

    /// Numbers that lie nowhere.
    #[derive(Debug)]
    struct Counting;

    impl TokenStream for Counting {
        fn count(&self) -> usize {
            usize::MAX
        }

        fn read(&self, start: usize, into: &mut [u32]) -> Result<()> {
            into.iter_mut().enumerate().for_each(|(place, id)| *id = (start + place) as u32);
            Ok(())
        }
    }

    #[test]
    fn a_part_of_a_stream_gives_the_batches_of_the_same_tokens_in_memory() {
        let memory: Arc<[u32]> = (500..1501).collect();
        let stream = Tokens::Stream(Arc::new(Counting), 500..1501);
        assert_eq!(stream.len(), memory.len());
        let (mut streamed, mut kept) =
            (PackedText::new(stream, 10, 7).unwrap(), PackedText::new(memory, 10, 7).unwrap());
        for step in 0..3 {
            assert_eq!(streamed.batch(step, 4).unwrap(), kept.batch(step, 4).unwrap());
        }
        assert_eq!(streamed.spread(5, 2).unwrap(), kept.spread(5, 2).unwrap());
        assert_eq!(streamed.drawn(90..120, 2).unwrap(), kept.drawn(90..120, 2).unwrap());
    }

    #[test]
    fn an_evaluation_is_spread_over_the_whole_text() {
        let tokens: Arc<[u32]> = (0..1001).collect();
        let text = PackedText::new(tokens, 10, 7).unwrap();
        let batches = text.spread(4, 3).unwrap();
        let starts: Vec<u32> = batches.iter().flat_map(|batch| batch.ids().chunks(10).map(|row| row[0])).collect();
        assert_eq!(starts, [0, 240, 490, 740]);
        assert_eq!(text.spread(1000, 3).unwrap().iter().map(Batch::sequences).sum::<usize>(), text.windows());
    }

    #[test]
    fn draws_of_a_seed_share_no_window_and_another_seed_draws_others() {
        let tokens: Arc<[u32]> = (0..1001).collect();
        let draw = |seed, places| {
            let batches = PackedText::new(tokens.clone(), 10, seed).unwrap().drawn(places, 3).unwrap();
            batches.iter().flat_map(|batch| batch.ids().chunks(10).map(|row| row[0])).collect::<Vec<u32>>()
        };
        let (first, second) = (draw(7, 0..20), draw(7, 20..40));
        assert_eq!((first.len(), second.len()), (20, 20));
        assert!(first.iter().all(|start| !second.contains(start)));
        assert_ne!(first, draw(8, 0..20));
        assert_eq!(draw(7, 90..1000).len(), 9);
    }

    #[test]
    fn padding_and_prompts_carry_no_loss() {
        let example = |prompt: &[u32], completion: &[u32]| Instruction {
            prompt: prompt.to_vec(),
            completion: completion.to_vec(),
        };
        let examples = [example(&[1, 2, 3], &[4, 9]), example(&[5], &[6, 9])];
        let data = Instructions::new(examples.into(), 8, 1).unwrap();
        let batch = &data.in_order(2).unwrap()[0];
        assert_eq!(batch.ids(), [1, 2, 3, 4, 5, 6, 0, 0]);
        assert_eq!(batch.targets(), [IGNORE, IGNORE, 4, 9, 6, 9, IGNORE, IGNORE]);
        assert_eq!(batch.target_count(), 4);
    }

    #[test]
    fn an_example_longer_than_the_context_is_refused() {
        let examples = [Instruction { prompt: vec![1; 6], completion: vec![2; 4] }];
        let message = Instructions::new(examples.into(), 8, 1).unwrap_err().to_string();
        assert!(message.contains("at least 9"), "{message}");
    }
}
