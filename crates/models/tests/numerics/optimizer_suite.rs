//! One suite that every optimizer must pass, in every variant: what holds for all of them, whatever their formula.
//!
//! A rule is here as soon as it is registered, with its defaults.

use candle_core::{DType, Device, Tensor};
use models::optim::{
    GroupPolicy, Hyperparameters, Muon, MuonScale, NorMuon, Optimizer, Orthogonalizer, Policy, RuleConfig, RuleName,
    Scope, Sgd, Soap, Split, State, StepSize,
};
use models::{Batch, ModelConfig, Part, Precision, Role, Transformer, train_step};

use crate::support::{Random, floats, random_batch, random_model, relative_distance, tensor, with_threads};

const DECAY: f64 = 0.1;
const SHAPES: [[usize; 2]; 3] = [[6, 4], [4, 6], [5, 5]];

/// Every optimizer with its defaults, and some in other variants; without decay.
fn rules() -> Vec<RuleConfig> {
    let muon = |nesterov, orthogonalizer, scale| {
        RuleConfig::Muon(Muon { momentum: 0.95, nesterov, weight_decay: 0.0, orthogonalizer, scale })
    };
    let sgd = |momentum, nesterov| RuleConfig::Sgd(Sgd { momentum, nesterov, weight_decay: 0.0 });
    let defaults = RuleName::ALL.iter().map(|&name| Hyperparameters::default().rule(name, 0.0));
    let variants = [
        sgd(0.0, false),
        sgd(0.9, true),
        muon(true, Orthogonalizer::NewtonSchulz, MuonScale::Original),
        muon(false, Orthogonalizer::NewtonSchulz, MuonScale::MatchRms),
        muon(true, Orthogonalizer::PolarExpress, MuonScale::MatchRms),
        muon(true, Orthogonalizer::Exact, MuonScale::Original),
        RuleConfig::NorMuon(NorMuon { scale: MuonScale::Original, nesterov: false, ..NorMuon::default() }),
        RuleConfig::Soap(Soap { precondition_frequency: 1, max_dimension: 5, ..Soap::default() }),
    ];
    defaults.chain(variants).collect()
}

/// The same rule with decay.
fn with_decay(rule: RuleConfig) -> RuleConfig {
    rule.with_weight_decay(DECAY)
}

fn size(step: u64, learning_rate: f64) -> StepSize {
    StepSize { step, learning_rate, precision: Precision::F32 }
}

/// Minimises from `start` by `steps` steps whose learning rate falls on a straight line to zero.
fn minimise(rule: RuleConfig, start: Tensor, peak: f64, steps: u64, gradient: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
    let rule = rule.rule().unwrap();
    let (mut value, mut state) = (start.clone(), rule.initial_state(&start).unwrap());
    for step in 1..=steps {
        let size = size(step, peak * (1.0 - (step - 1) as f64 / steps as f64));
        let slope = tensor(&gradient(&floats(&value)), start.dims());
        value = rule.update(&value, &slope, &mut state, size).unwrap();
    }
    floats(&value)
}

/// Fails unless some peak learning rate from 1e-4 to 0.3 ends nearer to `minimum` than `tolerance`, relative to it.
#[track_caller]
fn assert_reaches(what: &str, minimum: &[f32], tolerance: f64, end: impl Fn(f64) -> Vec<f32>) {
    let mut least = f64::INFINITY;
    for peak in [0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 0.3] {
        least = least.min(relative_distance(&end(peak), minimum));
        if least < tolerance {
            return;
        }
    }
    panic!("{what}: {least:.2e} away from the minimum at best");
}

#[test]
fn a_parabola_is_descended_to_its_minimum() {
    for rule in rules() {
        let matrices = SHAPES.iter().map(|shape| shape.to_vec());
        let vector = (!rule.matrices_only()).then(|| vec![7]);
        for shape in matrices.chain(vector) {
            let minimum = Random::new(1).values(shape.iter().product());
            let curvature = |i: usize| 0.5 + (i % 3) as f32;
            let gradient = |w: &[f32]| {
                w.iter().zip(&minimum).enumerate().map(|(i, (w, m))| curvature(i) * (w - m)).collect::<Vec<_>>()
            };
            let start = tensor(&vec![0.0; minimum.len()], &shape);
            let end = |peak| minimise(rule, start.clone(), peak, 600, gradient);
            assert_reaches(&format!("{rule:?} at {shape:?}"), &minimum, 1e-2, end);
        }
    }
}

#[test]
fn rosenbrocks_valley_is_followed_to_its_minimum() {
    let gradient = |w: &[f32]| {
        let (x, y) = (w[0], w[1]);
        vec![-2.0 * (1.0 - x) - 400.0 * x * (y - x * x), 200.0 * (y - x * x)]
    };
    for rule in rules() {
        let start = tensor(&[-0.5, 0.5], &[2, 1]);
        let end = |peak| minimise(rule, start.clone(), peak, 8000, gradient);
        assert_reaches(&format!("{rule:?}"), &[1.0, 1.0], 5e-2, end);
    }
}

/// (A rule's first step may move nothing, as SOAP's.)
#[test]
fn zero_gradients_leave_the_weights_alone_but_for_their_decay() {
    for rule in rules() {
        for shape in SHAPES {
            let weights = Random::new(2).tensor(&shape);
            let zero = weights.zeros_like().unwrap();
            let after = |rule: RuleConfig, steps: u64| {
                let rule = rule.rule().unwrap();
                let mut state = rule.initial_state(&weights).unwrap();
                let update = |value, step| rule.update(&value, &zero, &mut state, size(step, 0.3)).unwrap();
                floats(&(1..=steps).fold(weights.clone(), update))
            };
            assert_eq!(after(rule, 3), floats(&weights), "{rule:?}");
            let [one, three] = [1, 3].map(|steps| after(with_decay(rule), steps));
            for ((before, one), three) in floats(&weights).iter().zip(one).zip(three) {
                assert!(one / before <= 1.0, "{rule:?}: {before} becomes {one}");
                let kept = three / before;
                assert!((0.75..0.95).contains(&kept), "{rule:?}: {kept} of {before} is left after three steps");
            }
        }
    }
}

#[test]
fn gradients_of_any_size_and_rank_leave_finite_weights_and_state() {
    for (rule, shape) in rules().into_iter().flat_map(|rule| SHAPES.map(|shape| (rule, shape))) {
        let mut random = Random::new(3);
        let weights = random.tensor(&shape);
        let ordinary = random.tensor(&shape);
        let rank_one = random.tensor(&[shape[0], 1]).matmul(&random.tensor(&[1, shape[1]])).unwrap();
        let zero = weights.zeros_like().unwrap();
        let scaled = |factor: f64| (&ordinary * factor).unwrap();
        let sequence =
            [zero.clone(), ordinary.clone(), zero.clone(), zero, rank_one, scaled(1e-30), scaled(1e12), scaled(1e-8)];
        let rule = with_decay(rule).rule().unwrap();
        // From zeros, then from each of the others first.
        for first in 0..sequence.len() {
            let (mut value, mut state) = (weights.clone(), rule.initial_state(&weights).unwrap());
            let shapes =
                |state: &State| state.iter().map(|(name, t)| (name, t.dims().to_vec(), t.dtype())).collect::<Vec<_>>();
            let fresh = shapes(&state);
            for (step, gradient) in sequence[first..].iter().chain(&sequence[..first]).enumerate() {
                value = rule.update(&value, gradient, &mut state, size(step as u64 + 1, 0.01)).unwrap();
                for tensor in state.iter().map(|(_, tensor)| tensor).chain([&value]) {
                    let numbers = floats(&tensor.to_dtype(DType::F32).unwrap());
                    assert!(numbers.iter().all(|x| x.is_finite()), "{rule:?}, {first}, gradient {step}: {tensor}");
                }
                assert_eq!((value.dims(), value.dtype()), (&shape[..], DType::F32), "{rule:?}");
                assert_eq!(shapes(&state), fresh, "{rule:?}");
            }
        }
    }
}

#[test]
fn a_gradient_of_another_shape_is_refused() {
    for rule in rules() {
        let rule = rule.rule().unwrap();
        let weights = Random::new(4).tensor(&[6, 4]);
        for shape in [[6, 5], [5, 4]] {
            let mut state = rule.initial_state(&weights).unwrap();
            let gradient = Random::new(4).tensor(&shape);
            assert!(rule.update(&weights, &gradient, &mut state, size(1, 0.01)).is_err(), "{rule:?}");
        }
    }
}

#[test]
fn the_state_of_another_rule_is_refused() {
    let weights = Random::new(4).tensor(&[6, 4]);
    for rule in rules() {
        let rule = rule.rule().unwrap();
        assert!(rule.update(&weights, &weights, &mut State::default(), size(1, 0.01)).is_err(), "{rule:?}");
    }
}

#[test]
fn what_takes_matrices_only_refuses_a_vector_and_a_policy_with_one() {
    for rule in rules() {
        let vector = Random::new(5).tensor(&[6]);
        let everything = Policy::uniform(rule, 0.1);
        let takes = vec![Role::LoraA, Role::LoraB];
        let adapters = Policy { groups: vec![GroupPolicy { name: "mine".into(), takes, rule, learning_rate: 0.1 }] };
        let (name, matrices_only) = (rule.name(), rule.matrices_only());
        assert_eq!(rule.rule().unwrap().initial_state(&vector).is_err(), matrices_only, "{name}");
        for policy in [everything, adapters] {
            let mut model = Transformer::new(&ModelConfig::gpt2(11, 8, 1, 8, 2), 0).unwrap();
            model.add_lora(&models::lora::LoraConfig::all(2), 0).unwrap();
            match Optimizer::new(model.parameters_mut(), &policy) {
                Ok(_) => assert!(!matrices_only, "{name}"),
                Err(error) => {
                    let message = error.to_string();
                    assert!(message.starts_with(&format!("rule: found {name} for ")) && matrices_only, "{message}");
                }
            }
        }
    }
}

#[test]
fn an_update_has_the_same_bits_with_any_number_of_threads() {
    for rule in rules() {
        let rule = with_decay(rule).rule().unwrap();
        let run = || {
            let mut random = Random::new(6);
            let mut value = random.tensor(&[200, 130]);
            let mut state = rule.initial_state(&value).unwrap();
            for step in 1..=3 {
                value = rule.update(&value, &random.tensor(&[200, 130]), &mut state, size(step, 0.1)).unwrap();
            }
            floats(&value).into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let one = with_threads(1, run);
        for threads in [2, 3] {
            assert!(with_threads(threads, run) == one, "{rule:?} with {threads} threads");
        }
    }
}

/// The rule on the blocks' matrices, AdamW or the rule itself on the rest, at one learning rate.
fn policy(rule: RuleConfig, rate: f64) -> Policy {
    let rest = if rule.matrices_only() { Hyperparameters::default().rest(rule.name(), 0.0) } else { rule };
    Policy::hidden_and_rest(Scope::All, rule, rate, rest, rate, rate)
}

fn small_model(policy: &Policy) -> (Transformer, Optimizer) {
    let mut model = random_model(&ModelConfig::llama(29, 12, 2, 16, 4, 2), 0.2, 6);
    let optimizer = Optimizer::new(model.parameters_mut(), policy).unwrap();
    (model, optimizer)
}

fn weights(model: &Transformer) -> Vec<f32> {
    model.parameters().iter().flat_map(|(_, p)| floats(&p.value)).collect()
}

#[test]
fn a_saved_and_loaded_state_goes_on_to_the_same_bits() {
    for rule in rules() {
        let policy = policy(with_decay(rule), 1e-2);
        let (mut model, mut optimizer) = small_model(&policy);
        let step = |model: &mut Transformer, optimizer: &mut Optimizer, seed| {
            train_step(model, optimizer, &[random_batch(2, 12, 29, seed)], Some(1.0), 0.7).unwrap();
        };
        for seed in 0..3 {
            step(&mut model, &mut optimizer, seed);
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("optimizer.safetensors");
        optimizer.save(model.parameters(), &path).unwrap();
        let mut resumed_model = model.clone();
        let mut resumed = Optimizer::new(resumed_model.parameters_mut(), &policy).unwrap();
        resumed.load(resumed_model.parameters(), &path).unwrap();
        assert_eq!(resumed.steps(), 3);
        let again = directory.path().join("again.safetensors");
        resumed.save(resumed_model.parameters(), &again).unwrap();
        assert!(std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap(), "{rule:?}");
        for seed in 3..6 {
            step(&mut model, &mut optimizer, seed);
            step(&mut resumed_model, &mut resumed, seed);
        }
        assert_eq!(weights(&model), weights(&resumed_model), "{rule:?}");
    }
}

#[test]
fn the_state_of_the_matrices_is_carried_over_from_an_optimizer_of_all_weights() {
    for rule in rules() {
        let (mut model, mut optimizer) = small_model(&policy(rule, 1e-2));
        for seed in 0..3 {
            train_step(&mut model, &mut optimizer, &[random_batch(2, 12, 29, seed)], None, 1.0).unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        let [all, carried] = ["all", "carried"].map(|name| directory.path().join(name));
        optimizer.save(model.parameters(), &all).unwrap();
        let matrices = Policy::hidden_and_rest(Scope::HiddenMatrices, rule, 1e-2, rule, 0.0, 0.0);
        let mut fewer = Optimizer::new(model.parameters_mut(), &matrices).unwrap();
        assert!(fewer.load(model.parameters(), &all).is_err(), "{rule:?}: `load` takes the state of others too");
        fewer.carry_over(model.parameters(), &all).unwrap();
        assert_eq!(fewer.steps(), 3);
        fewer.save(model.parameters(), &carried).unwrap();
        let [all, carried] = [all, carried].map(|path| candle_core::safetensors::load(path, &Device::Cpu).unwrap());
        assert!(all.len() > carried.len() && !carried.is_empty(), "{rule:?}");
        for (name, tensor) in carried {
            let bits = |tensor: &Tensor| (tensor.dtype(), floats(&tensor.to_dtype(DType::F32).unwrap()));
            assert!(name.contains("_proj.weight.") && bits(&tensor) == bits(&all[&name]), "{rule:?}: {name}");
        }
    }
}

#[test]
fn two_micro_batches_step_as_the_batch_of_both() {
    for rule in rules() {
        let policy = policy(rule, 1e-2);
        // The first has fewer targets than the second, so that a mean of means would differ.
        let (first, second) = (random_batch(1, 12, 29, 7), random_batch(3, 12, 29, 8));
        let joined = |a: &[u32], b: &[u32]| [a, b].concat();
        let both =
            Batch::new(joined(first.ids(), second.ids()), joined(first.targets(), second.targets()), 12).unwrap();
        let after = |batches: &[Batch]| {
            let (mut model, mut optimizer) = small_model(&policy);
            let before = weights(&model);
            let report = train_step(&mut model, &mut optimizer, batches, None, 1.0).unwrap();
            let moved: Vec<f32> = weights(&model).iter().zip(&before).map(|(a, b)| a - b).collect();
            (report, moved)
        };
        let (apart, moved_apart) = after(&[first, second]);
        let (together, moved_together) = after(&[both]);
        assert!((apart.loss / together.loss - 1.0).abs() < 1e-6, "{rule:?}: {apart:?}, {together:?}");
        assert!((apart.gradient_norm / together.gradient_norm - 1.0).abs() < 1e-5, "{rule:?}: {apart:?}, {together:?}");
        let error = relative_distance(&moved_apart, &moved_together);
        assert!(error < 1e-3, "{rule:?}: {error:.2e}");
    }
}

/// Over two steps, since a rule's first may move nothing, on gradients that stay the same.
#[test]
fn the_multiplier_of_a_schedule_reaches_every_group() {
    for rule in rules() {
        let moved = |rule: RuleConfig, multiplier: f64| {
            let (mut model, mut optimizer) = small_model(&policy(rule, 0.5));
            let before = model.clone();
            let (_, gradients) = model.gradients(&random_batch(4, 12, 29, 9), 0.1).unwrap();
            for _ in 0..2 {
                optimizer.step(model.parameters_mut(), &gradients, multiplier).unwrap();
            }
            let change = |(id, p): (_, &models::Parameter)| (model.parameters().value(id) - &p.value).unwrap();
            before.parameters().iter().map(|p| (p.1.name.clone(), change(p))).collect::<Vec<_>>()
        };
        let (whole, half, none) = (moved(rule, 1.0), moved(rule, 0.5), moved(with_decay(rule), 0.0));
        for (((name, whole), (_, half)), (_, none)) in whole.iter().zip(&half).zip(&none) {
            assert!(floats(none).iter().all(|d| *d == 0.0), "{rule:?}: {name} moves at rate 0");
            assert!(floats(whole).iter().any(|d| *d != 0.0), "{rule:?}: {name} does not move");
            let error = relative_distance(&floats(&(half * 2.0).unwrap()), &floats(whole));
            assert!(error < 1e-3, "{rule:?}: {name}: half the rate is off half the step by {error:.2e}");
        }
    }
}

/// Hidden matrices, those of a part that another rule takes, embeddings and head, and gains each at their own rate; no
/// decay on gains; and to the bit what the rule itself gives.
#[test]
fn every_group_steps_with_its_own_rule_rate_and_decay() {
    let sgd = RuleConfig::Sgd(Sgd { momentum: 0.9, nesterov: false, weight_decay: DECAY });
    let other_rate = 0.03;
    let splits = [None, Some(Part::Attention), Some(Part::Mlp)].map(|only| only.map(|only| Split { only, other_rate }));
    let cases = rules().into_iter().flat_map(|hidden| splits.map(|split| (with_decay(hidden), split)));
    for (hidden, split) in cases {
        let rates = [0.01, 0.02, 0.04];
        let (scope, [hidden_rate, embedding_rate, vector_rate]) = (Scope::All, rates);
        let policy = match split {
            None => Policy::hidden_and_rest(scope, hidden, hidden_rate, sgd, embedding_rate, vector_rate),
            Some(split) => Policy::with_split(scope, hidden, hidden_rate, sgd, embedding_rate, vector_rate, split),
        };
        let (mut model, mut optimizer) = small_model(&policy);
        let before = model.clone();
        let batch = random_batch(4, 12, 29, 10);
        let (_, gradients) = model.gradients(&batch, 0.1).unwrap();
        for _ in 0..2 {
            optimizer.step(model.parameters_mut(), &gradients, 0.5).unwrap();
        }
        for (id, parameter) in before.parameters().iter() {
            let (rule, rate) = match parameter.role {
                Role::HiddenMatrix(part) if split.is_none_or(|split| split.only == part) => (hidden, hidden_rate),
                Role::HiddenMatrix(_) => (sgd, other_rate),
                Role::TokenEmbedding | Role::Head => (sgd, embedding_rate),
                _ => (sgd.without_decay(), vector_rate),
            };
            let rule = rule.rule().unwrap();
            let mut state = rule.initial_state(&parameter.value).unwrap();
            let update =
                |w, step| rule.update(&w, gradients.get(id).unwrap(), &mut state, size(step, rate * 0.5)).unwrap();
            let expected = (1..=2).fold(parameter.value.clone(), update);
            assert_eq!(
                floats(model.parameters().value(id)),
                floats(&expected),
                "{hidden:?}, {split:?}: {}",
                parameter.name
            );
        }
    }
}
