//! Token ids in a `.bin`: refused in one line, or read with every id below the vocabulary, the same in pieces as whole.
#![no_main]

use corpora::{OwnText, TEXT_FIELD, UserText, read_user_corpus};
use lab_fuzz::{file, one_line};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (vocabulary, content) = match bytes {
        [wide, rest @ ..] => (if wide % 2 == 0 { 50_257 } else { 151_936 }, rest),
        [] => return,
    };
    let paths = [file("ids.bin", content)];
    let text = OwnText { paths: &paths, field: TEXT_FIELD, ends: &[], vocabulary: Some(vocabulary) };
    match read_user_corpus(&text) {
        Ok(corpus) => {
            let UserText::Tokens(tokens) = corpus.content else { unreachable!("a .bin is token ids") };
            let mut all = vec![0; tokens.len()];
            tokens.read(0, &mut all).expect("the file is as it was");
            assert!(!all.is_empty() && all.iter().all(|id| (*id as usize) < vocabulary));
            let middle = all.len() / 2;
            let mut rest = vec![0; all.len() - middle];
            tokens.read(middle, &mut rest).expect("the file is as it was");
            assert_eq!(rest, all[middle..]);
        }
        Err(error) => one_line(&error),
    }
});
