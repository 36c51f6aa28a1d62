//! The parameters that a policy trains, in groups, with the state of each.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::{Policy, State, StepSize, UpdateRule};
use crate::parameters::{Gradients, ParameterId, Parameters};
use crate::tensors::TensorFile;
use crate::{Error, Result};

/// Numbers of a group beyond which its parameters are updated one after the other.
const LARGE: usize = 1 << 24;

/// Parameters that share a rule and a learning rate.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) rule: Box<dyn UpdateRule>,
    pub(super) learning_rate: f64,
    pub(super) members: Vec<Member>,
}

/// A parameter of a group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: ParameterId,
    pub(super) state: State,
}

impl Group {
    /// Updates the members that have a gradient.
    fn step(&mut self, parameters: &mut Parameters, gradients: &Gradients, size: StepSize) -> Result<()> {
        #[cfg(kernels)]
        if self.members.iter().any(|member| crate::ops::cuda::is_gpu(parameters.value(member.id))) {
            return self.step_together(parameters, gradients, size);
        }
        // Side by side, several threads keep buffers of their own for what each of them updates now and then.
        let large = self.members.iter().map(|member| parameters.value(member.id).elem_count()).sum::<usize>() > LARGE;
        let at_a_time = if large { 1 } else { rayon::current_num_threads().max(1) };
        for members in self.members.chunks_mut(at_a_time) {
            let update = |Member { id, state }: &mut Member| {
                let gradient = gradients.get(*id)?;
                Some(self.rule.update(parameters.value(*id), gradient, state, size).map(|value| (*id, value)))
            };
            let updated: Vec<_> = match members {
                [one] => update(one).into_iter().collect(),
                several => several.par_iter_mut().filter_map(update).collect(),
            };
            // What has a new state has its new value too, whatever became of the others; the first error is reported.
            let mut outcome = Ok(());
            for result in updated {
                let set = result.and_then(|(id, value)| parameters.set(id, value));
                outcome = outcome.and(set);
            }
            outcome?;
        }
        Ok(())
    }

    /// [`step`](Self::step) on a GPU.
    #[cfg(kernels)]
    fn step_together(&mut self, parameters: &mut Parameters, gradients: &Gradients, size: StepSize) -> Result<()> {
        let (mut ids, mut updates) = (Vec::new(), Vec::new());
        for Member { id, state } in &mut self.members {
            if let Some(gradient) = gradients.get(*id) {
                ids.push(*id);
                updates.push(super::Updated { value: parameters.value(*id), gradient, state });
            }
        }
        if updates.is_empty() {
            return Ok(());
        }
        let values = self.rule.update_together(&mut updates, size)?;
        for (id, value) in ids.into_iter().zip(values) {
            parameters.set(id, value)?;
        }
        Ok(())
    }
}

/// Groups of parameters, their rules, and the state of each parameter.
#[derive(Debug)]
pub struct Optimizer {
    groups: Vec<Group>,
    step: u64,
}

impl Optimizer {
    /// A fresh optimizer for the trainable parameters that `policy` takes; the others become frozen.
    ///
    /// # Errors
    /// [`Error::Config`] if the policy contradicts itself ([`Policy::validate`]) or trains nothing of this model.
    pub fn new(parameters: &mut Parameters, policy: &Policy) -> Result<Self> {
        let groups = policy.groups(parameters)?;
        parameters.train_members(groups.iter().flat_map(|group| &group.members).map(|member| &member.id));
        Ok(Self { groups, step: 0 })
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
        for group in &mut self.groups {
            let size = StepSize { step: self.step, learning_rate: group.learning_rate * multiplier, precision };
            group.step(parameters, gradients, size)?;
        }
        Ok(())
    }

    /// One line a group: which parameters it takes, with which rule and learning rate.
    pub fn describe(&self, parameters: &Parameters) -> Vec<String> {
        let of = |group: &Group| {
            let count: usize = group.members.iter().map(|member| parameters.value(member.id).elem_count()).sum();
            line(&group.name, &*group.rule, group.learning_rate, group.members.len(), count)
        };
        self.groups.iter().map(of).collect()
    }

    /// Writes state and step count to a safetensors file; the state's tensors are called `<parameter>.<state>`.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, parameters: &Parameters, path: &Path) -> Result<()> {
        let metadata = HashMap::from([("step".to_string(), self.step.to_string())]);
        let members = self.groups.iter().flat_map(|group| &group.members);
        let named: Vec<(String, Tensor)> = members
            .flat_map(|Member { id, state }| state.iter().map(|(name, tensor)| (*id, name, tensor.clone())))
            .map(|(id, name, tensor)| (state_name(parameters, id, name), tensor))
            .collect();
        crate::tensors::write(path, &named, metadata)
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

    fn take_state(&mut self, parameters: &Parameters, path: &Path) -> Result<TensorFile> {
        let mut file = TensorFile::read(path, &Device::Cpu)?;
        let step = file.metadata("step").and_then(|step| step.parse().ok());
        self.step = step.ok_or_else(|| Error::File { path: path.into(), what: "the step count is missing".into() })?;
        for Member { id, state } in self.groups.iter_mut().flat_map(|group| &mut group.members) {
            for (name, tensor) in state.iter_mut() {
                let stored = file.take_as(&state_name(parameters, *id, name), tensor.dims(), tensor.dtype())?;
                *tensor = stored.to_device(tensor.device())?;
            }
        }
        Ok(file)
    }
}

/// A group in words.
pub(super) fn line(name: &str, rule: &dyn UpdateRule, rate: f64, tensors: usize, numbers: usize) -> String {
    let plural = if tensors == 1 { "" } else { "s" };
    format!("{name}: {tensors} tensor{plural}, {numbers} numbers, learning rate {rate}, {rule:?}")
}

/// The name of a tensor of a parameter's state in a file.
fn state_name(parameters: &Parameters, id: ParameterId, name: &str) -> String {
    format!("{}.{name}", parameters.get(id).name)
}
