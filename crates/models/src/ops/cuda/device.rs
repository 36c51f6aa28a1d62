//! Memory, launches and products on a GPU, through candle's device and its one stream.

use std::ffi::c_void;

use candle_core::backend::BackendDevice;
use candle_core::cuda_backend::CudaStorageSlice;
use candle_core::cuda_backend::cudarc::cublas::{result, sys};
use candle_core::cuda_backend::cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, LaunchConfig, PushKernelArg};
use candle_core::op::BackpropOp;
use candle_core::{DType, Device, Error, Result, Shape, Storage, Tensor};

use super::linear::Product;
use super::{Argument, File, Launch};
use crate::Precision;

/// Shared memory that a block gets without asking.
const FREE_SHARED_MEMORY: usize = 48 * 1024;

/// Whether the kernels here take this tensor.
pub(crate) fn is_gpu(tensor: &Tensor) -> bool {
    tensor.device().is_cuda()
}

impl File {
    fn name(self) -> &'static str {
        match self {
            Self::Elementwise => "models_elementwise",
            Self::Norm => "models_norm",
            Self::Embedding => "models_embedding",
            Self::Loss => "models_loss",
            Self::AttentionF32 => "models_attention_f32",
            Self::AttentionBf16 => "models_attention_bf16",
            Self::Optimizer => "models_optimizer",
        }
    }

    fn ptx(self) -> &'static str {
        match self {
            Self::Elementwise => include_str!(concat!(env!("OUT_DIR"), "/elementwise.ptx")),
            Self::Norm => include_str!(concat!(env!("OUT_DIR"), "/norm.ptx")),
            Self::Embedding => include_str!(concat!(env!("OUT_DIR"), "/embedding.ptx")),
            Self::Loss => include_str!(concat!(env!("OUT_DIR"), "/loss.ptx")),
            Self::AttentionF32 => include_str!(concat!(env!("OUT_DIR"), "/attention_f32.ptx")),
            Self::AttentionBf16 => include_str!(concat!(env!("OUT_DIR"), "/attention_bf16.ptx")),
            Self::Optimizer => include_str!(concat!(env!("OUT_DIR"), "/optimizer.ptx")),
        }
    }
}

pub(super) fn read_address(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Err(Error::Msg("found a tensor on the CPU among tensors on a GPU".into()));
    };
    let stream = storage.device.cuda_stream();
    let base = match &storage.slice {
        CudaStorageSlice::F32(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::BF16(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::F64(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::U32(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::I64(values) => values.device_ptr(&stream).0,
        _ => return Err(Error::Msg(format!("found a tensor of {:?} on a GPU", tensor.dtype()))),
    };
    Ok(base + (layout.start_offset() * tensor.dtype().size_in_bytes()) as u64)
}

pub(super) fn write_address(tensor: &Tensor) -> Result<u64> {
    read_address(tensor)
}

/// The number of a tensor `[1]` of `f64`, after all work before it. (A copy to the host's ordinary memory is not
/// promised to wait for itself.)
pub(crate) fn read_number(tensor: &Tensor) -> Result<f64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Err(Error::Msg("found a number on the CPU, expected it on a GPU".into()));
    };
    let CudaStorageSlice::F64(values) = &storage.slice else {
        return Err(Error::Msg(format!("found a number of {:?}, expected F64", tensor.dtype())));
    };
    let stream = storage.device.cuda_stream();
    let mut number = [0.0];
    stream
        .memcpy_dtoh(&values.slice(layout.start_offset()..=layout.start_offset()), &mut number)
        .map_err(Error::wrap)?;
    stream.synchronize().map_err(Error::wrap)?;
    Ok(number[0])
}

pub(super) fn uninitialised(shape: &Shape, dtype: DType, device: &Device) -> Result<Tensor> {
    // SAFETY: the kernel that the caller launches next writes every value before another reads it.
    let storage = unsafe { device.as_cuda_device()?.alloc_uninit(shape, dtype)? };
    Ok(Tensor::from_storage(Storage::Cuda(storage), shape.clone(), BackpropOp::none(), false))
}

pub(super) fn launch(launch: &Launch<'_>, arguments: &[Argument]) -> Result<()> {
    if launch.grid.contains(&0) {
        return Ok(());
    }
    let device = launch.device.as_cuda_device()?;
    let function = device.get_or_load_custom_func(launch.kernel, launch.file.name(), launch.file.ptx())?;
    if launch.shared > FREE_SHARED_MEMORY {
        let bytes = launch.shared as i32;
        function.set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes).map_err(Error::wrap)?;
    }
    let extent = |sizes: [usize; 3]| -> Result<(u32, u32, u32)> {
        Ok((super::size(sizes[0])?, super::size(sizes[1])?, super::size(sizes[2])?))
    };
    let config = LaunchConfig {
        grid_dim: extent(launch.grid)?,
        block_dim: extent(launch.block)?,
        shared_mem_bytes: super::size(launch.shared)?,
    };
    let mut builder = function.builder();
    for argument in arguments {
        builder.arg(&argument.0);
    }
    // SAFETY: every kernel is called from one place, with the arguments of its definition; the emulated tests call the
    // same places.
    unsafe { builder.launch(config) }.map_err(Error::wrap)?;
    Ok(())
}

/// out <- keep out + scale left right, row-major: cuBLAS, which is column-major, computes the transposed product of the
/// transposed factors.
pub(super) fn product(device: &Device, p: &Product) -> Result<()> {
    let device = device.as_cuda_device()?;
    device.cuda_stream().context().bind_to_thread().map_err(Error::wrap)?;
    let kind = |dtype: DType| match dtype {
        DType::BF16 => sys::cudaDataType_t::CUDA_R_16BF,
        _ => sys::cudaDataType_t::CUDA_R_32F,
    };
    let operation = |transposed: bool| match transposed {
        true => sys::cublasOperation_t::CUBLAS_OP_T,
        false => sys::cublasOperation_t::CUBLAS_OP_N,
    };
    let compute = match p.precision {
        Precision::F32 | Precision::Bf16 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        Precision::Tf32 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
    };
    let int = |value: usize| {
        i32::try_from(value)
            .map_err(|_| Error::Msg(format!("a product's dimension: found {value}, expected below 2^31")))
    };
    // SAFETY: the factors and the result lie where `Product` says, as its constructor has checked.
    unsafe {
        result::gemm_strided_batched_ex(
            *device.cublas_handle().handle(),
            operation(p.right.transposed),
            operation(p.left.transposed),
            int(p.columns)?,
            int(p.rows)?,
            int(p.inner)?,
            (&raw const p.scale).cast(),
            p.right.address as *const c_void,
            kind(p.factors),
            int(p.right.stride)?,
            p.right.step as i64,
            p.left.address as *const c_void,
            kind(p.factors),
            int(p.left.stride)?,
            p.left.step as i64,
            (&raw const p.keep).cast(),
            p.out.address as *mut c_void,
            kind(p.result),
            int(p.out.stride)?,
            p.out.step as i64,
            int(p.batch)?,
            compute,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    }
    .map_err(Error::wrap)
}
