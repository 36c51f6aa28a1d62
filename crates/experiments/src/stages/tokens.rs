//! From text to tokens: the tokenizer, and the training and held-out tokens of prose and code.
//!
//! Prose with its tokenizer is one stage, code in these tokens another, read only if it is a task.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use corpora::{Corpus, Document, OwnText, TEXT_FIELD, TokenFiles, UserText};
use lab::error::Failure;
use lab::grid::Grid;
use lab::hash;
use lab::stage::{Stage, Work};
use lab::store::{DoneStage, FilesWriter, StageId, StoredFiles};
use models::Tokenizer;
use models::data::{TokenStream, Tokens};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::mixture::{Mixture, MixtureKey};
use crate::error::{ExperimentError, Result};

/// Seed of the choice of files where the text is limited.
const LIMIT_SEED: u64 = 1;

/// Seed of the division into training and held-out text.
const SPLIT_SEED: u64 = 0;

/// Which text, and how much of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TextSource {
    /// A user's pretraining text in place of the pinned packages' prose, if there are any files.
    pub files: Vec<PathBuf>,
    /// The field of a row that holds the text, where it is not the usual one.
    pub text_field: Option<String>,
    /// A user's `tokenizer.json` in place of a BPE trained on the spot.
    pub tokenizer: Option<PathBuf>,
    /// Its token that ends a text, where it is none of the usual ones.
    pub end_of_text: Option<String>,
    /// Bytes of the packages' prose, about; all if none are given.
    pub prose_bytes: Option<usize>,
    /// Bytes of the packages' code, about; all if none are given.
    pub code_bytes: Option<usize>,
    /// Examples of tasks among the text to train on.
    pub examples: Option<Mixture>,
    /// Entries of the BPE; 257 means bytes.
    pub vocabulary: usize,
    /// Tokens of a window: text of fewer than two is refused. Decides nothing else.
    pub context: usize,
    /// Share of the text that is held out, by file.
    pub held_out: f64,
}

/// Pretraining text in tokens.
#[derive(Debug, Clone)]
pub struct TokenData {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Text to train on.
    pub prose_train: Tokens,
    /// Held-out text.
    pub prose_held_out: Tokens,
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
    Own(Vec<Document>),
    Ids(Arc<TokenFiles>),
    Pinned(Arc<Pinned>),
}

/// The ids of files as a text.
#[derive(Debug)]
struct OnDisk(Arc<TokenFiles>);

impl TokenStream for OnDisk {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn read(&self, start: usize, into: &mut [u32]) -> models::Result<()> {
        self.0.read(start, into).map_err(|error| match error {
            corpora::CorpusError::Read { path, source } => models::Error::Io { path, source },
            other => models::Error::Tokenizer(other.to_string()),
        })
    }
}

/// Some of the ids of files, which stay there.
pub fn on_disk(files: Arc<TokenFiles>, range: Range<usize>) -> Tokens {
    Tokens::Stream(Arc::new(OnDisk(files)), range)
}

/// Where a stream of ids is divided: it has no files to split by, and so its end is held out.
fn kept(length: usize, held_out: f64) -> usize {
    ((1.0 - held_out) * length as f64) as usize
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
        let end = source.end_of_text.as_deref();
        let tokenizer = source.tokenizer.as_deref().map(|path| Tokenizer::load_ended(path, end)).transpose()?;
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
        // A user's text is looked at first: the packages take seconds, and what is wrong with it shows before.
        let known = match source.files.is_empty() {
            true => Some(grid.now(&PinnedText(pinned.clone()))?.0),
            false => None,
        };
        let (text, fingerprint, description) = match &known {
            Some(known) => (Text::Pinned(pinned.clone()), known.prose.clone(), known.description.clone()),
            None => user_text(source, tokenizer.as_ref(), |line| grid.say(line))?,
        };
        let tokens = TextTokens::new(text, fingerprint, tokenizer, source, grid.teller())?;
        let description = match &source.examples {
            None => description,
            Some(Mixture { tasks, share }) => {
                format!(
                    "{description}; {:.0} % of what is trained on are examples of {}",
                    100.0 * share,
                    tasks.join(", ")
                )
            }
        };
        let (_, done) = grid.now(&tokens)?;
        let mut data = Self::read(&done, &tokens, source, description)?;
        data.check(source)?;
        let mut code = None;
        if with_code {
            let known = match known {
                Some(known) => known,
                None => grid.now(&PinnedText(pinned.clone()))?.0,
            };
            if !source.files.is_empty() {
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

    fn read(done: &DoneStage, tokens: &TextTokens, source: &TextSource, description: String) -> Result<Self> {
        let files = done.files();
        let tokenizer = match files.contains(TOKENIZER) {
            true => Tokenizer::load_ended(&files.path(TOKENIZER)?, source.end_of_text.as_deref())?,
            false => Tokenizer::Bytes,
        };
        let [prose_train, prose_held_out] = match &tokens.text {
            Text::Ids(ids) => {
                let kept = kept(ids.len(), source.held_out);
                [on_disk(ids.clone(), 0..kept), on_disk(ids.clone(), kept..ids.len())]
            }
            Text::Own(_) | Text::Pinned(_) => read_tokens(files)?.map(Tokens::from),
        };
        Ok(Self { tokenizer, prose_train, prose_held_out, id: done.id().clone(), description })
    }

    /// Refuses what is too short for a window of the context and another one, before anything is trained.
    fn check(&self, source: &TextSource) -> Result<()> {
        let least = 2 * source.context + 1;
        for (what, tokens, remedy) in
            [("to train on", &self.prose_train, "smaller"), ("held out", &self.prose_held_out, "larger")]
        {
            if tokens.len() < least {
                let found = format!("{} tokens {what}", tokens.len());
                let expected = format!(
                    "at least {least}, two windows of model.context: give more text, a {remedy} evaluation.held-out or a \
                     smaller model.context"
                );
                return Err(ExperimentError::value(named(&source.files), found, expected));
            }
        }
        Ok(())
    }
}

/// What a user calls the text.
fn named(files: &[PathBuf]) -> String {
    match files {
        [] => "corpus".into(),
        [one] => one.display().to_string(),
        [first, others @ ..] => format!("{} and {} more", first.display(), others.len()),
    }
}

/// A user's text, its fingerprint, and what it is.
fn user_text(
    source: &TextSource,
    tokenizer: Option<&Tokenizer>,
    tell: impl Fn(&str),
) -> Result<(Text, String, String)> {
    let is_ids = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "bin");
    if let Some(ids) = source.files.iter().find(|path| is_ids(path) && tokenizer.is_none()) {
        let expected = "--tokenizer FILE with the tokenizer.json that made it";
        return Err(ExperimentError::value("corpus", ids.display(), expected));
    }
    let ends: Vec<String> = tokenizer.and_then(Tokenizer::end_of_text_name).into_iter().collect();
    let read = corpora::read_user_corpus(&OwnText {
        paths: &source.files,
        field: source.text_field.as_deref().unwrap_or(TEXT_FIELD),
        ends: &ends,
        vocabulary: tokenizer.map(Tokenizer::vocabulary),
    })?;
    read.remarks.iter().for_each(|remark| tell(remark));
    let (text, size, fingerprint) = match read.content {
        UserText::Text(documents) => {
            let bytes = corpora::bytes(&documents);
            // A token is made of a byte at least.
            let most = bytes + documents.len();
            if most < 2 * (2 * source.context + 1) {
                let expected = format!(
                    "enough for {} tokens, four windows of model.context: give more text or a smaller model.context",
                    2 * (2 * source.context + 1)
                );
                return Err(ExperimentError::value(named(&source.files), format!("{bytes} bytes of text"), expected));
            }
            let fingerprint = fingerprint(&documents);
            (Text::Own(documents), format!("{:.1} MB", bytes as f64 / 1e6), fingerprint)
        }
        UserText::Tokens(ids) => {
            let (size, fingerprint) = (format!("{} tokens", ids.len()), ids.fingerprint().to_string());
            (Text::Ids(Arc::new(ids)), size, fingerprint)
        }
    };
    let name = source.files[0].file_name().unwrap_or_default().to_string_lossy();
    let others = if source.files.len() > 1 { format!(" and {} more", source.files.len() - 1) } else { String::new() };
    let description = format!("corpus: {name}{others}, {size}, sha256 {}", &fingerprint[..8]);
    Ok((text, fingerprint, description))
}

fn fingerprint(documents: &[Document]) -> String {
    corpora::fingerprint(&[("text", documents)])
}

/// Pretraining text to be tokenised.
struct TextTokens {
    text: Text,
    tokenizer: Option<Tokenizer>,
    examples: Option<Mixture>,
    key: TokensKey,
    /// What a user calls the text.
    name: String,
    /// Told what takes time, and what the tokenizer cannot write.
    tell: fn(&str),
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
    #[serde(skip_serializing_if = "Option::is_none")]
    examples: Option<MixtureKey>,
}

impl TextTokens {
    fn new(
        text: Text,
        fingerprint: String,
        tokenizer: Option<Tokenizer>,
        source: &TextSource,
        tell: fn(&str),
    ) -> Result<Self> {
        let json = tokenizer.as_ref().map(Tokenizer::to_json).transpose()?.flatten();
        // The end of text is told by the file, unless it is named.
        let ending = source.end_of_text.as_ref().map_or(String::new(), |end| format!("\0{end}"));
        let tokenizer_key = json.map(|json| hash::sha256_hex((json + &ending).as_bytes()));
        let vocabulary = tokenizer.as_ref().map_or(source.vocabulary, Tokenizer::vocabulary);
        let examples = source.examples.clone();
        if let (Some(_), Text::Ids(_)) = (&examples, &text) {
            let expected = "none beside token ids, which stay in their file: give the text itself";
            return Err(ExperimentError::value("corpus.examples", named(&source.files), expected));
        }
        let key = TokensKey {
            text: fingerprint,
            tokenizer: tokenizer_key,
            vocabulary,
            held_out: source.held_out,
            examples: examples.as_ref().map(Mixture::key).transpose()?,
        };
        Ok(Self { text, tokenizer, examples, key, name: named(&source.files), tell })
    }
}

/// Documents of which it is tried whether a given tokenizer can write them, and the most characters of each.
const TRIED: (usize, usize) = (200, 10_000);

impl TextTokens {
    /// The tokenizer, and the tokens to train on and held out.
    fn tokenise(&self, documents: &[Document]) -> Result<(Tokenizer, [Vec<u32>; 2])> {
        let mut split = corpora::split(documents, self.key.held_out, SPLIT_SEED)?;
        if let Some(examples) = &self.examples {
            split.train.extend(examples.documents(corpora::bytes(&split.train))?);
        }
        let texts = split.train.iter().map(|document| document.text.as_str());
        let vocabulary = self.key.vocabulary;
        let tokenizer = match &self.tokenizer {
            Some(tokenizer) => {
                self.try_out(tokenizer, &split.train)?;
                tokenizer.clone()
            }
            None if vocabulary == Tokenizer::Bytes.vocabulary() => Tokenizer::Bytes,
            None => {
                let megabytes = corpora::bytes(&split.train) as f64 / 1e6;
                (self.tell)(&format!("learning a vocabulary of {vocabulary} tokens from {megabytes:.1} MB of text"));
                Tokenizer::train_bpe(texts, vocabulary).map_err(|error| match error {
                    models::Error::Tokenizer(what) => models::Error::File { path: self.name.clone().into(), what },
                    other => other,
                })?
            }
        };
        let prose = [encode(&tokenizer, &split.train)?, encode(&tokenizer, &split.held_out)?];
        Ok((tokenizer, prose))
    }

    /// Tells what a given tokenizer loses of some of the documents.
    fn try_out(&self, tokenizer: &Tokenizer, documents: &[Document]) -> Result<()> {
        let (most, characters) = TRIED;
        let tried = documents.iter().step_by(documents.len().div_ceil(most).max(1));
        let (mut count, mut lossy, mut first) = (0, 0, None);
        for document in tried {
            count += 1;
            let text: String = document.text.chars().take(characters).collect();
            if let Some(lost) = tokenizer.lost(&text)? {
                lossy += 1;
                first.get_or_insert(lost);
            }
        }
        if let Some(lost) = first {
            (self.tell)(&format!("the tokenizer cannot write {lossy} of {count} documents that were tried: {lost}"));
        }
        Ok(())
    }
}

const TOKENIZER: &str = "tokenizer.json";
const FILES: [&str; 2] = ["train.u32", "held-out.u32"];

impl Stage for TextTokens {
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
        let (tokenizer, prose) = match &self.text {
            Text::Ids(ids) => {
                let tokenizer = self
                    .tokenizer
                    .clone()
                    .ok_or_else(|| ExperimentError::value("corpus", "token ids", "--tokenizer FILE beside them"))?;
                // They stay where they are.
                let kept = kept(ids.len(), self.key.held_out);
                return keep_tokenizer(work.files(), &tokenizer).map(|()| [kept, ids.len() - kept]).map_err(Into::into);
            }
            Text::Own(documents) => self.tokenise(documents)?,
            Text::Pinned(pinned) => self.tokenise(&pinned.read()?.prose)?,
        };
        let sizes = [prose[0].len(), prose[1].len()];
        write_tokens(work.files(), prose)?;
        keep_tokenizer(work.files(), &tokenizer)?;
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
    const SEMANTICS: u32 = 3;
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
        let split = corpora::split_by_family(&self.pinned.read()?.code, self.held_out, SPLIT_SEED)?;
        let tokens = [encode(&self.tokenizer, &split.train)?, encode(&self.tokenizer, &split.held_out)?];
        let sizes = [tokens[0].len(), tokens[1].len()];
        write_tokens(work.files(), tokens)?;
        Ok(sizes)
    }

    fn summary([train, held_out]: &[usize; 2]) -> String {
        format!("{train} to train on, {held_out} held out")
    }
}

fn keep_tokenizer(files: &mut FilesWriter, tokenizer: &Tokenizer) -> Result<()> {
    if let Some(json) = tokenizer.to_json()? {
        files.write(TOKENIZER, json.as_bytes())?;
    }
    Ok(())
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
