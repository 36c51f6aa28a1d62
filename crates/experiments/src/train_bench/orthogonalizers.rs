//! Muon's orthogonalisers against each other: time of a call, and how far from orthogonal the result is.

use std::fmt::Write as _;
use std::time::Instant;

use candle_core::{Device, Tensor};
use models::Precision;
use models::ops::{matmul, matmul_transposed};
use models::optim::{Orthogonalizer, orthogonalize};

use super::step::median;
use crate::error::Result;

/// Shapes of weight matrices: of the presets, of a small network, of GPT-2 small.
const SHAPES: [(usize, usize); 6] = [(128, 128), (512, 128), (256, 256), (1024, 256), (768, 768), (3072, 768)];

const METHODS: [(Orthogonalizer, &str); 4] = [
    (Orthogonalizer::NewtonSchulz, "Newton-Schulz"),
    (Orthogonalizer::GramNewtonSchulz, "Newton-Schulz on the Gram matrix"),
    (Orthogonalizer::PolarExpress, "Polar Express"),
    (Orthogonalizer::Exact, "exact"),
];

/// A Markdown table for products in one precision: milliseconds of a call on one thread, and the root mean square of
/// sigma^2 - 1 over the singular values of the result.
///
/// The matrices have singular values that fall from 1 to 1e-3, evenly in their logarithm, as gradients' do in kind.
///
/// # Errors
/// If a thread cannot be started.
pub fn orthogonalizers(precision: Precision) -> Result<String> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    Ok(pool.install(|| table(precision))?)
}

fn table(precision: Precision) -> Result<String, models::Error> {
    let mut text = String::from("| matrix | orthogonaliser | ms | rms of sigma^2 - 1 |\n|---|---|---|---|\n");
    for (rows, columns) in SHAPES {
        let matrix = decaying(rows, columns)?;
        for (method, name) in METHODS {
            // The singular value decomposition of the largest takes seconds.
            let calls = if method == Orthogonalizer::Exact { 1 } else { 9 };
            let mut milliseconds = Vec::new();
            let mut error = 0.0;
            for _ in 0..calls {
                let start = Instant::now();
                let polar = orthogonalize(&matrix, method, precision)?;
                milliseconds.push(1e3 * start.elapsed().as_secs_f64());
                error = orthogonality_error(&polar)?;
            }
            let _ = writeln!(text, "| {rows} x {columns} | {name} | {:.2} | {error:.3} |", median(&mut milliseconds));
        }
    }
    Ok(text)
}

/// Q1 diag(1 .. 1e-3) Q2^T with Q1 and Q2 from products of random matrices.
fn decaying(rows: usize, columns: usize) -> Result<Tensor, models::Error> {
    let short = rows.min(columns);
    let random = |rows: usize, columns: usize| Tensor::randn(0.0f32, 1.0, (rows, columns), &Device::Cpu);
    let left = orthogonalize(&random(rows, short)?, Orthogonalizer::PolarExpress, Precision::F32)?;
    let right = orthogonalize(&random(columns, short)?, Orthogonalizer::PolarExpress, Precision::F32)?;
    let sigma = (0..short).map(|i| 10f32.powf(-3.0 * i as f32 / (short - 1) as f32));
    let scaled = left.broadcast_mul(&Tensor::from_iter(sigma, &Device::Cpu)?)?;
    Ok(matmul_transposed(&scaled, &right, Precision::F32)?)
}

/// Root mean square of sigma^2 - 1: the norm of P P^T - I over the root of its side, for the Gram matrix of the short
/// side.
fn orthogonality_error(polar: &Tensor) -> Result<f64, models::Error> {
    let (rows, columns) = polar.dims2()?;
    let transposed = polar.t()?.contiguous()?;
    let (left, right) = if rows <= columns { (polar, &transposed) } else { (&transposed, polar) };
    let gram = matmul(left, right, Precision::F32)?;
    let side = rows.min(columns);
    let gram: Vec<f32> = gram.flatten_all()?.to_vec1()?;
    let square = |(i, &g): (usize, &f32)| {
        let target = if i % (side + 1) == 0 { 1.0 } else { 0.0 };
        (f64::from(g) - target).powi(2)
    };
    Ok((gram.iter().enumerate().map(square).sum::<f64>() / side as f64).sqrt())
}
