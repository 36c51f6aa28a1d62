//! From text to tokens: the tokenizer, and the training and held-out tokens of prose and code.
//!
//! A stage of the run store: the tokenizer is trained once for a corpus and a vocabulary. The pinned packages' prose and code are one stage; beside a user's corpus the
//! packages' code is a stage of its own, read only if it is a task, so that nothing else needs their sources.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use models::Tokenizer;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::corpus::{self, Corpus, Document, UserCorpus};
use crate::error::{ExperimentError, Result};
use crate::preset::{CorpusPreset, Preset};
use crate::store::{FilesWriter, StageId, StageKey, StageState, Store, StoredFiles};
use crate::tasks::CODE;

/// Raised when a fix changes the tokens.
const SEMANTICS: u32 = 1;

/// Seed of the choice of files where a preset limits the text.
const LIMIT_SEED: u64 = 1;

/// Seed of the division into training and held-out text.
const SPLIT_SEED: u64 = 0;

/// What text to use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TextSource {
    /// A user's pretraining text in place of the pinned packages' prose.
    pub corpus: Option<PathBuf>,
    /// A user's `tokenizer.json` in place of a BPE trained on the spot.
    pub tokenizer: Option<PathBuf>,
}

/// Tokens to train on and to measure on.
#[derive(Debug, Clone)]
pub struct TokenData {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Pretraining text.
    pub prose_train: Arc<[u32]>,
    /// Held-out pretraining text.
    pub prose_held_out: Arc<[u32]>,
    /// The pinned packages' code, if it was read.
    pub code: Option<CodeTokens>,
    /// The stage's id: identifies corpus, split and tokenizer.
    pub id: StageId,
    /// What the text is, for the report.
    pub description: String,
}

/// Code to finetune on.
#[derive(Debug, Clone)]
pub struct CodeTokens {
    /// Code to train on.
    pub train: Arc<[u32]>,
    /// Held-out code.
    pub held_out: Arc<[u32]>,
    /// Its stage's id.
    pub id: StageId,
}

/// What decides the tokens of code beside a user's corpus.
#[derive(Serialize)]
struct CodeConfig<'a> {
    code: &'a str,
    held_out: f64,
}

/// What decides the tokens.
#[derive(Serialize)]
struct Config<'a> {
    prose: &'a str,
    code: &'a str,
    tokenizer: &'a str,
    vocabulary: usize,
    held_out: f64,
}

/// Text before tokenisation.
struct Text {
    prose: UserCorpus,
    /// The pinned packages' code, where their prose is pretrained on.
    code: Option<Vec<Document>>,
    description: String,
    prose_fingerprint: String,
}

#[derive(Serialize, Deserialize)]
struct Described {
    description: String,
}

const PROSE_FILES: [&str; 2] = ["prose-train.u32", "prose-held-out.u32"];
const CODE_FILES: [&str; 2] = ["code-train.u32", "code-held-out.u32"];

impl TokenData {
    /// The tokens of a text source, from the store if they are there.
    ///
    /// Of the preset count the vocabulary, the share of text to hold out, and how much text is used.
    ///
    /// # Errors
    /// If the text cannot be read, is too small, or does not fit the tokenizer.
    pub fn prepare(store: &Store, source: &TextSource, preset: &Preset) -> Result<Self> {
        let held_out = preset.evaluation.held_out;
        let given = source.tokenizer.as_deref().map(Tokenizer::load).transpose()?;
        let given_json = given.as_ref().map(Tokenizer::to_json).transpose()?.flatten();
        let text = Text::read(source.corpus.as_deref(), given.as_ref(), &preset.corpus)?;
        let vocabulary = given.as_ref().map_or(preset.model.vocabulary, Tokenizer::vocabulary);
        let tokenizer = match &given_json {
            Some(json) => crate::hash::sha256_hex(json.as_bytes()),
            None => "trained".into(),
        };
        let code = text.code.as_deref().map(fingerprint).unwrap_or_default();
        let config =
            Config { prose: &text.prose_fingerprint, code: &code, tokenizer: &tokenizer, vocabulary, held_out };
        let key = StageKey::new("tokens", SEMANTICS, &config, &[])?;
        let mut data = match store.enter(&key)? {
            StageState::Done(stage) => Self::read(stage.files(), &key)?,
            StageState::Fresh(mut stage) | StageState::Started(mut stage, _) => {
                text.tokenise(stage.files(), given, vocabulary, held_out)?;
                Self::read(stage.finish()?.files(), &key)?
            }
        };
        if data.code.is_none() && preset.tasks.iter().any(|task| task == CODE) {
            let pinned = pinned(&preset.corpus)?;
            let summary = pinned.summary();
            let (packages, megabytes) = (summary.packages, summary.code_bytes as f64 / 1e6);
            data.description = format!("{}; code from {packages} packages, {megabytes:.1} MB", data.description);
            data.code = Some(CodeTokens::prepare(store, &pinned.code, &data, held_out)?);
        }
        Ok(data)
    }

    fn read(files: &StoredFiles, key: &StageKey) -> Result<Self> {
        let tokenizer = match files.contains("tokenizer.json") {
            true => Tokenizer::load(&files.path("tokenizer.json")?)?,
            false => Tokenizer::Bytes,
        };
        let described: Described = files.read_json("text.json")?;
        let [prose_train, prose_held_out] = read_tokens(files, PROSE_FILES)?;
        let code = files.contains(CODE_FILES[0]).then(|| CodeTokens::read(files, key)).transpose()?;
        let id = key.id().clone();
        Ok(Self { tokenizer, prose_train, prose_held_out, code, id, description: described.description })
    }
}

impl CodeTokens {
    /// The tokens of code beside a user's corpus, from the store if they are there.
    fn prepare(store: &Store, code: &[Document], data: &TokenData, held_out: f64) -> Result<Self> {
        let config = CodeConfig { code: &fingerprint(code), held_out };
        let key = StageKey::new("code-tokens", SEMANTICS, &config, std::slice::from_ref(&data.id))?;
        match store.enter(&key)? {
            StageState::Done(stage) => Self::read(stage.files(), &key),
            StageState::Fresh(mut stage) | StageState::Started(mut stage, _) => {
                write_tokens(stage.files(), CODE_FILES, encode_split(&data.tokenizer, code, held_out)?)?;
                Self::read(stage.finish()?.files(), &key)
            }
        }
    }

    fn read(files: &StoredFiles, key: &StageKey) -> Result<Self> {
        let [train, held_out] = read_tokens(files, CODE_FILES)?;
        Ok(Self { train, held_out, id: key.id().clone() })
    }
}

fn read_tokens(files: &StoredFiles, names: [&str; 2]) -> Result<[Arc<[u32]>; 2]> {
    let read = |name: &str| -> Result<Arc<[u32]>> {
        let bytes = files.read(name)?;
        Ok(bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    };
    Ok([read(names[0])?, read(names[1])?])
}

fn write_tokens(files: &mut FilesWriter, names: [&str; 2], tokens: [Vec<u32>; 2]) -> Result<()> {
    for (name, tokens) in names.iter().zip(tokens) {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        files.write(name, &bytes)?;
    }
    Ok(())
}

fn fingerprint(documents: &[Document]) -> String {
    corpus::fingerprint(&[("text", documents)])
}

/// The pinned packages' text, as much of it as a preset uses.
fn pinned(limits: &CorpusPreset) -> Result<Corpus> {
    Ok(Corpus::pinned()?.limited(limits.prose_bytes, limits.code_bytes, LIMIT_SEED)?)
}

impl Text {
    fn read(user: Option<&Path>, tokenizer: Option<&Tokenizer>, limits: &CorpusPreset) -> Result<Self> {
        let Some(path) = user else {
            let pinned = pinned(limits)?;
            let description = pinned.summary().to_string();
            let prose_fingerprint = fingerprint(&pinned.prose);
            let prose = UserCorpus::Text(pinned.prose);
            return Ok(Self { prose, code: Some(pinned.code), description, prose_fingerprint });
        };
        let prose = user_corpus(path, tokenizer)?;
        let (prose_fingerprint, size) = match &prose {
            UserCorpus::Text(documents) => {
                (fingerprint(documents), format!("{:.1} MB", corpus::bytes(documents) as f64 / 1e6))
            }
            UserCorpus::Tokens(tokens) => {
                let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
                (crate::hash::sha256_hex(&bytes), format!("{} tokens", tokens.len()))
            }
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let description = format!("corpus: {name}, {size}, sha256 {}", &prose_fingerprint[..8]);
        Ok(Self { prose, code: None, description, prose_fingerprint })
    }

    fn tokenise(
        self,
        files: &mut FilesWriter,
        tokenizer: Option<Tokenizer>,
        vocabulary: usize,
        held_out: f64,
    ) -> Result<()> {
        let (tokenizer, prose) = match self.prose {
            UserCorpus::Tokens(tokens) => {
                let tokenizer = tokenizer
                    .ok_or_else(|| ExperimentError::value("corpus", "token ids", "--tokenizer FILE beside them"))?;
                // A stream of tokens has no files to split by: its end is held out.
                let kept = ((1.0 - held_out) * tokens.len() as f64) as usize;
                let ids = |tokens: &[u16]| tokens.iter().map(|&token| u32::from(token)).collect::<Vec<_>>();
                (tokenizer, [ids(&tokens[..kept]), ids(&tokens[kept..])])
            }
            UserCorpus::Text(documents) => {
                let split = corpus::split(&documents, held_out, SPLIT_SEED)?;
                let texts = split.train.iter().map(|document| document.text.as_str());
                let tokenizer = match tokenizer {
                    Some(tokenizer) => tokenizer,
                    None if vocabulary == 257 => Tokenizer::Bytes,
                    None => Tokenizer::train_bpe(texts, vocabulary)?,
                };
                let prose = [encode(&tokenizer, &split.train)?, encode(&tokenizer, &split.held_out)?];
                (tokenizer, prose)
            }
        };
        write_tokens(files, PROSE_FILES, prose)?;
        if let Some(code) = &self.code {
            write_tokens(files, CODE_FILES, encode_split(&tokenizer, code, held_out)?)?;
        }
        if let Some(json) = tokenizer.to_json()? {
            files.write("tokenizer.json", json.as_bytes())?;
        }
        files.write_json("text.json", &Described { description: self.description })?;
        Ok(())
    }
}

/// A user's corpus; token ids need the tokenizer that made them.
fn user_corpus(path: &Path, tokenizer: Option<&Tokenizer>) -> Result<UserCorpus> {
    if path.extension().is_some_and(|extension| extension == "bin") && tokenizer.is_none() {
        let expected = "--tokenizer FILE with the tokenizer.json that made it";
        return Err(ExperimentError::value("corpus", path.display(), expected));
    }
    Ok(corpus::read_user_corpus(path, tokenizer.map(Tokenizer::vocabulary))?)
}

/// Documents divided into training and held-out ones, in tokens.
fn encode_split(tokenizer: &Tokenizer, documents: &[Document], held_out: f64) -> Result<[Vec<u32>; 2]> {
    let split = corpus::split(documents, held_out, SPLIT_SEED)?;
    Ok([encode(tokenizer, &split.train)?, encode(tokenizer, &split.held_out)?])
}

/// All documents one after the other, each ended by the end of text.
fn encode(tokenizer: &Tokenizer, documents: &[Document]) -> Result<Vec<u32>> {
    let encoded: Vec<Vec<u32>> = documents
        .par_iter()
        .map(|document| {
            let mut tokens = tokenizer.encode(&document.text)?;
            tokens.push(tokenizer.end_of_text());
            Ok(tokens)
        })
        .collect::<Result<_, models::Error>>()?;
    Ok(encoded.concat())
}
