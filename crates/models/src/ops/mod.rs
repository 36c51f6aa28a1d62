//! The operations of a transformer, each with a hand-written backward.
//!
//! Every operation is a pure function from tensors to new tensors. A backward is a second function that takes what the
//! forward saved and the gradient of its output. [`Transformer`](crate::Transformer) calls them in order; there is no
//! recorded graph. Candle's own automatic differentiation first allocates zeros for every intermediate gradient and
//! then adds to them, and its fused operations lose gradients without a word; here a gradient is written once, where a
//! residual branch joins it is added in the same pass.
//!
//! Matrices are row-major, activations are `[tokens, features]` with `tokens = batch * time`. All values are `f32` on
//! the CPU; products may round their factors to bf16 ([`Precision`](crate::Precision)). Loops are compiled for several
//! vector units, and the machine's own is chosen at run time. The number of threads is that of the current rayon pool,
//! and no result depends on it.

/// Returns the result of an operation's twin in [`cuda`] if the tensor lies on a GPU; nothing in a build without
/// kernels.
macro_rules! on_gpu {
    ($tensor:expr, $twin:ident($($argument:expr),* $(,)?)) => {
        #[cfg(kernels)]
        if $crate::ops::cuda::is_gpu($tensor) {
            return $crate::ops::cuda::$twin($($argument),*);
        }
    };
}

mod activation;
mod attention;
mod clip;
#[cfg(kernels)]
pub(crate) mod cuda;
mod embedding;
mod linear;
mod loss;
mod norm;
pub(crate) mod product;
mod rope;
pub(crate) mod simd;
mod threads;
mod view;

pub use activation::{gelu, gelu_backward, swiglu, swiglu_backward};
pub use attention::{AttentionGradients, AttentionShape, causal_attention, causal_attention_backward};
pub(crate) use clip::{scaled, sum_of_squares};
#[cfg(feature = "cuda-emulation")]
pub use cuda::emulate;
pub use embedding::{add_rows, embed, position_gradient};
pub use linear::{
    as_factor, bias_gradient, input_gradient, linear, matmul, matmul_transposed, scaled_add, weight_gradient,
};
pub use loss::{HeadBackward, HeadGradients, HeadLoss, IGNORE, Sum, head_logits, head_loss};
pub use norm::{NormGradients, NormSaved, layer_norm, norm_backward, rms_norm};
pub use rope::{RotaryTable, rotate, rotate_backward};
pub(crate) use simd::vectorized;
pub(crate) use threads::{side_by_side, written_in_parts};
pub(crate) use view::{not_empty, tensor, values};
