//! No operation panics at shapes that do not fit, or are empty: its documentation promises an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use candle_core::{DType, Device, Tensor};
use models::Precision::F32;
use models::ops;

/// Sizes that are tried for every dimension.
const SIZES: [usize; 3] = [0, 2, 3];

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

/// Calls `work` with every choice of so many sizes.
fn with_all<const N: usize>(name: &str, work: impl Fn([usize; N])) {
    for choice in 0..SIZES.len().pow(N as u32) {
        let mut rest = choice;
        let sizes = [(); N].map(|()| {
            let size = SIZES[rest % SIZES.len()];
            rest /= SIZES.len();
            size
        });
        let panicked = catch_unwind(AssertUnwindSafe(|| work(sizes))).is_err();
        assert!(!panicked, "{name} panics at {sizes:?}");
    }
}

#[test]
fn linear_maps() {
    with_all("linear", |[t, i, o, p, b, r]| {
        let (x, w, bias, residual) = (zeros(&[t, i]), zeros(&[o, p]), zeros(&[b]), zeros(&[t, r]));
        let _ = ops::linear(&x, &w, Some(&bias), Some(&residual), F32);
        let _ = ops::linear(&x, &w, Some(&bias), None, F32);
        let _ = ops::linear(&x, &w, None, Some(&residual), F32);
        let _ = ops::linear(&x, &w, None, None, F32);
    });
    with_all("products", |[a, b, c, d]| {
        let (x, y) = (zeros(&[a, b]), zeros(&[c, d]));
        let _ = ops::matmul(&x, &y, F32);
        let _ = ops::matmul_transposed(&x, &y, F32);
        let _ = ops::weight_gradient(&x, &y, F32);
        let _ = ops::input_gradient(&[(&x, &y), (&y, &x)], F32);
        let _ = ops::bias_gradient(&x);
        let _ = ops::scaled_add(&x, 1.0, &y, 1.0);
        let _ = ops::matmul(&zeros(&[a]), &y, F32);
        let _ = ops::matmul(&x, &zeros(&[a]), F32);
    });
    assert!(ops::input_gradient(&[], F32).is_err());
}

#[test]
fn norms_and_activations() {
    with_all("norms", |[t, f, g, b, u]| {
        let (x, gain, bias) = (zeros(&[t, f]), zeros(&[g]), zeros(&[b]));
        let _ = ops::layer_norm(&x, &gain, Some(&bias), 1e-5, F32);
        if let Ok((_, saved)) = ops::rms_norm(&x, &gain, 1e-5, F32) {
            let _ = ops::norm_backward(&x, &gain, &saved, &zeros(&[u, f]), None, true);
            let _ = ops::norm_backward(&x, &gain, &saved, &x, Some(&zeros(&[t, u])), false);
            let _ = ops::norm_backward(&zeros(&[u, f]), &gain, &saved, &zeros(&[u, f]), None, true);
        }
    });
    with_all("activations", |[a, b, c, d]| {
        let (x, y) = (zeros(&[a, b]), zeros(&[c, d]));
        let _ = ops::gelu(&x);
        let _ = ops::gelu_backward(&x, &y);
        let _ = ops::swiglu(&x, &y);
        let _ = ops::swiglu_backward(&x, &x, &y);
        let _ = ops::swiglu_backward(&x, &y, &x);
    });
}

#[test]
fn attention() {
    with_all("attention", |[batch, time, heads, kv_heads, width, other]| {
        let shape = ops::AttentionShape { batch, time, heads, kv_heads, width };
        let (q, k) = (zeros(&[batch * time, heads * width]), zeros(&[batch * time, kv_heads * width]));
        let _ = ops::causal_attention(&q, &k, &zeros(&[batch * time, other]), shape, F32);
        if let Ok((out, sums)) = ops::causal_attention(&q, &k, &k, shape, F32) {
            let odd = zeros(&[other, heads * width]);
            let _ = ops::causal_attention_backward([&q, &k, &k], &odd, &sums, &out, shape, F32);
            let _ = ops::causal_attention_backward([&q, &k, &k], &out, &zeros(&[other]), &out, shape, F32);
            let _ = ops::causal_attention_backward([&q, &k, &k], &out, &sums, &odd, shape, F32);
            let _ = ops::causal_attention_backward([&q, &odd, &k], &out, &sums, &out, shape, F32);
        }
    });
}

#[test]
fn embeddings_and_rotations() {
    with_all("embeddings", |[n, vocabulary, features, context, time, other]| {
        let ids = vec![0; n];
        let table = zeros(&[vocabulary, features]);
        let _ = ops::embed(&ids, &table, Some(&zeros(&[context, other])), time);
        let _ = ops::embed(&ids, &table, Some(&zeros(&[context])), time);
        let _ = ops::embed(&ids, &table, None, time);
        let _ = ops::add_rows(&table, &ids, &zeros(&[other, features]));
        let _ = ops::position_gradient(&zeros(&[n, features]), time, context);
    });
    with_all("rotations", |[context, pairs, tokens, features, time]| {
        if let Ok(table) = ops::RotaryTable::new(context, 2 * pairs, 10_000.0, None) {
            let _ = ops::rotate(&zeros(&[tokens, features]), &table, time);
            let _ = ops::rotate_backward(&zeros(&[tokens, 2 * pairs]), &table, time);
        }
    });
}

#[test]
fn losses() {
    with_all("head", |[tokens, features, vocabulary, width, targets]| {
        let (hidden, weight) = (zeros(&[tokens, features]), zeros(&[vocabulary, width]));
        let _ = ops::head_logits(&hidden, &weight, F32);
        for target in [0, 2, ops::IGNORE] {
            let backward = Some(ops::HeadBackward { scale: 1.0, weight: true });
            let _ = ops::head_loss(&hidden, &weight, &vec![target; targets], backward, F32);
            let _ = ops::head_loss(&hidden, &weight, &vec![target; targets], None, F32);
        }
    });
}
