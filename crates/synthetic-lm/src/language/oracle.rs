//! What perfect learners of a known kind would lose: the floors against which a model's loss is read.
//!
//! All learners know the form of documents, the shares of the components, and the alphabets. Beyond that each knows
//! what its name says; the derivations stand beside the formulas.

use super::pattern::{Part, PatternBook};
use super::{Body, Group, Language};

/// A kind of perfect learner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Learner {
    /// Knows neither table nor rule: all prompts, and all answers, are equally likely to it.
    Blind,
    /// Has the training pools by heart, with frequencies, and no rule.
    Memory,
    /// Knows every rule, the probabilities of every process, and the share of exceptions, but no single instance.
    Rule,
    /// Knows what both know, and so the true distribution of the training text: its loss is the entropy.
    Both,
}

impl Learner {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Blind, Self::Memory, Self::Rule, Self::Both];

    /// The learner's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blind => "blind",
            Self::Memory => "memory",
            Self::Rule => "rule",
            Self::Both => "both",
        }
    }
}

/// Expected loss on a document, in nats; the choice of the component is not counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// On the tokens before the answer, or on the whole document of a process. Infinite where the learner excludes the
    /// document: held-out prompts, for one that knows the training pool.
    pub prompt: f64,
    /// On the answer.
    pub answer: f64,
}

impl Language {
    /// Expected loss of a learner on a random document of a group (facts by frequency, instances equally often), or
    /// none if the component has none of this group.
    pub fn loss(&self, component: usize, group: Group, learner: Learner) -> Option<Loss> {
        match (&self.components[component].body, group) {
            (Body::Facts(book), Group::Fact) => Some(match learner {
                // Facts have no rule: to know it is to know nothing.
                Learner::Blind | Learner::Rule => {
                    Loss { prompt: book.ln_keys(), answer: (book.config.values as f64).ln() }
                }
                Learner::Memory | Learner::Both => Loss { prompt: book.entropy(), answer: 0.0 },
            }),
            (Body::Pattern(book), _) => (self.available(component, group) > 0).then(|| book.loss(group, learner)),
            (Body::Process(process), Group::Process) => {
                let prompt = match learner {
                    Learner::Blind | Learner::Memory => process.blind(),
                    Learner::Rule | Learner::Both => process.entropy(),
                };
                Some(Loss { prompt, answer: 0.0 })
            }
            _ => None,
        }
    }

    /// Expected loss of a learner on the training text, in nats per token: that of choosing the component and of its
    /// documents, over the mean number of tokens in a document.
    pub fn training_loss(&self, learner: Learner) -> f64 {
        let documents: f64 = (0..self.components.len())
            .map(|component| {
                let loss = self.document_loss(component, learner);
                self.share(component) * (loss.prompt + loss.answer)
            })
            .sum();
        (self.mixture.entropy() + documents) / self.mean_document_length()
    }

    /// Expected number of tokens in a document of the training text.
    pub fn mean_document_length(&self) -> f64 {
        (0..self.components.len()).map(|component| self.share(component) * self.document_length(component)).sum()
    }

    /// Expected number of tokens in a training document of a component, marker and end included.
    pub fn document_length(&self, component: usize) -> f64 {
        match &self.components[component].body {
            Body::Facts(book) => book.pool.form().document() as f64,
            Body::Pattern(book) => book.form().document() as f64,
            Body::Process(process) => process.mean_length() + 2.0,
        }
    }

    /// Expected loss of a learner on a training document of a component, exceptions included.
    pub fn document_loss(&self, component: usize, learner: Learner) -> Loss {
        let groups = match &self.components[component].body {
            Body::Facts(_) => vec![(1.0, Group::Fact)],
            Body::Pattern(book) => {
                vec![(1.0 - book.exception_share(), Group::Seen), (book.exception_share(), Group::Exception)]
            }
            Body::Process(_) => vec![(1.0, Group::Process)],
        };
        let mut mean = Loss { prompt: 0.0, answer: 0.0 };
        for (share, group) in groups {
            if let Some(loss) = self.loss(component, group, learner) {
                mean.prompt += share * loss.prompt;
                mean.answer += share * loss.answer;
            }
        }
        mean
    }
}

impl PatternBook {
    /// The share of the training instances with a random label.
    fn exception_share(&self) -> f64 {
        self.pool.as_ref().map_or(0.0, |(_, examples)| self.exceptions as f64 / *examples as f64)
    }

    fn loss(&self, group: Group, learner: Learner) -> Loss {
        let all_prompts = (self.rule.instances() as f64).ln();
        let all_answers = self.rule.answer_length() as f64 * (self.rule.labels() as f64).ln();
        let held_out = matches!(group, Group::Validation | Group::Test);
        // Training prompts are equally frequent, whether they come from a pool or from the whole training side.
        let pool = self.pool.as_ref().map(|(_, examples)| (*examples as f64).ln());
        match learner {
            Learner::Blind => Loss { prompt: all_prompts, answer: all_answers },
            Learner::Memory => match pool {
                // Nothing occurs often enough to be remembered.
                None => Loss { prompt: all_prompts, answer: all_answers },
                Some(_) if held_out => Loss { prompt: f64::INFINITY, answer: all_answers },
                Some(pool) => Loss { prompt: pool, answer: 0.0 },
            },
            // With e the share of exceptions, the best prediction without knowing which they are gives the rule's
            // answer 1 - e, and each of the N - 1 others e / (N - 1).
            Learner::Rule => {
                let e = self.exception_share();
                let answer = match group {
                    Group::Exception => ln_minus_one(all_answers) - e.ln(),
                    _ => -(1.0 - e).ln(),
                };
                Loss { prompt: all_prompts, answer: answer.abs() }
            }
            Learner::Both => {
                let train = (self.instances(Part::Train) as f64).ln();
                let prompt = if held_out { f64::INFINITY } else { pool.unwrap_or(train) };
                Loss { prompt, answer: 0.0 }
            }
        }
    }
}

/// ln(N - 1) from ln N, for N of at least 2.
fn ln_minus_one(ln_n: f64) -> f64 {
    ln_n + (-(-ln_n).exp()).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_less_inside_the_logarithm() {
        for n in [2.0, 3.0, 59.0, 1e6] {
            assert!((ln_minus_one(f64::ln(n)) - f64::ln(n - 1.0)).abs() < 1e-12);
        }
        assert_eq!(ln_minus_one(400.0), 400.0);
    }
}
