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
/// The same for a GPU, whose step of a small block would be too short to say anything of a large network.
const LARGE_ON_A_GPU: usize = 1_000_000_000;
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
    let on_cpu = network.device == Hardware::Cpu;
    if all <= if on_cpu { LARGE } else { LARGE_ON_A_GPU } {
        let batch = (sequences, network.context(), training.micro_batch.unwrap_or(sequences));
        return measured_speed(network, policy, batch, 3);
    }
    // A step of the whole would take a minute, and more memory than a plan should.
    let vocabulary = network.config.vocabulary.min(VOCABULARY_OF_A_BLOCK);
    let mut block = ModelConfig { layers: 1, vocabulary, ..network.config.clone() };
    while on_cpu && numbers(&block)? > LARGE {
        // Products of half the width are as fast.
        let Some(half) = half(&block) else { break };
        block = half;
    }
    let share = numbers(&block)? as f64 / all as f64;
    let batch = if on_cpu {
        (1, network.context().min(TOKENS_OF_A_BLOCK), 1)
    } else {
        let at_a_time = training.micro_batch.unwrap_or(sequences).min(sequences);
        (at_a_time, network.context(), at_a_time)
    };
    Ok(share * measured_speed(&Network { config: block, ..network.clone() }, policy, batch, 1)?)
}

/// A network of half the width, with half as many heads.
fn half(config: &ModelConfig) -> Option<ModelConfig> {
    let halved = |size: usize| size.is_multiple_of(2).then_some(size / 2);
    Some(ModelConfig {
        width: halved(config.width)?,
        heads: halved(config.heads)?,
        kv_heads: if config.kv_heads == 1 { 1 } else { halved(config.kv_heads)? },
        mlp_width: halved(config.mlp_width)?,
        ..config.clone()
    })
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

/// Bytes of a processor's memory from which on it is worth saying, for networks that are pretrained here.
const MUCH: u64 = 4_000_000_000;

/// About how many bytes the largest step of each of several trainings takes: by its name, and with the rank of its
/// adapters where these alone are trained.
pub fn memory(network: &Network, trainings: &[(String, Training, Option<usize>)]) -> Vec<(String, u64)> {
    let step = |(name, training, rank): &(String, Training, Option<usize>)| {
        let sequences = training.micro_batch.unwrap_or(training.sequences).min(training.sequences);
        let (tokens, precision) = (sequences * network.context(), network.precision);
        let bytes = match rank {
            None => network.config.step_bytes(tokens, precision),
            Some(rank) => network.config.adapter_step_bytes(tokens, precision, *rank),
        };
        (name.clone(), bytes)
    };
    trainings.iter().map(step).collect()
}

/// What the largest step of several trainings takes of memory, by count, which take much less, and what there is of a
/// GPU's. For the processor only if it is `asked` for, or much.
///
/// # Errors
/// If the device does not answer.
pub fn memory_line(network: &Network, needed: &[(String, u64)], asked: bool) -> Result<Option<String>> {
    let memory = models::gpu_memory(&network.device.open()?)?;
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    let most = needed.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let less = needed.iter().filter(|(_, bytes)| *bytes < most / 4 * 3 && most >= MUCH);
    let less: Vec<String> = less.map(|(name, bytes)| format!("{name} {:.1} GB", gigabytes(*bytes))).collect();
    let less = if less.is_empty() { String::new() } else { format!(" ({})", less.join(", ")) };
    let line = format!("memory: about {:.1} GB a job{less}", gigabytes(most));
    let Some(memory) = memory else {
        return Ok((asked || most >= MUCH).then(|| format!("{line}: fewer sequences or `micro-batch` take less")));
    };
    let advice = if most > memory.available { ": set a smaller `micro-batch`" } else { "" };
    let available = gigabytes(memory.available);
    Ok(Some(format!("{line}, {available:.1} GB free on {}{advice}", network.device)))
}
