//! Tokenizers: bytes, a byte-level BPE trained on the spot, or any `tokenizer.json`.

use std::path::Path;

use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, TokenizerBuilder, TokenizerImpl};

use crate::{Error, Result};

/// The token that ends a document or an answer.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Text to tokens and back.
#[derive(Debug, Clone)]
pub enum Tokenizer {
    /// One token a byte, and a 257th that ends a text.
    Bytes,
    /// A tokenizer of the `tokenizers` library, and its token that ends a text.
    Library(Box<tokenizers::Tokenizer>, u32),
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Tokenizer(error.to_string())
}

impl Tokenizer {
    /// Trains a byte-level BPE on `texts`; every digit is a token of its own, so that numbers are read alike wherever
    /// they stand.
    ///
    /// The result is a pure function of the texts and `vocabulary` (its entries, with the 256 bytes and the end of
    /// text).
    ///
    /// # Errors
    /// [`Error::Config`] if `vocabulary` is below 257, [`Error::Tokenizer`] if there are too few texts for so many
    /// entries.
    pub fn train_bpe<'a>(texts: impl Iterator<Item = &'a str> + Send, vocabulary: usize) -> Result<Self> {
        if vocabulary < 257 {
            return Err(Error::config("vocabulary", vocabulary, "at least 257: the bytes and the end of text"));
        }
        let mut trainer = BpeTrainerBuilder::new()
            .vocab_size(vocabulary)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
            .build();
        let split = Sequence::new(vec![
            PreTokenizerWrapper::Digits(Digits::new(true)),
            PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
        ]);
        let mut tokenizer: TokenizerImpl<_, tokenizers::NormalizerWrapper, _, tokenizers::PostProcessorWrapper, _> =
            TokenizerBuilder::new()
                .with_model(BPE::default())
                .with_normalizer(None)
                .with_pre_tokenizer(Some(split))
                .with_post_processor(None)
                .with_decoder(Some(ByteLevel::default()))
                .build()
                .map_err(failed)?;
        tokenizer.train(&mut trainer, texts).map_err(failed)?;
        let json = tokenizer.to_string(false).map_err(failed)?;
        let trained = Self::from_json(&json)?;
        match trained.vocabulary() {
            found if found == vocabulary => Ok(trained),
            found => Err(Error::Tokenizer(format!("found text for {found} entries, expected {vocabulary}: give more"))),
        }
    }

    /// A tokenizer from the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if it cannot be parsed or has no token `<|endoftext|>` (or `</s>`).
    pub fn from_json(json: &str) -> Result<Self> {
        let tokenizer: tokenizers::Tokenizer = json.parse().map_err(failed)?;
        let end = [END_OF_TEXT, "</s>", "<|end_of_text|>"].iter().find_map(|token| tokenizer.token_to_id(token));
        let end = end.ok_or_else(|| Error::Tokenizer(format!("the token {END_OF_TEXT} is missing")))?;
        Ok(Self::Library(Box::new(tokenizer), end))
    }

    /// A tokenizer from a `tokenizer.json` file.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] that names the file.
    pub fn load(path: &Path) -> Result<Self> {
        let json = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::from_json(&json).map_err(|e| Error::File { path: path.into(), what: e.to_string() })
    }

    /// The text of a `tokenizer.json`; `None` for bytes.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the library cannot write it.
    pub fn to_json(&self) -> Result<Option<String>> {
        match self {
            Self::Bytes => Ok(None),
            Self::Library(tokenizer, _) => tokenizer.to_string(true).map(Some).map_err(failed),
        }
    }

    /// Entries of the vocabulary.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Bytes => 257,
            Self::Library(tokenizer, _) => tokenizer.get_vocab_size(true),
        }
    }

    /// The token that ends a text.
    pub fn end_of_text(&self) -> u32 {
        match self {
            Self::Bytes => 256,
            Self::Library(_, end) => *end,
        }
    }

    /// The tokens of a text, without an end of text. Text that looks like the end-of-text token is not treated as such.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the library refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match self {
            Self::Bytes => Ok(text.bytes().map(u32::from).collect()),
            Self::Library(tokenizer, end) => {
                let encoding = tokenizer.encode_fast(text, false).map_err(failed)?;
                Ok(encoding.get_ids().iter().copied().filter(|id| id != end).collect())
            }
        }
    }

    /// The text of some tokens; the end of text is left out, bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the library refuses a token.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        match self {
            Self::Bytes => {
                let bytes: Vec<u8> = tokens.iter().filter_map(|&t| u8::try_from(t).ok()).collect();
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Self::Library(tokenizer, end) => {
                let kept: Vec<u32> = tokens.iter().copied().filter(|t| t != end).collect();
                tokenizer.decode(&kept, false).map_err(failed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<String> {
        (0..400).map(|i| format!("the value of item {i} is {} and the next value follows", i * i)).collect()
    }

    #[test]
    fn bpe_training_is_reproducible() {
        let texts = sample();
        let train = || Tokenizer::train_bpe(texts.iter().map(String::as_str), 280).unwrap().to_json().unwrap();
        let first = train();
        assert!((0..5).all(|_| train() == first));
    }

    #[test]
    fn digits_are_single_tokens() {
        let texts = sample();
        let tokenizer = Tokenizer::train_bpe(texts.iter().map(String::as_str), 280).unwrap();
        assert_eq!(tokenizer.encode("12345").unwrap().len(), 5);
    }

    #[test]
    fn too_little_text_for_the_vocabulary_is_refused() {
        let message = Tokenizer::train_bpe(["ab ab"].into_iter(), 400).unwrap_err().to_string();
        assert!(message.contains("expected 400"), "{message}");
    }

    proptest! {
        #[test]
        fn text_survives_a_round_trip(text in "[ -~\\n\u{e9}\u{4e2d}]{0,80}") {
            let texts = sample();
            let bpe = Tokenizer::train_bpe(texts.iter().map(String::as_str), 280).unwrap();
            for tokenizer in [Tokenizer::Bytes, bpe] {
                let tokens = tokenizer.encode(&text).unwrap();
                prop_assert_eq!(tokenizer.decode(&tokens).unwrap(), text.clone());
            }
        }
    }
}
