//! From a numbered instance to its text.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::chain::{Chain, Operation};
use super::stories::{Cast, PEOPLE, Story, Wording};
use crate::Example;

impl Story {
    /// The number of subjects that the story can be about.
    fn subjects(&self) -> usize {
        match self.cast {
            Cast::Person | Cast::Relay => PEOPLE.len(),
            Cast::Thing(things) => things.len(),
        }
    }

    /// The number of pairs of subject and item.
    pub(super) fn surfaces(&self) -> usize {
        self.subjects() * self.items.len()
    }

    /// The wordings of an operation.
    pub(super) fn wordings(&self, operation: Operation) -> &'static [Wording] {
        match operation {
            Operation::Add => self.add,
            Operation::Subtract => self.subtract,
            Operation::Multiply => self.multiply,
            Operation::Divide => self.divide,
        }
    }
}

/// Whom a sentence is about, and the words for them.
#[derive(Clone, Copy)]
struct Subject {
    name: &'static str,
    /// `He`, `he`, `him`, `his` in this order.
    pronouns: [&'static str; 4],
}

impl Subject {
    fn person(index: usize) -> Self {
        let (name, she) = PEOPLE[index];
        Self { name, pronouns: if she { ["She", "she", "her", "her"] } else { ["He", "he", "him", "his"] } }
    }

    fn thing(name: &'static str) -> Self {
        Self { name, pronouns: ["It", "it", "it", "its"] }
    }
}

/// Tells the chain as the given story, with subject and item number `surface` below [`Story::surfaces`]. The wording
/// and the other persons come from `rng`.
pub(super) fn tell(story: &Story, surface: usize, chain: &Chain, rng: &mut ChaCha8Rng) -> Example {
    let (subject_index, item) = (surface / story.items.len(), story.items[surface % story.items.len()]);
    // The protagonist, then others in an order without repetition: a walk through all people with an odd stride, which
    // has no factor in common with their number, a power of two.
    let stride = 1 + 2 * rng.random_range(0..PEOPLE.len() / 2);
    let mut people = (0..).map(|k| Subject::person((subject_index + k * stride) % PEOPLE.len()));
    let mut subject = match story.cast {
        Cast::Person | Cast::Relay => people.next().expect("endless"),
        Cast::Thing(things) => Subject::thing(things[subject_index]),
    };

    let mut prompt = fill(pick(story.openings, rng), subject, "", "", item, chain.start);
    let mut completion = String::new();
    let mut value = chain.start;
    for (k, step) in chain.steps.iter().enumerate() {
        let before = subject;
        let other = people.next().expect("endless");
        if matches!(story.cast, Cast::Relay) {
            subject = other;
        }
        let fitting: Vec<&Wording> =
            story.wordings(step.operation).iter().filter(|w| w.operand.is_none_or(|n| n == step.operand)).collect();
        let template = pick(&fitting, rng).template;
        prompt += " ";
        prompt += &fill(template, subject, before.name, other.name, item, step.operand);

        let result = step.operation.apply(value, step.operand).expect("numbered chains have whole results");
        let calculation = format!("{value}{}{}={result}", step.operation.sign(), step.operand);
        completion += if k == 0 { "" } else { " " };
        let working = story.working[usize::from(k > 0)].replace("{calc}", &calculation);
        completion += &fill(&working, subject, before.name, other.name, item, result);
        value = result;
    }
    prompt += " ";
    prompt += &fill(pick(story.questions, rng), subject, "", "", item, value);
    prompt += "\n";
    Example { prompt, completion: format!("{completion}\n#### {value}\n"), answer: value.to_string() }
}

fn pick<T: Copy>(choices: &[T], rng: &mut ChaCha8Rng) -> T {
    *choices.choose(rng).expect("every story has at least one sentence of each kind")
}

fn fill(template: &str, subject: Subject, prev: &str, friend: &str, item: &str, n: u32) -> String {
    let [upper, lower, object, possessive] = subject.pronouns;
    let slots = [
        ("{name}", subject.name),
        ("{prev}", prev),
        ("{friend}", friend),
        ("{item}", item),
        ("{He}", upper),
        ("{he}", lower),
        ("{him}", object),
        ("{his}", possessive),
    ];
    let text = slots.iter().fold(template.to_owned(), |text, (slot, word)| text.replace(slot, word));
    text.replace("{n}", &n.to_string())
}
