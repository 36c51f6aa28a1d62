//! Greedy decoding of many prompts at once.
//!
//! There is no cache of keys and values: a step runs the whole sequences again, but all prompts together, only as long
//! as the longest unfinished one, and with the head on one token a sequence. Finished sequences leave the batch. For
//! contexts of a few hundred tokens that is fast enough for exact-match scores.

use candle_core::Tensor;

use crate::transformer::Transformer;
use crate::{Error, Result};

/// Sequences that run through the model together.
const ROWS: usize = 64;

/// Continues every prompt with the most probable token until `end` (not included), `limit` new tokens or the context's
/// end.
///
/// # Errors
/// [`Error::TooFewTokens`] for an empty prompt, [`Error::Config`] for one longer than the context.
pub fn greedy(model: &Transformer, prompts: &[Vec<u32>], end: u32, limit: usize) -> Result<Vec<Vec<u32>>> {
    let context = model.config().context;
    for prompt in prompts {
        if prompt.is_empty() {
            return Err(Error::TooFewTokens { what: "prompt", found: 0, expected: 1 });
        }
        if prompt.len() > context {
            return Err(Error::config("prompt", format!("{} tokens", prompt.len()), format!("at most {context}")));
        }
    }
    let mut answers = vec![Vec::new(); prompts.len()];
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|&i| prompts[i].len());
    for chunk in order.chunks(ROWS) {
        let mut active: Vec<(usize, Vec<u32>)> = chunk.iter().map(|&i| (i, prompts[i].clone())).collect();
        while !active.is_empty() {
            let next = next_tokens(model, &active)?;
            let mut kept = Vec::with_capacity(active.len());
            for ((i, mut sequence), token) in active.into_iter().zip(next) {
                if token == end {
                    continue;
                }
                answers[i].push(token);
                sequence.push(token);
                if answers[i].len() < limit && sequence.len() < context {
                    kept.push((i, sequence));
                }
            }
            active = kept;
        }
    }
    Ok(answers)
}

/// The most probable next token of each sequence; on a processor the lower one of equals.
fn next_tokens(model: &Transformer, active: &[(usize, Vec<u32>)]) -> Result<Vec<u32>> {
    let time = active.iter().map(|(_, s)| s.len()).max().unwrap_or(0);
    let mut ids = Vec::with_capacity(active.len() * time);
    for (_, sequence) in active {
        ids.extend(sequence);
        ids.extend(std::iter::repeat_n(0, time - sequence.len()));
    }
    let hidden = model.hidden(&ids, time)?;
    let last: Vec<u32> = active.iter().enumerate().map(|(i, (_, s))| (i * time + s.len() - 1) as u32).collect();
    let hidden = hidden.index_select(&Tensor::new(last, hidden.device())?, 0)?;
    Ok(model.head(&hidden)?.argmax(1)?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{AdamW, Optimizer, Policy, RuleConfig};
    use crate::{Batch, ModelConfig};

    #[test]
    fn decoding_a_batch_equals_decoding_each_prompt_alone() {
        let model = Transformer::new(&ModelConfig::llama(23, 16, 2, 16, 4, 2), 5).unwrap();
        let prompts = vec![vec![1, 2, 3], vec![4], vec![5, 6, 7, 8, 9, 10], vec![11, 12]];
        let together = greedy(&model, &prompts, 0, 8).unwrap();
        for (prompt, answer) in prompts.iter().zip(&together) {
            assert_eq!(&greedy(&model, std::slice::from_ref(prompt), 0, 8).unwrap()[0], answer);
        }
    }

    #[test]
    fn a_memorised_sequence_is_continued_and_ended() {
        let mut model = Transformer::new(&ModelConfig::gpt2(12, 8, 2, 32, 4), 1).unwrap();
        let policy = Policy::uniform(RuleConfig::AdamW(AdamW::default()), 1e-2);
        let mut optimizer = Optimizer::new(model.parameters_mut(), &policy).unwrap();
        let batch = Batch::new(vec![1, 2, 3, 4, 5], vec![2, 3, 4, 5, 0], 5).unwrap();
        for _ in 0..60 {
            crate::train_step(&mut model, &mut optimizer, std::slice::from_ref(&batch), Some(1.0), 1.0).unwrap();
        }
        assert_eq!(greedy(&model, &[vec![1, 2]], 0, 20).unwrap(), [vec![3, 4, 5]]);
    }
}
