//! What an update rule remembers of one parameter.

use candle_core::{Error, Result, Tensor};

/// Tensors with names, in an order that the rule fixes. Shapes, types and devices are the rule's choice; a counter is a
/// tensor too.
///
/// A clone shares the tensors. Kernels change them in place, so that on a GPU a clone is no snapshot.
#[derive(Debug, Clone, Default)]
pub struct State {
    names: Vec<&'static str>,
    tensors: Vec<Tensor>,
}

impl State {
    /// These tensors.
    pub fn new(tensors: impl IntoIterator<Item = (&'static str, Tensor)>) -> Self {
        let (names, tensors) = tensors.into_iter().unzip();
        Self { names, tensors }
    }

    /// Zeros in the shape of `value`, on its device, for each name.
    ///
    /// # Errors
    /// If there is no room.
    pub fn zeros(names: &[&'static str], value: &Tensor) -> Result<Self> {
        // Each its own: on a GPU they are changed in place.
        let tensors = names.iter().map(|_| value.zeros_like()).collect::<Result<_>>()?;
        Ok(Self { names: names.to_vec(), tensors })
    }

    /// Names and tensors, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        self.names.iter().copied().zip(&self.tensors)
    }

    /// The same with every tensor to be replaced.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Tensor)> {
        self.names.iter().copied().zip(&mut self.tensors)
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.iter().find(|(found, _)| *found == name).map(|(_, tensor)| tensor)
    }

    /// The tensors of a rule that has `N` of them: `let [first, second] = state.tensors()?`.
    ///
    /// # Errors
    /// If there is another number of tensors: the state is another rule's.
    pub fn tensors<const N: usize>(&self) -> Result<&[Tensor; N]> {
        let found = self.tensors.len();
        <&[Tensor; N]>::try_from(self.tensors.as_slice()).map_err(|_| another_rules(found, N))
    }

    /// [`tensors`](Self::tensors) to be replaced.
    ///
    /// # Errors
    /// As there.
    pub fn tensors_mut<const N: usize>(&mut self) -> Result<&mut [Tensor; N]> {
        let found = self.tensors.len();
        <&mut [Tensor; N]>::try_from(self.tensors.as_mut_slice()).map_err(|_| another_rules(found, N))
    }
}

fn another_rules(found: usize, expected: usize) -> Error {
    Error::Msg(format!("an optimizer's state: found {found} tensors, expected {expected}"))
}
