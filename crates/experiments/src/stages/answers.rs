//! A network's answers to questions of a synthetic language.

use std::ops::Range;

use models::Transformer;
use synthetic_lm::language::Token;

use crate::error::Result;

/// Questions that run through the network together.
const ROWS: usize = 128;

/// A document and the part of it that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked<'a> {
    /// The document, as far as that part at least.
    pub(crate) tokens: &'a [Token],
    /// The part.
    pub(crate) part: Range<usize>,
}

/// The most probable token at each place of the part that is asked for, and the loss on the right one in nats. Each is
/// judged after the right ones before it, which finds the same answers to be right as greedy decoding does. Documents
/// are equally long.
pub(crate) fn answers(network: &Transformer, asked: &[Asked<'_>]) -> Result<Vec<Vec<(Token, f64)>>> {
    let mut found = Vec::with_capacity(asked.len());
    for chunk in asked.chunks(ROWS) {
        // The last token is only predicted.
        let time = chunk[0].part.end - 1;
        let ids: Vec<u32> = chunk.iter().flat_map(|asked| asked.tokens[..time].iter().map(|&t| t.into())).collect();
        let logits: Vec<Vec<f32>> = network.logits(&ids, time)?.to_vec2().map_err(models::Error::from)?;
        for (asked, rows) in chunk.iter().zip(logits.chunks(time)) {
            let rows = &rows[asked.part.start - 1..];
            found.push(rows.iter().zip(&asked.tokens[asked.part.clone()]).map(|(row, &t)| read(row, t)).collect());
        }
    }
    Ok(found)
}

/// The most probable token (of equal ones the lowest), and -ln P of the right one.
fn read(logits: &[f32], right: Token) -> (Token, f64) {
    let (mut best, mut top) = (0, f32::NEG_INFINITY);
    for (token, &logit) in logits.iter().enumerate() {
        if logit > top {
            (best, top) = (token, logit);
        }
    }
    let total: f64 = logits.iter().map(|&logit| f64::from(logit - top).exp()).sum();
    (best as Token, total.ln() + f64::from(top - logits[usize::from(right)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_the_logarithm_of_the_softmax() {
        let (predicted, loss) = read(&[0.0, 2.0, 2.0], 0);
        assert_eq!(predicted, 1);
        assert!((loss - (1.0 + 2.0 * f64::exp(2.0)).ln()).abs() < 1e-6);
    }
}
