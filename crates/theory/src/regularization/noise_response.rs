//! How Muon's polar factor answers to its own noise: the measurement that settles which functional it descends.
//!
//! The gradient noise of a linear layer near its minimum is N = B^(1/2) Z S^(1/2) with Z Gaussian. In the eigenbases of
//! B and S (which the polar factor respects) everything is diagonal: entry (i, j) of the averaged noise M has curvature
//! h_ij = b_i s_j, the update D = polar(M) answers a small slow gradient with gain J_ij = E[D_ij M_ij] / Var(M_ij)
//! (Stein's identity), and diffuses with K_ij, its long-run variance. The weights then fluctuate by X_ij = K_ij / (2
//! J_ij h_ij), and the drift descends the functional whose differential is sum_ij X_ij d(b_i s_j):
//!
//! - full whitening, tr B^(1/2) tr S^(1/2), if X_ij ∝ b_i^(-1/2) s_j^(-1/2);
//! - whitening of the shorter side only, tr B^(1/2) (tr S)^(1/2), if X_ij ∝ b_i^(-1/2);
//! - the expected dual norm E|N|_*, if X_ij ∝ J_ij.

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use crate::error::{Result, at_least, in_range, not_empty, positive};
use crate::optimizers::{MatrixOptimizer, OptimizerConfig, Rule};
use crate::random::{fill_gaussian, stream};

/// A layer's curvature and the optimizer's averaging.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponseParams {
    /// Eigenvalues b of the output curvature, all positive; as many as the layer has outputs.
    pub output: Vec<f64>,
    /// Eigenvalues s of the input second moment, all positive; as many as the layer has inputs.
    pub input: Vec<f64>,
    /// The optimizer's rule.
    pub rule: Rule,
    /// Its momentum, in [0, 1).
    pub momentum: f64,
    /// Blocks of steps over which the long-run variance is taken, at least 2.
    pub blocks: usize,
    /// Steps a block, at least 1; many times 1 / (1 - momentum).
    pub block_steps: usize,
}

/// What was measured; matrices are given by rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NoiseResponse {
    /// J, the gain.
    pub gain: Vec<Vec<f64>>,
    /// K, the long-run variance of the update.
    pub diffusion: Vec<Vec<f64>>,
    /// X = K / (2 J h), the fluctuation of the weights for a unit learning rate.
    pub fluctuation: Vec<Vec<f64>>,
    /// p in the fit X_ij ∝ b_i^(-p) s_j^(-q).
    pub output_exponent: f64,
    /// q in that fit.
    pub input_exponent: f64,
    /// Standard deviation over entries of log(X_ij / J_ij): 0 where the dual norm is descended exactly.
    pub departure_from_dual_norm: f64,
    /// The same of log(X_ij b_i^(1/2) s_j^(1/2)): 0 where full whitening is.
    pub departure_from_full_whitening: f64,
}

/// Measures the response of one optimizer to one layer's noise.
///
/// # Errors
/// If a list is empty, an eigenvalue not positive, or a count or the momentum out of range.
pub fn noise_response(params: &ResponseParams, seed: u64) -> Result<NoiseResponse> {
    not_empty("output", &params.output)?;
    not_empty("input", &params.input)?;
    for &b in &params.output {
        positive("output", b)?;
    }
    for &s in &params.input {
        positive("input", s)?;
    }
    in_range("momentum", params.momentum, 0.0, 1.0)?;
    at_least("blocks", params.blocks, 2)?;
    at_least("block_steps", params.block_steps, 1)?;

    let (m, n) = (params.output.len(), params.input.len());
    let curvature = DMatrix::from_fn(m, n, |i, j| params.output[i] * params.input[j]);
    let roots = curvature.map(f64::sqrt);
    let config = OptimizerConfig::new(params.rule).with_momentum(params.momentum);
    let mut optimizer = MatrixOptimizer::new(config, m, n)?;
    let mut rng = stream(seed, "noise response");
    let mut noise = DMatrix::zeros(m, n);
    let mut average = DMatrix::<f64>::zeros(m, n);
    let mut inner = DMatrix::<f64>::zeros(m, n);
    let mut squares = DMatrix::<f64>::zeros(m, n);
    let mut block = DMatrix::<f64>::zeros(m, n);
    // The first block only brings the averages into their stationary state.
    for index in 0..=params.blocks {
        block.fill(0.0);
        for _ in 0..params.block_steps {
            fill_gaussian(noise.as_mut_slice(), &mut rng);
            noise.component_mul_assign(&roots);
            let direction = optimizer.direction(&noise);
            for k in 0..m * n {
                average[k] = params.momentum * average[k] + (1.0 - params.momentum) * noise[k];
                block[k] += direction[k];
                if index > 0 {
                    inner[k] += direction[k] * average[k];
                }
            }
        }
        if index > 0 {
            for k in 0..m * n {
                squares[k] += block[k] * block[k];
            }
        }
    }
    let steps = (params.blocks * params.block_steps) as f64;
    let averaged = (1.0 - params.momentum) / (1.0 + params.momentum);
    let gain = DMatrix::from_fn(m, n, |i, j| inner[(i, j)] / steps / (averaged * curvature[(i, j)]));
    let diffusion = squares / steps;
    let fluctuation = DMatrix::from_fn(m, n, |i, j| 0.5 * diffusion[(i, j)] / (gain[(i, j)] * curvature[(i, j)]));
    let log = |f: &dyn Fn(usize, usize) -> f64| DMatrix::from_fn(m, n, |i, j| f(i, j).ln());
    let x = log(&|i, j| fluctuation[(i, j)]);
    let by_row: Vec<(f64, f64)> = (0..m).map(|i| (params.output[i].ln(), x.row(i).mean())).collect();
    let by_column: Vec<(f64, f64)> = (0..n).map(|j| (params.input[j].ln(), x.column(j).mean())).collect();
    let spread = |a: DMatrix<f64>| a.variance().sqrt();
    Ok(NoiseResponse {
        output_exponent: -super::two_layer::slope(&by_row),
        input_exponent: -super::two_layer::slope(&by_column),
        departure_from_dual_norm: spread(log(&|i, j| fluctuation[(i, j)] / gain[(i, j)])),
        departure_from_full_whitening: spread(log(&|i, j| fluctuation[(i, j)] * roots[(i, j)])),
        gain: rows(&gain),
        diffusion: rows(&diffusion),
        fluctuation: rows(&fluctuation),
    })
}

fn rows(a: &DMatrix<f64>) -> Vec<Vec<f64>> {
    a.row_iter().map(|row| row.iter().copied().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(rule: Rule, m: usize, n: usize, momentum: f64) -> NoiseResponse {
        let geometric = |k: usize| (0..k).map(|i| 0.7f64.powi(i as i32)).collect::<Vec<_>>();
        let params = ResponseParams {
            output: geometric(m),
            input: if n > 20 {
                // Many equal directions: a fat layer in which N N^T concentrates.
                (0..n).map(|j| if j % 2 == 0 { 1.0 } else { 0.25 }).collect()
            } else {
                geometric(n)
            },
            rule,
            momentum,
            blocks: 4000,
            block_steps: if momentum > 0.0 { 60 } else { 1 },
        };
        noise_response(&params, 1).unwrap()
    }

    #[test]
    fn sgd_and_sign_descent_descend_their_dual_norms_exactly() {
        let sgd = measure(Rule::Sgd, 3, 4, 0.0);
        assert!(sgd.output_exponent.abs() < 0.05 && sgd.input_exponent.abs() < 0.05, "{sgd:?}");
        let sign = measure(Rule::Sign, 3, 4, 0.0);
        assert!((sign.output_exponent - 0.5).abs() < 0.04, "{sign:?}");
        assert!((sign.input_exponent - 0.5).abs() < 0.04, "{sign:?}");
        assert!(sign.departure_from_dual_norm < 0.05);
    }

    #[test]
    fn muon_on_a_fat_layer_whitens_the_shorter_side_only() {
        let muon = measure(Rule::Muon, 3, 40, 0.0);
        assert!((muon.output_exponent - 0.5).abs() < 0.05, "{}", muon.output_exponent);
        assert!(muon.input_exponent.abs() < 0.1, "{}", muon.input_exponent);
        assert!(muon.departure_from_dual_norm < 0.5 * muon.departure_from_full_whitening);
    }

    #[test]
    fn bad_parameters_are_refused() {
        let good = ResponseParams {
            output: vec![1.0],
            input: vec![1.0],
            rule: Rule::Muon,
            momentum: 0.0,
            blocks: 2,
            block_steps: 1,
        };
        assert!(noise_response(&good, 1).is_ok());
        for bad in [
            ResponseParams { output: vec![], ..good.clone() },
            ResponseParams { input: vec![0.0], ..good.clone() },
            ResponseParams { momentum: 1.0, ..good.clone() },
            ResponseParams { blocks: 1, ..good.clone() },
        ] {
            assert!(noise_response(&bad, 1).is_err());
        }
    }
}
