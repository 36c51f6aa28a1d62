//! What the instructions ask for, over which inputs, and how they are worded.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A family of instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Letters of a word, or words, backwards.
    Reverse,
    /// Letters, words or numbers in order.
    Sort,
    /// How often a letter occurs; how many numbers are even.
    Count,
    /// All letters, or the first of each word, in upper case.
    Case,
    /// Without the vowels; only the even numbers; only the words with a letter.
    Filter,
}

impl Kind {
    /// All families.
    pub const ALL: [Self; 5] = [Self::Reverse, Self::Sort, Self::Count, Self::Case, Self::Filter];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reverse => "reverse",
            Self::Sort => "sort",
            Self::Count => "count",
            Self::Case => "case",
            Self::Filter => "filter",
        })
    }
}

/// A set of families, written `reverse+sort`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Kinds(pub(super) BTreeSet<Kind>);

impl Kinds {
    /// All families.
    pub fn all() -> Self {
        Self(Kind::ALL.into())
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        Self(kinds.into_iter().collect())
    }
}

impl FromStr for Kinds {
    /// A line that says what is wrong.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = |name: &str| Kind::ALL.into_iter().find(|kind| kind.to_string() == name);
        let kinds = text.split('+').map(|name| kind(name.trim()).ok_or(name)).collect::<Result<_, _>>();
        kinds.map_err(|name| format!("kinds is {name:?}, expected some of {}, joined by +", Self::all()))
    }
}

impl TryFrom<String> for Kinds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Kinds> for String {
    fn from(kinds: Kinds) -> Self {
        kinds.to_string()
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(Kind::to_string).collect();
        f.write_str(&names.join("+"))
    }
}

/// What the input of an instruction is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// One word of the given first letters of the alphabet.
    Letters(u32),
    /// Words of [`WORDS`], separated by spaces.
    Words,
    /// Numbers from 0 to 99, separated by spaces.
    Numbers,
}

impl Input {
    /// The number of different units at one place.
    pub(super) fn units(self) -> u32 {
        match self {
            Self::Letters(alphabet) => alphabet,
            Self::Words => WORDS.len() as u32,
            Self::Numbers => 100,
        }
    }

    /// The input of `length` units whose numbers, in base [`Input::units`], are the digits of `rank`.
    pub(super) fn text(self, length: usize, mut rank: u128) -> String {
        let base = u128::from(self.units());
        let digits = std::iter::repeat_with(|| {
            let digit = (rank % base) as u32;
            rank /= base;
            digit
        });
        match self {
            Self::Letters(_) => digits.take(length).map(letter).collect(),
            Self::Words => digits.take(length).map(|d| WORDS[d as usize]).collect::<Vec<_>>().join(" "),
            Self::Numbers => digits.take(length).map(|d| d.to_string()).collect::<Vec<_>>().join(" "),
        }
    }
}

/// The letter with a number, from `a` = 0.
pub(super) fn letter(number: u32) -> char {
    char::from(b'a' + number as u8)
}

/// Short common words.
pub(super) const WORDS: [&str; 64] = [
    "air", "arm", "bag", "ball", "bed", "bird", "blue", "book", "box", "bus", "car", "cat", "city", "cold", "cup",
    "day", "dog", "door", "ear", "egg", "eye", "farm", "fire", "fish", "foot", "game", "girl", "gold", "hand", "hat",
    "hill", "home", "ice", "jam", "key", "king", "lake", "leaf", "line", "map", "milk", "moon", "nest", "nose", "oil",
    "page", "pen", "rain", "red", "ring", "road", "salt", "sea", "ship", "sky", "snow", "star", "sun", "tea", "tree",
    "wall", "wind", "wood", "year",
];

/// One instruction: what is done to the input.
pub(super) struct Instruction {
    pub(super) kind: Kind,
    pub(super) input: Input,
    /// Ways to say it; `{x}` is the letter it is about. No two instructions share a wording.
    pub(super) wordings: &'static [&'static str],
    /// The number of letters that `{x}` can be; 1 if there is no `{x}`.
    pub(super) letters: u32,
    /// The answer to an input, given the letter.
    pub(super) apply: fn(&str, char) -> String,
}

fn is_vowel(letter: char) -> bool {
    "aeiou".contains(letter)
}

fn is_even(number: &str) -> bool {
    number.ends_with(['0', '2', '4', '6', '8'])
}

/// The units joined by spaces, or `none` if there are none.
fn join<'a>(units: impl IntoIterator<Item = &'a str>) -> String {
    let joined = units.into_iter().collect::<Vec<_>>().join(" ");
    if joined.is_empty() { "none".to_owned() } else { joined }
}

fn sorted<T, K: Ord>(units: impl Iterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut units: Vec<T> = units.collect();
    units.sort_by_key(key);
    units
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// All instructions.
pub(super) const INSTRUCTIONS: [Instruction; 12] = [
    Instruction {
        kind: Kind::Reverse,
        input: Input::Letters(26),
        wordings: &["Reverse the letters.", "Write the word backwards.", "Spell the word from its end."],
        letters: 1,
        apply: |input, _| input.chars().rev().collect(),
    },
    Instruction {
        kind: Kind::Reverse,
        input: Input::Words,
        wordings: &["Reverse the order of the words.", "Write the words from last to first."],
        letters: 1,
        apply: |input, _| join(input.split(' ').rev()),
    },
    Instruction {
        kind: Kind::Sort,
        input: Input::Letters(26),
        wordings: &["Sort the letters.", "Put the letters in order of the alphabet."],
        letters: 1,
        apply: |input, _| sorted(input.chars(), |&c| c).into_iter().collect(),
    },
    Instruction {
        kind: Kind::Sort,
        input: Input::Words,
        wordings: &["Sort the words.", "Put the words in order of the alphabet."],
        letters: 1,
        apply: |input, _| join(sorted(input.split(' '), |&word| word)),
    },
    Instruction {
        kind: Kind::Sort,
        input: Input::Numbers,
        wordings: &["Sort the numbers.", "Put the numbers in order, smallest first."],
        letters: 1,
        // All have one or two digits, so that a shorter one is smaller.
        apply: |input, _| join(sorted(input.split(' '), |&number| (number.len(), number))),
    },
    Instruction {
        kind: Kind::Count,
        input: Input::Letters(5),
        wordings: &["Count the letter {x}.", "How many times does the letter {x} occur?"],
        letters: 5,
        apply: |input, x| input.chars().filter(|&c| c == x).count().to_string(),
    },
    Instruction {
        kind: Kind::Count,
        input: Input::Numbers,
        wordings: &["Count the even numbers.", "How many of the numbers are even?"],
        letters: 1,
        apply: |input, _| input.split(' ').filter(|number| is_even(number)).count().to_string(),
    },
    Instruction {
        kind: Kind::Case,
        input: Input::Words,
        wordings: &["Change to upper case.", "Write everything in capital letters."],
        letters: 1,
        apply: |input, _| input.to_ascii_uppercase(),
    },
    Instruction {
        kind: Kind::Case,
        input: Input::Words,
        wordings: &["Start each word with a capital letter.", "Make the first letter of each word upper case."],
        letters: 1,
        apply: |input, _| input.split(' ').map(capitalised).collect::<Vec<_>>().join(" "),
    },
    Instruction {
        kind: Kind::Filter,
        input: Input::Letters(26),
        wordings: &["Remove the vowels.", "Keep only the letters that are not vowels."],
        letters: 1,
        apply: |input, _| {
            let kept: String = input.chars().filter(|&c| !is_vowel(c)).collect();
            join([kept.as_str()])
        },
    },
    Instruction {
        kind: Kind::Filter,
        input: Input::Numbers,
        wordings: &["Keep only the even numbers.", "Remove the odd numbers."],
        letters: 1,
        apply: |input, _| join(input.split(' ').filter(|number| is_even(number))),
    },
    Instruction {
        kind: Kind::Filter,
        input: Input::Words,
        wordings: &["Keep only the words with the letter {x}.", "Remove the words without the letter {x}."],
        letters: 5,
        apply: |input, x| join(input.split(' ').filter(|word| word.contains(x))),
    },
];
