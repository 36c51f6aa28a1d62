//! One suite that every optimizer must pass, in every variant: what holds for all of them, whatever their formula.

use candle_core::{DType, Tensor};
use models::optim::{
    AdamW, Muon, MuonScale, Optimizer, Orthogonalizer, Policy, RuleConfig, Scope, Sgd, Split, StepSize,
};
use models::{Batch, ModelConfig, Part, Precision, Role, Transformer, train_step};

use crate::support::{Random, floats, random_batch, random_model, relative_distance, tensor};

const DECAY: f64 = 0.1;

/// Every optimizer in every variant, without decay, with a peak learning rate for the parabola and one for Rosenbrock's function.
fn rules() -> Vec<(RuleConfig, f64, f64)> {
    let muon = |nesterov, orthogonalizer, scale| {
        RuleConfig::Muon(Muon { momentum: 0.95, nesterov, weight_decay: 0.0, orthogonalizer, scale })
    };
    let sgd = |momentum, nesterov| RuleConfig::Sgd(Sgd { momentum, nesterov, weight_decay: 0.0 });
    vec![
        (RuleConfig::AdamW(AdamW::default()), 0.1, 0.1),
        (sgd(0.0, false), 0.3, 2e-3),
        (sgd(0.9, false), 0.1, 5e-4),
        (sgd(0.9, true), 0.1, 5e-4),
        (muon(true, Orthogonalizer::NewtonSchulz, MuonScale::Original), 0.1, 0.02),
        (muon(false, Orthogonalizer::NewtonSchulz, MuonScale::MatchRms), 0.2, 0.05),
        (muon(true, Orthogonalizer::PolarExpress, MuonScale::MatchRms), 0.2, 0.05),
        (muon(true, Orthogonalizer::Exact, MuonScale::Original), 0.1, 0.02),
    ]
}

/// The same rule with decay.
fn with_decay(rule: RuleConfig) -> RuleConfig {
    rule.with_weight_decay(DECAY)
}

/// Minimises from `start` by `steps` steps whose learning rate falls on a straight line to zero.
fn minimise(rule: RuleConfig, start: Tensor, peak: f64, steps: u64, gradient: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
    let rule = rule.rule().unwrap();
    let (mut value, mut state) = (start.clone(), rule.initial_state(&start).unwrap());
    for step in 1..=steps {
        let size = StepSize {
            step,
            learning_rate: peak * (1.0 - (step - 1) as f64 / steps as f64),
            precision: Precision::F32,
        };
        let slope = tensor(&gradient(&floats(&value)), start.dims());
        value = rule.update(&value, &slope, &mut state, size).unwrap();
    }
    floats(&value)
}

/// What the decay of one step with a zero gradient leaves of a weight: SGD's decay goes through the momentum, whose first
/// step is the gradient itself (and once more, damped, if it looks ahead).
fn decayed_once(rule: RuleConfig, rate: f64) -> f64 {
    match rule {
        RuleConfig::Sgd(Sgd { momentum, nesterov: true, .. }) => 1.0 - rate * DECAY * (1.0 + momentum),
        _ => 1.0 - rate * DECAY,
    }
}

#[test]
fn a_parabola_is_descended_to_its_minimum() {
    for (rule, peak, _) in rules() {
        for shape in [[6, 4], [4, 6], [5, 5]] {
            let minimum = Random::new(1).values(shape[0] * shape[1]);
            let curvature = |i: usize| 0.5 + (i % 3) as f32;
            let gradient = |w: &[f32]| {
                w.iter().zip(&minimum).enumerate().map(|(i, (w, m))| curvature(i) * (w - m)).collect::<Vec<_>>()
            };
            let end = minimise(rule, tensor(&vec![0.0; minimum.len()], &shape), peak, 600, gradient);
            let error = relative_distance(&end, &minimum);
            assert!(error < 1e-2, "{rule:?} at {shape:?}: {error:.2e} away from the minimum");
        }
    }
}

#[test]
fn rosenbrocks_valley_is_followed_to_its_minimum() {
    let gradient = |w: &[f32]| {
        let (x, y) = (w[0], w[1]);
        vec![-2.0 * (1.0 - x) - 400.0 * x * (y - x * x), 200.0 * (y - x * x)]
    };
    for (rule, _, peak) in rules() {
        let end = minimise(rule, tensor(&[-0.5, 0.5], &[2, 1]), peak, 8000, gradient);
        let error = relative_distance(&end, &[1.0, 1.0]);
        assert!(error < 5e-2, "{rule:?}: ended at {end:?}, expected (1, 1)");
    }
}

#[test]
fn a_zero_gradient_leaves_the_weights_alone_but_for_their_decay() {
    for (rule, _, _) in rules() {
        let weights = Random::new(2).tensor(&[5, 7]);
        let zero = weights.zeros_like().unwrap();
        let size = StepSize { step: 1, learning_rate: 0.3, precision: Precision::F32 };
        let update = |rule: RuleConfig| {
            let rule = rule.rule().unwrap();
            let mut state = rule.initial_state(&weights).unwrap();
            floats(&rule.update(&weights, &zero, &mut state, size).unwrap())
        };
        assert_eq!(update(rule), floats(&weights), "{rule:?}");
        let expected = (&weights * decayed_once(rule, 0.3)).unwrap();
        let error = relative_distance(&update(with_decay(rule)), &floats(&expected));
        assert!(error < 1e-6, "{rule:?}: {error:.2e}");
    }
}

#[test]
fn gradients_of_any_size_and_rank_leave_finite_weights_and_state() {
    for (rule, _, _) in rules() {
        let mut random = Random::new(3);
        let weights = random.tensor(&[6, 4]);
        let ordinary = random.tensor(&[6, 4]);
        let rank_one = random.tensor(&[6, 1]).matmul(&random.tensor(&[1, 4])).unwrap();
        let zero = weights.zeros_like().unwrap();
        let scaled = |factor: f64| (&ordinary * factor).unwrap();
        let sequence =
            [zero.clone(), ordinary.clone(), zero.clone(), zero, rank_one, scaled(1e-30), scaled(1e12), scaled(1e-8)];
        let rule = with_decay(rule).rule().unwrap();
        let (mut value, mut state) = (weights.clone(), rule.initial_state(&weights).unwrap());
        for (step, gradient) in sequence.iter().enumerate() {
            let size = StepSize { step: step as u64 + 1, learning_rate: 0.01, precision: Precision::F32 };
            value = rule.update(&value, gradient, &mut state, size).unwrap();
            for tensor in state.iter().map(|(_, tensor)| tensor).chain([&value]) {
                assert!(floats(tensor).iter().all(|x| x.is_finite()), "{rule:?} after gradient {step}: {tensor}");
            }
            assert_eq!((value.dims(), value.dtype()), (&[6, 4][..], DType::F32), "{rule:?}");
        }
    }
}

#[test]
fn a_gradient_of_another_shape_is_refused() {
    for (rule, _, _) in rules() {
        let rule = rule.rule().unwrap();
        let weights = Random::new(4).tensor(&[6, 4]);
        let mut state = rule.initial_state(&weights).unwrap();
        let size = StepSize { step: 1, learning_rate: 0.01, precision: Precision::F32 };
        assert!(rule.update(&weights, &Random::new(4).tensor(&[6, 5]), &mut state, size).is_err(), "{rule:?}");
    }
}

/// The rule on the blocks' matrices, AdamW or the rule itself on the rest, at one learning rate.
fn policy(rule: RuleConfig, rate: f64) -> Policy {
    let rest = if rule.matrices_only() { RuleConfig::AdamW(AdamW::default()) } else { rule };
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
    for (rule, _, _) in rules() {
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
        for seed in 3..6 {
            step(&mut model, &mut optimizer, seed);
            step(&mut resumed_model, &mut resumed, seed);
        }
        assert_eq!(weights(&model), weights(&resumed_model), "{rule:?}");
    }
}

#[test]
fn two_micro_batches_step_as_the_batch_of_both() {
    for (rule, _, _) in rules() {
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

#[test]
fn the_multiplier_of_a_schedule_reaches_every_group() {
    for (rule, _, _) in rules() {
        let policy = policy(with_decay(rule), 0.5);
        let moved = |multiplier: f64| {
            let (mut model, mut optimizer) = small_model(&policy);
            let before = model.clone();
            let batch = [random_batch(4, 12, 29, 9)];
            train_step(&mut model, &mut optimizer, &batch, None, multiplier).unwrap();
            let change = |(id, p): (_, &models::Parameter)| (model.parameters().value(id) - &p.value).unwrap();
            before.parameters().iter().map(|p| (p.1.name.clone(), change(p))).collect::<Vec<_>>()
        };
        let (whole, half, none) = (moved(1.0), moved(0.5), moved(0.0));
        for (((name, whole), (_, half)), (_, none)) in whole.iter().zip(&half).zip(&none) {
            assert!(floats(none).iter().all(|d| *d == 0.0), "{rule:?}: {name} moves at rate 0");
            let error = relative_distance(&floats(&(half * 2.0).unwrap()), &floats(whole));
            assert!(error < 1e-3, "{rule:?}: {name}: half the rate is off half the step by {error:.2e}");
        }
    }
}

/// Hidden matrices, those of a part that another rule takes, embeddings and head, and gains each at their own rate; no decay on gains; and
/// to the bit what the rule itself gives.
#[test]
fn every_group_steps_with_its_own_rule_rate_and_decay() {
    let sgd = RuleConfig::Sgd(Sgd { momentum: 0.9, nesterov: false, weight_decay: DECAY });
    let other_rate = 0.03;
    let splits = [None, Some(Part::Attention), Some(Part::Mlp)].map(|only| only.map(|only| Split { only, other_rate }));
    let cases = rules().into_iter().flat_map(|(hidden, _, _)| splits.map(|split| (with_decay(hidden), split)));
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
        optimizer.step(model.parameters_mut(), &gradients, 0.5).unwrap();
        for (id, parameter) in before.parameters().iter() {
            let (rule, rate) = match parameter.role {
                Role::HiddenMatrix(part) if split.is_none_or(|split| split.only == part) => (hidden, hidden_rate),
                Role::HiddenMatrix(_) => (sgd, other_rate),
                Role::TokenEmbedding | Role::Head => (sgd, embedding_rate),
                _ => (sgd.without_decay(), vector_rate),
            };
            let rule = rule.rule().unwrap();
            let size = StepSize { step: 1, learning_rate: rate * 0.5, precision: Precision::F32 };
            let mut state = rule.initial_state(&parameter.value).unwrap();
            let expected = rule.update(&parameter.value, gradients.get(id).unwrap(), &mut state, size).unwrap();
            assert_eq!(
                floats(model.parameters().value(id)),
                floats(&expected),
                "{hidden:?}, {split:?}: {}",
                parameter.name
            );
        }
    }
}
