//! Borrowing a tensor's values as a slice, and making a tensor of computed values.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, Device, Error, Result, Shape, Storage, StorageRef, Tensor};

/// The values of a contiguous `f32` tensor on the CPU.
pub(crate) struct Values<'a> {
    storage: StorageRef<'a>,
    start: usize,
    end: usize,
}

impl std::ops::Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.start..self.end],
            _ => unreachable!("`values` has checked device and type"),
        }
    }
}

/// Borrows the values of `tensor`.
///
/// # Errors
/// If the tensor is not on the CPU, not `f32` or not contiguous.
pub(crate) fn values(tensor: &Tensor) -> Result<Values<'_>> {
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        return Err(Error::RequiresContiguous { op: "values" });
    };
    match &*storage {
        Storage::Cpu(CpuStorage::F32(_)) => {}
        Storage::Cpu(_) => return Err(Error::Msg(format!("found a tensor of {:?}, expected f32", tensor.dtype()))),
        _ => return Err(Error::Msg("this operation runs on the CPU only".into())),
    }
    Ok(Values { storage, start, end })
}

/// Refuses sizes of which one is zero: there is nothing to compute, and no row to go by.
///
/// # Errors
/// With all of them.
pub(crate) fn not_empty(name: &'static str, sizes: &[usize]) -> Result<()> {
    match sizes.contains(&0) {
        true => Err(Error::Msg(format!("{name}: found a size of zero among {sizes:?}, expected at least 1"))),
        false => Ok(()),
    }
}

/// A tensor that owns `values`.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// A vector that `write` fills: its memory is not zeroed first.
///
/// # Safety
/// `write` must write every value.
pub(crate) unsafe fn written(length: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(length);
    write(&mut values.spare_capacity_mut()[..length]);
    // SAFETY: the caller vouches for the values.
    unsafe { values.set_len(length) };
    values
}
