//! What stands beside the weights in a folder that Transformers opens: shape, tokenizer, how to generate.

use serde_json::{Value, json};

use super::CONFIG;
use super::shape::config_json;
use super::source::TOKENIZER;
use super::special::SpecialTokens;
use crate::config::ModelConfig;
use crate::tokenizer::{END_OF_TEXT, Tokenizer};
use crate::{Error, Result};

/// The files beside the weights, name and text of each: `config.json` and, with a tokenizer, `tokenizer.json`,
/// `tokenizer_config.json` and `generation_config.json`. `AutoTokenizer` gives the ids of
/// [`Tokenizer::encode`], and generation stops at the tokens that end a text.
///
/// # Errors
/// If the library cannot write the tokenizer.
pub fn files(
    config: &ModelConfig,
    tokenizer: Option<&Tokenizer>,
    tokens: Option<&SpecialTokens>,
) -> Result<Vec<(&'static str, String)>> {
    let Some(tokenizer) = tokenizer else { return Ok(vec![(CONFIG, pretty(&config_json(config, tokens)))]) };
    let end = tokenizer.end_of_text();
    let known = tokens.filter(|tokens| !tokens.end.is_empty());
    let tokens = known.map_or_else(|| SpecialTokens::one(end), |tokens| tokens.clone().ended_by(end));
    let end_text = tokenizer.end_text()?;
    let of_tokenizer = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.context,
        "clean_up_tokenization_spaces": false,
        "bos_token": end_text,
        "eos_token": end_text,
        "pad_token": end_text,
    });
    let generation = Value::Object(tokens.fields());
    Ok(vec![
        (CONFIG, pretty(&config_json(config, Some(&tokens)))),
        (TOKENIZER, tokenizer_json(tokenizer)?),
        ("tokenizer_config.json", pretty(&of_tokenizer)),
        ("generation_config.json", pretty(&generation)),
    ])
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The text of `tokenizer.json`. What would cut or pad a text or add tokens to it is left out, as it is here.
fn tokenizer_json(tokenizer: &Tokenizer) -> Result<String> {
    let Some(json) = tokenizer.to_json()? else { return Ok(pretty(&bytes_json())) };
    let mut value: Value = serde_json::from_str(&json).map_err(|error| Error::Tokenizer(error.to_string()))?;
    for part in ["truncation", "padding", "post_processor"] {
        value[part] = Value::Null;
    }
    Ok(pretty(&value))
}

/// [`Tokenizer::Bytes`] as a BPE without merges: token b is byte b, under the letter that stands for it.
fn bytes_json() -> Value {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut others = 256..;
    let letters = (0..256_u32).map(|byte| if printable(byte) { Some(byte) } else { others.next() });
    let letters = letters.map(|letter| letter.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER));
    let mut vocabulary: serde_json::Map<String, Value> =
        letters.enumerate().map(|(byte, letter)| (letter.to_string(), Value::from(byte))).collect();
    vocabulary.insert(END_OF_TEXT.into(), 256.into());
    let by_byte = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [{
            "id": 256, "content": END_OF_TEXT, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }],
        "pre_tokenizer": by_byte, "decoder": by_byte,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": [],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file<'a>(files: &'a [(&'static str, String)], name: &str) -> &'a str {
        &files.iter().find(|(of, _)| *of == name).unwrap().1
    }

    #[test]
    fn the_byte_tokenizer_is_written_with_its_own_ids() {
        let config = ModelConfig::gpt2(257, 8, 1, 8, 1);
        let files = files(&config, Some(&Tokenizer::Bytes), None).unwrap();
        let read = Tokenizer::from_json(file(&files, TOKENIZER)).unwrap();
        let text = "Tom has 12 b\u{f6}\u{f6}ks,\n\t\u{4e2d}\u{0}\u{7f}\u{a0}!";
        assert_eq!(read.encode(text).unwrap(), Tokenizer::Bytes.encode(text).unwrap());
        assert_eq!(read.decode(&read.encode(text).unwrap()).unwrap(), text);
        assert_eq!((read.end_of_text(), read.vocabulary()), (256, 257));
    }

    #[test]
    fn every_file_names_the_token_that_ends_a_text() {
        let config = ModelConfig::llama(257, 8, 1, 8, 1, 1);
        let brought = SpecialTokens { end: vec![2, 7], begin: Some(1) };
        let files = files(&config, Some(&Tokenizer::Bytes), Some(&brought)).unwrap();
        for name in [CONFIG, "generation_config.json"] {
            let value: Value = serde_json::from_str(file(&files, name)).unwrap();
            assert_eq!(value["eos_token_id"], json!([256, 2, 7]), "{name}");
            assert_eq!((&value["bos_token_id"], &value["pad_token_id"]), (&json!(1), &json!(256)), "{name}");
        }
        assert!(file(&files, "tokenizer_config.json").contains("\"eos_token\": \"<|endoftext|>\""));
    }
}
