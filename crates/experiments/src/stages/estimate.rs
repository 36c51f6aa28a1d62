//! What a training will cost, in time and memory.

use std::time::Instant;

use models::optim::{Optimizer, Policy};
use models::{Batch, Hardware, train_step};

use super::network::Network;
use super::training::Training;
use crate::error::Result;

/// Tokens of a step at the most with which a processor's speed is measured: a step of half a million would take an
/// hour.
const MEASURED_TOKENS: usize = 4096;

/// Training tokens per second of one job, from a few steps on made-up tokens.
///
/// # Errors
/// If the network cannot be built or trained.
pub fn training_speed(network: &Network, policy: &Policy, training: &Training) -> Result<f64> {
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    alone.install(|| {
        let mut model = network.build(0)?;
        let mut optimizer = Optimizer::new(model.parameters_mut(), policy)?;
        let (context, vocabulary) = (network.config.context, network.config.vocabulary);
        let sequences = match network.device {
            Hardware::Cpu => training.sequences.min((MEASURED_TOKENS / context).max(1)),
            Hardware::Cuda(_) => training.sequences,
        };
        let ids: Vec<u32> = (0..sequences * context).map(|i| (i % vocabulary) as u32).collect();
        let targets = ids.iter().map(|id| (id + 1) % vocabulary as u32).collect();
        let batch = Batch::new(ids, targets, context)?.split(training.micro_batch.unwrap_or(sequences));
        train_step(&mut model, &mut optimizer, &batch, Some(1.0), 1.0)?;
        let start = Instant::now();
        let steps = 3;
        for _ in 0..steps {
            train_step(&mut model, &mut optimizer, &batch, Some(1.0), 1.0)?;
        }
        Ok((steps * sequences * context) as f64 / start.elapsed().as_secs_f64())
    })
}

/// What the largest step of several trainings takes of a GPU's memory, by count, beside what there is; nothing for the
/// processor.
///
/// # Errors
/// If the device does not answer.
pub fn memory_line(network: &Network, trainings: &[Training]) -> Result<Option<String>> {
    let Some(memory) = models::gpu_memory(&network.device.open()?)? else { return Ok(None) };
    let step = |training: &Training| {
        let sequences = training.micro_batch.unwrap_or(training.sequences).min(training.sequences);
        network.config.step_bytes(sequences * network.config.context, network.precision)
    };
    let needed = trainings.iter().map(step).max().unwrap_or(0) as f64 / 1e9;
    let available = memory.available as f64 / 1e9;
    let advice = if needed > available { ": set a smaller `micro-batch`" } else { "" };
    Ok(Some(format!("memory: about {needed:.1} GB a job, {available:.1} GB free on {}{advice}", network.device)))
}
