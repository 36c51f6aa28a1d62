//! A package of a Rust file and a Markdown file: read without a panic into ASCII text that depends on nothing else.
//!
//! An input is the Rust file, a zero byte, and the Markdown file.
#![no_main]

use corpora::{Corpus, Package};
use lab_fuzz::{file, folder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    file("package/src/lib.rs", &bytes[..end]);
    file("package/README.md", bytes.get(end + 1..).unwrap_or_default());
    let package = Package { name: "fuzzed".into(), version: "1.0.0".into(), folder: folder().join("package") };
    let corpus = Corpus::of_packages(std::slice::from_ref(&package)).expect("the files can be read");
    for document in corpus.prose.iter().chain(&corpus.code) {
        assert!(document.text.is_ascii() && !document.text.contains('\r') && !document.text.trim().is_empty());
    }
    assert_eq!(Corpus::of_packages(&[package]).expect("as before"), corpus);
});
