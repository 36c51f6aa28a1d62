//! Tokenizers: bytes, a byte-level BPE trained on the spot, or any `tokenizer.json`.
//!
//! A `tokenizer.json` is a recipe for batches too: it may cut texts, fill them up, add tokens to them or encode at
//! random. None of that is wanted here, where every text becomes its tokens, and it is switched off as the file is
//! read.

use std::collections::HashMap;
use std::path::Path;

use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, TokenizerBuilder, TokenizerImpl};

use crate::guard::unpanicked;
use crate::{Error, Result};

/// The token that ends a document or an answer.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// The tokens that end a text where none is named: the first of them that a tokenizer has.
const ENDS: [&str; 6] = [END_OF_TEXT, "</s>", "<|end_of_text|>", "<eos>", "[EOS]", "<|eos|>"];

/// The largest vocabulary: a higher id is a mistake, and a network of so many rows would fit in no memory.
const MOST_ENTRIES: usize = 1 << 22;

/// Bytes without a change between space and no space that are learned from in one piece. The time to learn a
/// vocabulary grows with the square of a piece's length, and no word is as long.
const LONGEST_PIECE: usize = 1024;

/// Text to tokens and back.
#[derive(Debug, Clone)]
pub enum Tokenizer {
    /// One token a byte, and a 257th that ends a text.
    Bytes,
    /// A tokenizer of the `tokenizers` library.
    Library(Box<Library>),
}

/// A tokenizer of the `tokenizers` library.
#[derive(Debug, Clone)]
pub struct Library {
    tokenizer: tokenizers::Tokenizer,
    /// The token that ends a text.
    end: u32,
    /// One more than the highest id.
    vocabulary: usize,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Tokenizer(error.to_string().replace('\n', " "))
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
        tokenizer.train(&mut trainer, texts.flat_map(bounded)).map_err(failed)?;
        let json = tokenizer.to_string(false).map_err(failed)?;
        let trained = Self::from_json(&json)?;
        match trained.vocabulary() {
            found if found == vocabulary => Ok(trained),
            found => Err(Error::Tokenizer(format!(
                "found text for {found} entries, expected {vocabulary}: give more text, or ask for fewer \
                 (model.vocabulary)"
            ))),
        }
    }

    /// A tokenizer from the text of a `tokenizer.json`.
    ///
    /// Truncation, padding and dropout that it asks for are switched off.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if it cannot be parsed or has no token that is known to end a text.
    pub fn from_json(json: &str) -> Result<Self> {
        Self::from_json_ended(json, None)
    }

    /// As [`from_json`](Self::from_json), with the token that ends a text, if it is named.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if it cannot be parsed, or lacks that token.
    pub fn from_json_ended(json: &str, end: Option<&str>) -> Result<Self> {
        let json = json.strip_prefix('\u{feff}').unwrap_or(json);
        let mut tokenizer: tokenizers::Tokenizer = guarded(|| json.parse().map_err(failed))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(failed)?;
        without_chance(&mut tokenizer);
        let vocabulary = tokenizer.get_vocab(true);
        let highest = vocabulary.values().max().map_or(0, |&id| id as usize);
        if highest >= MOST_ENTRIES {
            return Err(failed(format!("found a token with id {highest}, expected ids below {MOST_ENTRIES}")));
        }
        if let Some((id, [first, second])) = shared_id(&vocabulary) {
            return Err(failed(format!(
                "found the tokens {first:?} and {second:?} with id {id}, expected an id for each"
            )));
        }
        let found = match end {
            Some(end) => vocabulary.get(end),
            None => ENDS.iter().find_map(|end| vocabulary.get(*end)),
        };
        let Some(&end) = found else {
            let mut special: Vec<String> = tokenizer
                .get_added_tokens_decoder()
                .into_values()
                .filter(|token| token.special)
                .map(|token| token.content)
                .collect();
            special.sort_unstable();
            special.truncate(8);
            let there = if special.is_empty() { "none".into() } else { special.join(" ") };
            let wanted = end.map_or_else(|| ENDS.join(" "), |end| end.to_string());
            return Err(failed(format!(
                "found no token {wanted} to end a text (special tokens: {there}), expected one, or its name as \
                 corpus.end-of-text (--end-of-text TOKEN)"
            )));
        };
        Ok(Self::Library(Box::new(Library { tokenizer, end, vocabulary: highest + 1 })))
    }

    /// A tokenizer from a `tokenizer.json` file.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] that names the file.
    pub fn load(path: &Path) -> Result<Self> {
        Self::load_ended(path, None)
    }

    /// As [`load`](Self::load), with the token that ends a text, if it is named.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_ended(path: &Path, end: Option<&str>) -> Result<Self> {
        let wrong = |what: String| Error::File { path: path.into(), what };
        // A pipe would block, and a device never end.
        if !std::fs::metadata(path).map_err(Error::io(path))?.is_file() {
            return Err(wrong("found no regular file, expected a tokenizer.json".into()));
        }
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let json = String::from_utf8(bytes).map_err(|error| {
            let offset = error.utf8_error().valid_up_to();
            wrong(format!("found a byte that is not UTF-8 at offset {offset}, expected a tokenizer.json"))
        })?;
        Self::from_json_ended(&json, end).map_err(|error| wrong(error.to_string()))
    }

    /// The text of a `tokenizer.json`; `None` for bytes.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the library cannot write it.
    pub fn to_json(&self) -> Result<Option<String>> {
        match self {
            Self::Bytes => Ok(None),
            Self::Library(library) => library.tokenizer.to_string(true).map(Some).map_err(failed),
        }
    }

    /// Entries of the vocabulary: one more than the highest id, whatever ids are not taken.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Bytes => 257,
            Self::Library(library) => library.vocabulary,
        }
    }

    /// The token that ends a text, as it is written.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the library has no such token.
    pub fn end_text(&self) -> Result<String> {
        match self {
            Self::Bytes => Ok(END_OF_TEXT.to_owned()),
            Self::Library(library) => library
                .tokenizer
                .id_to_token(library.end)
                .ok_or_else(|| Error::Tokenizer(format!("found no token {}, expected the end of text", library.end))),
        }
    }

    /// The token that ends a text.
    pub fn end_of_text(&self) -> u32 {
        match self {
            Self::Bytes => 256,
            Self::Library(library) => library.end,
        }
    }

    /// How the token that ends a text is written; `None` for bytes, of which none writes it.
    pub fn end_of_text_name(&self) -> Option<String> {
        match self {
            Self::Bytes => None,
            Self::Library(library) => library.tokenizer.id_to_token(library.end),
        }
    }

    /// The tokens of a text, without an end of text. An end of text that is written in it is left out.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the library refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match self {
            Self::Bytes => Ok(text.bytes().map(u32::from).collect()),
            Self::Library(library) => {
                let encoding = guarded(|| library.tokenizer.encode_fast(text, false).map_err(failed))?;
                Ok(encoding.get_ids().iter().copied().filter(|id| *id != library.end).collect())
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
            Self::Library(library) => {
                let kept: Vec<u32> = tokens.iter().copied().filter(|t| *t != library.end).collect();
                guarded(|| library.tokenizer.decode(&kept, false).map_err(failed))
            }
        }
    }

    /// What a text loses on the way to tokens and back: how it begins to differ, before and after. `None` if it is the
    /// same.
    ///
    /// # Errors
    /// As [`encode`](Self::encode) and [`decode`](Self::decode).
    pub fn lost(&self, text: &str) -> Result<Option<String>> {
        let back = self.decode(&self.encode(text)?)?;
        if back == text {
            return Ok(None);
        }
        let same = text.chars().zip(back.chars()).take_while(|(a, b)| a == b).count();
        let around = |text: &str| -> String { text.chars().skip(same.saturating_sub(12)).take(32).collect() };
        Ok(Some(format!("{:?} becomes {:?}", around(text), around(&back))))
    }
}

/// An id that two tokens have, with the beginnings of both: the library reads such a file, and goes on with either.
fn shared_id(vocabulary: &HashMap<String, u32>) -> Option<(u32, [String; 2])> {
    let mut tokens: Vec<(u32, &str)> = vocabulary.iter().map(|(token, &id)| (id, token.as_str())).collect();
    tokens.sort_unstable();
    let start = |token: &str| token.chars().take(32).collect::<String>();
    tokens.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| (pair[0].0, [start(pair[0].1), start(pair[1].1)]))
}

/// Calls the library, which panics on some files that it has read without complaint.
fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    unpanicked(call).unwrap_or_else(|reason| {
        Err(failed(format!(
            "found a part that the tokenizers library fails on ({reason}), expected one that it can run"
        )))
    })
}

/// Switches off what makes a tokenizer encode the same text in different ways.
fn without_chance(tokenizer: &mut tokenizers::Tokenizer) {
    match tokenizer.get_model().clone() {
        ModelWrapper::BPE(mut model) if model.dropout.is_some() => {
            model.dropout = None;
            tokenizer.with_model(ModelWrapper::BPE(model));
        }
        ModelWrapper::Unigram(mut model) if model.alpha.is_some() || model.nbest_size.is_some() => {
            (model.alpha, model.nbest_size) = (None, None);
            tokenizer.with_model(ModelWrapper::Unigram(model));
        }
        _ => {}
    }
}

/// A text in pieces that a vocabulary can be learned from in reasonable time: whole, unless it has a word (or a gap)
/// that is longer than any.
fn bounded(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut since, mut in_gap) = (0, 0, false);
    for (place, character) in text.char_indices() {
        if character.is_whitespace() != in_gap {
            (in_gap, since) = (!in_gap, place);
        }
        if place - since >= LONGEST_PIECE {
            pieces.push(&text[start..place]);
            (start, since) = (place, place);
        }
    }
    pieces.push(&text[start..]);
    pieces
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

    /// A tokenizer's file with changes: pointers into the JSON and what they get.
    fn changed(changes: &[(&str, serde_json::Value)]) -> String {
        let texts = sample();
        let tokenizer = Tokenizer::train_bpe(texts.iter().map(String::as_str), 280).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&tokenizer.to_json().unwrap().unwrap()).unwrap();
        for (pointer, value) in changes {
            *json.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value.clone();
        }
        json.to_string()
    }

    fn ids(json: &str, text: &str) -> Vec<u32> {
        Tokenizer::from_json(json).unwrap().encode(text).unwrap()
    }

    use serde_json::json;

    #[test]
    fn what_a_file_wants_done_to_batches_is_not_done() {
        let text = "the value of item 3 is 9 and the next value follows ".repeat(40);
        let plain = ids(&changed(&[]), &text);
        assert!(plain.len() > 100);
        let truncation = json!({"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0});
        let left = json!({"direction": "Left", "max_length": 0, "strategy": "OnlyFirst", "stride": 0});
        let padding = json!({"strategy": {"Fixed": 4096}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 7,
                             "pad_type_id": 0, "pad_token": "a"});
        let longest = json!({"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": 64, "pad_id": 7,
                             "pad_type_id": 0, "pad_token": "a"});
        let template = json!({"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}}});
        let roberta = json!({"type": "RobertaProcessing", "sep": ["b", 66], "cls": ["a", 65], "trim_offsets": true,
                             "add_prefix_space": false});
        let cases = [
            ("/truncation", truncation),
            ("/truncation", left),
            ("/padding", padding),
            ("/padding", longest),
            ("/post_processor", template),
            ("/post_processor", roberta),
            ("/model/dropout", json!(0.5)),
        ];
        for (pointer, value) in cases {
            assert_eq!(ids(&changed(&[(pointer, value.clone())]), &text), plain, "{pointer} {value}");
        }
    }

    /// What is switched off is off in what is written too, so that whoever reads it gets the same ids.
    #[test]
    fn chance_is_switched_off_and_is_no_part_of_what_is_written() {
        let written = |changes| Tokenizer::from_json(&changed(changes)).unwrap().to_json().unwrap();
        assert_eq!(written(&[("/model/dropout", json!(0.5))]), written(&[]));
        let unigram = |extra: serde_json::Value| {
            let mut model = json!({"type": "Unigram", "unk_id": 0, "byte_fallback": false,
                "vocab": [["<eos>", 0.0], ["a", -1.0], ["b", -1.0], ["ab", -1.5], ["aba", -1.6], ["ba", -1.5]]});
            model.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let json = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
                "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null, "model": model});
            json.to_string()
        };
        let text = "ab".repeat(50);
        let plain = ids(&unigram(json!({})), &text);
        for _ in 0..4 {
            assert_eq!(ids(&unigram(json!({"alpha": 0.3, "nbest_size": 0})), &text), plain);
        }
    }

    #[test]
    fn what_a_tokenizer_cannot_write_is_shown() {
        let lost = |changes: &[(&str, serde_json::Value)], text: &str| {
            Tokenizer::from_json(&changed(changes)).unwrap().lost(text).unwrap()
        };
        assert_eq!(lost(&[], "Tom has 12 books\n\té"), None);
        assert_eq!(Tokenizer::Bytes.lost("Tom é").unwrap(), None);
        let lowercase = [("/normalizer", json!({"type": "Lowercase"}))];
        assert_eq!(lost(&lowercase, "it is Tom's").unwrap(), "\"it is Tom's\" becomes \"it is tom's\"");
        let strip = [("/normalizer", json!({"type": "Strip", "strip_left": true, "strip_right": true}))];
        assert!(lost(&strip, " a\n").is_some());
        let folded = [("/normalizer", json!({"type": "NFKC"}))];
        assert!(lost(&folded, "x\u{b2}").is_some() && lost(&folded, "x2").is_none());
        let replaced = [("/normalizer", json!({"type": "Replace", "pattern": {"String": "7"}, "content": ""}))];
        assert!(lost(&replaced, "17 books").is_some());
        let swallowed = json!([
            {"id": 0, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false,
             "normalized": false, "special": true},
            {"id": 280, "content": "Q:", "single_word": false, "lstrip": true, "rstrip": true, "normalized": false,
             "special": false}
        ]);
        assert!(lost(&[("/added_tokens", swallowed)], "a  Q:  b").is_some());
        let end = lost(&[], "one<|endoftext|>two").unwrap();
        assert_eq!(end, "\"one<|endoftext|>two\" becomes \"onetwo\"");
    }

    fn words(tokens: serde_json::Value) -> String {
        json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
            "model": {"type": "WordLevel", "vocab": tokens, "unk_token": "a"}})
        .to_string()
    }

    #[test]
    fn holes_in_the_ids_count_as_entries_and_ids_past_any_memory_are_refused() {
        let tokenizer = Tokenizer::from_json(&words(json!({"a": 0, "<eos>": 9, "b": 40}))).unwrap();
        assert_eq!((tokenizer.vocabulary(), tokenizer.end_of_text()), (41, 9));
        assert_eq!(tokenizer.encode("b a").unwrap(), [40, 0]);
        let message = Tokenizer::from_json(&words(json!({"a": 0, "</s>": 4_000_000_000_u32}))).unwrap_err().to_string();
        assert!(message.contains("id 4000000000, expected ids below"), "{message}");
    }

    #[test]
    fn two_tokens_with_one_id_are_refused() {
        let message = Tokenizer::from_json(&words(json!({"a": 2, "b": 1, "</s>": 2}))).unwrap_err().to_string();
        assert!(message.contains("the tokens \"</s>\" and \"a\" with id 2"), "{message}");
    }

    #[test]
    fn the_end_of_text_is_found_or_named() {
        let json = words(json!({"a": 0, "<|im_end|>": 1}));
        let message = Tokenizer::from_json(&json).unwrap_err().to_string();
        assert!(
            message.contains("no token <|endoftext|> </s>") && message.contains("--end-of-text TOKEN"),
            "{message}"
        );
        let named = Tokenizer::from_json_ended(&json, Some("<|im_end|>")).unwrap();
        assert_eq!((named.end_of_text(), named.end_of_text_name().as_deref()), (1, Some("<|im_end|>")));
        let message = Tokenizer::from_json_ended(&json, Some("<end>")).unwrap_err().to_string();
        assert!(message.contains("found no token <end> to end a text"), "{message}");
        let both = words(json!({"a": 0, "</s>": 1, "<|endoftext|>": 2}));
        assert_eq!(Tokenizer::from_json(&both).unwrap().end_of_text(), 2);
    }

    #[test]
    fn a_decoder_that_panics_is_an_error_of_one_line() {
        let decoders = [
            json!({"type": "Strip", "content": "t", "start": 1_000_000, "stop": 1_000_000}),
            json!({"type": "Sequence", "decoders": [{"type": "Strip", "content": " ", "start": 1, "stop": 1}]}),
            json!({"type": "ByteFallback"}),
            json!({"type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": true}),
            json!({"type": "WordPiece", "prefix": "", "cleanup": true}),
            json!({"type": "BPEDecoder", "suffix": ""}),
            json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true}),
            json!({"type": "Replace", "pattern": {"Regex": "(?=a)*"}, "content": ""}),
        ];
        let mut refused = 0;
        for decoder in decoders {
            let Ok(tokenizer) = Tokenizer::from_json(&changed(&[("/decoder", decoder.clone())])) else { continue };
            for text in ["the next value", "t", "", "\u{1F600} 7"] {
                if let Err(error) = tokenizer.lost(text) {
                    refused += 1;
                    assert_eq!(error.to_string().lines().count(), 1, "{decoder}: {error}");
                }
            }
        }
        assert!(refused > 0, "no decoder fails any more");
    }

    #[test]
    fn words_of_any_length_are_cut_where_no_word_is_as_long() {
        let long = "ab".repeat(LONGEST_PIECE);
        let text = format!("a word {long} and more\n{}", " ".repeat(LONGEST_PIECE + 1));
        let pieces = bounded(&text);
        assert!(pieces.len() == 3 && pieces.concat() == text);
        assert_eq!(bounded("one two\n three é"), ["one two\n three é"]);
        assert_eq!(bounded(""), [""]);
        let wide = "é".repeat(LONGEST_PIECE);
        assert_eq!(bounded(&wide).concat(), wide);
    }

    /// A run of letters without a space took time that grew with the square of its length.
    #[test]
    fn a_vocabulary_is_learned_from_text_without_spaces_in_seconds() {
        let letters: String =
            (0..200_000_u32).map(|i| char::from(b'a' + (i.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect();
        let start = std::time::Instant::now();
        let tokenizer = Tokenizer::train_bpe([letters.as_str()].into_iter(), 1000).unwrap();
        assert_eq!(tokenizer.lost(&letters).unwrap(), None);
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
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
