//! Where a model is computed: the processor, or a GPU of a build with the feature `cuda`.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;

use crate::{Error, Result};

/// The processor or one of the GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hardware {
    /// The processor.
    #[default]
    Cpu,
    /// The GPU of this number, from 0.
    Cuda(usize),
}

const EXPECTED: &str = "auto, cpu, cuda or cuda:N";

impl Hardware {
    /// A GPU if this build can use one and there is one, else the processor.
    pub fn auto() -> Self {
        if gpus() > 0 { Self::Cuda(0) } else { Self::Cpu }
    }

    /// Its kind: `cpu` or `cuda`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda(_) => "cuda",
        }
    }

    /// The device to which a model is moved. All models on a GPU share one: their work is done in the order in which it
    /// was given.
    ///
    /// # Errors
    /// [`Error::Config`] if this build has no GPU support, or there is no such GPU.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(ordinal) => open_gpu(ordinal),
        }
    }
}

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl FromStr for Hardware {
    type Err = Error;

    /// `auto`, `cpu`, `cuda` (the first GPU) or `cuda:N`.
    fn from_str(text: &str) -> Result<Self> {
        let ordinal = |number: &str| number.parse().map_err(|_| Error::config("device", text, EXPECTED));
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::auto()),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", number)) => Ok(Self::Cuda(ordinal(number)?)),
            _ => Err(Error::config("device", text, EXPECTED)),
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn gpus() -> usize {
    0
}

#[cfg(not(feature = "cuda"))]
fn open_gpu(ordinal: usize) -> Result<Device> {
    let found = Hardware::Cuda(ordinal);
    Err(Error::config(
        "device",
        found,
        "cpu: this build has no GPU support (cargo build --release --features cuda, docs/gpu.md)",
    ))
}

/// How many GPUs the driver shows; none where it cannot be asked.
#[cfg(feature = "cuda")]
fn gpus() -> usize {
    let count = candle_core::cuda_backend::cudarc::driver::CudaContext::device_count();
    count.map_or(0, |count| usize::try_from(count).unwrap_or(0))
}

#[cfg(feature = "cuda")]
fn open_gpu(ordinal: usize) -> Result<Device> {
    use std::collections::HashMap;
    use std::sync::{Mutex, PoisonError};

    static OPEN: Mutex<Option<HashMap<usize, Device>>> = Mutex::new(None);
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let open = open.get_or_insert_default();
    if let Some(device) = open.get(&ordinal) {
        return Ok(device.clone());
    }
    let found = Hardware::Cuda(ordinal);
    let count = gpus();
    if ordinal >= count {
        return Err(Error::config("device", found, format!("one of the {count} GPUs that the driver shows")));
    }
    // A stream of its own: the default one is another for every thread.
    let device = Device::new_cuda_with_stream(ordinal)?;
    // SAFETY: nothing here uses a second stream, so that no event has to order two.
    unsafe { device.as_cuda_device()?.disable_event_tracking() };
    pool::keep_freed_memory(device.as_cuda_device()?)?;
    add_up_in_f32(device.as_cuda_device()?)?;
    open.insert(ordinal, device.clone());
    Ok(device)
}

/// Products with a bf16 result add up parts of a sum in f32 too, which cuBLAS otherwise may not.
#[cfg(feature = "cuda")]
fn add_up_in_f32(device: &candle_core::CudaDevice) -> Result<()> {
    use candle_core::cuda_backend::cudarc::cublas::sys;

    let mode = sys::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
    // SAFETY: the handle is the device's own and alive.
    let status = unsafe { sys::cublasSetMathMode(*device.cublas_handle().handle(), mode) };
    Ok(status.result().map_err(candle_core::Error::wrap)?)
}

/// The pool that a GPU's tensors come from.
#[cfg(feature = "cuda")]
mod pool {
    use candle_core::Device;
    use candle_core::cuda_backend::cudarc::driver::result::{device, mem_pool};
    use candle_core::cuda_backend::cudarc::driver::sys::{CUmemPool_attribute, CUmemoryPool};

    use super::{GpuMemory, Result};

    fn of(device: &candle_core::CudaDevice) -> Result<CUmemoryPool> {
        let context = device.cuda_stream().context().clone();
        context.bind_to_thread().map_err(candle_core::Error::wrap)?;
        // SAFETY: the context is alive, and its device with it.
        Ok(unsafe { device::get_mem_pool(context.cu_device()) }.map_err(candle_core::Error::wrap)?)
    }

    /// Keeps freed memory for the next step: by default every wait gives it back to the system.
    pub(super) fn keep_freed_memory(device: &candle_core::CudaDevice) -> Result<()> {
        let mut threshold = u64::MAX;
        let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        // SAFETY: this attribute is a 64-bit number.
        let result = unsafe { mem_pool::set_attribute(of(device)?, attribute, (&raw mut threshold).cast()) };
        Ok(result.map_err(candle_core::Error::wrap)?)
    }

    pub(super) fn memory(device: &Device) -> Result<Option<GpuMemory>> {
        let Device::Cuda(device) = device else { return Ok(None) };
        let (free, total) = device.cuda_stream().context().mem_get_info().map_err(candle_core::Error::wrap)?;
        let pool = of(device)?;
        let read = |attribute| -> Result<u64> {
            let mut value = 0u64;
            // SAFETY: both attributes are 64-bit numbers.
            let result = unsafe { mem_pool::get_attribute(pool, attribute, (&raw mut value).cast()) };
            result.map_err(candle_core::Error::wrap)?;
            Ok(value)
        };
        let peak = read(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)?;
        let reserved = read(CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
        let used = read(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?;
        let available = free as u64 + reserved.saturating_sub(used);
        Ok(Some(GpuMemory { peak, available, total: total as u64 }))
    }
}

/// Memory of a GPU, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuMemory {
    /// The most that tensors of this process have taken at one time.
    pub peak: u64,
    /// What tensors can still take.
    pub available: u64,
    /// All there is.
    pub total: u64,
}

/// The memory of a device; `None` for the processor.
///
/// # Errors
/// If the driver does not answer.
pub fn gpu_memory(device: &Device) -> Result<Option<GpuMemory>> {
    #[cfg(feature = "cuda")]
    return pool::memory(device);
    #[cfg(not(feature = "cuda"))]
    match device {
        Device::Cuda(_) => Err(Error::config("device", "cuda", "cpu")),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for hardware in [Hardware::Cpu, Hardware::Cuda(0), Hardware::Cuda(3)] {
            assert_eq!(hardware.to_string().parse::<Hardware>().unwrap(), hardware);
        }
        assert_eq!("cuda".parse::<Hardware>().unwrap(), Hardware::Cuda(0));
    }

    #[test]
    fn other_names_are_refused_with_those_there_are() {
        for text in ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "cpu:0", ""] {
            let error = text.parse::<Hardware>().unwrap_err().to_string();
            assert_eq!(error, format!("device: found {text}, expected auto, cpu, cuda or cuda:N"));
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_gpu_support_says_how_to_get_it() {
        assert_eq!(Hardware::auto(), Hardware::Cpu);
        let error = Hardware::Cuda(1).open().unwrap_err().to_string();
        assert!(
            error.starts_with("device: found cuda:1, expected cpu:") && error.contains("--features cuda"),
            "{error}"
        );
    }
}
