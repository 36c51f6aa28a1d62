//! What a training will cost, in time and memory.

use std::time::Instant;

use models::optim::{Optimizer, Policy};
use models::{Batch, Hardware, ModelConfig, Transformer, train_step};

use super::network::Network;
use super::training::Training;
use crate::error::Result;

/// Tokens of a step at the most with which a processor's speed is measured: a step of half a million would take an
/// hour.
const MEASURED_TOKENS: usize = 4096;
/// Parameters beyond which a processor's speed is that of one block, measured with so many tokens.
const LARGE: usize = 30_000_000;
const TOKENS_OF_A_BLOCK: usize = 128;
/// Entries of the vocabulary beside the one block.
const VOCABULARY_OF_A_BLOCK: usize = 1024;

/// Training tokens per second of one job, from a few steps on made-up tokens.
///
/// # Errors
/// If the network cannot be built or trained.
pub fn training_speed(network: &Network, policy: &Policy, training: &Training) -> Result<f64> {
    let sequences = match network.device {
        Hardware::Cpu => training.sequences.min((MEASURED_TOKENS / network.context()).max(1)),
        Hardware::Cuda(_) => training.sequences,
    };
    let numbers =
        |config: &ModelConfig| -> Result<usize> { Ok(Transformer::unfilled(config)?.parameters().count(false)) };
    let all = numbers(&network.config)?;
    if network.device != Hardware::Cpu || all <= LARGE {
        let batch = (sequences, network.context(), training.micro_batch.unwrap_or(sequences));
        return measured_speed(network, policy, batch, 3);
    }
    // A step of the whole would take a minute, and more memory than a plan should.
    let vocabulary = network.config.vocabulary.min(VOCABULARY_OF_A_BLOCK);
    let block = ModelConfig { layers: 1, vocabulary, ..network.config.clone() };
    let share = numbers(&block)? as f64 / all as f64;
    let batch = (1, network.context().min(TOKENS_OF_A_BLOCK), 1);
    Ok(share * measured_speed(&Network { config: block, ..network.clone() }, policy, batch, 1)?)
}

/// Training tokens per second over some steps of one thread, with so many sequences of so many tokens, and so many of
/// them at a time.
fn measured_speed(
    network: &Network,
    policy: &Policy,
    (sequences, context, at_a_time): (usize, usize, usize),
    steps: usize,
) -> Result<f64> {
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    alone.install(|| {
        let mut model = network.build(0)?;
        let mut optimizer = Optimizer::new(model.parameters_mut(), policy)?;
        let vocabulary = network.config.vocabulary;
        let ids: Vec<u32> = (0..sequences * context).map(|i| (i % vocabulary) as u32).collect();
        let targets = ids.iter().map(|id| (id + 1) % vocabulary as u32).collect();
        let batch = Batch::new(ids, targets, context)?.split(at_a_time);
        train_step(&mut model, &mut optimizer, &batch, Some(1.0), 1.0)?;
        let start = Instant::now();
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
