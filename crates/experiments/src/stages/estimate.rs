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
/// Parameters beyond which a processor's speed is measured with one sequence of at most so many tokens.
const LARGE: usize = 30_000_000;
const LARGE_TOKENS: usize = 128;

/// Training tokens per second of one job, from a few steps on made-up tokens.
///
/// # Errors
/// If the network cannot be built or trained.
pub fn training_speed(network: &Network, policy: &Policy, training: &Training) -> Result<f64> {
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    alone.install(|| {
        let mut model = network.build(0)?;
        let mut optimizer = Optimizer::new(model.parameters_mut(), policy)?;
        let (context, vocabulary) = (network.context(), network.config.vocabulary);
        // Some seconds at the most: a step of a large network is measured on fewer tokens, and once.
        let large = model.parameters().count(false) > LARGE;
        let sequences = match network.device {
            Hardware::Cpu if large => 1,
            Hardware::Cpu => training.sequences.min((MEASURED_TOKENS / context).max(1)),
            Hardware::Cuda(_) => training.sequences,
        };
        let context = if large && network.device == Hardware::Cpu { context.min(LARGE_TOKENS) } else { context };
        let ids: Vec<u32> = (0..sequences * context).map(|i| (i % vocabulary) as u32).collect();
        let targets = ids.iter().map(|id| (id + 1) % vocabulary as u32).collect();
        let batch = Batch::new(ids, targets, context)?.split(training.micro_batch.unwrap_or(sequences));
        train_step(&mut model, &mut optimizer, &batch, Some(1.0), 1.0)?;
        let start = Instant::now();
        let steps = if large { 1 } else { 3 };
        for _ in 0..steps {
            train_step(&mut model, &mut optimizer, &batch, Some(1.0), 1.0)?;
        }
        Ok((steps * sequences * context) as f64 / start.elapsed().as_secs_f64())
    })
}

/// What the largest step of several trainings takes of memory, by count, and of a GPU's beside what there is. For the
/// processor, which networks that are pretrained here do not fill, only if it is `asked` for.
///
/// # Errors
/// If the device does not answer.
pub fn memory_line(network: &Network, trainings: &[Training], asked: bool) -> Result<Option<String>> {
    let memory = models::gpu_memory(&network.device.open()?)?;
    let step = |training: &Training| {
        let sequences = training.micro_batch.unwrap_or(training.sequences).min(training.sequences);
        network.config.step_bytes(sequences * network.context(), network.precision)
    };
    let needed = trainings.iter().map(step).max().unwrap_or(0) as f64 / 1e9;
    let Some(memory) = memory else {
        return Ok(
            asked.then(|| format!("memory: about {needed:.1} GB a job: fewer sequences or `micro-batch` take less"))
        );
    };
    let available = memory.available as f64 / 1e9;
    let advice = if needed > available { ": set a smaller `micro-batch`" } else { "" };
    Ok(Some(format!("memory: about {needed:.1} GB a job, {available:.1} GB free on {}{advice}", network.device)))
}
