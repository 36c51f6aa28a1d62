//! Smoothed n-gram models, the baselines that a trained network has to beat.

use std::collections::HashMap;

/// What is subtracted from every count.
const DISCOUNT: f64 = 0.75;

/// Counts of one order: how often a context and a continuation of it occur.
#[derive(Debug, Default)]
struct Order {
    pairs: HashMap<(u64, u32), u32>,
    contexts: HashMap<u64, Context>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Context {
    count: u32,
    continuations: u32,
}

/// An n-gram model with absolute discounting, each order interpolated with the one below and the lowest with the
/// uniform distribution (Ney, Essen and Kneser 1994).
///
/// p(w | h) = max(c(h w) - D, 0) / c(h) + D n(h) / c(h) p(w | h'), with n(h) the number of different continuations of h
/// and h' the context without its first token.
#[derive(Debug)]
pub(super) struct NGram {
    orders: Vec<Order>,
    vocabulary: usize,
}

/// The last `length` tokens before `position` as one number; unique for up to three tokens below 2^21.
fn context(tokens: &[u32], position: usize, length: usize) -> u64 {
    tokens[position - length..position].iter().fold(1, |key, &token| key << 21 | u64::from(token))
}

impl NGram {
    /// Counts n-grams of up to `order` tokens (1 to 4).
    pub(super) fn train(tokens: &[u32], vocabulary: usize, order: usize) -> Self {
        let mut orders: Vec<Order> = (0..order.clamp(1, 4)).map(|_| Order::default()).collect();
        for position in 0..tokens.len() {
            for (length, counts) in orders.iter_mut().enumerate().take(position + 1) {
                let key = context(tokens, position, length);
                let pair = counts.pairs.entry((key, tokens[position])).or_insert(0);
                let context = counts.contexts.entry(key).or_default();
                context.continuations += u32::from(*pair == 0);
                context.count += 1;
                *pair += 1;
            }
        }
        Self { orders, vocabulary }
    }

    /// The probability of the token at `position` given those before it.
    pub(super) fn probability(&self, tokens: &[u32], position: usize) -> f64 {
        let mut p = 1.0 / self.vocabulary as f64;
        for (length, counts) in self.orders.iter().enumerate().take(position + 1) {
            let key = context(tokens, position, length);
            let Some(context) = counts.contexts.get(&key) else { break };
            let count = counts.pairs.get(&(key, tokens[position])).copied().unwrap_or(0);
            let total = f64::from(context.count);
            p = (f64::from(count) - DISCOUNT).max(0.0) / total
                + DISCOUNT * f64::from(context.continuations) / total * p;
        }
        p
    }

    /// The mean of -ln p over the tokens from the second on of all `windows` together, in nats; like a network, the
    /// model sees nothing before a window.
    pub(super) fn loss<'a>(&self, windows: impl IntoIterator<Item = &'a [u32]>) -> f64 {
        let (mut sum, mut count) = (0.0, 0);
        for window in windows {
            sum -= (1..window.len()).map(|i| self.probability(window, i).ln()).sum::<f64>();
            count += window.len().saturating_sub(1);
        }
        sum / f64::from(count as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_for_seen_and_unseen_contexts() {
        let train: Vec<u32> = (0..500).map(|i: u32| i * i % 7).collect();
        for order in 1..=3 {
            let model = NGram::train(&train, 9, order);
            for history in [[0, 1], [8, 8], [1, 4]] {
                let total: f64 = (0..9).map(|w| model.probability(&[history[0], history[1], w], 2)).sum();
                assert!((total - 1.0).abs() < 1e-12, "order {order}, after {history:?}: {total}");
            }
        }
    }

    #[test]
    fn a_higher_order_explains_a_pattern_that_a_lower_one_cannot() {
        let text: Vec<u32> = [0, 1, 0, 2].into_iter().cycle().take(400).collect();
        let loss = |order| NGram::train(&text, 3, order).loss([&text[..]]);
        assert!((loss(1) - 1.04).abs() < 0.02, "{}", loss(1));
        assert!((loss(2) - 0.5 * 2f64.ln()).abs() < 0.02, "{}", loss(2));
        assert!(loss(3) < 0.02, "{}", loss(3));
    }
}
