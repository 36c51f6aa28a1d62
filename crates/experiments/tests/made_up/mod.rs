//! Made-up results for tests: no network was trained for them.

use experiments::stages::EndPoint;
use experiments::tradeoff::figures::{AlongRun, Curve};
use experiments::tradeoff::statistics::{Comparison, Pair};

/// Two optimizers with two controls.
pub(crate) fn comparison() -> Comparison {
    Comparison {
        methods: ["adamw", "muon", "sgd", "lora-4", "lora-16"].map(String::from).to_vec(),
        pair: Some(Pair::new(("adamw", "adamw"), ("muon", "muon"))),
        alone: Vec::new(),
        controls: vec![
            Pair::new(("adamw-long", "adamw"), ("muon", "muon")),
            Pair::new(("adamw", "adamw"), ("muon-low-rate", "muon")),
        ],
        lora: vec!["lora-4".into(), "lora-16".into()],
        sgd: vec!["sgd".into()],
    }
}

/// A number in -0.5..0.5 that depends on the words alone (FNV-1a).
fn noise(words: &[&str], numbers: &[u64]) -> f64 {
    let bytes = words.iter().flat_map(|word| word.bytes()).chain(numbers.iter().flat_map(|n| n.to_le_bytes()));
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (hash >> 11) as f64 / (1u64 << 53) as f64 - 0.5
}

/// Forgetting grows with the square of learning, and more for methods that do not match; SGD learns
/// less; the largest of seven learning rates wrecks the model, and once it diverges.
pub(crate) fn rows(seeds: u64, tasks: &[&str], checkpoints: &[&str]) -> Vec<EndPoint> {
    let mut rows = Vec::new();
    for task in tasks {
        for checkpoint in checkpoints {
            for (method, cost, reach) in [
                ("adamw", 1.0, 1.4),
                ("muon", 1.05, 1.5),
                ("sgd", 1.5, 1.25),
                ("lora-4", 2.1, 1.2),
                ("lora-16", 1.8, 1.3),
            ] {
                for seed in 1..=seeds {
                    let cost = cost
                        * if checkpoint.starts_with(method) { 0.8 } else { 1.0 }
                        * (1.0 + 0.15 * noise(&[task, checkpoint, method], &[seed]));
                    for (step, share) in [0.12, 0.3, 0.5, 0.72, 0.88, 1.0, 0.5].into_iter().enumerate() {
                        let wreck = if step == 6 { 3.0 } else { 0.0 };
                        let diverged = step == 6 && method == "muon" && seed == 1;
                        let learning = reach * share * (1.0 + 0.03 * noise(&[task, method], &[seed, step as u64]));
                        let forgetting = 0.5 * cost * share * share * reach + wreck;
                        rows.push(EndPoint {
                            checkpoint: (*checkpoint).to_owned(),
                            task: (*task).to_owned(),
                            method: method.to_owned(),
                            learning_rate: 1e-4 * f64::from(1 << step),
                            seed,
                            order: 0,
                            pretrain_loss_before: 3.0,
                            pretrain_loss_after: if diverged { f64::NAN } else { 3.0 + forgetting },
                            task_loss_before: 4.3,
                            task_loss_after: 4.3 - learning,
                            validation_loss_before: 4.3,
                            validation_loss_after: 4.3 - learning,
                            exact_match: None,
                            diverged,
                        });
                    }
                }
            }
        }
    }
    rows
}

/// Faint points along some runs.
pub(crate) fn along_runs() -> Vec<AlongRun> {
    ["adamw", "muon"]
        .iter()
        .flat_map(|method| {
            (1..8).map(move |run| AlongRun {
                checkpoint: "adamw".into(),
                task: "code".into(),
                method: (*method).to_owned(),
                points: (1..20)
                    .map(|step| {
                        let learning = 0.07 * f64::from(step) * f64::from(run) / 7.0;
                        (learning, 0.3 * learning * learning + 0.05 + 0.02 * noise(&[method], &[step as u64]))
                    })
                    .collect(),
            })
        })
        .collect()
}

/// Falling losses with the noise of a minibatch.
pub(crate) fn curves(seeds: u64) -> Vec<Curve> {
    ["adamw", "muon", "adamw-long", "muon-low-rate"]
        .iter()
        .zip([(3.2, 1.8e6), (2.9, 1.8e6), (3.0, 2.4e6), (3.3, 1.0e6)])
        .flat_map(|(checkpoint, (floor, tokens))| {
            (1..=seeds).map(move |seed| Curve {
                checkpoint: (*checkpoint).to_owned(),
                seed,
                points: (0..=60)
                    .map(|step| {
                        let share = f64::from(step) / 60.0;
                        let noise = 0.08 * noise(&[checkpoint], &[seed, step as u64]);
                        (tokens * share, floor + 3.7 * (-5.0 * share).exp() + noise)
                    })
                    .collect(),
            })
        })
        .collect()
}
