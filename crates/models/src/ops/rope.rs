//! Rotary position embedding (Su et al., arXiv 2104.09864), in the half-split layout of the Llama checkpoints.

use candle_core::{Device, Error, Result, Tensor};

use super::simd::vectorized;
use super::view::{not_empty, tensor, values};
use crate::config::RotaryScaling;

/// cos and sin of t f(theta^(-2j / width)) for every time t and pair j, f being the scaling's change of a frequency.
#[derive(Debug, Clone)]
pub struct RotaryTable {
    /// `[context, width / 2]` both.
    pub(super) cos: Tensor,
    pub(super) sin: Tensor,
}

impl RotaryTable {
    /// The table of the first `context` positions for heads of an even `width`.
    ///
    /// # Errors
    /// If the tensor library refuses the shape.
    pub fn new(context: usize, width: usize, theta: f64, scaling: Option<RotaryScaling>) -> Result<Self> {
        let half = width / 2;
        let frequency = |j: usize| {
            let plain = theta.powf(-2.0 * j as f64 / width as f64);
            scaling.map_or(plain, |scaling| scaling.frequency(plain))
        };
        let frequencies: Vec<f64> = (0..half).map(frequency).collect();
        let angles = (0..context).flat_map(|t| frequencies.iter().map(move |frequency| (t as f64 * frequency) as f32));
        let (sin, cos): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
        Ok(Self { cos: tensor(cos, (context, half))?, sin: tensor(sin, (context, half))? })
    }

    /// The table on another device.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(Self { cos: self.cos.to_device(device)?, sin: self.sin.to_device(device)? })
    }

    /// Pairs of a head.
    pub(super) fn half(&self) -> Result<usize> {
        self.cos.dim(1)
    }
}

/// Rotates every head of `x` `[tokens, heads * width]`: (a, b) -> (a cos - b sin, b cos + a sin) for the two halves a,
/// b of a head.
///
/// # Errors
/// If the row length is no multiple of the table's width, or `time` is above the table's context.
pub fn rotate(x: &Tensor, table: &RotaryTable, time: usize) -> Result<Tensor> {
    turn(x, table, time, 1.0)
}

/// The gradient of [`rotate`]'s input: the rotation by the opposite angle.
///
/// # Errors
/// As [`rotate`].
pub fn rotate_backward(dy: &Tensor, table: &RotaryTable, time: usize) -> Result<Tensor> {
    turn(dy, table, time, -1.0)
}

fn turn(x: &Tensor, table: &RotaryTable, time: usize, sign: f32) -> Result<Tensor> {
    let (tokens, features) = x.dims2()?;
    let half = table.half()?;
    not_empty("rotate", &[tokens, features, time])?;
    if half == 0 || features % (2 * half) != 0 || time > table.cos.dim(0)? {
        return Err(Error::Msg(format!("rotate: {features} features, {time} positions do not fit the table")));
    }
    on_gpu!(x, rotate(x, table, time, sign));
    let (input, cos, sin) = (values(x)?, values(&table.cos)?, values(&table.sin)?);
    let mut y = vec![0.0; tokens * features];
    turn_rows(&mut y, &input, [&cos, &sin], [half, features, time], sign);
    tensor(y, (tokens, features))
}

vectorized! {
    fn turn_rows(y: &mut [f32], x: &[f32], angles: [&[f32]; 2], sizes: [usize; 3], sign: f32) {
        let ([cosines, sines], [half, features, time]) = (angles, sizes);
        for (i, (y, x)) in y.chunks_exact_mut(features).zip(x.chunks_exact(features)).enumerate() {
            let angles = i % time * half..(i % time + 1) * half;
            let (cos, sin) = (&cosines[angles.clone()], &sines[angles]);
            for (y, x) in y.chunks_exact_mut(2 * half).zip(x.chunks_exact(2 * half)) {
                let ((ya, yb), (a, b)) = (y.split_at_mut(half), x.split_at(half));
                for j in 0..half {
                    ya[j] = a[j] * cos[j] - sign * b[j] * sin[j];
                    yb[j] = b[j] * cos[j] + sign * a[j] * sin[j];
                }
            }
        }
    }
}
