//! The tokens of a language and their roles.

use std::ops::Range;

/// A token, as its number in the vocabulary.
pub type Token = u16;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Ends every document.
    End,
    /// Stands between a prompt and its answer.
    Answer,
    /// Opens the documents of one component.
    Marker(usize),
    /// Part of the key of a fact.
    Key(usize),
    /// The value of a fact.
    Value(usize),
    /// A symbol of the patterns and of the processes, which share them.
    Symbol(usize),
}

/// The vocabulary of a language: `End`, `Answer`, then one range for each other role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    markers: Range<usize>,
    keys: Range<usize>,
    values: Range<usize>,
    symbols: Range<usize>,
}

impl Vocabulary {
    /// The token that ends every document.
    pub const END: Token = 0;
    /// The token between prompt and answer.
    pub const ANSWER: Token = 1;

    /// A vocabulary with these numbers of markers, key symbols, values and symbols. Their sum must leave room for the
    /// two special tokens in 16 bits, which [`Language::new`](super::Language::new) checks.
    pub(super) fn new(markers: usize, keys: usize, values: usize, symbols: usize) -> Self {
        let after = |range: &Range<usize>, n| range.end..range.end + n;
        let markers = 2..2 + markers;
        let keys = after(&markers, keys);
        let values = after(&keys, values);
        let symbols = after(&values, symbols);
        Self { markers, keys, values, symbols }
    }

    /// The number of tokens.
    pub fn size(&self) -> usize {
        self.symbols.end
    }

    /// The role of a token, or none if it is beyond the vocabulary.
    pub fn role(&self, token: Token) -> Option<Role> {
        let token = usize::from(token);
        let within = |range: &Range<usize>| range.contains(&token).then(|| token - range.start);
        match token {
            0 => Some(Role::End),
            1 => Some(Role::Answer),
            _ => within(&self.markers)
                .map(Role::Marker)
                .or_else(|| within(&self.keys).map(Role::Key))
                .or_else(|| within(&self.values).map(Role::Value))
                .or_else(|| within(&self.symbols).map(Role::Symbol)),
        }
    }

    /// The token of a role, or none if the vocabulary has no such one.
    pub fn token(&self, role: Role) -> Option<Token> {
        let within = |range: &Range<usize>, i: usize| (i < range.len()).then_some((range.start + i) as Token);
        match role {
            Role::End => Some(Self::END),
            Role::Answer => Some(Self::ANSWER),
            Role::Marker(i) => within(&self.markers, i),
            Role::Key(i) => within(&self.keys, i),
            Role::Value(i) => within(&self.values, i),
            Role::Symbol(i) => within(&self.symbols, i),
        }
    }

    pub(super) fn marker(&self, component: usize) -> Token {
        (self.markers.start + component) as Token
    }

    pub(super) fn first_key(&self) -> Token {
        self.keys.start as Token
    }

    pub(super) fn first_value(&self) -> Token {
        self.values.start as Token
    }

    pub(super) fn first_symbol(&self) -> Token {
        self.symbols.start as Token
    }

    /// A readable name: `.` ends a document, `=` precedes an answer, `#2` opens component 2, `k5` is a key symbol, `v5`
    /// a value, `s5` a symbol.
    pub fn name(&self, token: Token) -> String {
        match self.role(token) {
            Some(Role::End) => ".".to_owned(),
            Some(Role::Answer) => "=".to_owned(),
            Some(Role::Marker(i)) => format!("#{i}"),
            Some(Role::Key(i)) => format!("k{i}"),
            Some(Role::Value(i)) => format!("v{i}"),
            Some(Role::Symbol(i)) => format!("s{i}"),
            None => format!("?{token}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_tokens_are_one_to_one() {
        let vocabulary = Vocabulary::new(3, 0, 5, 7);
        assert_eq!(vocabulary.size(), 17);
        for token in 0..17 {
            assert_eq!(vocabulary.token(vocabulary.role(token).unwrap()), Some(token));
        }
        assert_eq!(vocabulary.role(17), None);
        assert_eq!(vocabulary.token(Role::Key(0)), None);
        let names: Vec<String> = [0, 1, 2, 5, 10].map(|token| vocabulary.name(token)).into();
        assert_eq!(names, [".", "=", "#0", "v0", "s0"]);
    }
}
