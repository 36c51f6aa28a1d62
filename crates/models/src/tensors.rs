//! Files of named tensors in the safetensors format, with names and shapes checked on the way in.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;

use crate::{Error, Result};

/// Writes `tensors` and text `metadata`, through a temporary name, so that a file of this name is always whole.
pub(crate) fn write(path: &Path, tensors: &[(String, Tensor)], metadata: HashMap<String, String>) -> Result<()> {
    let on_cpu = |(name, tensor): &(String, Tensor)| Ok((name.clone(), tensor.to_device(&Device::Cpu)?));
    let tensors = tensors.iter().map(on_cpu).collect::<Result<Vec<_>>>()?;
    let views = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|e| Error::File { path: path.into(), what: e.to_string() })?;
    let temporary = path.with_extension("tmp");
    let written = std::fs::File::create(&temporary).and_then(|mut file| {
        std::io::Write::write_all(&mut file, &bytes)?;
        file.sync_all()
    });
    written.map_err(Error::io(&temporary))?;
    std::fs::rename(&temporary, path).map_err(Error::io(path))
}

/// The tensors of a file, taken out one by one; what is left at the end was not expected.
pub(crate) struct TensorFile {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    metadata: HashMap<String, String>,
}

impl TensorFile {
    pub(crate) fn read(path: &Path, device: &Device) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let damaged = |what: String| Error::File { path: path.into(), what };
        let (_, header) = SafeTensors::read_metadata(&bytes)
            .map_err(|e| damaged(format!("found {e}, expected a whole safetensors file")))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let tensors = candle_core::safetensors::load_buffer(&bytes, device).map_err(|e| damaged(e.to_string()))?;
        Ok(Self { path: path.into(), tensors: tensors.into_iter().collect(), metadata })
    }

    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Takes the tensor called `name`, which must have `shape`, as `f32`.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.take_as(name, shape, DType::F32)
    }

    /// Takes the tensor called `name`, which must have `shape`, as `dtype`.
    pub(crate) fn take_as(&mut self, name: &str, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let Some(tensor) = self.tensors.remove(name) else {
            return Err(Error::MissingTensor { path: self.path.clone(), name: name.into() });
        };
        if tensor.dims() != shape {
            return Err(Error::Shape { name: name.into(), found: tensor.dims().to_vec(), expected: shape.to_vec() });
        }
        Ok(tensor.to_dtype(dtype)?)
    }

    /// Drops tensors that carry no weights (masks and tables that old exports contain).
    pub(crate) fn ignore(&mut self, is_buffer: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| !is_buffer(name));
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(self) -> Result<()> {
        match self.tensors.into_keys().next() {
            Some(name) => Err(Error::UnexpectedTensor { path: self.path, name }),
            None => Ok(()),
        }
    }
}
