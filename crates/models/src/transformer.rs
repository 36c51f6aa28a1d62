//! The decoder-only transformer: construction, loss, gradients, logits.

use candle_core::{DType, Device, Tensor};

use crate::batch::Batch;
use crate::config::{Activation, AttentionBias, ModelConfig, NormKind, Positions};
use crate::init::{self, DEVIATION, Initializer};
use crate::layers::{Block, BlockSaved, Linear, Norm, Pass};
use crate::ops::{self, HeadBackward, RotaryTable, Sum, side_by_side};
use crate::parameters::{Gradients, ParameterId, Parameters, Part, Role};
use crate::{Error, Result};

/// A batch with fewer tokens is not halved: each half would be too little work for its products.
const FEWEST_TOKENS: usize = 2048;
/// Nor are the gradients of a batch with fewer tokens than trained parameters over this computed in halves.
const PARAMETERS_PER_TOKEN: usize = 8192;

/// A decoder-only transformer with its parameters.
#[derive(Debug, Clone)]
pub struct Transformer {
    config: ModelConfig,
    parameters: Parameters,
    pub(crate) blocks: Vec<Block>,
    tokens: ParameterId,
    positions: Option<ParameterId>,
    pub(crate) norm: Norm,
    pub(crate) head: ParameterId,
    rotary: Option<RotaryTable>,
}

/// The loss of a batch, not yet divided by the number of targets.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossSum {
    /// Sum of the cross-entropies, in nats.
    pub sum: f64,
    /// Number of target tokens.
    pub count: usize,
}

/// A [`LossSum`] that may still be under way on a GPU.
#[derive(Debug)]
pub(crate) struct PendingLoss {
    sum: Sum,
    count: usize,
}

impl PendingLoss {
    /// The loss, after the work before it is done.
    pub(crate) fn read(&self) -> Result<LossSum> {
        Ok(LossSum { sum: self.sum.value()?, count: self.count })
    }
}

impl LossSum {
    /// The mean loss in nats per target token; NaN without targets.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// Names and shapes of the parameters while a model is built.
struct Builder<'a> {
    config: &'a ModelConfig,
    parameters: Parameters,
    /// None for a model whose values come from elsewhere.
    initializer: Option<Initializer>,
}

/// A tensor of this shape that takes the memory of one number, until its values are set.
fn unfilled(shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::zeros((), DType::F32, &Device::Cpu)?.broadcast_as(shape)?)
}

impl Builder<'_> {
    /// The RMSNorm of one head's queries or keys, if there is one.
    fn head_norm(&mut self, name: &str) -> Result<Option<Norm>> {
        if !self.config.head_norms {
            return Ok(None);
        }
        let value = self.constant(&[self.config.head_width()], 1.0)?;
        let gain = self.parameters.push(format!("{name}.weight"), Role::Gain, value);
        Ok(Some(Norm { gain, bias: None, kind: NormKind::Rms, eps: self.config.norm_eps }))
    }

    fn norm(&mut self, name: &str) -> Result<Norm> {
        let shape = [self.config.width];
        let (ones, zeros) = (self.constant(&shape, 1.0)?, self.constant(&shape, 0.0)?);
        let gain = self.parameters.push(format!("{name}.weight"), Role::Gain, ones);
        let with_bias = self.config.bias && self.config.norm == NormKind::Layer;
        let bias = match with_bias {
            true => Some(self.parameters.push(format!("{name}.bias"), Role::Bias, zeros)),
            false => None,
        };
        Ok(Norm { gain, bias, kind: self.config.norm, eps: self.config.norm_eps })
    }

    fn matrix(&mut self, name: &str, role: Role, shape: [usize; 2], deviation: f64) -> Result<ParameterId> {
        let value = match &mut self.initializer {
            Some(initializer) => initializer.normal(&shape, deviation)?,
            None => unfilled(&shape)?,
        };
        Ok(self.parameters.push(name, role, value))
    }

    fn constant(&self, shape: &[usize], value: f32) -> Result<Tensor> {
        if self.initializer.is_some() { init::constant(shape, value) } else { unfilled(shape) }
    }

    fn linear(&mut self, part: Part, name: &str, shape: [usize; 2], deviation: f64) -> Result<Linear> {
        let weight = self.matrix(&format!("{name}.weight"), Role::HiddenMatrix(part), shape, deviation)?;
        let of_attention = match self.config.attention_bias {
            AttentionBias::None => false,
            AttentionBias::Inputs => part == Part::Attention && !name.ends_with("o_proj"),
            AttentionBias::All => part == Part::Attention,
        };
        let bias = match self.config.bias || of_attention {
            true => {
                let zeros = self.constant(&shape[..1], 0.0)?;
                Some(self.parameters.push(format!("{name}.bias"), Role::Bias, zeros))
            }
            false => None,
        };
        Ok(Linear { weight, bias, adapter: None })
    }

    fn block(&mut self, index: usize) -> Result<Block> {
        let (width, mlp_width) = (self.config.width, self.config.mlp_width);
        let (query_width, kv_width) = (self.config.query_width(), self.config.kv_width());
        let residual = DEVIATION / (2.0 * self.config.layers as f64).sqrt();
        let name = |part: &str| format!("model.layers.{index}.{part}");
        Ok(Block {
            attention_norm: self.norm(&name("input_layernorm"))?,
            q: self.linear(Part::Attention, &name("self_attn.q_proj"), [query_width, width], DEVIATION)?,
            k: self.linear(Part::Attention, &name("self_attn.k_proj"), [kv_width, width], DEVIATION)?,
            v: self.linear(Part::Attention, &name("self_attn.v_proj"), [kv_width, width], DEVIATION)?,
            o: self.linear(Part::Attention, &name("self_attn.o_proj"), [width, query_width], residual)?,
            q_norm: self.head_norm(&name("self_attn.q_norm"))?,
            k_norm: self.head_norm(&name("self_attn.k_norm"))?,
            mlp_norm: self.norm(&name("post_attention_layernorm"))?,
            gate: match self.config.activation {
                Activation::SwiGlu => {
                    Some(self.linear(Part::Mlp, &name("mlp.gate_proj"), [mlp_width, width], DEVIATION)?)
                }
                Activation::Gelu => None,
            },
            up: self.linear(Part::Mlp, &name("mlp.up_proj"), [mlp_width, width], DEVIATION)?,
            down: self.linear(Part::Mlp, &name("mlp.down_proj"), [width, mlp_width], residual)?,
        })
    }
}

impl Transformer {
    /// A model with initial weights drawn from `seed`.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration does not fit together.
    pub fn new(config: &ModelConfig, seed: u64) -> Result<Self> {
        Self::build(config, Some(Initializer::new(seed)))
    }

    /// A model whose parameters have shapes and no values yet: it takes next to no memory, whatever its size. To be
    /// described, or filled parameter by parameter.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn unfilled(config: &ModelConfig) -> Result<Self> {
        Self::build(config, None)
    }

    fn build(config: &ModelConfig, initializer: Option<Initializer>) -> Result<Self> {
        config.validate()?;
        let mut builder = Builder { config, parameters: Parameters::default(), initializer };
        let table = [config.vocabulary, config.width];
        let tokens = builder.matrix("model.embed_tokens.weight", Role::TokenEmbedding, table, DEVIATION)?;
        let positions = match config.positions {
            Positions::Learned => {
                let shape = [config.context, config.width];
                Some(builder.matrix("model.embed_positions.weight", Role::PositionEmbedding, shape, DEVIATION)?)
            }
            Positions::Rotary { .. } => None,
        };
        let blocks = (0..config.layers).map(|i| builder.block(i)).collect::<Result<Vec<_>>>()?;
        let norm = builder.norm("model.norm")?;
        let head = match config.tied {
            true => tokens,
            false => builder.matrix("lm_head.weight", Role::Head, table, DEVIATION)?,
        };
        let rotary = match config.positions {
            Positions::Rotary { theta, scaling } => {
                Some(RotaryTable::new(config.context, config.head_width(), theta, scaling)?)
            }
            Positions::Learned => None,
        };
        let parameters = builder.parameters;
        Ok(Self { config: config.clone(), parameters, blocks, tokens, positions, norm, head, rotary })
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The parameters, to be changed by an optimizer or a perturbation.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    /// The device that the parameters lie on, where everything about this model is computed.
    pub fn device(&self) -> &Device {
        self.parameters.value(self.tokens).device()
    }

    /// Moves the model to another device; its optimizer is made afterwards.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn move_to(&mut self, device: &Device) -> Result<()> {
        self.parameters.move_to(device)?;
        self.rotary = self.rotary.as_ref().map(|table| table.to_device(device)).transpose()?;
        Ok(())
    }

    /// The blocks and the parameters, for a change of the architecture.
    pub(crate) fn parts_mut(&mut self) -> (&mut Vec<Block>, &mut Parameters) {
        (&mut self.blocks, &mut self.parameters)
    }

    /// The gain of the norm before the head.
    pub(crate) fn last_gain(&self) -> ParameterId {
        self.norm.gain
    }

    /// The head's weight: the token embedding, where they are tied.
    pub(crate) fn head_weight(&self) -> ParameterId {
        self.head
    }

    fn check(&self, ids: &[u32], time: usize) -> Result<()> {
        if time == 0 || time > self.config.context {
            return Err(Error::config("time", time, format!("1 to the context's {} tokens", self.config.context)));
        }
        match ids.iter().position(|&id| id as usize >= self.config.vocabulary) {
            Some(position) => Err(Error::Token { token: ids[position], position, vocabulary: self.config.vocabulary }),
            None => Ok(()),
        }
    }

    pub(crate) fn pass(&self, time: usize) -> Pass<'_> {
        Pass { config: &self.config, parameters: &self.parameters, rotary: self.rotary.as_ref(), time }
    }

    /// Runs the blocks; `keep` is called with what each block's backward would read.
    pub(crate) fn blocks_forward(&self, ids: &[u32], time: usize, mut keep: impl FnMut(BlockSaved)) -> Result<Tensor> {
        self.check(ids, time)?;
        let p = &self.parameters;
        let mut x = ops::embed(ids, p.value(self.tokens), self.positions.map(|id| p.value(id)), time)?;
        for block in &self.blocks {
            let (output, saved) = block.forward(self.pass(time), x)?;
            keep(saved);
            x = output;
        }
        Ok(x)
    }

    /// The final hidden states `[tokens, width]` of rows of `time` tokens, after the last norm: what the head reads.
    ///
    /// # Errors
    /// [`Error::Token`] or [`Error::Config`] if the tokens do not fit the vocabulary or the context.
    pub fn hidden(&self, ids: &[u32], time: usize) -> Result<Tensor> {
        let last = self.blocks_forward(ids, time, drop)?;
        Ok(self.norm.forward(&self.parameters, &last)?.0)
    }

    /// The logits `[tokens, vocabulary]` of rows of `time` tokens.
    ///
    /// # Errors
    /// As [`hidden`](Self::hidden).
    pub fn logits(&self, ids: &[u32], time: usize) -> Result<Tensor> {
        self.head(&self.hidden(ids, time)?)
    }

    /// The logits `[rows, vocabulary]` of some final hidden states `[rows, width]`.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn head(&self, hidden: &Tensor) -> Result<Tensor> {
        Ok(ops::head_logits(hidden, self.parameters.value(self.head), self.parameters.precision())?)
    }

    /// The summed loss of a batch; no gradient is computed.
    ///
    /// # Errors
    /// As [`hidden`](Self::hidden), or if a target is outside the vocabulary.
    pub fn loss(&self, batch: &Batch) -> Result<LossSum> {
        // Before it is halved: an error tells the place in the whole batch.
        self.check(batch.ids(), batch.time())?;
        match self.halves(batch) {
            None => self.loss_of(batch),
            Some([first, second]) => {
                let (first, second) = side_by_side(|| self.loss_of(&first), || self.loss_of(&second));
                let (first, second) = (first?, second?);
                Ok(LossSum { sum: first.sum + second.sum, count: first.count + second.count })
            }
        }
    }

    fn loss_of(&self, batch: &Batch) -> Result<LossSum> {
        let hidden = self.hidden(batch.ids(), batch.time())?;
        let p = &self.parameters;
        let loss = ops::head_loss(&hidden, p.value(self.head), batch.targets(), None, p.precision())?;
        Ok(LossSum { sum: loss.sum.value()?, count: loss.count })
    }

    /// The halves of a batch that go through the network side by side on a CPU, where two threads that never wait for
    /// each other are faster than two that share every product. The sum of two halves has other last bits than the
    /// whole, so whether a batch is halved does not depend on the number of threads.
    fn halves(&self, batch: &Batch) -> Option<[Batch; 2]> {
        let halved = batch.sequences() >= 2 && batch.ids().len() >= FEWEST_TOKENS && self.device().is_cpu();
        let parts = halved.then(|| batch.clone().split(batch.sequences().div_ceil(2)))?;
        parts.try_into().ok()
    }

    /// The summed loss of a batch and the gradients of `scale` times that sum with respect to every trainable
    /// parameter.
    ///
    /// `scale` = 1 / (targets of all micro-batches) gives the gradient of the mean loss.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn gradients(&self, batch: &Batch, scale: f64) -> Result<(LossSum, Gradients)> {
        let (loss, gradients) = self.pending_gradients(batch, scale)?;
        Ok((loss.read()?, gradients))
    }

    /// As [`gradients`](Self::gradients), without waiting for a GPU to have computed the loss.
    pub(crate) fn pending_gradients(&self, batch: &Batch, scale: f64) -> Result<(PendingLoss, Gradients)> {
        // A second set of gradients takes memory and the time of a sum: little, if the batch is not small for the
        // model.
        let small = self.parameters.count(true) > PARAMETERS_PER_TOKEN * batch.ids().len();
        self.check(batch.ids(), batch.time())?;
        let Some([first, second]) = (!small).then(|| self.halves(batch)).flatten() else {
            return self.pending_gradients_of(batch, scale);
        };
        let (first, second) =
            side_by_side(|| self.pending_gradients_of(&first, scale), || self.pending_gradients_of(&second, scale));
        let ((loss, mut gradients), (more_loss, more)) = (first?, second?);
        gradients.accumulate(more)?;
        let sum = Sum::Known(loss.sum.value()? + more_loss.sum.value()?);
        Ok((PendingLoss { sum, count: loss.count + more_loss.count }, gradients))
    }

    fn pending_gradients_of(&self, batch: &Batch, scale: f64) -> Result<(PendingLoss, Gradients)> {
        let (ids, time) = (batch.ids(), batch.time());
        let p = &self.parameters;
        let mut saved_blocks = Vec::with_capacity(self.blocks.len());
        let last = self.blocks_forward(ids, time, |saved| saved_blocks.push(saved))?;
        let (hidden, norm) = self.norm.forward(p, &last)?;
        let mut gradients = Gradients::empty(p.len());
        let backward = HeadBackward { scale: scale as f32, weight: p.get(self.head).trainable };
        let loss = ops::head_loss(&hidden, p.value(self.head), batch.targets(), Some(backward), p.precision())?;
        let sum = PendingLoss { sum: loss.sum, count: loss.count };
        let Some(head) = loss.gradients else {
            return Ok((sum, gradients));
        };
        if let Some(weight) = head.weight {
            gradients.add(self.head, weight)?;
        }
        let mut dx = self.norm.backward(p, (&last, &norm), &head.hidden, None, &mut gradients)?;
        // What a block saved is freed when its gradients are there.
        for (block, saved) in self.blocks.iter().zip(saved_blocks).rev() {
            dx = block.backward(self.pass(time), saved, &dx, &mut gradients, |_, _| Ok(()))?;
        }
        self.embedding_backward(ids, time, &dx, &mut gradients)?;
        Ok((sum, gradients))
    }

    fn embedding_backward(&self, ids: &[u32], time: usize, dx: &Tensor, gradients: &mut Gradients) -> Result<()> {
        let p = &self.parameters;
        if p.get(self.tokens).trainable {
            if gradients.get(self.tokens).is_none() {
                gradients.add(self.tokens, p.value(self.tokens).zeros_like()?)?;
            }
            if let Some(table) = gradients.get(self.tokens) {
                ops::add_rows(table, ids, dx)?;
            }
        }
        if let Some(positions) = self.positions
            && p.get(positions).trainable
        {
            gradients.add(positions, ops::position_gradient(dx, time, self.config.context)?)?;
        }
        Ok(())
    }
}
