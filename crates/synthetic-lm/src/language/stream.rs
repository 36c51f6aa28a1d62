//! Training text: documents of a language in random order.

use std::ops::Range;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::pattern::Part;
use super::vocabulary::Token;
use super::{Body, Group, Language};
use crate::random;

/// What a document is, and where its answer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The component it belongs to.
    pub component: usize,
    /// What it takes to predict its answer.
    pub group: Group,
    /// The fact, or the instance of the pattern; 0 in a process.
    pub instance: u64,
    /// The answer, as positions in the buffer that the document was appended to; empty in a process.
    pub answer: Range<usize>,
}

/// An endless or finite sequence of documents.
#[derive(Debug, Clone)]
pub struct Stream<'a> {
    language: &'a Language,
    rng: ChaCha8Rng,
    /// The components, and the documents of their pools, that are still to come, last first; none in an endless stream.
    schedule: Option<Vec<(u32, u32)>>,
    /// Tokens of the last document that did not fit into the last [`Stream::fill`], and whether they are answers.
    carry: Vec<(Token, bool)>,
}

impl Language {
    /// An endless stream of independent documents.
    pub fn stream(&self, seed: u64) -> Stream<'_> {
        Stream { language: self, rng: random::stream(seed, "stream"), schedule: None, carry: Vec::new() }
    }

    /// A stream of `documents` documents in which every component, every fact and every training instance occurs as
    /// often as [`Language::exposures`] says, in random order.
    pub fn exact_stream(&self, documents: u32, seed: u64) -> Stream<'_> {
        let mut rng = random::stream(seed, "exact stream");
        let mut schedule = Vec::with_capacity(documents as usize);
        for (component, &total) in self.apportioned(documents.into()).iter().enumerate() {
            match self.exposures(component, documents) {
                Some(exposures) => {
                    for (position, &count) in exposures.iter().enumerate() {
                        schedule.extend(std::iter::repeat_n((component as u32, position as u32), count as usize));
                    }
                }
                None => schedule.extend(std::iter::repeat_n((component as u32, 0), total as usize)),
            }
        }
        schedule.shuffle(&mut rng);
        Stream { language: self, rng, schedule: Some(schedule), carry: Vec::new() }
    }
}

impl Stream<'_> {
    /// Appends the next document to `tokens` and says what it is, or none if the stream has ended.
    pub fn next_document(&mut self, tokens: &mut Vec<Token>) -> Option<Document> {
        let (component, scheduled) = match &mut self.schedule {
            Some(schedule) => {
                schedule.pop().map(|(component, position)| (component as usize, Some(position as usize)))?
            }
            None => (self.language.mixture.sample(&mut self.rng), None),
        };
        let start = tokens.len();
        let (group, instance, answer) = match &self.language.components[component].body {
            Body::Facts(book) => {
                let fact = scheduled.unwrap_or_else(|| book.sample(&mut self.rng));
                tokens.extend_from_slice(book.pool.document(fact));
                (Group::Fact, fact as u64, book.pool.form().answer_range())
            }
            Body::Pattern(book) => match &book.pool {
                Some((pool, examples)) => {
                    let position = scheduled.unwrap_or_else(|| self.rng.random_range(0..*examples));
                    tokens.extend_from_slice(pool.document(position));
                    let group = if position < book.exceptions { Group::Exception } else { Group::Seen };
                    (group, book.instance(Part::Train, position as u64), pool.form().answer_range())
                }
                None => {
                    let position = self.rng.random_range(0..book.instances(Part::Train));
                    let instance = book.instance(Part::Train, position);
                    book.write(instance, tokens);
                    (Group::Seen, instance, book.form().answer_range())
                }
            },
            Body::Process(process) => {
                self.language.write_process(component, process.as_ref(), &mut self.rng, tokens);
                let length = tokens.len() - start;
                (Group::Process, 0, length..length)
            }
        };
        Some(Document { component, group, instance, answer: start + answer.start..start + answer.end })
    }

    /// Fills the buffers, whatever they held, with the next `n` tokens of the stream: documents follow each other
    /// without gap and are cut at the end, to be continued by the next call. `is_answer` tells beside each token
    /// whether it belongs to an answer. Returns the number of tokens, which is less than `n` only when a finite stream
    /// ends.
    pub fn fill(&mut self, n: usize, tokens: &mut Vec<Token>, is_answer: &mut Vec<bool>) -> usize {
        tokens.clear();
        is_answer.clear();
        for (token, answer) in self.carry.drain(..) {
            tokens.push(token);
            is_answer.push(answer);
        }
        while tokens.len() < n {
            let Some(document) = self.next_document(tokens) else {
                break;
            };
            is_answer.resize(document.answer.start, false);
            is_answer.resize(document.answer.end, true);
            is_answer.resize(tokens.len(), false);
        }
        let end = tokens.len().min(n);
        self.carry.extend(tokens[end..].iter().copied().zip(is_answer[end..].iter().copied()));
        tokens.truncate(end);
        is_answer.truncate(end);
        end
    }
}
