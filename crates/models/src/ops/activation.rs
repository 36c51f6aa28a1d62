//! The nonlinearities of the MLP: GELU (tanh form, GPT-2's) and SwiGLU (Llama's).

use std::mem::MaybeUninit;

use candle_core::{Error, Result, Tensor};

use super::simd::{sigmoid, tanh, vectorized};
use super::threads::written_in_parts;
use super::view::{tensor, values};

/// sqrt(2 / pi).
const SCALE: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

vectorized! {
    fn gelu_values(y: &mut [MaybeUninit<f32>], x: &[f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            let inner = SCALE * x * (CUBIC * x).mul_add(x, 1.0);
            y.write(0.5 * x * (1.0 + tanh(inner)));
        }
    }
}

vectorized! {
    fn gelu_gradient(dx: &mut [MaybeUninit<f32>], x: &[f32], dy: &[f32]) {
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            let square = CUBIC * x * x;
            let t = tanh(SCALE * x * (1.0 + square));
            let slope = SCALE * square.mul_add(3.0, 1.0);
            dx.write(dy * (0.5 * (1.0 + t) + 0.5 * x * t.mul_add(-t, 1.0) * slope));
        }
    }
}

vectorized! {
    fn swiglu_values(y: &mut [MaybeUninit<f32>], gate: &[f32], up: &[f32]) {
        for ((y, &g), &u) in y.iter_mut().zip(gate).zip(up) {
            y.write(g * sigmoid(g) * u);
        }
    }
}

vectorized! {
    fn swiglu_gradients(gradients: [&mut [MaybeUninit<f32>]; 2], gate: &[f32], up: &[f32], dy: &[f32]) {
        let [d_gate, d_up] = gradients;
        for ((((d_gate, d_up), &g), &u), &dy) in d_gate.iter_mut().zip(d_up).zip(gate).zip(up).zip(dy) {
            let s = sigmoid(g);
            d_gate.write(dy * u * s * g.mul_add(1.0 - s, 1.0));
            d_up.write(dy * g * s);
        }
    }
}

fn same_shape(op: &str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dims() == b.dims() {
        return Ok(());
    }
    Err(Error::Msg(format!("{op}: found shapes {:?} and {:?}, expected equal ones", a.dims(), b.dims())))
}

/// gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (Hendrycks and Gimpel, arXiv 1606.08415), for any shape.
///
/// # Errors
/// If `x` is not contiguous `f32` on the CPU.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    on_gpu!(x, gelu(x));
    let input = values(x)?;
    // SAFETY: a value for each of the input.
    let [y] = unsafe { written_in_parts(input.len(), 1, |[y], part| gelu_values(y, &input[part])) };
    tensor(y, x.shape())
}

/// The gradient of [`gelu`]'s input, from that input and the gradient of the output.
///
/// # Errors
/// If the shapes differ.
pub fn gelu_backward(x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    same_shape("gelu_backward", x, dy)?;
    on_gpu!(x, gelu_backward(x, dy));
    let (input, gradient) = (values(x)?, values(dy)?);
    // SAFETY: a value for each of the input; the shapes are equal.
    let [dx] = unsafe {
        written_in_parts(input.len(), 1, |[dx], part| gelu_gradient(dx, &input[part.clone()], &gradient[part]))
    };
    tensor(dx, x.shape())
}

/// silu(gate) * up with silu(g) = g / (1 + e^-g) (Shazeer, arXiv 2002.05202), for any two tensors of one shape.
///
/// # Errors
/// If the shapes differ.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    same_shape("swiglu", gate, up)?;
    on_gpu!(gate, swiglu(gate, up));
    let (g, u) = (values(gate)?, values(up)?);
    // SAFETY: a value for each of the gate; the shapes are equal.
    let [y] = unsafe { written_in_parts(g.len(), 1, |[y], part| swiglu_values(y, &g[part.clone()], &u[part])) };
    tensor(y, gate.shape())
}

/// The gradients of [`swiglu`]'s gate and up, from its inputs and the gradient of the output.
///
/// # Errors
/// If the shapes differ.
pub fn swiglu_backward(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    same_shape("swiglu_backward", gate, up)?;
    same_shape("swiglu_backward", gate, dy)?;
    on_gpu!(gate, swiglu_backward(gate, up, dy));
    let (g, u, gradient) = (values(gate)?, values(up)?, values(dy)?);
    // SAFETY: a value of each for each of the gate; the shapes are equal.
    let [d_gate, d_up] = unsafe {
        written_in_parts(g.len(), 1, |gradients, part| {
            swiglu_gradients(gradients, &g[part.clone()], &u[part.clone()], &gradient[part]);
        })
    };
    Ok((tensor(d_gate, gate.shape())?, tensor(d_up, up.shape())?))
}
