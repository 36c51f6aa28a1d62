//! From text to tokens: the tokenizer, and the training and held-out tokens of prose and code.
//!
//! Prose with its tokenizer is one stage, code in these tokens another, read only if it is a task.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use corpora::{Corpus, Document, UserCorpus};
use lab::error::Failure;
use lab::grid::Grid;
use lab::hash;
use lab::stage::{Stage, Work};
use lab::store::{DoneStage, FilesWriter, StageId, StoredFiles};
use models::Tokenizer;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{ExperimentError, Result};

/// Seed of the choice of files where the text is limited.
const LIMIT_SEED: u64 = 1;

/// Seed of the division into training and held-out text.
const SPLIT_SEED: u64 = 0;

/// Which text, and how much of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TextSource {
    /// A user's pretraining text in place of the pinned packages' prose.
    pub file: Option<PathBuf>,
    /// A user's `tokenizer.json` in place of a BPE trained on the spot.
    pub tokenizer: Option<PathBuf>,
    /// Bytes of the packages' prose, about; all if none are given.
    pub prose_bytes: Option<usize>,
    /// Bytes of the packages' code, about; all if none are given.
    pub code_bytes: Option<usize>,
    /// Entries of the BPE; 257 means bytes.
    pub vocabulary: usize,
    /// Share of the text that is held out, by file.
    pub held_out: f64,
}

/// Pretraining text in tokens.
#[derive(Debug, Clone)]
pub struct TokenData {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Text to train on.
    pub prose_train: Arc<[u32]>,
    /// Held-out text.
    pub prose_held_out: Arc<[u32]>,
    /// The stage's id: identifies text, split and tokenizer.
    pub id: StageId,
    /// What the text is, for the report.
    pub description: String,
}

/// Code in tokens.
#[derive(Debug, Clone)]
pub struct CodeTokens {
    /// Code to train on.
    pub train: Arc<[u32]>,
    /// Held-out code.
    pub held_out: Arc<[u32]>,
    /// The stage's id.
    pub id: StageId,
}

/// The pinned packages' text: read when it is needed, and once.
struct Pinned {
    prose_bytes: Option<usize>,
    code_bytes: Option<usize>,
    /// Told before the text is fetched.
    tell: fn(&str),
    corpus: OnceLock<Corpus>,
}

impl Pinned {
    fn read(&self) -> Result<&Corpus> {
        if self.corpus.get().is_none() {
            let all = Corpus::pinned(|fetching| (self.tell)(&fetching.to_string()))?;
            let limited = all.limited(self.prose_bytes, self.code_bytes, LIMIT_SEED)?;
            // Whoever was quicker has read the same.
            let _ = self.corpus.set(limited);
        }
        self.corpus.get().ok_or_else(|| ExperimentError::value("corpus", "nothing", "the packages' text"))
    }
}

/// What the pinned packages' text is. A stage, so that a run whose tokens are there does not read the text.
struct PinnedText(Arc<Pinned>);

/// What decides it.
#[derive(Debug, Serialize)]
struct PinnedKey {
    /// SHA-256 of the lock file.
    lock: String,
    extraction: u32,
    prose_bytes: Option<usize>,
    code_bytes: Option<usize>,
    seed: u64,
}

/// What is known of it.
#[derive(Debug, Serialize, Deserialize)]
struct PinnedSummary {
    description: String,
    prose: String,
    code: String,
    packages: usize,
    code_bytes: usize,
}

impl Stage for PinnedText {
    const KIND: &'static str = "text";
    const SEMANTICS: u32 = 1;
    type Key = PinnedKey;
    type Output = PinnedSummary;

    fn key(&self) -> PinnedKey {
        let Pinned { prose_bytes, code_bytes, .. } = *self.0;
        // A lock file that cannot be read has no text: computing the stage says so.
        let lock = hash::sha256_hex(corpora::pinned_lock().unwrap_or_default().as_bytes());
        PinnedKey { lock, extraction: corpora::SEMANTICS, prose_bytes, code_bytes, seed: LIMIT_SEED }
    }

    fn label(&self) -> String {
        "text of the pinned packages".into()
    }

    fn cost(&self) -> u64 {
        0
    }

    fn uses_all_threads(&self) -> bool {
        true
    }

    fn compute(&self, _: &mut Work<'_>) -> Result<PinnedSummary, Failure> {
        let corpus = self.0.read()?;
        Ok(PinnedSummary {
            description: corpus.summary().to_string(),
            prose: fingerprint(&corpus.prose),
            code: fingerprint(&corpus.code),
            packages: corpus.packages,
            code_bytes: corpora::bytes(&corpus.code),
        })
    }

    fn summary(output: &PinnedSummary) -> String {
        output.description.clone()
    }
}

/// Pretraining text: a user's, or the pinned packages' prose.
enum Text {
    Own(UserCorpus),
    Pinned(Arc<Pinned>),
}

impl TokenData {
    /// The tokens of a text, and of code if it is asked for; from the store if they are there.
    ///
    /// # Errors
    /// If the text cannot be read, is too small, or does not fit the tokenizer.
    pub fn prepare(
        grid: &mut Grid,
        source: &TextSource,
        with_code: bool,
    ) -> Result<(Arc<Self>, Option<CodeTokens>), Failure> {
        let tokenizer = source.tokenizer.as_deref().map(Tokenizer::load).transpose()?;
        Self::prepare_in(grid, source, tokenizer, with_code)
    }

    /// [`prepare`](Self::prepare) in the tokens of a tokenizer that is not the source's.
    ///
    /// # Errors
    /// As there.
    pub fn prepare_in(
        grid: &mut Grid,
        source: &TextSource,
        tokenizer: Option<Tokenizer>,
        with_code: bool,
    ) -> Result<(Arc<Self>, Option<CodeTokens>), Failure> {
        let TextSource { prose_bytes, code_bytes, .. } = *source;
        let pinned = Arc::new(Pinned { prose_bytes, code_bytes, tell: grid.teller(), corpus: OnceLock::new() });
        let known = match source.file.is_none() || with_code {
            true => Some(grid.now(&PinnedText(pinned.clone()))?.0),
            false => None,
        };
        let (text, fingerprint, description) = match (&source.file, &known) {
            (None, Some(known)) => (Text::Pinned(pinned.clone()), known.prose.clone(), known.description.clone()),
            (Some(path), _) => user_text(path, tokenizer.as_ref())?,
            (None, None) => return Err(ExperimentError::value("corpus", "nothing", "text").into()),
        };
        let vocabulary = tokenizer.as_ref().map_or(source.vocabulary, Tokenizer::vocabulary);
        let tokens = Tokens::new(text, fingerprint, tokenizer, vocabulary, source.held_out)?;
        let (_, done) = grid.now(&tokens)?;
        let mut data = Self::read(&done, description)?;
        let mut code = None;
        if let Some(known) = known.filter(|_| with_code) {
            if source.file.is_some() {
                let megabytes = known.code_bytes as f64 / 1e6;
                let packages = known.packages;
                data.description = format!("{}; code from {packages} packages, {megabytes:.1} MB", data.description);
            }
            let stage = TokensOfCode {
                fingerprint: known.code,
                pinned,
                tokenizer: data.tokenizer.clone(),
                held_out: source.held_out,
                text: data.id.clone(),
            };
            let (_, done) = grid.now(&stage)?;
            let [train, held_out] = read_tokens(done.files())?;
            code = Some(CodeTokens { train, held_out, id: done.id().clone() });
        }
        grid.say(&data.description);
        let of_code = code.as_ref().map_or(String::new(), |code| format!(", {} of code", code.train.len()));
        let (prose, vocabulary) = (data.prose_train.len(), data.tokenizer.vocabulary());
        grid.say(&format!("tokens: {prose} of pretraining text{of_code}, vocabulary {vocabulary}"));
        Ok((Arc::new(data), code))
    }

    fn read(done: &DoneStage, description: String) -> Result<Self> {
        let files = done.files();
        let tokenizer = match files.contains(TOKENIZER) {
            true => Tokenizer::load(&files.path(TOKENIZER)?)?,
            false => Tokenizer::Bytes,
        };
        let [prose_train, prose_held_out] = read_tokens(files)?;
        Ok(Self { tokenizer, prose_train, prose_held_out, id: done.id().clone(), description })
    }
}

/// A user's text, its fingerprint, and what it is.
fn user_text(path: &Path, tokenizer: Option<&Tokenizer>) -> Result<(Text, String, String)> {
    if path.extension().is_some_and(|extension| extension == "bin") && tokenizer.is_none() {
        let expected = "--tokenizer FILE with the tokenizer.json that made it";
        return Err(ExperimentError::value("corpus", path.display(), expected));
    }
    let text = corpora::read_user_corpus(path, tokenizer.map(Tokenizer::vocabulary))?;
    let size = match &text {
        UserCorpus::Text(documents) => format!("{:.1} MB", corpora::bytes(documents) as f64 / 1e6),
        UserCorpus::Tokens(tokens) => format!("{} tokens", tokens.len()),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fingerprint = fingerprint_of(&text);
    let description = format!("corpus: {name}, {size}, sha256 {}", &fingerprint[..8]);
    Ok((Text::Own(text), fingerprint, description))
}

fn fingerprint(documents: &[Document]) -> String {
    corpora::fingerprint(&[("text", documents)])
}

fn fingerprint_of(text: &UserCorpus) -> String {
    match text {
        UserCorpus::Text(documents) => fingerprint(documents),
        UserCorpus::Tokens(tokens) => {
            let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
            hash::sha256_hex(&bytes)
        }
    }
}

/// Pretraining text to be tokenised.
struct Tokens {
    text: Text,
    tokenizer: Option<Tokenizer>,
    key: TokensKey,
}

/// What decides the tokens of prose.
#[derive(Debug, Clone, Serialize)]
struct TokensKey {
    /// The text's fingerprint.
    text: String,
    /// A given tokenizer's fingerprint; none if one is trained.
    tokenizer: Option<String>,
    vocabulary: usize,
    held_out: f64,
}

impl Tokens {
    fn new(
        text: Text,
        fingerprint: String,
        tokenizer: Option<Tokenizer>,
        vocabulary: usize,
        held_out: f64,
    ) -> Result<Self> {
        let json = tokenizer.as_ref().map(Tokenizer::to_json).transpose()?.flatten();
        let tokenizer_key = json.map(|json| hash::sha256_hex(json.as_bytes()));
        let key = TokensKey { text: fingerprint, tokenizer: tokenizer_key, vocabulary, held_out };
        Ok(Self { text, tokenizer, key })
    }
}

impl Tokens {
    /// The tokenizer, and the tokens to train on and held out.
    fn tokenise(&self, documents: &[Document]) -> Result<(Tokenizer, [Vec<u32>; 2])> {
        let split = corpora::split(documents, self.key.held_out, SPLIT_SEED)?;
        let texts = split.train.iter().map(|document| document.text.as_str());
        let tokenizer = match &self.tokenizer {
            Some(tokenizer) => tokenizer.clone(),
            None if self.key.vocabulary == 257 => Tokenizer::Bytes,
            None => Tokenizer::train_bpe(texts, self.key.vocabulary)?,
        };
        let prose = [encode(&tokenizer, &split.train)?, encode(&tokenizer, &split.held_out)?];
        Ok((tokenizer, prose))
    }
}

const TOKENIZER: &str = "tokenizer.json";
const FILES: [&str; 2] = ["train.u32", "held-out.u32"];

impl Stage for Tokens {
    const KIND: &'static str = "tokens";
    const SEMANTICS: u32 = 2;
    type Key = TokensKey;
    /// Tokens to train on and held out.
    type Output = [usize; 2];

    fn key(&self) -> TokensKey {
        self.key.clone()
    }

    fn label(&self) -> String {
        "tokens of the pretraining text".into()
    }

    fn cost(&self) -> u64 {
        0
    }

    fn uses_all_threads(&self) -> bool {
        true
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<[usize; 2], Failure> {
        let held_out = self.key.held_out;
        let (tokenizer, prose) = match &self.text {
            Text::Own(UserCorpus::Tokens(tokens)) => {
                let tokenizer = self
                    .tokenizer
                    .clone()
                    .ok_or_else(|| ExperimentError::value("corpus", "token ids", "--tokenizer FILE beside them"))?;
                // A stream of tokens has no files to split by: its end is held out.
                let kept = ((1.0 - held_out) * tokens.len() as f64) as usize;
                let ids = |tokens: &[u16]| tokens.iter().map(|&token| u32::from(token)).collect::<Vec<_>>();
                (tokenizer, [ids(&tokens[..kept]), ids(&tokens[kept..])])
            }
            Text::Own(UserCorpus::Text(documents)) => self.tokenise(documents)?,
            Text::Pinned(pinned) => self.tokenise(&pinned.read()?.prose)?,
        };
        let sizes = [prose[0].len(), prose[1].len()];
        write_tokens(work.files(), prose)?;
        if let Some(json) = tokenizer.to_json()? {
            work.files().write(TOKENIZER, json.as_bytes())?;
        }
        Ok(sizes)
    }

    fn summary([train, held_out]: &[usize; 2]) -> String {
        format!("{train} to train on, {held_out} held out")
    }
}

/// Code to be tokenised.
struct TokensOfCode {
    pinned: Arc<Pinned>,
    fingerprint: String,
    tokenizer: Tokenizer,
    held_out: f64,
    /// The stage whose tokenizer is used.
    text: StageId,
}

/// What decides the tokens of code, beside the tokenizer.
#[derive(Debug, Serialize)]
struct CodeKey {
    code: String,
    held_out: f64,
}

impl Stage for TokensOfCode {
    const KIND: &'static str = "code-tokens";
    const SEMANTICS: u32 = 2;
    type Key = CodeKey;
    /// Tokens to train on and held out.
    type Output = [usize; 2];

    fn key(&self) -> CodeKey {
        CodeKey { code: self.fingerprint.clone(), held_out: self.held_out }
    }

    fn inputs(&self) -> Vec<StageId> {
        vec![self.text.clone()]
    }

    fn label(&self) -> String {
        "tokens of code".into()
    }

    fn cost(&self) -> u64 {
        0
    }

    fn uses_all_threads(&self) -> bool {
        true
    }

    fn compute(&self, work: &mut Work<'_>) -> Result<[usize; 2], Failure> {
        let split = corpora::split(&self.pinned.read()?.code, self.held_out, SPLIT_SEED)?;
        let tokens = [encode(&self.tokenizer, &split.train)?, encode(&self.tokenizer, &split.held_out)?];
        let sizes = [tokens[0].len(), tokens[1].len()];
        write_tokens(work.files(), tokens)?;
        Ok(sizes)
    }

    fn summary([train, held_out]: &[usize; 2]) -> String {
        format!("{train} to train on, {held_out} held out")
    }
}

fn read_tokens(files: &StoredFiles) -> Result<[Arc<[u32]>; 2]> {
    let read = |name: &str| -> Result<Arc<[u32]>> {
        let bytes = files.read(name)?;
        Ok(bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    };
    Ok([read(FILES[0])?, read(FILES[1])?])
}

fn write_tokens(files: &mut FilesWriter, tokens: [Vec<u32>; 2]) -> Result<()> {
    for (name, tokens) in FILES.iter().zip(tokens) {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        files.write(name, &bytes)?;
    }
    Ok(())
}

/// All documents one after the other, each ended by the end of text.
///
/// # Errors
/// If the tokenizer cannot take a text.
pub fn encode(tokenizer: &Tokenizer, documents: &[Document]) -> Result<Vec<u32>> {
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
