//! Directions in the space of some of a model's parameters: sums and products with them, steps along them, and the
//! curvature of the loss.

use candle_core::{Device, Tensor};

use crate::batch::Batch;
use crate::parameters::{Gradients, ParameterId, Parameters};
use crate::transformer::Transformer;
use crate::{Error, Result};

/// A tensor for each of some parameters, on the processor.
#[derive(Debug, Clone)]
pub struct Direction {
    parts: Vec<(ParameterId, Tensor)>,
}

impl Direction {
    /// These tensors, `f32`, each in its parameter's shape.
    ///
    /// # Errors
    /// If they cannot be brought to the processor.
    pub fn new(parts: impl IntoIterator<Item = (ParameterId, Tensor)>) -> Result<Self> {
        let on_cpu = |(id, part): (ParameterId, Tensor)| Ok((id, part.to_device(&Device::Cpu)?.contiguous()?));
        Ok(Self { parts: parts.into_iter().map(on_cpu).collect::<Result<_>>()? })
    }

    /// The values of these parameters.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_values(parameters: &Parameters, ids: &[ParameterId]) -> Result<Self> {
        Self::new(ids.iter().map(|&id| (id, parameters.value(id).clone())))
    }

    /// The gradients of these parameters.
    ///
    /// # Errors
    /// [`Error::Config`] if one has no gradient.
    pub fn of_gradients(gradients: &Gradients, ids: &[ParameterId]) -> Result<Self> {
        let part = |&id: &ParameterId| {
            let gradient = gradients.get(id).cloned();
            Ok((id, gradient.ok_or_else(|| Error::config("gradient", "a frozen parameter", "a trainable one"))?))
        };
        Self::new(ids.iter().map(part).collect::<Result<Vec<_>>>()?)
    }

    /// The parameters and their tensors.
    pub fn iter(&self) -> impl Iterator<Item = (ParameterId, &Tensor)> {
        self.parts.iter().map(|(id, part)| (*id, part))
    }

    /// Numbers in all tensors together.
    pub fn count(&self) -> usize {
        self.parts.iter().map(|(_, part)| part.elem_count()).sum()
    }

    /// Every tensor replaced by what `change` makes of it.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn map<E: From<Error>>(
        &self,
        mut change: impl FnMut(ParameterId, &Tensor) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<Self, E> {
        let parts = self.parts.iter().map(|(id, part)| Ok((*id, change(*id, part)?)));
        Ok(Self::new(parts.collect::<std::result::Result<Vec<_>, E>>()?)?)
    }

    /// The part that lies in these parameters.
    #[must_use]
    pub fn within(&self, ids: &[ParameterId]) -> Self {
        Self { parts: self.parts.iter().filter(|(id, _)| ids.contains(id)).cloned().collect() }
    }

    /// `own` times this plus `other` times the other direction, of the same parameters in the same order.
    ///
    /// # Errors
    /// If the parameters or shapes differ.
    pub fn combined(&self, own: f64, direction: &Self, other: f64) -> Result<Self> {
        self.check_same(direction)?;
        let pairs = self.parts.iter().zip(&direction.parts);
        let part = |((id, a), (_, b)): (&(ParameterId, Tensor), &(_, Tensor))| {
            Ok((*id, crate::ops::scaled_add(a, own as f32, b, other as f32)?))
        };
        Ok(Self { parts: pairs.map(part).collect::<Result<_>>()? })
    }

    /// The scalar product over all tensors, in f64.
    ///
    /// # Errors
    /// If the parameters differ.
    pub fn dot(&self, other: &Self) -> Result<f64> {
        self.check_same(other)?;
        let mut sum = 0.0;
        for ((_, a), (_, b)) in self.parts.iter().zip(&other.parts) {
            let (a, b) = (crate::ops::values(a)?, crate::ops::values(b)?);
            sum += a.iter().zip(b.iter()).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
        }
        Ok(sum)
    }

    /// The Frobenius norm of all tensors together.
    ///
    /// # Errors
    /// If a tensor is not `f32`.
    pub fn norm(&self) -> Result<f64> {
        Ok(self.dot(self)?.sqrt())
    }

    fn check_same(&self, other: &Self) -> Result<()> {
        let key = |of: &Self| of.parts.iter().map(|(id, part)| (*id, part.dims().to_vec())).collect::<Vec<_>>();
        match key(self) == key(other) {
            true => Ok(()),
            false => Err(Error::config("direction", "other parameters or shapes", "the same in both")),
        }
    }
}

impl Transformer {
    /// The model with `length` times the direction added to its weights.
    ///
    /// # Errors
    /// If a shape does not fit.
    pub fn moved(&self, direction: &Direction, length: f64) -> Result<Self> {
        let mut moved = self.clone();
        for (id, part) in direction.iter() {
            let value = moved.parameters().value(id);
            let part = part.to_device(value.device())?;
            let value = crate::ops::scaled_add(value, 1.0, &part, length as f32)?;
            moved.parameters_mut().set(id, value)?;
        }
        Ok(moved)
    }

    /// The mean loss over all target tokens of `batches`, in nats, and its gradient in these parameters.
    ///
    /// # Errors
    /// [`Error::NoTargets`] if there is none, and those of [`gradients`](Self::gradients).
    pub fn mean_gradient(&self, batches: &[Batch], ids: &[ParameterId]) -> Result<(f64, Direction)> {
        let count: usize = batches.iter().map(Batch::target_count).sum();
        let mut model = self.clone();
        model.parameters_mut().train_members(ids);
        let mut total: Option<Gradients> = None;
        let mut sum = 0.0;
        for batch in batches {
            let (loss, gradients) = model.gradients(batch, 1.0 / count.max(1) as f64)?;
            sum += loss.sum;
            match &mut total {
                Some(total) => total.accumulate(gradients)?,
                None => total = Some(gradients),
            }
        }
        match total.filter(|_| count > 0) {
            Some(gradients) => Ok((sum / count as f64, Direction::of_gradients(&gradients, ids)?)),
            None => Err(Error::NoTargets),
        }
    }

    /// The product of the Hessian of the mean loss over `batches` with a direction, in the direction's parameters: the
    /// central difference [g(w + h d) - g(w - h d)] / 2h, whose step has the length |h d| = `share` |w| with w the
    /// values of these parameters.
    ///
    /// Too short a step loses the difference to rounding, too long a one adds the next derivatives; 1e-3 and 3e-3 are
    /// within 2 % of exact second derivatives in the tests.
    ///
    /// # Errors
    /// As [`mean_gradient`](Self::mean_gradient), and [`Error::Config`] for a direction of zeros.
    pub fn hessian_product(&self, batches: &[Batch], direction: &Direction, share: f64) -> Result<Direction> {
        let ids: Vec<ParameterId> = direction.iter().map(|(id, _)| id).collect();
        let (size, length) = (Direction::of_values(self.parameters(), &ids)?.norm()?, direction.norm()?);
        if !(length > 0.0 && length.is_finite()) {
            return Err(Error::config("direction", format!("length {length}"), "a positive one"));
        }
        let step = share * size / length;
        let gradient = |step: f64| Ok(self.moved(direction, step)?.mean_gradient(batches, &ids)?.1);
        let (ahead, behind): (Result<_>, Result<_>) = (gradient(step), gradient(-step));
        ahead?.combined(0.5 / step, &behind?, -0.5 / step)
    }
}
