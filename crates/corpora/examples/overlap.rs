//! How much of the held-out code stands in the training code: with files drawn one by one, and with families of
//! packages drawn whole, for five seeds.
//!
//! ```console
//! $ cargo run --release -p corpora --example overlap
//! ```

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::ExitCode;

use corpora::{Corpus, CorpusError, Document, Split, split, split_by_family};

/// Words and signs in a row that are looked up; about 32 tokens of a BPE with 1024 entries.
const SPAN: usize = 16;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), CorpusError> {
    let code = Corpus::pinned(|fetching| eprintln!("{fetching}"))?.code;
    println!("seed  files  families");
    for seed in 0..5 {
        let shares = [split(&code, 0.05, seed)?, split_by_family(&code, 0.05, seed)?].map(|parts| share_seen(&parts));
        println!("{seed:4}  {:.3}  {:.3}", shares[0], shares[1]);
    }
    Ok(())
}

/// The share of held-out spans that stand in the training text.
fn share_seen(parts: &Split) -> f64 {
    let spans = |side: &[Document]| side.iter().flat_map(|document| spans(&document.text)).collect::<Vec<u64>>();
    let seen: HashSet<u64> = spans(&parts.train).into_iter().collect();
    let held_out = spans(&parts.held_out);
    held_out.iter().filter(|span| seen.contains(span)).count() as f64 / held_out.len() as f64
}

/// Hashes of all runs of [`SPAN`] words and signs.
fn spans(text: &str) -> Vec<u64> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut words: Vec<&str> = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end =
            rest.find(|c| !is_word(c)).unwrap_or(rest.len()).max(if is_word(first) { 0 } else { first.len_utf8() });
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    let hashed = |window: &[&str]| {
        let mut hasher = DefaultHasher::new();
        window.hash(&mut hasher);
        hasher.finish()
    };
    words.windows(SPAN).map(hashed).collect()
}
