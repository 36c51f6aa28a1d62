//! Every operation once more, in f64 and as plainly as its definition reads: loops over indices, no blocks, nothing
//! saved.

use models::ops::{AttentionShape, IGNORE};

/// x W^T of `[tokens, inputs]` and `[outputs, inputs]`.
pub(crate) fn linear(x: &[f64], w: &[f64], inputs: usize) -> Vec<f64> {
    let product = |row: &[f64], weights: &[f64]| -> f64 { row.iter().zip(weights).map(|(a, b)| a * b).sum() };
    x.chunks(inputs).flat_map(|row| w.chunks(inputs).map(move |weights| product(row, weights))).collect()
}

pub(crate) fn gelu(x: &[f64]) -> Vec<f64> {
    let slope = (2.0 / std::f64::consts::PI).sqrt();
    x.iter().map(|x| 0.5 * x * (1.0 + (slope * (x + 0.044715 * x.powi(3))).tanh())).collect()
}

pub(crate) fn swiglu(gate: &[f64], up: &[f64]) -> Vec<f64> {
    gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
}

pub(crate) fn layer_norm(x: &[f64], gain: &[f64], bias: &[f64], eps: f64) -> Vec<f64> {
    let width = gain.len();
    let row = |x: &[f64]| -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / width as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        (0..width).map(|j| (x[j] - mean) / (variance + eps).sqrt() * gain[j] + bias[j]).collect()
    };
    x.chunks(width).flat_map(row).collect()
}

pub(crate) fn rms_norm(x: &[f64], gain: &[f64], eps: f64) -> Vec<f64> {
    let width = gain.len();
    let row = |x: &[f64]| -> Vec<f64> {
        let square = x.iter().map(|x| x * x).sum::<f64>() / width as f64;
        (0..width).map(|j| x[j] / (square + eps).sqrt() * gain[j]).collect()
    };
    x.chunks(width).flat_map(row).collect()
}

/// Each head of `width` features, at time t, turned by t / theta^(2j / width) in the plane of features j and j + width
/// / 2.
pub(crate) fn rotate(x: &[f64], features: usize, width: usize, time: usize, theta: f64) -> Vec<f64> {
    let half = width / 2;
    let mut y = x.to_vec();
    for (token, row) in y.chunks_mut(features).enumerate() {
        for head in row.chunks_mut(width) {
            for j in 0..half {
                let angle = (token % time) as f64 * theta.powf(-2.0 * j as f64 / width as f64);
                let (a, b) = (head[j], head[j + half]);
                head[j] = a * angle.cos() - b * angle.sin();
                head[j + half] = a * angle.sin() + b * angle.cos();
            }
        }
    }
    y
}

/// Causal attention; `q` is `[tokens, heads * width]`, `k` and `v` are `[tokens, kv_heads * width]`.
pub(crate) fn attention(q: &[f64], k: &[f64], v: &[f64], shape: AttentionShape) -> Vec<f64> {
    let AttentionShape { batch, time, heads, kv_heads, width } = shape;
    let mut out = vec![0.0; q.len()];
    for b in 0..batch {
        for head in 0..heads {
            let kv_head = head / (heads / kv_heads);
            let query = |t: usize| ((b * time + t) * heads + head) * width;
            let key = |t: usize| ((b * time + t) * kv_heads + kv_head) * width;
            for t in 0..time {
                let score =
                    |s: usize| (0..width).map(|j| q[query(t) + j] * k[key(s) + j]).sum::<f64>() / (width as f64).sqrt();
                let scores: Vec<f64> = (0..=t).map(score).collect();
                let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
                for (s, score) in scores.iter().enumerate() {
                    for j in 0..width {
                        out[query(t) + j] += (score - top).exp() / total * v[key(s) + j];
                    }
                }
            }
        }
    }
    out
}

/// Sum of -ln softmax(hidden W^T)[target] over the tokens that have a target.
pub(crate) fn head_loss(hidden: &[f64], w: &[f64], targets: &[u32], features: usize) -> f64 {
    let logits = linear(hidden, w, features);
    let row = |(row, &target): (&[f64], &u32)| {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = row.iter().map(|x| (x - top).exp()).sum();
        if target == IGNORE { 0.0 } else { top + total.ln() - row[target as usize] }
    };
    logits.chunks(w.len() / features).zip(targets).map(row).sum()
}

/// Rows `ids` of `table`, plus row t of `positions` for the token at time t.
pub(crate) fn embed(ids: &[u32], table: &[f64], positions: &[f64], features: usize, time: usize) -> Vec<f64> {
    let row = |(i, &id): (usize, &u32)| {
        let (id, t) = (id as usize, i % time);
        (0..features).map(move |j| table[id * features + j] + positions[t * features + j])
    };
    ids.iter().enumerate().flat_map(row).collect()
}
