//! Optimizers with their state, and the policy that says which parameters each of them takes.
//!
//! An [`UpdateRule`] updates one tensor; there is one rule to a file. An [`Optimizer`] holds groups of parameters, each
//! with a rule and a learning rate, and the state of every parameter. A new rule is a new file and one line in `rules!`
//! below; `docs/optimizers.md` shows one.

#[macro_use]
mod registry;
mod optimizer;
mod orthogonalize;
mod policy;
mod state;

use candle_core::Tensor;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use muon::MuonScale;
pub use optimizer::Optimizer;
pub use orthogonalize::{Orthogonalizer, orthogonalize};
pub use policy::{GroupPolicy, Policy, Scope, Split};
pub use state::State;

#[cfg(kernels)]
pub(crate) use adamw::Factors as AdamWFactors;
#[cfg(kernels)]
pub(crate) use orthogonalize::exact as exact_polar;

use crate::{Error, Precision, Result};

rules! {
    adamw: AdamW = "AdamW: Adam with decoupled weight decay.";
    muon: Muon = "Muon: momentum, orthogonalised.";
    sgd: Sgd = "SGD with momentum.";
    lion: Lion = "Lion: the sign of an interpolated momentum.";
    signum: Signum = "Signum: the sign of the momentum.";
    soap: Soap = "SOAP: Adam in the eigenbasis of Shampoo's preconditioner.";
    normuon: NorMuon = "NorMuon: Muon with every neuron's update normalised.";
}

/// Which step it is, how long, and in which numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepSize {
    /// The step's number; the first is 1.
    pub step: u64,
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// In which numbers products of matrices are computed.
    pub precision: Precision,
}

/// How one tensor is updated from its gradient.
///
/// A rule written in operations that run on either device (candle's, [`ops::scaled_add`](crate::ops::scaled_add),
/// [`ops::matmul`](crate::ops::matmul), [`orthogonalize`]) needs [`initial_state`](Self::initial_state) and
/// [`update`](Self::update) only.
pub trait UpdateRule: std::fmt::Debug + Send + Sync {
    /// Whether the rule takes matrices inside the blocks only. A [`Policy`] then refuses to give it embeddings, heads,
    /// vectors or LoRA's factors, whatever their shapes.
    fn matrices_only(&self) -> bool {
        false
    }

    /// The state before the first step of a parameter with this value.
    ///
    /// # Errors
    /// If the rule does not apply to a tensor of this shape.
    fn initial_state(&self, value: &Tensor) -> Result<State>;

    /// The parameter's new value; the tensors of `state` are replaced.
    ///
    /// # Errors
    /// If the shapes differ, the rule does not apply to a tensor of this shape, or the state is another rule's.
    fn update(&self, value: &Tensor, gradient: &Tensor, state: &mut State, size: StepSize) -> Result<Tensor>;

    /// The new values of many tensors on a GPU, in their order: one [`update`](Self::update) after the other, where a
    /// rule has no kernel. A kernel may change the tensors of a state in place.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    #[cfg(kernels)]
    fn update_together(&self, updates: &mut [Updated<'_>], size: StepSize) -> Result<Vec<Tensor>> {
        updates.iter_mut().map(|update| self.update(update.value, update.gradient, update.state, size)).collect()
    }
}

/// An update rule with its hyperparameters: what a file of this folder defines, and `rules!` registers.
pub trait Rule: UpdateRule + Copy + Default + PartialEq + Serialize + DeserializeOwned + 'static {
    /// The name in presets and flags: the type's in lower case.
    const NAME: &'static str;

    /// The same rule, if every hyperparameter is in its range.
    ///
    /// # Errors
    /// [`Error::Config`] with the first one that is not.
    fn checked(self) -> Result<Self>;

    /// The weight decay, at least 0.
    fn weight_decay(&self) -> f64;

    /// The same rule with this weight decay.
    #[must_use]
    fn with_weight_decay(self, weight_decay: f64) -> Self;
}

/// A tensor to be updated on a GPU. Its new value is another tensor.
#[cfg(kernels)]
#[derive(Debug)]
pub struct Updated<'a> {
    /// The value.
    pub value: &'a Tensor,
    /// Its gradient.
    pub gradient: &'a Tensor,
    /// Its state.
    pub state: &'a mut State,
}

/// [`UpdateRule::update`] of a rule with a kernel: as for many tensors, with a copy of the state, which others may
/// hold.
#[cfg(kernels)]
fn update_alone(
    rule: &impl UpdateRule,
    value: &Tensor,
    gradient: &Tensor,
    state: &mut State,
    size: StepSize,
) -> Result<Tensor> {
    for (_, tensor) in state.iter_mut() {
        *tensor = tensor.copy()?;
    }
    let updated = rule.update_together(&mut [Updated { value, gradient, state }], size)?;
    updated.into_iter().next().ok_or_else(|| Error::config("update", "no tensor", "one"))
}

/// Checks one hyperparameter.
fn in_range(field: &'static str, value: f64, range: std::ops::Range<f64>) -> Result<()> {
    match range.contains(&value) {
        true => Ok(()),
        false => Err(Error::config(field, value, format!("a number in [{}, {})", range.start, range.end))),
    }
}

/// Rows and columns of a value, for a rule that takes matrices only.
fn matrix_dims(rule: &'static str, value: &Tensor) -> Result<(usize, usize)> {
    match value.dims() {
        &[rows, columns] => Ok((rows, columns)),
        dims => Err(Error::config(rule, format!("a tensor {dims:?}"), "a matrix")),
    }
}
