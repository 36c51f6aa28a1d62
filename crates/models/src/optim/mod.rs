//! Optimizers with their state, and the policy that says which parameters each of them takes.
//!
//! An [`UpdateRule`] updates one tensor; there is one rule to a file. An [`Optimizer`] holds groups of parameters, each with a rule and a learning rate, and the
//! state of every parameter. A new rule is a new file, a variant of [`RuleConfig`] and a line in [`RuleConfig::rule`].

mod adamw;
mod muon;
mod orthogonalize;
mod policy;
mod sgd;

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

pub use adamw::AdamW;
pub use muon::{Muon, MuonScale};
pub use orthogonalize::{Orthogonalizer, orthogonalize};
pub use policy::{Policy, Scope, Split};
pub use sgd::Sgd;

#[cfg(kernels)]
pub(crate) use adamw::Factors as AdamWFactors;
#[cfg(kernels)]
pub(crate) use orthogonalize::exact as exact_polar;

use crate::parameters::{Gradients, ParameterId, Parameters};
use crate::{Error, Precision, Result};

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
pub trait UpdateRule: std::fmt::Debug + Send + Sync {
    /// The optimizer's name.
    fn name(&self) -> &'static str;

    /// The names of the state's tensors, each in the parameter's shape and zero at first.
    fn state_names(&self) -> &'static [&'static str];

    /// The parameter's new value; `state` is replaced.
    ///
    /// # Errors
    /// If the shapes differ or the rule does not apply to a tensor of this shape.
    fn update(&self, value: &Tensor, gradient: &Tensor, state: &mut [Tensor], size: StepSize) -> Result<Tensor>;

    /// The new values of many tensors on a GPU, in their order; their state is changed in place.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    #[cfg(kernels)]
    fn update_together(&self, updates: &[Updated<'_>], size: StepSize) -> Result<Vec<Tensor>>;
}

/// A tensor to be updated on a GPU. Its new value is another tensor; the state is changed in place.
#[cfg(kernels)]
#[derive(Debug)]
pub struct Updated<'a> {
    /// The value.
    pub value: &'a Tensor,
    /// Its gradient.
    pub gradient: &'a Tensor,
    /// Its state, as [`UpdateRule::state_names`] has it.
    pub state: &'a [Tensor],
}

/// [`UpdateRule::update`] on a GPU: as for many tensors, with a copy of the state, which others may hold.
#[cfg(kernels)]
fn update_alone(
    rule: &impl UpdateRule,
    value: &Tensor,
    gradient: &Tensor,
    state: &mut [Tensor],
    size: StepSize,
) -> Result<Tensor> {
    for tensor in state.iter_mut() {
        *tensor = tensor.copy()?;
    }
    let updated = rule.update_together(&[Updated { value, gradient, state }], size)?;
    updated.into_iter().next().ok_or_else(|| Error::config("update", "no tensor", "one"))
}

/// An update rule with its hyperparameters, as it stands in a preset.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum RuleConfig {
    /// AdamW.
    #[serde(rename = "adamw")]
    AdamW(AdamW),
    /// Muon.
    Muon(Muon),
    /// SGD with momentum.
    Sgd(Sgd),
}

impl RuleConfig {
    /// The rule, after a check of its hyperparameters.
    ///
    /// # Errors
    /// [`Error::Config`] with the first hyperparameter that is out of range.
    pub fn rule(self) -> Result<Box<dyn UpdateRule>> {
        Ok(match self {
            Self::AdamW(rule) => Box::new(rule.checked()?),
            Self::Muon(rule) => Box::new(rule.checked()?),
            Self::Sgd(rule) => Box::new(rule.checked()?),
        })
    }

    /// The same rule without weight decay.
    #[must_use]
    pub fn without_decay(mut self) -> Self {
        match &mut self {
            Self::AdamW(rule) => rule.weight_decay = 0.0,
            Self::Muon(rule) => rule.weight_decay = 0.0,
            Self::Sgd(rule) => rule.weight_decay = 0.0,
        }
        self
    }
}

/// Checks one hyperparameter.
fn in_range(field: &'static str, value: f64, range: std::ops::Range<f64>) -> Result<()> {
    match range.contains(&value) {
        true => Ok(()),
        false => Err(Error::config(field, value, format!("a number in [{}, {})", range.start, range.end))),
    }
}

/// Parameters that share a rule and a learning rate.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) rule: Box<dyn UpdateRule>,
    pub(crate) learning_rate: f64,
    pub(crate) members: Vec<ParameterId>,
}

/// Updates the members of a group that have a gradient, on a GPU.
#[cfg(kernels)]
fn step_together(
    group: &Group,
    state: &HashMap<ParameterId, Vec<Tensor>>,
    parameters: &mut Parameters,
    gradients: &Gradients,
    size: StepSize,
) -> Result<()> {
    let updated = |&id: &ParameterId| {
        let (gradient, state) = (gradients.get(id)?, state.get(&id)?);
        Some((id, Updated { value: parameters.value(id), gradient, state }))
    };
    let (ids, updates): (Vec<_>, Vec<_>) = group.members.iter().filter_map(updated).unzip();
    if updates.is_empty() {
        return Ok(());
    }
    let values = group.rule.update_together(&updates, size)?;
    for (id, value) in ids.into_iter().zip(values) {
        parameters.set(id, value)?;
    }
    Ok(())
}

/// Groups of parameters, their rules, and the state of each parameter.
#[derive(Debug)]
pub struct Optimizer {
    groups: Vec<Group>,
    state: HashMap<ParameterId, Vec<Tensor>>,
    step: u64,
}

impl Optimizer {
    /// A fresh optimizer for the trainable parameters that `policy` takes; the others become frozen.
    ///
    /// # Errors
    /// [`Error::Config`] if a hyperparameter is out of range.
    pub fn new(parameters: &mut Parameters, policy: &Policy) -> Result<Self> {
        let groups = policy.groups(parameters)?;
        parameters.train_members(groups.iter().flat_map(|group| &group.members));
        let mut state = HashMap::new();
        for group in &groups {
            for &id in &group.members {
                // Each its own: on a GPU they are changed in place.
                let zeros = group.rule.state_names().iter().map(|_| Ok(parameters.value(id).zeros_like()?));
                state.insert(id, zeros.collect::<Result<_>>()?);
            }
        }
        Ok(Self { groups, state, step: 0 })
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Updates every parameter that has a gradient, with each group's learning rate times `multiplier`.
    ///
    /// # Errors
    /// If a gradient does not have its parameter's shape.
    pub fn step(&mut self, parameters: &mut Parameters, gradients: &Gradients, multiplier: f64) -> Result<()> {
        self.step += 1;
        let precision = parameters.precision();
        for group in &self.groups {
            let size = StepSize { step: self.step, learning_rate: group.learning_rate * multiplier, precision };
            #[cfg(kernels)]
            if group.members.iter().any(|&id| crate::ops::cuda::is_gpu(parameters.value(id))) {
                step_together(group, &self.state, parameters, gradients, size)?;
                continue;
            }
            for &id in &group.members {
                let (Some(gradient), Some(state)) = (gradients.get(id), self.state.get_mut(&id)) else {
                    continue;
                };
                let value = group.rule.update(parameters.value(id), gradient, state, size)?;
                parameters.set(id, value)?;
            }
        }
        Ok(())
    }

    /// One line a group: which parameters it takes, with which rule and learning rate.
    pub fn describe(&self, parameters: &Parameters) -> Vec<String> {
        let line = |group: &Group| {
            let count: usize = group.members.iter().map(|&id| parameters.value(id).elem_count()).sum();
            let (name, rule, rate) = (group.name, &group.rule, group.learning_rate);
            let tensors = group.members.len();
            let plural = if tensors == 1 { "" } else { "s" };
            format!("{name}: {tensors} tensor{plural}, {count} numbers, learning rate {rate}, {rule:?}")
        };
        self.groups.iter().map(line).collect()
    }

    /// The state as named tensors: `<parameter>.<state>`.
    fn named_state(&self, parameters: &Parameters) -> Vec<(String, Tensor)> {
        let mut named = Vec::new();
        for group in &self.groups {
            for id in &group.members {
                for (name, tensor) in group.rule.state_names().iter().zip(&self.state[id]) {
                    named.push((format!("{}.{name}", parameters.get(*id).name), tensor.clone()));
                }
            }
        }
        named
    }

    /// Writes state and step count to a safetensors file.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, parameters: &Parameters, path: &Path) -> Result<()> {
        let metadata = HashMap::from([("step".to_string(), self.step.to_string())]);
        crate::tensors::write(path, &self.named_state(parameters), metadata)
    }

    /// Reads back what [`save`](Self::save) wrote for the same parameters and policy.
    ///
    /// # Errors
    /// If the file cannot be read or holds other tensors.
    pub fn load(&mut self, parameters: &Parameters, path: &Path) -> Result<()> {
        self.take_state(parameters, path)?.finish()
    }

    /// Takes over the state of these parameters from the file of an optimizer that may have trained others too.
    ///
    /// # Errors
    /// If the file cannot be read or lacks a tensor.
    pub fn carry_over(&mut self, parameters: &Parameters, path: &Path) -> Result<()> {
        self.take_state(parameters, path).map(drop)
    }

    fn take_state(&mut self, parameters: &Parameters, path: &Path) -> Result<crate::tensors::TensorFile> {
        let mut file = crate::tensors::TensorFile::read(path, &Device::Cpu)?;
        let step = file.metadata("step").and_then(|step| step.parse().ok());
        self.step = step.ok_or_else(|| Error::File { path: path.into(), what: "the step count is missing".into() })?;
        for group in &self.groups {
            for id in &group.members {
                let parameter = parameters.get(*id);
                let names = group.rule.state_names().iter();
                let tensors = names
                    .map(|name| {
                        let tensor = file.take(&format!("{}.{name}", parameter.name), parameter.value.dims())?;
                        Ok(tensor.to_device(parameter.value.device())?)
                    })
                    .collect::<Result<_>>()?;
                self.state.insert(*id, tensors);
            }
        }
        Ok(file)
    }
}
