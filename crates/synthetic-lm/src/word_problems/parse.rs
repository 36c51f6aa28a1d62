//! Reads a word problem back: the inverse of the grammar, used to check that every prompt says what it is meant to say.

use super::chain::{Chain, Operation, Step};
use super::stories::{Cast, PEOPLE, STORIES, Story};
use crate::Error;

/// Recovers the calculation that a prompt describes, from its text alone.
///
/// # Errors
/// [`Error::Unreadable`] if the text is not a problem of this grammar, or can be read in two ways that differ.
pub fn parse(prompt: &str) -> Result<Chain, Error> {
    let sentences = sentences(prompt);
    let mut readings: Vec<Chain> = Vec::new();
    let mut furthest = (0, unreadable(sentences.first().copied(), "an opening such as \"Tom has 12 books.\""));
    for story in &STORIES {
        match read(story, &sentences) {
            Ok(chain) => readings.push(chain),
            Err(failure) if failure.0 > furthest.0 => furthest = failure,
            Err(_) => {}
        }
    }
    readings.dedup();
    match readings.len() {
        0 => Err(furthest.1),
        1 => Ok(readings.remove(0)),
        _ => Err(unreadable(Some(prompt.trim_end()), "a problem with one reading")),
    }
}

/// The answer to a word problem, from its text alone.
///
/// # Errors
/// As [`parse`]; also if a calculation has no whole, non-negative result.
pub fn solve(prompt: &str) -> Result<u32, Error> {
    parse(prompt)?.answer().ok_or_else(|| unreadable(Some(prompt.trim_end()), "whole, non-negative results"))
}

fn unreadable(found: Option<&str>, expected: &'static str) -> Error {
    Error::Unreadable { task: super::NAME, found: found.unwrap_or_default().to_owned(), expected }
}

/// Sentences with their final mark.
fn sentences(text: &str) -> Vec<&str> {
    text.split_inclusive(['.', '?']).map(str::trim).filter(|sentence| !sentence.is_empty()).collect()
}

/// Reads the sentences as the given story; on failure, how many sentences could be read and what is wrong with the
/// next.
fn read(story: &Story, sentences: &[&str]) -> Result<Chain, (usize, Error)> {
    let opening_error = || (0, unreadable(sentences.first().copied(), "an opening such as \"Tom has 12 books.\""));
    let (first, rest) = sentences.split_first().ok_or_else(opening_error)?;
    let opening = story.openings.iter().find_map(|template| matched(template, first));
    let opening = opening.filter(|m| story.admits(m)).ok_or_else(opening_error)?;
    let (Some(start), Some(mut name), Some(item)) = (opening.number, opening.name, opening.item) else {
        return Err(opening_error());
    };

    let question_error = |at: usize| (at, unreadable(sentences.get(at).copied(), "an operation or a question"));
    let (question, told) = rest.split_last().ok_or_else(|| question_error(1))?;
    let mut steps = Vec::with_capacity(told.len());
    for (k, sentence) in told.iter().enumerate() {
        let (step, new_name) = read_step(story, sentence, name, item).ok_or_else(|| question_error(k + 1))?;
        steps.push(step);
        name = new_name;
    }
    let asked = story.questions.iter().any(|template| {
        matched(template, question)
            .is_some_and(|m| m.name.is_none_or(|n| n == name) && m.item.is_none_or(|i| i == item))
    });
    if asked && !steps.is_empty() { Ok(Chain { start, steps }) } else { Err(question_error(sentences.len() - 1)) }
}

/// The one step that the sentence can mean, and whom the story is about afterwards.
fn read_step<'a>(story: &Story, sentence: &'a str, name: &'a str, item: &str) -> Option<(Step, &'a str)> {
    let mut found: Option<(Step, &str)> = None;
    for operation in Operation::ALL {
        for wording in story.wordings(operation) {
            let Some(m) = matched(wording.template, sentence) else {
                continue;
            };
            let about = match story.cast {
                Cast::Relay => m.name.filter(|&new| m.prev == Some(name) && new != name),
                Cast::Person | Cast::Thing(_) => m.name.is_none_or(|n| n == name).then_some(name),
            };
            let operand = wording.operand.or(m.number);
            if let (Some(about), Some(operand)) = (about, operand)
                && m.item.is_none_or(|i| i == item)
                && story.admits(&m)
            {
                let step = Step { operation, operand };
                if found.is_some_and(|(other, _)| other != step) {
                    return None;
                }
                found = Some((step, about));
            }
        }
    }
    found
}

impl Story {
    /// Whether the words in the slots belong to this story.
    fn admits(&self, found: &Match<'_>) -> bool {
        let is_person = |name: &str| PEOPLE.iter().any(|(person, _)| *person == name);
        let cast = |name: &str| match self.cast {
            Cast::Person | Cast::Relay => is_person(name),
            Cast::Thing(things) => things.contains(&name),
        };
        found.name.is_none_or(cast)
            && found.prev.is_none_or(is_person)
            && found.friend.is_none_or(is_person)
            && found.item.is_none_or(|item| self.items.contains(&item))
    }
}

/// The words found in the slots of a template.
#[derive(Default)]
struct Match<'a> {
    name: Option<&'a str>,
    prev: Option<&'a str>,
    friend: Option<&'a str>,
    item: Option<&'a str>,
    number: Option<u32>,
}

/// Matches a sentence word by word; none if it is not of this template.
fn matched<'a>(template: &str, sentence: &'a str) -> Option<Match<'a>> {
    let mut found = Match::default();
    let mut words = sentence.split(' ');
    for expected in template.split(' ') {
        let word = words.next()?;
        let Some((before, slot, after)) = slot_of(expected) else {
            if word != expected {
                return None;
            }
            continue;
        };
        let filler = word.strip_prefix(before)?.strip_suffix(after)?;
        match slot {
            "n" => found.number = Some(filler.parse().ok()?),
            "name" => found.name = Some(filler),
            "prev" => found.prev = Some(filler),
            "friend" => found.friend = Some(filler),
            "item" => found.item = Some(filler),
            "He" if ["He", "She", "It"].contains(&filler) => {}
            "he" if ["he", "she", "it"].contains(&filler) => {}
            "him" if ["him", "her", "it"].contains(&filler) => {}
            "his" if ["his", "her", "its"].contains(&filler) => {}
            _ => return None,
        }
    }
    words.next().is_none().then_some(found)
}

/// Splits `{item}?` into what stands before the slot, its name, and what stands after it.
fn slot_of(word: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = word.split_once('{')?;
    let (slot, after) = rest.split_once('}')?;
    Some((before, slot, after))
}
