//! Every operation's forward against the f64 reference, and its backward against central differences of that reference:
//! differences in f64 are good to about nine digits, so that the tolerance is that of f32 arithmetic alone.

use candle_core::Tensor;
use models::Precision;
use models::ops::{self, AttentionShape, HeadBackward, IGNORE, RotaryTable};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::reference;
use crate::support::{Random, floats, tensor};

fn sum(loss: &ops::HeadLoss) -> f64 {
    loss.sum.value().unwrap()
}

/// Of the largest entry for single coordinates, of |gradient| |direction| for directions.
const TOLERANCE: f64 = 2e-5;
/// Inputs are near 1, so that f32 leaves about 1e-7 in results that happen to be small: sizes below this count as this.
const SMALL: f64 = 0.1;
/// Step of the differences: truncation and rounding are then both near 1e-10.
const STEP: f64 = 1e-5;
/// Coordinates that are checked one by one; all of them if there are no more.
const COORDINATES: usize = 48;

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|x| f64::from(*x)).collect()
}

fn weighted(y: &[f64], weights: &[f64]) -> f64 {
    y.iter().zip(weights).map(|(a, b)| a * b).sum()
}

/// Checks that `y` is what the reference computes.
fn check_forward(what: &str, y: &Tensor, expected: &[f64]) {
    let y = floats(y);
    assert_eq!(y.len(), expected.len(), "{what}: number of values");
    let size = expected.iter().fold(0.0f64, |m, x| m.max(x.abs())).max(SMALL);
    for (i, (found, expected)) in y.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= 1e-5 * size, "{what}: value {i} is {found}, expected {expected}");
    }
}

/// Checks that `gradient` is that of `loss` at `at`: in single coordinates and along random directions through all of
/// them.
fn check_gradient(what: &str, gradient: &Tensor, at: &Tensor, loss: impl Fn(&[f64]) -> f64) {
    assert_eq!(gradient.dims(), at.dims(), "{what}: the gradient's shape");
    let (gradient, at) = (wide(&floats(gradient)), wide(&floats(at)));
    let difference = |direction: &[(usize, f64)]| {
        let moved = |sign: f64| {
            let mut x = at.clone();
            for (i, d) in direction {
                x[*i] += sign * STEP * d;
            }
            loss(&x)
        };
        (moved(1.0) - moved(-1.0)) / (2.0 * STEP)
    };
    let largest = gradient.iter().fold(0.0f64, |m, g| m.max(g.abs()));
    let mut random = Random::new(at.len() as u64);
    for n in 0..at.len().min(COORDINATES) {
        let i = if at.len() <= COORDINATES { n } else { random.below(at.len()) };
        let expected = difference(&[(i, 1.0)]);
        let error = (gradient[i] - expected).abs();
        assert!(error <= TOLERANCE * largest.max(SMALL), "{what}: d/dx[{i}] is {}, expected {expected}", gradient[i]);
    }
    for _ in 0..3 {
        let direction: Vec<_> = wide(&random.values(at.len())).into_iter().enumerate().collect();
        let along: f64 = direction.iter().map(|(i, d)| gradient[*i] * d).sum();
        let scale = weighted(&gradient, &gradient).sqrt() * (at.len() as f64).sqrt();
        let expected = difference(&direction);
        assert!(
            (along - expected).abs() <= TOLERANCE * scale.max(SMALL),
            "{what}: {along} along a direction, expected {expected}"
        );
    }
}

fn check_linear(tokens: usize, inputs: usize, outputs: usize, seed: u64) {
    let mut random = Random::new(seed);
    let (x, w) = (random.tensor(&[tokens, inputs]), random.tensor(&[outputs, inputs]));
    let (bias, residual) = (random.tensor(&[outputs]), random.tensor(&[tokens, outputs]));
    let dy = random.tensor(&[tokens, outputs]);
    let [x64, w64, bias64, residual64, dy64] = [&x, &w, &bias, &residual, &dy].map(|t| wide(&floats(t)));
    let forward = |x: &[f64], w: &[f64], bias: &[f64]| -> Vec<f64> {
        let y = reference::linear(x, w, inputs);
        y.iter().enumerate().map(|(i, y)| y + bias[i % outputs] + residual64[i]).collect()
    };
    let zero = vec![0.0; outputs];
    let plain: Vec<f64> = reference::linear(&x64, &w64, inputs);
    check_forward("linear", &ops::linear(&x, &w, None, None, Precision::F32).unwrap(), &plain);
    let y = ops::linear(&x, &w, Some(&bias), Some(&residual), Precision::F32).unwrap();
    check_forward("linear with bias and residual", &y, &forward(&x64, &w64, &bias64));
    let y = ops::linear(&x, &w, None, Some(&residual), Precision::F32).unwrap();
    check_forward("linear with residual", &y, &forward(&x64, &w64, &zero));

    let dw = ops::weight_gradient(&dy, &x, Precision::F32).unwrap();
    check_gradient("linear, weight", &dw, &w, |w| weighted(&forward(&x64, w, &bias64), &dy64));
    let db = ops::bias_gradient(&dy).unwrap();
    check_gradient("linear, bias", &db, &bias, |bias| weighted(&forward(&x64, &w64, bias), &dy64));
    // The same input also feeds a second map, as queries, keys and values do.
    let (w2, dy2) = (random.tensor(&[outputs + 1, inputs]), random.tensor(&[tokens, outputs + 1]));
    let [w2_64, dy2_64] = [&w2, &dy2].map(|t| wide(&floats(t)));
    let dx = ops::input_gradient(&[(&dy, &w), (&dy2, &w2)], Precision::F32).unwrap();
    check_gradient("linear, input", &dx, &x, |x| {
        weighted(&forward(x, &w64, &bias64), &dy64) + weighted(&reference::linear(x, &w2_64, inputs), &dy2_64)
    });
}

fn check_activations(tokens: usize, features: usize, seed: u64) {
    let mut random = Random::new(seed);
    let shape = [tokens, features];
    let (x, up, dy) = ((random.tensor(&shape) * 2.0).unwrap(), random.tensor(&shape), random.tensor(&shape));
    let [x64, up64, dy64] = [&x, &up, &dy].map(|t| wide(&floats(t)));
    check_forward("gelu", &ops::gelu(&x).unwrap(), &reference::gelu(&x64));
    let dx = ops::gelu_backward(&x, &dy).unwrap();
    check_gradient("gelu", &dx, &x, |x| weighted(&reference::gelu(x), &dy64));

    check_forward("swiglu", &ops::swiglu(&x, &up).unwrap(), &reference::swiglu(&x64, &up64));
    let (d_gate, d_up) = ops::swiglu_backward(&x, &up, &dy).unwrap();
    check_gradient("swiglu, gate", &d_gate, &x, |gate| weighted(&reference::swiglu(gate, &up64), &dy64));
    check_gradient("swiglu, up", &d_up, &up, |up| weighted(&reference::swiglu(&x64, up), &dy64));
}

fn check_norms(tokens: usize, features: usize, eps: f64, seed: u64) {
    let mut random = Random::new(seed);
    let (gain, bias) = (random.tensor(&[features]), random.tensor(&[features]));
    // Away from zero mean, so that a forgotten mean shows.
    let x = random.tensor(&[tokens, features]).affine(1.5, 0.5).unwrap();
    let (dy, residual) = (random.tensor(&[tokens, features]), random.tensor(&[tokens, features]));
    let [x64, gain64, bias64, dy64, residual64] = [&x, &gain, &bias, &dy, &residual].map(|t| wide(&floats(t)));

    let layer = |x: &[f64], gain: &[f64], bias: &[f64]| {
        weighted(&reference::layer_norm(x, gain, bias, eps), &dy64) + weighted(x, &residual64)
    };
    let (y, saved) = ops::layer_norm(&x, &gain, Some(&bias), eps, Precision::F32).unwrap();
    check_forward("layer norm", &y, &reference::layer_norm(&x64, &gain64, &bias64, eps));
    let found = ops::norm_backward(&x, &gain, &saved, &dy, Some(&residual), true).unwrap();
    check_gradient("layer norm, input", &found.input, &x, |x| layer(x, &gain64, &bias64));
    check_gradient("layer norm, gain", &found.gain, &gain, |gain| layer(&x64, gain, &bias64));
    check_gradient("layer norm, bias", &found.bias, &bias, |bias| layer(&x64, &gain64, bias));
    let (y, _) = ops::layer_norm(&x, &gain, None, eps, Precision::F32).unwrap();
    check_forward("layer norm without bias", &y, &reference::layer_norm(&x64, &gain64, &vec![0.0; features], eps));

    let rms = |x: &[f64], gain: &[f64]| weighted(&reference::rms_norm(x, gain, eps), &dy64);
    let (y, saved) = ops::rms_norm(&x, &gain, eps, Precision::F32).unwrap();
    check_forward("rms norm", &y, &reference::rms_norm(&x64, &gain64, eps));
    let found = ops::norm_backward(&x, &gain, &saved, &dy, None, false).unwrap();
    check_gradient("rms norm, input", &found.input, &x, |x| rms(x, &gain64));
    check_gradient("rms norm, gain", &found.gain, &gain, |gain| rms(&x64, gain));
}

fn check_rotation(batch: usize, time: usize, heads: usize, half: usize, seed: u64) {
    let (width, theta) = (2 * half, 10_000.0);
    let features = heads * width;
    let mut random = Random::new(seed);
    let (x, dy) = (random.tensor(&[batch * time, features]), random.tensor(&[batch * time, features]));
    let [x64, dy64] = [&x, &dy].map(|t| wide(&floats(t)));
    let table = RotaryTable::new(time + 3, width, theta, None).unwrap();
    let y = ops::rotate(&x, &table, time).unwrap();
    check_forward("rotation", &y, &reference::rotate(&x64, features, width, time, theta));
    let dx = ops::rotate_backward(&dy, &table, time).unwrap();
    check_gradient("rotation", &dx, &x, |x| weighted(&reference::rotate(x, features, width, time, theta), &dy64));
}

fn check_attention(shape: AttentionShape, seed: u64) {
    let tokens = shape.batch * shape.time;
    let (wide_row, narrow_row) = (shape.heads * shape.width, shape.kv_heads * shape.width);
    let mut random = Random::new(seed);
    let q = random.tensor(&[tokens, wide_row]);
    let (k, v) = (random.tensor(&[tokens, narrow_row]), random.tensor(&[tokens, narrow_row]));
    let dy = random.tensor(&[tokens, wide_row]);
    let [q64, k64, v64, dy64] = [&q, &k, &v, &dy].map(|t| wide(&floats(t)));
    let (y, saved) = ops::causal_attention(&q, &k, &v, shape, Precision::F32).unwrap();
    let what = format!("attention {shape:?}");
    check_forward(&what, &y, &reference::attention(&q64, &k64, &v64, shape));
    let found = ops::causal_attention_backward([&q, &k, &v], &y, &saved, &dy, shape, Precision::F32).unwrap();
    let loss = |q: &[f64], k: &[f64], v: &[f64]| weighted(&reference::attention(q, k, v, shape), &dy64);
    check_gradient(&format!("{what}, queries"), &found.q, &q, |q| loss(q, &k64, &v64));
    check_gradient(&format!("{what}, keys"), &found.k, &k, |k| loss(&q64, k, &v64));
    check_gradient(&format!("{what}, values"), &found.v, &v, |v| loss(&q64, &k64, v));
}

fn check_head(tokens: usize, features: usize, vocabulary: usize, masked: impl Fn(usize) -> bool, seed: u64) {
    let mut random = Random::new(seed);
    let (hidden, w) = (random.tensor(&[tokens, features]), random.tensor(&[vocabulary, features]));
    let mut targets = random.ids(tokens, vocabulary);
    for (i, target) in targets.iter_mut().enumerate() {
        if masked(i) {
            *target = IGNORE;
        }
    }
    let count = targets.iter().filter(|t| **t != IGNORE).count();
    let [hidden64, w64] = [&hidden, &w].map(|t| wide(&floats(t)));
    let scale = 1.0 / count.max(1) as f64;
    let expected = reference::head_loss(&hidden64, &w64, &targets, features);

    let plain = ops::head_loss(&hidden, &w, &targets, None, Precision::F32).unwrap();
    assert_eq!(plain.count, count);
    assert!((sum(&plain) - expected).abs() <= 1e-5 * expected.max(SMALL), "loss {}, expected {expected}", sum(&plain));
    assert!(plain.gradients.is_none());

    let backward = HeadBackward { scale: scale as f32, weight: true };
    let found = ops::head_loss(&hidden, &w, &targets, Some(backward), Precision::F32).unwrap();
    assert!((sum(&found) - expected).abs() <= 1e-5 * expected.max(SMALL), "loss {}, expected {expected}", sum(&found));
    let gradients = found.gradients.unwrap();
    check_gradient("head, hidden", &gradients.hidden, &hidden, |h| {
        scale * reference::head_loss(h, &w64, &targets, features)
    });
    check_gradient("head, weight", &gradients.weight.unwrap(), &w, |w| {
        scale * reference::head_loss(&hidden64, w, &targets, features)
    });
    let frozen = HeadBackward { scale: scale as f32, weight: false };
    let frozen = ops::head_loss(&hidden, &w, &targets, Some(frozen), Precision::F32).unwrap().gradients.unwrap();
    assert!(frozen.weight.is_none());
    assert_eq!(floats(&frozen.hidden), floats(&gradients.hidden));
}

fn check_embedding(batch: usize, time: usize, features: usize, vocabulary: usize, seed: u64) {
    let mut random = Random::new(seed);
    let context = time + 2;
    let (table, positions) = (random.tensor(&[vocabulary, features]), random.tensor(&[context, features]));
    let ids = random.ids(batch * time, vocabulary);
    let dy = random.tensor(&[batch * time, features]);
    let [table64, positions64, dy64] = [&table, &positions, &dy].map(|t| wide(&floats(t)));
    let forward = |table: &[f64], positions: &[f64]| reference::embed(&ids, table, positions, features, time);
    let x = ops::embed(&ids, &table, Some(&positions), time).unwrap();
    check_forward("embedding", &x, &forward(&table64, &positions64));
    let x = ops::embed(&ids, &table, None, time).unwrap();
    check_forward("embedding without positions", &x, &forward(&table64, &vec![0.0; positions64.len()]));

    let d_table = tensor(&vec![0.0; vocabulary * features], &[vocabulary, features]);
    ops::add_rows(&d_table, &ids, &dy).unwrap();
    check_gradient("embedding, table", &d_table, &table, |table| weighted(&forward(table, &positions64), &dy64));
    let d_positions = ops::position_gradient(&dy, time, context).unwrap();
    check_gradient("embedding, positions", &d_positions, &positions, |p| weighted(&forward(&table64, p), &dy64));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn linear_agrees_at_any_shape(tokens in 1usize..40, inputs in 1usize..40, outputs in 1usize..40, seed: u64) {
        check_linear(tokens, inputs, outputs, seed);
    }

    #[test]
    fn activations_agree_at_any_shape(tokens in 1usize..10, features in 1usize..70, seed: u64) {
        check_activations(tokens, features, seed);
    }

    #[test]
    fn norms_agree_at_any_shape(tokens in 1usize..10, features in 6usize..70, large_eps: bool, seed: u64) {
        check_norms(tokens, features, if large_eps { 0.5 } else { 1e-5 }, seed);
    }

    #[test]
    fn rotation_agrees_at_any_shape(batch in 1usize..3, time in 1usize..20, heads in 1usize..4, half in 1usize..10, seed: u64) {
        check_rotation(batch, time, heads, half, seed);
    }

    #[test]
    fn attention_agrees_at_any_shape(batch in 1usize..3, time in 1usize..24, kv_heads in 1usize..4, group in 1usize..4, width in 1usize..20, seed: u64) {
        check_attention(AttentionShape { batch, time, heads: kv_heads * group, kv_heads, width }, seed);
    }

    #[test]
    fn head_agrees_at_any_shape(tokens in 1usize..20, features in 1usize..20, vocabulary in 2usize..70, mask in 1usize..4, seed: u64) {
        check_head(tokens, features, vocabulary, |i| i % 4 >= mask, seed);
    }

    #[test]
    fn embedding_agrees_at_any_shape(batch in 1usize..4, time in 1usize..10, features in 1usize..20, vocabulary in 1usize..30, seed: u64) {
        check_embedding(batch, time, features, vocabulary, seed);
    }
}

#[test]
fn attention_agrees_where_the_context_ends_inside_a_block() {
    for (time, heads, kv_heads, width) in [(1, 1, 1, 1), (63, 2, 1, 5), (64, 2, 2, 4), (65, 4, 2, 3), (131, 3, 1, 7)] {
        check_attention(AttentionShape { batch: 2, time, heads, kv_heads, width }, time as u64);
    }
}

#[test]
fn norms_of_a_constant_row_are_its_bias_and_have_finite_gradients() {
    let x = tensor(&[3.0; 10], &[2, 5]);
    let mut random = Random::new(4);
    let (gain, bias, dy) = (random.tensor(&[5]), random.tensor(&[5]), random.tensor(&[2, 5]));
    let (y, saved) = ops::layer_norm(&x, &gain, Some(&bias), 1e-5, Precision::F32).unwrap();
    assert_eq!(floats(&y), [floats(&bias), floats(&bias)].concat());
    let found = ops::norm_backward(&x, &gain, &saved, &dy, None, true).unwrap();
    let zero = tensor(&[0.0; 10], &[2, 5]);
    let (y, saved) = ops::rms_norm(&zero, &gain, 1e-5, Precision::F32).unwrap();
    assert!(floats(&y).iter().all(|y| *y == 0.0));
    let rms = ops::norm_backward(&zero, &gain, &saved, &dy, None, false).unwrap();
    for gradient in [found.input, found.gain, found.bias, rms.input, rms.gain] {
        assert!(floats(&gradient).iter().all(|g| g.is_finite()), "{gradient}");
    }
}

#[test]
fn attention_survives_scores_far_outside_the_range_of_exp() {
    let shape = AttentionShape { batch: 1, time: 9, heads: 2, kv_heads: 1, width: 4 };
    let mut random = Random::new(5);
    let q = (random.tensor(&[9, 8]) * 60.0).unwrap();
    let k = (random.tensor(&[9, 4]) * 60.0).unwrap();
    let v = random.tensor(&[9, 4]);
    let (y, saved) = ops::causal_attention(&q, &k, &v, shape, Precision::F32).unwrap();
    let [q64, k64, v64] = [&q, &k, &v].map(|t| wide(&floats(t)));
    for (found, expected) in floats(&y).iter().zip(reference::attention(&q64, &k64, &v64, shape)) {
        // A score near 10^4 has an absolute error near 10^-3 in f32, and so has its exponential's relative error.
        assert!((f64::from(*found) - expected).abs() < 1e-2, "{found}, expected {expected}");
    }
    let dy = random.tensor(&[9, 8]);
    let found = ops::causal_attention_backward([&q, &k, &v], &y, &saved, &dy, shape, Precision::F32).unwrap();
    for gradient in [found.q, found.k, found.v] {
        assert!(floats(&gradient).iter().all(|g| g.is_finite()));
    }
}

#[test]
fn head_agrees_where_the_tokens_end_inside_a_chunk_and_a_chunk_has_no_target() {
    check_head(256, 3, 17, |i| i % 5 == 0, 1);
    check_head(257, 3, 17, |i| i != 256, 2);
    check_head(600, 2, 5, |i| (200..520).contains(&i), 3);
}

#[test]
fn head_without_any_target_gives_zero_loss_and_zero_gradients() {
    let mut random = Random::new(6);
    let (hidden, w) = (random.tensor(&[5, 3]), random.tensor(&[7, 3]));
    let backward = HeadBackward { scale: 1.0, weight: true };
    let found = ops::head_loss(&hidden, &w, &[IGNORE; 5], Some(backward), Precision::F32).unwrap();
    assert_eq!((sum(&found), found.count), (0.0, 0));
    let gradients = found.gradients.unwrap();
    assert!(floats(&gradients.hidden).iter().chain(&floats(&gradients.weight.unwrap())).all(|g| *g == 0.0));
}

#[test]
fn head_survives_logits_far_outside_the_range_of_exp() {
    let hidden = tensor(&[300.0, -300.0], &[2, 1]);
    let w = tensor(&[1.0, -1.0, 0.0], &[3, 1]);
    let backward = HeadBackward { scale: 1.0, weight: true };
    let found = ops::head_loss(&hidden, &w, &[0, 0], Some(backward), Precision::F32).unwrap();
    assert!((sum(&found) - 600.0).abs() < 1e-3, "{}", sum(&found));
    let gradients = found.gradients.unwrap();
    assert!(floats(&gradients.hidden).iter().chain(&floats(&gradients.weight.unwrap())).all(|g| g.is_finite()));
}

#[test]
fn nonlinearities_stay_finite_and_right_at_large_inputs() {
    let x = tensor(&[-1e4, -100.0, -20.0, 20.0, 100.0, 1e4], &[1, 6]);
    let ones = tensor(&[1.0; 6], &[1, 6]);
    let expected = [0.0, 0.0, 0.0, 20.0, 100.0, 1e4];
    let near = |found: &Tensor, expected: &[f32]| {
        floats(found).iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs().max(1.0))
    };
    assert!(near(&ops::gelu(&x).unwrap(), &expected), "{}", ops::gelu(&x).unwrap());
    assert!(near(&ops::swiglu(&x, &ones).unwrap(), &expected), "{}", ops::swiglu(&x, &ones).unwrap());
    let slope = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
    assert!(near(&ops::gelu_backward(&x, &ones).unwrap(), &slope), "{}", ops::gelu_backward(&x, &ones).unwrap());
    let (d_gate, _) = ops::swiglu_backward(&x, &ones, &ones).unwrap();
    assert!(near(&d_gate, &slope), "{d_gate}");
}
