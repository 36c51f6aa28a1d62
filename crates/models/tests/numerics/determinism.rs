//! Same seed, same bits: whatever the number of threads, for shapes large enough that the matrix products do split.

use candle_core::{Device, Tensor};
use models::lora::LoraConfig;
use models::optim::{AdamW, Muon, Optimizer, Orthogonalizer, Policy, RuleConfig, Scope, orthogonalize};
use models::{Gradients, ModelConfig, Precision, Role, Transformer, ops, train_step};

use crate::support::{floats, random_batch, with_threads};

/// The losses of three steps and all weights after them, as bits.
fn train(config: &ModelConfig, policy: &Policy, precision: Precision, seed: u64) -> (Vec<u64>, Vec<u32>) {
    let mut model = Transformer::new(config, seed).unwrap();
    model.parameters_mut().set_precision(precision);
    if policy.groups.iter().any(|group| group.takes.contains(&Role::LoraA)) {
        model.add_lora(&LoraConfig::all(4), seed).unwrap();
    }
    let mut optimizer = Optimizer::new(model.parameters_mut(), policy).unwrap();
    let mut losses = Vec::new();
    for step in 0..3 {
        let batches = [5, 3].map(|rows| random_batch(rows, config.context, config.vocabulary, step + 3 * rows as u64));
        losses.push(train_step(&mut model, &mut optimizer, &batches, Some(1.0), 0.5).unwrap().loss.to_bits());
    }
    let weights = model.parameters().iter().flat_map(|(_, p)| floats(&p.value)).map(f32::to_bits).collect();
    (losses, weights)
}

#[test]
fn training_gives_the_same_bits_with_any_number_of_threads() {
    let gpt2 = ModelConfig::gpt2(531, 70, 2, 96, 4);
    let llama = ModelConfig::llama(531, 70, 2, 120, 6, 2);
    let adamw = RuleConfig::AdamW(AdamW { weight_decay: 0.1, ..AdamW::default() });
    let policy = |scope, hidden| Policy::hidden_and_rest(scope, hidden, 1e-3, adamw, 1e-3, 1e-3);
    let muon = |orthogonalizer| policy(Scope::All, RuleConfig::Muon(Muon { orthogonalizer, ..Muon::default() }));
    let runs = [
        (&gpt2, policy(Scope::All, adamw)),
        (&gpt2, muon(Orthogonalizer::NewtonSchulz)),
        (&llama, muon(Orthogonalizer::PolarExpress)),
        (&llama, policy(Scope::Adapters, adamw)),
    ];
    for (config, policy) in runs {
        for precision in [Precision::F32, Precision::Bf16] {
            let one = with_threads(1, || train(config, &policy, precision, 7));
            for threads in [2, 3] {
                let found = with_threads(threads, || train(config, &policy, precision, 7));
                assert!(found == one, "{threads} threads, {precision:?}: {policy:?}");
            }
        }
    }
}

/// A batch of 2048 tokens or more goes through the network in halves, side by side where there are threads.
#[test]
fn a_large_batch_gives_the_loss_and_gradients_of_its_halves_with_any_number_of_threads() {
    let config = ModelConfig::llama(531, 70, 2, 24, 6, 2);
    let model = Transformer::new(&config, 7).unwrap();
    let batch = random_batch(31, 70, config.vocabulary, 1);
    let bits = |gradients: &Gradients| -> Vec<u32> {
        let all = model.parameters().iter().map(|(id, _)| gradients.get(id).unwrap());
        all.flat_map(floats).map(f32::to_bits).collect()
    };
    let halves = batch.clone().split(16);
    let (mut loss, mut gradients) = model.gradients(&halves[0], 0.5).unwrap();
    let (more_loss, more) = model.gradients(&halves[1], 0.5).unwrap();
    loss.sum += more_loss.sum;
    loss.count += more_loss.count;
    gradients.accumulate(more).unwrap();
    for threads in [1, 2, 3] {
        let found = with_threads(threads, || (model.loss(&batch).unwrap(), model.gradients(&batch, 0.5).unwrap()));
        let (evaluated, (trained, found)) = found;
        assert_eq!((evaluated, trained), (loss, loss), "{threads} threads");
        assert!(bits(&found) == bits(&gradients), "{threads} threads");
    }
}

/// Loops over more than 2^17 values are shared by the threads there are.
#[test]
fn long_loops_give_the_same_bits_with_any_number_of_threads() {
    let config = ModelConfig::gpt2(2200, 16, 1, 96, 4);
    let adamw = RuleConfig::AdamW(AdamW { weight_decay: 0.1, ..AdamW::default() });
    let policy = Policy::hidden_and_rest(Scope::All, adamw, 1e-3, adamw, 1e-3, 1e-3);
    let random = |rows: usize, columns: usize, seed: usize| {
        let value = |i: usize| ((i * 7919 + seed * 104_729) % 65_521) as f32 / 10_000.0 - 3.0;
        Tensor::from_vec((0..rows * columns).map(value).collect(), (rows, columns), &Device::Cpu).unwrap()
    };
    let [x, dy, residual] = [1, 2, 3].map(|seed| random(500, 531, seed));
    let (weight, bias) = (random(531, 531, 4), random(1, 531, 5).flatten_all().unwrap());
    let run = || {
        let (d_gate, d_up) = ops::swiglu_backward(&x, &residual, &dy).unwrap();
        let tensors = [
            ops::gelu(&x).unwrap(),
            ops::gelu_backward(&x, &dy).unwrap(),
            ops::swiglu(&x, &dy).unwrap(),
            d_gate,
            d_up,
            ops::linear(&x, &weight, None, Some(&residual), Precision::F32).unwrap(),
            ops::linear(&x, &weight, Some(&bias), Some(&residual), Precision::F32).unwrap(),
            ops::scaled_add(&x, 0.3, &dy, -0.7).unwrap(),
            orthogonalize(&x, Orthogonalizer::NewtonSchulz, Precision::F32).unwrap(),
        ];
        let values: Vec<u32> = tensors.iter().flat_map(floats).map(f32::to_bits).collect();
        (values, train(&config, &policy, Precision::F32, 7))
    };
    let one = with_threads(1, run);
    for threads in [2, 3] {
        assert!(with_threads(threads, run) == one, "{threads} threads");
    }
}

#[test]
fn a_seed_fixes_the_weights_and_another_seed_changes_them() {
    let config = ModelConfig::llama(50, 16, 1, 16, 2, 1);
    let weights = |seed| -> Vec<f32> {
        let mut model = Transformer::new(&config, seed).unwrap();
        model.add_lora(&LoraConfig::all(2), seed).unwrap();
        model.parameters().iter().flat_map(|(_, p)| floats(&p.value)).collect()
    };
    assert_eq!(weights(3), weights(3));
    assert_ne!(weights(3), weights(4));
}
