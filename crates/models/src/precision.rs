//! The precision of matrix products.

use serde::{Deserialize, Serialize};

/// In which numbers the products of matrices are computed; weights, optimizer state, sums and everything else are `f32`
/// always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Products of `f32` numbers.
    #[default]
    F32,
    /// Factors rounded to 10 bits of mantissa where the tensor cores of a GPU take them; `f32` on a CPU.
    Tf32,
    /// Factors rounded to bf16 (7 bits of mantissa, to nearest even), products added up in `f32`. Attention's small
    /// products stay `f32` on a CPU; a GPU stores as bf16 what only products and nonlinearities read.
    Bf16,
}

impl Precision {
    /// Its name in presets and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }
}
