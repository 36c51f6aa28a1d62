//! A model's parameters: an ordered list with names, roles and values.
//!
//! The role says what a tensor *is*, so that no rule about shapes decides which optimizer takes it: it is the label by
//! which an [`optim::Policy`](crate::optim::Policy) sorts parameters into groups.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::one_of;
use crate::ops::Sum;
use crate::{Error, Precision, Result};

/// The parts of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Attention: the maps to queries, keys and values, and from the heads back.
    Attention,
    /// The MLP.
    Mlp,
}

/// What a parameter is in the network: its label, by which a policy ([`optim::Policy`](crate::optim::Policy)) gives it
/// to an optimizer.
///
/// Files and messages spell it in kebab-case ([`as_str`](Self::as_str)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Role {
    /// The token embedding (and the head, where they are tied).
    TokenEmbedding,
    /// The learned positions.
    PositionEmbedding,
    /// An untied output head.
    Head,
    /// A matrix inside a block, the only kind that Muon and its relatives are made for.
    HiddenMatrix(Part),
    /// A norm's gain.
    Gain,
    /// A bias of a linear map or a norm.
    Bias,
    /// LoRA's down projection A, `[rank, inputs]`.
    LoraA,
    /// LoRA's up projection B, `[outputs, rank]`.
    LoraB,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 9] = [
        Self::TokenEmbedding,
        Self::PositionEmbedding,
        Self::Head,
        Self::HiddenMatrix(Part::Attention),
        Self::HiddenMatrix(Part::Mlp),
        Self::Gain,
        Self::Bias,
        Self::LoraA,
        Self::LoraB,
    ];

    /// The name in files and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenEmbedding => "token-embedding",
            Self::PositionEmbedding => "position-embedding",
            Self::Head => "head",
            Self::HiddenMatrix(Part::Attention) => "attention-matrix",
            Self::HiddenMatrix(Part::Mlp) => "mlp-matrix",
            Self::Gain => "gain",
            Self::Bias => "bias",
            Self::LoraA => "lora-a",
            Self::LoraB => "lora-b",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = Error;

    /// # Errors
    /// [`Error::Config`] with all names if `text` is none of them.
    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == text);
        known.ok_or_else(|| Error::config("role", text, one_of(&Self::ALL)))
    }
}

impl From<Role> for &'static str {
    fn from(role: Role) -> Self {
        role.as_str()
    }
}

impl TryFrom<String> for Role {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// The place of a parameter in [`Parameters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterId(usize);

impl ParameterId {
    /// The index into lists that run along the parameters.
    pub fn index(self) -> usize {
        self.0
    }
}

/// One tensor of a model.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// The name, Llama's in Hugging Face's spelling for every architecture (`model.layers.0.self_attn.q_proj.weight`).
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Whether training changes it.
    pub trainable: bool,
    /// The values.
    pub value: Tensor,
}

/// The parameters of a model, in a fixed order, and how products with them are computed.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    list: Vec<Parameter>,
    precision: Precision,
}

impl Parameters {
    /// Adds a trainable parameter.
    pub(crate) fn push(&mut self, name: impl Into<String>, role: Role, value: Tensor) -> ParameterId {
        self.list.push(Parameter { name: name.into(), role, trainable: true, value });
        ParameterId(self.list.len() - 1)
    }

    /// Drops the parameters from `length` on.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.list.truncate(length);
    }

    /// In which numbers products with these parameters are computed.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Chooses in which numbers products with these parameters are computed, from now on; no value changes.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many numbers there are in all, or in those that are trained.
    pub fn count(&self, trainable_only: bool) -> usize {
        self.list.iter().filter(|p| p.trainable || !trainable_only).map(|p| p.value.elem_count()).sum()
    }

    /// All parameters with their places.
    pub fn iter(&self) -> impl Iterator<Item = (ParameterId, &Parameter)> {
        self.list.iter().enumerate().map(|(i, p)| (ParameterId(i), p))
    }

    /// One parameter.
    pub fn get(&self, id: ParameterId) -> &Parameter {
        &self.list[id.0]
    }

    /// The values of one parameter.
    pub fn value(&self, id: ParameterId) -> &Tensor {
        &self.list[id.0].value
    }

    /// The place of the parameter called `name`.
    pub fn find(&self, name: &str) -> Option<ParameterId> {
        self.list.iter().position(|p| p.name == name).map(ParameterId)
    }

    /// Replaces the values of a parameter, on the device where they lie.
    ///
    /// # Errors
    /// [`Error::Shape`] if the new values have another shape.
    pub fn set(&mut self, id: ParameterId, value: Tensor) -> Result<()> {
        let parameter = &mut self.list[id.0];
        if parameter.value.dims() != value.dims() {
            return Err(Error::Shape {
                name: parameter.name.clone(),
                found: value.dims().to_vec(),
                expected: parameter.value.dims().to_vec(),
            });
        }
        parameter.value = value.to_device(parameter.value.device())?;
        Ok(())
    }

    /// Moves all values to another device.
    pub(crate) fn move_to(&mut self, device: &Device) -> Result<()> {
        for parameter in &mut self.list {
            parameter.value = parameter.value.to_device(device)?;
        }
        Ok(())
    }

    /// Trains exactly the given parameters and freezes the others.
    pub fn train_members<'a>(&mut self, members: impl IntoIterator<Item = &'a ParameterId>) {
        for parameter in &mut self.list {
            parameter.trainable = false;
        }
        for id in members {
            self.list[id.0].trainable = true;
        }
    }
}

/// The gradients of a model's parameters; `None` where a parameter is frozen.
#[derive(Debug, Clone)]
pub struct Gradients {
    list: Vec<Option<Tensor>>,
}

impl Gradients {
    /// No gradient yet for any of `count` parameters.
    pub fn empty(count: usize) -> Self {
        Self { list: vec![None; count] }
    }

    /// The gradient of one parameter.
    pub fn get(&self, id: ParameterId) -> Option<&Tensor> {
        self.list.get(id.0)?.as_ref()
    }

    /// Sets the gradient of a parameter, or adds to what is there.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn add(&mut self, id: ParameterId, gradient: Tensor) -> Result<()> {
        let slot = &mut self.list[id.0];
        *slot = Some(match slot.take() {
            Some(sum) => crate::ops::scaled_add(&sum, 1.0, &gradient, 1.0)?,
            None => gradient,
        });
        Ok(())
    }

    /// Adds the gradients of another micro-batch.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn accumulate(&mut self, other: Self) -> Result<()> {
        for (i, gradient) in other.list.into_iter().enumerate() {
            if let Some(gradient) = gradient {
                self.add(ParameterId(i), gradient)?;
            }
        }
        Ok(())
    }

    /// The Euclidean norm of all gradients together.
    ///
    /// # Errors
    /// If a gradient is not a contiguous `f32` tensor.
    pub fn norm(&self) -> Result<f64> {
        Ok(self.sum_of_squares()?.value()?.sqrt())
    }

    /// The square of the norm; on a GPU only who reads it waits for it.
    pub(crate) fn sum_of_squares(&self) -> Result<Sum> {
        #[cfg(kernels)]
        if self.list.iter().flatten().any(crate::ops::cuda::is_gpu) {
            return Ok(crate::ops::cuda::sum_of_squares(self.list.iter().flatten())?);
        }
        let mut sum = 0.0;
        for gradient in self.list.iter().flatten() {
            sum += crate::ops::sum_of_squares(&crate::ops::values(gradient)?);
        }
        Ok(Sum::Known(sum))
    }

    /// Scales the gradients so that their common norm is at most `limit`, as PyTorch's `clip_grad_norm_`, and returns
    /// the norm before.
    ///
    /// # Errors
    /// If a gradient is not a contiguous `f32` tensor.
    pub fn clip(&mut self, limit: f64) -> Result<f64> {
        let norm = self.norm()?;
        self.clip_from(norm, limit)?;
        Ok(norm)
    }

    /// [`clip`](Self::clip) where the norm is known already.
    pub(crate) fn clip_from(&mut self, norm: f64, limit: f64) -> Result<()> {
        let factor = limit / (norm + 1e-6);
        if factor < 1.0 {
            for gradient in self.list.iter_mut().flatten() {
                *gradient = crate::ops::scaled(gradient, factor)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
            assert_eq!(serde_json::from_value::<Role>(role.as_str().into()).unwrap(), role);
        }
        let message = "matrix".parse::<Role>().unwrap_err().to_string();
        assert!(message.starts_with("role: found matrix, expected one of token-embedding, "), "{message}");
    }
}
