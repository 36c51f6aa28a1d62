//! Linear maps y = x W^T + b and the matrix products around them.
//!
//! The products are the [`gemm`] crate's, called on slices so that one can add into its output: a residual branch costs no
//! pass of its own.

use candle_core::{Error, Result, Tensor};
use gemm::Parallelism;

use super::simd::vectorized;
use super::view::{tensor, values};

/// A row-major matrix, possibly read as its transpose.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` x `columns` values, rows `stride` apart.
    pub(crate) fn strided(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(rows == 0 || columns == 0 || (rows - 1) * stride + columns <= data.len(), "matrix exceeds its slice");
        Self { data, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// `rows` x `columns` values without gaps.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// Number of rows.
    pub(crate) fn rows(self) -> usize {
        self.rows
    }

    /// Some of the rows; no value moves.
    pub(crate) fn row_range(self, range: std::ops::Range<usize>) -> Self {
        assert!(range.end <= self.rows, "rows exceed the matrix");
        Self { data: &self.data[range.start * self.row_stride..], rows: range.len(), ..self }
    }

    /// Some of the columns; no value moves.
    pub(crate) fn column_range(self, range: std::ops::Range<usize>) -> Self {
        self.t().row_range(range).t()
    }

    /// The transpose; no value moves.
    pub(crate) fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// The threads of the current rayon pool.
pub(crate) fn parallelism() -> Parallelism {
    match rayon::current_num_threads() {
        0 | 1 => Parallelism::None,
        threads => Parallelism::Rayon(threads),
    }
}

/// out <- `keep` * out + `scale` * a b, where `out` has rows `stride` apart; with `keep` = 0 the old values are not read.
pub(crate) fn product(
    out: &mut [f32],
    stride: usize,
    keep: f32,
    scale: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
    parallelism: Parallelism,
) {
    assert_eq!(a.columns, b.rows, "inner dimensions of a matrix product");
    let (m, n) = (a.rows, b.columns);
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * stride + n <= out.len(), "the product exceeds its output");
    // SAFETY: the asserts here keep every write inside `out`, which is borrowed mutably, so that it overlaps neither operand.
    unsafe { gemm_into(out.as_mut_ptr(), stride, keep, scale, a, b, parallelism) }
}

/// out <- `keep` * out + `scale` * a b; with `keep` = 0 the old values are not read, and need not be initialised.
///
/// # Safety
/// `out` must be valid for writes (and, if `keep` is not 0, reads) of `a.rows` rows of `b.columns` values, rows `stride` apart, that overlap neither operand.
unsafe fn gemm_into(
    out: *mut f32,
    stride: usize,
    keep: f32,
    scale: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
    parallelism: Parallelism,
) {
    // SAFETY: the caller vouches for `out`; the assert in `Matrix::strided` keeps every read inside its slice.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out,
            1,
            stride as isize,
            keep != 0.0,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            keep,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// `scale` * a b in a new vector, row after row; its memory is not zeroed first.
fn new_product(scale: f32, a: Matrix<'_>, b: Matrix<'_>, parallelism: Parallelism) -> Vec<f32> {
    assert_eq!(a.columns, b.rows, "inner dimensions of a matrix product");
    let (m, n, k) = (a.rows, b.columns, a.columns);
    if m * n * k == 0 {
        return vec![0.0; m * n];
    }
    let mut out: Vec<f32> = Vec::with_capacity(m * n);
    // SAFETY: `out` has room for m n values, none of which is read, and all of which are written before `set_len`.
    unsafe {
        gemm_into(out.as_mut_ptr(), n, 0.0, scale, a, b, parallelism);
        out.set_len(m * n);
    }
    out
}

vectorized! {
    /// Adds `row` to every row of `matrix`.
    fn add_to_rows(matrix: &mut [f32], row: &[f32]) {
        for target in matrix.chunks_exact_mut(row.len()) {
            for (t, r) in target.iter_mut().zip(row) {
                *t += r;
            }
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
    /// a <- alpha a + beta b.
    fn scale_and_add(a: &mut [f32], alpha: f32, b: &[f32], beta: f32) {
        for (a, b) in a.iter_mut().zip(b) {
            *a = a.mul_add(alpha, beta * b);
        }
    }
}

fn dims(name: &'static str, x: &Tensor) -> Result<(usize, usize)> {
    x.dims2().map_err(|e| Error::Msg(format!("{name}: {e}")))
}

/// y = x W^T (+ b) (+ residual).
///
/// `x` is `[tokens, inputs]`, `weight` is `[outputs, inputs]`, `bias` is `[outputs]`, `residual` and the result are `[tokens, outputs]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, residual: Option<&Tensor>) -> Result<Tensor> {
    let (tokens, inputs) = dims("linear", x)?;
    let (outputs, weight_inputs) = dims("linear", weight)?;
    if inputs != weight_inputs {
        return Err(Error::Msg(format!("linear: found {inputs} inputs, expected {weight_inputs}")));
    }
    let (x, w) = (values(x)?, values(weight)?);
    let bias = bias.map(values).transpose()?;
    let (x, w) = (Matrix::new(&x, tokens, inputs), Matrix::new(&w, outputs, inputs));
    let mut y = match (residual, &bias) {
        (None, None) => return tensor(new_product(1.0, x, w.t(), parallelism()), (tokens, outputs)),
        (None, Some(bias)) => bias.repeat(tokens),
        (Some(residual), None) => values(residual)?.to_vec(),
        (Some(residual), Some(bias)) => {
            let mut y = values(residual)?.to_vec();
            add_to_rows(&mut y, bias);
            y
        }
    };
    if y.len() != tokens * outputs {
        return Err(Error::Msg(format!(
            "linear: found {} biases or residuals, expected {}",
            y.len(),
            tokens * outputs
        )));
    }
    product(&mut y, outputs, 1.0, 1.0, x, w.t(), parallelism());
    tensor(y, (tokens, outputs))
}

/// The gradient of a linear map's input: the sum of dy W over all maps that read the same input.
///
/// Every pair is (`dy` `[tokens, outputs]`, `weight` `[outputs, inputs]`); the result is `[tokens, inputs]`.
///
/// # Errors
/// If `pairs` is empty or the shapes do not fit.
pub fn input_gradient(pairs: &[(&Tensor, &Tensor)]) -> Result<Tensor> {
    let Some((first_dy, first_weight)) = pairs.first() else {
        return Err(Error::Msg("input_gradient: no map given".into()));
    };
    let (tokens, inputs) = (first_dy.dim(0)?, first_weight.dim(1)?);
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
            0 => dx = new_product(1.0, dy, w, parallelism()),
            _ => product(&mut dx, inputs, 1.0, 1.0, dy, w, parallelism()),
        }
    }
    tensor(dx, (tokens, inputs))
}

/// The gradient of a linear map's weight, dW = dy^T x: `[outputs, inputs]`.
///
/// # Errors
/// If `dy` and `x` have different numbers of tokens.
pub fn weight_gradient(dy: &Tensor, x: &Tensor) -> Result<Tensor> {
    let ((tokens, outputs), (rows, inputs)) = (dims("weight_gradient", dy)?, dims("weight_gradient", x)?);
    if rows != tokens {
        return Err(Error::Msg(format!("weight_gradient: found {rows} tokens, expected {tokens}")));
    }
    let (dy, x) = (values(dy)?, values(x)?);
    let (dy, x) = (Matrix::new(&dy, tokens, outputs), Matrix::new(&x, tokens, inputs));
    tensor(new_product(1.0, dy.t(), x, parallelism()), (outputs, inputs))
}

/// The gradient of a linear map's bias, the column sums of dy: `[outputs]`.
///
/// # Errors
/// If `dy` is not a matrix.
pub fn bias_gradient(dy: &Tensor) -> Result<Tensor> {
    let (_, outputs) = dims("bias_gradient", dy)?;
    let dy = values(dy)?;
    let mut db = vec![0.0; outputs];
    sum_rows(&mut db, &dy);
    tensor(db, outputs)
}

/// The product a b of two matrices, `[m, k]` and `[k, n]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    input_gradient(&[(a, b)])
}

/// The product a b^T of two matrices, `[m, k]` and `[n, k]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn matmul_transposed(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    linear(a, b, None, None)
}

/// alpha a + beta b, for tensors of one shape.
///
/// # Errors
/// If the shapes differ.
pub fn scaled_add(a: &Tensor, alpha: f32, b: &Tensor, beta: f32) -> Result<Tensor> {
    if a.dims() != b.dims() {
        return Err(Error::Msg(format!("scaled_add: found shapes {:?} and {:?}", a.dims(), b.dims())));
    }
    let (x, y) = (values(a)?, values(b)?);
    let mut sum = x.to_vec();
    scale_and_add(&mut sum, alpha, &y, beta);
    tensor(sum, a.shape())
}
