//! Questions to ask a model: documents with known answers, by what it takes to answer them.

use std::ops::Range;

use super::pattern::Part;
use super::vocabulary::Token;
use super::{Body, Group, Language};
use crate::Error;
use crate::permutation::Permutation;
use crate::random;

/// A document whose answer a model is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// The component it belongs to.
    pub component: usize,
    /// What it takes to answer.
    pub group: Group,
    /// The fact, or the instance of the pattern.
    pub instance: u64,
    /// The whole document. The tokens before the answer are what the model is shown.
    pub tokens: Vec<Token>,
    /// The right answer's place in `tokens`: what training text says where the instance occurs in it, and what the rule
    /// says where it does not.
    pub answer: Range<usize>,
    /// What the rule says: differs from the right answer on exceptions only; none for facts.
    pub rule_answer: Option<Vec<Token>>,
    /// The expected share of the documents of an endless stream that are this one; 0 where it is held out.
    pub frequency: f64,
}

impl Probe {
    /// What the model is shown.
    pub fn prompt(&self) -> &[Token] {
        &self.tokens[..self.answer.start]
    }

    /// The right answer.
    pub fn label(&self) -> &[Token] {
        &self.tokens[self.answer.clone()]
    }
}

impl Language {
    /// The number of different probes of a group in a component; 0 if it has none of this group.
    pub fn available(&self, component: usize, group: Group) -> u64 {
        match (&self.components[component].body, group) {
            (Body::Facts(book), Group::Fact) => book.config.count as u64,
            (Body::Pattern(book), Group::Seen) => match book.pool {
                Some((_, examples)) => (examples - book.exceptions) as u64,
                None => book.instances(Part::Train),
            },
            (Body::Pattern(book), Group::Exception) => book.exceptions as u64,
            (Body::Pattern(book), Group::Validation) => book.instances(Part::Validation),
            (Body::Pattern(book), Group::Test) => book.instances(Part::Test),
            _ => 0,
        }
    }

    /// `n` different probes of a group, chosen by `seed`; a larger number begins with the smaller one.
    ///
    /// # Errors
    /// [`Error::TooFewInstances`] if there are not as many.
    pub fn probes(&self, component: usize, group: Group, n: usize, seed: u64) -> Result<Vec<Probe>, Error> {
        let body = &self.components[component].body;
        let available = self.available(component, group);
        if n as u64 > available {
            let available = available.into();
            return Err(Error::TooFewInstances { task: body.name(), side: group.name(), asked: n, available });
        }
        let order = Permutation::new(available.into(), random::derive(seed, "probes"));
        Ok((0..n).map(|k| self.probe(component, group, order.apply(k as u128) as u64)).collect())
    }

    fn probe(&self, component: usize, group: Group, position: u64) -> Probe {
        let share = self.share(component);
        match &self.components[component].body {
            Body::Facts(book) => Probe {
                component,
                group,
                instance: position,
                tokens: book.pool.document(position as usize).to_vec(),
                answer: book.pool.form().answer_range(),
                rule_answer: None,
                frequency: share * book.frequency(position as usize),
            },
            Body::Pattern(book) => {
                let (part, position) = match group {
                    Group::Validation => (Part::Validation, position),
                    Group::Test => (Part::Test, position),
                    Group::Exception => (Part::Train, position),
                    _ => (Part::Train, position + book.exceptions as u64),
                };
                let instance = book.instance(part, position);
                let mut ruled = Vec::new();
                book.write(instance, &mut ruled);
                let answer = book.form().answer_range();
                let rule_answer = Some(ruled[answer.clone()].to_vec());
                let (tokens, frequency) = match (&book.pool, part) {
                    (Some((pool, examples)), Part::Train) => {
                        (pool.document(position as usize).to_vec(), share / *examples as f64)
                    }
                    (None, Part::Train) => (ruled, share / book.instances(Part::Train) as f64),
                    (_, Part::Validation | Part::Test) => (ruled, 0.0),
                };
                Probe { component, group, instance, tokens, answer, rule_answer, frequency }
            }
            Body::Process(_) => unreachable!("a process has no probes, so none can be asked for"),
        }
    }

    /// What the rule of a component answers to a prompt (the tokens between marker and `=`), or none if the component
    /// has no rule or the tokens are not a prompt of it.
    pub fn rule_answer(&self, component: usize, prompt: &[Token]) -> Option<Vec<Token>> {
        let Body::Pattern(book) = &self.components[component].body else {
            return None;
        };
        let mut document = Vec::new();
        book.write(book.read(prompt)?, &mut document);
        Some(document[book.form().answer_range()].to_vec())
    }

    /// ln P of each token of a process's document, marker and end included, given the component and the tokens before;
    /// none if the component is no process or cannot have written the document. The marker has probability 1, and so
    /// has the end, which each process makes certain where it comes.
    pub fn log_probabilities(&self, component: usize, document: &[Token]) -> Option<Vec<f64>> {
        let Body::Process(process) = &self.components[component].body else {
            return None;
        };
        let [marker, body @ .., end] = document else {
            return None;
        };
        let framed = *marker == self.components[component].marker && *end == super::Vocabulary::END;
        let first = self.vocabulary.first_symbol();
        let symbols: Option<Vec<Token>> = body.iter().map(|token| token.checked_sub(first)).collect();
        let inner = process.log_probabilities(&symbols.filter(|_| framed)?)?;
        Some([0.0].into_iter().chain(inner).chain([0.0]).collect())
    }
}
