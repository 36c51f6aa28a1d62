//! A checkpoint that a user brings: a folder in Hugging Face's layout, or a GGUF file.

use std::path::{Path, PathBuf};

use candle_core::Device;
use serde_json::Value;

use super::CONFIG;
use super::gguf::Gguf;
use super::gguf_tokenizer;
use super::layout::{HEAD, HuggingFace};
use super::shape::parse_config;
use super::shards::weight_files;
use super::special::SpecialTokens;
use crate::config::ModelConfig;
use crate::tensors::TensorFile;
use crate::transformer::Transformer;
use crate::{Error, Result};

/// The file of a tokenizer in a checkpoint's directory.
pub const TOKENIZER: &str = "tokenizer.json";

/// The file that says how a conversation becomes text, in a checkpoint's directory.
pub const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// A checkpoint on disk, of which the shape is known and the weights are not read yet.
#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
    config: ModelConfig,
    files: Vec<PathBuf>,
    kind: Kind,
    tokens: SpecialTokens,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    Gguf,
}

impl Source {
    /// Opens a folder in Hugging Face's layout (`config.json`, and `model.safetensors` or shards with an index) or a
    /// `.gguf` file.
    ///
    /// # Errors
    /// One line that names what is missing, or the field that is not supported with what was found and expected.
    pub fn open(path: &Path) -> Result<Self> {
        if std::fs::metadata(path).map_err(Error::io(path))?.is_dir() {
            let opened = Self::open_shape(path)?;
            let files = weight_files(path)?;
            return opened.with_weights(files);
        }
        Self::open_file(path)
    }

    /// Opens what says the network's shape and, of a folder, nothing else: its weights may be missing, and then there
    /// are no [`files`](Self::files). What is done with them needs [`open`](Self::open).
    ///
    /// # Errors
    /// As [`open`](Self::open), but for weights.
    pub fn open_without_weights(path: &Path) -> Result<Self> {
        if std::fs::metadata(path).map_err(Error::io(path))?.is_dir() {
            Self::open_shape(path)
        } else {
            Self::open(path)
        }
    }

    fn open_file(path: &Path) -> Result<Self> {
        let found = std::fs::metadata(path).map_err(Error::io(path))?;
        let is_gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
        if !found.is_file() || !is_gguf {
            let what = "found neither, expected a folder with config.json and model.safetensors, or a .gguf file";
            return Err(Error::File { path: path.into(), what: what.into() });
        }
        let mut file = Gguf::open(path)?;
        let (config, tokens) = (file.config()?, file.special_tokens());
        Ok(Self { path: path.into(), config, files: vec![path.into()], kind: Kind::Gguf, tokens })
    }

    /// A folder by its `config.json`.
    fn open_shape(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let what = format!("found no {CONFIG}, expected the folder of a checkpoint, or a .gguf file");
                return Err(Error::File { path: folder.into(), what });
            }
            read => read.map_err(Error::io(&path))?,
        };
        let value: Value =
            serde_json::from_str(&text).map_err(|e| Error::File { path: path.clone(), what: e.to_string() })?;
        let config = parse_config(&value).map_err(|what| Error::File { path, what })?;
        let tokens = SpecialTokens::of_folder(folder);
        Ok(Self { path: folder.into(), config, files: Vec::new(), kind: Kind::Folder, tokens })
    }

    fn with_weights(mut self, files: Vec<PathBuf>) -> Result<Self> {
        let weights = TensorFile::read_all(&self.path, &files, &Device::Cpu)?;
        // A head that is not there is the embedding, whatever the configuration says.
        self.config.tied |= !weights.contains(HEAD);
        Ok(Self { files, ..self })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The network's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The files that hold the weights: what they contain is what the checkpoint is.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The tokens that begin and end a text, as far as the checkpoint names them.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.tokens
    }

    /// The network with its weights, in f32.
    ///
    /// # Errors
    /// One line that names the file and the tensor that is missing, superfluous or of another shape or type.
    pub fn read(&self) -> Result<Transformer> {
        let mut model = Transformer::unfilled(&self.config)?;
        match self.kind {
            Kind::Folder => {
                let file = TensorFile::read_all(&self.path, &self.files, &Device::Cpu)?;
                fill(&mut model, file)?;
            }
            Kind::Gguf => {
                let mut file = Gguf::open(&self.path)?;
                for (id, name, shape) in places(&model) {
                    model.parameters_mut().set(id, file.take(&name, &shape)?)?;
                }
            }
        }
        Ok(model)
    }

    /// How a conversation becomes text, where the checkpoint says it.
    pub fn chat_template(&self) -> Option<String> {
        match self.kind {
            Kind::Folder => template_of_folder(&self.path),
            Kind::Gguf => Gguf::open(&self.path).ok()?.chat_template(),
        }
    }

    /// The text of the checkpoint's `tokenizer.json`: the file in its folder, or beside the GGUF file, or made of what
    /// the GGUF file says. `None` for a folder without one.
    ///
    /// # Errors
    /// If it cannot be read, or the GGUF file has a tokenizer of another kind.
    pub fn tokenizer_json(&self) -> Result<Option<String>> {
        let folder = match self.kind {
            Kind::Folder => self.path.as_path(),
            Kind::Gguf => self.path.parent().unwrap_or(Path::new(".")),
        };
        let path = folder.join(TOKENIZER);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&path)(error)),
            Err(_) if self.kind == Kind::Folder => Ok(None),
            Err(_) => gguf_tokenizer::tokenizer_json(&Gguf::open(&self.path)?, &self.path).map(Some),
        }
    }
}

/// The template of a folder: a file of its own, or a field of `tokenizer_config.json`.
fn template_of_folder(folder: &Path) -> Option<String> {
    if let Ok(text) = std::fs::read_to_string(folder.join(CHAT_TEMPLATE)) {
        return Some(text);
    }
    let text = std::fs::read_to_string(folder.join("tokenizer_config.json")).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    value.get("chat_template")?.as_str().map(str::to_owned)
}

type Place = (crate::ParameterId, String, Vec<usize>);

fn places(model: &Transformer) -> Vec<Place> {
    model.parameters().iter().map(|(id, p)| (id, p.name.clone(), p.value.dims().to_vec())).collect()
}

/// Sets every parameter from a file in Hugging Face's layout.
pub(super) fn fill(model: &mut Transformer, file: TensorFile) -> Result<()> {
    let mut file = HuggingFace::new(file, model.config());
    for (id, name, shape) in places(model) {
        let value = file.take(&name, &shape)?;
        model.parameters_mut().set(id, value)?;
    }
    file.finish()
}
