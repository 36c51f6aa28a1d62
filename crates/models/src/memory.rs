//! How much memory a training step takes on a GPU, counted from shapes.

use crate::config::{Activation, ModelConfig, Positions};
use crate::precision::Precision;

/// Bytes of logits in `f32` that exist at one time on a GPU, at most.
const LOGITS: u128 = 512 << 20;

impl ModelConfig {
    /// How many numbers the parameters are, but for gains and biases.
    fn weights(&self) -> u128 {
        let [vocabulary, context, layers, width, mlp_width] =
            [self.vocabulary, self.context, self.layers, self.width, self.mlp_width].map(|size| size as u128);
        let [query_width, kv_width] = [self.query_width(), self.kv_width()].map(|size| size as u128);
        let tables = if self.tied { vocabulary } else { 2 * vocabulary };
        let positions = if self.positions == Positions::Learned { context } else { 0 };
        let mlp = if self.activation == Activation::SwiGlu { 3 } else { 2 };
        (tables + positions) * width + layers * width * (2 * query_width + 2 * kv_width + mlp * mlp_width)
    }

    /// How many numbers adapters of a rank are, on every map of every block.
    fn adapters(&self, rank: usize) -> u128 {
        let [layers, width, mlp_width, query_width, kv_width, rank] =
            [self.layers, self.width, self.mlp_width, self.query_width(), self.kv_width(), rank].map(|n| n as u128);
        let mlp = if self.activation == Activation::SwiGlu { 3 } else { 2 };
        rank * layers * (2 * (width + query_width) + 2 * (width + kv_width) + mlp * (width + mlp_width))
    }

    /// About how many bytes a training step with AdamW takes on a GPU, with `tokens` going through the network at a
    /// time: weights, gradients and state; what every block saves for its backward; one block's gradients; a chunk of
    /// logits. Muon takes less state and as much more for its products.
    pub fn step_bytes(&self, tokens: usize, precision: Precision) -> u64 {
        // Weights and their successors, gradients, two moments.
        self.bytes(tokens, precision, 4 * 5 * self.weights(), 0)
    }

    /// The same where LoRA's adapters of a rank are trained, on every map, and all other weights are frozen: they have
    /// no successors, gradients or state.
    pub fn adapter_step_bytes(&self, tokens: usize, precision: Precision, rank: usize) -> u64 {
        self.bytes(tokens, precision, 4 * self.weights() + 4 * 5 * self.adapters(rank), rank)
    }

    fn bytes(&self, tokens: usize, precision: Precision, held: u128, rank: usize) -> u64 {
        let [tokens, vocabulary, layers, width, kv_width, mlp_width, heads] =
            [tokens, self.vocabulary, self.layers, self.width, self.kv_width(), self.mlp_width, self.heads]
                .map(|size| size as u128);
        let factor = if precision == Precision::Bf16 { 2 } else { 4 };
        let mlp = if self.activation == Activation::SwiGlu { 3 } else { 2 };
        // What is held, and the largest matrix as factors.
        let parameters = held + factor * vocabulary * width;
        // The block's input, its middle; both norms' outputs, queries, attention's output; keys and values; the MLP's.
        let saved = 4 * 2 * width + factor * (4 * width + 2 * kv_width + mlp * mlp_width) + 4 * (heads + 4);
        // What an adapter makes of its map's input.
        let saved = saved + factor * (4 + mlp) * rank as u128;
        let backward = 4 * 4 * width + factor * (4 * width + 2 * kv_width + mlp * mlp_width);
        let logits = (tokens * vocabulary * 4).min(LOGITS);
        let bytes = parameters + tokens * (layers * saved + backward) + logits + logits / 4 * factor;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transformer;

    #[test]
    fn weights_are_those_of_the_network_but_for_its_vectors() {
        let wide = ModelConfig { head_features: Some(16), ..ModelConfig::llama(101, 16, 3, 32, 4, 2) };
        for config in [ModelConfig::gpt2(101, 16, 3, 32, 4), ModelConfig::llama(101, 16, 3, 32, 4, 2), wide] {
            let model = Transformer::new(&config, 0).unwrap();
            let matrices = model.parameters().iter().filter(|(_, p)| p.value.rank() == 2);
            assert_eq!(config.weights(), matrices.map(|(_, p)| p.value.elem_count() as u128).sum::<u128>());
        }
    }

    #[test]
    fn adapters_are_those_of_the_network_and_take_less_than_all_weights() {
        for config in [ModelConfig::gpt2(101, 16, 3, 32, 4), ModelConfig::llama(101, 16, 3, 32, 4, 2)] {
            let mut model = Transformer::new(&config, 0).unwrap();
            let before = model.parameters().count(false);
            model.add_lora(&crate::lora::LoraConfig::all(5), 0).unwrap();
            assert_eq!(config.adapters(5), (model.parameters().count(false) - before) as u128);
        }
        let llama = ModelConfig { mlp_width: 11008, ..ModelConfig::llama(32000, 4096, 32, 4096, 32, 32) };
        let bytes = |rank| llama.adapter_step_bytes(1024, Precision::Bf16, rank) as f64 / 1e9;
        // 27 GB of weights, and what is saved of 1024 tokens.
        assert!(bytes(16) > 27.0 && bytes(16) < bytes(64) && bytes(64) < 40.0, "{} {}", bytes(16), bytes(64));
        assert!(llama.step_bytes(1024, Precision::Bf16) as f64 / 1e9 > 135.0);
    }

    #[test]
    fn a_size_beyond_all_memory_does_not_overflow() {
        let huge = ModelConfig::gpt2(1 << 22, 1 << 20, 1 << 12, 1 << 17, 1 << 10);
        assert!(huge.step_bytes(1 << 40, Precision::F32) > 1 << 60);
        assert_eq!(huge.step_bytes(usize::MAX, Precision::F32), u64::MAX);
    }

    #[test]
    fn memory_grows_with_the_tokens_and_shrinks_with_bf16() {
        let config = ModelConfig::gpt2(50257, 1024, 12, 768, 12);
        let bytes = |sequences: usize, precision| config.step_bytes(sequences * 1024, precision);
        assert!(bytes(32, Precision::F32) > bytes(32, Precision::Bf16));
        assert!(bytes(32, Precision::Bf16) > bytes(16, Precision::Bf16));
        // 20 bytes a parameter and some 30 kB a token and layer at the least.
        assert!(bytes(16, Precision::Bf16) > 124_000_000 * 20 + 16 * 1024 * 12 * 25_000);
    }
}
