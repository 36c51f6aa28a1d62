//! The parts of a transformer block: a norm, a linear map that may carry a LoRA adapter, and the block itself.
//!
//! A part holds the places of its parameters, not their values; its forward returns what its backward will read.

use candle_core::{DType, Tensor};

use crate::config::{Activation, ModelConfig, NormKind};
use crate::ops::{self, AttentionShape, NormSaved, RotaryTable};
use crate::parameters::{Gradients, ParameterId, Parameters};
use crate::{Precision, Result};

/// The low-rank term of a LoRA-adapted linear map: y += scale x A^T B^T.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adapter {
    pub(crate) a: ParameterId,
    pub(crate) b: ParameterId,
    pub(crate) scale: f64,
}

/// y = x W^T + b, with an optional adapter.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) weight: ParameterId,
    pub(crate) bias: Option<ParameterId>,
    pub(crate) adapter: Option<Adapter>,
}

impl Linear {
    /// The map's output, added to `residual` if there is one.
    pub(crate) fn forward(&self, parameters: &Parameters, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let bias = self.bias.map(|id| parameters.value(id));
        let y = ops::linear(x, parameters.value(self.weight), bias, residual, parameters.precision())?;
        match &self.adapter {
            Some(adapter) => {
                let low = self.low(parameters, adapter, x)?;
                Ok(ops::linear(&low, parameters.value(adapter.b), None, Some(&y), parameters.precision())?)
            }
            None => Ok(y),
        }
    }

    /// scale x A^T, `[tokens, rank]`.
    fn low(&self, parameters: &Parameters, adapter: &Adapter, x: &Tensor) -> Result<Tensor> {
        Ok((ops::matmul_transposed(x, parameters.value(adapter.a), parameters.precision())? * adapter.scale)?)
    }

    /// Adds the parameters' gradients, and appends to `paths` the (gradient, matrix) pairs whose products sum to the
    /// input's gradient.
    pub(crate) fn backward(
        &self,
        parameters: &Parameters,
        x: &Tensor,
        dy: &Tensor,
        gradients: &mut Gradients,
        paths: &mut Vec<(Tensor, Tensor)>,
    ) -> Result<()> {
        let precision = parameters.precision();
        let dy = &ops::as_factor(dy, precision)?;
        if parameters.get(self.weight).trainable {
            gradients.add(self.weight, ops::weight_gradient(dy, x, precision)?)?;
        }
        if let Some(bias) = self.bias
            && parameters.get(bias).trainable
        {
            gradients.add(bias, ops::bias_gradient(dy)?)?;
        }
        paths.push((dy.clone(), parameters.value(self.weight).clone()));
        if let Some(adapter) = &self.adapter {
            let d_low = (ops::matmul(dy, parameters.value(adapter.b), precision)? * adapter.scale)?;
            gradients.add(adapter.b, ops::weight_gradient(dy, &self.low(parameters, adapter, x)?, precision)?)?;
            gradients.add(adapter.a, ops::weight_gradient(&d_low, x, precision)?)?;
            paths.push((d_low, parameters.value(adapter.a).clone()));
        }
        Ok(())
    }
}

/// The gradient of an input that feeds several linear maps; the gradients of their outputs are dropped.
fn joined(paths: Vec<(Tensor, Tensor)>, precision: Precision) -> Result<Tensor> {
    let pairs: Vec<(&Tensor, &Tensor)> = paths.iter().map(|(dy, weight)| (dy, weight)).collect();
    Ok(ops::input_gradient(&pairs, precision)?)
}

/// A LayerNorm or an RMSNorm.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    pub(crate) gain: ParameterId,
    pub(crate) bias: Option<ParameterId>,
    pub(crate) kind: NormKind,
    pub(crate) eps: f64,
}

impl Norm {
    pub(crate) fn forward(&self, parameters: &Parameters, x: &Tensor) -> Result<(Tensor, NormSaved)> {
        let (gain, precision) = (parameters.value(self.gain), parameters.precision());
        Ok(match self.kind {
            NormKind::Layer => ops::layer_norm(x, gain, self.bias.map(|id| parameters.value(id)), self.eps, precision)?,
            NormKind::Rms => ops::rms_norm(x, gain, self.eps, precision)?,
        })
    }

    /// Adds the parameters' gradients and returns the input's, with `residual` added.
    pub(crate) fn backward(
        &self,
        parameters: &Parameters,
        (x, saved): (&Tensor, &NormSaved),
        dy: &Tensor,
        residual: Option<&Tensor>,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let centred = self.kind == NormKind::Layer;
        let found = ops::norm_backward(x, parameters.value(self.gain), saved, dy, residual, centred)?;
        if parameters.get(self.gain).trainable {
            gradients.add(self.gain, found.gain)?;
        }
        if let Some(bias) = self.bias
            && parameters.get(bias).trainable
        {
            gradients.add(bias, found.bias)?;
        }
        Ok(found.input)
    }
}

/// What every block of one pass through the network shares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) parameters: &'a Parameters,
    pub(crate) rotary: Option<&'a RotaryTable>,
    /// Tokens in a sequence.
    pub(crate) time: usize,
}

impl Pass<'_> {
    fn attention_shape(&self, tokens: usize) -> AttentionShape {
        let (config, time) = (self.config, self.time);
        AttentionShape {
            batch: tokens / time,
            time,
            heads: config.heads,
            kv_heads: config.kv_heads,
            width: config.head_width(),
        }
    }
}

/// One pre-norm transformer block: x += attention(norm(x)), then x += mlp(norm(x)).
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) attention_norm: Norm,
    pub(crate) q: Linear,
    pub(crate) k: Linear,
    pub(crate) v: Linear,
    pub(crate) o: Linear,
    /// Of each head's queries and keys, where the network has them.
    pub(crate) q_norm: Option<Norm>,
    pub(crate) k_norm: Option<Norm>,
    pub(crate) mlp_norm: Norm,
    /// Only in a SwiGLU block.
    pub(crate) gate: Option<Linear>,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

/// What the backward of a head norm reads: its input, a row a head and token, and the norm's own.
type HeadNormSaved = (Tensor, NormSaved);

/// Normalises every head of `x` `[tokens, heads * head width]` on its own, if there is a norm.
fn normalise_heads(
    norm: Option<&Norm>,
    parameters: &Parameters,
    x: Tensor,
    head_width: usize,
) -> Result<(Tensor, Option<HeadNormSaved>)> {
    let Some(norm) = norm else { return Ok((x, None)) };
    let (tokens, features) = x.dims2()?;
    // Products in bf16 have bf16 results on a GPU; norms read f32.
    let heads = x.to_dtype(DType::F32)?.reshape((tokens * features / head_width, head_width))?;
    let (y, saved) = ops::rms_norm(&heads, parameters.value(norm.gain), norm.eps, Precision::F32)?;
    Ok((y.to_dtype(x.dtype())?.reshape((tokens, features))?, Some((heads, saved))))
}

/// The gradient of the input of [`normalise_heads`].
fn normalise_heads_backward(
    norm: Option<&Norm>,
    parameters: &Parameters,
    saved: Option<&HeadNormSaved>,
    dy: Tensor,
    gradients: &mut Gradients,
) -> Result<Tensor> {
    let (Some(norm), Some((heads, saved))) = (norm, saved) else { return Ok(dy) };
    let of_heads = dy.to_dtype(DType::F32)?.reshape(heads.shape())?;
    let dx = norm.backward(parameters, (heads, saved), &of_heads, None, gradients)?;
    Ok(dx.to_dtype(dy.dtype())?.reshape(dy.shape())?)
}

/// What a block's backward reads, `[tokens, features]` each.
#[derive(Debug)]
pub(crate) struct BlockSaved {
    pub(crate) input: Tensor,
    attention_norm: NormSaved,
    pub(crate) attention_input: Tensor,
    q_norm: Option<HeadNormSaved>,
    k_norm: Option<HeadNormSaved>,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pub(crate) attended: Tensor,
    log_sums: Tensor,
    pub(crate) middle: Tensor,
    mlp_norm: NormSaved,
    pub(crate) mlp_input: Tensor,
    gate: Option<Tensor>,
    up: Tensor,
    pub(crate) hidden: Tensor,
}

impl Block {
    /// The linear maps with the names of their modules.
    pub(crate) fn linears(&self) -> impl Iterator<Item = (&'static str, &Linear)> {
        let gate = self.gate.as_ref().map(|gate| ("gate_proj", gate));
        let attention = [("q_proj", &self.q), ("k_proj", &self.k), ("v_proj", &self.v), ("o_proj", &self.o)];
        attention.into_iter().chain(gate).chain([("up_proj", &self.up), ("down_proj", &self.down)])
    }

    /// As [`linears`](Self::linears), to be changed.
    pub(crate) fn linears_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Linear)> {
        let gate = self.gate.as_mut().map(|gate| ("gate_proj", gate));
        let attention =
            [("q_proj", &mut self.q), ("k_proj", &mut self.k), ("v_proj", &mut self.v), ("o_proj", &mut self.o)];
        attention.into_iter().chain(gate).chain([("up_proj", &mut self.up), ("down_proj", &mut self.down)])
    }

    pub(crate) fn forward(&self, pass: Pass<'_>, input: Tensor) -> Result<(Tensor, BlockSaved)> {
        let Pass { config, parameters, rotary, time } = pass;
        let (attention_input, attention_norm) = self.attention_norm.forward(parameters, &input)?;
        let turned = |linear: &Linear, norm: Option<&Norm>| -> Result<(Tensor, Option<HeadNormSaved>)> {
            let x = linear.forward(parameters, &attention_input, None)?;
            let (x, saved) = normalise_heads(norm, parameters, x, config.head_width())?;
            Ok(match rotary {
                Some(table) => (ops::rotate(&x, table, time)?, saved),
                None => (x, saved),
            })
        };
        let ((q, q_norm), (k, k_norm)) =
            (turned(&self.q, self.q_norm.as_ref())?, turned(&self.k, self.k_norm.as_ref())?);
        let v = self.v.forward(parameters, &attention_input, None)?;
        let shape = pass.attention_shape(input.dim(0)?);
        let (attended, log_sums) = ops::causal_attention(&q, &k, &v, shape, parameters.precision())?;
        let middle = self.o.forward(parameters, &attended, Some(&input))?;

        let (mlp_input, mlp_norm) = self.mlp_norm.forward(parameters, &middle)?;
        let up = self.up.forward(parameters, &mlp_input, None)?;
        let gate = self.gate.as_ref().map(|gate| gate.forward(parameters, &mlp_input, None)).transpose()?;
        let hidden = match (config.activation, &gate) {
            (Activation::SwiGlu, Some(gate)) => ops::swiglu(gate, &up)?,
            _ => ops::gelu(&up)?,
        };
        let output = self.down.forward(parameters, &hidden, Some(&middle))?;
        let saved = BlockSaved {
            input,
            attention_norm,
            attention_input,
            q_norm,
            k_norm,
            q,
            k,
            v,
            attended,
            log_sums,
            middle,
            mlp_norm,
            mlp_input,
            gate,
            up,
            hidden,
        };
        Ok((output, saved))
    }

    /// Adds the parameters' gradients and returns the gradient of the block's input from that of its output. What was
    /// saved is dropped as soon as it has been read: memory is at its most when the last block's backward begins.
    ///
    /// `seen` is shown the gradient of the output of every linear map, by the name of its module.
    pub(crate) fn backward(
        &self,
        pass: Pass<'_>,
        saved: BlockSaved,
        d_output: &Tensor,
        gradients: &mut Gradients,
        mut seen: impl FnMut(&'static str, &Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        let Pass { parameters, rotary, time, .. } = pass;
        let precision = parameters.precision();
        let shape = pass.attention_shape(saved.input.dim(0)?);
        let d_hidden = {
            let mut paths = Vec::new();
            seen("down_proj", d_output)?;
            self.down.backward(parameters, &saved.hidden, d_output, gradients, &mut paths)?;
            drop(saved.hidden);
            joined(paths, precision)?
        };
        let d_mlp_input = {
            let mut paths = Vec::new();
            match (&self.gate, saved.gate) {
                (Some(gate), Some(gate_output)) => {
                    let (d_gate, d_up) = ops::swiglu_backward(&gate_output, &saved.up, &d_hidden)?;
                    drop((gate_output, saved.up, d_hidden));
                    seen("gate_proj", &d_gate)?;
                    seen("up_proj", &d_up)?;
                    gate.backward(parameters, &saved.mlp_input, &d_gate, gradients, &mut paths)?;
                    self.up.backward(parameters, &saved.mlp_input, &d_up, gradients, &mut paths)?;
                }
                _ => {
                    let d_up = ops::gelu_backward(&saved.up, &d_hidden)?;
                    drop((saved.up, d_hidden));
                    seen("up_proj", &d_up)?;
                    self.up.backward(parameters, &saved.mlp_input, &d_up, gradients, &mut paths)?;
                }
            }
            drop(saved.mlp_input);
            joined(paths, precision)?
        };
        let middle = (&saved.middle, &saved.mlp_norm);
        let d_middle = self.mlp_norm.backward(parameters, middle, &d_mlp_input, Some(d_output), gradients)?;
        drop((d_mlp_input, saved.middle));

        let d_attended = {
            let mut paths = Vec::new();
            seen("o_proj", &d_middle)?;
            self.o.backward(parameters, &saved.attended, &d_middle, gradients, &mut paths)?;
            joined(paths, precision)?
        };
        let d_attention_input = {
            let mut attention = ops::causal_attention_backward(
                [&saved.q, &saved.k, &saved.v],
                &saved.attended,
                &saved.log_sums,
                &d_attended,
                shape,
                precision,
            )?;
            drop((saved.q, saved.k, saved.v, saved.attended, d_attended));
            if let Some(table) = rotary {
                attention.q = ops::rotate_backward(&attention.q, table, time)?;
                attention.k = ops::rotate_backward(&attention.k, table, time)?;
            }
            for (norm, saved, gradient) in
                [(&self.q_norm, &saved.q_norm, &mut attention.q), (&self.k_norm, &saved.k_norm, &mut attention.k)]
            {
                let dy = gradient.clone();
                *gradient = normalise_heads_backward(norm.as_ref(), parameters, saved.as_ref(), dy, gradients)?;
            }
            let mut paths = Vec::new();
            seen("q_proj", &attention.q)?;
            seen("k_proj", &attention.k)?;
            seen("v_proj", &attention.v)?;
            self.q.backward(parameters, &saved.attention_input, &attention.q, gradients, &mut paths)?;
            self.k.backward(parameters, &saved.attention_input, &attention.k, gradients, &mut paths)?;
            self.v.backward(parameters, &saved.attention_input, &attention.v, gradients, &mut paths)?;
            drop(saved.attention_input);
            joined(paths, precision)?
        };
        let input = (&saved.input, &saved.attention_norm);
        self.attention_norm.backward(parameters, input, &d_attention_input, Some(&d_middle), gradients)
    }
}
