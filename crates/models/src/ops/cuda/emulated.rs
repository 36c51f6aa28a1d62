//! The kernels on the processor: tensors lie on the CPU, launches go to the emulation (`kernels/emulation.hpp`),
//! products are loops.
//!
//! Memory that a kernel should write starts as NaN. What this checks, and what it cannot, is in `docs/gpu.md`.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_void};

use candle_core::{CpuStorage, DType, Device, Error, InplaceOp1, Layout, Result, Shape, Storage, Tensor};

use super::linear::{Place, Product};
use super::{Argument, Launch};
use crate::Precision;
use crate::ops::product::{Compute, Matrix, product as host_product};

unsafe extern "C" {
    fn emulation_launch(
        name: *const c_char,
        grid: *const u32,
        block: *const u32,
        shared: u32,
        arguments: *mut *mut c_void,
    ) -> c_int;
}

thread_local! {
    static ON: Cell<bool> = Cell::new(std::env::var_os("EMULATE_CUDA").is_some());
}

/// Sends the operations that this thread calls to the kernels, or back to the CPU; at first they go to the kernels if
/// `EMULATE_CUDA` is set.
pub fn emulate(on: bool) {
    ON.set(on);
}

pub(crate) fn is_gpu(_: &Tensor) -> bool {
    ON.get()
}

fn start(storage: &CpuStorage, layout: &Layout) -> Result<u64> {
    let address = match storage {
        CpuStorage::F32(values) => values[layout.start_offset()..].as_ptr().addr(),
        CpuStorage::BF16(values) => values[layout.start_offset()..].as_ptr().addr(),
        CpuStorage::F64(values) => values[layout.start_offset()..].as_ptr().addr(),
        CpuStorage::U32(values) => values[layout.start_offset()..].as_ptr().addr(),
        CpuStorage::I64(values) => values[layout.start_offset()..].as_ptr().addr(),
        other => {
            return Err(Error::Msg(format!(
                "found a tensor of {:?}",
                candle_core::backend::BackendStorage::dtype(other)
            )));
        }
    };
    Ok(address as u64)
}

pub(super) fn read_address(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => start(storage, layout),
        _ => Err(Error::Msg("found a tensor on a GPU, expected the CPU".into())),
    }
}

/// Takes the address through a mutable borrow.
struct WriteAddress(Cell<u64>);

impl InplaceOp1 for WriteAddress {
    fn name(&self) -> &'static str {
        "write_address"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        self.0.set(start(storage, layout)?);
        Ok(())
    }
}

pub(super) fn write_address(tensor: &Tensor) -> Result<u64> {
    let address = WriteAddress(Cell::new(0));
    tensor.inplace_op1(&address)?;
    Ok(address.0.get())
}

pub(crate) fn read_number(tensor: &Tensor) -> Result<f64> {
    tensor.reshape(())?.to_scalar()
}

pub(super) fn uninitialised(shape: &Shape, dtype: DType, device: &Device) -> Result<Tensor> {
    Tensor::full(f32::NAN, shape, device)?.to_dtype(dtype)
}

pub(super) fn launch(launch: &Launch<'_>, arguments: &[Argument]) -> Result<()> {
    if launch.grid.contains(&0) {
        return Ok(());
    }
    let name = CString::new(launch.kernel).map_err(Error::wrap)?;
    let (grid, block) = (launch.grid.map(|n| n as u32), launch.block.map(|n| n as u32));
    let mut values: Vec<u64> = arguments.iter().map(|argument| argument.0).collect();
    let mut pointers: Vec<*mut c_void> = values.iter_mut().map(|value| (value as *mut u64).cast()).collect();
    // SAFETY: the arguments are those of the kernel's definition, and every address is that of a live tensor.
    let found = unsafe {
        emulation_launch(name.as_ptr(), grid.as_ptr(), block.as_ptr(), launch.shared as u32, pointers.as_mut_ptr())
    };
    match found {
        0 => Err(Error::Msg(format!("no kernel is called {} ({:?})", launch.kernel, launch.file))),
        _ => Ok(()),
    }
}

/// `rows` x `columns` values at `place`, of matrix `index` of the batch, as `f32`; what lies between the rows is zero.
fn values(place: &Place, dtype: DType, rows: usize, columns: usize, index: usize) -> Vec<f32> {
    let (rows, columns) = if place.transposed { (columns, rows) } else { (rows, columns) };
    let mut values = vec![0.0; rows * columns];
    for row in 0..rows {
        for column in 0..columns {
            let at = index * place.step + row * place.stride + column;
            // SAFETY: `Product`'s constructor has checked that the matrix lies inside its tensor.
            values[row * columns + column] = unsafe {
                match dtype {
                    DType::BF16 => f32::from_bits(u32::from(*(place.address as *const u16).add(at)) << 16),
                    _ => *(place.address as *const f32).add(at),
                }
            };
        }
    }
    values
}

/// Rounded to nearest, ties to even.
fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() { (bits >> 16 | 0x40) as u16 } else { ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16 }
}

pub(super) fn product(_: &Device, p: &Product) -> Result<()> {
    for index in 0..p.batch {
        let left = values(&p.left, p.factors, p.rows, p.inner, index);
        let right = values(&p.right, p.factors, p.inner, p.columns, index);
        let matrix = |values, place: &Place, rows, columns| match place.transposed {
            true => Matrix::new(values, columns, rows).t(),
            false => Matrix::new(values, rows, columns),
        };
        let mut out = match p.keep {
            0.0 => vec![0.0; p.rows * p.columns],
            _ => values(&p.out, p.result, p.rows, p.columns, index),
        };
        let (left, right) = (matrix(&left, &p.left, p.rows, p.inner), matrix(&right, &p.right, p.inner, p.columns));
        host_product(&mut out, p.columns, p.keep, p.scale, left, right, Compute::on_one_thread(Precision::F32));
        for (i, &value) in out.iter().enumerate() {
            let at = index * p.out.step + i / p.columns * p.out.stride + i % p.columns;
            // SAFETY: as in `values`; the address was taken from a tensor of this type that nothing borrows.
            unsafe {
                match p.result {
                    DType::BF16 => *(p.out.address as *mut u16).add(at) = bf16_bits(value),
                    _ => *(p.out.address as *mut f32).add(at) = value,
                }
            }
        }
    }
    Ok(())
}
