//! Where networks are trained and in which numbers, and the flags that say so.

use std::num::NonZeroUsize;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use lab::experiment::Flags;
use lab::preset::Change;
use lab::program::path_in_preset;
use models::{Hardware, Precision};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A device in a preset: what the user asked for, and what it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine(Hardware);

impl Default for Machine {
    /// A GPU if this build can use one and there is one, else the processor.
    fn default() -> Self {
        Self(Hardware::auto())
    }
}

impl From<Hardware> for Machine {
    fn from(hardware: Hardware) -> Self {
        Self(hardware)
    }
}

impl Machine {
    /// The device.
    pub fn hardware(self) -> Hardware {
        self.0
    }

    /// Checks that it is there.
    ///
    /// # Errors
    /// If this build has no GPU support, or there is no such GPU.
    pub fn check(self) -> models::Result<()> {
        self.0.open().map(drop)
    }

    /// Stages at a time where the user does not say: one on a GPU, as many as there are cores on a processor.
    pub fn default_jobs(self) -> NonZeroUsize {
        match self.0 {
            Hardware::Cpu => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            Hardware::Cuda(_) => NonZeroUsize::MIN,
        }
    }
}

impl Serialize for Machine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Machine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// Flags of every program that trains networks.
#[derive(Debug, Clone, Args)]
pub struct MachineFlags {
    /// Where networks are trained: auto (a GPU if this build can use one and there is one), cpu, cuda or cuda:N
    /// [default: the preset's, else auto]
    #[arg(long, value_name = "DEVICE")]
    device: Option<Hardware>,
}

impl Flags for MachineFlags {
    fn changes(&self) -> Vec<Change> {
        self.device.map(|device| Change::new("device", device.to_string())).into_iter().collect()
    }
}

/// Flags of every program that pretrains on text.
#[derive(Debug, Clone, Args)]
pub struct TextFlags {
    #[command(flatten)]
    machine: MachineFlags,
    /// Pretraining text: .txt, .jsonl (or .json, .csv) with a field `text`, these also compressed (.jsonl.zst), or .bin
    /// with token ids (with --tokenizer); may be a pattern or be repeated [default: the documentation of Rust packages,
    /// see docs/corpus.md]
    #[arg(long, value_name = "FILE", value_parser = path())]
    corpus: Vec<String>,
    /// The field of a row that holds the text [default: text]
    #[arg(long, value_name = "NAME")]
    text_field: Option<String>,
    /// A tokenizer.json in place of a BPE trained on the text
    #[arg(long, value_name = "FILE", value_parser = path())]
    tokenizer: Option<String>,
    /// The tokenizer's token that ends a text, where it is none of the usual ones
    #[arg(long, value_name = "TOKEN")]
    end_of_text: Option<String>,
    /// In which numbers products of matrices are computed: f32; tf32 (on a GPU); bf16 (faster with AVX512-BF16 or on
    /// a GPU) [default: the preset's]
    #[arg(long, value_parser = precision)]
    precision: Option<Precision>,
}

/// Reads a path that becomes a field of a preset.
fn path() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().try_map(path_in_preset)
}

/// A precision by its name.
///
/// # Errors
/// With the names that there are.
pub fn precision(name: &str) -> Result<Precision, String> {
    [Precision::F32, Precision::Tf32, Precision::Bf16]
        .into_iter()
        .find(|precision| precision.as_str() == name)
        .ok_or_else(|| "expected f32, tf32 or bf16".into())
}

impl Flags for TextFlags {
    fn changes(&self) -> Vec<Change> {
        let mut changes = self.machine.changes();
        changes.extend(match &self.corpus[..] {
            [] => None,
            [one] => Some(Change::new("corpus.file", one.as_str())),
            several => Some(Change::new("corpus.file", several.to_vec())),
        });
        changes.extend(self.text_field.as_ref().map(|field| Change::new("corpus.text-field", field.as_str())));
        changes.extend(self.end_of_text.as_ref().map(|end| Change::new("corpus.end-of-text", end.as_str())));
        changes.extend(self.tokenizer.as_ref().map(|file| Change::new("corpus.tokenizer", file.as_str())));
        changes.extend(self.precision.map(|precision| Change::new("precision", precision.as_str())));
        changes
    }
}
