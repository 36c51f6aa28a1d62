//! Decoder-only transformers, the optimizers that train them, LoRA, and everything between text and a checkpoint.
//!
//! In the book: [optimizers, and your own](../../book/optimizers.html), [the speed of a step](../../book/speed.html),
//! [a GPU](../../book/gpu.html).
//!
//! ```text
//! text --Tokenizer--> tokens --data::{PackedText, Instructions}--> Batch
//!                                                                    |
//! ModelConfig --> Transformer --gradients(batch)--> Gradients        v
//!                     ^                                 |       train_step
//!                     +---- optim::Optimizer.step <-----+
//! ```
//!
//! - One [`Transformer`], configured by [`ModelConfig`]: GPT-2 and Llama are two of its values, and [`checkpoint`]
//!   reads and writes both in Hugging Face's layout.
//! - Gradients come from hand-written backwards ([`ops`]); there is no recorded graph. Tensors are
//!   [candle](candle_core)'s.
//! - Which parameter goes to which optimizer is decided by its [`Role`], through an [`optim::Policy`].
//! - Everything is a pure function of its arguments and a seed: same seed, same build, same machine, same bits,
//!   whatever the number of threads. Threads are those of the current rayon pool.
//!
//! The example trains a tiny network to continue a sequence, saves it and reads it back:
//!
//! ```
//! use models::optim::{AdamW, Muon, Optimizer, Policy, RuleConfig, Scope};
//! use models::{Batch, ModelConfig, Transformer, checkpoint, generate, train_step};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // 12 tokens, context 8, 2 layers, width 32, 4 heads.
//! let mut model = Transformer::new(&ModelConfig::gpt2(12, 8, 2, 32, 4), 0)?;
//! // Muon on the blocks' matrices, AdamW on the rest.
//! let adamw = RuleConfig::AdamW(AdamW::default());
//! let muon = RuleConfig::Muon(Muon::default());
//! let policy = Policy::hidden_and_rest(Scope::All, muon, 1e-2, adamw, 1e-2, 1e-2);
//! let mut optimizer = Optimizer::new(model.parameters_mut(), &policy)?;
//! for line in optimizer.describe(model.parameters()) {
//!     println!("{line}");
//! }
//!
//! let batch = [Batch::new(vec![1, 2, 3, 4, 5], vec![2, 3, 4, 5, 0], 5)?];
//! for _ in 0..60 {
//!     train_step(&mut model, &mut optimizer, &batch, Some(1.0), 1.0)?;
//! }
//! assert_eq!(generate::greedy(&model, &[vec![1, 2]], 0, 20)?, [vec![3, 4, 5]]);
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! checkpoint::save(&model, folder)?;
//! assert_eq!(checkpoint::load(folder)?.loss(&batch[0])?, model.loss(&batch[0])?);
//! # Ok(())
//! # }
//! ```
//!
//! What is here is tested against PyTorch and Transformers on stored vectors, every operation against finite
//! differences, and every optimizer by one shared suite (`tests/numerics`).

mod batch;
pub mod checkpoint;
mod config;
pub mod data;
mod device;
mod direction;
mod divergence;
mod error;
pub mod generate;
mod guard;
mod init;
mod layers;
pub mod lora;
mod memory;
pub mod ops;
pub mod optim;
mod parameters;
mod precision;
pub mod rescale;
pub mod rotation;
pub mod schedule;
mod tensors;
mod tokenizer;
mod train;
mod transformer;
pub mod watch;

pub use batch::Batch;
pub use config::{
    Activation, AttentionBias, MOST_CONTEXT, MOST_LAYERS, MOST_WIDTH, ModelConfig, NormKind, Positions, RotaryScaling,
};
pub use device::{GpuMemory, Hardware, gpu_memory};
pub use direction::Direction;
pub use divergence::mean_divergence;
pub use error::{Error, Result};
pub use parameters::{Gradients, Parameter, ParameterId, Parameters, Part, Role};
pub use precision::Precision;
pub use tokenizer::{END_OF_TEXT, Tokenizer};
pub use train::{StepReport, mean_loss, train_step};
pub use transformer::{LossSum, Transformer};
