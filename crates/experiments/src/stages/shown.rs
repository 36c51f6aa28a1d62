//! An example of a task as a network sees it: which tokens carry loss.

use models::Tokenizer;

use super::tasks::TaskData;
use crate::error::{ExperimentError, Result};

/// The training example number `number` (from 1, in the order of the draw) of a task: a line for each token with its
/// place, its id, whether it carries loss, and its text.
///
/// # Errors
/// If there is no such example, or the tokenizer refuses a token.
pub fn shown(task: &TaskData, tokenizer: &Tokenizer, number: usize) -> Result<String> {
    let name = task.name();
    let Some((example, all)) = task.example(number) else {
        return Ok(format!("{name}: running text, of which every token carries loss\n"));
    };
    let example = example.ok_or_else(|| {
        ExperimentError::value("show-example", number, format!("1 to {all}, the training examples of {name}"))
    })?;
    let (prompt, completion) = (&example.prompt, &example.completion);
    let mut text = format!(
        "{name}: example {number} of {all}, {} tokens, of which {} carry loss\nplace     id  loss  token\n",
        prompt.len() + completion.len(),
        completion.len()
    );
    let marked = prompt.iter().map(|id| (id, "")).chain(completion.iter().map(|id| (id, "loss")));
    for (place, (id, loss)) in marked.enumerate() {
        let token = match *id == tokenizer.end_of_text() {
            true => "end of text".into(),
            false => format!("{:?}", tokenizer.decode(&[*id])?),
        };
        text.push_str(&format!("{place:>5}  {id:>5}  {loss:<4}  {token}\n"));
    }
    Ok(text)
}
