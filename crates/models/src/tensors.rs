//! Files of named tensors in the safetensors format, with names and shapes checked on the way in.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::Value;

use crate::{Error, Result};

/// The longest header that is read, as in the format's own library.
const LONGEST_HEADER: u64 = 100_000_000;

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

/// Where a tensor lies.
struct Place {
    /// Which of the files.
    file: usize,
    dtype: String,
    shape: Vec<usize>,
    start: u64,
    bytes: usize,
}

/// What the header says of a tensor.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// The tensors of one file, or of several that divide them, taken out one by one; what is left at the end was not
/// expected. Values are read when they are taken, so that memory holds those of one tensor at a time.
pub(crate) struct TensorFile {
    /// What errors about the whole name.
    path: PathBuf,
    files: Vec<(PathBuf, File)>,
    places: BTreeMap<String, Place>,
    metadata: HashMap<String, String>,
    device: Device,
}

impl TensorFile {
    /// Opens one file.
    pub(crate) fn read(path: &Path, device: &Device) -> Result<Self> {
        Self::read_all(path, &[path.to_path_buf()], device)
    }

    /// Opens several files that share the tensors of one model; errors about the whole name `path`.
    pub(crate) fn read_all(path: &Path, files: &[PathBuf], device: &Device) -> Result<Self> {
        let mut opened = Self {
            path: path.into(),
            files: Vec::new(),
            places: BTreeMap::new(),
            metadata: HashMap::new(),
            device: device.clone(),
        };
        files.iter().try_for_each(|file| opened.open(file))?;
        Ok(opened)
    }

    fn open(&mut self, path: &Path) -> Result<()> {
        let damaged = |found: String| Error::File {
            path: path.into(),
            what: format!("found {found}, expected a whole safetensors file"),
        };
        let mut file = File::open(path).map_err(Error::io(path))?;
        let length = file.metadata().map_err(Error::io(path))?.len();
        let mut prefix = [0; 8];
        if length < 8 {
            return Err(damaged(format!("{length} bytes")));
        }
        file.read_exact(&mut prefix).map_err(Error::io(path))?;
        let header_length = u64::from_le_bytes(prefix);
        if header_length > LONGEST_HEADER.min(length - 8) {
            return Err(damaged(format!("a header of {header_length} bytes in a file of {length}")));
        }
        let mut header = vec![0; header_length as usize];
        file.read_exact(&mut header).map_err(Error::io(path))?;
        let header: BTreeMap<String, Value> =
            serde_json::from_slice(&header).map_err(|e| damaged(format!("a broken header ({e})")))?;
        let begin = 8 + header_length;
        let mut end = begin;
        for (name, entry) in header {
            if name == "__metadata__" {
                let metadata = serde_json::from_value(entry).map_err(|e| damaged(format!("broken metadata ({e})")))?;
                self.metadata = metadata;
                continue;
            }
            let entry: Entry =
                serde_json::from_value(entry).map_err(|e| damaged(format!("a broken entry `{name}` ({e})")))?;
            let [from, to] = entry.data_offsets;
            if from > to || to > length - begin {
                return Err(damaged(format!("tensor `{name}` up to byte {to} of {}", length - begin)));
            }
            end = end.max(begin + to);
            let place = Place {
                file: self.files.len(),
                dtype: entry.dtype,
                shape: entry.shape,
                start: begin + from,
                bytes: (to - from) as usize,
            };
            if let Some(other) = self.places.insert(name.clone(), place) {
                let other = self.files[other.file].0.display();
                return Err(damaged(format!("tensor `{name}`, which {other} has too")));
            }
        }
        if end != length {
            return Err(damaged(format!("{length} bytes where the header ends at {end}")));
        }
        self.files.push((path.into(), file));
        Ok(())
    }

    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Takes the tensor called `name`, which must have `shape` and hold floating-point numbers, as `f32`.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        if let Some(place) = self.places.get(name)
            && !matches!(place.dtype.as_str(), "F64" | "F32" | "F16" | "BF16")
        {
            let what = format!("tensor `{name}`: found {}, expected F32, F16 or BF16", place.dtype);
            return Err(Error::File { path: self.files[place.file].0.clone(), what });
        }
        self.take_as(name, shape, DType::F32)
    }

    /// Takes the tensor called `name`, which must have `shape`, as `dtype`.
    pub(crate) fn take_as(&mut self, name: &str, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let Some(place) = self.places.remove(name) else {
            return Err(Error::MissingTensor { path: self.path.clone(), name: name.into() });
        };
        if place.shape != shape {
            return Err(Error::Shape { name: name.into(), found: place.shape, expected: shape.to_vec() });
        }
        let (path, file) = &mut self.files[place.file];
        let damaged = |what: String| Error::File { path: path.clone(), what: format!("tensor `{name}`: {what}") };
        let stored = stored_type(&place.dtype)
            .ok_or_else(|| damaged(format!("found {}, expected a type of numbers", place.dtype)))?;
        let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        let needed = elements.and_then(|elements| elements.checked_mul(stored.size_in_bytes()));
        if needed != Some(place.bytes) {
            return Err(damaged(format!("found {} bytes for {shape:?} of {}", place.bytes, place.dtype)));
        }
        let mut bytes = vec![0; place.bytes];
        file.seek(SeekFrom::Start(place.start)).and_then(|_| file.read_exact(&mut bytes)).map_err(Error::io(path))?;
        Ok(Tensor::from_raw_buffer(&bytes, stored, shape, &self.device)?.to_dtype(dtype)?)
    }

    /// Drops tensors that carry no weights (masks and tables that old exports contain).
    pub(crate) fn ignore(&mut self, is_buffer: impl Fn(&str) -> bool) {
        self.places.retain(|name, _| !is_buffer(name));
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(self) -> Result<()> {
        match self.places.into_iter().next() {
            Some((name, place)) => Err(Error::UnexpectedTensor { path: self.files[place.file].0.clone(), name }),
            None => Ok(()),
        }
    }
}

fn stored_type(name: &str) -> Option<DType> {
    Some(match name {
        "F64" => DType::F64,
        "F32" => DType::F32,
        "F16" => DType::F16,
        "BF16" => DType::BF16,
        "I64" => DType::I64,
        "U32" => DType::U32,
        "U8" => DType::U8,
        _ => return None,
    })
}
