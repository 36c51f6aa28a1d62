//! Linear maps y = x W^T + b and the matrix products around them.

use std::mem::MaybeUninit;

use candle_core::{Error, Result, Tensor};

use super::product::{Compute, Matrix, new_product, product};
use super::simd::vectorized;
use super::threads::written_in_parts;
use super::view::{Values, not_empty, tensor, values};
use crate::Precision;

vectorized! {
    /// Every row of `matrix` plus `row`.
    fn rows_and_row(sums: &mut [MaybeUninit<f32>], matrix: &[f32], row: &[f32]) {
        for (sums, values) in sums.chunks_exact_mut(row.len()).zip(matrix.chunks_exact(row.len())) {
            for ((sum, x), r) in sums.iter_mut().zip(values).zip(row) {
                sum.write(x + r);
            }
        }
    }
}

vectorized! {
    fn copied(copy: &mut [MaybeUninit<f32>], values: &[f32]) {
        for (copy, value) in copy.iter_mut().zip(values) {
            copy.write(*value);
        }
    }
}

vectorized! {
    /// Adds every row of `matrix` to `sum`.
    fn sum_rows(sum: &mut [f32], matrix: &[f32]) {
        for row in matrix.chunks_exact(sum.len()) {
            for (s, r) in sum.iter_mut().zip(row) {
                *s += r;
            }
        }
    }
}

vectorized! {
    /// sum <- alpha a + beta b.
    fn scaled_sum(sum: &mut [MaybeUninit<f32>], a: &[f32], alpha: f32, b: &[f32], beta: f32) {
        for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
            sum.write(a.mul_add(alpha, beta * b));
        }
    }
}

/// Rows and columns of a matrix that has some.
fn dims(name: &'static str, x: &Tensor) -> Result<(usize, usize)> {
    let (rows, columns) = x.dims2().map_err(|e| Error::Msg(format!("{name}: {e}")))?;
    not_empty(name, &[rows, columns])?;
    Ok((rows, columns))
}

/// y = x W^T (+ b) (+ residual).
///
/// `x` is `[tokens, inputs]`, `weight` is `[outputs, inputs]`, `bias` is `[outputs]`, `residual` and the result are
/// `[tokens, outputs]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
    precision: Precision,
) -> Result<Tensor> {
    let (tokens, inputs) = dims("linear", x)?;
    let (outputs, weight_inputs) = dims("linear", weight)?;
    if inputs != weight_inputs {
        return Err(Error::Msg(format!("linear: found {inputs} inputs, expected {weight_inputs}")));
    }
    on_gpu!(weight, linear(x, weight, bias, residual, precision));
    let (x, w) = (values(x)?, values(weight)?);
    let bias = bias.map(values).transpose()?;
    let (x, w) = (Matrix::new(&x, tokens, inputs), Matrix::new(&w, outputs, inputs));
    let residual = residual.map(values).transpose()?;
    let wrong = |values: &Option<Values<'_>>, expected: usize| {
        values.as_ref().map(|values| values.len()).filter(|&found| found != expected).map(|found| [found, expected])
    };
    if let Some([found, expected]) = wrong(&bias, outputs).or(wrong(&residual, tokens * outputs)) {
        return Err(Error::Msg(format!("linear: found {found} biases or residuals, expected {expected}")));
    }
    // SAFETY: as many residuals as outputs, in whole rows where there is a bias.
    let [mut y] = unsafe {
        match (&residual, &bias) {
            (None, None) => return tensor(new_product(1.0, x, w.t(), Compute::on_pool(precision)), (tokens, outputs)),
            (None, Some(bias)) => [bias.repeat(tokens)],
            (Some(residual), None) => written_in_parts(tokens * outputs, 1, |[y], part| copied(y, &residual[part])),
            (Some(residual), Some(bias)) => {
                written_in_parts(tokens * outputs, outputs, |[y], part| rows_and_row(y, &residual[part], bias))
            }
        }
    };
    product(&mut y, outputs, 1.0, 1.0, x, w.t(), Compute::on_pool(precision));
    tensor(y, (tokens, outputs))
}

/// The gradient of a linear map's input: the sum of dy W over all maps that read the same input.
///
/// Every pair is (`dy` `[tokens, outputs]`, `weight` `[outputs, inputs]`); the result is `[tokens, inputs]`.
///
/// # Errors
/// If `pairs` is empty or the shapes do not fit.
pub fn input_gradient(pairs: &[(&Tensor, &Tensor)], precision: Precision) -> Result<Tensor> {
    let Some((first_dy, first_weight)) = pairs.first() else {
        return Err(Error::Msg("input_gradient: no map given".into()));
    };
    let ((tokens, _), (_, inputs)) = (dims("input_gradient", first_dy)?, dims("input_gradient", first_weight)?);
    on_gpu!(first_dy, input_gradient(pairs, precision));
    let mut dx: Vec<f32> = Vec::new();
    for (i, (dy, weight)) in pairs.iter().enumerate() {
        let (rows, outputs) = dims("input_gradient", dy)?;
        if rows != tokens || weight.dims() != [outputs, inputs] {
            return Err(Error::Msg(format!(
                "input_gradient: found weight {:?} for a gradient {:?}",
                weight.dims(),
                dy.dims()
            )));
        }
        let (dy, w) = (values(dy)?, values(weight)?);
        let (dy, w) = (Matrix::new(&dy, tokens, outputs), Matrix::new(&w, outputs, inputs));
        match i {
            0 => dx = new_product(1.0, dy, w, Compute::on_pool(precision)),
            _ => product(&mut dx, inputs, 1.0, 1.0, dy, w, Compute::on_pool(precision)),
        }
    }
    tensor(dx, (tokens, inputs))
}

/// `x` as products of this precision read it, so that several of them convert it once: bf16 on a GPU, `x` itself
/// otherwise.
///
/// # Errors
/// If the GPU has no room.
pub fn as_factor(x: &Tensor, _precision: Precision) -> Result<Tensor> {
    on_gpu!(x, as_factor(x, _precision));
    Ok(x.clone())
}

/// The gradient of a linear map's weight, dW = dy^T x: `[outputs, inputs]`.
///
/// # Errors
/// If `dy` and `x` have different numbers of tokens.
pub fn weight_gradient(dy: &Tensor, x: &Tensor, precision: Precision) -> Result<Tensor> {
    let ((tokens, outputs), (rows, inputs)) = (dims("weight_gradient", dy)?, dims("weight_gradient", x)?);
    if rows != tokens {
        return Err(Error::Msg(format!("weight_gradient: found {rows} tokens, expected {tokens}")));
    }
    on_gpu!(dy, weight_gradient(dy, x, precision));
    let (dy, x) = (values(dy)?, values(x)?);
    let (dy, x) = (Matrix::new(&dy, tokens, outputs), Matrix::new(&x, tokens, inputs));
    tensor(new_product(1.0, dy.t(), x, Compute::on_pool(precision)), (outputs, inputs))
}

/// The gradient of a linear map's bias, the column sums of dy: `[outputs]`.
///
/// # Errors
/// If `dy` is not a matrix, or has no rows or columns.
pub fn bias_gradient(dy: &Tensor) -> Result<Tensor> {
    let (_, outputs) = dims("bias_gradient", dy)?;
    on_gpu!(dy, bias_gradient(dy));
    let dy = values(dy)?;
    let mut db = vec![0.0; outputs];
    sum_rows(&mut db, &dy);
    tensor(db, outputs)
}

/// The product a b of two matrices, `[m, k]` and `[k, n]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn matmul(a: &Tensor, b: &Tensor, precision: Precision) -> Result<Tensor> {
    input_gradient(&[(a, b)], precision)
}

/// The product a b^T of two matrices, `[m, k]` and `[n, k]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn matmul_transposed(a: &Tensor, b: &Tensor, precision: Precision) -> Result<Tensor> {
    linear(a, b, None, None, precision)
}

/// alpha a + beta b, for tensors of one shape.
///
/// # Errors
/// If the shapes differ.
pub fn scaled_add(a: &Tensor, alpha: f32, b: &Tensor, beta: f32) -> Result<Tensor> {
    if a.dims() != b.dims() {
        return Err(Error::Msg(format!("scaled_add: found shapes {:?} and {:?}", a.dims(), b.dims())));
    }
    on_gpu!(a, scaled_add(a, alpha, b, beta));
    let (x, y) = (values(a)?, values(b)?);
    // SAFETY: a value for each of `a`; the shapes are equal.
    let [sum] =
        unsafe { written_in_parts(x.len(), 1, |[sum], part| scaled_sum(sum, &x[part.clone()], alpha, &y[part], beta)) };
    tensor(sum, a.shape())
}
