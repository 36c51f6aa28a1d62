//! Tokens per second of every named language, on one thread: `cargo run --release -p synthetic-lm --example
//! throughput`.
//!
//! Each language fills a buffer of 65536 tokens again and again for about a second; the best of five rounds counts.

use std::time::Instant;

use synthetic_lm::language::{Language, presets::PRESETS};

const BUFFER: usize = 1 << 16;
const ROUNDS: usize = 5;

fn main() -> Result<(), synthetic_lm::Error> {
    println!("{:14} {:>16}", "language", "million tokens/s");
    for preset in PRESETS {
        let language = Language::new(&(preset.config)(), 0)?;
        let mut stream = language.stream(0);
        let (mut tokens, mut is_answer) = (Vec::new(), Vec::new());
        let round = || {
            let start = Instant::now();
            let mut filled = 0;
            while start.elapsed().as_secs_f64() < 0.2 {
                filled += stream.fill(BUFFER, &mut tokens, &mut is_answer);
            }
            filled as f64 / start.elapsed().as_secs_f64()
        };
        let best = std::iter::repeat_with(round).take(ROUNDS).fold(0.0, f64::max);
        println!("{:14} {:16.1}", preset.name, best / 1e6);
    }
    Ok(())
}
