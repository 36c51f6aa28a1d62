//! The form in which all text tasks hand over their instances.

use serde::{Deserialize, Serialize};

/// One instance of a text task.
///
/// The text of a training sequence is `prompt` followed at once by `completion`; the loss counts the completion only.
/// A decoded continuation of `prompt` is scored by comparing what it answers with `answer`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Example {
    /// What the model is shown. ASCII, ends in a newline.
    pub prompt: String,
    /// What the model is trained to continue with. ASCII, ends in a newline.
    pub completion: String,
    /// The answer that exact match compares, without decoration.
    pub answer: String,
}

/// Training and test examples of a task; no instance is in both, and none is in either twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Examples to train on. A larger request with the same seed begins with these very examples.
    pub train: Vec<Example>,
    /// Examples to test on. Disjoint from the training examples of every seed.
    pub test: Vec<Example>,
}
