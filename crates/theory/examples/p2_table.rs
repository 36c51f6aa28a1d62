//! Times the P2 table: three label-noise runs of a two-layer linear network (n 8, hidden 24, m 4, batch 4, noise 1) on
//! one thread: SGD for 300,000 steps, Adam for 300,000, Muon for 200,000.
//!
//! `cargo run --release -p theory --example p2_table` prints the seconds of each and what it ends with.
//! `docs/theory/speed.md` compares them with the same loop in numpy.

use std::time::Instant;

use theory::inputs::InputFamily;
use theory::optimizers::{OptimizerConfig, Rule};
use theory::regularization::TwoLayerParams;

fn main() -> theory::Result<()> {
    let mut total = 0.0;
    for (rule, learning_rate, steps) in
        [(Rule::Sgd, 0.01, 300_000), (Rule::Adam, 0.002, 300_000), (Rule::Muon, 0.004, 200_000)]
    {
        let momentum = if rule == Rule::Sgd { 0.0 } else { 0.9 };
        let simulation = TwoLayerParams {
            inputs: InputFamily { size: 8, anisotropy: 0.0, rotation: 0.0 },
            hidden: 24,
            outputs: 4,
            batch: 4,
            label_noise: 1.0,
            target_ratio: None,
            start: None,
            optimizer: OptimizerConfig::new(rule).with_momentum(momentum),
            learning_rate,
            steps,
            cooldown: 0.0,
            records: 1,
        }
        .check()?;
        let clock = Instant::now();
        let trajectory = simulation.run(0)?;
        let seconds = clock.elapsed().as_secs_f64();
        total += seconds;
        let end = trajectory.last();
        println!(
            "{:5} {seconds:6.2} s  {:.2} us/step  sgd {:.1} (least {:.1})  adam {:.1} (least {:.1})  \
             full whitening {:.1} (least {:.1})  participation {:.1}",
            rule.name(),
            1e6 * seconds / steps as f64,
            end.sgd,
            trajectory.minimum_sgd,
            end.adam,
            trajectory.minimum_adam,
            end.full_whitening,
            trajectory.minimum_full_whitening,
            end.participation_ratio,
        );
    }
    println!("all three: {total:.2} s");
    Ok(())
}
