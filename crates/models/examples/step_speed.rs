//! Tokens per second of a whole training step: `cargo run --release -p models --example step_speed -- LAYERS WIDTH HEADS CONTEXT BATCH VOCABULARY THREADS OPTIMIZER`.

use std::time::Instant;

use models::optim::{AdamW, Muon, Optimizer, Policy, RuleConfig, Sgd};
use models::{Batch, ModelConfig, Transformer, train_step};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [layers, width, heads, context, sequences, vocabulary, threads, optimizer] = &arguments[..] else {
        return Err("eight arguments: layers width heads context batch vocabulary threads adamw|muon|sgd".into());
    };
    let [layers, width, heads, context, sequences, vocabulary] =
        [layers, width, heads, context, sequences, vocabulary].map(|a| a.parse::<usize>());
    let (context, sequences, vocabulary) = (context?, sequences?, vocabulary?);
    let config = ModelConfig::gpt2(vocabulary, context, layers?, width?, heads?);
    let adamw = RuleConfig::AdamW(AdamW { weight_decay: 0.1, ..AdamW::default() });
    let hidden = match optimizer.as_str() {
        "muon" => RuleConfig::Muon(Muon { weight_decay: 0.1, ..Muon::default() }),
        "sgd" => RuleConfig::Sgd(Sgd::default()),
        _ => adamw,
    };
    let policy = Policy { hidden, ..Policy::uniform(adamw, 1e-3) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build()?;
    pool.install(|| -> Result<(), models::Error> {
        let mut model = Transformer::new(&config, 0)?;
        let mut state = Optimizer::new(model.parameters_mut(), &policy)?;
        let ids: Vec<u32> = (0..sequences * context).map(|i| ((i * 7919 + i / 13) % vocabulary) as u32).collect();
        let targets = ids.iter().map(|id| (id + 1) % vocabulary as u32).collect();
        let batch = [Batch::new(ids, targets, context)?];
        let mut times = Vec::new();
        for step in 0..25 {
            let start = Instant::now();
            train_step(&mut model, &mut state, &batch, Some(1.0), 1.0)?;
            if step >= 5 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        println!("{:.1} ms a step, {:.0} tokens/s", 1e3 * median, (sequences * context) as f64 / median);
        Ok(())
    })?;
    Ok(())
}
