//! What a checkpoint makes of a text: the ids of its tokens, the mean loss, and, if asked for, the logits, to be
//! compared with another implementation's (`scripts/compare_checkpoint.py`).
//!
//! ```text
//! cargo run --release -p models --example text_loss -- CHECKPOINT TEXT.txt [LOGITS.safetensors]
//! ```

use std::collections::HashMap;
use std::path::Path;

use models::checkpoint::Source;
use models::{Batch, Tokenizer};

/// Tokens of the text that are read, at the most.
const TOKENS: usize = 512;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, text, rest @ ..] = arguments.as_slice() else {
        return Err("found too few arguments, expected CHECKPOINT TEXT.txt [LOGITS.safetensors]".into());
    };
    let source = Source::open(Path::new(checkpoint))?;
    let json = source.tokenizer_json()?.ok_or("found no tokenizer.json")?;
    let mut tokens = Tokenizer::from_json(&json)?.encode(&std::fs::read_to_string(text)?)?;
    tokens.truncate(TOKENS.min(source.config().context) + 1);
    let (ids, targets) = (tokens[..tokens.len() - 1].to_vec(), tokens[1..].to_vec());
    let network = source.read()?;
    let time = ids.len();
    println!("ids {tokens:?}");
    println!("loss {:.7}", network.loss(&Batch::new(ids.clone(), targets, time)?)?.mean());
    if let [path] = rest {
        let logits = network.logits(&ids, time)?;
        candle_core::safetensors::save(&HashMap::from([("logits", logits)]), path)?;
    }
    Ok(())
}
