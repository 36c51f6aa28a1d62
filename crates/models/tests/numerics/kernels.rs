//! The CUDA kernels, run on the processor, against the CPU's operations: whole networks, training, and what is special
//! to bf16.
//!
//! With `EMULATE_CUDA` set all other tests of this binary run on the kernels too.

use candle_core::{DType, Tensor};
use models::lora::LoraConfig;
use models::ops::{self, AttentionShape, emulate};
use models::optim::{
    AdamW, Hyperparameters, Muon, MuonScale, Optimizer, Orthogonalizer, Policy, RuleConfig, RuleName, Scope, Sgd,
};
use models::{Batch, Gradients, ModelConfig, Parameter, Precision, Role, Transformer, generate, train_step};

use crate::support::{Random, architectures, assert_close, floats, random_batch, random_model, relative_distance};

/// What `f` gives on the CPU and on the kernels.
fn both<T>(mut f: impl FnMut() -> T) -> [T; 2] {
    let mut run = |on| {
        emulate(on);
        f()
    };
    let results = [run(false), run(true)];
    emulate(false);
    results
}

fn f32(tensor: &Tensor) -> Tensor {
    tensor.to_dtype(DType::F32).unwrap()
}

/// Attention in bf16 against the CPU's f32 on the same rounded numbers.
fn check_attention(shape: AttentionShape, seed: u64) {
    let AttentionShape { batch, time, heads, kv_heads, width } = shape;
    let mut random = Random::new(seed);
    let mut rounded = |heads: usize| random.tensor(&[batch * time, heads * width]).to_dtype(DType::BF16).unwrap();
    let (q, k, v, d_out) = (rounded(heads), rounded(kv_heads), rounded(kv_heads), rounded(heads));
    let [q32, k32, v32, d32] = [&q, &k, &v, &d_out].map(f32);
    let (out, log_sums) = ops::causal_attention(&q32, &k32, &v32, shape, Precision::F32).unwrap();
    let expected =
        ops::causal_attention_backward([&q32, &k32, &v32], &out, &log_sums, &d32, shape, Precision::F32).unwrap();
    emulate(true);
    let (out16, sums16) = ops::causal_attention(&q, &k, &v, shape, Precision::Bf16).unwrap();
    let found = ops::causal_attention_backward([&q, &k, &v], &out16, &sums16, &d_out, shape, Precision::Bf16).unwrap();
    emulate(false);
    assert_eq!([&out16, &found.q, &found.k, &found.v].map(Tensor::dtype), [DType::BF16; 4]);
    let name = |what: &str| format!("{shape:?}, {what}");
    assert_close(&name("output"), &f32(&out16), &out, 4e-3);
    assert_close(&name("log-sums"), &sums16, &log_sums, 1e-5);
    // A lone token's scores have no gradient, and what rounding leaves has no relative size.
    if time > 1 {
        assert_close(&name("dq"), &f32(&found.q), &expected.q, 1e-2);
        assert_close(&name("dk"), &f32(&found.k), &expected.k, 1e-2);
    }
    assert_close(&name("dv"), &f32(&found.v), &expected.v, 5e-3);
}

#[test]
fn tensor_core_attention_agrees_at_tile_edges_odd_widths_and_grouped_heads() {
    for (i, &time) in [1, 5, 63, 64, 65, 130].iter().enumerate() {
        check_attention(AttentionShape { batch: 2, time, heads: 2, kv_heads: 1, width: 64 }, i as u64);
    }
    for (i, &width) in [1, 6, 7, 8, 20, 32, 40, 96, 100, 128].iter().enumerate() {
        check_attention(AttentionShape { batch: 1, time: 70, heads: 4, kv_heads: 2, width }, 10 + i as u64);
    }
}

#[test]
fn attention_wider_than_the_kernels_is_refused() {
    let shape = AttentionShape { batch: 1, time: 2, heads: 1, kv_heads: 1, width: 129 };
    let x = Random::new(1).tensor(&[2, 129]);
    emulate(true);
    let error = ops::causal_attention(&x, &x, &x, shape, Precision::F32).unwrap_err();
    emulate(false);
    assert!(error.to_string().contains("found heads of width 129"), "{error}");
}

#[test]
fn networks_have_the_loss_and_gradients_of_the_cpu_in_every_precision() {
    for (precision, tolerance) in [(Precision::F32, 1e-4), (Precision::Tf32, 1e-4), (Precision::Bf16, 5e-2)] {
        for (name, config) in architectures(70) {
            let mut model = random_model(&config, 0.2, 3);
            let batch = random_batch(3, 70, config.vocabulary, 5);
            let scale = 1.0 / batch.target_count() as f64;
            let (loss, expected) = model.gradients(&batch, scale).unwrap();
            model.parameters_mut().set_precision(precision);
            emulate(true);
            let (found_loss, found) = model.gradients(&batch, scale).unwrap();
            let plain_loss = model.loss(&batch).unwrap();
            emulate(false);
            assert_eq!((found_loss.count, plain_loss), (loss.count, found_loss), "{name}");
            assert!((found_loss.mean() - loss.mean()).abs() < tolerance * 0.1 * loss.mean(), "{name}: {found_loss:?}");
            for (id, parameter) in model.parameters().iter() {
                let [expected, found] = [&expected, &found].map(|g| g.get(id).unwrap());
                assert_eq!(found.dtype(), DType::F32, "{name}, {}", parameter.name);
                let (expected, found) = (floats(expected), floats(found));
                // A key bias has no gradient but rounding under learned positions.
                if expected.iter().map(|g| g * g).sum::<f32>().sqrt() > 1e-4 {
                    let error = relative_distance(&found, &expected);
                    assert!(error < tolerance, "{precision:?}, {name}, {}: off by {error:e}", parameter.name);
                }
            }
        }
    }
}

/// Losses of `steps` steps, and the weights after them; some tensors are larger than a block of the optimizers'
/// kernels.
fn train(policy: &Policy, precision: Precision, steps: usize) -> (Vec<f64>, Vec<f32>) {
    let config = ModelConfig { tied: false, ..ModelConfig::gpt2(101, 24, 2, 48, 3) };
    let mut model = Transformer::new(&config, 1).unwrap();
    if policy.groups.iter().any(|group| group.takes.contains(&Role::LoraA)) {
        model.add_lora(&LoraConfig::all(4), 2).unwrap();
    }
    model.parameters_mut().set_precision(precision);
    let mut optimizer = Optimizer::new(model.parameters_mut(), policy).unwrap();
    let batches = [random_batch(4, 24, 101, 2), random_batch(2, 24, 101, 3)];
    let losses =
        (0..steps).map(|_| train_step(&mut model, &mut optimizer, &batches, Some(1.0), 1.0).unwrap().loss).collect();
    (losses, model.parameters().iter().flat_map(|(_, p)| floats(&p.value)).collect())
}

fn policies() -> Vec<(&'static str, Policy)> {
    let adamw = RuleConfig::AdamW(AdamW { weight_decay: 0.1, ..AdamW::default() });
    let policy = |scope, hidden| Policy::hidden_and_rest(scope, hidden, 3e-3, adamw, 3e-3, 3e-3);
    let muon = |orthogonalizer, nesterov, scale| {
        let muon = Muon { orthogonalizer, nesterov, scale, weight_decay: 0.1, ..Muon::default() };
        policy(Scope::All, RuleConfig::Muon(muon))
    };
    let sgd = |nesterov| RuleConfig::Sgd(Sgd { nesterov, weight_decay: 0.1, ..Sgd::default() });
    vec![
        ("adamw", policy(Scope::All, adamw)),
        ("adamw on adapters", policy(Scope::Adapters, adamw)),
        ("muon", muon(Orthogonalizer::NewtonSchulz, true, MuonScale::MatchRms)),
        ("muon without Nesterov", muon(Orthogonalizer::PolarExpress, false, MuonScale::Original)),
        ("exact muon", muon(Orthogonalizer::Exact, true, MuonScale::MatchRms)),
        ("sgd", Policy::uniform(sgd(false), 0.1)),
        ("sgd with Nesterov", Policy::uniform(sgd(true), 0.1)),
    ]
}

#[test]
fn every_optimizer_trains_as_on_the_cpu() {
    for (name, policy) in policies() {
        let [(expected, weights), (found, found_weights)] = both(|| train(&policy, Precision::F32, 6));
        for (step, (a, b)) in expected.iter().zip(&found).enumerate() {
            assert!((a - b).abs() < 1e-4, "{name}, step {step}: {b}, expected {a}");
        }
        let error = relative_distance(&found_weights, &weights);
        assert!(error < 1e-3, "{name}: weights off by {error:e}");
    }
}

/// Rules without a kernel of their own, on the blocks' matrices: they go through the default of `update_together`.
/// (SOAP is left out here: where a gradient's rank is below a side, what is in the null space is rounding, which Adam
/// makes as large as the rest.)
#[test]
fn rules_without_a_kernel_train_as_on_the_cpu() {
    let table = Hyperparameters::default();
    for name in [RuleName::Lion, RuleName::Signum, RuleName::NorMuon] {
        let (hidden, rest) = (table.rule(name, 0.1), table.rule(RuleName::AdamW, 0.1));
        let policy = Policy::hidden_and_rest(Scope::All, hidden, 1e-3, rest, 1e-3, 1e-3);
        let [(expected, weights), (found, found_weights)] = both(|| train(&policy, Precision::F32, 6));
        for (step, (a, b)) in expected.iter().zip(&found).enumerate() {
            assert!((a - b).abs() < 1e-4, "{name}, step {step}: {b}, expected {a}");
        }
        let error = relative_distance(&found_weights, &weights);
        println!("{name}: weights off by {error:.1e}");
        assert!(error < 1e-3, "{name}: weights off by {error:e}");
    }
}

/// Twelve steps of every rule on a matrix of full rank on both sides, from the same gradients.
#[test]
fn every_rule_updates_many_matrices_at_once_as_one_by_one_on_the_cpu() {
    for &name in RuleName::ALL {
        let rule = Hyperparameters::default().rule(name, 0.1);
        let policy = Policy::hidden_and_rest(Scope::HiddenMatrices, rule, 1e-2, rule, 0.0, 0.0);
        let [expected, found] = both(|| {
            let mut model = Transformer::new(&ModelConfig::gpt2(23, 8, 1, 12, 2), 1).unwrap();
            let mut optimizer = Optimizer::new(model.parameters_mut(), &policy).unwrap();
            let mut random = Random::new(4);
            for _ in 0..12 {
                let mut gradients = Gradients::empty(model.parameters().len());
                for (id, parameter) in model.parameters().iter().filter(|(_, p)| p.value.rank() == 2) {
                    gradients.add(id, random.tensor(parameter.value.dims())).unwrap();
                }
                optimizer.step(model.parameters_mut(), &gradients, 1.0).unwrap();
            }
            let square = |p: &Parameter| p.value.dims() == [12, 12];
            model.parameters().iter().filter(|(_, p)| square(p)).flat_map(|(_, p)| floats(&p.value)).collect::<Vec<_>>()
        });
        let error = relative_distance(&found, &expected);
        println!("{name}: weights off by {error:.1e}");
        assert!(error < 1e-3, "{name}: weights off by {error:e}");
    }
}

#[test]
fn training_in_bf16_follows_the_losses_of_f32() {
    for (name, policy) in policies() {
        let (expected, _) = train(&policy, Precision::F32, 10);
        emulate(true);
        let (found, _) = train(&policy, Precision::Bf16, 10);
        emulate(false);
        assert_ne!(expected, found, "{name}");
        for (step, (a, b)) in expected.iter().zip(&found).enumerate() {
            assert!((a - b).abs() < 1e-2 * a, "{name}, step {step}: {b}, expected {a}");
        }
    }
}

#[test]
fn the_kernels_give_the_same_bits_again() {
    let policy = &policies()[2].1;
    for precision in [Precision::F32, Precision::Bf16] {
        emulate(true);
        let runs = [train(policy, precision, 3), train(policy, precision, 3)];
        emulate(false);
        assert_eq!(runs[0], runs[1]);
    }
}

#[test]
fn a_step_leaves_clones_of_the_model_and_saved_state_as_they_were() {
    emulate(true);
    let mut model = Transformer::new(&ModelConfig::gpt2(23, 8, 1, 16, 2), 1).unwrap();
    let policy = Policy::uniform(RuleConfig::AdamW(AdamW::default()), 1e-2);
    let mut optimizer = Optimizer::new(model.parameters_mut(), &policy).unwrap();
    let batch = [Batch::new(vec![1, 2, 3, 4], vec![2, 3, 4, 5], 4).unwrap()];
    let copy = model.clone();
    let weights = |model: &Transformer| model.parameters().iter().map(|(_, p)| floats(&p.value)).collect::<Vec<_>>();
    let before = weights(&model);
    train_step(&mut model, &mut optimizer, &batch, None, 1.0).unwrap();
    emulate(false);
    assert_eq!(weights(&copy), before);
    assert_ne!(weights(&model), before);
}

#[test]
fn greedy_decoding_gives_the_tokens_of_the_cpu_in_f32() {
    let model = random_model(&ModelConfig::llama(23, 16, 2, 16, 4, 2), 0.3, 5);
    let prompts = vec![vec![1, 2, 3], vec![4], vec![5, 6, 7, 8, 9, 10], vec![11, 12]];
    let [expected, found] = both(|| generate::greedy(&model, &prompts, 0, 8).unwrap());
    assert_eq!(found, expected);
}

#[test]
fn a_view_at_an_odd_address_is_read_as_it_is() {
    let mut random = Random::new(4);
    let (all, gain) = (random.tensor(&[5, 33]), random.tensor(&[33]));
    // 33 numbers in: 4 bytes behind a multiple of 16.
    let view = all.narrow(0, 1, 4).unwrap();
    let [expected, found] = both(|| ops::rms_norm(&view, &gain, 1e-5, Precision::F32).unwrap().0);
    assert_close("a view", &found, &expected, 1e-6);
}

#[test]
fn a_logit_that_is_no_number_makes_a_loss_that_is_none() {
    // Fewer columns than threads, so that a thread sees nothing but the broken one; it is no target.
    for broken in [0, 39] {
        let mut weight = Random::new(6).tensor(&[40, 4]).to_vec2::<f32>().unwrap();
        weight[broken] = vec![f32::NAN; 4];
        let weight = Tensor::new(weight, &candle_core::Device::Cpu).unwrap();
        let hidden = Random::new(5).tensor(&[8, 4]);
        let sum = || ops::head_loss(&hidden, &weight, &[3; 8], None, Precision::F32).unwrap().sum.value().unwrap();
        assert!(both(sum).iter().all(|loss| loss.is_nan()));
    }
}
