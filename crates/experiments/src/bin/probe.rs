//! What a checkpoint is like inside.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use experiments::probe_folder::{ProbeOptions, run};
use lab::console;
use lab::program::{self, parse};

/// Look into a checkpoint: activations, output gradients and weights by layer and kind, as tables and figures.
///
/// Reads model.safetensors and config.json as this project and Hugging Face write them (GPT-2 and Llama families), and
/// the tokenizer beside them. Prints the tables; writes them as CSV and the figures as SVG and PNG. What each number
/// is: docs/probes.md.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// The checkpoint's folder
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Text to run it on: .txt, .jsonl with a field `text`, or nanoGPT's .bin
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// About how many tokens of the text, in windows spread over it evenly
    #[arg(long, default_value_t = 32_768, value_name = "N")]
    tokens: usize,
    /// Tokens of a window [default: the checkpoint's positions, at most 1024]
    #[arg(long, value_name = "N")]
    context: Option<usize>,
    /// A tokenizer.json in place of the folder's
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// The same network before training, for the distance of its weights
    #[arg(long, value_name = "FOLDER")]
    initial: Option<PathBuf>,
    /// Seed of the labels that are drawn from the network
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    seed: u64,
    /// Folder for tables and figures
    #[arg(long, default_value = "probe", value_name = "DIR")]
    out: PathBuf,
}

fn main() -> ExitCode {
    program::main(|| {
        let Flags { folder, text, tokens, context, tokenizer, initial, seed, out } = parse::<Flags>();
        let printed = run(&ProbeOptions { folder, text, tokens, context, tokenizer, initial, seed, out });
        printed.map(|text| console::print(&text))
    })
}
