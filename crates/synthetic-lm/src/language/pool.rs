//! Documents of one component that are made once and told many times.

use std::ops::Range;

use super::vocabulary::{Token, Vocabulary};

/// Documents of equal form, `marker prompt.. = answer.. .`, one after another.
#[derive(Debug)]
pub(super) struct Pool {
    form: Form,
    tokens: Vec<Token>,
}

/// How long prompt and answer are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) prompt: usize,
    pub(super) answer: usize,
}

impl Form {
    /// Tokens in a document: marker, prompt, `=`, answer, end.
    pub(super) fn document(self) -> usize {
        self.prompt + self.answer + 3
    }

    /// Where the answer stands in a document.
    pub(super) fn answer_range(self) -> Range<usize> {
        self.prompt + 2..self.prompt + 2 + self.answer
    }

    /// Appends a document whose prompt and answer `write` fills in.
    pub(super) fn append(
        self,
        marker: Token,
        document: &mut Vec<Token>,
        write: impl FnOnce(&mut [Token], &mut [Token]),
    ) {
        let start = document.len();
        document.resize(start + self.document(), Vocabulary::END);
        let tokens = &mut document[start..];
        tokens[0] = marker;
        tokens[1 + self.prompt] = Vocabulary::ANSWER;
        let (before, after) = tokens.split_at_mut(1 + self.prompt);
        write(&mut before[1..], &mut after[1..1 + self.answer]);
    }
}

impl Pool {
    pub(super) fn new(prompt: usize, answer: usize) -> Self {
        Self { form: Form { prompt, answer }, tokens: Vec::new() }
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// Adds a document whose prompt and answer `write` fills in.
    pub(super) fn push(&mut self, marker: Token, write: impl FnOnce(&mut [Token], &mut [Token])) {
        self.form.append(marker, &mut self.tokens, write);
    }

    /// The tokens of a document.
    pub(super) fn document(&self, index: usize) -> &[Token] {
        &self.tokens[index * self.form.document()..][..self.form.document()]
    }
}
