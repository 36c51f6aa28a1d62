//! What goes on inside a network: the vectors that its linear maps read, the residual stream, and the gradients of the
//! maps' outputs, handed to a [`Watcher`] batch by batch. What they mean is the watcher's.
//!
//! ```text
//! Residual -> norm -> AttentionInput -> q_proj, k_proj, v_proj -> attention -> AttentionOutput -> o_proj --+
//!    +-----------------------------------------------------------------------------------------------------+
//! Middle -> norm -> MlpInput -> gate_proj, up_proj -> activation -> MlpHidden -> down_proj --> the next Residual
//! the last Residual -> norm -> HeadInput -> head
//! ```

use candle_core::Tensor;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::ops::{self, HeadBackward};
use crate::parameters::{Gradients, ParameterId};
use crate::transformer::Transformer;
use crate::{Error, Result};

/// Tokens whose logits are computed at a time, to draw labels from.
const ROWS: usize = 256;

/// What a stream of vectors, one a token, is in its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamKind {
    /// The residual stream that a block reads; of the layer after the last block, what the last norm reads.
    Residual,
    /// What the maps to queries, keys and values read.
    AttentionInput,
    /// What attention's output map reads: the heads, side by side.
    AttentionOutput,
    /// The residual stream between attention and MLP.
    Middle,
    /// What the MLP's first maps read.
    MlpInput,
    /// What the MLP's last map reads: the hidden units after their activation.
    MlpHidden,
    /// What the head reads; its layer is the one after the last block.
    HeadInput,
}

impl StreamKind {
    /// The name in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Residual => "residual",
            Self::AttentionInput => "attention-input",
            Self::AttentionOutput => "attention-output",
            Self::Middle => "middle",
            Self::MlpInput => "mlp-input",
            Self::MlpHidden => "mlp-hidden",
            Self::HeadInput => "head-input",
        }
    }

    /// Whether a linear map reads it.
    pub fn is_read(self) -> bool {
        !matches!(self, Self::Residual | Self::Middle)
    }
}

/// A stream of vectors: one for each token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    /// The block, from 0; the number of blocks for what comes after them.
    pub layer: usize,
    /// Which of its streams.
    pub kind: StreamKind,
}

/// A linear map inside a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinearMap {
    /// The block, from 0.
    pub layer: usize,
    /// The name of its module, Llama's: `q_proj`, `k_proj`, `v_proj`, `o_proj`, `gate_proj`, `up_proj`, `down_proj`.
    pub module: &'static str,
    /// Its weight, `[outputs, inputs]`.
    pub weight: ParameterId,
}

impl LinearMap {
    /// The stream that it reads.
    pub fn reads(&self) -> Stream {
        let kind = match self.module {
            "q_proj" | "k_proj" | "v_proj" => StreamKind::AttentionInput,
            "o_proj" => StreamKind::AttentionOutput,
            "down_proj" => StreamKind::MlpHidden,
            _ => StreamKind::MlpInput,
        };
        Stream { layer: self.layer, kind }
    }
}

/// Who is shown what goes on inside. Tensors are `[tokens, features]`.
pub trait Watcher {
    /// The vectors of a stream, in a forward pass.
    ///
    /// # Errors
    /// What it cannot do with them; so with gradients.
    fn vectors(&mut self, stream: Stream, vectors: &Tensor) -> Result<()>;

    /// The gradients of a map's outputs y = W x + b: of the *sum* of the tokens' losses, so that a token's row is what
    /// its own output did to its own loss and to those of all later tokens.
    ///
    /// # Errors
    /// As [`vectors`](Self::vectors).
    fn gradients(&mut self, map: LinearMap, gradients: &Tensor) -> Result<()>;
}

/// Whose loss is differentiated.
#[derive(Debug)]
pub enum Labels<'a> {
    /// None: there is no backward pass.
    None,
    /// These, one a token; [`IGNORE`](crate::ops::IGNORE) where there is none.
    Given(&'a [u32]),
    /// One a token, drawn from what the network itself predicts there. The second moment of the output gradients is
    /// then an unbiased estimate of the Gauss-Newton (here also Fisher) curvature of each token's own block.
    Drawn(&'a mut LabelDraws),
}

/// The draws of labels: a function of a seed and of how many were drawn before.
#[derive(Debug, Clone)]
pub struct LabelDraws(ChaCha8Rng);

impl LabelDraws {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// An index drawn with probabilities softmax(`logits`).
    fn draw(&mut self, logits: &[f32]) -> u32 {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: &f32| f64::from(logit - most).exp();
        let mut left = self.0.random::<f64>() * logits.iter().map(weight).sum::<f64>();
        for (index, logit) in logits.iter().enumerate() {
            left -= weight(logit);
            if left < 0.0 {
                return index as u32;
            }
        }
        // Rounding left a trace of weight behind the last entry.
        logits.len() as u32 - 1
    }
}

impl Transformer {
    /// The linear maps of all blocks.
    pub fn linear_maps(&self) -> impl Iterator<Item = LinearMap> {
        self.blocks.iter().enumerate().flat_map(|(layer, block)| {
            block.linears().map(move |(module, linear)| LinearMap { layer, module, weight: linear.weight })
        })
    }

    /// Shows a watcher the inside of the network on rows of `time` tokens: every stream of the forward pass and, with
    /// labels, the output gradients of every linear map inside the blocks, from the last block to the first.
    ///
    /// The gradient of no weight is computed.
    ///
    /// # Errors
    /// As [`hidden`](Self::hidden), if a given label is outside the vocabulary or there are not as many as tokens, and
    /// those of the watcher.
    pub fn watch(&self, ids: &[u32], time: usize, labels: Labels<'_>, watcher: &mut dyn Watcher) -> Result<()> {
        let mut frozen = self.clone();
        frozen.parameters_mut().train_members([]);
        frozen.watch_frozen(ids, time, labels, watcher)
    }

    fn watch_frozen(&self, ids: &[u32], time: usize, labels: Labels<'_>, watcher: &mut dyn Watcher) -> Result<()> {
        let p = self.parameters();
        let mut saved_blocks = Vec::with_capacity(self.blocks.len());
        let last = self.blocks_forward(ids, time, |saved| saved_blocks.push(saved))?;
        for (layer, saved) in saved_blocks.iter().enumerate() {
            let mut show = |kind, vectors: &Tensor| watcher.vectors(Stream { layer, kind }, vectors);
            show(StreamKind::Residual, &saved.input)?;
            show(StreamKind::AttentionInput, &saved.attention_input)?;
            show(StreamKind::AttentionOutput, &saved.attended)?;
            show(StreamKind::Middle, &saved.middle)?;
            show(StreamKind::MlpInput, &saved.mlp_input)?;
            show(StreamKind::MlpHidden, &saved.hidden)?;
        }
        let layer = self.blocks.len();
        watcher.vectors(Stream { layer, kind: StreamKind::Residual }, &last)?;
        let (hidden, norm) = self.norm.forward(p, &last)?;
        watcher.vectors(Stream { layer, kind: StreamKind::HeadInput }, &hidden)?;
        let drawn: Vec<u32>;
        let labels = match labels {
            Labels::None => return Ok(()),
            Labels::Given(labels) => labels,
            Labels::Drawn(draws) => {
                drawn = self.draw_labels(&hidden, draws)?;
                &drawn
            }
        };
        let mut gradients = Gradients::empty(p.len());
        let backward = HeadBackward { scale: 1.0, weight: false };
        let loss = ops::head_loss(&hidden, p.value(self.head), labels, Some(backward), p.precision())?;
        let Some(head) = loss.gradients else { return Err(Error::NoTargets) };
        let mut dx = self.norm.backward(p, (&last, &norm), &head.hidden, None, &mut gradients)?;
        for (layer, (block, saved)) in self.blocks.iter().zip(saved_blocks).enumerate().rev() {
            let weights: Vec<_> = block.linears().map(|(module, linear)| (module, linear.weight)).collect();
            let seen = |module: &'static str, gradients: &Tensor| {
                let weight = weights.iter().find(|(name, _)| *name == module).map(|&(_, weight)| weight);
                weight.map_or(Ok(()), |weight| watcher.gradients(LinearMap { layer, module, weight }, gradients))
            };
            dx = block.backward(self.pass(time), saved, &dx, &mut gradients, seen)?;
        }
        Ok(())
    }

    /// A label for every row of the final hidden states.
    fn draw_labels(&self, hidden: &Tensor, draws: &mut LabelDraws) -> Result<Vec<u32>> {
        let tokens = hidden.dim(0)?;
        let mut labels = Vec::with_capacity(tokens);
        for first in (0..tokens).step_by(ROWS) {
            let rows = hidden.narrow(0, first, ROWS.min(tokens - first))?.contiguous()?;
            for logits in self.head(&rows)?.to_vec2::<f32>()? {
                labels.push(draws.draw(&logits));
            }
        }
        Ok(labels)
    }
}
