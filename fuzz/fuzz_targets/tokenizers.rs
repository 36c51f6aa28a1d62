//! A `tokenizer.json`: refused in one line, or every text becomes ids of its vocabulary and goes back without a panic.
//!
//! The first line of an input is text to encode, the rest the file.
#![no_main]

use lab_fuzz::{headed, one_line};
use libfuzzer_sys::fuzz_target;
use models::Tokenizer;

fuzz_target!(|bytes: &[u8]| {
    let (text, json) = headed(bytes);
    let Ok(json) = std::str::from_utf8(json) else { return };
    let tokenizer = match Tokenizer::from_json(json) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return one_line(&error),
    };
    assert!((tokenizer.end_of_text() as usize) < tokenizer.vocabulary());
    for text in [text, "", "Tom has 12 apples.\n\té\u{1F600}"] {
        match tokenizer.encode(text) {
            Ok(ids) => assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocabulary())),
            Err(error) => one_line(&error),
        }
        match tokenizer.lost(text) {
            Ok(lost) => assert!(lost.is_none_or(|lost| !lost.contains('\n'))),
            Err(error) => one_line(&error),
        }
    }
    match tokenizer.to_json() {
        Ok(written) => {
            let back = Tokenizer::from_json(&written.expect("a library's")).expect("what is written is read");
            assert_eq!(back.vocabulary(), tokenizer.vocabulary());
        }
        Err(error) => one_line(&error),
    }
});
