//! A GGUF file: refused in one line, or read into a network of its shape, with a tokenizer that is refused or read.
#![no_main]

use lab_fuzz::{file, one_line};
use libfuzzer_sys::fuzz_target;
use models::Tokenizer;
use models::checkpoint::Source;

fuzz_target!(|bytes: &[u8]| {
    let path = file("network.gguf", bytes);
    let source = match Source::open(&path) {
        Ok(source) => source,
        Err(error) => return one_line(&error),
    };
    let _ = source.chat_template();
    match source.tokenizer_json() {
        Ok(json) => match Tokenizer::from_json(&json.expect("a GGUF file has one, or is refused")) {
            Ok(tokenizer) => match tokenizer.encode("Tom has 12 apples.\n\té\u{1F600}") {
                Ok(ids) => assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocabulary())),
                Err(error) => one_line(&error),
            },
            Err(error) => one_line(&error),
        },
        Err(error) => one_line(&error),
    }
    match source.read() {
        Ok(network) => assert_eq!(network.config(), source.config()),
        Err(error) => one_line(&error),
    }
});
